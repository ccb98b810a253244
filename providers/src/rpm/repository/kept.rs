//! What is remembered of each repository: the last repomd.xml accepted. It serves offline runs,
//! and, where it was signed, keeps a mirror from handing out an older state than has been seen.

use std::path::PathBuf;

use layers::Blake3;
use serde::{Deserialize, Serialize};

use super::Repository;
use super::source::{MAX_REPOMD, MAX_SIGNATURE};
use crate::cache::{self, CacheDir};
use crate::error::FileError;
use crate::trust::UnixTime;

/// The largest memory read, in bytes: a repomd.xml and its signature, escaped.
const MAX_BYTES: u64 = 3 * (MAX_REPOMD + MAX_SIGNATURE);

/// The memory of one repository.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Kept {
    /// The date of the newest repomd.xml accepted.
    pub(super) date: UnixTime,
    /// That repomd.xml.
    pub(super) repomd: String,
    /// Its signature, in hexadecimal digits, where one was asked for.
    pub(super) signature: Option<String>,
}

/// Where the memory of a repository is. Signed and unsigned states are remembered apart: one that
/// anybody can make must not speak against one that only the owner can.
pub(super) fn path(cache: &CacheDir, repository: &Repository, signed: bool) -> PathBuf {
    // The canonical URL names the repository whichever mirror is used.
    let mut name = repository.url.without_credentials().into_bytes();
    name.extend_from_slice(if signed { b"\0rpm signed" } else { b"\0rpm unsigned" });
    cache.release(&format!("{}-{}.json", repository.id, Blake3::of(&name)))
}

/// The memory of a repository; none when there is none, or it cannot be understood.
pub(super) fn recall(cache: &CacheDir, repository: &Repository, signed: bool) -> Result<Option<Kept>, FileError> {
    let path = path(cache, repository, signed);
    let Some(bytes) = cache::read_bounded(&path, MAX_BYTES)? else { return Ok(None) };
    match serde_json::from_slice(&bytes) {
        Ok(kept) => Ok(Some(kept)),
        Err(error) => {
            tracing::warn!(path = %path.display(), %error, "a damaged memory of a repository is passed over");
            Ok(None)
        }
    }
}

/// Remembers a repomd.xml.
pub(super) fn remember(cache: &CacheDir, repository: &Repository, kept: &Kept) -> Result<(), FileError> {
    let path = path(cache, repository, kept.signature.is_some());
    let bytes = serde_json::to_vec(kept).map_err(|error| FileError {
        verb: "write",
        path: path.clone(),
        source: std::io::Error::other(error),
    })?;
    cache::publish(&path, &bytes)
}
