//! Brings repositories up to date: release, checks, indexes, memory.

use layers::Sha256;

use super::kept::{self, Kept};
use super::suite::Place;
use super::{Error, Release, Repository, RepositoryId, Signers};
use crate::cache::CacheDir;
use crate::distro::Architecture;
use crate::fetch::{BaseUrl, Fetcher};
use crate::trust::UnixTime;

/// The largest release file, in bytes: Debian's has a quarter of a mebibyte.
pub(super) const MAX_RELEASE: u64 = 16 * 1024 * 1024;

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
