//! A file that is being pulled, and what an earlier attempt left of it.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use layers::Sha256;
use sha2::Digest as _;

use crate::error::FileError;

/// Bytes read at a time.
const BLOCK: usize = 256 << 10;
/// Tells the private files of one process apart.
static COUNTER: AtomicU64 = AtomicU64::new(0);

/// A pull that grows, beside its target. A lock keeps two of them from writing to one file: whoever
/// comes second writes to a file of its own.
pub(crate) struct Partial {
    path: PathBuf,
    file: File,
    hasher: sha2::Sha256,
    /// Bytes written and hashed.
    pub(crate) length: u64,
    /// Whether some of them are of an earlier run, which may have pulled something else.
    pub(crate) resumed: bool,
    private: bool,
    published: bool,
}

impl Partial {
    /// Takes up what there is for a target, if it is not more than `size` bytes.
    pub(crate) fn open(target: &Path, size: u64) -> Result<Self, FileError> {
        let path = with_suffix(target, ".part");
        let open = |path: &Path| {
            let mut options = OpenOptions::new();
            options.read(true).write(true).create(true).truncate(false).open(path).map_err(FileError::on("open", path))
        };
        let file = open(&path)?;
        // The other one may have put it in place just before the lock was ours: then the name no
        // longer leads to what we hold.
        let ours = file.try_lock().is_ok() && same_file(&file, &path);
        let (file, path, private) = if ours {
            (file, path, false)
        } else {
            let number = COUNTER.fetch_add(1, Ordering::Relaxed);
            let path = with_suffix(target, &format!(".part-{}-{number}", std::process::id()));
            let file = open(&path)?;
            file.set_len(0).map_err(FileError::on("truncate", &path))?;
            (file, path, true)
        };
        let mut partial =
            Self { path, file, hasher: sha2::Sha256::new(), length: 0, resumed: false, private, published: false };
        partial.take_up(size)?;
        Ok(partial)
    }

    fn take_up(&mut self, size: u64) -> Result<(), FileError> {
        let left = self.file.metadata().map_err(FileError::on("look at", &self.path))?.len();
        if left > size {
            return self.truncate();
        }
        let mut block = vec![0u8; BLOCK];
        loop {
            let count = self.file.read(&mut block).map_err(FileError::on("read", &self.path))?;
            if count == 0 {
                break;
            }
            self.hasher.update(block.get(..count).unwrap_or_default());
            self.length = self.length.saturating_add(count as u64);
        }
        self.resumed = self.length > 0;
        Ok(())
    }

    pub(crate) fn append(&mut self, bytes: &[u8]) -> Result<(), FileError> {
        self.file.write_all(bytes).map_err(FileError::on("write", &self.path))?;
        self.hasher.update(bytes);
        self.length = self.length.saturating_add(bytes.len() as u64);
        Ok(())
    }

    pub(crate) fn truncate(&mut self) -> Result<(), FileError> {
        self.file.set_len(0).map_err(FileError::on("truncate", &self.path))?;
        self.file.seek(SeekFrom::Start(0)).map_err(FileError::on("seek in", &self.path))?;
        self.hasher = sha2::Sha256::new();
        self.length = 0;
        self.resumed = false;
        Ok(())
    }

    pub(crate) fn digest(&self) -> Sha256 {
        Sha256(self.hasher.clone().finalize().into())
    }

    /// Puts it in place. Whether it must survive a power failure is the caller's to say.
    pub(crate) fn publish(mut self, target: &Path) -> Result<(), FileError> {
        std::fs::rename(&self.path, target).map_err(FileError::on("put in place", target))?;
        self.published = true;
        Ok(())
    }
}

impl Drop for Partial {
    /// Keeps what the next run can go on with, also when a transfer is broken off from outside.
    fn drop(&mut self) {
        if !self.published && (self.private || self.length == 0) {
            // What is left behind is only an optimisation; the next run copes with all of it.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

fn with_suffix(target: &Path, suffix: &str) -> PathBuf {
    let mut name = target.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

fn same_file(file: &File, path: &Path) -> bool {
    match (file.metadata(), std::fs::symlink_metadata(path)) {
        (Ok(held), Ok(named)) => held.dev() == named.dev() && held.ino() == named.ino(),
        _ => false,
    }
}
