//! Compose for the deb family.
//!
//! One layer per package, stacked as dpkg would unpack them; then, cut point by cut point, the
//! image's own dpkg configures them in the sandbox.

mod group;
mod installed;
mod note;
mod ownership;
mod plan;
mod registry;
mod rules;
mod scripts;
mod segment;
mod unpack;
mod waiting;

use layers::Stack;
use providers::deb::Aliases;
use providers::distro::Distro;
use providers::lock::{Group, LockedPackage};

pub use installed::installed_in;
use ownership::Ownership;
use unpack::{Unpacked, key_of, unpack_one};

use super::initramfs;
use super::unpack::{unpack_ahead, wanted};
use crate::context::Context;
use crate::error::{Error, ResultExt};
use crate::packages::{PackageFile, Wanted};
use crate::permits::Permits;
use crate::stages::PackageSet;

/// How these packages are to be had; `is_missing` says whose files are not in the cache.
///
/// # Errors
/// As [`wanted`].
pub fn wanted_beside_layers(
    packages: &[LockedPackage],
    is_missing: &[bool],
    distro: &Distro,
    cx: &Context,
) -> Result<Vec<Wanted>, Error> {
    let aliases = Aliases::new(&distro.merged_usr).to("read the provider's merged /usr")?;
    wanted(packages, is_missing, |package| key_of(package, &aliases), cx)
}

/// Composes a package set.
///
/// # Errors
/// A damaged package, colliding packages, a maintainer script that fails.
pub fn compose(set: &PackageSet, preseeds: &[String], cx: &Context) -> Result<Stack, Error> {
    let distro = &set.distro;
    let aliases = Aliases::new(&distro.merged_usr).to("read the provider's merged /usr")?;
    let architecture = set.lock.architecture.to_string();
    let groups = group::Groups {
        cx,
        deferred: &distro.initramfs.deferred,
        scaffold: &distro.scaffold,
        preseeds,
        volatile: &distro.volatile,
        aliases: &aliases,
        architecture: &architecture,
    };
    let mut stack = set.base.as_ref().map(|base| base.stack.clone()).unwrap_or_default();
    if let Some(base) = &set.base {
        base.tell(cx)?;
    }
    let present = match &set.base {
        // Nothing is put on it, so nothing is asked of it.
        Some(base) if !set.lock.packages.is_empty() => installed::present(&base.found.written, &stack, &aliases)?,
        _ => Vec::new(),
    };
    let unpack = |package: &LockedPackage, file: &PackageFile, permits: &Permits| {
        unpack_one(package, file, &aliases, permits, cx)
    };
    unpack_ahead(set, &Group::ALL, cx, unpack, |unpacked| {
        let mut ownership = Ownership::of(&present);
        let essential = unpacked.next()?;
        groups.configure(Group::Essential, &essential, &mut ownership, &mut stack)?;
        let base = unpacked.next()?;
        groups.configure(Group::Base, &base, &mut ownership, &mut stack)?;
        let kernel = unpacked.next()?;
        groups.configure(Group::Kernel, &kernel, &mut ownership, &mut stack)?;
        // A lock that somebody wrote may have packages in a group that this family does not use.
        let mut rest = unpacked.next()?;
        rest.extend(unpacked.next()?);
        let to_come: Vec<_> = rest.iter().map(Unpacked::coming).collect();
        initramfs::make_beside(cx, distro, &to_come, &mut stack, |stack| {
            groups.configure(Group::Rest, &rest, &mut ownership, stack)?;
            registry::sources(cx, set, stack)
        })
    })?;
    Ok(stack)
}
