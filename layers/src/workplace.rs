//! Directories for work in progress, each with a lock that says whether its maker lives.

use std::fs::{self, DirBuilder, File, TryLockError};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::Error;
use crate::error::IoContext;

/// A place for work in progress. Cheap to clone; safe for several processes at once.
#[derive(Clone, Debug)]
pub struct Workplace {
    root: Arc<PathBuf>,
    /// The directory itself, locked by all who work in it.
    _shared: Arc<File>,
}

/// A directory of its own for one piece of work, removed when dropped.
#[derive(Debug)]
pub struct Staging {
    path: PathBuf,
    keep: bool,
    _lock: File,
}

impl Staging {
    /// The directory; `fs` below it becomes the layer's files.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The directory of the layer's files; made on first use.
    ///
    /// # Errors
    /// I/O errors.
    pub fn files(&self) -> Result<PathBuf, Error> {
        let path = self.path.join("fs");
        if !path.is_dir() {
            fs::create_dir(&path).at("create directory", &path)?;
        }
        Ok(path)
    }

    /// Leaves the directory behind (`--keep-temp`) and gives its path.
    pub fn keep(mut self) -> PathBuf {
        self.keep = true;
        self.path.clone()
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        if !self.keep {
            // Best effort: what cannot be removed now is swept by a later run.
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}

static COUNTER: AtomicU64 = AtomicU64::new(0);

impl Workplace {
    /// Opens or makes a workplace, mode 0700, and sweeps what killed runs left in it.
    ///
    /// # Errors
    /// I/O errors.
    pub fn open(root: &Path) -> Result<Self, Error> {
        DirBuilder::new().recursive(true).mode(0o700).create(root).at("create directory", root)?;
        let root = root.canonicalize().at("open", root)?;
        // Whoever works here shares this lock, so who can have it alone knows that nobody does:
        // then even what has no lock of its own, as at the moment of being made or removed, is of
        // the dead. Where a file system locks no directories nobody is ever alone.
        let shared = File::open(&root).at("open", &root)?;
        sweep(&root, shared.try_lock().is_ok())?;
        let _ = shared.lock_shared();
        Ok(Self { root: Arc::new(root), _shared: Arc::new(shared) })
    }

    /// Makes a directory for one piece of work.
    ///
    /// # Errors
    /// I/O errors.
    pub fn stage(&self) -> Result<Staging, Error> {
        loop {
            let name = format!("{}-{}", std::process::id(), COUNTER.fetch_add(1, Ordering::Relaxed));
            let path = self.root.join(name);
            match DirBuilder::new().mode(0o700).create(&path) {
                Ok(()) => {}
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => continue,
                Err(error) => return Err(error).at("create directory", path),
            }
            let lock_path = path.join("lock");
            let lock = File::create(&lock_path).at("create", &lock_path)?;
            match lock.try_lock() {
                Ok(()) => return Ok(Staging { path, keep: false, _lock: lock }),
                // A sweeper looked at it between the two calls; it will remove it.
                Err(TryLockError::WouldBlock) => continue,
                Err(TryLockError::Error(error)) => return Err(error).at("lock", lock_path),
            }
        }
    }
}

/// Removes what killed runs left; `alone` says that nobody else works here.
fn sweep(root: &Path, alone: bool) -> Result<(), Error> {
    for entry in fs::read_dir(root).at("list", root)? {
        let path = entry.at("list", root)?.path();
        // Other people's files in a directory that a configuration names are left alone.
        if !is_named_as_ours(&path) {
            continue;
        }
        let abandoned = match File::open(path.join("lock")) {
            Ok(lock) => match lock.try_lock() {
                Ok(()) => true,
                Err(TryLockError::WouldBlock) => false,
                Err(TryLockError::Error(error)) => return Err(error).at("lock", path.join("lock")),
            },
            // Being made or being published at this moment, or left without its lock: beside
            // others only what has not changed for an hour is certainly dead.
            Err(_) => alone || is_old(&path),
        };
        if abandoned {
            let _ = fs::remove_dir_all(&path);
        }
    }
    Ok(())
}

/// `PROCESS-NUMBER`.
fn is_named_as_ours(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().as_encoded_bytes();
    name.contains(&b'-') && name.iter().all(|byte| byte.is_ascii_digit() || *byte == b'-')
}

fn is_old(path: &Path) -> bool {
    let modified = fs::metadata(path).and_then(|meta| meta.modified());
    modified.is_ok_and(|time| time.elapsed().is_ok_and(|age| age.as_secs() > 3600))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a kill leaves between making a directory and locking it, or between unlocking and
    /// removing it.
    #[test]
    fn what_has_no_lock_is_swept_once_nobody_else_works_here() {
        let home = tempfile::tempdir().unwrap();
        let other = Workplace::open(home.path()).unwrap();
        let (unlocked, foreign) = (home.path().join("1-2"), home.path().join("notes"));
        fs::create_dir(&unlocked).unwrap();
        fs::create_dir(&foreign).unwrap();
        let staging = Workplace::open(home.path()).unwrap().stage().unwrap();
        assert!(unlocked.exists(), "the other may be making it");
        drop(other);
        drop(Workplace::open(home.path()).unwrap());
        assert!(staging.path().exists());
        drop(staging);
        drop(Workplace::open(home.path()).unwrap());
        assert!(!unlocked.exists() && foreign.exists());
    }
}
