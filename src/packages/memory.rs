//! The memory of resolutions: the same request on the same releases has the same answer.
//!
//! ```text
//! CACHE/resolutions/KEY   the lock that was the answer, behind its digest in a line of its own
//! ```

use std::path::PathBuf;

use layers::{Blake3, Key, KeyBuilder, Sha256};
use providers::distro::{Architecture, Distro};
use providers::lock::{Lock, Request};

use crate::context::Context;
use crate::error::Error;
use crate::spec::ResolvedSpec;

/// Grows whenever the same request on the same releases may have another answer.
const RESOLUTION_VERSION: u32 = 4;
/// Largest answer that is read, in bytes: some 30,000 packages.
const ANSWER_BYTES_MAX: u64 = 64 << 20;

/// What an answer depends on: request, the image to start from, releases (their digests cover every index) and the facts
/// about the distribution that say what else is asked for and in which group a package is.
pub fn key(
    spec: &ResolvedSpec,
    distro: &Distro,
    architecture: &Architecture,
    request: &Request,
    base: Option<&Sha256>,
    releases: impl Iterator<Item = String>,
) -> Key {
    let Request { variant, from, bootloader, live, kernel, kernel_version, recommends, install, remove, repositories } =
        request;
    KeyBuilder::new("resolution", RESOLUTION_VERSION)
        .field("program", env!("CARGO_PKG_VERSION"))
        .field("os", &distro.os)
        .field("version", &distro.version)
        .field("architecture", architecture.as_str())
        .list("base set", &distro.base_set)
        .list("kernels", &distro.kernel.packages)
        .list("with the ramdisk", &distro.initramfs.with)
        .list("defaults", distro.default_packages(spec.variant.into()))
        .list("ramdisk", &distro.initramfs.packages)
        .field("boot", &distro.boot.package)
        .list("boot loader", bootloader)
        .list("boot loaders", distro.boot.grub.values().flat_map(|grub| &grub.packages))
        .list("live media", live.then_some("yes"))
        .list("live", distro.boot.live.iter().flat_map(|live| &live.packages))
        .field("variant", variant)
        .list("base image", from)
        .list("its manifest", base)
        .list("its release", distro.os_release.iter().flat_map(|says| [&says.id, &says.version]))
        .list("kernel", kernel)
        .list("kernel version", kernel_version)
        .field("recommends", [u8::from(*recommends)])
        .list("install", install)
        .list("remove", remove)
        .list("repositories", repositories.iter().map(|(id, what)| format!("{id} {what}")))
        .list("releases", releases)
        .finish()
}

/// The answer of an earlier build where the caches may be used, or a new one, which is remembered.
///
/// # Errors
/// Those of `choose`.
pub fn recalled(
    cx: &Context,
    spec: &ResolvedSpec,
    key: &Key,
    choose: impl FnOnce() -> Result<Lock, Error>,
) -> Result<Lock, Error> {
    match recall(cx, key).filter(|_| spec.caches.packages) {
        Some(lock) => Ok(lock),
        None => {
            let lock = choose()?;
            remember(cx, key, &lock);
            Ok(lock)
        }
    }
}

/// The answer of an earlier build; what is damaged counts as none.
fn recall(cx: &Context, key: &Key) -> Option<Lock> {
    let path = place(cx, key);
    if std::fs::metadata(&path).ok()?.len() > ANSWER_BYTES_MAX {
        return None;
    }
    let text = std::fs::read_to_string(path).ok()?;
    let (digest, lock) = text.split_once('\n')?;
    if Blake3::of(lock.as_bytes()).to_hex() != digest {
        return None;
    }
    Lock::read(lock.as_bytes()).ok()
}

/// Remembers an answer. Best effort: without it the next build resolves again.
fn remember(cx: &Context, key: &Key, lock: &Lock) {
    let path = place(cx, key);
    let write = || -> std::io::Result<()> {
        let text = lock.write().map_err(std::io::Error::other)?;
        let directory = path.parent().unwrap_or(&cx.cache_directory);
        std::fs::create_dir_all(directory)?;
        let staging = cx.store.stage().map_err(std::io::Error::other)?;
        let unnamed = staging.path().join("resolution");
        std::fs::write(&unnamed, format!("{}\n{text}", Blake3::of(text.as_bytes()).to_hex()))?;
        std::fs::rename(&unnamed, &path)
    };
    if let Err(error) = write() {
        tracing::debug!("the resolution is not remembered in {}: {error}", path.display());
    }
}

fn place(cx: &Context, key: &Key) -> PathBuf {
    cx.cache_directory.join("resolutions").join(key.to_hex())
}
