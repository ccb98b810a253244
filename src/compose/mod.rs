//! Compose: packages become a configured system, as layers.
//!
//! One layer per package, stacked as the family's own tool would unpack them ([`deb`]); then, cut
//! point by cut point, their scripts run in the sandbox; the initial ramdisk is made once, beside
//! the last of them.

mod capture;
mod deb;
mod dracut;
pub mod failure;
mod followed;
mod initramfs;
mod landing;
mod materialise;
mod note;
mod rpm;
mod scaffold;
mod settled;
mod step;
mod terminal;
mod unpack;
mod visit;

use layers::Stack;
use providers::distro::Family;

pub use deb::installed_in;
pub use deb::wanted_beside_layers;
pub use initramfs::follow;
pub use materialise::mounted;
pub use rpm::database_in;
pub use step::{Work, run_step};
pub use visit::enter;

use crate::context::Context;
use crate::error::Error;
use crate::stages::PackageSet;

/// Composes a package set; `preseeds` are answers for debconf, where the family has it.
///
/// # Errors
/// A damaged package, colliding packages, a package's script that fails.
pub fn compose(set: &PackageSet, preseeds: &[String], cx: &Context) -> Result<Stack, Error> {
    match set.distro.family {
        Family::Deb => deb::compose(set, preseeds, cx),
        Family::Rpm => rpm::compose(set, cx),
        _ => Err(Error::build(format!("failed to compose {}: its family is not known", set.distro.title))),
    }
}

/// A command in the image: Debian's usual path, nobody to ask, the build's time, nothing else.
pub fn command(argv: &[String], epoch: i64) -> sandbox::Command {
    command_with(argv, epoch, &[])
}

/// As [`command`], with more variables, or with others in the place of the usual ones.
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
    env.retain(|(name, _)| !more.iter().any(|(other, _)| other.as_bytes() == name.as_slice()));
    env.extend(more.iter().map(|(name, value)| (name.as_bytes().to_vec(), value.as_bytes().to_vec())));
    sandbox::Command { argv: argv.iter().map(|word| word.as_bytes().to_vec()).collect(), env, ..Default::default() }
}
