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

/// Suites whose releases are genuine and current, and whose indexes are still to be read.
pub struct Opening<'a> {
    suites: Vec<Opened<'a>>,
}

struct Opened<'a> {
    place: Place<'a>,
    release: Release,
    verified: VerifiedRelease,
    memory: Option<Kept>,
    kept: Kept,
}

/// Fetches and verifies the releases of several repositories, all suites at once.
///
/// # Errors
/// The first repository that fails, in the order given; none is left out.
pub fn open_all<'a>(
    repositories: &'a [Repository],
    fetcher: &Fetcher,
    cache: &CacheDir,
    now: UnixTime,
) -> Result<Opening<'a>, Error> {
    let places: Vec<Place<'a>> = repositories
        .iter()
        .flat_map(|repository| repository.suites.iter().map(move |suite| Place { repository, suite: suite.as_str() }))
        .collect();
    let suites = at_once(places, |place| open(place, fetcher, cache, now))?;
    Ok(Opening { suites })
}

impl Opening<'_> {
    /// The releases, in the order of repositories and suites.
    pub fn releases(&self) -> impl Iterator<Item = &VerifiedRelease> {
        self.suites.iter().map(|opened| &opened.verified)
    }

    /// Reads the indexes, and remembers the releases.
    ///
    /// # Errors
    /// The first suite that fails; none is left out.
    pub fn read(self, architecture: &Architecture, fetcher: &Fetcher, cache: &CacheDir) -> Result<Update, Error> {
        let mut update = Update::default();
        for one in at_once(self.suites, |opened| read(opened, architecture, fetcher, cache))? {
            update.append(one);
        }
        Ok(update)
    }
}

/// Does the same for each, at once, and gives the results in order.
pub(crate) fn at_once<T: Send, R: Send, E: Send>(
    items: Vec<T>,
    work: impl Fn(T) -> Result<R, E> + Sync,
) -> Result<Vec<R>, E> {
    std::thread::scope(|scope| {
        let threads: Vec<_> = items.into_iter().map(|item| scope.spawn(|| work(item))).collect();
        let done = threads.into_iter().map(|thread| thread.join());
        done.map(|result| result.unwrap_or_else(|panic| std::panic::resume_unwind(panic))).collect()
    })
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
    open_all(repositories, fetcher, cache, now)?.read(architecture, fetcher, cache)
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

fn open<'a>(place: Place<'a>, fetcher: &Fetcher, cache: &CacheDir, now: UnixTime) -> Result<Opened<'a>, Error> {
    let Place { repository, suite } = place;
    let memory = kept::recall(cache, repository, suite)?;
    let (signed, from) = place.obtain(fetcher, memory.as_ref())?;
    let (text, signers) = place.verify(&signed, now)?;
    let release = Release::parse(&text).map_err(|source| Error::Release {
        repository: repository.id.clone(),
        suite: suite.into(),
        source,
    })?;
    place.check(&release, memory.as_ref(), cache, now)?;
    let verified = VerifiedRelease {
        repository: repository.id.clone(),
        url: repository.url.clone(),
        suite: suite.into(),
        sha256: Sha256::of(text.as_bytes()),
        date: release.date,
        valid_until: release.valid_until,
        signers,
        from,
    };
    let kept = Kept { date: release.date, signed };
    Ok(Opened { place, release, verified, memory, kept })
}

fn read(opened: Opened<'_>, architecture: &Architecture, fetcher: &Fetcher, cache: &CacheDir) -> Result<Update, Error> {
    let Opened { place, release, verified, memory, kept } = opened;
    let mut update = Update::default();
    for (component, wanted) in place.indexes(&release, architecture)? {
        let (text, sha256) = wanted.read(fetcher, cache)?;
        update.indexes.push(VerifiedIndex {
            repository: verified.repository.clone(),
            suite: verified.suite.clone(),
            component,
            architecture: architecture.clone(),
            sha256,
            text,
            date: release.date,
        });
    }
    // Only now, so that what is remembered can be used offline.
    if memory.as_ref() != Some(&kept) {
        kept::remember(cache, place.repository, place.suite, &kept)?;
    }
    update.releases.push(verified);
    Ok(update)
}
