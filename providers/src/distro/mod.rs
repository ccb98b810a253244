//! The distributions as data: one file per release, ours embedded, others read at run time.
//!
//! A file says what is particular about a release: repositories and keys, the names of its kernel
//! and boot files, default packages, how its own `mke2fs` is configured, what its packages leave
//! behind that must not be in an image. The code knows package families, never a distribution.

mod architecture;
mod catalogue;
mod facts;
mod repository;
mod scaffold;
mod volatile;

use std::path::PathBuf;

pub use architecture::{Architecture, ArchitectureError};
pub use catalogue::Catalogue;
pub use facts::{
    ArchitectureFacts, Boot, DebconfAnswer, Distro, DracutModules, Ext4, Family, Grub, Initramfs, Kernel, Live,
    OsRelease, RpmFacts, Variant, VariantFacts,
};
pub use repository::{MirrorRule, RepositoryFacts};
pub use scaffold::ScaffoldFile;
pub use volatile::{PathPattern, Rule, VolatilePath};

/// Facts that cannot be read, or that there are none of.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A provider file is not what it should be; the source says where.
    #[error("read the provider file {name}")]
    Syntax {
        /// The file.
        name: String,
        /// What is wrong with it, with line and column.
        #[source]
        source: Box<serde_saphyr::Error>,
    },
    /// A provider file contradicts itself.
    #[error("read the provider file {name}: {sentence}")]
    Content {
        /// The file.
        name: String,
        /// What is wrong with it.
        sentence: String,
    },
    /// A provider directory or a key file cannot be read.
    #[error("{verb} {}", path.display())]
    File {
        /// What was tried.
        verb: &'static str,
        /// Where.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// No file describes this distribution at all.
    #[error("find the provider '{os}'")]
    UnknownOs {
        /// What was asked for.
        os: String,
        /// What there is.
        known: Vec<String>,
    },
    /// The distribution is known, this release of it is not.
    #[error("find version '{version}' of the provider '{os}'")]
    UnknownVersion {
        /// The distribution.
        os: String,
        /// What was asked for.
        version: String,
        /// What there is.
        known: Vec<String>,
    },
    /// The release is described, but there is no code yet for the family of its packages.
    #[error("use the provider '{os}' {version}: images of {} packages are not supported yet", family.as_str())]
    NotSupported {
        /// The distribution.
        os: String,
        /// The release.
        version: String,
        /// The family of its packages.
        family: Family,
    },
    /// The release does not exist for this architecture.
    #[error("find the architecture {architecture} in {os} {version}")]
    UnknownArchitecture {
        /// The distribution.
        os: String,
        /// The release.
        version: String,
        /// What was asked for.
        architecture: Architecture,
        /// What there is.
        known: Vec<String>,
    },
    /// The repository's key does not ship with the program.
    #[error("find the signing key of the repository '{repository}' of {os}")]
    NoKey {
        /// The distribution.
        os: String,
        /// The repository.
        repository: String,
        /// Where its owner publishes the key, when known.
        published: Option<String>,
    },
    /// A key file does not hold the keys that the provider file pins.
    #[error("use the keys of the repository '{repository}' of {os}")]
    Key {
        /// The distribution.
        os: String,
        /// The repository.
        repository: String,
        /// What is wrong.
        #[source]
        source: crate::trust::Error,
    },
}

impl Error {
    /// What a person can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::UnknownOs { known, .. } => Some(format!("known providers: {}", known.join(", "))),
            Self::UnknownVersion { os, known, .. } => Some(format!("known versions of {os}: {}", known.join(", "))),
            Self::UnknownArchitecture { known, .. } => Some(format!("it exists for {}", known.join(", "))),
            Self::NoKey { os, published, .. } => {
                let from = match published {
                    Some(url) => format!("fetch it from {url}, compare its fingerprint with its owner's word, and "),
                    None => String::new(),
                };
                Some(format!("{from}name its file as `providers.{os}.key` in the configuration"))
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests;
