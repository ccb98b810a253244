//! Configuration: what the spec says of the system.

use super::{Composed, Configured};
use crate::boot::Identity;
use crate::compose;
use crate::configure::{self, Surroundings};
use crate::context::Context;
use crate::error::Error;
use crate::spec::ResolvedSpec;
use crate::spec::resolved::Bootloader;

/// Applies the spec's customizations, one layer per step.
///
/// # Errors
/// A failing command or script; owners that do not exist; a source that changed.
pub fn configuration(spec: &ResolvedSpec, composed: Composed, cx: &Context) -> Result<Configured, Error> {
    let Composed(mut stack) = composed;
    let identity = Identity::of(spec);
    let distro = cx.distro(spec)?;
    let cmdline = command_line(spec, &distro, &identity);
    let architecture = cx.architecture(spec)?;
    let surroundings = Surroundings {
        identity: &identity,
        cmdline: &cmdline,
        token: &distro.os,
        volatile: &distro.volatile,
        boot: &distro.boot,
        grub: distro.boot.grub.get(&architecture).filter(|_| spec.bootloader == Bootloader::Grub),
    };
    let before = stack.clone();
    configure::configure(spec, &surroundings, cx, &mut stack)?;
    compose::follow(cx, &distro, &before, &mut stack)?;
    Ok(Configured(stack))
}

/// The kernel's whole command line: where the root is, the provider's words, the spec's.
pub(super) fn command_line(spec: &ResolvedSpec, distro: &providers::distro::Distro, identity: &Identity) -> String {
    let mut words = vec![format!("root=UUID={}", identity.root_file_system()), "ro".to_owned()];
    words.extend(distro.boot.cmdline.iter().cloned());
    words.extend(spec.kernel.cmdline.iter().cloned());
    words.join(" ")
}
