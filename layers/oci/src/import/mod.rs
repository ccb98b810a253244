//! Takes the layers of an image into a store.

mod assemble;
mod files;
mod unpack;

use std::io::{self, Read};

use ::image::compress::{Compressed, Decoder};
use layers::{Key, KeyBuilder, Layer, Sha256, Stack, Store, StoredLayer};
use oci_spec::image::{Descriptor, MediaType};
use sha2::Digest as _;

use crate::Error;
use crate::archive::{Members, Source};
use crate::blob::{Blobs, Verified, shown};
use crate::error::IoContext;
use crate::image::Image;

/// Part of the key of a layer; grows when the same tar becomes another layer.
const VERSION: u32 = 1;
/// Docker's names for types of layers (distribution, image manifest version 2, schema 2).
const DOCKER_LAYER: &str = "application/vnd.docker.image.rootfs.diff.tar";

/// What an image may cost at most.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Bytes that one layer may unpack to.
    pub layer_bytes: u64,
    /// How many times the size of its blob a layer may unpack to, beyond `spare_bytes`: deflate
    /// reaches 1032, and only with zeros.
    pub ratio: u64,
    /// Bytes that any layer may unpack to, however small its blob is.
    pub spare_bytes: u64,
    /// Entries of one layer.
    pub entries: usize,
    /// Bytes of names, link targets and attributes of one layer, which are kept in memory.
    pub metadata_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            layer_bytes: 64 << 30,
            ratio: 1000,
            spare_bytes: 256 << 20,
            entries: 2_000_000,
            metadata_bytes: 128 << 20,
        }
    }
}

impl Limits {
    /// Bytes that a layer may unpack to whose blob has this size.
    pub fn unpacked(&self, blob_bytes: u64) -> u64 {
        blob_bytes.saturating_mul(self.ratio).saturating_add(self.spare_bytes).min(self.layer_bytes)
    }
}

/// How much of a blob is still read to tell whether it is damaged, when what is in it is refused, in
/// bytes: a size may be a lie, and a source may never end.
const REST_BYTES_MAX: u64 = 256 << 20;

/// Takes the layers of an image into the store, the bottom first. A layer that is there already is
/// not fetched: it was held to the same `diff_id` when it came. Nothing of an image that is damaged
/// or lies is published, but the layers below the one that is may be.
///
/// # Errors
/// Blobs that are not what their descriptors say; tars that are not what the configuration says,
/// are damaged, hostile or larger than the limits; errors of the store.
pub fn import(image: &Image, blobs: &dyn Blobs, store: &Store, limits: &Limits) -> Result<Stack, Error> {
    let mut stack = Stack::default();
    for (descriptor, diff_id, key) in keyed(image) {
        let layer = match store.recall(&key)? {
            Some((layer, _)) => layer,
            None => {
                let staging = store.stage()?;
                let layer = unpack(descriptor, diff_id, blobs, &stack, &staging.files()?, limits)?;
                // A further name of a file below is a copy of it.
                store.publish_on(&stack.ids(), staging, layer, &key, b"")?
            }
        };
        push(&mut stack, layer, descriptor)?;
    }
    Ok(stack)
}

/// The layers of an image that the store does not have, the bottom first: whose blobs [`import`] opens.
///
/// # Errors
/// I/O errors of the store.
pub fn missing(image: &Image, store: &Store) -> Result<Vec<Descriptor>, Error> {
    let mut missing = Vec::new();
    for (descriptor, _, key) in keyed(image) {
        if store.recall(&key)?.is_none() {
            missing.push(descriptor.clone());
        }
    }
    Ok(missing)
}

/// The layers of an image with their keys. What a link or an opaque directory means depends on what is
/// below, so a key is of all of it.
fn keyed(image: &Image) -> impl Iterator<Item = (&Descriptor, &Sha256, Key)> {
    let layers = image.manifest.layers().iter().zip(&image.diff_ids).enumerate();
    layers.map(|(at, (descriptor, diff_id))| {
        let chain = image.diff_ids.get(..=at).unwrap_or_default();
        (descriptor, diff_id, KeyBuilder::new("oci layer", VERSION).list("diff_ids", chain).finish())
    })
}

fn push(stack: &mut Stack, layer: StoredLayer, descriptor: &Descriptor) -> Result<(), Error> {
    stack.push(layer).map_err(|error| Error::Unpack {
        layer: descriptor.digest().to_string(),
        reason: format!("it does not fit what is below it: {error}"),
    })
}

/// Unpacks one layer into an empty directory of plain files and gives its changes.
///
/// # Errors
/// As [`import`]. What was written stays, and nothing outside of the directory was touched.
pub fn unpack(
    descriptor: &Descriptor,
    diff_id: &Sha256,
    blobs: &dyn Blobs,
    below: &Stack,
    files: &std::path::Path,
    limits: &Limits,
) -> Result<Layer, Error> {
    let name = descriptor.digest().to_string();
    let refuse = |reason: String| Error::Unpack { layer: name.clone(), reason };
    let compressed = compression(descriptor).map_err(refuse)?;
    let bytes = limits.unpacked(descriptor.size());
    let mut blob = Verified::open(blobs, descriptor)?;
    let unpacked = {
        let reader: Box<dyn Read + '_> = match compressed {
            None => Box::new(&mut blob),
            Some(format) => Box::new(Decoder::new(&mut blob, format).at("start a decoder for", &name)?),
        };
        unpack::unpack(Members::new(Hashed::new(reader, bytes), bytes), below, files, limits)
    };
    // A blob that is not what it should be explains any other error better.
    let (layer, tar) = match unpacked {
        Ok(unpacked) => {
            blob.finish()?;
            unpacked
        }
        Err(error) => {
            let whole = if blob.left() > REST_BYTES_MAX { Ok(()) } else { blob.finish() };
            return Err(match (error, whole) {
                // A source that broke off has said so already.
                (_, Err(damaged @ Error::Blob { .. })) => damaged,
                (unpack::Failed::Refused(reason), _) => refuse(reason),
                (unpack::Failed::Error(error), _) => error,
            });
        }
    };
    if tar != *diff_id {
        return Err(refuse(format!("the digest of its tar is sha256:{tar}, and the image says sha256:{diff_id}")));
    }
    Ok(layer)
}

fn compression(descriptor: &Descriptor) -> Result<Option<Compressed>, String> {
    let text = descriptor.media_type().to_string();
    match descriptor.media_type() {
        MediaType::ImageLayer => Ok(None),
        MediaType::ImageLayerGzip => Ok(Some(Compressed::Gzip)),
        MediaType::ImageLayerZstd => Ok(Some(Compressed::Zstd)),
        _ => match text.strip_prefix(DOCKER_LAYER) {
            Some("") => Ok(None),
            Some(".gzip") => Ok(Some(Compressed::Gzip)),
            Some(".zstd") => Ok(Some(Compressed::Zstd)),
            _ if text.contains("nondistributable") || text.contains("foreign") => {
                Err("it may not be distributed with the image".into())
            }
            _ => Err(format!("{} is no layer", shown(&text))),
        },
    }
}

/// Digest of a stream of at most so many bytes.
struct Hashed<R> {
    reader: R,
    hasher: sha2::Sha256,
    left: u64,
}

impl<R: Read> Hashed<R> {
    fn new(reader: R, limit: u64) -> Self {
        Self { reader, hasher: sha2::Sha256::new(), left: limit }
    }

    /// Reads what is left: the digest is of all of it, also of what follows the last member.
    fn finish(mut self) -> io::Result<Sha256> {
        io::copy(&mut self, &mut io::sink())?;
        Ok(Sha256(self.hasher.finalize().into()))
    }
}

impl<R: Read> Read for Hashed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.reader.read(buffer)?;
        self.left =
            self.left.checked_sub(count as u64).ok_or_else(|| io::Error::other("it unpacks to too many bytes"))?;
        self.hasher.update(buffer.get(..count).unwrap_or_default());
        Ok(count)
    }
}

impl<R: Read> Source for Hashed<R> {}
