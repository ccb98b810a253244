//! Artifacts: what is not an image and is kept like one (image-spec, manifest.md, "Guidelines for
//! Artifact Usage"): an SBOM, a manifest, a disk image. With a subject they are its referrers.

use std::collections::BTreeMap;
use std::io::Read;

use layers::Sha256;
use oci_spec::image::{Descriptor, ImageManifestBuilder, MediaType};

use crate::image::{hashed, incomplete};
use crate::{Error, Writer, blob};

/// What stands where nothing is to be said (manifest.md, "Guidance for an Empty Descriptor").
const EMPTY: &[u8] = b"{}";
/// The name of a blob's file, for tools that unpack artifacts.
const TITLE: &str = "org.opencontainers.image.title";

/// One file of an artifact.
pub struct Attachment<'r> {
    /// Its media type: `application/spdx+json`.
    pub media_type: String,
    /// Its file name.
    pub title: String,
    /// Its bytes.
    pub reader: &'r mut dyn Read,
}

/// Writes an artifact and gives its manifest's descriptor, with the artifact's type in it.
///
/// # Errors
/// Errors of the readers and of the writer.
pub fn write(
    writer: &Writer,
    artifact_type: &str,
    subject: Option<&Descriptor>,
    attachments: Vec<Attachment<'_>>,
    annotations: &BTreeMap<String, String>,
) -> Result<Descriptor, Error> {
    let mut blobs = Vec::new();
    for attachment in attachments {
        let descriptor = writer.blob(MediaType::from(attachment.media_type.as_str()), attachment.reader)?;
        blobs.push(titled(descriptor, attachment.title));
    }
    write_of(writer, artifact_type, subject, blobs, annotations)
}

/// The descriptor of a file that stays where it is.
///
/// # Errors
/// None for a digest of ours.
pub fn describe(media_type: &str, title: &str, digest: &Sha256, size: u64) -> Result<Descriptor, Error> {
    let descriptor = Descriptor::new(MediaType::from(media_type), size, blob::digest(digest)?);
    Ok(titled(descriptor, title.to_owned()))
}

fn titled(mut descriptor: Descriptor, title: String) -> Descriptor {
    descriptor.set_annotations(Some([(TITLE.to_owned(), title)].into()));
    descriptor
}

/// As [`write()`], of blobs that lie elsewhere: the writer has only what is about them.
///
/// # Errors
/// Errors of the writer.
pub fn write_of(
    writer: &Writer,
    artifact_type: &str,
    subject: Option<&Descriptor>,
    mut blobs: Vec<Descriptor>,
    annotations: &BTreeMap<String, String>,
) -> Result<Descriptor, Error> {
    let artifact_type = MediaType::from(artifact_type);
    let empty = writer.blob(MediaType::EmptyJSON, &mut &*EMPTY)?;
    if blobs.is_empty() {
        blobs.push(empty.clone());
    }
    let mut manifest = ImageManifestBuilder::default()
        .schema_version(2u32)
        .media_type(MediaType::ImageManifest)
        .artifact_type(artifact_type.clone())
        .config(empty)
        .layers(blobs);
    if let Some(subject) = subject {
        // What is attached to is named by type, size and digest; the rest is not its identity.
        manifest =
            manifest.subject(Descriptor::new(subject.media_type().clone(), subject.size(), subject.digest().clone()));
    }
    if !annotations.is_empty() {
        manifest = manifest.annotations(hashed(annotations));
    }
    let manifest = manifest.build().map_err(incomplete)?;
    let mut descriptor = writer.document(MediaType::ImageManifest, "the manifest of an artifact", &manifest)?;
    descriptor.set_artifact_type(Some(artifact_type));
    Ok(descriptor)
}
