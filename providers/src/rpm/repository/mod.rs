//! Repositories of rpm packages: from a description to packages that are genuine and current.
//!
//! repomd.xml is signed, and names every other document with its digest; packages carry signatures
//! of their own. A distribution uses both, or one of them (dnf.conf(5), `repo_gpgcheck` and
//! `gpgcheck`); with neither, nothing is used unless the user has said so. As with [`crate::repository`],
//! a repository that fails is never left out.

mod document;
mod error;
mod kept;
mod mirrors;
mod source;
mod update;

use crate::distro::{Architecture, RepositoryFacts};
use crate::fetch::{BaseUrl, DocumentUrl, Fetcher, UrlError};
use crate::repository::{RepositoryId, Trust};
use crate::trust::Keyring;

pub use error::Error;
pub use update::{Metadata, Opening, Update, VerifiedRepomd, open_all, update_all};

/// Where the mirrors of a repository are found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MirrorList {
    /// A metalink (RFC 5854's predecessor, version 3.0): mirrors, and the digest of repomd.xml.
    Metalink(DocumentUrl),
    /// URLs, one a line.
    Plain(DocumentUrl),
}

/// A repository of rpm packages.
#[derive(Debug, Clone)]
pub struct Repository {
    /// Its name in locks and messages.
    pub id: RepositoryId,
    /// Its canonical URL: what is written down, and, without mirrors, where it is.
    pub url: BaseUrl,
    /// Where its files are fetched from, in order of preference.
    pub mirrors: Vec<BaseUrl>,
    /// Where more mirrors are found, when `mirrors` is empty.
    pub list: Option<MirrorList>,
    /// Whom to believe.
    pub trust: Trust,
    /// Whether repomd.xml has to be signed.
    pub repo_gpgcheck: bool,
    /// Whether packages have to be signed.
    pub gpgcheck: bool,
}

impl Repository {
    /// A repository of a provider file for one architecture, with the keys it is to be believed by.
    ///
    /// # Errors
    /// A URL of the facts is not one, which reading the provider file has ruled out.
    pub fn from_facts(facts: &RepositoryFacts, architecture: &Architecture, keys: Keyring) -> Result<Self, UrlError> {
        let list = match (&facts.metalink, &facts.mirrorlist) {
            (Some(url), _) => {
                Some(MirrorList::Metalink(DocumentUrl::parse(&facts.for_architecture(url, architecture))?))
            }
            (None, Some(url)) => {
                Some(MirrorList::Plain(DocumentUrl::parse(&facts.for_architecture(url, architecture))?))
            }
            (None, None) => None,
        };
        Ok(Self {
            id: facts.id.clone(),
            url: BaseUrl::parse(&facts.for_architecture(&facts.url, architecture))?,
            mirrors: Vec::new(),
            list,
            trust: Trust::Keys(keys),
            repo_gpgcheck: facts.repo_gpgcheck,
            gpgcheck: facts.gpgcheck,
        })
    }

    /// The keys of which one has to have signed each package; `None` when packages need no signature:
    /// then their digests in the signed metadata vouch for them, or the user does.
    pub fn package_keys(&self) -> Option<&Keyring> {
        match &self.trust {
            Trust::Keys(keys) if self.gpgcheck => Some(keys),
            Trust::Keys(_) | Trust::Anyone => None,
        }
    }

    /// The keys of which one has to have signed repomd.xml; `None` when it needs no signature.
    ///
    /// # Errors
    /// [`Error::Unprotected`] when packages need none either, and the user has not said that this
    /// is meant.
    pub fn metadata_keys(&self) -> Result<Option<&Keyring>, Error> {
        match &self.trust {
            Trust::Anyone => Ok(None),
            Trust::Keys(keys) if self.repo_gpgcheck => Ok(Some(keys)),
            Trust::Keys(_) if self.gpgcheck => Ok(None),
            Trust::Keys(_) => Err(Error::Unprotected { repository: self.id.clone() }),
        }
    }

    /// Where its packages may be fetched from, in order of preference: the mirrors that were named, those
    /// of its list, its own URL. Digests decide what is used, so a list that cannot be had is no failure.
    pub fn places(&self, fetcher: &Fetcher) -> Vec<BaseUrl> {
        match mirrors::find(self, fetcher) {
            Ok(found) => found.urls,
            Err(error) => {
                tracing::warn!(repository = %self.id, %error, "the list of mirrors is not used");
                vec![self.url.clone()]
            }
        }
    }

    /// Its canonical description in one line, for [`crate::lock::Request::repositories`].
    pub fn describe(&self) -> String {
        let how = match (&self.trust, self.repo_gpgcheck, self.gpgcheck) {
            (Trust::Anyone, ..) => " (unsigned)",
            (Trust::Keys(_), true, true) => "",
            (Trust::Keys(_), true, false) => " (packages unsigned)",
            (Trust::Keys(_), false, true) => " (metadata unsigned)",
            (Trust::Keys(_), false, false) => " (nothing signed)",
        };
        format!("{}{how}", self.url.without_credentials())
    }
}
