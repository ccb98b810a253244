//! OCI images: out of a build or a layout into a directory, a file or a registry, and back.

pub mod attach;
pub mod connection;
pub mod credentials;
pub mod destination;
pub mod platforms;
pub mod pull;
pub mod push;
pub mod source;

use std::path::PathBuf;

use ::oci::Blobs;
use ::oci::blob;
use ::oci::oci_spec::image::{Descriptor, ImageIndex, ImageManifest, MediaType};
use registry::media_type;

use crate::error::{Error, ResultExt};

/// Largest manifest or index that is read, in bytes (distribution-spec, "Pushing Manifests").
const DOCUMENT_BYTES_MAX: u64 = 4 << 20;
/// Deepest nesting of indexes: one of several platforms has one.
const DEPTH_MAX: u32 = 4;

/// A manifest or an index, as it came, with what it names.
#[derive(Clone, Debug)]
pub struct Document {
    /// What it is.
    pub descriptor: Descriptor,
    /// Its bytes, held to the descriptor.
    pub bytes: Vec<u8>,
    /// The blobs that it names: a manifest's configuration and layers.
    pub blobs: Vec<Descriptor>,
    /// The documents that it names: an index's.
    pub children: Vec<Document>,
}

impl Document {
    /// Reads a manifest or an index, with all below it.
    ///
    /// # Errors
    /// Documents that are missing, damaged, or neither.
    pub fn read(blobs: &dyn Blobs, descriptor: &Descriptor) -> Result<Self, Error> {
        Self::read_at(blobs, descriptor, 0)
    }

    fn read_at(blobs: &dyn Blobs, descriptor: &Descriptor, depth: u32) -> Result<Self, Error> {
        let bytes = blob::read(blobs, descriptor, DOCUMENT_BYTES_MAX).to("read the image")?;
        let failed = || format!("failed to read the image: {} is damaged", descriptor.digest());
        let mut document = Self { descriptor: descriptor.clone(), bytes, blobs: Vec::new(), children: Vec::new() };
        let kind = descriptor.media_type().to_string();
        if matches!(kind.as_str(), media_type::IMAGE_INDEX | media_type::DOCKER_LIST) {
            if depth >= DEPTH_MAX {
                return Err(Error::other("failed to read the image: its indexes are in one another without end"));
            }
            let index: ImageIndex =
                serde_json::from_slice(&document.bytes).or_fail(crate::error::Kind::Other, failed)?;
            for child in index.manifests() {
                document.children.push(Self::read_at(blobs, child, depth + 1)?);
            }
        } else if matches!(kind.as_str(), media_type::IMAGE_MANIFEST | media_type::DOCKER_MANIFEST) {
            let manifest: ImageManifest =
                serde_json::from_slice(&document.bytes).or_fail(crate::error::Kind::Other, failed)?;
            document.blobs.push(manifest.config().clone());
            document.blobs.extend(manifest.layers().iter().cloned());
        } else {
            let shown: String = kind.chars().take(100).flat_map(char::escape_default).collect();
            return Err(Error::other(format!("failed to read the image: {shown} is neither manifest nor index")));
        }
        Ok(document)
    }

    /// Every blob that this and all below it name, each once.
    pub fn all_blobs(&self) -> Vec<Descriptor> {
        let mut all = Vec::new();
        self.collect(&mut all);
        let mut seen = std::collections::BTreeSet::new();
        all.retain(|blob| seen.insert(blob.digest().to_string()));
        all
    }

    fn collect(&self, all: &mut Vec<Descriptor>) {
        all.extend(self.blobs.iter().cloned());
        self.children.iter().for_each(|child| child.collect(all));
    }

    /// Copies it and all below it into a layout.
    ///
    /// # Errors
    /// Blobs that are missing or damaged; errors of the writer.
    pub fn copy(&self, blobs: &dyn Blobs, writer: &::oci::Writer) -> Result<(), Error> {
        for child in &self.children {
            child.copy(blobs, writer)?;
        }
        for blob in &self.blobs {
            writer.copy(blobs, blob).map_err(failed("copy the image"))?;
        }
        let kind = MediaType::from(self.descriptor.media_type().to_string().as_str());
        writer.blob(kind, &mut self.bytes.as_slice()).map(drop).map_err(failed("copy the image"))
    }
}

/// An error of the OCI library, as one of exit code 1.
pub fn failed(action: &str) -> impl FnOnce(::oci::Error) -> Error + '_ {
    move |error| {
        let hint = error.hint();
        let failed = Error::other(format!("failed to {action}")).caused_by(error);
        match hint {
            Some(hint) => failed.hint(hint),
            None => failed,
        }
    }
}

/// An error of the registry library, as one of exit code 1.
pub fn refused(action: String) -> impl FnOnce(registry::Error) -> Error {
    move |error| {
        if matches!(error, registry::Error::Cancelled) {
            return Error::interrupted();
        }
        let hint = error.hint();
        let failed = Error::other(format!("failed to {action}")).caused_by(error);
        match hint {
            Some(hint) => failed.hint(hint),
            None => failed,
        }
    }
}

/// Where a blob of an image lies as a file.
pub type Place<'a> = dyn Fn(&Descriptor) -> Result<PathBuf, Error> + 'a;
