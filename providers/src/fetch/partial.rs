//! A file that is being downloaded, and what earlier runs left of it.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use layers::Sha256;
use sha2::Digest as _;

use super::file::{COPY_BLOCK, FileRequest};
use crate::error::FileError;

/// How many times in a row a new file may be swept by other runs, each of which sweeps once.
const SWEEPS_MAX: usize = 100;

/// A download that grows. Its name is that of the digest wanted, so that the next run goes on with
/// it; a lock keeps two runs from writing to one file.
pub(super) struct Partial {
    path: PathBuf,
    file: File,
    hasher: sha2::Sha256,
    /// Bytes written and hashed.
    pub(super) length: u64,
    /// Whether some of them were not received by the present attempt from the present mirror.
    pub(super) resumed: bool,
    /// Whether the name is of this run only, because another run has the usual one.
    private: bool,
}

impl Partial {
    pub(super) fn open(directory: &Path, request: &FileRequest) -> Result<Self, FileError> {
        let path = directory.join(request.sha256.to_hex());
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(FileError::on("open", &path))?;
        // The other run may have moved the file to its final name just before we got the lock: then
        // the name no longer leads to what we hold, and writing to it would damage the cache.
        let ours = file.try_lock().is_ok() && same_file(&file, &path);
        let (file, path, private) = if ours {
            (file, path, false)
        } else {
            let (file, path) = private_file(directory, &request.sha256)?;
            (file, path, true)
        };
        let mut partial = Self { path, file, hasher: sha2::Sha256::new(), length: 0, resumed: false, private };
        partial.take_up(request.size)?;
        Ok(partial)
    }

    /// Hashes what an earlier run left.
    fn take_up(&mut self, size: u64) -> Result<(), FileError> {
        let left = self.file.metadata().map_err(FileError::on("look at", &self.path))?.len();
        if left == 0 {
            return Ok(());
        }
        if left > size {
            return self.truncate();
        }
        let mut block = vec![0u8; COPY_BLOCK];
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

    pub(super) fn append(&mut self, bytes: &[u8]) -> Result<(), FileError> {
        self.file.write_all(bytes).map_err(FileError::on("write", &self.path))?;
        self.hasher.update(bytes);
        self.length = self.length.saturating_add(bytes.len() as u64);
        Ok(())
    }

    pub(super) fn truncate(&mut self) -> Result<(), FileError> {
        self.file.set_len(0).map_err(FileError::on("truncate", &self.path))?;
        self.file.seek(SeekFrom::Start(0)).map_err(FileError::on("seek in", &self.path))?;
        self.hasher = sha2::Sha256::new();
        self.length = 0;
        self.resumed = false;
        Ok(())
    }

    pub(super) fn digest(&self) -> Sha256 {
        Sha256(self.hasher.clone().finalize().into())
    }

    pub(super) fn publish(self, target: &Path) -> Result<(), FileError> {
        fs::rename(&self.path, target).map_err(FileError::on("put in place", target))
    }

    pub(super) fn keep_if_useful(self) {
        // What is left behind is only an optimisation; the next run copes with all of it.
        if self.private || self.length == 0 {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// A file that only this run knows the name of, locked so that no other run sweeps it.
fn private_file(directory: &Path, digest: &Sha256) -> Result<(File, PathBuf), FileError> {
    let fail = FileError::on("create a file in", directory);
    let fresh = || -> io::Result<(File, PathBuf)> {
        let fresh = tempfile::Builder::new().prefix(&format!("{digest}.")).tempfile_in(directory)?;
        fresh.keep().map_err(|error| error.error)
    };
    for _ in 0..SWEEPS_MAX {
        let (file, path) = match fresh() {
            Ok(fresh) => fresh,
            Err(error) => return Err(fail(error)),
        };
        // Another run may sweep it before it is locked. Where locks do not work, nobody can sweep.
        let _ = file.lock();
        if same_file(&file, &path) {
            return Ok((file, path));
        }
    }
    Err(fail(io::ErrorKind::ResourceBusy.into()))
}

/// Removes private files whose run was killed: those that nobody holds a lock on.
pub(super) fn sweep(directory: &Path) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        // The usual names are bare digests; they are what the next run goes on with.
        if entry.file_name().as_encoded_bytes().contains(&b'.')
            && let Ok(file) = File::open(entry.path())
            && file.try_lock().is_ok()
        {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

fn same_file(file: &File, path: &Path) -> bool {
    match (file.metadata(), fs::symlink_metadata(path)) {
        (Ok(held), Ok(named)) => held.dev() == named.dev() && held.ino() == named.ino(),
        _ => false,
    }
}
