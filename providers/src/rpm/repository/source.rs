//! repomd.xml of one repository: obtained, verified, checked against what was seen before.

use super::kept::{self, Kept};
use super::mirrors::{self, Mirrors};
use super::{Error, Repository};
use crate::cache::CacheDir;
use crate::fetch::{BaseUrl, Fetcher};
use crate::rpm::metadata::Repomd;
use crate::trust::{CLOCK_TOLERANCE, Fingerprint, Keyring, UnixTime};

/// The largest repomd.xml, in bytes: they have some ten thousand.
pub(super) const MAX_REPOMD: u64 = 4 * 1024 * 1024;

/// The largest detached signature, in bytes.
pub(super) const MAX_SIGNATURE: u64 = 256 * 1024;

/// A repomd.xml as it came.
pub(super) struct Obtained {
    /// Its bytes, which are text, and its signature where one was asked for.
    pub(super) repomd: String,
    pub(super) signature: Option<Vec<u8>>,
    /// Where it came from, without credentials; none when from memory.
    pub(super) from: Option<String>,
    /// Where the other files are to be fetched from, the best first.
    pub(super) sources: Vec<BaseUrl>,
}

/// One repository, and what was seen of it.
pub(super) struct Place<'a> {
    pub(super) repository: &'a Repository,
    pub(super) keys: Option<&'a Keyring>,
    pub(super) memory: Option<Kept>,
}

impl<'a> Place<'a> {
    pub(super) fn new(repository: &'a Repository, cache: &CacheDir) -> Result<Self, Error> {
        let keys = repository.metadata_keys()?;
        let memory = kept::recall(cache, repository, keys.is_some())?;
        Ok(Self { repository, keys, memory })
    }

    /// repomd.xml as it is: from the mirrors, or, when the network is not allowed, from memory.
    pub(super) fn obtain(&self, fetcher: &Fetcher) -> Result<Obtained, Error> {
        let mirrors = mirrors::find(self.repository, fetcher)?;
        if fetcher.is_offline()
            && !mirrors.urls.iter().any(BaseUrl::is_local)
            && let Some(kept) = &self.memory
        {
            let signature = kept.signature.as_deref().and_then(|digits| hex::decode(digits).ok());
            return Ok(Obtained { repomd: kept.repomd.clone(), signature, from: None, sources: mirrors.urls });
        }
        self.ask(&mirrors, fetcher)
    }

    /// Asks one mirror after the other, because repomd.xml and its signature have to be of one.
    fn ask(&self, mirrors: &Mirrors, fetcher: &Fetcher) -> Result<Obtained, Error> {
        let repository = || self.repository.id.clone();
        let mut failure = None;
        for mirror in &mirrors.urls {
            let get = |name: &str, limit| {
                let (what, path) = (format!("{} {name}", self.repository.id), format!("repodata/{name}"));
                fetcher
                    .document(&what, std::slice::from_ref(mirror), &path, limit)
                    .map_err(|source| Error::Fetch { repository: repository(), source })
            };
            let (bytes, from) = match get("repomd.xml", MAX_REPOMD) {
                Ok(Some(found)) => found,
                Ok(None) => {
                    failure.get_or_insert(Error::NoRepomd { repository: repository(), url: mirror.to_string() });
                    continue;
                }
                Err(error @ Error::Fetch { source: crate::fetch::Error::Exhausted { .. }, .. }) => {
                    failure = Some(error);
                    continue;
                }
                Err(error) => return Err(error),
            };
            if !mirrors.knows(&bytes) {
                tracing::warn!(repository = %self.repository.id, %mirror, "a repomd.xml that the metalink does not state");
                let got = mirrors::digest(&bytes);
                failure = Some(Error::NotInMetalink { repository: repository(), from, got });
                continue;
            }
            let signature = match self.keys {
                None => None,
                Some(_) => match get("repomd.xml.asc", MAX_SIGNATURE)? {
                    Some((signature, _)) => Some(signature),
                    None => return Err(Error::NotSigned { repository: repository() }),
                },
            };
            let repomd = String::from_utf8(bytes).map_err(|_| Error::Document {
                repository: repository(),
                path: "repodata/repomd.xml".into(),
                sentence: "it is not text".into(),
            })?;
            // What this mirror has is most likely to fit.
            let others = mirrors.urls.iter().filter(|other| *other != mirror);
            let sources = std::iter::once(mirror).chain(others).cloned().collect();
            return Ok(Obtained { repomd, signature, from: Some(from), sources });
        }
        Err(failure
            .unwrap_or_else(|| Error::NoRepomd { repository: repository(), url: self.repository.url.to_string() }))
    }

    /// The keys that vouch for it; none where none are asked for.
    pub(super) fn verify(&self, obtained: &Obtained, now: UnixTime) -> Result<Vec<Fingerprint>, Error> {
        let Some(keys) = self.keys else { return Ok(Vec::new()) };
        let Some(signature) = &obtained.signature else {
            return Err(Error::NotSigned { repository: self.repository.id.clone() });
        };
        keys.verify_detached(obtained.repomd.as_bytes(), signature, now)
            .map(|verified| verified.signers)
            .map_err(|source| Error::Untrusted { repository: self.repository.id.clone(), source })
    }

    /// The date of a genuine repomd.xml, which has to be current.
    pub(super) fn check(
        &self,
        repomd: &Repomd,
        text: &str,
        cache: &CacheDir,
        now: UnixTime,
    ) -> Result<UnixTime, Error> {
        let repository = self.repository.id.clone();
        let Some(dated) = repomd.date() else { return Err(Error::NoDate { repository }) };
        if dated.0 > now.0.saturating_add(CLOCK_TOLERANCE) {
            return Err(Error::FromTheFuture { repository, dated, now });
        }
        // What anybody could have written proves nothing.
        if let Some(kept) = self.memory.as_ref().filter(|_| self.keys.is_some()) {
            let memory = kept::path(cache, self.repository, true);
            if dated < kept.date {
                return Err(Error::Rollback { repository, dated, seen: kept.date, memory });
            }
            if dated == kept.date && text != kept.repomd {
                return Err(Error::Changed { repository, dated, memory });
            }
        }
        Ok(dated)
    }
}
