//! What a spec asks for: the part of it that decides which packages are chosen, and the names that
//! follow from it.

use std::collections::BTreeMap;

use providers::RepositoryId;
use providers::distro::Distro;
use providers::lock;

use crate::context::Context;
use crate::error::{Error, ResultExt};
use crate::spec::ResolvedSpec;
use crate::spec::resolved::{Bootloader, Format};

/// The part of the spec that decides which packages are chosen; `repositories` says of each where
/// it is and with which priority.
///
/// # Errors
/// An architecture that the distribution does not exist for.
pub fn request(
    spec: &ResolvedSpec,
    distro: &Distro,
    repositories: BTreeMap<RepositoryId, String>,
    cx: &Context,
) -> Result<lock::Request, Error> {
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
        from: spec.base.as_ref().map(|base| base.written.clone()),
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

/// Who asks for a package.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Asker {
    /// The spec names it.
    Spec,
    /// It is one of the provider's defaults, or follows from them.
    Defaults,
}

/// Everything that is asked for by name: the provider's defaults, the kernel (`kernel` is how to ask
/// for it) and what it needs to boot, the packages of the spec. Defaults that the spec removes are
/// not asked for; `exists` says whether the repositories have a package.
pub fn names(
    spec: &ResolvedSpec,
    distro: &Distro,
    architecture: &providers::Architecture,
    request: &lock::Request,
    kernel: Option<String>,
    exists: impl Fn(&str) -> bool,
) -> Vec<(String, Asker)> {
    let mut names: Vec<(String, Asker)> = Vec::new();
    let mut default = |name: &str| {
        if !request.remove.contains(name) {
            names.push((name.to_owned(), Asker::Defaults));
        }
    };
    let grub = request.bootloader.as_ref().and_then(|_| distro.boot.grub.get(architecture));
    // A second boot loader would want kernels on the ESP for itself.
    let unwanted = |name: &&String| grub.is_some() && **name == distro.boot.package;
    distro.default_packages(spec.variant.into()).iter().filter(|name| !unwanted(name)).for_each(|name| default(name));
    if let Some(kernel) = kernel {
        default(&kernel);
        distro.initramfs.packages.iter().for_each(|name| default(name));
        match grub {
            Some(grub) => grub.packages.iter().for_each(|name| default(name)),
            None => default(&distro.boot.package),
        }
        if let Some(live) = distro.boot.live.as_ref().filter(|_| request.live) {
            live.packages.iter().for_each(|name| default(name));
        }
        // Grows the root partition on first boot; part of systemd in older releases.
        if exists("systemd-repart") {
            default("systemd-repart");
        }
    }
    names.extend(request.install.iter().map(|name| (name.clone(), Asker::Spec)));
    names
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
