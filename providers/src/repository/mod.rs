//! Repositories of deb packages: from a description to indexes that are genuine and current.
//!
//! The release file is signed, names every index with its digest, and says until when it holds.
//! Nothing of a repository is used before its chain is whole, and a repository that fails is
//! never left out: an image without its security updates would look just like one with them.

pub(crate) mod compressed;
mod identity;
mod index;
mod kept;
mod release;
mod suite;
mod update;

use crate::distro::RepositoryFacts;
use crate::error::FileError;
use crate::fetch::BaseUrl;
use crate::trust::{Fingerprint, Keyring, UnixTime, date};
use crate::{fetch, trust};

pub use identity::{IdError, RepositoryId};
pub(crate) use index::remove;
pub use release::{IndexEntry, Release, ReleaseError};
pub(crate) use update::at_once;
pub use update::{Opening, Update, VerifiedIndex, VerifiedRelease, open_all, update, update_all};

/// Whom to believe about a repository.
#[derive(Debug, Clone)]
pub enum Trust {
    /// Releases signed by one of these keys.
    Keys(Keyring),
    /// Any release, signed or not. Only where the user has written so (`trusted: true`).
    Anyone,
}

/// A repository of packages.
#[derive(Debug, Clone)]
pub struct Repository {
    /// Its name in locks and messages.
    pub id: RepositoryId,
    /// Its canonical URL: what is written down.
    pub url: BaseUrl,
    /// Where its files are fetched from, in order of preference; from `url` when empty.
    pub mirrors: Vec<BaseUrl>,
    /// Its suites; one that ends in a slash is the path of a flat repository.
    pub suites: Vec<String>,
    /// Its components; empty for flat repositories.
    pub components: Vec<String>,
    /// Whom to believe.
    pub trust: Trust,
    /// Whether a release past its own `Valid-Until` is refused.
    pub check_valid_until: bool,
}

impl Repository {
    /// A repository of a provider file, with the keys it is to be believed by.
    ///
    /// # Errors
    /// The URL of the facts is not one, which reading the provider file has ruled out.
    pub fn from_facts(facts: &RepositoryFacts, keys: Keyring) -> Result<Self, fetch::UrlError> {
        Ok(Self {
            id: facts.id.clone(),
            url: BaseUrl::parse(&facts.url)?,
            mirrors: Vec::new(),
            suites: facts.suites.clone(),
            components: facts.components.clone(),
            trust: Trust::Keys(keys),
            check_valid_until: true,
        })
    }

    /// Where its files are fetched from.
    pub fn sources(&self) -> &[BaseUrl] {
        if self.mirrors.is_empty() { std::slice::from_ref(&self.url) } else { &self.mirrors }
    }

    /// Its canonical description in one line, for [`crate::lock::Request::repositories`].
    pub fn describe(&self) -> String {
        let unsigned = match self.trust {
            Trust::Keys(_) => "",
            Trust::Anyone => " (unsigned)",
        };
        let parts = [self.url.without_credentials(), self.suites.join(" "), self.components.join(" ")];
        format!("{}{unsigned}", parts.join(" ").trim_end())
    }
}

/// A repository that cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file of it did not arrive.
    #[error("update the repository '{repository}'")]
    Fetch {
        /// Which.
        repository: RepositoryId,
        /// Why.
        #[source]
        source: fetch::Error,
    },
    /// The cache cannot be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// There is no release file: the URL or the suite is wrong.
    #[error("find a release of '{suite}' in the repository '{repository}' at {url}")]
    NoRelease {
        /// Which.
        repository: RepositoryId,
        /// Of which suite.
        suite: String,
        /// Where it was looked for.
        url: String,
    },
    /// There is a release, but no signature.
    #[error("find a signature for the release of '{suite}' in the repository '{repository}'")]
    NotSigned {
        /// Which.
        repository: RepositoryId,
        /// Of which suite.
        suite: String,
    },
    /// The release's signature does not hold.
    #[error("trust the release of '{suite}' in the repository '{repository}'")]
    Untrusted {
        /// Which.
        repository: RepositoryId,
        /// Of which suite.
        suite: String,
        /// Why not.
        #[source]
        source: trust::Error,
    },
    /// The release is not well-formed.
    #[error("read the release of '{suite}' in the repository '{repository}'")]
    Release {
        /// Which.
        repository: RepositoryId,
        /// Of which suite.
        suite: String,
        /// What is wrong with it.
        #[source]
        source: ReleaseError,
    },
    /// The release is genuine, but of another suite.
    #[error("use the release of '{suite}' in the repository '{repository}': it says that it is {found}")]
    Mixup {
        /// Which.
        repository: RepositoryId,
        /// The suite asked for.
        suite: String,
        /// What the release calls itself.
        found: String,
    },
    /// The release has ended.
    #[error("use the release of '{suite}' in the repository '{repository}': it was valid until {}, now it is {}", date(*.until), date(*.now))]
    Expired {
        /// Which.
        repository: RepositoryId,
        /// Of which suite.
        suite: String,
        /// Its own end.
        until: UnixTime,
        /// The present.
        now: UnixTime,
    },
    /// The release is dated in the future.
    #[error("use the release of '{suite}' in the repository '{repository}': it is dated {}, now it is {}", date(*.dated), date(*.now))]
    FromTheFuture {
        /// Which.
        repository: RepositoryId,
        /// Of which suite.
        suite: String,
        /// Its own date.
        dated: UnixTime,
        /// The present.
        now: UnixTime,
    },
    /// The release is older than one that was already seen.
    #[error("use the release of '{suite}' in the repository '{repository}': it is dated {}, but one of {} has been seen", date(*.dated), date(*.seen))]
    Rollback {
        /// Which.
        repository: RepositoryId,
        /// Of which suite.
        suite: String,
        /// Its own date.
        dated: UnixTime,
        /// The date of the newest one seen.
        seen: UnixTime,
        /// Where that is remembered.
        memory: std::path::PathBuf,
    },
    /// The release does not have a component, or not for this architecture.
    #[error("find '{component}' for {architecture} in the release of '{suite}' in the repository '{repository}'")]
    NoIndex {
        /// Which.
        repository: RepositoryId,
        /// Of which suite.
        suite: String,
        /// The component asked for.
        component: String,
        /// The architecture asked for.
        architecture: String,
        /// What there is.
        components: Vec<String>,
    },
    /// An index is not what the release says it is, or cannot be decompressed.
    #[error("read the index {index} of the repository '{repository}': {sentence}")]
    Index {
        /// Which.
        repository: RepositoryId,
        /// Its path in the repository.
        index: String,
        /// What is wrong with it.
        sentence: String,
    },
}

impl Error {
    /// What a person can do about it.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Fetch { source, .. } => return source.hint(),
            Self::Untrusted { source, .. } => return source.hint(),
            Self::NoRelease { .. } => "check the repository's URL and suite; a path of its own ends in a slash".into(),
            Self::NotSigned { .. } => {
                "ask its owner to sign it; or, if nobody but you can change what it serves, write `trusted: true` at the repository".into()
            }
            Self::Mixup { .. } => "name the suite as its own release does (Suite or Codename), or use another mirror".into(),
            Self::Expired { .. } => "check this machine's clock; a mirror that is behind needs to catch up, or use another; for a frozen copy of a repository, set `check_valid_until: false` at it".into(),
            Self::FromTheFuture { .. } => "check this machine's clock".into(),
            Self::Rollback { memory, .. } => format!(
                "the mirror is behind or has been set back: wait, or use another; if this is meant, remove {}",
                memory.display()
            ),
            Self::NoIndex { components, .. } if !components.is_empty() => {
                format!("it has {}", components.join(", "))
            }
            Self::Index { .. } => "try another mirror (providers.NAME.mirror in the configuration)".into(),
            _ => return None,
        })
    }
}

/// Who signed a release, for the build report.
pub(crate) type Signers = Vec<Fingerprint>;

#[cfg(test)]
mod tests;
