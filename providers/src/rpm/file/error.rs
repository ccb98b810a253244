//! What can go wrong with a package file.

use std::path::{Path, PathBuf};

use crate::{FileError, trust};

/// A package file that cannot be used. Texts are fragments that fit after "failed to".
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A system call on a host file failed.
    #[error(transparent)]
    Io(#[from] FileError),
    /// A package that is damaged or hostile.
    #[error("read package {}: {reason}", path.display())]
    Damaged {
        /// The package file on the host.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A path that no tree may hold.
    #[error("unpack package {}", path.display())]
    Path {
        /// The package file on the host.
        path: PathBuf,
        /// Why the path is refused.
        source: layers::Error,
    },
    /// The package does not agree with its own digests, or with the repository's.
    #[error("verify package {}: {reason}", path.display())]
    Altered {
        /// The package file on the host.
        path: PathBuf,
        /// What does not agree.
        reason: String,
    },
    /// The package has no signature.
    #[error("verify package {}: it is not signed", path.display())]
    Unsigned {
        /// The package file on the host.
        path: PathBuf,
    },
    /// The package has no signature that counts.
    #[error("use package {}", path.display())]
    Untrusted {
        /// The package file on the host.
        path: PathBuf,
        /// Why its signatures do not count.
        source: trust::Error,
    },
}

impl Error {
    /// What a person can do about it, where there is something.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Damaged { .. } | Self::Altered { .. } => {
                Some("remove the file so that it is fetched anew; if that does not help, try another mirror".into())
            }
            Self::Unsigned { .. } => Some(
                "if the repository signs its metadata instead of its packages, its `gpgcheck` has to be off and its `repo_gpgcheck` on".into(),
            ),
            Self::Untrusted { source, .. } => source.hint(),
            Self::Io(_) | Self::Path { .. } => None,
        }
    }
}

/// Makes errors that name the package.
#[derive(Clone, Copy)]
pub(in crate::rpm) struct Failure<'p> {
    pub package: &'p Path,
}

impl Failure<'_> {
    pub fn damaged(&self, reason: impl ToString) -> Error {
        Error::Damaged { path: self.package.into(), reason: reason.to_string() }
    }

    pub fn altered(&self, reason: impl Into<String>) -> Error {
        Error::Altered { path: self.package.into(), reason: reason.into() }
    }

    pub fn path(&self, source: layers::Error) -> Error {
        Error::Path { path: self.package.into(), source }
    }

    pub fn io(&self, verb: &'static str) -> impl FnOnce(std::io::Error) -> Error + use<> {
        let path = self.package.to_path_buf();
        move |source| Error::Io(FileError { verb, path, source })
    }
}
