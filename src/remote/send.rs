//! From the store to a cache.

use std::fs::File;
use std::io::{self, BufWriter, Read, Write};

use image::compress::{Compression, Encoder};
use image::digest::Hashed;
use layers::{Answer as Note, Key, Sha256, StoredLayer};
use registry::cache::{Answer, has_answer, publish};
use registry::{BlobPush, Content, Descriptor};
use sandbox::Cancel;

use super::{Failure, Holding, Means, Remote};
use crate::error::{Error, ResultExt};
use crate::inventory::parcel;

/// The type of what a layer holds besides its index (image-spec, layer.md): a tar, compressed with zstd.
const CONTENTS: &str = "application/vnd.oci.image.layer.v1.tar+zstd";
/// What a skippable frame begins with (RFC 8878, section 3.1.2).
const SKIPPABLE: u32 = 0x184D_2A50;

impl Remote {
    /// Whether it is to be told of such layers.
    pub(super) fn takes(&self, holding: Holding) -> bool {
        self.push && self.holds(holding)
    }

    /// Whether it says something about a key.
    pub(super) fn has(&self, key: &Key) -> Result<bool, Failure> {
        Ok(has_answer(&self.repository, key)?)
    }

    /// Sends a layer that answers a key; under other digests than ever where the answer that is there is damaged.
    pub(super) fn send(&self, key: &Key, layer: &StoredLayer, note: &[u8], means: &Means) -> Result<(), Failure> {
        let mark = self.damaged().get(key).copied();
        match self.send_marked(key, layer, note, mark, means) {
            // The registry says so itself: what lies there under such a digest has another size.
            Err(Failure::Damaged(words)) if mark.is_none() => {
                self.send_marked(key, layer, note, Some(Sha256::of(words.as_bytes())), means)
            }
            sent => sent,
        }
    }

    fn send_marked(
        &self,
        key: &Key,
        layer: &StoredLayer,
        note: &[u8],
        mark: Option<Sha256>,
        means: &Means,
    ) -> Result<(), Failure> {
        let staging = means.store.stage().to("make a work directory")?;
        let encoded = layer.layer.encode();
        let index = compressed(encoded.as_slice(), encoded.len() as u64, Vec::new(), mark, means)?.0;
        let plain = staging.path().join("plain");
        let out = BufWriter::with_capacity(1 << 20, File::create(&plain).to("pack a layer")?);
        let mut out = Watched(out, &means.cancel);
        let notes = [Note { key: *key, note: note.to_vec() }];
        parcel::write_rest(layer, &notes, &mut out)?;
        let size = out.0.into_inner().to("pack a layer")?.metadata().to("pack a layer")?.len();
        let packed = staging.path().join("packed");
        let file = BufWriter::with_capacity(1 << 20, File::create(&packed).to("pack a layer")?);
        let source = File::open(&plain).to("pack a layer")?;
        let (hashed, digest, packed_size) = compressed(source, size, file, mark, means)?;
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

/// Compresses; gives the writer back with digest and size of what it took. A mark changes these, and nothing of
/// what is unpacked: registries do not take a blob that they think they have.
fn compressed<W: Write + Send + 'static>(
    source: impl Read,
    size: u64,
    out: W,
    mark: Option<Sha256>,
    means: &Means,
) -> Result<(W, Sha256, u64), Error> {
    let hashed = Hashed::new(out);
    let mut encoder = Encoder::new(hashed, Compression::Zstd(3), size, means.threads).to("pack a layer")?;
    io::copy(&mut Watched(source, &means.cancel), &mut encoder).to("pack a layer")?;
    let mut hashed = encoder.finish().to("pack a layer")?;
    if let Some(mark) = mark {
        hashed.write_all(&skippable(&mark)).to("pack a layer")?;
    }
    Ok(hashed.finish())
}

/// A frame that every decoder passes over (RFC 8878, section 3.1.2).
fn skippable(mark: &Sha256) -> Vec<u8> {
    [&SKIPPABLE.to_le_bytes()[..], &(mark.0.len() as u32).to_le_bytes(), &mark.0].concat()
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use image::compress::{Compressed, Decoder};
    use layers::Store;

    use super::*;
    use crate::progress::Silent;

    #[test]
    fn a_mark_changes_the_digest_and_nothing_else() {
        let home = tempfile::tempdir().unwrap();
        let means = Means {
            store: Store::open(home.path(), "test").unwrap(),
            reporter: Arc::new(Silent),
            cancel: Cancel::default(),
            threads: 1,
        };
        let pack = |mark| compressed(&b"bytes"[..], 5, Vec::new(), mark, &means).unwrap();
        let marks = [None, Some(Sha256::of(b"one")), Some(Sha256::of(b"two"))];
        let packed = marks.map(|mark| pack(mark));
        for (bytes, digest, size) in &packed {
            assert_eq!((Sha256::of(bytes), bytes.len() as u64), (*digest, *size));
            let mut found = Vec::new();
            Decoder::new(bytes.as_slice(), Compressed::Zstd).unwrap().read_to_end(&mut found).unwrap();
            assert_eq!(found, b"bytes");
        }
        assert!(packed[0].1 != packed[1].1 && packed[1].1 != packed[2].1 && packed[0].1 != packed[2].1);
        assert_eq!(pack(marks[1]).1, packed[1].1, "machines that find the same damage send the same");
    }
}
