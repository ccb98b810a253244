//! Brings repositories up to date: release, checks, indexes, memory.

use layers::Sha256;

use super::index::Wanted;
use super::kept::{self, Kept, Signed};
use super::{Error, Release, Repository, RepositoryId, Signers, Trust};
use crate::cache::CacheDir;
use crate::distro::Architecture;
use crate::fetch::{BaseUrl, Fetcher};
use crate::trust::{CLOCK_TOLERANCE, UnixTime};

/// The largest release file, in bytes: Debian's has a quarter of a mebibyte.
pub(super) const MAX_RELEASE: u64 = 16 * 1024 * 1024;

/// The largest detached signature, in bytes.
const MAX_SIGNATURE: u64 = 256 * 1024;

/// What repositories have to offer.
#[derive(Debug, Clone, Default)]
pub struct Update {
    /// The releases, in the order of repositories and suites.
    pub releases: Vec<VerifiedRelease>,
    /// Their indexes, in the same order, then in that of the components.
    pub indexes: Vec<VerifiedIndex>,
}

/// A release that is genuine and current.
#[derive(Debug, Clone)]
pub struct VerifiedRelease {
    /// Whose.
    pub repository: RepositoryId,
    /// The repository's canonical URL.
    pub url: BaseUrl,
    /// Of which suite.
    pub suite: String,
    /// Digest of the signed text.
    pub sha256: Sha256,
    /// Its date.
    pub date: UnixTime,
    /// Its end, when it states one.
    pub valid_until: Option<UnixTime>,
    /// The keys that vouch for it; empty when the user wanted none.
    pub signers: Signers,
    /// Where it came from, without credentials; none when from the cache.
    pub from: Option<String>,
}

/// An index of packages whose digest a [`VerifiedRelease`] states.
#[derive(Debug, Clone)]
pub struct VerifiedIndex {
    /// Whose.
    pub repository: RepositoryId,
    /// Of which suite.
    pub suite: String,
    /// Of which component; empty for a flat repository.
    pub component: String,
    /// For which architecture.
    pub architecture: Architecture,
    /// Digest of the text.
    pub sha256: Sha256,
    /// The paragraphs, as bytes.
    pub text: Vec<u8>,
    /// The release's date.
    pub date: UnixTime,
}

impl Update {
    /// The date of the newest release: the epoch of a lock made from these indexes.
    pub fn epoch(&self) -> Option<UnixTime> {
        self.releases.iter().map(|release| release.date).max()
    }

    fn append(&mut self, other: Self) {
        self.releases.extend(other.releases);
        self.indexes.extend(other.indexes);
    }
}

/// Brings several repositories up to date, all suites at once.
///
/// # Errors
/// The first repository that fails, in the order given; none is left out.
pub fn update_all(
    repositories: &[Repository],
    architecture: &Architecture,
    fetcher: &Fetcher,
    cache: &CacheDir,
    now: UnixTime,
) -> Result<Update, Error> {
    let suites: Vec<(&Repository, &str)> = repositories
        .iter()
        .flat_map(|repository| repository.suites.iter().map(move |suite| (repository, suite.as_str())))
        .collect();
    let results: Vec<Result<Update, Error>> = std::thread::scope(|scope| {
        let threads: Vec<_> = suites
            .iter()
            .map(|(repository, suite)| {
                let thread = std::thread::Builder::new().name("update".into());
                let work = || update_suite(repository, suite, architecture, fetcher, cache, now);
                // Without a thread it is done here, one after the other.
                thread.spawn_scoped(scope, work).map_err(|_| work())
            })
            .collect();
        threads
            .into_iter()
            .map(|thread| match thread {
                Ok(handle) => handle.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)),
                Err(done) => done,
            })
            .collect()
    });
    let mut update = Update::default();
    for result in results {
        update.append(result?);
    }
    Ok(update)
}

/// Brings one repository up to date.
///
/// # Errors
/// The first suite that fails; none is left out.
pub fn update(
    repository: &Repository,
    architecture: &Architecture,
    fetcher: &Fetcher,
    cache: &CacheDir,
    now: UnixTime,
) -> Result<Update, Error> {
    update_all(std::slice::from_ref(repository), architecture, fetcher, cache, now)
}

fn update_suite(
    repository: &Repository,
    suite: &str,
    architecture: &Architecture,
    fetcher: &Fetcher,
    cache: &CacheDir,
    now: UnixTime,
) -> Result<Update, Error> {
    let place = Place { repository, suite };
    let memory = kept::recall(cache, repository, suite)?;
    let (signed, from) = place.obtain(fetcher, memory.as_ref())?;
    let (text, signers) = place.verify(&signed, now)?;
    let release = Release::parse(&text).map_err(|source| Error::Release {
        repository: repository.id.clone(),
        suite: suite.into(),
        source,
    })?;
    place.check(&release, memory.as_ref(), cache, now)?;
    let mut update = Update::default();
    for (component, wanted) in place.indexes(&release, architecture)? {
        let (text, sha256) = wanted.read(fetcher, cache)?;
        update.indexes.push(VerifiedIndex {
            repository: repository.id.clone(),
            suite: suite.into(),
            component,
            architecture: architecture.clone(),
            sha256,
            text,
            date: release.date,
        });
    }
    // Only now, so that what is remembered can be used offline.
    let kept = Kept { date: release.date, signed };
    if memory.as_ref() != Some(&kept) {
        kept::remember(cache, repository, suite, &kept)?;
    }
    update.releases.push(VerifiedRelease {
        repository: repository.id.clone(),
        url: repository.url.clone(),
        suite: suite.into(),
        sha256: Sha256::of(text.as_bytes()),
        date: release.date,
        valid_until: release.valid_until,
        signers,
        from,
    });
    Ok(update)
}

/// One suite of one repository.
struct Place<'a> {
    repository: &'a Repository,
    suite: &'a str,
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
    fn obtain(&self, fetcher: &Fetcher, memory: Option<&Kept>) -> Result<(Signed, Option<String>), Error> {
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
            Trust::Anyone(_) => Signed::Unsigned(release),
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
    fn verify(&self, signed: &Signed, now: UnixTime) -> Result<(String, Signers), Error> {
        let keys = match (&self.repository.trust, signed) {
            (Trust::Anyone(_), Signed::Inline(text) | Signed::Detached(text, _) | Signed::Unsigned(text)) => {
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
    fn check(&self, release: &Release, memory: Option<&Kept>, cache: &CacheDir, now: UnixTime) -> Result<(), Error> {
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
    fn indexes<'r>(
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
