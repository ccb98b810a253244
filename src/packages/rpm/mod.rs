//! The choice of rpm packages, as a lock, and whose their files are.

mod groups;
mod repositories;
mod start;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use providers::cache::CacheDir;
use providers::distro::Distro;
use providers::lock::{self, Group, Lock, LockedPackage, LockedRepository};
use providers::rpm::file::PayloadDigests;
use providers::rpm::metadata::WantedFiles;
use providers::rpm::order::order;
use providers::rpm::repository::{self, Update, open_all};
use providers::rpm::solve::{Chosen, Origin, RepositoryRef, Request, Source, Universe, Wish, solve, wanted_paths};
use providers::rpm::{Evr, Unverified, Verified};
use providers::trust::{Keyring, UnixTime};
use providers::{Architecture, RepositoryId};

use groups::{default_group, items};
pub use repositories::repositories;
use start::Start;

use super::ranked::Ranked;
use super::request::{Asker, names};
use super::unsolvable::{unsolvable, unsolvable_on_base};
use super::{kernel, memory};
use crate::base::Found;
use crate::context::Context;
use crate::error::{Error, Kind, ResultExt};
use crate::spec::ResolvedSpec;

/// Most times that lists of files are looked through: each time finds files that no list had before,
/// so real requests take one or two.
const ROUNDS_MAX: usize = 16;

/// A repository of rpm packages with what is not taken from it.
pub struct RpmRepository {
    /// The repository.
    pub repository: repository::Repository,
    /// Patterns of names that are not taken.
    pub exclude: Vec<String>,
}

/// Chooses the packages from the repositories of today, beside those of an image to start from, or recalls the choice where neither they nor
/// the request have changed.
///
/// # Errors
/// Repositories that cannot be reached or believed; a set of packages that does not exist; an image that cannot be
/// started from.
pub fn choose(
    spec: &ResolvedSpec,
    distro: &Distro,
    ranked: &[Ranked<RpmRepository>],
    request: lock::Request,
    base: Option<Found>,
    cx: &Context,
) -> Result<Lock, Error> {
    let architecture = cx.architecture(spec)?;
    let all: Vec<_> = ranked.iter().map(|entry| entry.repository.repository.clone()).collect();
    let cache = CacheDir::new(&cx.cache_directory);
    let opening = open_all(&all, &cx.fetcher, &cache, UnixTime(cx.now)).map_err(updated)?;
    let releases: Vec<String> =
        opening.repomds().map(|repomd| format!("{} {}", repomd.repository, repomd.sha256)).collect();
    let manifest = base.as_ref().map(Found::manifest).transpose()?;
    let key = memory::key(spec, distro, &architecture, &request, manifest.as_ref(), releases.into_iter());
    memory::recalled(cx, spec, &key, || {
        let update = opening.read(&cx.fetcher, &cache).map_err(updated)?;
        cx.check()?;
        let base = base.map(|found| Start::read(found, distro, cx)).transpose()?;
        let choice = Choice { spec, distro, ranked, architecture: &architecture, request: &request, base, cx };
        choice.lock(update, &cache)
    })
}

fn updated(error: repository::Error) -> Error {
    let hint = error.hint();
    let wrapped = Error::build("failed to update the package repositories").caused_by(error);
    match hint {
        Some(hint) => wrapped.hint(hint),
        None => wrapped,
    }
}

/// What the solver is asked for.
struct Asked {
    request: Request,
    /// For each wish, the group that its packages are in at the latest.
    groups: Vec<Group>,
}

/// What a choice is made of, besides the repositories' contents.
struct Choice<'a> {
    spec: &'a ResolvedSpec,
    distro: &'a Distro,
    ranked: &'a [Ranked<RpmRepository>],
    architecture: &'a Architecture,
    request: &'a lock::Request,
    base: Option<Start>,
    cx: &'a Context,
}

impl Choice<'_> {
    fn lock(&self, mut update: Update, cache: &CacheDir) -> Result<Lock, Error> {
        let UnixTime(released) =
            update.epoch().ok_or_else(|| Error::build("failed to find a repository to take packages from"))?;
        // Files of the image to start from would otherwise be younger than the lock.
        let epoch = released.max(self.base.as_ref().and_then(|base| base.created).unwrap_or(released));
        let defaults = self.distro.default_packages(self.spec.variant.into());
        let groups = match self.request.install.iter().chain(&defaults).any(|name| name.starts_with('@')) {
            true => update.groups(&self.cx.fetcher, cache).map_err(updated)?,
            false => Default::default(),
        };
        // What file lists say may make other packages possible, which need other files.
        let mut known: BTreeSet<Box<str>> = BTreeSet::new();
        let mut rounds = 0;
        let (universe, asked) = loop {
            let universe = self.universe(&update);
            let asked = self.asked(&universe, &groups)?;
            let mut wanted = wanted_paths(&universe, &asked.request);
            wanted.retain(|path| !known.contains(path));
            if wanted.is_empty() {
                break (universe, asked);
            }
            if rounds == ROUNDS_MAX {
                return Err(Error::build("failed to choose packages: each list of files makes another one necessary"));
            }
            known.extend(wanted.iter().cloned());
            let wanted = WantedFiles::Paths(wanted);
            for metadata in &mut update.repositories {
                metadata.complete_files(&wanted, &self.cx.fetcher, cache).map_err(updated)?;
            }
            rounds += 1;
        };
        let solution = solve(&universe, &asked.request).map_err(|error| match &self.base {
            Some(_) => unsolvable_on_base(&error),
            None => unsolvable(&error),
        })?;
        let packages = self.packages(&universe, &asked, &solution.packages)?;
        let repositories = update.repositories.iter().map(|metadata| LockedRepository {
            id: metadata.repomd.repository.clone(),
            url: metadata.repomd.url.without_credentials(),
            suite: String::new(),
            component: String::new(),
            release_sha256: metadata.repomd.sha256,
            date: metadata.repomd.date.0,
        });
        let mut repositories: Vec<LockedRepository> = repositories.collect();
        repositories.sort();
        Ok(Lock {
            format: lock::FORMAT,
            os: self.distro.os.clone(),
            os_version: self.distro.version.clone(),
            architecture: self.architecture.clone(),
            epoch,
            base: self.base.as_ref().map(Start::locked),
            request: self.request.clone(),
            repositories,
            packages,
        })
    }

    fn universe(&self, update: &Update) -> Universe {
        let hidden = update.filter(&BTreeMap::new());
        let sources = update.repositories.iter().map(|metadata| {
            let entry = self.ranked.iter().find(|entry| entry.repository.repository.id == metadata.repomd.repository);
            let mut reference = RepositoryRef::new(metadata.repomd.repository.as_str());
            let packages = metadata.packages.iter().filter(|package| !hidden.hides(package)).cloned().collect();
            if let Some(entry) = entry {
                reference.priority = entry.priority;
            }
            let mut source = Source::new(reference, packages);
            source.excluded = entry.map(|entry| entry.repository.exclude.clone()).unwrap_or_default();
            source
        });
        let installed = self.base.iter().map(|base| Source::installed(base.packages.clone()));
        Universe::new(installed.chain(sources).collect(), self.architecture.as_str())
    }

    fn asked(&self, universe: &Universe, groups: &providers::rpm::metadata::Groups) -> Result<Asked, Error> {
        let request = self.request;
        let kernel = match &request.kernel {
            Some(kernel) => Some(kernel::of_rpm(universe, kernel, request.kernel_version.as_deref())?),
            None => None,
        };
        let exists = |name: &str| !universe.packages_named(name).is_empty();
        let defaults = self.distro.default_packages(self.spec.variant.into());
        let mut install: Vec<(Wish, Group)> = Vec::new();
        // Packages that groups bring along with another: the package, the other, who asks.
        let mut conditional = Vec::new();
        // On an image that nothing has to start, there is what it has, and what the spec names.
        let is_complete = self.base.is_some() && request.kernel.is_none();
        let mut named = names(self.spec, self.distro, self.architecture, request, kernel, exists);
        named.retain(|(_, asker)| !is_complete || *asker == Asker::Spec);
        for (name, asker) in named {
            // What a kernel brings along besides is there where it is.
            let (origin, cut) = match asker {
                Asker::Spec => (Origin::Requested, Group::Rest),
                Asker::Defaults if defaults.contains(&name) => (Origin::Default, default_group(self.distro, &name)),
                Asker::Defaults => (Origin::Default, Group::Kernel),
            };
            let Some(group) = name.strip_prefix('@') else {
                install.push((wish(&name, origin)?, cut));
                continue;
            };
            let found = groups.expand(group).ok_or_else(|| {
                Error::build(format!("Package group not found: '{group}'"))
                    .hint("groups are those of the repositories' comps.xml, by id or by name")
            })?;
            // A group may name packages that the repositories do not have; dnf passes them over.
            let taken = |name: &str| exists(name) && !request.remove.contains(name);
            for name in found.mandatory.iter().chain(&found.default).filter(|name| taken(name)) {
                install.push((wish(name, origin)?, cut));
            }
            let along = found.conditional.into_iter().filter(|(name, _)| taken(name));
            conditional.extend(along.map(|(name, other)| (name, other, origin, cut)));
        }
        for (name, other, origin, cut) in conditional {
            if let Some((_, others)) = install.iter().find(|(wish, _)| wish.text == *other) {
                install.push((wish(&name, origin)?, cut.max(*others)));
            }
        }
        let (install, groups) = install.into_iter().unzip();
        let remove = request.remove.iter().cloned().collect();
        Ok(Asked { request: Request { install, remove, recommends: request.recommends }, groups })
    }

    /// The packages in the order in which they are installed.
    fn packages(&self, universe: &Universe, asked: &Asked, chosen: &[Chosen]) -> Result<Vec<LockedPackage>, Error> {
        let items = items(self.distro, universe, asked, chosen);
        let mut locked = Vec::with_capacity(chosen.len());
        for place in order(&items, asked.request.recommends) {
            let Some(one) = chosen.get(place.item) else { continue };
            locked.push(self.locked(universe, one, place.group)?);
        }
        Ok(locked)
    }

    fn locked(&self, universe: &Universe, chosen: &Chosen, group: Group) -> Result<LockedPackage, Error> {
        let (id, package) = (chosen.package, universe.package(chosen.package));
        if let Some(base) = &package.location.base {
            return Err(Error::build(format!(
                "failed to lock {}: it lies outside its repository, at {base}",
                package.name
            ))
            .hint("exclude the package, or add the repository that it lies in"));
        }
        Ok(LockedPackage {
            name: package.name.to_string(),
            version: version(&package.evr),
            architecture: package.architecture.to_string(),
            sha256: package.sha256,
            size: package.size,
            repository: universe.repository(id).id.clone().try_into().to("name a repository")?,
            path: package.location.path.trim_start_matches("./").to_owned(),
            group,
            automatic: chosen.automatic,
            why: chosen.why.clone(),
        })
    }
}

fn wish(text: &str, origin: Origin) -> Result<Wish, Error> {
    Wish::parse(text, origin).or_fail(Kind::Validation, || format!("failed to read the package name '{text}'"))
}

/// Version and release, after the epoch where there is one: `1:2.3-4`.
fn version(evr: &Evr) -> String {
    evr.to_string()
}

/// Verifies a package's file: by its signature where the repository's packages are signed, by the
/// lock's digest otherwise. It has to be the package that the lock means, and the file to have the
/// lock's digest: its payload is not hashed again if that was noted beside it.
///
/// # Errors
/// A file that was altered, that nobody of the keyring signed, or that is another package.
pub fn verify(package: &LockedPackage, file: &Path, keys: Option<&Keyring>, cx: &Context) -> Result<Verified, Error> {
    let LockedPackage { name, version: evr, architecture, .. } = package;
    let refused = |error: providers::rpm::file::Error| {
        let hint = error.hint();
        let wrapped = Error::build(format!("failed to verify {name} {evr} ({architecture})")).caused_by(error);
        match hint {
            Some(hint) => wrapped.hint(hint),
            None => wrapped,
        }
    };
    let opened = Unverified::open(file).map_err(refused)?;
    let verified = match keys {
        Some(keys) => {
            let cache = CacheDir::new(&cx.cache_directory);
            let known = cache.checked(&package.sha256).and_then(|note| PayloadDigests::read(&note));
            let verified = opened.verify_known(keys, UnixTime(cx.now), known);
            if let (Ok(verified), None) = (&verified, known)
                && let Err(error) = cache.note_checked(&package.sha256, &verified.payload_digests().write())
            {
                tracing::debug!(%error, "what was checked of a package is not kept");
            }
            verified
        }
        None => opened.accept(package.sha256),
    }
    .map_err(refused)?;
    let stated = providers::rpm::file::Statement::read(verified.header());
    if (&*stated.name, version(&stated.evr).as_str(), &*stated.architecture) != (name, evr, architecture) {
        return Err(Error::build(format!(
            "failed to verify {name} {evr} ({architecture}): the file is the package {}",
            stated.nevra()
        ))
        .hint("the repository's metadata does not describe its packages: do not use it"));
    }
    Ok(verified)
}

/// The keys of a repository's packages; none where their digests have to do.
pub fn keys_of<'r>(ranked: &'r [Ranked<RpmRepository>], repository: &RepositoryId) -> Option<&'r Keyring> {
    let entry = ranked.iter().find(|entry| entry.repository.repository.id == *repository)?;
    entry.repository.repository.package_keys()
}
