//! A layer on its way: all that a store has of it in one tar, and back into a store.
//!
//! ```text
//! index           the canonical index; its BLAKE3 is the layer's id
//! parents         directories that are above the layer's own, as an index: their modes show through overlay
//! made            what made it, in words
//! keys/KEY        the note of a step that made it
//! contents/HEX    the bytes of files, by BLAKE3, each once
//! ```
//! Members are in this order, those of a kind sorted by name, so a layer whose keys are the same has the
//! same parcel everywhere.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use ::oci::archive::{Members, Refusal, Source};
use layers::{
    Answer, Blake3, Change, Content, Entry, Key, KeyBuilder, Kind, Layer, Meta, Staging, Store, StoredLayer, Time,
    TreePath, make_parents, plain_mode, tar,
};
use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, utimensat};

use crate::error::{Error, Kind as ErrorKind, ResultExt};

/// Largest index or note that is read, in bytes: what the store takes.
const DOCUMENT_BYTES_MAX: u64 = 256 << 20;
/// Longest text of what made a layer, in bytes.
const MADE_BYTES_MAX: u64 = 4096;
/// Most keys that are taken.
const KEYS_MAX: usize = 10_000;
/// Bytes of a file that are moved at once.
const COPY_BYTES: usize = 256 << 10;

/// What came out of a parcel.
#[derive(Debug)]
pub struct Unpacked {
    /// The layer's changes.
    pub layer: Layer,
    /// What made it, in words.
    pub made: Option<String>,
    /// Keys that it says the layer is the answer to.
    pub answers: Vec<Answer>,
}

/// Writes a layer with everything that the store has of it.
///
/// # Errors
/// A layer that names files of layers below it; I/O errors.
pub fn write(layer: &StoredLayer, answers: &[Answer], out: &mut dyn Write) -> Result<(), Error> {
    put(out, "index", &layer.layer.encode())?;
    if let Some(made) = layer.made() {
        put(out, "made", made.as_bytes())?;
    }
    for answer in answers {
        put(out, &format!("keys/{}", answer.key.to_hex()), &answer.note)?;
    }
    contents(layer, out)?;
    out.write_all(&tar::END).to("write the layer")
}

/// Writes what a layer's index does not have: `parents` and `contents`.
fn contents(layer: &StoredLayer, out: &mut dyn Write) -> Result<(), Error> {
    check_names(layer)?;
    put(out, "parents", &parents(layer)?.encode())?;
    let mut files: BTreeMap<Blake3, (u64, PathBuf)> = BTreeMap::new();
    for (_, content, host) in layer.contents() {
        files.entry(content.digest).or_insert((content.size, host));
    }
    let mut buffer = vec![0; COPY_BYTES];
    for (digest, (size, path)) in files {
        let io = |source| Error::io(ErrorKind::Other, "read", &path, source);
        let head = tar::file_head(format!("contents/{digest}").as_bytes(), size, &meta()).to("write the layer")?;
        out.write_all(&head).to("write the layer")?;
        let mut file = File::open(&path).map_err(io)?;
        let mut hasher = blake3::Hasher::new();
        let mut left = size;
        while left > 0 {
            let count = file.read(&mut buffer).map_err(io)?;
            let bytes = buffer.get(..count).unwrap_or_default();
            left = match left.checked_sub(count as u64) {
                Some(left) if count > 0 => left,
                _ => return Err(damaged(layer)),
            };
            hasher.update(bytes);
            out.write_all(bytes).to("write the layer")?;
        }
        if Blake3(*hasher.finalize().as_bytes()) != digest {
            return Err(damaged(layer));
        }
        pad(out, size)?;
    }
    Ok(())
}

fn damaged(layer: &StoredLayer) -> Error {
    Error::other(format!("failed to take out the layer {}: it is damaged", layer.id))
        .hint("`image-composer layers verify --repair` removes what is damaged; the next build makes it again")
}

/// A name of a file of the layers below has no bytes of its own in an index, so nothing could vouch for them.
fn check_names(layer: &StoredLayer) -> Result<(), Error> {
    let own = |path: &TreePath| matches!(layer.layer.changes.get(path), Some(Change::Set(_) | Change::Replace(_)));
    for (path, change) in &layer.layer.changes {
        if let Change::Set(Entry { kind: Kind::HardLink(target), .. }) = change
            && !own(target)
        {
            return Err(Error::other(format!(
                "failed to take out the layer {}: {path} is another name of {target}, which is in a layer below",
                layer.id
            )));
        }
    }
    Ok(())
}

fn meta() -> Meta {
    Meta::root_owned(0o644, Time::default())
}

fn put(out: &mut dyn Write, name: &str, bytes: &[u8]) -> Result<(), Error> {
    let size = bytes.len() as u64;
    let head = tar::file_head(name.as_bytes(), size, &meta()).to("write the layer")?;
    out.write_all(&head).and_then(|()| out.write_all(bytes)).to("write the layer")?;
    pad(out, size)
}

fn pad(out: &mut dyn Write, size: u64) -> Result<(), Error> {
    let padding = size.next_multiple_of(tar::BLOCK_BYTES).saturating_sub(size);
    let zeros = tar::END.get(..usize::try_from(padding).unwrap_or_default()).unwrap_or_default();
    out.write_all(zeros).to("write the layer")
}

/// The directories of a layer's files that are no changes of it, with their modes.
fn parents(layer: &StoredLayer) -> Result<Layer, Error> {
    let top = layer.directory();
    let mut found = Vec::new();
    for path in layer.layer.changes.keys() {
        for above in path.ancestors() {
            let host = above.under(&top);
            if above.is_root() || layer.layer.changes.contains_key(&above) {
                continue;
            }
            if let Ok(meta) = host.symlink_metadata() {
                let meta = Meta::root_owned(meta.permissions().mode() & 0o777, Time::default());
                found.push((above, Entry::directory(meta)));
            }
        }
    }
    Ok(Layer::of(found))
}

/// What a parcel must hold besides what it brings.
pub struct Expected<'e> {
    /// The id that the layer must have, if that is known.
    pub id: Option<&'e Blake3>,
}

/// Reads a parcel into an empty staging directory. Everything is held to the index, and the index to the
/// layer's id, where that is known; nothing is written outside of the directory.
///
/// # Errors
/// A parcel that is damaged or hostile; I/O errors.
pub fn read<R: Source>(source: R, size: u64, staging: &Staging, expected: &Expected<'_>) -> Result<Unpacked, Error> {
    let mut reader = Reader { members: Members::new(source, size), buffer: vec![0; COPY_BYTES] };
    let mut layer: Option<Layer> = None;
    let (mut made, mut answers, mut parents) = (None, Vec::new(), Layer::default());
    let mut wanted: BTreeMap<Blake3, u64> = BTreeMap::new();
    let kept = staging.path().join("contents");
    fs::create_dir(&kept).map_err(|source| Error::io(ErrorKind::Other, "create directory", &kept, source))?;
    while let Some(head) = reader.members.next_member().map_err(refused)? {
        let name = String::from_utf8(head.name.clone()).map_err(|_| bad("a member has no usable name"))?;
        match (&layer, name.as_str()) {
            (None, "index") => {
                let bytes = reader.document(head.size, DOCUMENT_BYTES_MAX)?;
                if let Some(id) = expected.id
                    && Blake3::of(&bytes) != *id
                {
                    return Err(bad("its index is that of another layer"));
                }
                let found = Layer::decode(&bytes).or_fail(ErrorKind::Other, said)?;
                wanted = found.files().map(|(_, content)| (content.digest, content.size)).collect();
                layer = Some(found);
            }
            (None, _) => return Err(bad("it does not begin with an index")),
            (Some(_), "made") => {
                let bytes = reader.document(head.size, MADE_BYTES_MAX)?;
                made = Some(String::from_utf8_lossy(&bytes).into_owned());
            }
            (Some(_), "parents") => {
                let bytes = reader.document(head.size, DOCUMENT_BYTES_MAX)?;
                parents = Layer::decode(&bytes).or_fail(ErrorKind::Other, said)?;
            }
            (Some(_), name) => {
                if let Some(key) = name.strip_prefix("keys/") {
                    let key: Key = key.parse().map_err(|_| bad("a member is named like no key"))?;
                    if answers.len() >= KEYS_MAX {
                        return Err(bad("it has too many keys"));
                    }
                    answers.push(Answer { key, note: reader.document(head.size, DOCUMENT_BYTES_MAX)? });
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
    lay(&layer, &parents, &kept, &staging.files().to("stage a layer")?)?;
    fs::remove_dir_all(&kept).map_err(|source| Error::io(ErrorKind::Other, "remove", &kept, source))?;
    Ok(Unpacked { layer, made, answers })
}

/// Takes what came out of a parcel into the store. Only with `trust` does the layer answer the keys that the
/// parcel says.
///
/// # Errors
/// I/O errors of the store.
pub fn keep(store: &Store, staging: Staging, unpacked: Unpacked, trust: bool) -> Result<StoredLayer, Error> {
    let Unpacked { layer, made, answers } = unpacked;
    // Under a key of its own, so that cleaning does not take it for a leftover.
    let key = KeyBuilder::new("imported layer", 1).field("layer", layer.id()).finish();
    let stored =
        store.publish(staging, layer, &key, b"").or_fail(ErrorKind::Other, || "failed to keep the layer".into())?;
    if let Some(made) = &made {
        stored.describe(made);
    }
    for answer in answers.iter().filter(|_| trust) {
        let kept = store.remember(&answer.key, &stored, &answer.note);
        kept.or_fail(ErrorKind::Other, || "failed to keep the layer".into())?;
    }
    Ok(stored)
}

fn bad(reason: &str) -> Error {
    Error::other(format!("{}: {reason}", said())).hint("take the layer out again where it comes from")
}

fn said() -> String {
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

/// Makes the plain files of a layer out of contents that are whole. Each is made where nothing was, below
/// directories that are real, so nothing leads out.
fn lay(layer: &Layer, parents: &Layer, kept: &Path, files: &Path) -> Result<(), Error> {
    let mut above = layers::Tree::default();
    for (path, change) in &parents.changes {
        if let Change::Set(entry) = change {
            above.insert(path.clone(), entry.clone()).or_fail(ErrorKind::Other, said)?;
        }
    }
    let mut left: BTreeMap<Blake3, usize> = BTreeMap::new();
    for (_, content) in layer.files() {
        let count = left.entry(content.digest).or_default();
        *count = count.saturating_add(1);
    }
    let mut later = Vec::new();
    for (path, change) in &layer.changes {
        let (Change::Set(entry) | Change::Replace(entry)) = change else { continue };
        make_parents(files, path, &above).or_fail(ErrorKind::Other, said)?;
        let host = path.under(files);
        let io = |source: std::io::Error| Error::io(ErrorKind::Other, "write", &host, source);
        match &entry.kind {
            Kind::Directory if path.is_root() || host.is_dir() => {}
            Kind::Directory => fs::create_dir(&host).map_err(io)?,
            Kind::Symlink(target) => {
                std::os::unix::fs::symlink(std::ffi::OsStr::from_bytes(target), &host).map_err(io)?;
            }
            Kind::File(content) => {
                let from = kept.join(content.digest.to_hex());
                let count = left.entry(content.digest).or_default();
                *count = count.saturating_sub(1);
                // The last takes the file itself; no two share one, since scripts write to them.
                match count {
                    0 => fs::rename(&from, &host).map_err(io)?,
                    _ => fs::copy(&from, &host).map(drop).map_err(io)?,
                }
            }
            Kind::HardLink(target) => {
                later.push((path, target));
                continue;
            }
            Kind::CharDevice { .. } | Kind::BlockDevice { .. } | Kind::Fifo | Kind::Socket => continue,
        }
    }
    for (path, target) in later {
        let (from, host) = (target.under(files), path.under(files));
        let plain = matches!(
            layer.changes.get(target),
            Some(Change::Set(Entry { kind: Kind::File(_) | Kind::Symlink(_), .. }) | Change::Replace(_))
        );
        if plain {
            let linked = rustix::fs::linkat(CWD, &from, CWD, &host, AtFlags::empty());
            linked.map_err(|source| Error::io(ErrorKind::Other, "write", &host, source.into()))?;
        }
    }
    finish(layer, files)
}

/// Modes and times, the deepest first, when no directory is filled any more.
fn finish(layer: &Layer, files: &Path) -> Result<(), Error> {
    for (path, change) in layer.changes.iter().rev() {
        let (Change::Set(entry) | Change::Replace(entry)) = change else { continue };
        let host = path.under(files);
        match entry.kind {
            Kind::File(_) | Kind::Directory => {
                let mode = fs::Permissions::from_mode(plain_mode(entry));
                fs::set_permissions(&host, mode)
                    .map_err(|source| Error::io(ErrorKind::Other, "change the mode of", &host, source))?;
            }
            Kind::Symlink(_) => {}
            _ => continue,
        }
        let Time { seconds, nanoseconds } = entry.meta.mtime;
        let time = Timespec { tv_sec: seconds, tv_nsec: nanoseconds.into() };
        let times = Timestamps { last_access: time.clone(), last_modification: time };
        // The index has the true time: a file system that cannot hold it is no reason to stop.
        let _ = utimensat(CWD, &host, &times, AtFlags::SYMLINK_NOFOLLOW);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use ::oci::archive::Rewind;

    use super::*;

    fn path(text: &str) -> TreePath {
        TreePath::new(text).unwrap()
    }

    /// A layer with everything that plain files can and cannot say.
    fn layer(store: &Store) -> StoredLayer {
        let staging = store.stage().unwrap();
        let files = staging.files().unwrap();
        fs::create_dir_all(files.join("usr/bin")).unwrap();
        fs::set_permissions(files.join("usr"), fs::Permissions::from_mode(0o750)).unwrap();
        for name in ["one", "same"] {
            fs::write(files.join("usr/bin").join(name), b"bytes").unwrap();
        }
        fs::hard_link(files.join("usr/bin/one"), files.join("usr/bin/two")).unwrap();
        std::os::unix::fs::symlink("one", files.join("usr/bin/link")).unwrap();
        let time = Time::seconds(1_000_000_000);
        let meta = |mode| Meta { uid: 5, ..Meta::root_owned(mode, time) };
        let mut layer = Layer::of([
            (path("usr/bin"), Entry::directory(meta(0o2755))),
            (path("usr/bin/null"), Entry { kind: Kind::CharDevice { major: 1, minor: 3 }, meta: meta(0o666) }),
            (path("usr/bin/link"), Entry::symlink(b"one", time)),
            (path("usr/bin/one"), Entry::file(Content::of(b"bytes"), meta(0o4755))),
            (path("usr/bin/same"), Entry::file(Content::of(b"bytes"), meta(0o600))),
            (path("usr/bin/two"), Entry { kind: Kind::HardLink(path("usr/bin/one")), meta: Meta::default() }),
        ]);
        layer.changes.insert(path("usr/gone"), Change::Remove);
        let key = KeyBuilder::new("test", 1).finish();
        store.publish(staging, layer, &key, b"note").unwrap()
    }

    fn unpack(bytes: &[u8], store: &Store) -> Result<(Staging, Unpacked), Error> {
        let staging = store.stage().unwrap();
        let file = staging.path().join("parcel");
        fs::write(&file, bytes).unwrap();
        let source = Rewind(File::open(&file).unwrap());
        let unpacked = read(source, bytes.len() as u64, &staging, &Expected { id: None })?;
        fs::remove_file(file).unwrap();
        Ok((staging, unpacked))
    }

    #[test]
    fn a_layer_goes_from_store_to_store() {
        let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (from, to) = (Store::open(one.path(), "a").unwrap(), Store::open(other.path(), "b").unwrap());
        let layer = layer(&from);
        layer.describe("a test");
        let answers = from.answers(&layer.id).unwrap();
        let mut parcel = Vec::new();
        write(&layer, &answers, &mut parcel).unwrap();
        let (staging, unpacked) = unpack(&parcel, &to).unwrap();
        assert_eq!(unpacked.answers, answers);
        let stored = keep(&to, staging, unpacked, false).unwrap();
        assert_eq!((stored.id, stored.made().as_deref()), (layer.id, Some("a test")));
        assert!(stored.is_whole() && stored.misshapen().is_empty());
        let mode =
            |name: &str| fs::symlink_metadata(stored.directory().join(name)).unwrap().permissions().mode() & 0o7777;
        assert_eq!([mode("usr"), mode("usr/bin"), mode("usr/bin/one")], [0o750, 0o755, 0o755]);
        // Keys are believed only where somebody says so.
        assert!(to.recall(&answers[0].key).unwrap().is_none());
        let (staging, unpacked) = unpack(&parcel, &to).unwrap();
        keep(&to, staging, unpacked, true).unwrap();
        assert_eq!(to.recall(&answers[0].key).unwrap().unwrap().1, b"note");
    }

    #[test]
    fn a_damaged_parcel_leaves_nothing() {
        let home = tempfile::tempdir().unwrap();
        let store = Store::open(home.path(), "a").unwrap();
        let layer = layer(&store);
        let mut parcel = Vec::new();
        write(&layer, &store.answers(&layer.id).unwrap(), &mut parcel).unwrap();
        let found = parcel.windows(5).rposition(|window| window == b"bytes").unwrap();
        let mut changed = parcel.clone();
        changed[found] ^= 1;
        assert!(unpack(&changed, &store).unwrap_err().to_string().contains("content is not what its index says"));
        for length in (0..parcel.len() - 1024).step_by(256) {
            assert!(unpack(&parcel[..length], &store).is_err(), "{length}");
        }
        // A byte of the index is a byte of the id: whoever knows the id is not deceived.
        let staging = store.stage().unwrap();
        let file = staging.path().join("parcel");
        fs::write(&file, &parcel).unwrap();
        let expected = Expected { id: Some(&Blake3::of(b"another")) };
        let read = read(Rewind(File::open(&file).unwrap()), parcel.len() as u64, &staging, &expected);
        assert!(read.unwrap_err().to_string().contains("that of another layer"));
        assert!(fs::read_dir(home.path().join("tmp")).unwrap().count() <= 1);
    }
}
