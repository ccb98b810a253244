//! Compose: packages become a configured system, as layers.
//!
//! One layer per package, stacked as dpkg would unpack them; then, cut point by cut point, the
//! image's own dpkg configures them in the sandbox; the initial ramdisk is made
//! once, beside the last of them.

mod capture;
pub mod failure;
mod followed;
mod group;
mod initramfs;
mod materialise;
mod note;
mod ownership;
mod plan;
mod registry;
mod rules;
mod scaffold;
mod scripts;
mod segment;
mod settled;
mod step;
mod terminal;
mod unpack;
mod visit;

use layers::Stack;
use providers::deb::Aliases;
use providers::lock::Group;

pub use initramfs::follow;
pub use materialise::mounted;
pub use step::{Work, run_step};
pub use unpack::Unpacked;
pub use visit::enter;

use ownership::Ownership;
use unpack::unpack_ahead;

use crate::context::Context;
use crate::error::{Error, ResultExt};
use crate::stages::PackageSet;

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
    let mut stack = Stack::default();
    unpack_ahead(set, &[Group::Essential, Group::Base, Group::Kernel, Group::Rest], &aliases, cx, |unpacked| {
        let mut ownership = Ownership::default();
        let essential = unpacked.next()?;
        groups.configure(Group::Essential, &essential, &mut ownership, &mut stack)?;
        let base = unpacked.next()?;
        groups.configure(Group::Base, &base, &mut ownership, &mut stack)?;
        let kernel = unpacked.next()?;
        groups.configure(Group::Kernel, &kernel, &mut ownership, &mut stack)?;
        let rest = unpacked.next()?;
        initramfs::make_beside(cx, distro, &rest, &mut stack, |stack| {
            groups.configure(Group::Rest, &rest, &mut ownership, stack)?;
            registry::sources(cx, set, stack)
        })
    })?;
    Ok(stack)
}

/// A command in the image: Debian's usual path, nobody to ask, the build's time, nothing else.
pub fn command(argv: &[String], epoch: i64) -> sandbox::Command {
    command_with(argv, epoch, &[])
}

/// As [`command`], with more variables.
pub fn command_with(argv: &[String], epoch: i64, more: &[(&str, String)]) -> sandbox::Command {
    let mut env: Vec<(Vec<u8>, Vec<u8>)> = [
        ("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"),
        ("HOME", "/root"),
        ("LC_ALL", "C.UTF-8"),
        ("DEBIAN_FRONTEND", "noninteractive"),
        ("DEBCONF_NONINTERACTIVE_SEEN", "true"),
    ]
    .map(|(name, value)| (name.into(), value.into()))
    .to_vec();
    env.push((b"SOURCE_DATE_EPOCH".to_vec(), epoch.to_string().into_bytes()));
    env.extend(more.iter().map(|(name, value)| (name.as_bytes().to_vec(), value.as_bytes().to_vec())));
    sandbox::Command { argv: argv.iter().map(|word| word.as_bytes().to_vec()).collect(), env, ..Default::default() }
}
