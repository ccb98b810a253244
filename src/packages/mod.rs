//! The choice of packages: what a spec asks for, on the repositories of its distribution, as a lock.
//! Each family has a choice of its own; what is asked for, the memory of earlier choices and the
//! words in which a choice fails are the same for both.

mod deb;
mod file;
mod kernel;
mod memory;
mod ranked;
mod request;
mod rpm;
mod unsolvable;

use std::collections::BTreeMap;

use providers::RepositoryId;
use providers::distro::{Distro, Family};
use providers::fetch::BaseUrl;
use providers::lock::{Lock, Request};
use providers::repository::Repository;
use providers::trust::Keyring;

pub use file::{PackageFile, Wanted};
use ranked::Ranked;
pub use request::request;
use rpm::RpmRepository;
pub use rpm::verify;

use crate::base;
use crate::context::{Context, SourceRecord};
use crate::error::Error;
use crate::spec::ResolvedSpec;

/// Everything that packages of a build may come from, mirrors settled.
pub enum Sources {
    /// Repositories of deb packages.
    Deb(Vec<Ranked<Repository>>),
    /// Repositories of rpm packages.
    Rpm(Vec<Ranked<RpmRepository>>),
}

/// What a lock, a report and a download say of one repository.
struct Source<'a> {
    id: &'a RepositoryId,
    described: String,
    url: &'a BaseUrl,
    mirrors: &'a [BaseUrl],
}

impl Sources {
    /// Those of a spec: the provider's, those of the configuration, its own.
    ///
    /// # Errors
    /// A repository without a key; an URL that is none.
    pub fn of(spec: &ResolvedSpec, distro: &Distro, cx: &Context) -> Result<Self, Error> {
        match distro.family {
            Family::Deb => Ok(Self::Deb(deb::repositories(spec, distro, &cx.catalogue, cx)?)),
            Family::Rpm => Ok(Self::Rpm(rpm::repositories(spec, distro, cx)?)),
            _ => Err(Error::build(format!("failed to find the packages of {}", distro.title))),
        }
    }

    fn each(&self) -> Vec<Source<'_>> {
        match self {
            Self::Deb(ranked) => ranked
                .iter()
                .map(|entry| Source {
                    id: &entry.repository.id,
                    described: format!("{} priority {}", entry.repository.describe(), entry.priority),
                    url: &entry.repository.url,
                    mirrors: &entry.repository.mirrors,
                })
                .collect(),
            Self::Rpm(ranked) => ranked
                .iter()
                .map(|Ranked { repository: RpmRepository { repository, exclude }, priority }| {
                    let without = exclude.iter().map(|pattern| format!(" without {pattern}")).collect::<String>();
                    Source {
                        id: &repository.id,
                        described: format!("{} priority {priority}{without}", repository.describe()),
                        url: &repository.url,
                        mirrors: &repository.mirrors,
                    }
                })
                .collect(),
        }
    }

    /// What each is called in a lock's request.
    pub fn described(&self) -> BTreeMap<RepositoryId, String> {
        self.each().into_iter().map(|source| (source.id.clone(), source.described)).collect()
    }

    /// What the build report says of them.
    pub fn records(&self) -> Vec<SourceRecord> {
        let record = |source: &Source<'_>| {
            let keys = self.package_keys(source.id);
            SourceRecord {
                repository: source.id.to_string(),
                url: source.url.without_credentials(),
                mirrors: source.mirrors.iter().map(|mirror| mirror.without_credentials()).collect(),
                keys: keys.into_iter().flat_map(Keyring::fingerprints).map(ToString::to_string).collect(),
                keyring: keys.map(Keyring::digest),
            }
        };
        self.each().iter().map(record).collect()
    }

    /// Where the files of a repository are, in order of preference; none for one that is not known.
    /// A list of mirrors is asked for where one is `needed`.
    pub fn places(&self, repository: &RepositoryId, needed: bool, cx: &Context) -> Option<Vec<BaseUrl>> {
        if let Self::Rpm(ranked) = self
            && needed
        {
            let entry = ranked.iter().find(|entry| entry.repository.repository.id == *repository)?;
            return Some(entry.repository.repository.places(&cx.fetcher));
        }
        let source = self.each().into_iter().find(|source| source.id == repository)?;
        Some(if source.mirrors.is_empty() { vec![source.url.clone()] } else { source.mirrors.to_vec() })
    }

    /// The keys that sign a repository's packages; none where the lock's digests have to do, because
    /// the packages of the family are not signed, those of the repository are not, or the user wants
    /// no signature.
    pub fn package_keys(&self, repository: &RepositoryId) -> Option<&Keyring> {
        match self {
            Self::Deb(_) => None,
            Self::Rpm(ranked) => rpm::keys_of(ranked, repository),
        }
    }

    /// The choice of today, beside what the image has that the spec starts from.
    ///
    /// # Errors
    /// Repositories that cannot be reached or believed; a set of packages that does not exist; an
    /// image that cannot be started from.
    pub fn choose(&self, spec: &ResolvedSpec, distro: &Distro, request: Request, cx: &Context) -> Result<Lock, Error> {
        let found = base::find(spec, None, cx)?;
        match self {
            Self::Deb(ranked) => deb::choose(spec, distro, ranked, request, found, cx),
            Self::Rpm(ranked) => rpm::choose(spec, distro, ranked, request, found, cx),
        }
    }
}
