//! To a registry.

use std::fs::File;
use std::path::Path;

use ::oci::oci_spec::image::Descriptor;
use ::oci::{Form, Layout, Writer, blob};
use layers::{Staging, Workplace};
use registry::{BlobPush, Content, Name, Pushed, Reference, Repository};

use super::connection::Connection;
use super::source::{self, Source};
use super::{Document, Place, attach, failed, refused};
use crate::cleaning;
use crate::cli::options::BuildRequest;
use crate::error::{Error, Kind, ResultExt};
use crate::finalize::oci::export;

/// What is pushed, and where.
pub struct Push<'a> {
    /// The means of the command; its spec is the source's.
    pub request: &'a BuildRequest,
    /// How to reach the registry.
    pub connection: &'a Connection,
    /// Which image of a layout that has several.
    pub name: Option<&'a str>,
    /// Where it goes.
    pub reference: &'a Reference,
    /// Repositories of the same registry that may have blobs of it.
    pub mount_from: &'a [Name],
    /// Files to attach to it: an SBOM, a manifest, a disk image.
    pub attach: &'a [std::path::PathBuf],
}

/// What came of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Done {
    /// Digest of the manifest or index, `sha256:…`.
    pub digest: String,
    /// Bytes of the blobs that were sent; others were there, or mounted.
    pub sent: u64,
    /// Bytes of all blobs.
    pub bytes: u64,
}

impl Push<'_> {
    /// Pushes.
    ///
    /// # Errors
    /// Those of the build; a layout that is damaged; a registry that does not take it.
    pub fn run(&self, source: &Source) -> Result<Done, Error> {
        if self.reference.digest.is_some() {
            return Err(Error::usage(format!("'{}' names a digest", self.reference))
                .hint("the digest follows from what is pushed: name a tag, or nothing"));
        }
        let client = self.connection.client("push", &self.request.reporter, &self.request.interrupted)?;
        let repository = client.repository(&self.reference.host, &self.reference.name);
        let work = Workplace::open(&self.request.config.work_dir)
            .or_fail(Kind::Configuration, || "failed to use the work directory".into())?;
        let scratch = work.stage().to("make a work directory")?;
        match source {
            Source::Layout(layout, path) => self.layout(layout, path, &repository, &scratch),
            Source::Spec(_) => self.build(&repository, &scratch),
        }
    }

    fn layout(&self, layout: &Layout, path: &Path, repository: &Repository, scratch: &Staging) -> Result<Done, Error> {
        let descriptor = source::choose(layout, self.name)?;
        let document = Document::read(layout, &descriptor)?;
        let is_directory = path.is_dir();
        let place = |descriptor: &Descriptor| {
            let hex = descriptor.digest().digest();
            if is_directory {
                return Ok(path.join("blobs").join("sha256").join(hex));
            }
            // A registry takes a file, not a part of one.
            let to = scratch.path().join(hex);
            let mut reader = blob::Verified::open(layout, descriptor).map_err(failed("read the layout"))?;
            let mut file = File::create(&to).map_err(|source| Error::io(Kind::Other, "create", &to, source))?;
            std::io::copy(&mut reader, &mut file).map_err(|source| Error::io(Kind::Other, "write", &to, source))?;
            reader.finish().map_err(failed("read the layout"))?;
            Ok(to)
        };
        self.push(&document, &place, repository, scratch)
    }

    fn build(&self, repository: &Repository, scratch: &Staging) -> Result<Done, Error> {
        source::built(self.request, |spec, finished, cx| {
            let writer =
                Writer::create(&scratch.path().join("image"), Form::Directory).map_err(failed("pack the image"))?;
            // This build may have come upon damage.
            cleaning::settle(&self.request.config, &cx.store)?;
            // A registry that does not answer is told of when it is pushed to.
            let has = |packed: &::oci::Packed| repository.has_blob(&packed.digest).unwrap_or(false);
            let exported = export(spec, finished, &writer, Some(&has), cx)?;
            let document = Document::read(&writer, &exported.descriptor)?;
            let place = |descriptor: &Descriptor| {
                let digest = blob::sha256(descriptor.digest()).map_err(failed("pack the image"))?;
                // What was not packed the registry had, as it was asked.
                writer.blob_path(&digest).ok_or_else(|| {
                    Error::other(format!("failed to push to {}: it has no longer the blob {digest}", self.reference))
                        .hint("run the command again: it packs what is missing")
                })
            };
            self.push(&document, &place, repository, scratch)
        })
    }

    fn push(
        &self,
        document: &Document,
        place: &Place<'_>,
        repository: &Repository,
        scratch: &Staging,
    ) -> Result<Done, Error> {
        let what = format!("push to {}", self.reference);
        let mut pushes = Vec::new();
        let mut bytes = 0u64;
        for descriptor in &document.blobs {
            let digest = blob::sha256(descriptor.digest()).map_err(failed(&what))?;
            let size = descriptor.size();
            bytes = bytes.saturating_add(size);
            if repository.has_blob(&digest).map_err(refused(what.clone()))? {
                continue;
            }
            let content = Content::File(place(descriptor)?);
            pushes.push(BlobPush { digest, size, content, mount_from: self.mount_from.to_vec() });
        }
        let sizes: Vec<u64> = pushes.iter().map(|push| push.size).collect();
        let how = repository.push_blobs(pushes).map_err(refused(what.clone()))?;
        let gone = how.iter().zip(sizes).filter(|(how, _)| **how == Pushed::Sent);
        let sent = gone.fold(0u64, |sum, (_, size)| sum.saturating_add(size));
        for part in &document.below {
            let kind = part.descriptor.media_type().to_string();
            repository.push_manifest(None, &kind, &part.bytes).map_err(refused(what.clone()))?;
        }
        let tag = self.reference.tag.clone().unwrap_or_else(registry::Tag::latest);
        let kind = document.descriptor.media_type().to_string();
        repository.push_manifest(Some(&tag), &kind, &document.bytes).map_err(refused(what))?;
        if !self.attach.is_empty() {
            attach::attach(self.attach, &document.descriptor, repository, scratch)?;
        }
        Ok(Done { digest: document.descriptor.digest().to_string(), sent, bytes })
    }
}

/// Reads a reference as people write it.
///
/// # Errors
/// It is none, with what to write.
pub fn reference(text: &str) -> Result<Reference, Error> {
    text.parse().map_err(|error: registry::ReferenceError| {
        let hint = error.hint().unwrap_or_else(|| "write docker://HOST/REPOSITORY:TAG".into());
        Error::usage(format!("'{text}' names no image of a registry")).caused_by(error).hint(hint)
    })
}
