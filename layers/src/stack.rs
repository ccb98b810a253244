//! Layers on top of each other: the tree they make, and where its bytes lie.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::error::IoContext;
use crate::index::{Change, Layer};
use crate::store::StoredLayer;
use crate::{Blake3, Content, Contents, Entry, Error, Kind, Meta, Tree, TreePath, open_plain};

/// Layers on top of each other, the bottom first.
#[derive(Clone, Default, Debug)]
pub struct Stack {
    layers: Vec<StoredLayer>,
    /// Looked up only, never walked, so its order reaches no output.
    places: HashMap<Blake3, (u32, TreePath)>,
    tree: Tree,
}

impl Stack {
    /// Puts a layer on top.
    ///
    /// # Errors
    /// Changes that do not fit the tree below.
    pub fn push(&mut self, layer: StoredLayer) -> Result<(), Error> {
        self.tree.apply(&layer.layer)?;
        let position =
            u32::try_from(self.layers.len()).map_err(|_| Error::damaged("a stack", "it has too many layers"))?;
        for (path, content) in layer.layer.files() {
            self.places.entry(content.digest).or_insert_with(|| (position, path.clone()));
        }
        self.layers.push(layer);
        Ok(())
    }

    /// Puts a layer on top whose meaning is settled by the package family's own rules (which
    /// directory wins, which file is diverted) and not by overlay's: `meaning` says what becomes
    /// of the tree, the layer brings the bytes.
    ///
    /// # Errors
    /// Changes that do not fit the tree below.
    pub fn push_as(&mut self, layer: StoredLayer, meaning: &Layer) -> Result<(), Error> {
        self.tree.apply(meaning)?;
        self.take(layer)
    }

    fn take(&mut self, layer: StoredLayer) -> Result<(), Error> {
        let position =
            u32::try_from(self.layers.len()).map_err(|_| Error::damaged("a stack", "it has too many layers"))?;
        for (path, content) in layer.layer.files() {
            self.places.entry(content.digest).or_insert_with(|| (position, path.clone()));
        }
        self.layers.push(layer);
        Ok(())
    }

    /// What overlay would show of the layers' directories although the tree does not have it:
    /// deletions live in indexes, so whoever mounts the directories has to make them. The topmost
    /// path of each hidden subtree, in order.
    pub fn hidden(&self) -> Vec<TreePath> {
        let mut hidden = BTreeSet::new();
        for (position, stored) in self.layers.iter().enumerate() {
            for (path, change) in &stored.layer.changes {
                match change {
                    Change::Remove if self.tree.get(path).is_none() => {
                        hidden.insert(path.clone());
                    }
                    // A directory that is gone may be there again, through a layer above.
                    Change::Remove | Change::Replace(_) if self.tree.get(path).is_some_and(Entry::is_directory) => {
                        let earlier = self.layers.iter().take(position).flat_map(|below| below.layer.changes.keys());
                        hidden.extend(earlier.filter(|p| p.is_below(path) && self.tree.get(p).is_none()).cloned());
                    }
                    _ => {}
                }
            }
        }
        let mut topmost: Vec<TreePath> = Vec::new();
        for path in hidden {
            let parent_shown = path.parent().is_none_or(|above| self.tree.get(&above).is_some_and(Entry::is_directory));
            if parent_shown && !topmost.last().is_some_and(|above| path.is_below(above)) {
                topmost.push(path);
            }
        }
        topmost
    }

    /// The directories of which overlay would show other permissions than the tree says, because
    /// a later layer ships them too: the topmost layer's show through.
    pub fn misshown_directories(&self) -> Vec<(TreePath, Meta)> {
        let mut shown: BTreeMap<&TreePath, u32> = BTreeMap::new();
        for stored in &self.layers {
            for (path, change) in &stored.layer.changes {
                if let Change::Set(entry) | Change::Replace(entry) = change
                    && entry.is_directory()
                {
                    shown.insert(path, plain_mode(entry));
                }
            }
        }
        shown
            .into_iter()
            .filter_map(|(path, mode)| {
                let entry = self.tree.get(path)?;
                (entry.is_directory() && plain_mode(entry) != mode).then(|| (path.clone(), entry.meta.clone()))
            })
            .collect()
    }

    /// The tree that the layers make.
    pub fn tree(&self) -> &Tree {
        &self.tree
    }

    /// The layers, the bottom first.
    pub fn layers(&self) -> &[StoredLayer] {
        &self.layers
    }

    /// The ids of the layers, the bottom first.
    pub fn ids(&self) -> Vec<Blake3> {
        self.layers.iter().map(|layer| layer.id).collect()
    }

    /// The directories that overlay mounts, the bottom first.
    pub fn lower_directories(&self) -> Vec<PathBuf> {
        self.lowest_directories(self.layers.len())
    }

    /// The directories of the lowest `count` layers, the bottom first. A layer that is there twice
    /// is mounted where it is topmost, since overlay takes a directory only once (ELOOP).
    pub fn lowest_directories(&self, count: usize) -> Vec<PathBuf> {
        let mut seen = BTreeSet::new();
        let topmost = self.layers.iter().take(count).rev().filter(|layer| seen.insert(layer.id));
        let mut directories: Vec<PathBuf> = topmost.map(StoredLayer::directory).collect();
        directories.reverse();
        directories
    }

    fn place(&self, content: &Content) -> Result<PathBuf, Error> {
        let (layer, path) = self.places.get(&content.digest).ok_or(Error::NoContent { digest: content.digest })?;
        let layer = self.layers.get(*layer as usize).ok_or(Error::NoContent { digest: content.digest })?;
        Ok(path.under(&layer.directory()))
    }
}

/// The mode that a plain file or directory of the store has for an entry: readable and writable
/// by its owner, without the bits that would be dangerous on the host (setuid, setgid, sticky).
pub fn plain_mode(entry: &Entry) -> u32 {
    let owner = if entry.is_directory() { 0o700 } else { 0o600 };
    (entry.meta.mode & 0o777) | owner
}

/// Makes the directories above a path in a layer's directory of plain files, where they are
/// missing. They are no change of the layer, but overlay shows the topmost directory's permissions,
/// so they get those that the tree says, whatever the umask.
///
/// # Errors
/// I/O errors; something other than a directory above it, a link to one included.
pub fn make_parents(files: &Path, path: &TreePath, tree: &Tree) -> Result<(), Error> {
    for above in path.ancestors() {
        let host = above.under(files);
        match host.symlink_metadata() {
            Ok(meta) if meta.is_dir() => continue,
            Ok(_) => return Err(io::Error::from(io::ErrorKind::NotADirectory)).at("create directory", host),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error).at("look at", host),
        }
        let mode = tree.get(&above).filter(|entry| entry.is_directory()).map_or(0o755, plain_mode);
        fs::create_dir(&host).at("create directory", &host)?;
        fs::set_permissions(&host, fs::Permissions::from_mode(mode)).at("change the mode of", &host)?;
    }
    Ok(())
}

/// Whether a plain file, directory or link of the store cannot say all that the entry does, so
/// that it has to be made again on top of the mounted layers.
pub fn needs_materialising(entry: &Entry) -> bool {
    match entry.kind {
        Kind::HardLink(_) | Kind::Socket => false,
        Kind::CharDevice { .. } | Kind::BlockDevice { .. } | Kind::Fifo => true,
        Kind::Symlink(_) => entry.meta.uid != 0 || entry.meta.gid != 0,
        Kind::File(_) | Kind::Directory => {
            let meta = &entry.meta;
            meta.uid != 0 || meta.gid != 0 || meta.mode != plain_mode(entry) || !meta.xattrs.is_empty()
        }
    }
}

impl Contents for Stack {
    fn open(&self, content: &Content) -> Result<Box<dyn Read + Send>, Error> {
        let path = self.place(content)?;
        Ok(Box::new(open_plain(&path).at("open", path)?))
    }

    fn host_file(&self, content: &Content) -> Result<Option<File>, Error> {
        let path = self.place(content)?;
        Ok(Some(open_plain(&path).at("open", path)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{KeyBuilder, Layer, Store, Time};

    #[test]
    fn no_directory_is_made_through_a_link() {
        let home = tempfile::tempdir().unwrap();
        let (files, outside) = (home.path().join("fs"), home.path().join("outside"));
        fs::create_dir(&files).unwrap();
        fs::create_dir(&outside).unwrap();
        std::os::unix::fs::symlink(&outside, files.join("a")).unwrap();
        fs::write(files.join("b"), b"").unwrap();
        for path in ["a/x", "a/b/c", "b/x"] {
            let error = make_parents(&files, &TreePath::new(path).unwrap(), &Tree::default()).unwrap_err();
            assert!(error.to_string().starts_with("create directory"), "{error}");
        }
        assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);
        make_parents(&files, &TreePath::new("c/d/x").unwrap(), &Tree::default()).unwrap();
        assert!(files.join("c/d").is_dir());
    }

    #[test]
    fn what_a_removed_directory_held_stays_hidden_when_it_comes_again() {
        let home = tempfile::tempdir().unwrap();
        let store = Store::open(home.path(), "test").unwrap();
        let path = |text: &str| TreePath::new(text).unwrap();
        let meta = Meta::root_owned(0o755, Time::default());
        let mut stack = Stack::default();
        let mut push = |number: u32, changes: Vec<(&str, Change)>| {
            let changes = changes.into_iter().map(|(at, change)| (path(at), change)).collect();
            let key = KeyBuilder::new("test", number).finish();
            let stored = store.publish(store.stage().unwrap(), Layer { changes }, &key, b"").unwrap();
            stack.push(stored).unwrap();
        };
        let directory = || Change::Set(Entry::directory(meta.clone()));
        let file = || Change::Set(Entry::file(Content::of(b""), meta.clone()));
        push(1, vec![("a", directory()), ("a/old", file()), ("a/both", file()), ("b", directory()), ("b/x", file())]);
        push(2, vec![("a", Change::Remove), ("b", Change::Remove)]);
        push(3, vec![("a", directory()), ("a/both", file()), ("a/new", file())]);
        assert_eq!(stack.hidden(), [path("a/old"), path("b")]);
    }
}
