//! What can go wrong with trees, layers and the store.

use std::io;
use std::path::PathBuf;

/// An error of this crate. Texts are fragments that fit after "failed to".
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A system call on a host file failed.
    #[error("{action} {}", path.display())]
    Io {
        /// What was tried, as a verb.
        action: &'static str,
        /// The host's file.
        path: PathBuf,
        /// The operating system's answer.
        source: io::Error,
    },
    /// A path that no tree may hold.
    #[error("accept path {path:?}: {reason}")]
    BadPath {
        /// The path as it was found.
        path: String,
        /// Why it is refused.
        reason: &'static str,
    },
    /// An index, key or tree that contradicts itself.
    #[error("read {what}: {reason}")]
    Damaged {
        /// Which thing.
        what: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Something that a format cannot hold.
    #[error("express {what} in {format}: {reason}")]
    Inexpressible {
        /// The format.
        format: &'static str,
        /// What cannot be expressed.
        what: String,
        /// Why.
        reason: &'static str,
    },
    /// Content that no layer at hand holds.
    #[error("find content {digest}")]
    NoContent {
        /// The digest that was asked for.
        digest: crate::Blake3,
    },
}

impl Error {
    pub(crate) fn damaged(what: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::Damaged { what: what.into(), reason: reason.into() }
    }
}

/// Adds a path and a verb to an I/O error.
pub(crate) trait IoContext<T> {
    fn at(self, action: &'static str, path: impl Into<PathBuf>) -> Result<T, Error>;
}

impl<T, E: Into<io::Error>> IoContext<T> for Result<T, E> {
    fn at(self, action: &'static str, path: impl Into<PathBuf>) -> Result<T, Error> {
        self.map_err(|source| Error::Io { action, path: path.into(), source: source.into() })
    }
}
