//! Packages: what the spec means on the repositories of today becomes a lock, and the lock's
//! packages come into the cache.

use std::collections::{BTreeMap, BTreeSet};

use providers::cache::CacheDir;
use providers::deb::order::{Item, order};
use providers::deb::solve::{
    Index, Options, Origin, Problem, RepositoryRef, Request, Solution, Universe, Unsolvable, Variant, Wish, solve,
};
use providers::distro::Distro;
use providers::fetch::FileRequest;
use providers::lock::{self, Group, Lock, LockedPackage, LockedRepository};
use providers::repository::{Update, open_all};
use providers::trust::UnixTime;

use super::PackageSet;
use super::repositories::{Ranked, repositories};
use super::resolution;
use crate::context::{Context, SourceRecord};
use crate::error::{Error, Kind, ResultExt};
use crate::spec::ResolvedSpec;
use crate::spec::resolved::{Bootloader, Format};

/// Resolves and fetches: the whole stage.
///
/// # Errors
/// As [`lock`] and [`fetch`].
pub fn packages(spec: &ResolvedSpec, given: Option<Lock>, cx: &Context) -> Result<PackageSet, Error> {
    let lock = lock(spec, given, cx)?;
    fetch(spec, lock, cx)
}

/// The lock of a spec: the given one, if it fits, or a new one from the repositories of today.
///
/// # Errors
/// A lock that was made for something else; repositories that cannot be reached or believed; a
/// set of packages that does not exist.
pub fn lock(spec: &ResolvedSpec, given: Option<Lock>, cx: &Context) -> Result<Lock, Error> {
    let distro = cx.distro(spec)?;
    let architecture = cx.architecture(spec)?;
    let ranked = repositories(spec, &distro, &cx.catalogue, cx)?;
    let sources = ranked.iter().map(|entry| SourceRecord {
        repository: entry.repository.id.to_string(),
        url: entry.repository.url.without_credentials(),
        mirrors: entry.repository.mirrors.iter().map(|mirror| mirror.without_credentials()).collect(),
    });
    let _ = cx.sources.set(sources.collect());
    let request = request(spec, &distro, &ranked, cx)?;
    if let Some(lock) = given {
        lock.agree(&distro.os, &distro.version, &architecture, &request).map_err(|error| {
            Error::build("failed to use the lock")
                .caused_by(error)
                .hint("the spec has changed since the lock was written: `image-composer lock SPEC` writes a new one")
        })?;
        cx.set_epoch(lock.epoch);
        return Ok(lock);
    }
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
    let key = resolution::key(spec, &distro, &request, &opening);
    let lock = match resolution::recall(cx, &key).filter(|_| spec.caches.packages) {
        Some(lock) => lock,
        None => {
            let update = opening.read(&architecture, &cx.fetcher, &cache).map_err(updated)?;
            cx.check()?;
            let lock = resolve(spec, &distro, &ranked, update, request, cx)?;
            resolution::remember(cx, &key, &lock);
            lock
        }
    };
    cx.set_epoch(lock.epoch);
    Ok(lock)
}

/// The part of the spec that decides which packages are chosen.
fn request(spec: &ResolvedSpec, distro: &Distro, ranked: &[Ranked], cx: &Context) -> Result<lock::Request, Error> {
    let repositories: BTreeMap<_, _> = ranked
        .iter()
        .map(|entry| {
            (entry.repository.id.clone(), format!("{} priority {}", entry.repository.describe(), entry.priority))
        })
        .collect();
    let architecture = cx.architecture(spec)?;
    let facts = distro.architecture(&architecture).to("read the provider's facts")?;
    let kernel = match (&spec.kernel.package, spec.bootloader) {
        (Some(package), _) => Some(package.to_string()),
        // An initial RAM disk is started by its kernel alone.
        (None, Bootloader::None) if !spec.formats.contains(&Format::Initrd) => None,
        (None, _) => Some(facts.kernel.clone()),
    };
    Ok(lock::Request {
        variant: spec.variant.as_str().to_owned(),
        bootloader: (spec.bootloader == Bootloader::Grub).then(|| spec.bootloader.as_str().to_owned()),
        live: spec.formats.contains(&Format::Iso),
        kernel_version: kernel.as_ref().and(spec.kernel.version.as_ref()).map(ToString::to_string),
        kernel,
        recommends: spec.packages.recommends,
        install: spec.packages.install.iter().map(ToString::to_string).collect(),
        remove: spec.packages.remove.iter().map(ToString::to_string).collect(),
        repositories,
    })
}

fn resolve(
    spec: &ResolvedSpec,
    distro: &Distro,
    ranked: &[Ranked],
    update: Update,
    request: lock::Request,
    cx: &Context,
) -> Result<Lock, Error> {
    let architecture = cx.architecture(spec)?;
    let UnixTime(epoch) =
        update.epoch().ok_or_else(|| Error::build("failed to find a repository to take packages from"))?;
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
    let universe = Universe::from_indexes(indexes, &architecture.to_string(), &Options::default())
        .to("read the package indexes")?;
    let wishes = wishes(spec, distro, &architecture, &request, &universe)?;
    let asked = Request {
        variant: Variant::Minbase,
        install: wishes,
        remove: request.remove.iter().cloned().collect(),
        recommends: request.recommends,
    };
    let solution = solve(&universe, &asked).map_err(|error| unsolvable(&error))?;
    let packages = locked_packages(distro, &universe, &solution, &request, &architecture.to_string())?;
    Ok(Lock {
        format: lock::FORMAT,
        os: distro.os.clone(),
        os_version: distro.version.clone(),
        architecture,
        epoch,
        request,
        repositories: locked,
        packages,
    })
}

/// Why there is no such set of packages, one reason a line, in the words of the user's documents.
fn unsolvable(error: &Unsolvable) -> Error {
    let told = |problem: &Problem| match problem {
        Problem::NotFound { name, near } if near.is_empty() => format!("Package not found: '{name}'"),
        Problem::NotFound { name, near } => {
            format!("Package not found: '{name}'; did you mean '{}'?", near.join("', '"))
        }
        other => other.to_string(),
    };
    let reasons: Vec<String> = error.problems.iter().map(told).collect();
    let only_names = error.problems.iter().all(|problem| matches!(problem, Problem::NotFound { .. }));
    let sentence = match reasons.as_slice() {
        [only] if only_names => only.clone(),
        [only] => format!("Failed to resolve dependencies: {only}"),
        several => format!("Failed to resolve dependencies:\n    {}", several.join("\n    ")),
    };
    let hint = match only_names {
        true => "names are those of the spec's customizations.packages and of the provider's defaults",
        false => "change customizations.packages, or add a repository that has what is missing",
    };
    Error::build(sentence).hint(hint)
}

/// Everything that is asked for by name: the provider's defaults, the kernel and what it needs to
/// boot, the packages of the spec. Defaults that the spec removes are not asked for.
fn wishes(
    spec: &ResolvedSpec,
    distro: &Distro,
    architecture: &providers::Architecture,
    request: &lock::Request,
    universe: &Universe,
) -> Result<Vec<Wish>, Error> {
    let mut names: Vec<(String, Origin)> = Vec::new();
    let mut default = |name: &str| {
        if !request.remove.contains(name) {
            names.push((name.to_owned(), Origin::Default));
        }
    };
    let grub = request.bootloader.as_ref().and_then(|_| distro.boot.grub.get(architecture));
    // A second boot loader would want kernels on the ESP for itself.
    let unwanted = |name: &&String| grub.is_some() && **name == distro.boot.package;
    distro.default_packages(spec.variant.into()).iter().filter(|name| !unwanted(name)).for_each(|name| default(name));
    if let Some(kernel) = &request.kernel {
        default(&super::kernel::named(distro, universe, kernel, request.kernel_version.as_deref())?);
        distro.initramfs.packages.iter().for_each(|name| default(name));
        match grub {
            Some(grub) => grub.packages.iter().for_each(|name| default(name)),
            None => default(&distro.boot.package),
        }
        if let Some(live) = distro.boot.live.as_ref().filter(|_| request.live) {
            live.packages.iter().for_each(|name| default(name));
        }
        // Grows the root partition on first boot; part of systemd in older releases.
        if universe.candidate("systemd-repart").is_some() {
            default("systemd-repart");
        }
    }
    names.extend(request.install.iter().map(|name| (name.clone(), Origin::Requested)));
    names
        .iter()
        .map(|(name, origin)| {
            Wish::parse(name, *origin).or_fail(Kind::Validation, || format!("failed to read the package name '{name}'"))
        })
        .collect()
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
                _ if chosen.essential => Group::Essential,
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

/// Has every package of a lock in the cache, verified against the lock's digests.
///
/// # Errors
/// Packages that cannot be had, or whose bytes are not the lock's.
pub fn fetch(spec: &ResolvedSpec, lock: Lock, cx: &Context) -> Result<PackageSet, Error> {
    let distro = cx.distro(spec)?;
    let ranked = repositories(spec, &distro, &cx.catalogue, cx)?;
    let cache = CacheDir::new(&cx.cache_directory);
    let requests: Result<Vec<FileRequest>, Error> = lock
        .packages
        .iter()
        .map(|package| {
            let entry = ranked.iter().find(|entry| entry.repository.id == package.repository).ok_or_else(|| {
                Error::build(format!(
                    "failed to fetch {}: the repository '{}' is not known",
                    package.name, package.repository
                ))
            })?;
            Ok(FileRequest {
                what: format!("{} {} ({})", package.name, package.version, package.architecture),
                mirrors: entry.repository.sources().to_vec(),
                paths: vec![package.path.clone()],
                size: package.size,
                sha256: package.sha256,
            })
        })
        .collect();
    let files = cx.fetcher.files(&requests?, &cache).map_err(|error| {
        if cx.cancel.is_cancelled() {
            return Error::interrupted();
        }
        let hint = error.hint();
        let wrapped = Error::build("failed to fetch the packages").caused_by(error);
        match hint {
            Some(hint) => wrapped.hint(hint),
            None => wrapped,
        }
    })?;
    Ok(PackageSet { lock, files, distro })
}

/// The provider's word for the kind of base that a spec asks for.
impl From<crate::spec::resolved::Variant> for providers::distro::Variant {
    fn from(variant: crate::spec::resolved::Variant) -> Self {
        match variant {
            crate::spec::resolved::Variant::Minimal => Self::Minimal,
            crate::spec::resolved::Variant::Server => Self::Server,
        }
    }
}
