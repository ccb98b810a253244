//! Validate: the spec is sound, and everything that it names outside itself is there.

use providers::distro::Catalogue;

use crate::context;
use crate::error::{Error, ResultExt};
use crate::spec::ResolvedSpec;
use crate::spec::resolved::{Bootloader, Compression, Format};

/// Checks a resolved spec against the facts about its distribution. What is wrong with the spec
/// alone was found when it was read.
///
/// # Errors
/// An unknown provider, release or architecture; combinations that make no sense.
pub fn validate(spec: &ResolvedSpec, catalogue: &Catalogue) -> Result<(), Error> {
    let distro = context::distro(catalogue, spec)?;
    let architecture = context::architecture(catalogue, spec)?;
    distro.architecture(&architecture).or_fail(crate::error::Kind::Validation, || {
        format!("Validation error: '{architecture}' is not an architecture of {}", distro.title)
    })?;
    if spec.bootloader == Bootloader::Grub && !distro.boot.grub.contains_key(&architecture) {
        let what = format!("the boot loader 'grub' is not supported yet on {} for {architecture}", distro.title);
        return Err(Error::validation(format!("Validation error: {what}")).hint("use systemd-boot"));
    }
    if spec.formats.contains(&Format::Iso) && distro.boot.live.is_none() {
        let what = format!("the format 'iso' is not supported yet on {}", distro.title);
        return Err(Error::validation(format!("Validation error: {what}")).hint("use raw or qcow2"));
    }
    // Known, and refused rather than ignored: a spec must not mean less than it says.
    if spec.build_network {
        return Err(Error::validation("Validation error: build.network is not supported yet")
            .hint("bring what scripts need with customizations.files"));
    }
    if spec.compression == Compression::Xz && spec.formats.contains(&Format::Qcow2) {
        return Err(Error::validation("Invalid combination of compression 'xz' with format 'qcow2'")
            .hint("qcow2 knows gzip (zlib) and zstd"));
    }
    Ok(())
}
