//! Live media: an ISO 9660 image with the tree as a squashfs file, a boot loader for UEFI in an EFI
//! system partition behind the files, and GRUB for a BIOS where the spec has GRUB.

use std::fs::File;
use std::io::Read;

use image::squashfs::OtherAttributes;
use image::{Error as ImageError, fat, iso, squashfs};
use layers::{
    Blake3, Content, Contents, Entry, Error as LayersError, Kind, MemoryContents, Meta, Time, Tree, TreePath,
};
use providers::Architecture;
use providers::distro::{Distro, Grub, Live};
use sandbox::Cancel;

use super::disk::Both;
use super::output::{self, Written};
use super::target::{Pending, Target};
use crate::boot::{self, Esp, Identity, kernels, os_release};
use crate::configure::grub;
use crate::context::Context;
use crate::error::{Error, ResultExt};
use crate::spec::ResolvedSpec;
use crate::spec::resolved::Format;

/// Level of zstd; mksquashfs's own is 15.
const LEVEL: i32 = 9;
/// What an EFI system partition is a multiple of, in bytes.
const ESP_UNIT_BYTES: u64 = 1 << 20;

/// What a medium is made of, besides the tree.
pub struct Making<'a> {
    /// The distribution.
    pub distro: &'a Distro,
    /// How it starts from live media.
    pub live: &'a Live,
    /// GRUB, where it is the boot loader.
    pub grub: Option<&'a Grub>,
    /// The machine that it is for.
    pub architecture: &'a Architecture,
    /// Where identifiers come from.
    pub identity: &'a Identity,
}

impl Making<'_> {
    /// What UEFI calls the machine in file names, such as `x64`.
    fn efi_suffix(&self) -> Result<&str, Error> {
        let facts = self.distro.architecture(self.architecture).to("read the provider's facts")?;
        Ok(&facts.efi_suffix)
    }
}

/// Writes the image.
///
/// # Errors
/// The image has no kernel, no initial ramdisk or no boot loader; what squashfs cannot hold; a full
/// disk.
pub fn write(
    spec: &ResolvedSpec,
    making: &Making<'_>,
    tree: &Tree,
    contents: &dyn Contents,
    target: &Target,
    cx: &Context,
) -> Result<Vec<Written>, Error> {
    let created = Time::seconds(cx.epoch());
    let mut generated = MemoryContents::default();
    let root = root(tree, contents, &mut generated, target, cx)?;
    let mut medium = Medium { tree: Tree::new(Meta::root_owned(0o755, created)), created };
    medium.put(&making.live.root, Kind::File(root.content))?;
    let title = os_release(tree, contents)?.title;
    let info = generated.add(format!("{title} - {}\n", spec.name));
    medium.put(".disk/info", Kind::File(info))?;
    let cmdline = cmdline(spec, making);
    let esp = match making.grub {
        Some(facts) => grub_files(making, facts, tree, &title, &cmdline, &mut medium, &mut generated)?,
        None => {
            let loader = making.distro.loader_path(making.architecture).to("read the provider's facts")?;
            let policy = boot::Boot {
                loader: TreePath::new(loader).to("name the boot loader")?,
                efi_suffix: making.efi_suffix()?,
                facts: &making.distro.boot,
                token: &making.distro.os,
                cmdline: &cmdline,
                xbootldr: false,
                epoch: cx.epoch(),
            };
            boot::esp(tree, contents, &policy)?
        }
    };
    let image = system_partition(&esp, making.identity, created).to("lay out the EFI system partition")?;
    let bios = match making.grub.and_then(|facts| Some((facts, facts.bios.as_ref()?))) {
        Some((facts, directory)) => Some(iso::BiosBoot {
            image: TreePath::new(boot::grub::disc_image(facts)).to("name GRUB's image for discs")?,
            hybrid: Some(boot::grub::hybrid(tree, contents, directory)?),
        }),
        None => None,
    };
    let options = iso::Options {
        application_id: format!("image-composer {}", env!("CARGO_PKG_VERSION")),
        disk_guid: making.identity.uuid("medium"),
        uefi: Some(iso::EfiImage { image: &image, guid: making.identity.uuid("EFI system partition of the medium") }),
        bios,
        ..iso::Options::new(&volume_id(spec.name.as_str()), created)
    };
    let plan = iso::plan(&medium.tree, &options).to("lay out the ISO image")?;
    let contents = Both(contents, &generated);
    let contents = Both(&contents, &esp.generated);
    output::write(spec, |format| format == Format::Iso, &plan, &Both(&contents, &root), target, cx)
}

/// The name that a desktop shows: at most 32 characters.
fn volume_id(name: &str) -> String {
    name.chars().take(32).collect()
}

fn cmdline(spec: &ResolvedSpec, making: &Making<'_>) -> String {
    let provider = making.live.cmdline.iter().chain(&making.distro.boot.cmdline).map(String::as_str);
    let own = spec.kernel.cmdline.iter().map(AsRef::as_ref);
    provider.chain(own).collect::<Vec<&str>>().join(" ")
}

/// The files of the medium.
struct Medium {
    tree: Tree,
    created: Time,
}

impl Medium {
    fn put(&mut self, path: &str, kind: Kind) -> Result<(), Error> {
        let path = TreePath::new(path).to("name a file of the medium")?;
        if let Some(parent) = path.parent() {
            let meta = Meta::root_owned(0o755, self.created);
            self.tree.create_directories(&parent, &meta).to("lay out the files of the medium")?;
        }
        let entry = Entry { kind, meta: Meta::root_owned(0o644, self.created) };
        self.tree.insert(path, entry).to("lay out the files of the medium")
    }
}

/// The squashfs file: a file without a name, beside what will have one.
struct Root {
    content: Content,
    pending: Pending,
}

impl Contents for Root {
    fn open(&self, content: &Content) -> Result<Box<dyn Read + Send>, LayersError> {
        match self.host_file(content)? {
            Some(file) => Ok(Box::new(file)),
            None => Err(LayersError::NoContent { digest: content.digest }),
        }
    }

    fn host_file(&self, content: &Content) -> Result<Option<File>, LayersError> {
        if *content != self.content {
            return Err(LayersError::NoContent { digest: content.digest });
        }
        reopened(&self.pending).map(Some)
    }
}

/// Contents that end when the build is told to end.
struct Watched<'a>(&'a dyn Contents, &'a Cancel);

impl Contents for Watched<'_> {
    fn open(&self, content: &Content) -> Result<Box<dyn Read + Send>, LayersError> {
        if self.1.is_cancelled() {
            let source = std::io::ErrorKind::Interrupted.into();
            return Err(LayersError::Io { action: "finish", path: "the image".into(), source });
        }
        Ok(Box::new(WatchedBytes(self.0.open(content)?, self.1.clone())))
    }
}

/// The bytes of a file, as long as the build goes on.
struct WatchedBytes(Box<dyn Read + Send>, Cancel);

impl Read for WatchedBytes {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        match self.1.is_cancelled() {
            // Not `Interrupted`: that one is tried again.
            true => Err(std::io::Error::other("the build was told to end")),
            false => self.0.read(buffer),
        }
    }
}

/// The file once more, read from its start.
fn reopened(pending: &Pending) -> Result<File, LayersError> {
    use std::os::fd::AsRawFd;
    let path = format!("/proc/self/fd/{}", pending.file().as_raw_fd());
    File::open(path).map_err(|source| LayersError::Io { action: "open again", path: pending.path().into(), source })
}

fn root(
    tree: &Tree,
    contents: &dyn Contents,
    generated: &mut MemoryContents,
    target: &Target,
    cx: &Context,
) -> Result<Root, Error> {
    let tree = without_disk(tree, generated)?;
    tell_left_out(&tree, cx);
    let pending = target.begin("filesystem.squashfs")?;
    let options = squashfs::Options {
        level: LEVEL,
        other_attributes: OtherAttributes::LeaveOut,
        ..squashfs::Options::new(Time::seconds(cx.epoch()), cx.parallel)
    };
    let contents = Both(contents, &*generated);
    let size = squashfs::write(&tree, &Watched(&contents, &cx.cancel), &options, pending.file(), pending.path())
        .map_err(|error| Error::build("failed to make the file system of the live image").caused_by(error))?;
    cx.check()?;
    let mut hasher = blake3::Hasher::new();
    let mut file = reopened(&pending).to("read the file system of the live image back")?;
    hasher.update_reader(&mut file).to("read the file system of the live image back")?;
    Ok(Root { content: Content { digest: Blake3(hasher.finalize().into()), size }, pending })
}

/// Says which extended attributes squashfs has no place for: the first, and how many there are.
fn tell_left_out(tree: &Tree, cx: &Context) {
    let held = |name: &[u8]| [&b"user."[..], b"trusted.", b"security."].iter().any(|prefix| name.starts_with(prefix));
    let mut lost = tree.iter().filter(|(_, entry)| entry.meta.xattrs.keys().any(|name| !held(name)));
    if let Some((first, _)) = lost.next() {
        let more = lost.count();
        let more = if more == 0 { String::new() } else { format!(" and {more} more") };
        cx.reporter.warn(&format!("a live image has no access control lists: lost at {first}{more}"));
    }
}

/// The tree as it runs from a medium: no disk of its own to mount or to grow.
pub(super) fn without_disk(tree: &Tree, generated: &mut MemoryContents) -> Result<Tree, Error> {
    let path = |text: &str| TreePath::new(text).to("name a file of the live image");
    let mut tree = tree.clone();
    tree.clear_below(&path("etc/repart.d")?);
    if let Some(entry) = tree.get_mut(&path("etc/fstab")?) {
        entry.kind = Kind::File(generated.add("# No disk of its own.\n"));
    }
    Ok(tree)
}

/// GRUB's files on the medium and on the EFI system partition.
fn grub_files(
    making: &Making<'_>,
    facts: &Grub,
    tree: &Tree,
    title: &str,
    cmdline: &str,
    medium: &mut Medium,
    generated: &mut MemoryContents,
) -> Result<Esp, Error> {
    let home = grub::medium(making.identity);
    if let boot::grub::Home::Medium(mark) = &home {
        medium.put(mark.trim_start_matches('/'), Kind::File(generated.add(Vec::new())))?;
    }
    let mut entries = Vec::new();
    for kernel in kernels(tree, &making.distro.boot) {
        let Some(initrd) = &kernel.initrd else { continue };
        let mut put = |path: &TreePath| -> Result<String, Error> {
            let place = format!("{}/{}", making.live.kernels, String::from_utf8_lossy(path.name()));
            let file =
                boot::file_at(tree, path).ok_or_else(|| Error::build(format!("failed to find {path} in the image")))?;
            medium.put(&place, file)?;
            Ok(format!("/{place}"))
        };
        let (image, initrd) = (put(&kernel.image)?, put(initrd)?);
        entries.push(boot::grub::Entry { release: kernel.release, kernel: image, initrd });
    }
    if entries.is_empty() {
        return Err(Error::build(format!(
            "failed to find a kernel with its initial ramdisk at {}",
            boot::kernel_places(&making.distro.boot)
        ))
        .hint("name a kernel package in `kernel.package`, such as linux-image-amd64"));
    }
    let menu = generated.add(boot::grub::menu(title, facts, &home, cmdline, &entries));
    medium.put(&format!("{}/grub.cfg", facts.home()), Kind::File(menu))?;
    let modules = TreePath::new(boot::grub::modules(facts)).to("name GRUB's modules")?;
    for (path, entry) in tree.children(&modules) {
        if let Kind::File(_) = entry.kind {
            medium.put(&String::from_utf8_lossy(path.as_bytes()), entry.kind.clone())?;
        }
    }
    let esp = boot::grub::esp(tree, facts, making.efi_suffix()?, &home, medium.created.seconds)?;
    // Started from a disc, GRUB takes the disc for where it came from, not the partition in it.
    let first = TreePath::new(facts.configuration()).to("name GRUB's first file")?;
    if let Some(Entry { kind, .. }) = esp.tree.get(&first) {
        medium.put(&String::from_utf8_lossy(first.as_bytes()), kind.clone())?;
    }
    Ok(esp)
}

/// The EFI system partition, as small as its files allow: nobody writes to it.
fn system_partition(esp: &Esp, identity: &Identity, created: Time) -> Result<fat::Plan, ImageError> {
    let options = |size| fat::Options {
        volume_id: identity.volume_id("EFI system partition of the medium"),
        label: "ESP".into(),
        created,
        ..fat::Options::new(size)
    };
    let mut size = ESP_UNIT_BYTES;
    loop {
        let least = fat::minimum_size_from(&esp.tree, &options(size), size)?;
        if least <= size {
            return fat::plan(&esp.tree, &options(size));
        }
        size = least.next_multiple_of(ESP_UNIT_BYTES);
    }
}
