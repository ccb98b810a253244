//! Where fetched things are kept between builds, and how they get there whole.
//!
//! Layout below the directory given:
//!
//! ```text
//! packages/sha256/HEX   packages, by the digest that the signed index states
//! packages/partial/HEX  downloads under way or interrupted
//! packages/checked/HEX  what follows from the bytes of the package of this digest
//! indexes/sha256/HEX    indexes, by the digest that the signed release states
//! indexes/sha512/HEX    the same, where the release states a SHA-512
//! releases/NAME         per suite: the last release accepted, for offline use and against rollback
//! ```
//!
//! No bytes found here are believed: a hit is hashed, or its signature checked, before it is used.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use layers::Sha256;
use sha2::Digest as _;

use crate::error::FileError;

/// Bytes read at once when hashing a file: large enough that the calls cost nothing, small enough
/// to stay in the processor's cache.
const HASH_BLOCK: usize = 256 * 1024;

/// Longest note of a package that is read, in bytes.
const NOTE_MAX: u64 = 4096;

/// The top of the cache.
#[derive(Debug, Clone)]
pub struct CacheDir {
    root: PathBuf,
}

impl CacheDir {
    /// Uses `root` as the cache; its directories are made when first needed.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// The top directory.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Where verified packages are kept.
    pub fn packages(&self) -> PathBuf {
        self.root.join("packages/sha256")
    }

    /// Where a package of this digest is kept, whether it is there or not.
    pub fn package(&self, digest: &Sha256) -> PathBuf {
        self.packages().join(digest.to_hex())
    }

    /// What was noted of the package of this digest, if anything was.
    pub fn checked(&self, digest: &Sha256) -> Option<String> {
        let note = read_bounded(&self.note(digest), NOTE_MAX).ok()??;
        String::from_utf8(note).ok()
    }

    /// Notes what follows from the bytes of the package of this digest, at most 4 KiB.
    ///
    /// # Errors
    /// I/O errors.
    pub fn note_checked(&self, digest: &Sha256, note: &str) -> Result<(), FileError> {
        publish(&self.note(digest), note.as_bytes())
    }

    fn note(&self, digest: &Sha256) -> PathBuf {
        self.root.join("packages/checked").join(digest.to_hex())
    }

    /// Where downloads grow.
    pub fn partial(&self) -> PathBuf {
        self.root.join("packages/partial")
    }

    /// Where verified indexes are kept.
    pub(crate) fn indexes(&self) -> PathBuf {
        self.root.join("indexes/sha256")
    }

    pub(crate) fn index(&self, digest: &Sha256) -> PathBuf {
        self.indexes().join(digest.to_hex())
    }

    /// Where an index is kept whose digest is a SHA-512.
    pub(crate) fn index_sha512(&self, digest: &[u8; 64]) -> PathBuf {
        self.root.join("indexes/sha512").join(hex::encode(digest))
    }

    pub(crate) fn release(&self, name: &str) -> PathBuf {
        self.root.join("releases").join(name)
    }
}

/// Digest and length in bytes of a file, read in blocks.
pub(crate) fn digest_file(file: &mut File) -> std::io::Result<(Sha256, u64)> {
    let mut hasher = sha2::Sha256::new();
    let mut block = vec![0u8; HASH_BLOCK];
    let mut length = 0u64;
    loop {
        let count = match file.read(&mut block) {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        hasher.update(block.get(..count).unwrap_or_default());
        length = length.saturating_add(count as u64);
    }
    Ok((Sha256(hasher.finalize().into()), length))
}

/// Writes `bytes` under `path` so that the name either has all of them or does not exist.
///
/// Not synced: after a power cut a name may hold less, which the check on use finds.
pub(crate) fn publish(path: &Path, bytes: &[u8]) -> Result<(), FileError> {
    let directory = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(directory).map_err(FileError::on("create directory", directory))?;
    let mut file = tempfile::Builder::new()
        .prefix(".new-")
        .tempfile_in(directory)
        .map_err(FileError::on("create a file in", directory))?;
    file.write_all(bytes).map_err(FileError::on("write", path))?;
    file.persist(path).map_err(|error| FileError {
        verb: "put in place",
        path: path.to_path_buf(),
        source: error.error,
    })?;
    Ok(())
}

/// Reads a file of at most `limit` bytes; `None` when there is none, or it is longer.
pub(crate) fn read_bounded(path: &Path, limit: u64) -> Result<Option<Vec<u8>>, FileError> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(FileError::on("open", path)(error)),
    };
    let mut bytes = Vec::new();
    file.take(limit.saturating_add(1)).read_to_end(&mut bytes).map_err(FileError::on("read", path))?;
    Ok((bytes.len() as u64 <= limit).then_some(bytes))
}
