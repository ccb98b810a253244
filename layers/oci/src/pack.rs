//! A layer as a blob: its tar, compressed, and the digests of both, in one pass.

use std::io::{self, Write};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread;

use ::image::compress::{Compression, Encoder};
use ::image::digest::Hashed;
use layers::{Contents, Layer, Sha256, TreePath};
use oci_spec::image::{Descriptor, MediaType};

use crate::archive::Plan;
use crate::{Error, blob};

/// Bytes that go from the reader of files to the compressor at once.
const CHUNK_BYTES: usize = 1 << 20;
/// Chunks on their way.
const DEPTH: usize = 4;

/// A packed layer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Packed {
    /// SHA-256 of the tar: its entry in `rootfs.diff_ids`.
    pub diff_id: Sha256,
    /// Size of the tar in bytes.
    pub tar_bytes: u64,
    /// SHA-256 of the blob.
    pub digest: Sha256,
    /// Size of the blob in bytes.
    pub size: u64,
    /// What the blob is.
    pub media_type: MediaType,
    /// Sockets that the tar does not have.
    pub lost: Vec<TreePath>,
}

impl Packed {
    /// The blob's descriptor.
    ///
    /// # Errors
    /// As [`blob::digest`].
    pub fn descriptor(&self) -> Result<Descriptor, Error> {
        Ok(Descriptor::new(self.media_type.clone(), self.size, blob::digest(&self.digest)?))
    }
}

/// The media type of layers that are compressed in this way.
///
/// # Errors
/// [`Error::Inexpressible`] for xz, which the image specification does not have.
pub fn media_type(compression: Compression) -> Result<MediaType, Error> {
    match compression {
        Compression::Zstd(_) => Ok(MediaType::ImageLayerZstd),
        Compression::Gzip(_) => Ok(MediaType::ImageLayerGzip),
        other => Err(Error::Inexpressible {
            what: format!("a layer compressed as {}", other.extension()),
            reason: "layers are compressed as gz or zst".into(),
        }),
    }
}

/// SHA-256 and size of a layer's tar, without compressing it.
///
/// # Errors
/// As [`pack`].
pub fn diff_id(layer: &Layer, contents: &dyn Contents) -> Result<(Sha256, u64), Error> {
    let plan = Plan::new(layer)?;
    let mut hashed = Hashed::new(io::sink());
    plan.write(contents, &mut hashed)?;
    let (_, digest, size) = hashed.finish();
    Ok((digest, size))
}

/// Packs a layer into a writer. The bytes depend on the layer and the compression only, not on
/// `threads`.
///
/// # Errors
/// What tar cannot express; content that is missing or damaged; errors of the writer.
pub fn pack<W: Write>(
    layer: &Layer,
    contents: &dyn Contents,
    compression: Compression,
    threads: usize,
    writer: W,
) -> Result<(W, Packed), Error> {
    pack_again(layer, contents, compression, threads, None, writer)
}

/// As [`pack`], where the SHA-256 of the layer's tar may be known from the last time, so that only the blob is
/// hashed: contents are held to the layer's digests as ever, and a tar has no other bytes than these and the layer.
///
/// # Errors
/// As [`pack`].
pub fn pack_again<W: Write>(
    layer: &Layer,
    contents: &dyn Contents,
    compression: Compression,
    threads: usize,
    diff_id: Option<Sha256>,
    writer: W,
) -> Result<(W, Packed), Error> {
    let media_type = media_type(compression)?;
    let plan = Plan::new(layer)?;
    let write = |source| Error::Write { what: "a packed layer".into(), source };
    let encoder = Encoder::new(Hashed::new(writer), compression, plan.size(), threads)?;
    let mut encoder = encoder;
    // Files are read and hashed while the chunk before is compressed.
    let (diff_id, tar_bytes) = thread::scope(|scope| {
        let (chunks, waiting) = sync_channel::<Vec<u8>>(DEPTH);
        let plan = &plan;
        let reader = thread::Builder::new().name("oci-tar".into()).spawn_scoped(scope, move || {
            let mut tar = Chunks { chunks, pending: Vec::with_capacity(CHUNK_BYTES) };
            let flushed = |done: io::Result<()>| {
                done.map_err(|source| Error::Write { what: "the tar of a layer".into(), source })
            };
            if let Some(diff_id) = diff_id {
                plan.write(contents, &mut tar)?;
                flushed(tar.flush())?;
                return Ok((diff_id, plan.size()));
            }
            let mut tar = Hashed::new(tar);
            plan.write(contents, &mut tar)?;
            flushed(tar.flush())?;
            let (_, digest, size) = tar.finish();
            Ok::<_, Error>((digest, size))
        });
        let reader = reader.map_err(write)?;
        let mut taken = Ok(());
        for chunk in waiting {
            taken = encoder.write_all(&chunk);
            if taken.is_err() {
                // Dropping what waits ends the reader.
                break;
            }
        }
        let read = reader.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        taken.map_err(write)?;
        read
    })?;
    let (writer, digest, size) = encoder.finish().map_err(write)?.finish();
    let packed = Packed { diff_id, tar_bytes, digest, size, media_type, lost: plan.lost().to_vec() };
    Ok((writer, packed))
}

/// Hands what is written over in chunks.
struct Chunks {
    chunks: SyncSender<Vec<u8>>,
    pending: Vec<u8>,
}

impl Write for Chunks {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.pending.len() >= CHUNK_BYTES {
            self.flush()?;
        }
        let room = CHUNK_BYTES.saturating_sub(self.pending.len()).min(bytes.len());
        self.pending.extend_from_slice(bytes.get(..room).unwrap_or_default());
        Ok(room)
    }

    fn flush(&mut self) -> io::Result<()> {
        let chunk = std::mem::replace(&mut self.pending, Vec::with_capacity(CHUNK_BYTES));
        self.chunks.send(chunk).map_err(|_| io::Error::other("nobody takes the bytes any more"))
    }
}
