//! Packages: what the spec means on the repositories of today becomes a lock, and the lock's
//! packages come into the cache.

use std::collections::BTreeMap;

use providers::cache::CacheDir;
use providers::distro::Family;
use providers::fetch::FileRequest;
use providers::lock::Lock;
use providers::rpm::Header;
use providers::rpm::check::check_beside;
use rayon::prelude::*;

use super::PackageSet;
use crate::base;
use crate::compose::{database_in, wanted_beside_layers};
use crate::context::Context;
use crate::error::Error;
use crate::packages::{PackageFile, Sources, Wanted, request, verify};
use crate::spec::ResolvedSpec;

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
    let sources = Sources::of(spec, &distro, cx)?;
    let _ = cx.sources.set(sources.records());
    let request = request(spec, &distro, sources.described(), cx)?;
    let lock = match given {
        Some(lock) => {
            let architecture = cx.architecture(spec)?;
            lock.agree(&distro.os, &distro.version, &architecture, &request).map_err(|error| {
                Error::build("failed to use the lock").caused_by(error).hint(
                    "the spec has changed since the lock was written: `image-composer lock SPEC` writes a new one",
                )
            })?;
            lock
        }
        None => sources.choose(spec, &distro, request, cx)?,
    };
    cx.set_epoch(lock.epoch);
    Ok(lock)
}

/// Has every package of a lock in the cache, verified against the lock's digests, or its layer in the store, and
/// the layers of the image that it starts from.
///
/// # Errors
/// Packages or an image that cannot be had, or whose bytes are not the lock's.
pub fn fetch(spec: &ResolvedSpec, lock: Lock, cx: &Context) -> Result<PackageSet, Error> {
    let distro = cx.distro(spec)?;
    let base = base::open(spec, lock.base.as_ref().map(|base| &base.manifest), cx)?;
    if let Some(base) = &base {
        base::check_release(&base.found.written, &base.stack, &distro)?;
    }
    let sources = Sources::of(spec, &distro, cx)?;
    let cache = CacheDir::new(&cx.cache_directory);
    // Nobody is asked where packages are that are here, nor where those are whose layers are.
    let is_missing: Vec<bool> = lock.packages.iter().map(|package| !cache.package(&package.sha256).exists()).collect();
    let wanted = match distro.family {
        Family::Deb => wanted_beside_layers(&lock.packages, &is_missing, &distro, cx)?,
        // The signatures of rpm packages are verified in every build.
        _ => vec![Wanted::File; lock.packages.len()],
    };
    let missing = lock.packages.iter().zip(is_missing.iter().zip(&wanted));
    let missing = missing.filter(|(_, (is_missing, wanted))| **is_missing && **wanted != Wanted::Layer);
    let missing: Vec<u64> = missing.map(|(package, _)| package.size).collect();
    let needed = !missing.is_empty();
    let mut places = BTreeMap::new();
    for repository in &lock.repositories {
        if let Some(found) = sources.places(&repository.id, needed, cx) {
            places.insert(&repository.id, found);
        }
    }
    let requests: Result<Vec<FileRequest>, Error> = lock
        .packages
        .iter()
        .map(|package| {
            let mirrors = places.get(&package.repository).cloned().ok_or_else(|| {
                Error::build(format!(
                    "failed to fetch {}: the repository '{}' is not known",
                    package.name, package.repository
                ))
            })?;
            Ok(FileRequest {
                what: format!("{} {} ({})", package.name, package.version, package.architecture),
                mirrors,
                paths: vec![package.path.clone()],
                size: package.size,
                sha256: package.sha256,
            })
        })
        .collect();
    let files = PackageFile::all(requests?, &wanted, cx)?;
    let at_hand = lock.packages.len().saturating_sub(missing.len());
    let bytes = missing.iter().fold(0u64, |sum, size| sum.saturating_add(*size));
    cx.history.packages(at_hand as u64, missing.len() as u64, bytes);
    let known = lock
        .repositories
        .iter()
        .filter_map(|repository| Some((repository.id.clone(), sources.package_keys(&repository.id)?.clone())));
    let set = PackageSet { keys: known.collect(), lock, files, distro, base };
    verify_all(&set, cx)?;
    Ok(set)
}

/// Verifies the packages' own signatures, where their family has them, and that what they say of
/// each other holds: on a cache hit too.
fn verify_all(set: &PackageSet, cx: &Context) -> Result<(), Error> {
    if set.distro.family != Family::Rpm {
        return Ok(());
    }
    let packages: Vec<_> = set.lock.packages.iter().zip(&set.files).collect();
    let headers = packages.into_par_iter().map(|(package, file)| {
        cx.check()?;
        // The files do not stay open: there may be more of them than a process may have.
        verify(package, file.path(), set.keys.get(&package.repository), cx).map(|verified| verified.header().clone())
    });
    let headers: Vec<Header> = headers.collect::<Result<_, Error>>()?;
    let present = match &set.base {
        Some(base) if !headers.is_empty() => Some(database_in(&base.found.written, &base.stack, &set.distro.rpm)?),
        _ => None,
    };
    let installed: Vec<&Header> = present.iter().flat_map(|present| present.headers()).collect();
    check_beside(&installed, &headers).map_err(|error| {
        let hint = error.hint();
        let wrapped = Error::build("failed to use the packages").caused_by(error);
        match hint {
            Some(hint) => wrapped.hint(hint),
            None => wrapped,
        }
    })
}
