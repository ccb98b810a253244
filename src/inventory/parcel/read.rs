//! A layer out of a parcel.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

use ::oci::archive::{Members, Refusal, Source};
use layers::{Answer, Blake3, Change, Content, Entry, Key, Kind, Layer, Staging, TreePath};

use super::place::lay;
use super::{COPY_BYTES, Notes, Unpacked, is_name_of_below};
use crate::error::{Error, Kind as ErrorKind, ResultExt};

/// Largest index that is read, in bytes: what the store takes.
const INDEX_BYTES_MAX: u64 = 256 << 20;
/// Largest list of what is besides, in bytes: directories above, and the few further names of files below.
const BESIDES_BYTES_MAX: u64 = 64 << 20;
/// Most bytes of all notes together, which are kept in memory.
const NOTES_BYTES_MAX: u64 = 64 << 20;
/// Longest text of what made a layer, in bytes.
const MADE_BYTES_MAX: u64 = 4096;
/// Most keys that are taken.
const KEYS_MAX: usize = 10_000;

/// Reads a parcel of at most `size` bytes into an empty staging directory; `index` is the layer where its index
/// was kept apart. Everything is held to the index; nothing is written outside of the directory.
///
/// # Errors
/// A parcel that is damaged or hostile; I/O errors.
pub fn read<R: Source>(
    source: R,
    size: u64,
    staging: &Staging,
    index: Option<Layer>,
    notes: Notes<'_>,
) -> Result<Unpacked, Error> {
    let mut reader = Reader { members: Members::new(source, size), buffer: vec![0; COPY_BYTES] };
    let mut wanted = BTreeMap::new();
    let mut layer = index;
    if let Some(layer) = &layer {
        layer.check().or_fail(ErrorKind::Other, said)?;
        want(layer, &mut wanted)?;
    }
    let (mut made, mut answers, mut besides) = (None, Vec::new(), None);
    let (mut keys, mut left) = (0usize, NOTES_BYTES_MAX);
    let kept = staging.path().join("contents");
    fs::create_dir(&kept).map_err(|source| Error::io(ErrorKind::Other, "create directory", &kept, source))?;
    while let Some(head) = reader.members.next_member().map_err(refused)? {
        let name = String::from_utf8(head.name.clone()).map_err(|_| bad("a member has no usable name"))?;
        match (&layer, name.as_str()) {
            (None, "index") => {
                let bytes = reader.document(head.size, INDEX_BYTES_MAX)?;
                let found = Layer::decode(&bytes).or_fail(ErrorKind::Other, said)?;
                want(&found, &mut wanted)?;
                layer = Some(found);
            }
            (None, _) => return Err(bad("it does not begin with an index")),
            (Some(_), "made") => {
                let bytes = reader.document(head.size, MADE_BYTES_MAX)?;
                made = Some(String::from_utf8_lossy(&bytes).into_owned());
            }
            (Some(layer), "besides") if besides.is_none() => {
                let bytes = reader.document(head.size, BESIDES_BYTES_MAX)?;
                let found = Layer::decode(&bytes).or_fail(ErrorKind::Other, said)?;
                check_besides(layer, &found)?;
                want(&found, &mut wanted)?;
                besides = Some(found);
            }
            (Some(_), name) => {
                if let Some(key) = name.strip_prefix("keys/") {
                    let key: Key = key.parse().map_err(|_| bad("a member is named like no key"))?;
                    keys = keys.saturating_add(1);
                    if keys > KEYS_MAX {
                        return Err(bad("it has too many keys"));
                    }
                    if notes.has(&key) {
                        answers.push(Answer { key, note: reader.document(head.size, left)? });
                        left = left.saturating_sub(head.size);
                    }
                } else if let Some(digest) = name.strip_prefix("contents/") {
                    let digest: Blake3 = digest.parse().map_err(|_| bad("a member is named like no content"))?;
                    if wanted.remove(&digest) != Some(head.size) {
                        return Err(bad("it has content that its index does not name"));
                    }
                    reader.content(&kept.join(digest.to_hex()), &Content { digest, size: head.size })?;
                } else {
                    return Err(bad("it has a member of an unknown kind"));
                }
            }
        }
    }
    let layer = layer.ok_or_else(|| bad("it is empty"))?;
    if !wanted.is_empty() {
        return Err(bad("content that its index names is missing"));
    }
    lay(&layer, &besides.unwrap_or_default(), &kept, &staging.files().to("stage a layer")?)?;
    fs::remove_dir_all(&kept).map_err(|source| Error::io(ErrorKind::Other, "remove", &kept, source))?;
    Ok(Unpacked { layer, made, answers })
}

/// Notes which contents have to come.
fn want(layer: &Layer, wanted: &mut BTreeMap<Blake3, u64>) -> Result<(), Error> {
    for (_, content) in layer.files() {
        if wanted.insert(content.digest, content.size).is_some_and(|size| size != content.size) {
            return Err(bad("its index gives one content two sizes"));
        }
    }
    Ok(())
}

fn bad(reason: &str) -> Error {
    Error::other(format!("{}: {reason}", said())).hint("take the layer out again where it comes from")
}

pub(super) fn said() -> String {
    "failed to read the layer".into()
}

fn refused(refusal: Refusal) -> Error {
    match refusal {
        Refusal::Damaged(reason) => bad(&reason),
        Refusal::Io(source) => Error::other(said()).caused_by(source),
    }
}

struct Reader<R> {
    members: Members<R>,
    buffer: Vec<u8>,
}

impl<R: Source> Reader<R> {
    /// The present member, which is read into memory.
    fn document(&mut self, size: u64, limit: u64) -> Result<Vec<u8>, Error> {
        if size > limit {
            return Err(bad("a member is too large"));
        }
        // What is stated is not believed before it comes.
        let mut bytes = Vec::new();
        loop {
            let count = self.members.read_body(&mut self.buffer).map_err(refused)?;
            match self.buffer.get(..count) {
                Some(more) if count > 0 => bytes.extend_from_slice(more),
                _ => return Ok(bytes),
            }
        }
    }

    /// The present member, into a file.
    fn content(&mut self, path: &Path, content: &Content) -> Result<(), Error> {
        let io = |source| Error::io(ErrorKind::Other, "write", path, source);
        let mut file = File::create_new(path).map_err(io)?;
        let mut hasher = blake3::Hasher::new();
        loop {
            let count = self.members.read_body(&mut self.buffer).map_err(refused)?;
            let Some(bytes) = self.buffer.get(..count).filter(|bytes| !bytes.is_empty()) else { break };
            hasher.update(bytes);
            file.write_all(bytes).map_err(io)?;
        }
        match Blake3(*hasher.finalize().as_bytes()) == content.digest {
            true => Ok(()),
            false => Err(bad("content is not what its index says")),
        }
    }
}

/// Only what cannot contradict the index: directories that it does not name, and names of files below.
fn check_besides(layer: &Layer, besides: &Layer) -> Result<(), Error> {
    let fits = |(path, change): (&TreePath, &Change)| match change {
        Change::Set(Entry { kind: Kind::Directory, .. }) => !layer.changes.contains_key(path),
        Change::Set(Entry { kind: Kind::File(_), .. }) => {
            layer.changes.get(path).is_some_and(|own| is_name_of_below(layer, own))
        }
        _ => false,
    };
    if !besides.changes.iter().all(fits) {
        return Err(bad("it has files that its index does not name"));
    }
    // Each for itself is in order (`Layer::decode`); both will lie in one directory.
    let mut all = layer.clone();
    all.changes.extend(besides.changes.clone());
    all.check().or_fail(ErrorKind::Other, said)
}
