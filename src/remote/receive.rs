//! From a cache into the store.

use std::fs::File;
use std::io::{Cursor, Read};

use ::oci::archive::Source;
use ::oci::import::Limits;
use image::compress::{Compressed, Decoder};
use layers::{Answer, Blake3, Key, Layer, Sha256, Staging, StoredLayer};
use registry::BlobPull;
use registry::cache::look_up;

use super::{Failure, Holding, Means, Remote};
use crate::error::{Error, ResultExt};
use crate::inventory::parcel::{self, Notes};

/// Largest index that is taken, in bytes, compressed and not.
const INDEX_BYTES_MAX: u64 = 256 << 20;

/// A layer that came, whole, and is not in the store yet.
struct Received {
    staging: Staging,
    layer: Layer,
    note: Vec<u8>,
}

impl Remote {
    /// See [`super::Remotes::fetch`].
    pub(super) fn fetch(&self, key: &Key, holding: Holding, means: &Means) -> Option<(StoredLayer, Vec<u8>)> {
        if !self.is_there(holding, means) || self.may_have_damage(key, means) {
            return None;
        }
        let kept = self.receive(key, None, means).and_then(|received| {
            let Some(Received { staging, layer, note }) = received else { return Ok(None) };
            let stored = means.store.publish(staging, layer, key, &note).to("keep a layer")?;
            Ok(Some((stored, note)))
        });
        kept.unwrap_or_else(|failure| {
            if let Failure::Damaged(words) = &failure {
                // Should this machine send what it makes, it has to be under other digests.
                self.damaged().insert(*key, Sha256::of(words.as_bytes()));
            }
            self.tell(failure, holding, means);
            None
        })
    }

    /// Puts a layer in place again that is damaged or missing, if the answer to this key here is that layer.
    pub(super) fn restore(&self, layer: &Blake3, answer: &Answer, means: &Means) -> bool {
        if !self.is_there(Holding::Step, means) || self.may_have_damage(&answer.key, means) {
            return false;
        }
        let restored = self.receive(&answer.key, Some(layer), means).and_then(|received| {
            let Some(Received { staging, layer, .. }) = received else { return Ok(false) };
            means.store.replace(staging, layer, &answer.key, &answer.note).to("keep a layer")?;
            Ok(true)
        });
        restored.unwrap_or_else(|failure| {
            self.tell(failure, Holding::Step, means);
            false
        })
    }

    /// Whether this machine may itself have sent the answer to a key, and it may have been made of damage.
    fn may_have_damage(&self, key: &Key, means: &Means) -> bool {
        self.push && means.store.is_forgotten(key)
    }

    /// What the answer to a key holds; only if it is this layer, where one is named.
    fn receive(&self, key: &Key, wanted: Option<&Blake3>, means: &Means) -> Result<Option<Received>, Failure> {
        let Some(answer) = look_up(&self.repository, key, &self.trust)? else { return Ok(None) };
        if wanted.is_some_and(|wanted| *wanted != answer.layer) {
            return Ok(None);
        }
        let packed = self.repository.read_blob(&answer.index, INDEX_BYTES_MAX)?;
        let mut index = Vec::new();
        let decoder = Decoder::new(Cursor::new(packed), Compressed::Zstd).to("unpack the index")?;
        decoder.take(INDEX_BYTES_MAX).read_to_end(&mut index).to("unpack the index")?;
        answer.check_index(&index).to("use the index")?;
        let layer = Layer::decode(&index).to("read the index")?;
        let [contents] = answer.contents.as_slice() else {
            return Err(Error::build("the answer has not one blob of contents").into());
        };
        let limits = Limits::default();
        if contents.size > limits.layer_bytes {
            return Err(Error::build(format!("the contents have {} bytes, which no layer has", contents.size)).into());
        }
        let staging = means.store.stage().to("make a work directory")?;
        let packed = staging.path().join("packed");
        let pull = BlobPull { digest: contents.digest, size: contents.size, target: packed.clone() };
        self.repository.pull_blobs(vec![pull])?;
        let file = File::open(&packed).to("read the contents")?;
        let source = Stream(Decoder::new(file, Compressed::Zstd).to("unpack the contents")?);
        let size = limits.unpacked(contents.size);
        let unpacked = parcel::read(source, size, &staging, Some(layer), Notes::Of(key))?;
        for leftover in [packed.clone(), packed.with_extension("part")] {
            let _ = std::fs::remove_file(leftover);
        }
        let note = unpacked.answers.into_iter().next().map(|answer| answer.note);
        let note = note.ok_or_else(|| Error::build("the answer has no note of the step"))?;
        Ok(Some(Received { staging, layer: unpacked.layer, note }))
    }
}

/// A stream that can only be read on.
struct Stream<R>(R);

impl<R: Read> Read for Stream<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.0.read(buffer)
    }
}

impl<R: Read> Source for Stream<R> {}
