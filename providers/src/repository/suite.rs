//! One suite of one repository: its release obtained, verified and checked, its indexes named.

use super::index::Wanted;
use super::kept::{self, Kept, Signed};
use super::update::MAX_RELEASE;
use super::{Error, Release, Repository, Signers, Trust};
use crate::cache::CacheDir;
use crate::distro::Architecture;
use crate::fetch::{BaseUrl, Fetcher};
use crate::trust::{CLOCK_TOLERANCE, UnixTime};

/// The largest detached signature, in bytes.
const MAX_SIGNATURE: u64 = 256 * 1024;

/// One suite of one repository.
pub(super) struct Place<'a> {
    pub(super) repository: &'a Repository,
    pub(super) suite: &'a str,
}

impl Place<'_> {
    fn is_flat(&self) -> bool {
        self.suite.ends_with('/')
    }

    /// Where the release is, relative to the repository.
    fn directory(&self) -> String {
        if self.is_flat() {
            let path = self.suite.trim_start_matches('/');
            if path == "./" { String::new() } else { path.to_owned() }
        } else {
            format!("dists/{}/", self.suite)
        }
    }

    /// The release as it is: from the mirrors, or, when the network is not allowed, from memory.
    pub(super) fn obtain(&self, fetcher: &Fetcher, memory: Option<&Kept>) -> Result<(Signed, Option<String>), Error> {
        let sources = self.repository.sources();
        if fetcher.is_offline()
            && !sources.iter().any(BaseUrl::is_local)
            && let Some(kept) = memory
        {
            return Ok((kept.signed.clone(), None));
        }
        let get = |name: &str, limit| {
            let path = format!("{}{name}", self.directory());
            let what = format!("{} {} {name}", self.repository.id, self.suite);
            fetcher
                .document(&what, sources, &path, limit)
                .map_err(|source| Error::Fetch { repository: self.repository.id.clone(), source })
        };
        let text = |bytes: Vec<u8>| {
            String::from_utf8(bytes).map_err(|_| Error::Release {
                repository: self.repository.id.clone(),
                suite: self.suite.into(),
                source: super::ReleaseError::Line { line: 1 },
            })
        };
        if matches!(self.repository.trust, Trust::Keys(_))
            && let Some((bytes, from)) = get("InRelease", MAX_RELEASE)?
        {
            return Ok((Signed::Inline(text(bytes)?), Some(from)));
        }
        let Some((bytes, from)) = get("Release", MAX_RELEASE)? else {
            return Err(Error::NoRelease {
                repository: self.repository.id.clone(),
                suite: self.suite.into(),
                url: sources.first().map(ToString::to_string).unwrap_or_default(),
            });
        };
        let release = text(bytes)?;
        let signed = match self.repository.trust {
            Trust::Anyone => Signed::Unsigned(release),
            Trust::Keys(_) => {
                let (signature, _) = get("Release.gpg", MAX_SIGNATURE)?.ok_or_else(|| Error::NotSigned {
                    repository: self.repository.id.clone(),
                    suite: self.suite.into(),
                })?;
                Signed::Detached(release, hex::encode(signature))
            }
        };
        Ok((signed, Some(from)))
    }

    /// The text that somebody vouches for.
    pub(super) fn verify(&self, signed: &Signed, now: UnixTime) -> Result<(String, Signers), Error> {
        let keys = match (&self.repository.trust, signed) {
            (Trust::Anyone, Signed::Inline(text) | Signed::Detached(text, _) | Signed::Unsigned(text)) => {
                return Ok((text.clone(), Signers::new()));
            }
            (Trust::Keys(keys), _) => keys,
        };
        let verified = match signed {
            Signed::Inline(text) => keys.verify_inline(text.as_bytes(), now),
            Signed::Detached(text, signature) => match hex::decode(signature) {
                Ok(signature) => keys.verify_detached(text.as_bytes(), &signature, now),
                Err(error) => Err(crate::trust::Error::Malformed(error.to_string())),
            },
            Signed::Unsigned(_) => {
                return Err(Error::NotSigned { repository: self.repository.id.clone(), suite: self.suite.into() });
            }
        };
        verified.map(|verified| (verified.text, verified.signers)).map_err(|source| Error::Untrusted {
            repository: self.repository.id.clone(),
            suite: self.suite.into(),
            source,
        })
    }

    /// Whether a genuine release is the right one, and current.
    pub(super) fn check(
        &self,
        release: &Release,
        memory: Option<&Kept>,
        cache: &CacheDir,
        now: UnixTime,
    ) -> Result<(), Error> {
        let (repository, suite) = (self.repository.id.clone(), self.suite.to_owned());
        if !self.is_flat() && !release.is_named(self.suite) {
            return Err(Error::Mixup { repository, suite, found: release.names() });
        }
        if release.date.0 > now.0.saturating_add(CLOCK_TOLERANCE) {
            return Err(Error::FromTheFuture { repository, suite, dated: release.date, now });
        }
        if let Some(until) = release.valid_until
            && self.repository.check_valid_until
            && until < now
        {
            return Err(Error::Expired { repository, suite, until, now });
        }
        if let Some(kept) = memory
            && release.date < kept.date
        {
            let memory = kept::path(cache, self.repository, self.suite);
            return Err(Error::Rollback { repository, suite, dated: release.date, seen: kept.date, memory });
        }
        Ok(())
    }

    /// The indexes wanted, with the component of each.
    pub(super) fn indexes<'r>(
        &'r self,
        release: &'r Release,
        architecture: &Architecture,
    ) -> Result<Vec<(String, Wanted<'r>)>, Error> {
        let directory = self.directory();
        let want = |path: String| Wanted { repository: self.repository, release, directory: directory.clone(), path };
        if self.is_flat() {
            let index = want("Packages".into());
            if !index.exists() {
                return Err(self.no_index("Packages", architecture, release));
            }
            return Ok(vec![(String::new(), index)]);
        }
        let mut found = Vec::new();
        for component in &self.repository.components {
            let native = want(format!("{component}/binary-{architecture}/Packages"));
            let all = want(format!("{component}/binary-all/Packages"));
            let take_all = !release.all_included && all.exists();
            if native.exists() {
                found.push((component.clone(), native));
            } else if !take_all {
                return Err(self.no_index(component, architecture, release));
            }
            if take_all {
                found.push((component.clone(), all));
            }
        }
        Ok(found)
    }

    fn no_index(&self, component: &str, architecture: &Architecture, release: &Release) -> Error {
        let mut there: Vec<String> = release.components.clone();
        there.extend(release.architectures.iter().cloned());
        Error::NoIndex {
            repository: self.repository.id.clone(),
            suite: self.suite.into(),
            component: component.into(),
            architecture: architecture.to_string(),
            components: there,
        }
    }
}
