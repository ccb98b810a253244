//! What can go wrong with packages, their indexes and their archives.

use std::io;
use std::path::PathBuf;

use super::solve::Unsolvable;
use crate::FileError;

/// An error of the deb family. Texts are fragments that fit after "failed to".
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
    /// A version that Debian policy 5.6.12 does not allow.
    #[error("read version {text:?}: {reason}")]
    Version {
        /// The version as it was found.
        text: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A relation field that Debian policy 7.1 does not allow.
    #[error("read relation {text:?}: {reason}")]
    Relation {
        /// The part that could not be read.
        text: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A control file, index or status file that cannot be read.
    #[error("read {what} at line {line}: {reason}")]
    Control {
        /// Which text.
        what: String,
        /// Line within that text, from 1.
        line: usize,
        /// What is wrong with it.
        reason: String,
    },
    /// A package archive that is damaged or hostile.
    #[error("read package {}: {reason}", path.display())]
    Archive {
        /// The archive on the host.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A path that no tree may hold.
    #[error("unpack package {}", path.display())]
    Path {
        /// The archive on the host.
        path: PathBuf,
        /// Why the path is refused.
        source: layers::Error,
    },
    /// No set of packages fulfils the request.
    #[error("choose packages: {0}")]
    Unsolvable(Unsolvable),
}

impl From<FileError> for Error {
    fn from(FileError { verb, path, source }: FileError) -> Self {
        Self::Io { action: verb, path, source }
    }
}
