//! Directories for work in progress, each with a lock that says whether its maker lives.

use std::fs::{self, DirBuilder, File, TryLockError};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::Error;
use crate::error::IoContext;

/// A place for work in progress. Cheap to clone; safe for several processes at once.
#[derive(Clone, Debug)]
pub struct Workplace {
    root: Arc<PathBuf>,
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
            // Best effort: what cannot be removed now is swept by a later run, which knows by the lock
            // that it may. So the lock goes last.
            let mut is_empty = true;
            for entry in fs::read_dir(&self.path).into_iter().flatten().filter_map(Result::ok) {
                let (path, is_directory) = (entry.path(), entry.file_type().is_ok_and(|kind| kind.is_dir()));
                let removed = match is_directory {
                    true => fs::remove_dir_all(path),
                    false if entry.file_name() == LOCK => Ok(()),
                    false => fs::remove_file(path),
                };
                is_empty &= removed.is_ok();
            }
            if is_empty {
                let _ = fs::remove_file(self.path.join(LOCK));
                let _ = fs::remove_dir(&self.path);
            }
        }
    }
}

/// What our directories' names begin with, so that nobody else's are taken for ours.
const PREFIX: &str = "job-";
/// The file that a directory's maker holds locked.
pub(crate) const LOCK: &str = "lock";

static COUNTER: AtomicU64 = AtomicU64::new(0);

impl Workplace {
    /// Opens or makes a workplace, mode 0700, and sweeps what killed runs left in it.
    ///
    /// # Errors
    /// I/O errors.
    pub fn open(root: &Path) -> Result<Self, Error> {
        DirBuilder::new().recursive(true).mode(0o700).create(root).at("create directory", root)?;
        let root = root.canonicalize().at("open", root)?;
        sweep(&root)?;
        Ok(Self { root: Arc::new(root) })
    }

    /// Makes a directory for one piece of work.
    ///
    /// # Errors
    /// I/O errors.
    pub fn stage(&self) -> Result<Staging, Error> {
        loop {
            let name = format!("{PREFIX}{}-{}", std::process::id(), COUNTER.fetch_add(1, Ordering::Relaxed));
            let path = self.root.join(name);
            match DirBuilder::new().mode(0o700).create(&path) {
                Ok(()) => {}
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => continue,
                Err(error) => return Err(error).at("create directory", path),
            }
            let lock_path = path.join(LOCK);
            let lock = match File::create(&lock_path) {
                // A sweeper took the empty directory for one that a killed run left.
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
                made => made.at("create", &lock_path)?,
            };
            match lock.try_lock() {
                // A sweeper had it for a moment, and has removed what it lay in.
                Ok(()) if lock.metadata().at("examine", &lock_path)?.nlink() == 0 => continue,
                Ok(()) => return Ok(Staging { path, keep: false, _lock: lock }),
                // A sweeper looked at it between the two calls; it will remove it.
                Err(TryLockError::WouldBlock) => continue,
                Err(TryLockError::Error(error)) => return Err(error).at("lock", lock_path),
            }
        }
    }
}

/// Removes what killed runs left.
fn sweep(root: &Path) -> Result<(), Error> {
    for entry in fs::read_dir(root).at("list", root)? {
        let path = entry.at("list", root)?.path();
        // Other people's files in a directory that a configuration names are left alone.
        if !is_named_as_ours(&path) {
            continue;
        }
        // Held until the directory is gone, so that nobody takes it meanwhile.
        let mut held = None;
        let abandoned = match File::open(path.join(LOCK)) {
            Ok(lock) => match lock.try_lock() {
                Ok(()) => {
                    held = Some(lock);
                    true
                }
                Err(TryLockError::WouldBlock) => false,
                Err(TryLockError::Error(error)) => return Err(error).at("lock", path.join(LOCK)),
            },
            // Empty: its maker was killed before it could lock it or after it had emptied it. Should it
            // live, it makes another.
            Err(_) if fs::remove_dir(&path).is_ok() => false,
            // Being published at this moment, or left without its lock: only what has not changed for
            // an hour is certainly dead.
            Err(_) => is_old(&path),
        };
        if abandoned {
            let _ = fs::remove_dir_all(&path);
        }
        drop(held);
    }
    Ok(())
}

/// Whether a path is that of a directory for a piece of work, by its name: `job-PROCESS-NUMBER`.
pub fn is_named_as_ours(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().as_encoded_bytes();
    let is_number = |part: &[u8]| !part.is_empty() && part.iter().all(u8::is_ascii_digit);
    let parts: Option<Vec<&[u8]>> =
        name.strip_prefix(PREFIX.as_bytes()).map(|rest| rest.split(|&byte| byte == b'-').collect());
    parts.is_some_and(|parts| parts.len() == 2 && parts.into_iter().all(is_number))
}

fn is_old(path: &Path) -> bool {
    let modified = fs::metadata(path).and_then(|meta| meta.modified());
    modified.is_ok_and(|time| time.elapsed().is_ok_and(|age| age.as_secs() > 3600))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a kill leaves between making a directory and locking it, after unlocking it, and in between.
    #[test]
    fn what_killed_runs_left_is_swept_and_nothing_else() {
        let home = tempfile::tempdir().unwrap();
        let staging = Workplace::open(home.path()).unwrap().stage().unwrap();
        fs::write(staging.files().unwrap().join("file"), "").unwrap();
        let (empty, unlocked, dead) =
            (home.path().join("job-1-2"), home.path().join("job-1-3"), home.path().join("job-1-4"));
        let others = ["2026-11-23", "1-2", "job-1", "job-1-2-3"].map(|name| home.path().join(name));
        for directory in [&empty, &unlocked, &dead].into_iter().chain(&others) {
            fs::create_dir(directory).unwrap();
        }
        fs::write(unlocked.join("index"), "").unwrap();
        fs::write(dead.join(LOCK), "").unwrap();
        fs::write(dead.join("index"), "").unwrap();
        drop(Workplace::open(home.path()).unwrap());
        assert!(!empty.exists() && !dead.exists());
        assert!(unlocked.exists(), "it may be being published");
        assert!(staging.path().join("fs/file").exists() && others.iter().all(|path| path.exists()));
        let path = staging.path().to_owned();
        drop(staging);
        assert!(!path.exists());
    }
}
