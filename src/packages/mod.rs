//! The choice of packages: what a spec asks for, on the repositories of its distribution, as a lock.
//! Each family has a choice of its own; what is asked for, the memory of earlier choices and the
//! words in which a choice fails are the same for both.

mod deb;
mod kernel;
mod memory;
mod repositories;
mod request;
mod unsolvable;

use std::collections::BTreeMap;

use providers::RepositoryId;
use providers::distro::{Distro, Family};
use providers::fetch::BaseUrl;
use providers::lock::{Lock, Request};

use repositories::Ranked;
pub use request::request;

use crate::context::{Context, SourceRecord};
use crate::error::Error;
use crate::spec::ResolvedSpec;

/// Everything that packages of a build may come from, mirrors settled.
pub enum Sources {
    /// Repositories of deb packages.
    Deb(Vec<Ranked>),
}

impl Sources {
    /// Those of a spec: the provider's, those of the configuration, its own.
    ///
    /// # Errors
    /// A repository without a key; an URL that is none.
    pub fn of(spec: &ResolvedSpec, distro: &Distro, cx: &Context) -> Result<Self, Error> {
        match distro.family {
            Family::Deb => Ok(Self::Deb(repositories::repositories(spec, distro, &cx.catalogue, cx)?)),
            _ => Err(Error::build(format!("failed to find the packages of {}", distro.title))),
        }
    }

    /// What each is called in a lock's request.
    pub fn described(&self) -> BTreeMap<RepositoryId, String> {
        let Self::Deb(ranked) = self;
        let described = |entry: &Ranked| format!("{} priority {}", entry.repository.describe(), entry.priority);
        ranked.iter().map(|entry| (entry.repository.id.clone(), described(entry))).collect()
    }

    /// What the build report says of them.
    pub fn records(&self) -> Vec<SourceRecord> {
        let Self::Deb(ranked) = self;
        let record = |entry: &Ranked| SourceRecord {
            repository: entry.repository.id.to_string(),
            url: entry.repository.url.without_credentials(),
            mirrors: entry.repository.mirrors.iter().map(|mirror| mirror.without_credentials()).collect(),
        };
        ranked.iter().map(record).collect()
    }

    /// Where the files of a repository are, in order of preference; none for one that is not known.
    pub fn places(&self, repository: &RepositoryId) -> Option<Vec<BaseUrl>> {
        let Self::Deb(ranked) = self;
        let entry = ranked.iter().find(|entry| entry.repository.id == *repository)?;
        Some(entry.repository.sources().to_vec())
    }

    /// The choice of today.
    ///
    /// # Errors
    /// Repositories that cannot be reached or believed; a set of packages that does not exist.
    pub fn choose(&self, spec: &ResolvedSpec, distro: &Distro, request: Request, cx: &Context) -> Result<Lock, Error> {
        let Self::Deb(ranked) = self;
        deb::choose(spec, distro, ranked, request, cx)
    }
}
