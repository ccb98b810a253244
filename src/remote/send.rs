//! From the store to a cache.

use std::fs::File;
use std::io::{self, BufWriter, Read, Write};

use image::compress::{Compression, Encoder};
use image::digest::Hashed;
use layers::{Answer as Note, Key, StoredLayer};
use registry::cache::{Answer, has_answer, publish};
use registry::{BlobPush, Content, Descriptor};
use sandbox::Cancel;

use super::{Failure, Means, Remote};
use crate::error::{Error, ResultExt};
use crate::inventory::parcel;

/// The type of what a layer holds besides its index (image-spec, layer.md): a tar, compressed with zstd.
const CONTENTS: &str = "application/vnd.oci.image.layer.v1.tar+zstd";

impl Remote {
    /// Whether it is to be told of layers.
    pub(super) fn takes(&self) -> bool {
        self.push
    }

    /// Whether it says something about a key.
    pub(super) fn has(&self, key: &Key) -> Result<bool, Failure> {
        Ok(has_answer(&self.repository, key)?)
    }

    /// Sends a layer that answers a key.
    pub(super) fn send(&self, key: &Key, layer: &StoredLayer, note: &[u8], means: &Means) -> Result<(), Failure> {
        let staging = means.store.stage().to("make a work directory")?;
        let encoded = layer.layer.encode();
        let index = compressed(encoded.as_slice(), encoded.len() as u64, Vec::new(), means)?.0;
        let plain = staging.path().join("plain");
        let out = BufWriter::with_capacity(1 << 20, File::create(&plain).to("pack a layer")?);
        let mut out = Watched(out, &means.cancel);
        let notes = [Note { key: *key, note: note.to_vec() }];
        parcel::write_rest(layer, &notes, &mut out)?;
        let size = out.0.into_inner().to("pack a layer")?.metadata().to("pack a layer")?.len();
        let packed = staging.path().join("packed");
        let file = BufWriter::with_capacity(1 << 20, File::create(&packed).to("pack a layer")?);
        let source = File::open(&plain).to("pack a layer")?;
        let (hashed, digest, packed_size) = compressed(source, size, file, means)?;
        hashed.into_inner().to("pack a layer")?;
        // Only what is packed is sent.
        let _ = std::fs::remove_file(plain);
        let index = BlobPush::of(index);
        let contents = BlobPush { digest, size: packed_size, content: Content::File(packed), mount_from: Vec::new() };
        let answer = Answer {
            key: *key,
            layer: layer.id,
            index: Answer::index_blob(index.digest, index.size),
            contents: vec![Descriptor::new(CONTENTS, contents.digest, contents.size)],
            signatures: Vec::new(),
        };
        self.repository.push_blobs(vec![index, contents])?;
        publish(&self.repository, &answer, self.signer.as_ref())?;
        Ok(())
    }
}

/// Compresses; gives the writer back with digest and size of what it took.
fn compressed<W: Write + Send + 'static>(
    source: impl Read,
    size: u64,
    out: W,
    means: &Means,
) -> Result<(W, layers::Sha256, u64), Error> {
    let hashed = Hashed::new(out);
    let mut encoder = Encoder::new(hashed, Compression::Zstd(3), size, means.threads).to("pack a layer")?;
    io::copy(&mut Watched(source, &means.cancel), &mut encoder).to("pack a layer")?;
    Ok(encoder.finish().to("pack a layer")?.finish())
}

/// A reader or a writer that fails when the work is to end.
struct Watched<'a, T>(T, &'a Cancel);

impl<T> Watched<'_, T> {
    fn check(&self) -> io::Result<()> {
        // Not the kind for interruptions: those are tried again.
        if self.1.is_cancelled() { Err(io::Error::other("interrupted")) } else { Ok(()) }
    }
}

impl<T: Read> Read for Watched<'_, T> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.check()?;
        self.0.read(buffer)
    }
}

impl<T: Write> Write for Watched<'_, T> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.check()?;
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}
