//! What is remembered of each suite: the last release accepted. It serves offline runs, and it
//! keeps a mirror from handing out an older state than has been seen (a release without
//! `Valid-Until` never expires, so a signature alone does not say that nothing newer exists).

use std::path::PathBuf;

use layers::Blake3;
use serde::{Deserialize, Serialize};

use super::Repository;
use crate::cache::{self, CacheDir};
use crate::error::FileError;
use crate::trust::UnixTime;

/// The largest memory read, in bytes: a release and its signature, escaped.
const MAX_BYTES: u64 = 3 * super::update::MAX_RELEASE;

/// A release as it came: the signed bytes and, when it stands apart, the signature.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Signed {
    /// `InRelease`.
    Inline(String),
    /// `Release` and `Release.gpg`, the latter in hexadecimal digits.
    Detached(String, String),
    /// `Release` alone.
    Unsigned(String),
}

/// The memory of one suite.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Kept {
    /// The date of the newest release accepted.
    pub(super) date: UnixTime,
    /// That release.
    pub(super) signed: Signed,
}

/// Where the memory of a suite is.
pub(super) fn path(cache: &CacheDir, repository: &Repository, suite: &str) -> PathBuf {
    // The canonical URL names the repository whichever mirror is used.
    let mut name = repository.url.without_credentials().into_bytes();
    name.push(0);
    name.extend_from_slice(suite.as_bytes());
    cache.release(&format!("{}-{}.json", repository.id, Blake3::of(&name)))
}

/// The memory of a suite; none when there is none, or it cannot be understood.
pub(super) fn recall(cache: &CacheDir, repository: &Repository, suite: &str) -> Result<Option<Kept>, FileError> {
    let path = path(cache, repository, suite);
    let Some(bytes) = cache::read_bounded(&path, MAX_BYTES)? else { return Ok(None) };
    match serde_json::from_slice(&bytes) {
        Ok(kept) => Ok(Some(kept)),
        Err(error) => {
            tracing::warn!(path = %path.display(), %error, "a damaged memory of a release is passed over");
            Ok(None)
        }
    }
}

/// Remembers a release.
pub(super) fn remember(cache: &CacheDir, repository: &Repository, suite: &str, kept: &Kept) -> Result<(), FileError> {
    let path = path(cache, repository, suite);
    let bytes = serde_json::to_vec(kept).map_err(|error| FileError {
        verb: "write",
        path: path.clone(),
        source: std::io::Error::other(error),
    })?;
    cache::publish(&path, &bytes)
}
