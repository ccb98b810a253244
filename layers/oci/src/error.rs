//! What can go wrong with OCI images.

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
    /// A tree, layer or store.
    #[error(transparent)]
    Layers(#[from] layers::Error),
    /// A compressor.
    #[error(transparent)]
    Image(#[from] ::image::Error),
    /// The content of a file could not be read, or is not what the tree says.
    #[error("read the content of {path}")]
    Content {
        /// The path in the tree.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// A tar or blob could not be made.
    #[error("write {what}")]
    Write {
        /// What was being made.
        what: String,
        /// Why.
        source: io::Error,
    },
    /// A blob could not be read from where it is kept.
    #[error("read blob {digest}")]
    Fetch {
        /// Its digest.
        digest: String,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A blob that is not what its descriptor says.
    #[error("accept blob {digest}: {reason}")]
    Blob {
        /// Its digest.
        digest: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A manifest, configuration, index or layout that contradicts the specification or itself.
    #[error("read {what}: {reason}")]
    Document {
        /// Which one.
        what: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A layer whose tar is damaged or hostile.
    #[error("unpack layer {layer}: {reason}")]
    Unpack {
        /// Digest of its blob.
        layer: String,
        /// What is wrong with it.
        reason: String,
    },
    /// An index has no such image.
    #[error("find image {wanted}: {found}")]
    NoImage {
        /// Name and platform that were asked for.
        wanted: String,
        /// What there is instead.
        found: String,
    },
    /// Something that an OCI image cannot hold.
    #[error("express {what} in an OCI image: {reason}")]
    Inexpressible {
        /// What cannot be expressed.
        what: String,
        /// Why.
        reason: String,
    },
    /// The output is there already.
    #[error("write {}: it exists", path.display())]
    Exists {
        /// The output.
        path: PathBuf,
    },
}

impl Error {
    /// What the user may do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Exists { .. } => Some("remove it, or choose another name".into()),
            Self::Blob { .. } => Some("the image is damaged where it is kept: get it again".into()),
            Self::NoImage { .. } => Some("name the image by its reference name, or another platform".into()),
            _ => None,
        }
    }

    pub(crate) fn document(what: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::Document { what: what.into(), reason: reason.into() }
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
