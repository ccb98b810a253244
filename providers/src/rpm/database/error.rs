//! What can go wrong with rpm's database.

use std::io;
use std::path::PathBuf;

/// An error of the database. Texts are fragments that fit after "failed to".
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
    /// sqlite refused.
    #[error("{action} the package database {}", path.display())]
    Sqlite {
        /// What was tried, as a verb.
        action: &'static str,
        /// The database on the host.
        path: PathBuf,
        /// sqlite's answer.
        source: rusqlite::Error,
    },
    /// A database that rpm cannot have written.
    #[error("read the package database {}: {reason}", path.display())]
    Damaged {
        /// The database on the host.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A package that rpm would not put into its database.
    #[error("enter package {package} into the package database: {reason}")]
    Package {
        /// Its name; empty when it has none.
        package: String,
        /// What is wrong with it.
        reason: String,
    },
}

impl Error {
    /// What a person can do about it, where there is something.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Io { source, .. } if source.kind() == io::ErrorKind::NotFound => Some(
                "rpm before 4.16, or one that is set up otherwise, keeps its database in another format; \
                 only rpmdb.sqlite is read"
                    .into(),
            ),
            Self::Sqlite { .. } | Self::Damaged { .. } => Some(
                "in the image that it came from, `rpmdb --verifydb` tells more, and `rpmdb --rebuilddb` \
                 often repairs it"
                    .into(),
            ),
            Self::Package { .. } => Some("the package was made by an rpm that is too old, or is damaged".into()),
            Self::Io { .. } => None,
        }
    }
}
