//! The choice of deb packages, as a lock.

mod repositories;

use std::collections::{BTreeMap, BTreeSet};

use layers::Sha256;
use providers::cache::CacheDir;
use providers::deb::dpkg::Installed;
use providers::deb::order::{Item, order};
use providers::deb::solve::{Index, Options, Origin, RepositoryRef, Request, Solution, Universe, Variant, Wish, solve};
use providers::distro::Distro;
use providers::lock::{self, BasePackage, Group, Lock, LockedBase, LockedPackage, LockedRepository};
use providers::repository::{Repository, Update, open_all};
use providers::trust::UnixTime;

pub use repositories::repositories;

use super::ranked::Ranked;
use super::request::{Asker, names};
use super::unsolvable::{unsolvable, unsolvable_on_base};
use super::{kernel, memory};
use crate::base::{self, Found};
use crate::compose::installed_in;
use crate::context::Context;
use crate::error::{Error, Kind, ResultExt};
use crate::spec::ResolvedSpec;

/// Chooses the packages from the repositories of today, or recalls the choice where neither they nor
/// the request have changed.
///
/// # Errors
/// Repositories that cannot be reached or believed; a set of packages that does not exist.
pub fn choose(
    spec: &ResolvedSpec,
    distro: &Distro,
    ranked: &[Ranked<Repository>],
    request: lock::Request,
    base: Option<Found>,
    cx: &Context,
) -> Result<Lock, Error> {
    let architecture = cx.architecture(spec)?;
    let all: Vec<_> = ranked.iter().map(|entry| entry.repository.clone()).collect();
    let cache = CacheDir::new(&cx.cache_directory);
    let updated = |error: providers::repository::Error| {
        let hint = error.hint();
        let wrapped = Error::build("failed to update the package repositories").caused_by(error);
        match hint {
            Some(hint) => wrapped.hint(hint),
            None => wrapped,
        }
    };
    let opening = open_all(&all, &cx.fetcher, &cache, UnixTime(cx.now)).map_err(updated)?;
    let releases = opening.releases().map(|release| format!("{} {}", release.suite, release.sha256));
    let manifest = base.as_ref().map(Found::manifest).transpose()?;
    let key = memory::key(spec, distro, &architecture, &request, manifest.as_ref(), releases);
    memory::recalled(cx, spec, &key, || {
        let update = opening.read(&architecture, &cx.fetcher, &cache).map_err(updated)?;
        cx.check()?;
        let base = base.map(|found| Start::read(found, distro, cx)).transpose()?;
        resolve(spec, distro, ranked, update, request, base, cx)
    })
}

/// What the choice has to know of the image that it starts from.
struct Start {
    written: String,
    manifest: Sha256,
    created: Option<i64>,
    installed: Installed,
}

impl Start {
    fn read(found: Found, distro: &Distro, cx: &Context) -> Result<Self, Error> {
        let (manifest, created) = (found.manifest()?, found.created(cx.now));
        let base = found.import(cx)?;
        let written = base.found.written;
        base::check_release(&written, &base.stack, distro)?;
        let installed = installed_in(&written, &base.stack)?;
        Ok(Self { written, manifest, created, installed })
    }

    fn locked(&self) -> LockedBase {
        let mut packages: Vec<BasePackage> = self
            .installed
            .packages
            .iter()
            .map(|package| BasePackage {
                name: package.name.clone(),
                version: package.version.clone(),
                architecture: package.architecture.clone(),
            })
            .collect();
        packages.sort();
        LockedBase { manifest: self.manifest, packages }
    }

    /// A package that was removed, but for its configuration files, is not simply new.
    fn check(&self, packages: &[LockedPackage]) -> Result<(), Error> {
        let removed = packages.iter().find(|package| self.installed.removed.contains(&package.name));
        removed.map_or(Ok(()), |LockedPackage { name, .. }| {
            Err(Error::build(format!(
                "failed to put {name} on the base image {}: it was there and left its configuration files behind",
                self.written
            ))
            .hint(format!("purge {name} in the image, or name another image")))
        })
    }
}

fn resolve(
    spec: &ResolvedSpec,
    distro: &Distro,
    ranked: &[Ranked<Repository>],
    update: Update,
    request: lock::Request,
    base: Option<Start>,
    cx: &Context,
) -> Result<Lock, Error> {
    let architecture = cx.architecture(spec)?;
    let UnixTime(released) =
        update.epoch().ok_or_else(|| Error::build("failed to find a repository to take packages from"))?;
    // Files of the image to start from would otherwise be younger than the lock.
    let epoch = released.max(base.as_ref().and_then(|base| base.created).unwrap_or(released));
    let locked = locked_repositories(&update);
    let priorities: BTreeMap<_, i32> =
        ranked.iter().map(|entry| (entry.repository.id.clone(), entry.priority)).collect();
    let indexes = update
        .indexes
        .into_iter()
        .map(|index| Index {
            repository: RepositoryRef {
                id: index.repository.to_string(),
                priority: priorities.get(&index.repository).copied().unwrap_or(500),
            },
            text: index.text,
        })
        .collect();
    let installed = base.as_ref().map(|base| base.installed.stanzas.clone()).unwrap_or_default();
    let options = Options { installed, ..Options::default() };
    let universe =
        Universe::from_indexes(indexes, &architecture.to_string(), &options).to("read the package indexes")?;
    let kernel = match &request.kernel {
        Some(kernel) => Some(kernel::named(distro, &universe, kernel, request.kernel_version.as_deref())?),
        None => None,
    };
    let exists = |name: &str| universe.candidate(name).is_some();
    let mut named = names(spec, distro, &architecture, &request, kernel, exists);
    // On an image that nothing has to start, there is what it has, and what the spec names.
    let is_complete = base.is_some() && request.kernel.is_none();
    named.retain(|(_, asker)| !is_complete || *asker == Asker::Spec);
    let asked = Request {
        variant: if is_complete { Variant::Custom } else { Variant::Minbase },
        install: wishes(&named)?,
        remove: request.remove.iter().cloned().collect(),
        recommends: request.recommends,
    };
    let solution = solve(&universe, &asked).map_err(|error| match &base {
        Some(_) => unsolvable_on_base(&error),
        None => unsolvable(&error),
    })?;
    let packages = locked_packages(distro, &universe, &solution, &request, &architecture.to_string())?;
    base.as_ref().map_or(Ok(()), |base| base.check(&packages))?;
    Ok(Lock {
        format: lock::FORMAT,
        os: distro.os.clone(),
        os_version: distro.version.clone(),
        architecture,
        epoch,
        base: base.as_ref().map(Start::locked),
        request,
        repositories: locked,
        packages,
    })
}

fn wishes(names: &[(String, Asker)]) -> Result<Vec<Wish>, Error> {
    let wish = |(name, asker): &(String, Asker)| {
        let origin = match asker {
            Asker::Spec => Origin::Requested,
            Asker::Defaults => Origin::Default,
        };
        Wish::parse(name, origin).or_fail(Kind::Validation, || format!("failed to read the package name '{name}'"))
    };
    names.iter().map(wish).collect()
}

fn locked_repositories(update: &Update) -> Vec<LockedRepository> {
    let mut locked: Vec<LockedRepository> = update
        .indexes
        .iter()
        .filter_map(|index| {
            let same = |release: &&providers::repository::VerifiedRelease| {
                release.repository == index.repository && release.suite == index.suite
            };
            let release = update.releases.iter().find(same)?;
            Some(LockedRepository {
                id: index.repository.clone(),
                url: release.url.without_credentials(),
                suite: index.suite.clone(),
                component: index.component.clone(),
                release_sha256: release.sha256,
                date: release.date.0,
            })
        })
        .collect();
    locked.sort();
    locked.dedup();
    locked
}

fn locked_packages(
    distro: &Distro,
    universe: &Universe,
    solution: &Solution,
    request: &lock::Request,
    architecture: &str,
) -> Result<Vec<LockedPackage>, Error> {
    let mut packages = Vec::new();
    for chosen in &solution.packages {
        packages.push(universe.package(chosen.package).to("read a package of the index")?);
    }
    let kernels: BTreeSet<&str> = request.kernel.iter().map(String::as_str).collect();
    let items: Vec<Item<'_>> = packages
        .iter()
        .zip(&solution.packages)
        .map(|(package, chosen)| Item {
            name: package.name,
            version: package.version,
            pre_depends: package.pre_depends,
            depends: package.depends,
            provides: package.provides,
            group: match package.name {
                // On an image nothing has to be there before anything can run.
                _ if chosen.essential && request.from.is_none() => Group::Essential,
                name if distro.base_set.contains(name) => Group::Base,
                name if kernels.contains(name) || distro.kernel.matches(name) => Group::Kernel,
                name if distro.initramfs.takes_of(name) => Group::Kernel,
                _ => Group::Rest,
            },
            has_postinst: true,
        })
        .collect();
    let places = order(&items, architecture).to("order the packages")?;
    let mut locked = Vec::with_capacity(places.len());
    for place in places {
        let (package, chosen) = (&packages[place.item], &solution.packages[place.item]);
        locked.push(LockedPackage {
            name: package.name.to_owned(),
            version: package.version.to_owned(),
            architecture: package.architecture.to_owned(),
            sha256: package
                .sha256
                .parse()
                .or_fail(Kind::Build, || format!("failed to lock {}: its index gives no SHA256", package.name))?,
            size: package.size.unwrap_or_default(),
            repository: universe.repository(chosen.package).id.clone().try_into().to("name a repository")?,
            path: package.filename.trim_start_matches("./").to_owned(),
            group: place.group,
            automatic: chosen.automatic,
            why: chosen.why.clone(),
        });
    }
    Ok(locked)
}
