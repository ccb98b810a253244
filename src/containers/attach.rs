//! Files that are about an image, beside it at the registry, as its referrers.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};

use ::image::digest::Hashed;
use ::oci::artifact;
use ::oci::oci_spec::image::Descriptor;
use ::oci::{Form, Writer, blob};
use layers::{Sha256, Staging};
use registry::{BlobPush, Content, ImageManifest, Repository};

use super::{Document, failed, refused};
use crate::error::{Error, Kind, ResultExt};

/// What files are, by the ends of their names; the first that fits counts.
const TYPES: [(&str, &str); 10] = [
    (".spdx.json", "application/spdx+json"),
    (".manifest.json", "application/vnd.image-composer.manifest.v1+json"),
    (".lock", "application/vnd.image-composer.lock.v1"),
    (".raw", "application/vnd.image-composer.disk.v1.raw"),
    (".qcow2", "application/vnd.image-composer.disk.v1.qcow2"),
    (".vhd", "application/vnd.image-composer.disk.v1.vhd"),
    (".iso", "application/vnd.image-composer.disk.v1.iso"),
    (".raw.gz", "application/vnd.image-composer.disk.v1.raw+gzip"),
    (".raw.zst", "application/vnd.image-composer.disk.v1.raw+zstd"),
    (".raw.xz", "application/vnd.image-composer.disk.v1.raw+xz"),
];
/// What everything else is.
const OTHER: &str = "application/octet-stream";

/// Pushes each file as an artifact whose subject is the image.
///
/// # Errors
/// Files that cannot be read; a registry that does not take them.
pub fn attach(
    files: &[PathBuf],
    subject: &Descriptor,
    repository: &Repository,
    scratch: &Staging,
) -> Result<(), Error> {
    let at = scratch.path().join("artifacts");
    let writer = Writer::create(&at, Form::Directory).map_err(failed("pack an artifact"))?;
    for path in files {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let kind = TYPES.iter().find(|(end, _)| name.ends_with(end)).map_or(OTHER, |(_, kind)| kind);
        let what = format!("attach {} to the image", path.display());
        // A disk image is large, so it is sent from where it lies.
        let (own, size) = digest(path)?;
        let descriptor = artifact::describe(kind, &name, &own, size)
            .and_then(|file| artifact::write_of(&writer, kind, Some(subject), vec![file], &BTreeMap::new()))
            .map_err(failed(&what))?;
        let document = Document::read(&writer, &descriptor)?;
        let mut pushes = Vec::new();
        for one in &document.blobs {
            let digest = blob::sha256(one.digest()).map_err(failed(&what))?;
            let place = match digest == own {
                true => path.clone(),
                false => writer
                    .blob_path(&digest)
                    .ok_or_else(|| Error::other(format!("failed to {what}: its blob {digest} is gone")))?,
            };
            let content = Content::File(place);
            pushes.push(BlobPush { digest, size: one.size(), content, mount_from: Vec::new() });
        }
        repository.push_blobs(pushes).map_err(refused(what.clone()))?;
        let manifest: ImageManifest =
            serde_json::from_slice(&document.bytes).or_fail(Kind::Other, || format!("failed to {what}"))?;
        repository.push_referrer(&manifest).map_err(refused(what))?;
    }
    Ok(())
}

/// Digest and size of a file. It is read twice, so that nothing else will do.
fn digest(path: &Path) -> Result<(Sha256, u64), Error> {
    let io = |source| Error::io(Kind::Other, "read", path, source);
    let mut file = File::open(path).map_err(io)?;
    if !file.metadata().map_err(io)?.is_file() {
        return Err(Error::other(format!("failed to read {}: it is no regular file", path.display()))
            .hint("write what is to be attached to a file first"));
    }
    let mut hashed = Hashed::new(std::io::sink());
    std::io::copy(&mut file, &mut hashed).map_err(io)?;
    let (_, digest, size) = hashed.finish();
    Ok((digest, size))
}
