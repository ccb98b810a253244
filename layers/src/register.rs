//! What there is in the store, as people ask for it: lists, what made a layer, what is wrong with it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::answers::Record;
use crate::error::IoContext;
use crate::upkeep::holds;
use crate::{
    Blake3, Change, Content, Error, Key, Kind, Layer, Staging, Store, StoredLayer, TreePath, needs_materialising,
    record,
};

/// Longest text of what made a layer, in bytes.
const MADE_BYTES_MAX: u64 = 4096;

/// A layer in the store, unread.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Listed {
    /// Its id.
    pub id: Blake3,
    /// When a step that makes it was last asked for, to the hour; `None`: no step is known that makes it.
    pub used: Option<SystemTime>,
    /// How many keys name it.
    pub keys: usize,
}

/// What is wrong with a layer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Flaw {
    /// Where; `None`: its index.
    pub path: Option<TreePath>,
    /// What, as a fragment: `is missing`.
    pub what: &'static str,
}

impl StoredLayer {
    /// What made it, in words, if anybody said.
    pub fn made(&self) -> Option<String> {
        made(&self.place())
    }

    /// Notes what made it, for people; who said so first is believed. Best effort: nothing depends on
    /// it.
    pub fn describe(&self, made: &str) {
        if self.made().is_none() {
            let _ = fs::write(self.place().join("made"), made);
        }
    }

    /// Bytes of its files, as its index has them.
    pub fn bytes(&self) -> u64 {
        self.layer.files().fold(0, |sum, (_, content)| sum.saturating_add(content.size))
    }

    /// The files that have to be read to know whether it is whole, and where they lie.
    pub fn contents(&self) -> impl Iterator<Item = (&TreePath, &Content, PathBuf)> {
        let directory = self.directory();
        self.layer.files().map(move |(path, content)| (path, content, path.under(&directory)))
    }

    /// What is wrong besides the bytes of files: links and directories that are not as the index says,
    /// things that it does not say.
    pub fn misshapen(&self) -> Vec<Flaw> {
        let directory = self.directory();
        let flaw = |path: &TreePath, what| Flaw { path: Some(path.clone()), what };
        if !directory.symlink_metadata().is_ok_and(|meta| meta.is_dir()) {
            return vec![flaw(&TreePath::root(), "is no directory")];
        }
        let mut flaws = Vec::new();
        let found = shape(&directory);
        for (path, change) in &self.layer.changes {
            let (Change::Set(entry) | Change::Replace(entry)) = change else { continue };
            let there = found.get(path);
            let wrong = match &entry.kind {
                Kind::Directory => {
                    let is_directory = path.is_root() || there.is_some_and(fs::FileType::is_dir);
                    (!is_directory).then_some("is no directory")
                }
                // What plain files cannot say is made when the layer is mounted.
                Kind::Symlink(_) if there.is_none() && needs_materialising(entry) => None,
                Kind::Symlink(target) => {
                    let is_same = there.is_some_and(fs::FileType::is_symlink)
                        && fs::read_link(path.under(&directory))
                            .is_ok_and(|found| found.as_os_str().as_bytes() == &**target);
                    (!is_same).then_some("is another link")
                }
                Kind::CharDevice { .. } | Kind::BlockDevice { .. } | Kind::Fifo | Kind::Socket => {
                    there.is_some().then_some("is there as something else")
                }
                Kind::HardLink(_) => there.is_some_and(fs::FileType::is_dir).then_some("is a directory"),
                Kind::File(_) => None,
            };
            flaws.extend(wrong.map(|what| flaw(path, what)));
        }
        for (path, kind) in &found {
            // Directories above are there although the index has only what lies below them.
            let is_known = match self.layer.changes.get(path) {
                Some(change) => !matches!(change, Change::Remove),
                None if kind.is_dir() => {
                    self.layer.changes.range(path.clone()..).next().is_some_and(|(next, _)| next.is_below(path))
                }
                None => false,
            };
            if !is_known {
                flaws.push(flaw(path, "is not in the index"));
            }
        }
        flaws.extend(self.changed_besides().into_iter().map(|path| Flaw { path: Some(path), what: "has other bytes" }));
        flaws
    }
}

/// What lies in a directory. Only directories are gone into, so nothing is looked at through a link.
fn shape(directory: &Path) -> BTreeMap<TreePath, fs::FileType> {
    let mut found = BTreeMap::new();
    let mut pending = vec![TreePath::root()];
    while let Some(above) = pending.pop() {
        for entry in fs::read_dir(above.under(directory)).into_iter().flatten().filter_map(Result::ok) {
            let (Ok(path), Ok(kind)) = (above.join(entry.file_name().as_bytes()), entry.file_type()) else { continue };
            if kind.is_dir() {
                pending.push(path.clone());
            }
            found.insert(path, kind);
        }
    }
    found
}

/// Whether a file holds what it should; `buffer` is where it is read to.
pub(crate) fn flaw_of(host: &Path, content: &Content, buffer: &mut [u8]) -> Option<&'static str> {
    match holds(host, content, buffer) {
        Ok(true) => None,
        Ok(false) => Some("has other bytes"),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Some("is missing"),
        Err(_) => Some("cannot be read"),
    }
}

impl Flaw {
    /// What is wrong with the bytes of one file, if anything is; `buffer` is where it is read to.
    pub fn of_file(path: &TreePath, content: &Content, host: &Path, buffer: &mut [u8]) -> Option<Self> {
        flaw_of(host, content, buffer).map(|what| Self { path: Some(path.clone()), what })
    }
}

fn made(place: &Path) -> Option<String> {
    let mut text = String::new();
    File::open(place.join("made")).ok()?.take(MADE_BYTES_MAX).read_to_string(&mut text).ok()?;
    // Empty: who wanted to say so was killed.
    Some(text).filter(|text| !text.is_empty())
}

impl Store {
    /// Every layer, by id.
    ///
    /// # Errors
    /// I/O errors.
    pub fn list(&self) -> Result<Vec<Listed>, Error> {
        let mut uses: BTreeMap<Blake3, (SystemTime, usize)> = BTreeMap::new();
        self.each_record(record::HEAD_BYTES, |Record { used, .. }, head| {
            if let Some(layer) = record::layer(head) {
                let (last, count) = uses.entry(layer).or_insert((used, 0));
                *last = used.max(*last);
                *count = count.saturating_add(1);
            }
        })?;
        let ids = self.ids()?;
        Ok(ids
            .into_iter()
            .map(|id| {
                let known = uses.get(&id);
                Listed { id, used: known.map(|(used, _)| *used), keys: known.map_or(0, |(_, count)| *count) }
            })
            .collect())
    }

    pub(crate) fn ids(&self) -> Result<BTreeSet<Blake3>, Error> {
        let layers = self.root().join("layers");
        let mut ids = BTreeSet::new();
        for entry in fs::read_dir(&layers).at("list", &layers)? {
            let name = entry.at("list", &layers)?.file_name();
            ids.extend(name.to_str().and_then(|name| name.parse::<Blake3>().ok()));
        }
        Ok(ids)
    }

    /// A layer without a look at its files; `None` when it is not there or its index is damaged.
    ///
    /// # Errors
    /// I/O errors other than "not there".
    pub fn peek(&self, id: &Blake3) -> Result<Option<StoredLayer>, Error> {
        self.index(id)
    }

    /// Puts a layer in the place of one that is damaged or missing. What is staged has to be that layer.
    ///
    /// # Errors
    /// I/O errors.
    pub fn replace(&self, staging: Staging, layer: Layer, key: &Key, note: &[u8]) -> Result<StoredLayer, Error> {
        self.drop_layer(&layer.id())?;
        self.publish(staging, layer, key, note)
    }

    /// Forgets all steps that could read one of these layers, because they may have seen damage: whatever spec
    /// they were of, and however long ago; [`Store::is_forgotten`] tells of them. What they made stays, and is
    /// given: the next build that wants it runs its step, and if that makes the same layer, it is the one that is
    /// there.
    ///
    /// # Errors
    /// I/O errors.
    pub fn forget_above(&self, damaged: &BTreeSet<Blake3>) -> Result<BTreeSet<Blake3>, Error> {
        let mut above = Vec::new();
        self.each_record(record::BELOW_BYTES, |found, bytes| {
            if record::could_read(bytes, damaged) {
                above.push((found.key, record::layer(bytes)));
            }
        })?;
        for (key, _) in &above {
            self.note_forgotten(key)?;
            self.forget_key(key)?;
        }
        self.trim_forgotten(SystemTime::UNIX_EPOCH)?;
        Ok(above.into_iter().filter_map(|(_, layer)| layer).collect())
    }

    /// Lets the next build look a layer through before it uses it, because somebody found damage. One that is
    /// not there is nothing to look through.
    ///
    /// # Errors
    /// I/O errors.
    pub fn distrust(&self, id: &Blake3) -> Result<(), Error> {
        let place = self.root().join("layers").join(id.to_hex());
        if !place.exists() {
            return Ok(());
        }
        self.note_damage()?;
        let checked = place.join("checked");
        match fs::remove_file(&checked) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error).at("remove", checked),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Answer, Entry, KeyBuilder, Meta, Time};

    #[test]
    fn every_way_of_damage_is_named() {
        let home = tempfile::tempdir().unwrap();
        let store = Store::open(home.path(), "test").unwrap();
        let staging = store.stage().unwrap();
        let files = staging.files().unwrap();
        fs::write(files.join("file"), b"bytes").unwrap();
        std::os::unix::fs::symlink("file", files.join("link")).unwrap();
        fs::create_dir(files.join("directory")).unwrap();
        let meta = Meta::root_owned(0o755, Time::default());
        let path = |text: &str| TreePath::new(text).unwrap();
        let layer = Layer::of([
            (path("directory"), Entry::directory(meta.clone())),
            (path("file"), Entry::file(Content::of(b"bytes"), meta)),
            (path("link"), Entry::symlink(b"file", Time::default())),
        ]);
        let key = KeyBuilder::new("test", 1).finish();
        let stored = store.publish(staging, layer, &key, b"note").unwrap();
        stored.describe("a test");
        stored.describe("another");
        assert_eq!(stored.made().as_deref(), Some("a test"));
        let listed = store.list().unwrap();
        assert_eq!((listed.len(), listed[0].id, listed[0].keys), (1, stored.id, 1));
        assert_eq!(store.answers(&stored.id).unwrap(), [Answer { key, note: b"note".to_vec() }]);
        let flaws = || {
            let mut found = stored.misshapen();
            let files = stored.contents();
            found.extend(files.filter_map(|(path, content, host)| Flaw::of_file(path, content, &host, &mut [0; 64])));
            found.iter().map(|flaw| format!("{} {}", flaw.path.as_ref().unwrap(), flaw.what)).collect::<Vec<_>>()
        };
        assert_eq!(flaws(), [""; 0]);
        let at = stored.directory();
        fs::write(at.join("file"), b"bytez").unwrap();
        fs::remove_file(at.join("link")).unwrap();
        std::os::unix::fs::symlink("elsewhere", at.join("link")).unwrap();
        fs::remove_dir(at.join("directory")).unwrap();
        fs::write(at.join("more"), b"").unwrap();
        assert_eq!(
            flaws(),
            ["directory is no directory", "link is another link", "more is not in the index", "file has other bytes"]
                .map(|text| format!("/{text}"))
        );
        fs::remove_file(at.join("file")).unwrap();
        assert!(flaws().contains(&"/file is missing".to_owned()));
        // Nothing is read through a link, even if it leads to the right bytes.
        fs::write(home.path().join("elsewhere"), b"bytes").unwrap();
        std::os::unix::fs::symlink(home.path().join("elsewhere"), at.join("file")).unwrap();
        assert!(flaws().contains(&"/file has other bytes".to_owned()));
        fs::create_dir_all(at.join("empty/deep")).unwrap();
        assert!(flaws().contains(&"/empty is not in the index".to_owned()));
        fs::rename(&at, at.with_file_name("moved")).unwrap();
        std::os::unix::fs::symlink("moved", &at).unwrap();
        assert_eq!(stored.misshapen().len(), 1);
        assert!(store.recall(&key).unwrap().is_some());
        store.forget(&stored.id).unwrap();
        assert!(store.recall(&key).unwrap().is_none() && store.peek(&stored.id).unwrap().is_none());
        assert_eq!(store.loose().unwrap(), []);
    }

    #[test]
    fn steps_that_could_read_damage_are_forgotten_and_no_others() {
        let home = tempfile::tempdir().unwrap();
        let store = Store::open(home.path(), "one boot").unwrap();
        let key = |name: &str| KeyBuilder::new(name, 1).finish();
        let publish = |store: &Store, name: &str, below: &[Blake3]| {
            let staging = store.stage().unwrap();
            fs::write(staging.files().unwrap().join(name), name).unwrap();
            let entry = Entry::file(Content::of(name.as_bytes()), Meta::root_owned(0o644, Time::default()));
            let layer = Layer::of([(TreePath::new(name).unwrap(), entry)]);
            store.publish_on(below, staging, layer, &key(name), b"note").unwrap()
        };
        let known = || {
            let known = |name: &&str| home.path().join("keys").join(key(name).to_hex()).exists();
            ["base", "other", "step", "variant", "beside", "far"].into_iter().filter(known).collect::<Vec<_>>()
        };
        let make = |store: &Store| {
            let (base, other) = (publish(store, "base", &[]), publish(store, "other", &[]));
            let step = publish(store, "step", &[base.id, other.id]);
            publish(store, "variant", &[base.id]);
            publish(store, "beside", &[other.id]);
            publish(store, "far", &[base.id, other.id, step.id]);
            (base, step)
        };
        let (base, step) = make(&store);
        assert_eq!(store.forget_above(&BTreeSet::from([Blake3::of(b"another")])).unwrap(), BTreeSet::new());
        assert_eq!(known().len(), 6);
        assert_eq!(store.forget_above(&BTreeSet::from([step.id])).unwrap().len(), 1);
        assert_eq!(known(), ["base", "other", "step", "variant", "beside"]);
        let forgotten = store.forget_above(&BTreeSet::from([base.id])).unwrap();
        assert!(forgotten.contains(&step.id) && forgotten.len() == 2, "{forgotten:?}");
        assert_eq!(known(), ["base", "other", "beside"]);
        assert!(store.peek(&step.id).unwrap().is_some(), "what they made stays");

        // A build that comes upon the damage forgets them, too; what another machine vouches for stays.
        make(&store);
        store.remember(&key("variant"), &step, b"").unwrap();
        fs::write(base.directory().join("base"), b"BASE").unwrap();
        let store = Store::open(home.path(), "another boot").unwrap();
        assert!(store.recall(&key("base")).unwrap().is_none());
        // It is told of them until they run again: an answer from elsewhere is no run.
        let told = || {
            let told = |name: &&str| store.is_forgotten(&key(name));
            ["base", "other", "step", "variant", "beside", "far"].into_iter().filter(told).collect::<Vec<_>>()
        };
        assert_eq!(told(), ["step", "far"]);
        assert_eq!(known(), ["base", "other", "variant", "beside"]);
        assert!(store.recall(&key("variant")).unwrap().is_some());
        store.remember(&key("far"), &step, b"").unwrap();
        publish(&store, "step", &[]);
        assert_eq!(told(), ["far"]);
        store.expire(SystemTime::now()).unwrap();
        assert_eq!(told(), [""; 0]);
    }
}
