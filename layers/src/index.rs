//! A layer: the changes between two trees, and the canonical index that names it.
//!
//! The index is `MAGIC`, then per change, in the order of paths: the path, a tag, and for what is
//! set its kind and metadata. Byte strings are preceded by their length (u32 LE), numbers are
//! little-endian and of fixed width. There is one encoding for one set of changes, so its BLAKE3
//! is the layer's id.

use std::collections::BTreeMap;

use crate::entry::MODE_MASK;
use crate::{Blake3, Content, Entry, Error, Kind, Meta, Time, Tree, TreePath};

const MAGIC: &[u8] = b"image-composer layer 1\n";
/// Largest index that is read, in bytes: a million entries of 250 bytes.
pub const INDEX_BYTES_MAX: u64 = 256 << 20;

/// What a layer does at one path.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Change {
    /// The entry is added, or replaces what was there; a directory keeps what is below it.
    Set(Entry),
    /// The entry replaces what was there, together with everything below it (an opaque directory).
    Replace(Entry),
    /// What was there is gone, with everything below it (a whiteout).
    Remove,
}

/// The changes between two trees.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Layer {
    /// The changes by path, parents before children.
    pub changes: BTreeMap<TreePath, Change>,
}

impl Layer {
    /// A layer that sets these entries.
    pub fn of(entries: impl IntoIterator<Item = (TreePath, Entry)>) -> Self {
        Self { changes: entries.into_iter().map(|(path, entry)| (path, Change::Set(entry))).collect() }
    }

    /// The changes that make `after` of `before`. A file that changed comes with all of its names:
    /// those that a layer does not mention keep what they had.
    pub fn between(before: &Tree, after: &Tree) -> Self {
        let mut changes = BTreeMap::new();
        let same_file = |entry: &Entry| match &entry.kind {
            Kind::HardLink(target) => before.get(target) == after.get(target),
            _ => true,
        };
        for (path, entry) in after.iter() {
            match before.get(path) {
                Some(old) if old == entry && same_file(entry) => {}
                _ => {
                    changes.insert(path.clone(), Change::Set(entry.clone()));
                }
            }
        }
        let mut gone: Option<&TreePath> = None;
        for (path, _) in before.iter() {
            if gone.is_some_and(|above| path.is_below(above)) || after.get(path).is_some() {
                continue;
            }
            // Below something that is no longer a directory, the new entry itself hides it.
            if path.parent().is_none_or(|above| after.get(&above).is_some_and(Entry::is_directory)) {
                changes.insert(path.clone(), Change::Remove);
            }
            gone = Some(path);
        }
        Self { changes }
    }

    /// The canonical index.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        for (path, change) in &self.changes {
            put_bytes(&mut out, path.as_bytes());
            match change {
                Change::Set(entry) => {
                    out.push(b'+');
                    put_entry(&mut out, entry);
                }
                Change::Replace(entry) => {
                    out.push(b'=');
                    put_entry(&mut out, entry);
                }
                Change::Remove => out.push(b'-'),
            }
        }
        out
    }

    /// The layer's id: BLAKE3 of its canonical index.
    pub fn id(&self) -> Blake3 {
        Blake3::of(&self.encode())
    }

    /// Reads a canonical index.
    ///
    /// # Errors
    /// Anything but the one encoding: wrong order, lengths that lie, unknown tags, bytes left over; what
    /// [`Layer::check`] refuses.
    pub fn decode(bytes: &[u8]) -> Result<Self, Error> {
        let mut reader = Reader { rest: bytes.strip_prefix(MAGIC).ok_or_else(|| damaged("it does not start as one"))? };
        let mut changes: BTreeMap<TreePath, Change> = BTreeMap::new();
        while !reader.rest.is_empty() {
            let raw = reader.bytes()?;
            let path = TreePath::new(raw)?;
            if path.as_bytes() != raw {
                return Err(damaged("a path is not normal"));
            }
            if changes.last_key_value().is_some_and(|(last, _)| *last >= path) {
                return Err(damaged("its paths are out of order"));
            }
            let change = match reader.u8()? {
                b'+' => Change::Set(reader.entry()?),
                b'=' => Change::Replace(reader.entry()?),
                b'-' => Change::Remove,
                _ => return Err(damaged("a change has an unknown tag")),
            };
            changes.insert(path, change);
        }
        let layer = Self { changes };
        layer.check()?;
        Ok(layer)
    }

    /// Holds it to what directories can hold: the root is one, and nothing is set below something that is
    /// none or that is removed. So whoever makes its files parents first never writes through a link.
    /// (To remove once more what is gone already means nothing and is let be.)
    ///
    /// # Errors
    /// The first path for which that does not hold.
    pub fn check(&self) -> Result<(), Error> {
        let mut closed: Option<&TreePath> = None;
        for (path, change) in &self.changes {
            let is_covered = closed.is_some_and(|above| path.is_below(above));
            let entry = match change {
                Change::Set(entry) | Change::Replace(entry) => Some(entry),
                Change::Remove => None,
            };
            let is_directory = entry.is_some_and(Entry::is_directory);
            if path.is_root() && !is_directory {
                return Err(damaged("its root is not a directory"));
            }
            if is_covered && entry.is_some() {
                return Err(damaged(&format!("{path} lies below something that is not a directory")));
            }
            if !is_covered && !is_directory {
                closed = Some(path);
            }
        }
        Ok(())
    }

    /// The regular files that this layer brings.
    pub fn files(&self) -> impl Iterator<Item = (&TreePath, &Content)> {
        self.changes.iter().filter_map(|(path, change)| match change {
            Change::Set(Entry { kind: Kind::File(content), .. })
            | Change::Replace(Entry { kind: Kind::File(content), .. }) => Some((path, content)),
            _ => None,
        })
    }
}

impl Tree {
    /// Applies the changes of a layer. Names that shared a file with one that is replaced or
    /// removed keep it: the first of them becomes the file.
    ///
    /// # Errors
    /// A change below something that is not a directory.
    pub fn apply(&mut self, layer: &Layer) -> Result<(), Error> {
        let mut lost: BTreeMap<TreePath, Entry> = BTreeMap::new();
        for (path, change) in &layer.changes {
            let hides_subtree = match change {
                Change::Set(entry) => !entry.is_directory(),
                Change::Replace(_) | Change::Remove => true,
            };
            if hides_subtree {
                for (below, entry) in self.below(path) {
                    if !matches!(entry.kind, Kind::Directory | Kind::HardLink(_)) {
                        lost.insert(below.clone(), entry.clone());
                    }
                }
            }
            if let Some(old) = self.get(path)
                && !matches!(old.kind, Kind::Directory | Kind::HardLink(_))
            {
                lost.insert(path.clone(), old.clone());
            }
            match change {
                Change::Set(entry) => self.insert(path.clone(), entry.clone())?,
                Change::Replace(entry) => {
                    self.clear_below(path);
                    self.insert(path.clone(), entry.clone())?;
                }
                Change::Remove => {
                    self.remove(path);
                }
            }
        }
        self.rehome_links(lost, layer)
    }

    fn rehome_links(&mut self, lost: BTreeMap<TreePath, Entry>, layer: &Layer) -> Result<(), Error> {
        if lost.is_empty() {
            return Ok(());
        }
        let orphans: Vec<(TreePath, TreePath)> = self
            .iter()
            .filter(|(path, _)| !layer.changes.contains_key(*path))
            .filter_map(|(path, entry)| match &entry.kind {
                Kind::HardLink(target) if lost.contains_key(target) => Some((path.clone(), target.clone())),
                _ => None,
            })
            .collect();
        let mut homes: BTreeMap<TreePath, TreePath> = BTreeMap::new();
        for (path, target) in orphans {
            let entry = match homes.get(&target) {
                Some(home) => Entry { kind: Kind::HardLink(home.clone()), meta: Meta::default() },
                None => {
                    homes.insert(target.clone(), path.clone());
                    lost.get(&target).cloned().ok_or_else(|| damaged("a hard link lost its file"))?
                }
            };
            self.insert(path, entry)?;
        }
        Ok(())
    }
}

fn damaged(reason: &str) -> Error {
    Error::damaged("a layer's index", reason)
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    // Paths and attribute values are bounded far below 4 GiB where they are made.
    out.extend_from_slice(&u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_le_bytes());
    out.extend_from_slice(bytes);
}

fn put_entry(out: &mut Vec<u8>, entry: &Entry) {
    match &entry.kind {
        Kind::File(content) => {
            out.push(b'f');
            out.extend_from_slice(&content.digest.0);
            out.extend_from_slice(&content.size.to_le_bytes());
        }
        Kind::Directory => out.push(b'd'),
        Kind::Symlink(target) => {
            out.push(b'l');
            put_bytes(out, target);
        }
        Kind::HardLink(target) => {
            out.push(b'h');
            put_bytes(out, target.as_bytes());
            return;
        }
        Kind::CharDevice { major, minor } | Kind::BlockDevice { major, minor } => {
            out.push(if matches!(entry.kind, Kind::CharDevice { .. }) { b'c' } else { b'b' });
            out.extend_from_slice(&major.to_le_bytes());
            out.extend_from_slice(&minor.to_le_bytes());
        }
        Kind::Fifo => out.push(b'p'),
        Kind::Socket => out.push(b's'),
    }
    let meta = &entry.meta;
    for number in [meta.mode, meta.uid, meta.gid, meta.mtime.nanoseconds, meta.xattrs.len() as u32] {
        out.extend_from_slice(&number.to_le_bytes());
    }
    out.extend_from_slice(&meta.mtime.seconds.to_le_bytes());
    for (name, value) in &meta.xattrs {
        put_bytes(out, name);
        put_bytes(out, value);
    }
}

struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8], Error> {
        let (taken, rest) = self.rest.split_at_checked(length).ok_or_else(|| damaged("it ends early"))?;
        self.rest = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        self.take(N)?.try_into().map_err(|_| damaged("it ends early"))
    }

    fn u8(&mut self) -> Result<u8, Error> {
        Ok(self.array::<1>()?[0])
    }

    fn u32(&mut self) -> Result<u32, Error> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    fn bytes(&mut self) -> Result<&'a [u8], Error> {
        let length = self.u32()? as usize;
        self.take(length)
    }

    fn entry(&mut self) -> Result<Entry, Error> {
        let kind = match self.u8()? {
            b'f' => Kind::File(Content { digest: Blake3(self.array()?), size: u64::from_le_bytes(self.array()?) }),
            b'd' => Kind::Directory,
            b'l' => Kind::Symlink(self.bytes()?.into()),
            b'h' => {
                let target = TreePath::new(self.bytes()?)?;
                return Ok(Entry { kind: Kind::HardLink(target), meta: Meta::default() });
            }
            b'c' => Kind::CharDevice { major: self.u32()?, minor: self.u32()? },
            b'b' => Kind::BlockDevice { major: self.u32()?, minor: self.u32()? },
            b'p' => Kind::Fifo,
            b's' => Kind::Socket,
            _ => return Err(damaged("an entry has an unknown kind")),
        };
        let mode = self.u32()?;
        if mode & !MODE_MASK != 0 {
            return Err(damaged("a mode has bits that no mode has"));
        }
        let (uid, gid, nanoseconds, count) = (self.u32()?, self.u32()?, self.u32()?, self.u32()?);
        if nanoseconds >= 1_000_000_000 {
            return Err(damaged("a time has a billion nanoseconds or more"));
        }
        let seconds = i64::from_le_bytes(self.array()?);
        let mut xattrs: BTreeMap<Box<[u8]>, Box<[u8]>> = BTreeMap::new();
        for _ in 0..count {
            let name: Box<[u8]> = self.bytes()?.into();
            if xattrs.last_key_value().is_some_and(|(last, _)| *last >= name) {
                return Err(damaged("its extended attributes are out of order"));
            }
            xattrs.insert(name, self.bytes()?.into());
        }
        Ok(Entry { kind, meta: Meta { mode, uid, gid, mtime: Time { seconds, nanoseconds }, xattrs } })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> TreePath {
        TreePath::new(text).unwrap()
    }

    fn sample() -> Tree {
        let mut tree = Tree::default();
        let meta = Meta::root_owned(0o755, Time::seconds(7));
        tree.create_directories(&path("usr/bin"), &meta).unwrap();
        tree.insert(path("usr/bin/perl"), Entry::file(Content::of(b"perl"), meta.clone())).unwrap();
        let link = Entry { kind: Kind::HardLink(path("usr/bin/perl")), meta: Meta::default() };
        tree.insert(path("usr/bin/perl5"), link.clone()).unwrap();
        tree.insert(path("usr/bin/perl6"), link).unwrap();
        tree
    }

    #[test]
    fn a_difference_applied_gives_the_other_tree() {
        let before = sample();
        let mut after = sample();
        after.remove(&path("usr/bin/perl6"));
        after.insert(path("usr/x"), Entry::symlink(b"bin", Time::default())).unwrap();
        after.get_mut(&path("usr/bin")).unwrap().meta.mode = 0o700;
        let layer = Layer::between(&before, &after);
        assert_eq!(layer.changes.len(), 3);
        let decoded = Layer::decode(&layer.encode()).unwrap();
        assert_eq!(decoded, layer);
        let mut made = before;
        made.apply(&decoded).unwrap();
        assert_eq!(made, after);
    }

    #[test]
    fn a_file_with_two_names_that_changes_changes_under_both() {
        let before = sample();
        let mut after = sample();
        after.get_mut(&path("usr/bin/perl")).unwrap().meta.uid = 5;
        let layer = Layer::between(&before, &after);
        assert_eq!(layer.changes.len(), 3);
        let mut made = before;
        made.apply(&layer).unwrap();
        assert_eq!(made, after);
    }

    #[test]
    fn other_names_of_a_removed_file_keep_it() {
        let mut tree = sample();
        tree.apply(&Layer { changes: BTreeMap::from([(path("usr/bin/perl"), Change::Remove)]) }).unwrap();
        assert!(matches!(tree.get(&path("usr/bin/perl5")).unwrap().kind, Kind::File(_)));
        assert_eq!(tree.get(&path("usr/bin/perl6")).unwrap().kind, Kind::HardLink(path("usr/bin/perl5")));
        tree.check().unwrap();
    }

    #[test]
    fn nothing_lies_below_what_is_no_directory() {
        let meta = Meta::root_owned(0o755, Time::default());
        let file = || Change::Set(Entry::file(Content::of(b"x"), meta.clone()));
        let directory = || Change::Set(Entry::directory(meta.clone()));
        let link = || Entry::symlink(b"/etc", Time::default());
        let hard = || Change::Set(Entry { kind: Kind::HardLink(path("z")), meta: Meta::default() });
        let with = |changes: &[(&str, Change)]| {
            let layer = Layer { changes: changes.iter().map(|(name, change)| (path(name), change.clone())).collect() };
            assert_eq!(Layer::decode(&layer.encode()).is_ok(), layer.check().is_ok());
            layer.check()
        };
        for closed in [Change::Set(link()), Change::Replace(link()), file(), hard(), Change::Remove] {
            for below in [file(), directory(), hard(), Change::Set(link())] {
                assert!(with(&[("a", closed.clone()), ("a/one", below.clone())]).is_err());
                assert!(with(&[("a", closed.clone()), ("a/b/c", below.clone())]).is_err());
                assert!(with(&[("a", directory()), ("a/b", closed.clone()), ("a/b/c/d", below.clone())]).is_err());
                // A neighbour is not below, and a directory may be.
                assert!(with(&[("a", closed.clone()), ("a-b", below.clone()), ("b/c", below.clone())]).is_ok());
                assert!(with(&[("a", directory()), ("a/one", below.clone())]).is_ok());
            }
            assert!(with(&[("a", closed.clone()), ("a/b", Change::Remove)]).is_ok());
            assert!(with(&[("a", closed.clone()), ("a/b", Change::Remove), ("a/c", file())]).is_err());
            assert!(with(&[("", closed)]).is_err());
        }
    }

    #[test]
    fn a_damaged_index_is_refused_wherever_it_ends() {
        let bytes = Layer::between(&Tree::default(), &sample()).encode();
        let whole = Layer::decode(&bytes).unwrap();
        for end in 0..bytes.len() {
            // A cut between two changes is a smaller layer, which has another id.
            if let Ok(part) = Layer::decode(&bytes[..end]) {
                assert!(part.changes.len() < whole.changes.len());
            }
        }
        let mut twice = bytes.clone();
        twice.extend_from_slice(&bytes[MAGIC.len()..]);
        assert!(Layer::decode(&twice).is_err());
    }
}
