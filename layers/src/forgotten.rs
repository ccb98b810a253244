//! Keys that were forgotten because their steps may have read damage, in `STORE/forgotten/KEY`: who has sent to
//! other machines what such a step made must not take it back from there.

use std::fs;
use std::path::PathBuf;
use std::time::SystemTime;

use crate::error::IoContext;
use crate::{Error, Key, Store};

/// Forgotten keys that are noted, at most; of more, the oldest are not any more.
const FORGOTTEN_MAX: usize = 1 << 16;

impl Store {
    /// Whether what a step with this key made may have been made of damage, and the step has not run again here.
    pub fn is_forgotten(&self, key: &Key) -> bool {
        self.forgotten(key).exists()
    }

    fn forgotten(&self, key: &Key) -> PathBuf {
        self.root().join("forgotten").join(key.to_hex())
    }

    pub(crate) fn note_forgotten(&self, key: &Key) -> Result<(), Error> {
        let path = self.forgotten(key);
        fs::write(&path, b"").at("write", path)
    }

    /// A step has run again.
    pub(crate) fn note_made(&self, key: &Key) -> Result<(), Error> {
        let path = self.forgotten(key);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error).at("remove", path),
            _ => Ok(()),
        }
    }

    /// Takes away what was noted before a time, and the oldest of what is too much.
    pub(crate) fn trim_forgotten(&self, before: SystemTime) -> Result<(), Error> {
        let directory = self.root().join("forgotten");
        let mut noted = Vec::new();
        for entry in fs::read_dir(&directory).at("list", &directory)? {
            let entry = entry.at("list", &directory)?;
            // One that another process removes meanwhile is none.
            let Ok(time) = entry.metadata().and_then(|meta| meta.modified()) else { continue };
            noted.push((time, entry.path()));
        }
        noted.sort();
        let surplus = noted.len().saturating_sub(FORGOTTEN_MAX);
        for (index, (time, path)) in noted.iter().enumerate() {
            if index < surplus || *time < before {
                // Best effort: the next one to come removes it.
                let _ = fs::remove_file(path);
            }
        }
        Ok(())
    }
}
