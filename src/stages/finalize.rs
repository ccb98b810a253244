//! Finalize: the tree is verified and becomes the outputs that the spec asks for.

use layers::{Contents, Tree, TreePath};
use providers::distro::{Distro, Grub};

use super::configuration::command_line;
use super::{Configured, PackageSet};
use crate::boot::grub::Bios;
use crate::boot::{self, Boot, Esp, Identity, esp, lay_over, lay_over_fat, usual_files};
use crate::configure::grub;
use crate::context::Context;
use crate::error::{Error, ResultExt};
use crate::finalize::output::Written;
use crate::finalize::{Artifact, Both, Named, Target, archives, disk, divide, documents, live, oci, output, passes};
use crate::spec::ResolvedSpec;
use crate::spec::resolved::{Bootloader, Filesystem, Format, Partition, PartitionRole};

/// Writes the images of a spec and the documents beside them; they stay once they are settled.
///
/// # Errors
/// A tree that does not fit or does not verify; a full disk; an output in the way.
pub fn finalize(
    spec: &ResolvedSpec,
    packages: &PackageSet,
    configured: &Configured,
    target: &Target,
    cx: &Context,
) -> Result<(Vec<Artifact>, Named), Error> {
    let Configured(stack) = configured;
    let distro = &packages.distro;
    let epoch = cx.epoch();
    let tree = passes::apply(stack, &distro.volatile, epoch)?;
    let mut generated = layers::MemoryContents::default();
    generated.add(Vec::new());
    let contents = Both(stack, &generated);
    passes::verify(&tree, &contents)?;
    let mut images = archives::write(spec, distro, &tree, &contents, target, cx)?;
    if spec.formats.contains(&Format::Oci) {
        let finished = oci::Finished { stack, tree: &tree, contents: &contents, base: packages.base.as_deref() };
        images.push(oci::write(spec, &finished, target, cx)?);
    }
    if spec.formats.contains(&Format::Iso) {
        images.extend(medium(spec, packages, &tree, &contents, target, cx)?);
    }
    if spec.formats.iter().any(|format| format.is_disk()) {
        images.extend(disks(spec, packages, tree, &contents, target, cx)?);
    }
    cx.check()?;
    documents::publish(spec, packages, stack, images, target, cx)
}

/// The tree of a configured system as every output has it, for what is no output of the spec.
///
/// # Errors
/// A tree that does not verify; those of the work.
pub fn finished<T>(
    packages: &PackageSet,
    configured: &Configured,
    cx: &Context,
    work: impl FnOnce(&Tree, &dyn Contents) -> Result<T, Error>,
) -> Result<T, Error> {
    let Configured(stack) = configured;
    let tree = passes::apply(stack, &packages.distro.volatile, cx.epoch())?;
    let mut generated = layers::MemoryContents::default();
    generated.add(Vec::new());
    let contents = Both(stack, &generated);
    passes::verify(&tree, &contents)?;
    work(&tree, &contents)
}

/// The live medium.
fn medium(
    spec: &ResolvedSpec,
    packages: &PackageSet,
    tree: &Tree,
    contents: &dyn Contents,
    target: &Target,
    cx: &Context,
) -> Result<Vec<Written>, Error> {
    let distro = &packages.distro;
    let making = live::Making {
        distro,
        // A spec that asks for what is not known is refused at its validation.
        live: distro.boot.live.as_ref().ok_or_else(|| Error::build("failed to find how live media start"))?,
        grub: match spec.bootloader {
            Bootloader::Grub => Some(grub_facts(distro, packages)?),
            _ => None,
        },
        architecture: &packages.lock.architecture,
        identity: &Identity::of(spec),
    };
    live::write(spec, &making, tree, contents, target, cx)
}

/// The disk, in every container that the spec asks for.
fn disks(
    spec: &ResolvedSpec,
    packages: &PackageSet,
    tree: Tree,
    contents: &dyn Contents,
    target: &Target,
    cx: &Context,
) -> Result<Vec<Written>, Error> {
    let distro = &packages.distro;
    let (identity, epoch) = (Identity::of(spec), cx.epoch());
    let facts = distro.architecture(&packages.lock.architecture).to("read the provider's facts")?;
    let esp = match spec.bootloader {
        Bootloader::None => None,
        Bootloader::Grub => {
            let home = grub::home(spec, &identity);
            Some(boot::grub::esp(&tree, grub_facts(distro, packages)?, &facts.efi_suffix, &home, epoch)?)
        }
        Bootloader::SystemdBoot => {
            let loader = distro.loader_path(&packages.lock.architecture).to("read the provider's facts")?;
            let boot = Boot {
                loader: TreePath::new(loader).to("name the boot loader")?,
                efi_suffix: &facts.efi_suffix,
                facts: &distro.boot,
                token: &distro.os,
                cmdline: &command_line(spec, distro, &identity),
                xbootldr: spec.partitions().any(|partition| partition.role == PartitionRole::Xbootldr),
                epoch,
            };
            Some(esp(&tree, contents, &boot)?)
        }
    };
    let bios = match spec.bootloader {
        Bootloader::Grub => bios(spec, grub_facts(distro, packages)?, &tree, contents)?,
        _ => None,
    };
    cx.check()?;
    let parts = parts(spec, tree, esp.as_ref())?;
    let making = disk::Making { distro, identity: &identity, bios: bios.as_ref(), epoch };
    let volumes = disk::plan(spec, &making, &parts)?;
    let whole = volumes.disk(&identity, &facts.root_type)?;
    let empty = layers::MemoryContents::default();
    let esp_contents = esp.as_ref().map_or(&empty, |esp| &esp.generated);
    output::write(spec, Format::is_disk, &whole, &Both(contents, esp_contents), target, cx)
}

fn grub_facts<'a>(distro: &'a Distro, packages: &PackageSet) -> Result<&'a Grub, Error> {
    let known = distro.boot.grub.get(&packages.lock.architecture);
    known.ok_or_else(|| Error::build(format!("failed to find GRUB among the facts about {}", distro.title)))
}

/// What a BIOS runs, where the disk has a place for it.
fn bios(spec: &ResolvedSpec, facts: &Grub, tree: &Tree, contents: &dyn Contents) -> Result<Option<Bios>, Error> {
    match &facts.bios {
        Some(directory) if grub::has_bios(spec, facts) => Bios::of(tree, contents, facts, directory).map(Some),
        _ => Ok(None),
    }
}

/// The tree of each partition.
fn parts<'a>(spec: &'a ResolvedSpec, tree: Tree, esp: Option<&Esp>) -> Result<Vec<disk::Part<'a>>, Error> {
    let mounts: Vec<TreePath> = spec.partitions().filter_map(|partition| partition.mount.clone()).collect();
    let is_esp = |partition: &&Partition| partition.role == PartitionRole::Esp;
    let unmounted = match spec.partitions().find(is_esp) {
        Some(partition) => usual_files(&tree, partition.mount.as_ref())?,
        None => Tree::default(),
    };
    let mut divided = divide::divide(tree, &mounts)?.trees;
    let mut parts = Vec::new();
    for partition in spec.partitions() {
        let mut tree = partition.mount.as_ref().and_then(|mount| divided.remove(mount)).unwrap_or_default();
        let boot = match partition.role {
            PartitionRole::Esp => esp.map(|esp| &esp.tree),
            PartitionRole::Xbootldr => esp.and_then(|esp| esp.xbootldr.as_ref()),
            _ => None,
        };
        if let Some(boot) = boot {
            // The root directory of FAT has no time: that of the mount point must not count.
            let mut whole = Tree::default();
            lay_over(&mut whole, &tree)?;
            match (partition.filesystem, partition.role) {
                (Filesystem::Vfat, PartitionRole::Esp) => {
                    lay_over_fat(&mut whole, &unmounted)?;
                    lay_over_fat(&mut whole, boot)?;
                }
                (Filesystem::Vfat, _) => lay_over_fat(&mut whole, boot)?,
                _ => lay_over(&mut whole, boot)?,
            }
            tree = whole;
        }
        parts.push(disk::Part { partition, tree });
    }
    Ok(parts)
}
