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

/// A repomd.xml that is believed.
pub(super) struct Genuine {
    pub(super) obtained: Obtained,
    pub(super) repomd: Repomd,
    /// The keys that vouch for it; none where none are asked for.
    pub(super) signers: Vec<Fingerprint>,
    pub(super) date: UnixTime,
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

    /// repomd.xml as it is, verified and current: of the first mirror that has such a one, or, when the
    /// network is not allowed, from memory.
    pub(super) fn open(&self, fetcher: &Fetcher, cache: &CacheDir, now: UnixTime) -> Result<Genuine, Error> {
        let mirrors = mirrors::find(self.repository, fetcher)?;
        if fetcher.is_offline()
            && !mirrors.urls.iter().any(BaseUrl::is_local)
            && let Some(kept) = &self.memory
        {
            let signature = kept.signature.as_deref().and_then(|digits| hex::decode(digits).ok());
            let obtained = Obtained { repomd: kept.repomd.clone(), signature, from: None, sources: mirrors.urls };
            return self.judge(obtained, cache, now);
        }
        let mut failure = None;
        for mirror in &mirrors.urls {
            let error = match self.ask(mirror, &mirrors, fetcher).and_then(|found| self.judge(found, cache, now)) {
                Ok(genuine) => return Ok(genuine),
                Err(error) if ends_everything(&error) => return Err(error),
                Err(error) => error,
            };
            tracing::warn!(repository = %self.repository.id, %mirror, %error, "a mirror is passed over");
            // What a mirror serves that it should not says more than that another is not there.
            if failure.as_ref().is_none_or(|earlier| is_absence(earlier) && !is_absence(&error)) {
                failure = Some(error);
            }
        }
        let missing =
            || Error::NoRepomd { repository: self.repository.id.clone(), url: self.repository.url.to_string() };
        Err(failure.unwrap_or_else(missing))
    }

    /// Asks one mirror: repomd.xml and its signature have to be of the same.
    fn ask(&self, mirror: &BaseUrl, mirrors: &Mirrors, fetcher: &Fetcher) -> Result<Obtained, Error> {
        let repository = || self.repository.id.clone();
        let get = |name: &str, limit| {
            let (what, path) = (format!("{} {name}", self.repository.id), format!("repodata/{name}"));
            fetcher
                .document(&what, std::slice::from_ref(mirror), &path, limit)
                .map_err(|source| Error::Fetch { repository: repository(), source })
        };
        let found = get("repomd.xml", MAX_REPOMD)?;
        let (bytes, from) =
            found.ok_or_else(|| Error::NoRepomd { repository: repository(), url: mirror.to_string() })?;
        if !mirrors.knows(&bytes) {
            let got = mirrors::digest(&bytes);
            return Err(Error::NotInMetalink { repository: repository(), from, got });
        }
        let signature = match self.keys {
            None => None,
            Some(_) => {
                let found = get("repomd.xml.asc", MAX_SIGNATURE)?;
                Some(found.ok_or_else(|| Error::NotSigned { repository: repository() })?.0)
            }
        };
        let repomd = String::from_utf8(bytes).map_err(|_| Error::Document {
            repository: repository(),
            path: "repodata/repomd.xml".into(),
            sentence: "it is not text".into(),
        })?;
        // What this mirror has is most likely to fit.
        let others = mirrors.urls.iter().filter(|other| *other != mirror);
        let sources = std::iter::once(mirror).chain(others).cloned().collect();
        Ok(Obtained { repomd, signature, from: Some(from), sources })
    }

    fn judge(&self, obtained: Obtained, cache: &CacheDir, now: UnixTime) -> Result<Genuine, Error> {
        let signers = self.verify(&obtained, now)?;
        let repomd = Repomd::parse(obtained.repomd.as_bytes())
            .map_err(|source| Error::Metadata { repository: self.repository.id.clone(), source })?;
        let date = self.check(&repomd, &obtained.repomd, cache, now)?;
        Ok(Genuine { obtained, repomd, signers, date })
    }

    /// The keys that vouch for it; none where none are asked for.
    fn verify(&self, obtained: &Obtained, now: UnixTime) -> Result<Vec<Fingerprint>, Error> {
        let Some(keys) = self.keys else { return Ok(Vec::new()) };
        let Some(signature) = &obtained.signature else {
            return Err(Error::NotSigned { repository: self.repository.id.clone() });
        };
        keys.verify_detached(obtained.repomd.as_bytes(), signature, now)
            .map(|verified| verified.signers)
            .map_err(|source| Error::Untrusted { repository: self.repository.id.clone(), source })
    }

    /// The date of a genuine repomd.xml, which has to be current.
    fn check(&self, repomd: &Repomd, text: &str, cache: &CacheDir, now: UnixTime) -> Result<UnixTime, Error> {
        let repository = self.repository.id.clone();
        let Some(dated) = repomd.date() else { return Err(Error::NoDate { repository }) };
        if dated.0 > now.0.saturating_add(CLOCK_TOLERANCE) {
            return Err(Error::FromTheFuture { repository, dated, now });
        }
        // What anybody could have written proves nothing, but people may want to look.
        if let (Some(kept), None) = (&self.memory, self.keys)
            && dated < kept.date
        {
            tracing::warn!(%repository, "the metadata, which nobody signs, is older than what was seen before");
        }
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

/// Whether other mirrors need not be asked.
fn ends_everything(error: &Error) -> bool {
    match error {
        Error::Fetch { source, .. } => {
            use crate::fetch::Error::{Exhausted, Offline};
            !matches!(source, Exhausted { .. } | Offline { .. })
        }
        Error::File(_) => true,
        _ => false,
    }
}

/// Whether a mirror had nothing, or could not be reached.
fn is_absence(error: &Error) -> bool {
    matches!(error, Error::Fetch { .. } | Error::NoRepomd { .. })
}
