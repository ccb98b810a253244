//! What can go wrong when images are written or read.

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
    /// Content could not be read.
    #[error("read the content of {path}")]
    Content {
        /// The path in the tree.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// A tree or its content.
    #[error(transparent)]
    Layers(#[from] layers::Error),
    /// What must be written does not fit.
    #[error("fit {what}: {needed} bytes are needed and {available} are there, {} are missing", needed.saturating_sub(*available))]
    TooSmall {
        /// What must fit, and where.
        what: String,
        /// Bytes that are needed.
        needed: u64,
        /// Bytes that are there.
        available: u64,
    },
    /// Something that the format cannot express.
    #[error("express {what} in {format}: {reason}")]
    Unsupported {
        /// The format.
        format: &'static str,
        /// What cannot be expressed.
        what: String,
        /// Why.
        reason: String,
    },
    /// Bytes that contradict the format.
    #[error("read {format} at byte {offset}: {reason}")]
    Damaged {
        /// The format.
        format: &'static str,
        /// Where, in bytes from its start.
        offset: u64,
        /// What is wrong.
        reason: String,
    },
    /// Arithmetic on a size went past what 64 bits hold.
    #[error("compute {0}: the number is too large")]
    Overflow(&'static str),
}
