//! What the store answers keys with, as a whole: which keys a layer has, which lead nowhere.

use std::fs::{self, File};
use std::io::Read;
use std::path::Path;
use std::time::SystemTime;

use crate::error::IoContext;
use crate::record::{self, Decoded};
use crate::{Blake3, Error, Key, Store};

/// Most that is read of what is kept of a step, in bytes: notes of packages hold their control files.
const RECORD_BYTES_MAX: u64 = 256 << 20;

/// A key that is answered by a layer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Answer {
    /// The key.
    pub key: Key,
    /// What the step left beside its layer.
    pub note: Vec<u8>,
}

/// A key that nothing answers although something did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Loose {
    /// The key.
    pub key: Key,
    /// The layer that is not there; `None`: what is kept of the step is damaged.
    pub layer: Option<Blake3>,
}

/// The file in which it is kept what a step made.
pub(crate) struct Record<'a> {
    pub(crate) path: &'a Path,
    pub(crate) key: Key,
    /// When it was last asked for, to the hour.
    pub(crate) used: SystemTime,
}

impl Store {
    /// The keys that a layer is the answer to.
    ///
    /// # Errors
    /// I/O errors.
    pub fn answers(&self, id: &Blake3) -> Result<Vec<Answer>, Error> {
        let mut answers = Vec::new();
        let mut bytes = Vec::new();
        self.each_record(record::HEAD_BYTES, |found, head| {
            if record::layer(head) != Some(*id) {
                return;
            }
            bytes.clear();
            let read = File::open(found.path).and_then(|file| file.take(RECORD_BYTES_MAX).read_to_end(&mut bytes));
            if read.is_ok()
                && let Decoded::Known(_, note) = record::decode(&found.key, &bytes)
            {
                answers.push(Answer { key: found.key, note: note.to_vec() });
            }
        })?;
        answers.sort_by_key(|one| one.key);
        Ok(answers)
    }

    /// The keys that nothing answers although something did, in order.
    ///
    /// # Errors
    /// I/O errors.
    pub fn loose(&self) -> Result<Vec<Loose>, Error> {
        let mut found = Vec::new();
        self.each_record(RECORD_BYTES_MAX, |Record { key, .. }, bytes| {
            match record::decode(&key, bytes) {
                Decoded::Known(layer, _) => found.push(Loose { key, layer: Some(layer) }),
                Decoded::Damaged => found.push(Loose { key, layer: None }),
                // Nobody asks for what another version of the program wrote; `Store::expire` takes it away.
                Decoded::Foreign => {}
            }
        })?;
        // After the keys: a layer is there before its first key.
        let ids = self.ids()?;
        found.retain(|loose| loose.layer.is_none_or(|layer| !ids.contains(&layer)));
        found.sort_by_key(|one| one.key);
        Ok(found)
    }

    /// Calls for what is kept of each step, with at most so many bytes of it; of one that cannot be read, none
    /// are there.
    ///
    /// # Errors
    /// I/O errors.
    pub(crate) fn each_record(&self, limit: u64, mut call: impl FnMut(Record<'_>, &[u8])) -> Result<(), Error> {
        let keys = self.root().join("keys");
        let mut bytes = Vec::new();
        for entry in fs::read_dir(&keys).at("list", &keys)? {
            let path = entry.at("list", &keys)?.path();
            let name = path.file_name().and_then(|name| name.to_str());
            let Some(key) = name.and_then(|name| name.parse::<Key>().ok()) else { continue };
            // One that another process removes meanwhile is none.
            let Ok(file) = File::open(&path) else { continue };
            let used = file.metadata().and_then(|meta| meta.modified()).at("look at", &path)?;
            bytes.clear();
            if file.take(limit).read_to_end(&mut bytes).is_err() {
                bytes.clear();
            }
            call(Record { path: &path, key, used }, &bytes);
        }
        Ok(())
    }

    /// Takes a layer away, and the keys that it is the answer to, so that the next build that wants it makes
    /// it again.
    ///
    /// # Errors
    /// I/O errors.
    pub fn forget(&self, id: &Blake3) -> Result<(), Error> {
        for answer in self.answers(id)? {
            self.forget_key(&answer.key)?;
        }
        self.drop_layer(id)
    }

    /// Forgets what a step with this key made.
    ///
    /// # Errors
    /// I/O errors.
    pub fn forget_key(&self, key: &Key) -> Result<(), Error> {
        let path = self.root().join("keys").join(key.to_hex());
        match fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error).at("remove", path),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{KeyBuilder, Layer};

    #[test]
    fn keys_that_lead_nowhere_are_told() {
        let home = tempfile::tempdir().unwrap();
        let store = Store::open(home.path(), "test").unwrap();
        let key = |name: &str| KeyBuilder::new(name, 1).finish();
        let stored = store.publish(store.stage().unwrap(), Layer::default(), &key("one"), b"1").unwrap();
        store.remember(&key("two"), &stored, b"2").unwrap();
        assert_eq!(store.loose().unwrap(), []);
        // What the first version of the program wrote: it had no format.
        let rest = [stored.id.0.as_slice(), b"note"].concat();
        let sum = Blake3::of(&[key("older").0.as_slice(), &rest].concat());
        let older = home.path().join("keys").join(key("older").to_hex());
        fs::write(&older, [sum.0.as_slice(), &rest].concat()).unwrap();
        assert!(store.recall(&key("older")).unwrap().is_none());
        assert_eq!((store.loose().unwrap(), store.answers(&stored.id).unwrap().len()), (Vec::new(), 2));
        store.expire(SystemTime::UNIX_EPOCH).unwrap();
        assert!(!older.exists());
        let damaged = home.path().join("keys").join(key("two").to_hex());
        let mut bytes = fs::read(&damaged).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        fs::write(&damaged, bytes).unwrap();
        assert!(store.recall(&key("two")).unwrap().is_none() && store.recall(&key("one")).unwrap().is_some());
        assert_eq!(store.loose().unwrap(), [Loose { key: key("two"), layer: None }]);
        fs::remove_dir_all(stored.place()).unwrap();
        let mut expected = [Loose { key: key("one"), layer: Some(stored.id) }, Loose { key: key("two"), layer: None }];
        expected.sort_by_key(|loose| loose.key);
        assert_eq!(store.loose().unwrap(), expected);
        store.forget_key(&key("two")).unwrap();
        store.forget(&stored.id).unwrap();
        assert_eq!(store.loose().unwrap(), []);
    }
}
