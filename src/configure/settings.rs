//! Hostname, locale, time zone, network, file systems table, boot settings: plain files.

use layers::TreePath;

use super::network::network_file;
use crate::boot::Identity;
use crate::draft::Draft;
use crate::error::{Error, ResultExt};
use crate::spec::ResolvedSpec;

/// Where the EFI system partition is mounted (`bootctl` and `kernel-install` look there).
pub const ESP_MOUNT: &str = "boot/efi";

/// Writes what the spec says of the system into a draft.
///
/// # Errors
/// A time zone that the image does not have; paths blocked by something else.
pub fn write(spec: &ResolvedSpec, draft: &mut Draft<'_>, tree: &layers::Tree) -> Result<(), Error> {
    let plain = draft.root_owned(0o644);
    draft.file("etc/hostname", format!("{}\n", spec.hostname), plain.clone())?;
    draft.file("etc/hosts", hosts(&spec.hostname.to_string()), plain.clone())?;
    // localectl writes locale.conf; Debian's PAM reads default/locale.
    let locale = format!("LANG={}\n", spec.locale);
    draft.file("etc/locale.conf", locale.clone(), plain.clone())?;
    if tree.get(&path("etc/default")?).is_some() {
        draft.file("etc/default/locale", locale, plain.clone())?;
    }
    time_zone(spec, draft, tree)?;
    for interface in &spec.network.interfaces {
        // 50: before what administrators add with a higher number, after the vendor's low ones.
        draft.file(
            &format!("etc/systemd/network/50-{}.network", interface.name),
            network_file(interface),
            plain.clone(),
        )?;
    }
    Ok(())
}

fn path(text: &str) -> Result<TreePath, Error> {
    TreePath::new(text).to("name a file of the image")
}

fn hosts(hostname: &str) -> String {
    // 127.0.1.1: the address Debian gives to a host name of its own (Debian reference, 5.1.1).
    let short = hostname.split('.').next().unwrap_or(hostname);
    let names = if short == hostname { hostname.to_owned() } else { format!("{hostname} {short}") };
    format!(
        "127.0.0.1\tlocalhost\n127.0.1.1\t{names}\n\n::1\tlocalhost ip6-localhost ip6-loopback\nff02::1\tip6-allnodes\nff02::2\tip6-allrouters\n"
    )
}

fn time_zone(spec: &ResolvedSpec, draft: &mut Draft<'_>, tree: &layers::Tree) -> Result<(), Error> {
    let zone = spec.timezone.to_string();
    let file = format!("usr/share/zoneinfo/{zone}");
    let known = tree.get(&tree.resolve(&path(&file)?).to("follow links in the image")?).is_some();
    if !known {
        if zone == "UTC" || zone == "Etc/UTC" {
            // Without tzdata the C library knows UTC anyway.
            return Ok(());
        }
        return Err(Error::build(format!("failed to find the time zone '{zone}' in the image"))
            .hint("is it spelled as in /usr/share/zoneinfo, and is tzdata among the packages?"));
    }
    draft.symlink("etc/localtime", format!("/{file}"))?;
    draft.file("etc/timezone", format!("{zone}\n"), draft.root_owned(0o644))
}

/// Writes what depends on the identity of the disk: the table of file systems, the command line
/// that later kernels get, the name under which kernel-install files them.
///
/// # Errors
/// Paths blocked by something else.
pub fn write_boot(
    spec: &ResolvedSpec,
    identity: &Identity,
    cmdline: &str,
    token: &str,
    draft: &mut Draft<'_>,
) -> Result<(), Error> {
    let plain = draft.root_owned(0o644);
    let root = identity.root_file_system();
    let mut table = format!(
        "# <file system> <mount point> <type> <options> <dump> <pass>\n\
         UUID={root} / ext4 errors=remount-ro,x-systemd.growfs 0 1\n"
    );
    if spec.bootloader != crate::spec::resolved::Bootloader::None {
        table.push_str(&format!("UUID={} /{ESP_MOUNT} vfat umask=0077 0 2\n", identity.esp_text()));
        draft.ensure_directory(&path(ESP_MOUNT)?, draft.root_owned(0o755))?;
        draft.file("etc/kernel/cmdline", format!("{cmdline}\n"), plain.clone())?;
        draft.file("etc/kernel/entry-token", format!("{token}\n"), plain.clone())?;
        // systemd-repart grows the partition, x-systemd.growfs the file system in it.
        draft.file(
            "etc/repart.d/50-root.conf",
            "# Grows the root partition to the end of the disk.\n[Partition]\nType=root\n",
            plain.clone(),
        )?;
    }
    draft.file("etc/fstab", table, plain)
}
