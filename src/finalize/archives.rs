//! The tree itself as an output: a tar archive, or an initial RAM disk with the kernel beside it.

use image::archive::{self, Plan};
use layers::{Contents, Entry, Kind, MemoryContents, Time, Tree, TreePath};
use providers::distro::Distro;

use super::disk::Both;
use super::live::without_disk;
use super::output::{self, Written};
use super::target::Target;
use crate::boot::{file_at, kernel_places, kernels};
use crate::context::Context;
use crate::error::{Error, ResultExt};
use crate::spec::ResolvedSpec;
use crate::spec::resolved::Format;

/// Writes the archives that a spec asks for.
///
/// # Errors
/// What the format cannot hold; an initial RAM disk without `/sbin/init` or kernel; a full disk.
pub fn write(
    spec: &ResolvedSpec,
    distro: &Distro,
    tree: &Tree,
    contents: &dyn Contents,
    target: &Target,
    cx: &Context,
) -> Result<Vec<Written>, Error> {
    let mut written = Vec::new();
    for &format in &spec.formats {
        match format {
            Format::Tar => {
                let plan = archive::plan(tree, archive::Format::Tar).to("lay out the tar archive")?;
                tell_lost(&plan, "tar has no sockets", cx);
                written.extend(output::write(spec, |other| other == format, &plan, contents, target, cx)?);
            }
            Format::Initrd => {
                let mut generated = MemoryContents::default();
                let whole = in_memory(tree, &mut generated, cx.epoch())?;
                let plan = archive::plan(&whole, archive::Format::Cpio).to("lay out the initial RAM disk")?;
                tell_lost(
                    &plan,
                    "an initial RAM disk has no extended attributes (capabilities, access control lists)",
                    cx,
                );
                let contents = Both(contents, &generated);
                written.extend(output::write(spec, |other| other == format, &plan, &contents, target, cx)?);
                written.push(kernel(spec, distro, tree, &contents, target)?);
            }
            _ => {}
        }
    }
    Ok(written)
}

/// Says what an archive cannot hold: the first of it, and how many there are.
fn tell_lost(plan: &Plan<'_>, why: &str, cx: &Context) {
    if let [first, rest @ ..] = plan.lost() {
        let more = if rest.is_empty() { String::new() } else { format!(" and {} more", rest.len()) };
        cx.reporter.warn(&format!("{why}: lost at {first}{more}"));
    }
}

/// The tree as it runs from memory: without a kernel to load again, and started by `/init`
/// (Linux, Documentation/filesystems/ramfs-rootfs-initramfs.rst).
fn in_memory(tree: &Tree, generated: &mut MemoryContents, epoch: i64) -> Result<Tree, Error> {
    let mut tree = without_disk(tree, generated)?;
    let (init, program) = (path("init")?, path("sbin/init")?);
    if tree.get(&init).is_none() {
        tree.resolve(&program).ok().filter(|found| tree.get(found).is_some()).ok_or_else(|| {
            Error::build("failed to make the initial RAM disk: the image has no /sbin/init")
                .hint("add the package that has it (systemd-sysv) to customizations.packages.install")
        })?;
        tree.insert(init, Entry::symlink(b"sbin/init", Time::seconds(epoch))).to("add /init")?;
    }
    // The kernel that runs it was loaded from elsewhere.
    tree.clear_below(&path("boot")?);
    tree.check().to("check the tree of the initial RAM disk")?;
    Ok(tree)
}

fn path(text: &str) -> Result<TreePath, Error> {
    TreePath::new(text).to("name a file of the initial RAM disk")
}

/// The newest kernel, to be loaded with the initial RAM disk.
fn kernel(
    spec: &ResolvedSpec,
    distro: &Distro,
    tree: &Tree,
    contents: &dyn Contents,
    target: &Target,
) -> Result<Written, Error> {
    let missing = || {
        Error::build(format!("failed to find a kernel in the image at {}", kernel_places(&distro.boot)))
            .hint("name a kernel package in `kernel.package`, such as linux-image-cloud-amd64")
    };
    let newest = kernels(tree, &distro.boot).pop().ok_or_else(missing)?;
    let Some(Kind::File(content)) = file_at(tree, &newest.image) else { return Err(missing()) };
    let name = output::kernel_name(spec).unwrap_or_default();
    let pending = target.begin(&name)?;
    let mut reader = contents.open(&content).to("read the kernel of the image")?;
    std::io::copy(&mut reader, &mut pending.file()).map_err(|source| super::full(pending.path(), source))?;
    Ok(Written::new("kernel", pending))
}
