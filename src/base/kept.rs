//! An image at a registry, and what is kept of it.
//!
//! ```text
//! CACHE/bases/sha256/HEX   documents and layers of images, as they came
//! CACHE/bases/names/KEY    the digest that a name of a registry meant last
//! ```

use std::fs::{self, File};
use std::io::{Cursor, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use ::oci::image::{self, Image, Platform, Wanted};
use ::oci::import::Limits;
use ::oci::oci_spec::image::{Descriptor, ImageIndex, ImageIndexBuilder, MediaType};
use ::oci::{Blobs, blob};
use layers::{KeyBuilder, Sha256};
use registry::{BlobPull, Reference, Repository, Selector, media_type};
use serde_json::Value;
use sha2::Digest as _;

use super::of_build;
use crate::config::RegistryConfig;
use crate::containers::connection::Connection;
use crate::containers::refused;
use crate::context::Context;
use crate::error::{Error, Kind, ResultExt};

/// Largest document that is read, in bytes (distribution-spec, "Pushing Manifests").
const DOCUMENT_BYTES_MAX: u64 = 4 << 20;
/// What messages say where there is no network.
const OFFLINE: &str = "it is not in the cache, and --offline forbids to ask the registry";

/// How registries are reached, where they may be.
pub struct Registries {
    /// Who we are to them.
    pub connection: Connection,
    /// What the configuration says of single ones.
    pub configured: Vec<RegistryConfig>,
    /// Raised when somebody wants the build to end.
    pub interrupted: Arc<AtomicBool>,
}

/// The blobs of a repository: kept here, or there.
pub(super) struct Kept {
    reference: Reference,
    directory: PathBuf,
    /// `None` where the network is forbidden.
    repository: Option<Repository>,
}

impl Kept {
    pub(super) fn new(reference: &Reference, cx: &Context) -> Result<Self, Error> {
        let repository = match &cx.registries {
            None => None,
            Some(Registries { connection, configured, interrupted }) => {
                let connection = connection.clone().to(&reference.host, configured);
                let client = connection.client("base image", &cx.reporter, interrupted).map_err(of_build)?;
                Some(client.repository(&reference.host, &reference.name))
            }
        };
        let directory = cx.cache_directory.join("bases");
        for name in ["sha256", "names"] {
            let path = directory.join(name);
            fs::create_dir_all(&path).map_err(|source| Error::io(Kind::Build, "create directory", &path, source))?;
        }
        Ok(Self { reference: reference.clone(), directory, repository })
    }

    fn place(&self, digest: &Sha256) -> PathBuf {
        self.directory.join("sha256").join(digest.to_hex())
    }

    /// Where it is remembered what the name meant last.
    fn name_place(&self) -> PathBuf {
        let key = KeyBuilder::new("name of a base image", 1).field("name", self.reference.to_string()).finish();
        self.directory.join("names").join(key.to_hex())
    }

    /// The image for a platform: the locked one, or what the name means now.
    ///
    /// # Errors
    /// Outside: a registry that does not answer, or has no such image. Inside: what it gives is damaged or
    /// for another platform.
    pub(super) fn image(
        &self,
        locked: Option<&Sha256>,
        platform: Platform,
        cx: &Context,
    ) -> Result<Result<Image, ::oci::Error>, Error> {
        let selector = locked.map_or_else(|| self.reference.selector(), |digest| Selector::Digest(*digest));
        let top = self.top(&selector, cx)?;
        let index = ImageIndexBuilder::default().schema_version(2u32).manifests(vec![top]).build();
        let index: ImageIndex = index.to("read the base image")?;
        Ok(image::find(self, &index, &Wanted { name: None, platform: Some(platform) }))
    }

    /// Descriptor of the manifest or index, which is kept from then on.
    fn top(&self, selector: &Selector, cx: &Context) -> Result<Descriptor, Error> {
        let what = || format!("use the base image docker://{}", self.reference);
        let known = match selector {
            Selector::Digest(digest) => Some(*digest),
            Selector::Tag(_) if self.repository.is_none() => {
                fs::read_to_string(self.name_place()).ok().and_then(|text| text.trim().parse().ok())
            }
            Selector::Tag(_) => None,
        };
        if let Some(digest) = known
            && let Some(bytes) = self.document(&digest)
        {
            return described(&bytes, &digest, None);
        }
        let Some(repository) = &self.repository else {
            return Err(Error::build(format!("failed to {}: {OFFLINE}", what()))
                .hint("build once without --offline, or bring it with `image-composer oci pull` and name the layout"));
        };
        let found = repository.manifest(selector, media_type::ALL_IMAGES);
        let found = found.map_err(|error| of_build(refused(what())(error)))?.ok_or_else(|| {
            let hint = match selector {
                Selector::Tag(_) => "check the name and the tag",
                Selector::Digest(_) => "it may be gone; `image-composer lock SPEC` locks what the name means today",
            };
            Error::build(format!("failed to {}: the registry has no {selector}", what())).hint(hint)
        })?;
        self.keep(&found.digest, &found.bytes, cx)?;
        if let Selector::Tag(_) = selector {
            write(&self.name_place(), found.digest.to_hex().as_bytes(), cx)?;
        }
        described(&found.bytes, &found.digest, Some(&found.media_type))
    }

    /// A document that is kept, if it is whole.
    fn document(&self, digest: &Sha256) -> Option<Vec<u8>> {
        let mut bytes = Vec::new();
        let file = File::open(self.place(digest)).ok()?;
        file.take(DOCUMENT_BYTES_MAX.saturating_add(1)).read_to_end(&mut bytes).ok()?;
        (Sha256::of(&bytes) == *digest).then_some(bytes)
    }

    fn keep(&self, digest: &Sha256, bytes: &[u8], cx: &Context) -> Result<(), Error> {
        write(&self.place(digest), bytes, cx)
    }

    /// Has these layers here, as far as they are not.
    ///
    /// # Errors
    /// A registry that does not give them.
    pub(super) fn bring(&self, layers: &[Descriptor]) -> Result<(), Error> {
        let what = || format!("use the base image docker://{}", self.reference);
        let mut pulls = Vec::new();
        for layer in layers {
            let digest = blob::sha256(layer.digest()).to(&what())?;
            if layer.size() > Limits::default().layer_bytes {
                let size = layer.size();
                return Err(Error::build(format!("failed to {}: it has a layer of {size} bytes", what())));
            }
            let target = self.place(&digest);
            if !is_whole(&target, layer.size(), &digest) {
                pulls.push(BlobPull { digest, size: layer.size(), target });
            }
        }
        match &self.repository {
            _ if pulls.is_empty() => Ok(()),
            None => Err(Error::build(format!("failed to {}: {OFFLINE}", what())).hint("build once without --offline")),
            Some(repository) => repository.pull_blobs(pulls).map_err(|error| of_build(refused(what())(error))),
        }
    }
}

impl Blobs for Kept {
    fn open(&self, descriptor: &Descriptor) -> Result<Box<dyn Read + Send + '_>, ::oci::Error> {
        let digest = blob::sha256(descriptor.digest())?;
        let name = descriptor.digest().to_string();
        let place = self.place(&digest);
        if descriptor.size() <= DOCUMENT_BYTES_MAX {
            if let Some(bytes) = self.document(&digest) {
                return Ok(Box::new(Cursor::new(bytes)));
            }
        } else if is_whole(&place, descriptor.size(), &digest)
            && let Ok(file) = File::open(&place)
        {
            return Ok(Box::new(file));
        }
        let failed =
            |source: Box<dyn std::error::Error + Send + Sync>| ::oci::Error::Fetch { digest: name.clone(), source };
        let Some(repository) = &self.repository else { return Err(failed(OFFLINE.into())) };
        let kind = descriptor.media_type().to_string();
        if media_type::ALL_IMAGES.contains(&kind.as_str()) {
            let found = repository.manifest(&Selector::Digest(digest), media_type::ALL_IMAGES);
            let found = found.map_err(|error| failed(error.into()))?;
            let found = found.ok_or_else(|| failed("the registry does not have it".into()))?;
            // Best effort: what is not kept is asked for again.
            let _ = fs::write(&place, &found.bytes);
            return Ok(Box::new(Cursor::new(found.bytes)));
        }
        if descriptor.size() > Limits::default().layer_bytes {
            return Err(failed("it is larger than any layer".into()));
        }
        let pull = BlobPull { digest, size: descriptor.size(), target: place.clone() };
        repository.pull_blobs(vec![pull]).map_err(|error| failed(error.into()))?;
        let file = File::open(&place).map_err(|error| failed(error.into()))?;
        Ok(Box::new(file))
    }
}

/// Writes a file of the cache, whole or not at all.
fn write(place: &Path, bytes: &[u8], cx: &Context) -> Result<(), Error> {
    let staging = cx.store.stage().to("make a work directory")?;
    let unnamed = staging.path().join("new");
    let io = |source| Error::io(Kind::Build, "write", place, source);
    fs::write(&unnamed, bytes).map_err(io)?;
    fs::rename(&unnamed, place).map_err(io)
}

/// The descriptor of a manifest or an index. One that is kept says its type itself, or has the shape of
/// one.
fn described(bytes: &[u8], digest: &Sha256, announced: Option<&str>) -> Result<Descriptor, Error> {
    let what = "read the base image";
    let kind = match announced {
        Some(kind) => kind.to_owned(),
        None => {
            let value: Value = serde_json::from_slice(bytes).to(what)?;
            match value.get("mediaType").and_then(Value::as_str) {
                Some(kind) => kind.to_owned(),
                None if value.get("manifests").is_some() => media_type::IMAGE_INDEX.to_owned(),
                None => media_type::IMAGE_MANIFEST.to_owned(),
            }
        }
    };
    let digest = blob::digest(digest).to(what)?;
    Ok(Descriptor::new(MediaType::from(kind.as_str()), bytes.len() as u64, digest))
}

/// Whether a file has this size and digest.
fn is_whole(path: &Path, size: u64, digest: &Sha256) -> bool {
    let hashed = || -> std::io::Result<[u8; 32]> {
        let mut file = File::open(path)?;
        if file.metadata()?.len() != size {
            return Err(std::io::ErrorKind::InvalidData.into());
        }
        let (mut hasher, mut buffer) = (sha2::Sha256::new(), vec![0; 256 << 10]);
        loop {
            let count = file.read(&mut buffer)?;
            match buffer.get(..count).filter(|bytes| !bytes.is_empty()) {
                Some(bytes) => hasher.update(bytes),
                None => return Ok(hasher.finalize().into()),
            }
        }
    };
    hashed().is_ok_and(|found| found == digest.0)
}
