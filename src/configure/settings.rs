//! Hostname, locale, time zone, network, boot settings: plain files.

use layers::TreePath;

use super::network::network_file;
use crate::draft::Draft;
use crate::error::{Error, ResultExt};
use crate::spec::ResolvedSpec;
use crate::spec::resolved::{Bootloader, PartitionRole};

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

/// Writes what kernels to come need: their command line, the name under which kernel-install(8) files
/// them, and where.
///
/// # Errors
/// Paths blocked by something else.
pub fn write_boot(spec: &ResolvedSpec, cmdline: &str, token: &str, draft: &mut Draft<'_>) -> Result<(), Error> {
    if spec.bootloader == Bootloader::None {
        return Ok(());
    }
    let plain = draft.root_owned(0o644);
    draft.file("etc/kernel/cmdline", format!("{cmdline}\n"), plain.clone())?;
    draft.file("etc/kernel/entry-token", format!("{token}\n"), plain.clone())?;
    // By itself it looks for XBOOTLDR at /boot only.
    let beside = spec.partitions().find(|partition| partition.role == PartitionRole::Xbootldr);
    if let Some(mount) = beside.and_then(|partition| partition.mount.as_ref()) {
        draft.file("etc/kernel/install.conf", format!("layout=bls\nBOOT_ROOT={mount}\n"), plain)?;
    }
    Ok(())
}
