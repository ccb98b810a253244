//! The store: layers as plain directories, found by id or by the key of the step that made them.
//!
//! ```text
//! STORE/layers/ID/index   the canonical index; BLAKE3 of it is ID
//! STORE/layers/ID/checked the boot in which its files were last known to be whole
//! STORE/layers/ID/besides what its files hold that the index does not say; only where there is such a file
//! STORE/layers/ID/made    what made it, in words, for people alone
//! STORE/layers/ID/foreign there if nobody vouches for it: builds do not see it
//! STORE/layers/ID/fs/     its files, plain, owned by whoever builds: an overlay lower directory
//! STORE/keys/KEY          ID of the layer that a step with this key made, what it lay on, the step's note, and a sum
//! STORE/forgotten/KEY     there if a step with this key may have read damage, and has not run again
//! STORE/damaged, settled  when damage was last found, and when what was made of layers before that was removed
//! STORE/tmp/NAME/         what is being made; swept when nobody holds its lock
//! ```
//! Everything gets its final name by one rename, so a killed build leaves only `tmp`.

use std::collections::BTreeSet;
use std::fs::{self, DirBuilder, File};
use std::io::Read;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::error::IoContext;
use crate::index::INDEX_BYTES_MAX;
use crate::record::{self, Decoded};
use crate::upkeep;
use crate::workplace::{LOCK, Staging, Workplace};
use crate::{Blake3, Error, Key, Layer};

/// Marks a layer that nobody vouches for.
const FOREIGN: &str = "foreign";

/// The store of one user. Cheap to clone; safe for several processes at once.
#[derive(Clone, Debug)]
pub struct Store {
    root: Arc<PathBuf>,
    work: Workplace,
    era: Arc<str>,
}

/// A layer in the store.
#[derive(Clone, Debug)]
pub struct StoredLayer {
    /// Its id.
    pub id: Blake3,
    /// Its changes.
    pub layer: Arc<Layer>,
    root: Arc<PathBuf>,
}

impl StoredLayer {
    pub(crate) fn place(&self) -> PathBuf {
        self.root.join("layers").join(self.id.to_hex())
    }

    /// The directory of plain files that overlay mounts.
    pub fn directory(&self) -> PathBuf {
        self.place().join("fs")
    }
}

impl Store {
    /// Opens or makes a store, mode 0700 (it can hold setuid files), and sweeps what killed runs
    /// left in it. Layers are not synced to the disk one by one; instead, a layer made or looked
    /// through in another `era` (a boot of the machine) is looked through before it is used.
    ///
    /// # Errors
    /// I/O errors.
    pub fn open(root: &Path, era: &str) -> Result<Self, Error> {
        for directory in [root.to_path_buf(), root.join("layers"), root.join("keys"), root.join("forgotten")] {
            DirBuilder::new().recursive(true).mode(0o700).create(&directory).at("create directory", &directory)?;
        }
        let root = root.canonicalize().at("open", root)?;
        let work = Workplace::open(&root.join("tmp"))?;
        Ok(Self { root: Arc::new(root), work, era: era.into() })
    }

    /// The store's directory.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Makes a directory for work in progress, on the store's own file system.
    ///
    /// # Errors
    /// I/O errors.
    pub fn stage(&self) -> Result<Staging, Error> {
        self.work.stage()
    }

    /// Gives staged files their final place as a layer, remembers it under `key`, and gives it
    /// back. The same layer made twice is kept once. For what was made without reading a layer of this store:
    /// of a package's file, on another machine.
    ///
    /// # Errors
    /// Changes that no directories can hold; I/O errors.
    pub fn publish(&self, staging: Staging, layer: Layer, key: &Key, note: &[u8]) -> Result<StoredLayer, Error> {
        let stored = self.place(staging, layer)?;
        self.remember(key, &stored, note)?;
        Ok(stored)
    }

    /// As [`Store::publish`], for what was made here by a step that could read these layers: should one of them be
    /// found to be damaged, the key is forgotten.
    ///
    /// # Errors
    /// As [`Store::publish`].
    pub fn publish_on(
        &self,
        below: &[Blake3],
        staging: Staging,
        layer: Layer,
        key: &Key,
        note: &[u8],
    ) -> Result<StoredLayer, Error> {
        let stored = self.place(staging, layer)?;
        self.remember_on(below, key, &stored, note)?;
        self.note_made(key)?;
        Ok(stored)
    }

    /// Gives staged files their final place as a layer that is the answer to nothing: of a step that may have read
    /// damage.
    ///
    /// # Errors
    /// As [`Store::publish`].
    pub fn put_down(&self, staging: Staging, layer: Layer) -> Result<StoredLayer, Error> {
        self.place(staging, layer)
    }

    /// Keeps a layer that came from elsewhere and that nobody vouches for, to be looked at. Its index does
    /// not say all that overlay shows (modes of the directories above, bytes of further names of files of the
    /// layers below), so builds do not see it, and one that makes the same layer puts its own in its place.
    /// The key keeps it from being cleaned away. One that is there already stays.
    ///
    /// # Errors
    /// As [`Store::publish`].
    pub fn shelve(&self, staging: Staging, layer: Layer, key: &Key) -> Result<StoredLayer, Error> {
        let path = staging.path().join(FOREIGN);
        fs::write(&path, b"").at("write", &path)?;
        self.publish(staging, layer, key, b"")
    }

    /// Whether nobody vouches for a layer.
    fn is_foreign(&self, id: &Blake3) -> bool {
        self.root.join("layers").join(id.to_hex()).join(FOREIGN).exists()
    }

    fn place(&self, staging: Staging, layer: Layer) -> Result<StoredLayer, Error> {
        staging.files()?;
        layer.check()?;
        let index = layer.encode();
        let id = Blake3::of(&index);
        let index_path = staging.path().join("index");
        fs::write(&index_path, &index).at("write", &index_path)?;
        crate::besides::note(&layer, staging.path())?;
        let checked = staging.path().join("checked");
        fs::write(&checked, self.era.as_bytes()).at("write", &checked)?;
        let place = self.root.join("layers").join(id.to_hex());
        fs::remove_file(staging.path().join(LOCK)).at("remove", staging.path().join(LOCK))?;
        if self.is_foreign(&id) {
            self.drop_layer(&id)?;
        }
        match fs::rename(staging.path(), &place) {
            Ok(()) => {}
            // It is there already: from another build, or from another boot and then looked through, and
            // dropped if it is damaged.
            Err(_) if self.layer(&id)?.is_some() => {}
            Err(_) if !place.exists() => fs::rename(staging.path(), &place).at("rename to", &place)?,
            Err(error) => return Err(error).at("rename to", place),
        }
        Ok(StoredLayer { id, layer: Arc::new(layer), root: self.root.clone() })
    }

    /// Remembers that a step with this key makes this layer, whatever there is in this store.
    ///
    /// # Errors
    /// I/O errors.
    pub fn remember(&self, key: &Key, layer: &StoredLayer, note: &[u8]) -> Result<(), Error> {
        self.remember_on(&[], key, layer, note)
    }

    fn remember_on(&self, below: &[Blake3], key: &Key, layer: &StoredLayer, note: &[u8]) -> Result<(), Error> {
        let staging = self.stage()?;
        let path = staging.path().join("key");
        fs::write(&path, record::encode(key, &layer.id, below, note)?).at("write", &path)?;
        let place = self.root.join("keys").join(key.to_hex());
        fs::rename(&path, &place).at("rename to", place)
    }

    /// The layer that a step with this key made, with its note, if it is still here whole.
    ///
    /// # Errors
    /// I/O errors other than "not there"; a damaged entry counts as not there.
    pub fn recall(&self, key: &Key) -> Result<Option<(StoredLayer, Vec<u8>)>, Error> {
        let path = self.root.join("keys").join(key.to_hex());
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error).at("read", path),
        };
        let (id, note) = match record::decode(key, &bytes) {
            Decoded::Known(id, note) => (id, note),
            Decoded::Foreign => return Ok(None),
            Decoded::Damaged => {
                tracing::warn!(%key, "what is kept of a step is damaged");
                return Ok(None);
            }
        };
        upkeep::touch(&path);
        Ok(self.layer(&id)?.map(|layer| (layer, note.to_vec())))
    }

    /// The layer with this id, if it is here, undamaged, and somebody vouches for it.
    ///
    /// # Errors
    /// I/O errors other than "not there".
    pub fn layer(&self, id: &Blake3) -> Result<Option<StoredLayer>, Error> {
        if self.is_foreign(id) {
            return Ok(None);
        }
        let path = self.root.join("layers").join(id.to_hex()).join("index");
        let seen = self.inode(id);
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error).at("open", path),
        };
        let mut index = Vec::new();
        file.take(INDEX_BYTES_MAX).read_to_end(&mut index).at("read", &path)?;
        if Blake3::of(&index) != *id {
            tracing::warn!(layer = %id, "dropping a layer whose index is damaged");
            return self.drop_seen(id, seen);
        }
        let layer = match Layer::decode(&index) {
            Ok(layer) => layer,
            // One that an earlier version took in, and that none takes any more.
            Err(error) => {
                tracing::warn!(layer = %id, %error, "dropping a layer that means harm");
                return self.drop_seen(id, seen);
            }
        };
        let stored = StoredLayer { id: *id, layer: Arc::new(layer), root: self.root.clone() };
        let checked = path.with_file_name("checked");
        if !fs::read(&checked).is_ok_and(|era| era == self.era.as_bytes()) {
            if !stored.is_whole() {
                tracing::warn!(layer = %id, "dropping a layer whose files are damaged");
                return self.drop_seen(id, seen);
            }
            fs::write(&checked, self.era.as_bytes()).at("write", &checked)?;
        }
        Ok(Some(stored))
    }

    /// Reads a layer's index, without a look at its files.
    pub(crate) fn index(&self, id: &Blake3) -> Result<Option<StoredLayer>, Error> {
        let path = self.root.join("layers").join(id.to_hex()).join("index");
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error).at("open", path),
        };
        let mut index = Vec::new();
        file.take(INDEX_BYTES_MAX).read_to_end(&mut index).at("read", &path)?;
        if Blake3::of(&index) != *id {
            return Ok(None);
        }
        let Ok(layer) = Layer::decode(&index) else { return Ok(None) };
        Ok(Some(StoredLayer { id: *id, layer: Arc::new(layer), root: self.root.clone() }))
    }

    /// Takes the damaged layer away that was looked at; one that another process has put in its place meanwhile
    /// is looked at in turn.
    fn drop_seen(&self, id: &Blake3, seen: Option<u64>) -> Result<Option<StoredLayer>, Error> {
        if self.inode(id) != seen {
            return self.layer(id);
        }
        self.drop_damaged(id)?;
        Ok(None)
    }

    /// Of a layer's directory, if it is there.
    fn inode(&self, id: &Blake3) -> Option<u64> {
        fs::metadata(self.root.join("layers").join(id.to_hex())).ok().map(|meta| meta.ino())
    }

    /// Takes a damaged layer away. The mark and the steps that were made on top of it go first: who is killed in
    /// between leaves the damage, which is found again.
    fn drop_damaged(&self, id: &Blake3) -> Result<(), Error> {
        self.note_damage()?;
        self.forget_above(&BTreeSet::from([*id]))?;
        self.drop_layer(id)
    }

    pub(crate) fn drop_layer(&self, id: &Blake3) -> Result<(), Error> {
        self.drop_directory(&self.root.join("layers").join(id.to_hex()))
    }

    /// Takes a layer's directory away in one step; its bytes follow.
    pub(crate) fn drop_directory(&self, place: &Path) -> Result<(), Error> {
        let staging = self.stage()?;
        match fs::rename(place, staging.path().join("dropped")) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error).at("remove", place),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Content, Contents, Entry, KeyBuilder, Meta, Stack, Time, TreePath};

    fn layer_with(staging: &Staging, name: &str, bytes: &[u8]) -> Layer {
        fs::write(staging.files().unwrap().join(name), bytes).unwrap();
        let meta = Meta::root_owned(0o644, Time::seconds(1));
        Layer::of([(TreePath::new(name).unwrap(), Entry::file(Content::of(bytes), meta))])
    }

    #[test]
    fn a_layer_is_found_again_by_its_key() {
        let home = tempfile::tempdir().unwrap();
        let store = Store::open(home.path(), "test").unwrap();
        let key = KeyBuilder::new("test", 1).field("x", b"1").finish();
        assert!(store.recall(&key).unwrap().is_none());
        let staging = store.stage().unwrap();
        let layer = layer_with(&staging, "a", b"hello");
        let made = store.publish(staging, layer, &key, b"note").unwrap();
        let (found, note) = store.recall(&key).unwrap().unwrap();
        assert_eq!((found.id, note.as_slice()), (made.id, b"note".as_slice()));
        let mut stack = Stack::default();
        stack.push(found).unwrap();
        let mut text = String::new();
        stack.open(&Content::of(b"hello")).unwrap().read_to_string(&mut text).unwrap();
        assert_eq!(text, "hello");
        assert!(fs::read_dir(home.path().join("tmp")).unwrap().next().is_none());
    }

    #[test]
    fn a_damaged_index_is_a_miss_and_the_next_build_mends_it() {
        let home = tempfile::tempdir().unwrap();
        let store = Store::open(home.path(), "test").unwrap();
        let key = KeyBuilder::new("test", 1).finish();
        for _ in 0..2 {
            let staging = store.stage().unwrap();
            let layer = layer_with(&staging, "a", b"hello");
            let made = store.publish(staging, layer, &key, b"").unwrap();
            assert!(store.recall(&key).unwrap().is_some());
            fs::write(made.directory().with_file_name("index"), b"rubbish").unwrap();
            assert!(store.recall(&key).unwrap().is_none());
        }
    }

    #[test]
    fn what_nobody_vouches_for_never_stands_in_for_a_layer() {
        let home = tempfile::tempdir().unwrap();
        let store = Store::open(home.path(), "test").unwrap();
        let (own, other) = (KeyBuilder::new("test", 1).finish(), KeyBuilder::new("imported", 1).finish());
        // The same index, and besides it something that the index does not say.
        let planted = || {
            let staging = store.stage().unwrap();
            let layer = layer_with(&staging, "a", b"hello");
            fs::write(staging.files().unwrap().join("planted"), b"").unwrap();
            (staging, layer)
        };
        let genuine = || {
            let staging = store.stage().unwrap();
            let layer = layer_with(&staging, "a", b"hello");
            (staging, layer)
        };
        let has_planted = |stored: &StoredLayer| stored.directory().join("planted").exists();
        let (staging, layer) = planted();
        let shelved = store.shelve(staging, layer, &other).unwrap();
        assert!(has_planted(&shelved) && store.peek(&shelved.id).unwrap().is_some());
        // No key answers with it, not even one that is left of the genuine layer.
        store.remember(&own, &shelved, b"").unwrap();
        assert!(store.recall(&own).unwrap().is_none() && store.recall(&other).unwrap().is_none());
        let (staging, layer) = genuine();
        let made = store.publish(staging, layer, &own, b"").unwrap();
        assert_eq!(made.id, shelved.id);
        assert!(!has_planted(&made) && store.recall(&own).unwrap().is_some());
        // And what a build made stays.
        let (staging, layer) = planted();
        store.shelve(staging, layer, &other).unwrap();
        assert!(!has_planted(&made) && store.recall(&own).unwrap().is_some());
        assert!(fs::read_dir(home.path().join("tmp")).unwrap().next().is_none());
    }

    #[test]
    fn work_of_a_killed_run_is_swept_and_that_of_a_living_one_is_not() {
        let home = tempfile::tempdir().unwrap();
        let store = Store::open(home.path(), "test").unwrap();
        let living = store.stage().unwrap();
        let dead = home.path().join("tmp/job-1-1");
        fs::create_dir(&dead).unwrap();
        fs::write(dead.join(LOCK), b"").unwrap();
        Store::open(home.path(), "test").unwrap();
        assert!(living.path().is_dir() && !dead.exists());
    }
}
