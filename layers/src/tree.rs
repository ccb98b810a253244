//! A whole filesystem as data.

use std::collections::BTreeMap;
use std::collections::btree_map;

use crate::{Content, Entry, Error, Kind, Meta, Time, TreePath};

/// A whole filesystem as data: every path with its entry, parents before children.
///
/// Invariants, kept by [`Tree::insert`] and [`Tree::remove`]: the root is a directory, the parent
/// of every entry is a directory. [`Tree::check`] also settles hard links.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Tree {
    entries: BTreeMap<TreePath, Entry>,
}

impl Default for Tree {
    fn default() -> Self {
        Self::new(Meta::root_owned(0o755, Time::default()))
    }
}

impl Tree {
    /// A tree that holds only its root.
    pub fn new(root: Meta) -> Self {
        Self { entries: BTreeMap::from([(TreePath::root(), Entry::directory(root))]) }
    }

    /// The entry at a path, not following links.
    pub fn get(&self, path: &TreePath) -> Option<&Entry> {
        self.entries.get(path)
    }

    /// The entry at a path, to be changed in place. Kinds of directories must stay.
    pub fn get_mut(&mut self, path: &TreePath) -> Option<&mut Entry> {
        self.entries.get_mut(path)
    }

    /// Adds or replaces an entry. A directory replaced by something else loses what was below it.
    ///
    /// # Errors
    /// The parent is missing or not a directory; the root would not be a directory.
    pub fn insert(&mut self, path: TreePath, entry: Entry) -> Result<(), Error> {
        match path.parent() {
            None if !entry.is_directory() => {
                return Err(Error::BadPath { path: path.to_string(), reason: "the root must be a directory" });
            }
            Some(parent) if !self.get(&parent).is_some_and(Entry::is_directory) => {
                return Err(Error::BadPath {
                    path: path.to_string(),
                    reason: "what holds it is missing or not a directory",
                });
            }
            _ => {}
        }
        if !entry.is_directory() && self.get(&path).is_some_and(Entry::is_directory) {
            self.remove(&path);
        }
        self.entries.insert(path, entry);
        Ok(())
    }

    /// Adds a directory and those above it that are missing, all with this metadata.
    ///
    /// # Errors
    /// Something other than a directory is in the way.
    pub fn create_directories(&mut self, path: &TreePath, meta: &Meta) -> Result<(), Error> {
        for above in path.ancestors().chain([path.clone()]) {
            if self.get(&above).is_none() {
                self.insert(above, Entry::directory(meta.clone()))?;
            }
        }
        Ok(())
    }

    /// Removes an entry with everything below it. The root stays. Hard links to a removed file
    /// are not touched: see [`Tree::check`].
    pub fn remove(&mut self, path: &TreePath) -> Option<Entry> {
        if path.is_root() {
            return None;
        }
        self.clear_below(path);
        self.entries.remove(path)
    }

    /// Removes everything below a path, not the path itself.
    pub fn clear_below(&mut self, path: &TreePath) {
        let below: Vec<TreePath> = self.below(path).map(|(path, _)| path.clone()).collect();
        for path in below {
            self.entries.remove(&path);
        }
    }

    /// Everything strictly below a path, in order.
    pub fn below<'a>(&'a self, path: &'a TreePath) -> impl Iterator<Item = (&'a TreePath, &'a Entry)> + 'a {
        self.entries
            .range(path.clone()..)
            .skip_while(move |(found, _)| *found == path)
            .take_while(move |(found, _)| found.is_below(path))
    }

    /// What a directory holds directly, in order.
    pub fn children<'a>(&'a self, path: &'a TreePath) -> impl Iterator<Item = (&'a TreePath, &'a Entry)> + 'a {
        let depth = path.components().count() + 1;
        self.below(path).filter(move |(found, _)| found.components().count() == depth)
    }

    /// Every entry, the root first, parents before children.
    pub fn iter(&self) -> btree_map::Iter<'_, TreePath, Entry> {
        self.entries.iter()
    }

    /// Every entry, to be changed in place.
    pub fn iter_mut(&mut self) -> btree_map::IterMut<'_, TreePath, Entry> {
        self.entries.iter_mut()
    }

    /// Number of entries, the root included.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Never true: a tree has a root.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Sum of the sizes of regular files, each hard-linked file counted once, in bytes.
    pub fn content_bytes(&self) -> u64 {
        self.entries.values().fold(0u64, |sum, entry| match entry.kind {
            Kind::File(Content { size, .. }) => sum.saturating_add(size),
            _ => sum,
        })
    }

    /// Follows symbolic links the way the kernel would inside this tree, the last component
    /// included, and gives the path that is reached (which may not exist).
    ///
    /// # Errors
    /// More than 40 links (the kernel's `MAXSYMLINKS`).
    pub fn resolve(&self, path: &TreePath) -> Result<TreePath, Error> {
        let mut pending: Vec<Vec<u8>> = path.components().rev().map(<[u8]>::to_vec).collect();
        let mut reached = TreePath::root();
        let mut links = 0u32;
        while let Some(name) = pending.pop() {
            if name == b".." {
                reached = reached.parent().unwrap_or_default();
                continue;
            }
            let next = reached.join(&name)?;
            let Some(Entry { kind: Kind::Symlink(target), .. }) = self.get(&next) else {
                reached = next;
                continue;
            };
            links += 1;
            if links > 40 {
                return Err(Error::BadPath { path: path.to_string(), reason: "too many symbolic links" });
            }
            if target.starts_with(b"/") {
                reached = TreePath::root();
            }
            pending.extend(
                target
                    .split(|&byte| byte == b'/')
                    .filter(|name| !name.is_empty() && *name != b".")
                    .rev()
                    .map(<[u8]>::to_vec),
            );
        }
        Ok(reached)
    }

    /// Settles hard links: each target exists, is a file and comes first; where a target is
    /// gone the first remaining name becomes the file. Needs `lost`, which says what a removed
    /// target held.
    ///
    /// # Errors
    /// A hard link whose target is missing or is not a regular file, device or fifo.
    pub fn check(&self) -> Result<(), Error> {
        for (path, entry) in &self.entries {
            if let Kind::HardLink(target) = &entry.kind {
                match self.get(target).map(|entry| &entry.kind) {
                    Some(Kind::File(_) | Kind::CharDevice { .. } | Kind::BlockDevice { .. } | Kind::Fifo) => {}
                    Some(Kind::Symlink(_) | Kind::Socket) => {}
                    Some(Kind::Directory | Kind::HardLink(_)) | None => {
                        return Err(Error::damaged(
                            format!("tree entry {path}"),
                            format!("its hard link target {target} is missing or cannot be linked to"),
                        ));
                    }
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> TreePath {
        TreePath::new(text).unwrap()
    }

    #[test]
    fn a_file_replacing_a_directory_takes_its_contents_along() {
        let mut tree = Tree::default();
        tree.create_directories(&path("a/b/c"), &Meta::root_owned(0o755, Time::default())).unwrap();
        tree.insert(path("a/b"), Entry::symlink(b"x", Time::default())).unwrap();
        assert!(tree.get(&path("a/b/c")).is_none());
        assert_eq!(tree.len(), 3);
        assert!(tree.insert(path("a/b/d"), Entry::symlink(b"x", Time::default())).is_err());
    }

    #[test]
    fn links_are_followed_inside_the_tree() {
        let mut tree = Tree::default();
        tree.create_directories(&path("usr/lib"), &Meta::default()).unwrap();
        tree.insert(path("lib"), Entry::symlink(b"usr/lib", Time::default())).unwrap();
        tree.insert(path("usr/up"), Entry::symlink(b"../../../lib", Time::default())).unwrap();
        tree.insert(path("loop"), Entry::symlink(b"loop", Time::default())).unwrap();
        assert_eq!(tree.resolve(&path("lib/x")).unwrap(), path("usr/lib/x"));
        assert_eq!(tree.resolve(&path("usr/up/x")).unwrap(), path("usr/lib/x"));
        assert!(tree.resolve(&path("loop")).is_err());
    }
}
