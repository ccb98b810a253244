//! Compose for the rpm family.
//!
//! One layer per package; then, cut point by cut point, a transaction of rpm's (rpm-scriptlets(7)):
//! scriptlets and triggers run in its order, each seeing what rpm would let it see. The database is
//! written by us.
//!
//! ```text
//! base → kernel → the defaults → the rest → the database    the initial ramdisk beside what follows the kernel
//!
//! each: every %pretrans → per package: %pre, its files, file triggers, %post, %triggerin
//!                       → every %posttrans → %transfiletriggerin
//! ```

mod fate;
mod note;
mod place;
mod present;
mod registry;
mod segment;
mod transaction;
mod unpack;

use layers::Stack;
use providers::lock::{Group, LockedPackage};
use providers::rpm::scripts::Scripts;
use providers::unpack::Aliases;

pub use present::database_in;
use transaction::System;
use unpack::{Unpacked, unpack_one};

use super::initramfs;
use super::unpack::unpack_ahead;
use crate::context::Context;
use crate::error::{Error, ResultExt};
use crate::packages::PackageFile;
use crate::permits::Permits;
use crate::stages::PackageSet;

/// Composes a package set.
///
/// # Errors
/// A damaged package, colliding packages, a scriptlet that fails and must not.
pub fn compose(set: &PackageSet, cx: &Context) -> Result<Stack, Error> {
    let distro = &set.distro;
    let aliases = Aliases::new(&distro.merged_usr).to("read the provider's merged /usr")?;
    let unpack = |package: &LockedPackage, file: &PackageFile, permits: &Permits| {
        unpack_one(package, file, set.keys.get(&package.repository), &aliases, permits, cx)
    };
    let mut stack = set.base.as_ref().map(|base| base.stack.clone()).unwrap_or_default();
    if let Some(base) = &set.base {
        base.tell(cx)?;
    }
    let present = match &set.base {
        // Nothing is put on it, so nothing is asked of it.
        Some(base) if !set.lock.packages.is_empty() => {
            Some(database_in(&base.found.written, &base.stack, &distro.rpm)?)
        }
        _ => None,
    };
    let there = present.as_ref().map(|present| present.members(&stack, &aliases)).transpose()?.unwrap_or_default();
    unpack_ahead(set, &Group::ALL, cx, unpack, |unpacked| {
        let mut system = System::on(set, cx, &there);
        // No package is essential to rpm. Where a lock says so, it comes with the base.
        let mut base = unpacked.next()?;
        base.extend(unpacked.next()?);
        system.install("base", &base, &mut stack)?;
        cut_point(cx, "base", &base);
        let kernel = unpacked.next()?;
        system.install("kernel", &kernel, &mut stack)?;
        cut_point(cx, "kernel", &kernel);
        let (defaults, rest) = (unpacked.next()?, unpacked.next()?);
        let later: Vec<&Unpacked> = defaults.iter().chain(&rest).collect();
        let scripts: Vec<Scripts> = later.iter().map(|package| package.scripts()).collect::<Result<_, _>>()?;
        let to_come: Vec<_> = later.iter().zip(&scripts).map(|(package, scripts)| package.coming(scripts)).collect();
        initramfs::make_beside(cx, distro, &to_come, &mut stack, |stack| {
            system.install("default", &defaults, stack)?;
            cut_point(cx, "default", &defaults);
            system.install("other", &rest, stack)?;
            cut_point(cx, "other", &rest);
            if set.base.is_some() && present.is_none() {
                return Ok(());
            }
            registry::database(cx, present.as_ref(), &[&base, &kernel, &defaults, &rest], &distro.rpm, stack)
        })
    })?;
    Ok(stack)
}

/// Tells that a group is installed, if there is any of it.
fn cut_point(cx: &Context, group: &str, packages: &[Unpacked]) {
    if !packages.is_empty() {
        cx.history.cut_point(&format!("the {group} packages"));
    }
}
