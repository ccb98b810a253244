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
        let workplace = Self { root: Arc::new(root) };
        workplace.sweep()?;
        Ok(workplace)
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

    fn sweep(&self) -> Result<(), Error> {
        let root = &*self.root;
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
                // Being made or being published at this moment, or left without its lock: only
                // what has not changed for an hour is certainly dead.
                Err(_) => is_old(&path),
            };
            if abandoned {
                let _ = fs::remove_dir_all(&path);
            }
        }
        Ok(())
    }
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
