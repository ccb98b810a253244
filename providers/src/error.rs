//! What can go wrong in this crate, as one type, and the errors that several modules share.

use std::io;
use std::path::{Path, PathBuf};

use crate::{distro, fetch, lock, mirror, repository, trust};

/// Any failure of this crate but the package families' own.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A key or a signature is not good enough.
    #[error(transparent)]
    Trust(#[from] trust::Error),
    /// Bytes did not arrive.
    #[error(transparent)]
    Fetch(#[from] fetch::Error),
    /// A repository's release or index is not usable.
    #[error(transparent)]
    Repository(#[from] repository::Error),
    /// The facts about a distribution cannot be read, or there are none.
    #[error(transparent)]
    Distro(#[from] distro::Error),
    /// The lock cannot be read or does not fit the spec.
    #[error(transparent)]
    Lock(#[from] lock::Error),
    /// The machine's package configuration cannot be read.
    #[error(transparent)]
    Mirror(#[from] mirror::Error),
}

impl Error {
    /// What a person can do about it, where there is something.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Trust(error) => error.hint(),
            Self::Fetch(error) => error.hint(),
            Self::Repository(error) => error.hint(),
            Self::Distro(error) => error.hint(),
            Self::Lock(error) => error.hint(),
            Self::Mirror(_) => None,
        }
    }
}

/// A failed operation on one file or directory.
#[derive(Debug, thiserror::Error)]
#[error("{verb} {}", path.display())]
pub struct FileError {
    /// What was tried, as a verb that fits after "failed to".
    pub verb: &'static str,
    /// Where.
    pub path: PathBuf,
    /// What the system said.
    #[source]
    pub source: io::Error,
}

impl FileError {
    /// For `map_err`: `FileError::on("read", path)`.
    pub fn on(verb: &'static str, path: impl AsRef<Path>) -> impl FnOnce(io::Error) -> Self {
        let path = path.as_ref().to_path_buf();
        move |source| Self { verb, path, source }
    }
}
