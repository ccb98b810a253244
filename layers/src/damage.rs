//! That damage was found in the store: whoever keeps what was made of layers learns from it that it may have the
//! damage, too.
//!
//! ```text
//! STORE/damaged   when damage was last found; another text each time
//! STORE/settled   the same text, as soon as what was made of layers before that is gone
//! ```

use std::fs;
use std::io::ErrorKind;
use std::process;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::error::IoContext;
use crate::{Error, Store};

const DAMAGED: &str = "damaged";
const SETTLED: &str = "settled";

/// Clocks stand still, and are set back.
static COUNTER: AtomicU64 = AtomicU64::new(0);

/// Which damage was found last. Two that are the same say that none was found in between.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Damage(Vec<u8>);

impl Store {
    /// Which damage was found last, by whatever process.
    ///
    /// # Errors
    /// I/O errors other than "not there".
    pub fn damage(&self) -> Result<Damage, Error> {
        self.note(DAMAGED).map(Damage)
    }

    /// Whether what was made of layers is gone since this damage was found.
    ///
    /// # Errors
    /// I/O errors other than "not there".
    pub fn is_settled(&self, damage: &Damage) -> Result<bool, Error> {
        Ok(self.note(SETTLED)? == damage.0)
    }

    /// Notes that what was made of layers before this damage was found is gone.
    ///
    /// # Errors
    /// I/O errors.
    pub fn settle(&self, damage: &Damage) -> Result<(), Error> {
        self.put(SETTLED, &damage.0)
    }

    /// Notes that damage is found.
    pub(crate) fn note_damage(&self) -> Result<(), Error> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let number = COUNTER.fetch_add(1, Ordering::Relaxed);
        self.put(DAMAGED, format!("{} {} {number}", now.as_nanos(), process::id()).as_bytes())
    }

    fn note(&self, name: &str) -> Result<Vec<u8>, Error> {
        let path = self.root().join(name);
        match fs::read(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
            read => read.at("read", path),
        }
    }

    fn put(&self, name: &str, text: &[u8]) -> Result<(), Error> {
        let staging = self.stage()?;
        let path = staging.path().join(name);
        fs::write(&path, text).at("write", &path)?;
        let place = self.root().join(name);
        fs::rename(&path, &place).at("rename to", place)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{KeyBuilder, Layer};

    #[test]
    fn damage_is_told_until_it_is_settled() {
        let home = tempfile::tempdir().unwrap();
        let store = Store::open(home.path(), "test").unwrap();
        let key = KeyBuilder::new("test", 1).finish();
        let none = store.damage().unwrap();
        assert!(store.is_settled(&none).unwrap());
        let made = store.publish(store.stage().unwrap(), Layer::default(), &key, b"").unwrap();
        assert!(store.recall(&key).unwrap().is_some());
        assert_eq!(store.damage().unwrap(), none);
        fs::write(made.directory().join("planted"), b"").unwrap();
        let store = Store::open(home.path(), "another boot").unwrap();
        assert!(store.recall(&key).unwrap().is_none());
        let first = store.damage().unwrap();
        assert!(first != none && !store.is_settled(&first).unwrap());
        // Found while somebody settles what was found before.
        store.distrust(&made.id).unwrap();
        assert_eq!(store.damage().unwrap(), first, "of a layer that is gone nothing can be damaged");
        let made = store.publish(store.stage().unwrap(), Layer::default(), &key, b"").unwrap();
        store.distrust(&made.id).unwrap();
        store.settle(&first).unwrap();
        let second = store.damage().unwrap();
        assert!(second != first && !store.is_settled(&second).unwrap());
        store.settle(&second).unwrap();
        assert!(store.is_settled(&store.damage().unwrap()).unwrap());
    }
}
