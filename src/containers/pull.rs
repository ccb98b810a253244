//! From a registry into a layout.

use std::fs::File;
use std::io::{Cursor, Read};
use std::path::PathBuf;

use ::oci::image::{self, Platform, Wanted};
use ::oci::oci_spec::image::{Descriptor, MediaType};
use ::oci::{Blobs, blob, document};
use layers::Workplace;
use registry::{BlobPull, Manifest, Reference, Repository, Selector, media_type};

use super::connection::Connection;
use super::destination::Destination;
use super::document::{DOCUMENT_BYTES_MAX, Document};
use super::{failed, refused};
use crate::cli::options::BuildRequest;
use crate::error::{Error, Kind, ResultExt};

/// What is pulled.
pub struct Pull<'a> {
    /// The means of the command; it has no spec.
    pub request: &'a BuildRequest,
    /// How to reach the registry.
    pub connection: &'a Connection,
    /// Where it comes from.
    pub reference: &'a Reference,
    /// The platform of an image for several; `None` takes all of them.
    pub platform: Option<Platform>,
    /// Where it goes.
    pub destination: &'a Destination,
}

/// Documents and blobs of a repository. Blobs are files that were pulled before.
struct Remote<'a> {
    repository: &'a Repository,
    files: PathBuf,
}

impl Blobs for Remote<'_> {
    fn open(&self, descriptor: &Descriptor) -> Result<Box<dyn Read + Send + '_>, ::oci::Error> {
        let digest = blob::sha256(descriptor.digest())?;
        let fetch = |source: registry::Error| ::oci::Error::Fetch {
            digest: descriptor.digest().to_string(),
            source: Box::new(source),
        };
        let kind = descriptor.media_type().to_string();
        if media_type::ALL_IMAGES.contains(&kind.as_str()) {
            let found = self.repository.manifest(&Selector::Digest(digest), media_type::ALL_IMAGES).map_err(fetch)?;
            let missing = || ::oci::Error::Blob {
                digest: descriptor.digest().to_string(),
                reason: "the registry does not have it".into(),
            };
            return Ok(Box::new(Cursor::new(found.ok_or_else(missing)?.bytes)));
        }
        let path = self.files.join(digest.to_hex());
        if let Ok(file) = File::open(&path) {
            return Ok(Box::new(file));
        }
        let wanted = registry::Descriptor::new(&kind, digest, descriptor.size());
        let bytes = self.repository.read_blob(&wanted, DOCUMENT_BYTES_MAX).map_err(fetch)?;
        Ok(Box::new(Cursor::new(bytes)))
    }
}

impl Pull<'_> {
    /// Pulls; gives the digest of the manifest or index.
    ///
    /// # Errors
    /// No such image; a registry that does not give it; what is not what its digest says.
    pub fn run(&self) -> Result<String, Error> {
        let what = format!("pull {}", self.reference);
        let client = self.connection.client("pull", &self.request.reporter, &self.request.interrupted)?;
        let repository = client.repository(&self.reference.host, &self.reference.name);
        let mut writer = self.destination.begin()?;
        let work = Workplace::open(&self.request.config.work_dir)
            .or_fail(Kind::Configuration, || "failed to use the work directory".into())?;
        let scratch = work.stage().to("make a work directory")?;
        let remote = Remote { repository: &repository, files: scratch.path().to_path_buf() };
        let found = repository.manifest(&self.reference.selector(), media_type::ALL_IMAGES);
        let manifest = found.map_err(refused(what.clone()))?.ok_or_else(|| {
            Error::other(format!("failed to {what}: there is no such image")).hint("check the name and the tag")
        })?;
        let descriptor = self.choose(&manifest, &remote, &what)?;
        let document = Document::read(&remote, &descriptor)?;
        let mut pulls = Vec::new();
        for one in &document.blobs {
            let digest = blob::sha256(one.digest()).map_err(failed(&what))?;
            pulls.push(BlobPull { digest, size: one.size(), target: scratch.path().join(digest.to_hex()) });
        }
        repository.pull_blobs(pulls).map_err(refused(what.clone()))?;
        document.copy(&remote, &writer)?;
        let digest = document.descriptor.digest().to_string();
        let named = Reference { digest: None, ..self.reference.clone() };
        let tag = named.tag.clone().unwrap_or_else(registry::Tag::latest);
        let name = format!("{}/{}:{tag}", named.host, named.name);
        writer.add(document.descriptor, Some(&name));
        self.destination.finish(writer)?;
        Ok(digest)
    }

    /// The manifest of the platform that is wanted, or all there is.
    fn choose(&self, manifest: &Manifest, remote: &Remote<'_>, what: &str) -> Result<Descriptor, Error> {
        let digest = blob::digest(&manifest.digest).map_err(failed(what))?;
        let whole = Descriptor::new(MediaType::from(manifest.media_type.as_str()), manifest.bytes.len() as u64, digest);
        let is_index = matches!(manifest.media_type.as_str(), media_type::IMAGE_INDEX | media_type::DOCKER_LIST);
        let Some(platform) = self.platform.clone().filter(|_| is_index) else { return Ok(whole) };
        let index = document::index(&manifest.bytes, &whole).map_err(failed(what))?;
        let wanted = Wanted { name: None, platform: Some(platform) };
        image::find(remote, &index, &wanted).map(|image| image.descriptor).map_err(failed(what))
    }
}

/// The platform of a text such as `linux/arm64`.
///
/// # Errors
/// It is none.
pub fn platform(text: &str) -> Result<Platform, String> {
    let mut words = text.splitn(3, '/');
    match (words.next(), words.next(), words.next()) {
        (Some(os), Some(architecture), variant) if !os.is_empty() && !architecture.is_empty() => Ok(Platform {
            os: os.to_owned(),
            architecture: architecture.to_owned(),
            variant: variant.map(str::to_owned),
        }),
        _ => Err("write OS/ARCHITECTURE, such as linux/amd64".into()),
    }
}

/// The platform of this machine, in Go's words.
pub fn own_platform() -> Platform {
    let uname = rustix::system::uname();
    Platform::linux(match uname.machine().to_bytes() {
        b"x86_64" => "amd64".to_owned(),
        b"aarch64" => "arm64".to_owned(),
        other => String::from_utf8_lossy(other).into_owned(),
    })
}
