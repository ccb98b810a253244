//! The EFI system partition's files (UEFI 2.10, section 3.5.1.1; Boot Loader Specification, type
//! 1 entries).

use std::collections::BTreeMap;

use layers::{Contents, Entry, Kind, MemoryContents, Meta, Time, Tree, TreePath};

use super::{InstalledKernel, kernel_places, kernels};
use providers::distro::Boot as Facts;

use crate::error::{Error, ResultExt};

/// What goes on the partitions that firmware and boot loader read.
pub struct Esp {
    /// Files of the EFI system partition.
    pub tree: Tree,
    /// Files of the extended boot loader partition, where there is one: kernels and their entries.
    pub xbootldr: Option<Tree>,
    /// The generated ones among them.
    pub generated: MemoryContents,
}

/// What the partition is made of.
pub struct Boot<'a> {
    /// The boot loader in the image, such as `usr/lib/systemd/boot/efi/systemd-bootx64.efi`.
    pub loader: TreePath,
    /// What UEFI calls the machine in file names, such as `x64`.
    pub efi_suffix: &'a str,
    /// Where kernels and their initial ramdisks are in the image.
    pub facts: &'a Facts,
    /// The directory and entry name that kernel-install uses (`/etc/kernel/entry-token`).
    pub token: &'a str,
    /// The kernel's command line.
    pub cmdline: &'a str,
    /// Whether there is an extended boot loader partition.
    pub xbootldr: bool,
    /// Time of every file, seconds since the epoch.
    pub epoch: i64,
}

/// The partition's files for a tree.
///
/// # Errors
/// The image has no kernel, no initial ramdisk or no boot loader.
pub fn esp(tree: &Tree, contents: &dyn Contents, boot: &Boot<'_>) -> Result<Esp, Error> {
    let xbootldr = boot.xbootldr.then(Tree::default);
    let mut esp = Esp { tree: Tree::default(), xbootldr, generated: MemoryContents::default() };
    let found = kernels(tree, boot.facts);
    if found.is_empty() {
        return Err(Error::build(format!("failed to find a kernel in the image at {}", kernel_places(boot.facts)))
            .hint("name a kernel package in `kernel.package`, such as linux-image-cloud-amd64"));
    }
    let upper = boot.efi_suffix.to_ascii_uppercase();
    // As bootctl(1) does: the signed file where there is one.
    let signed = boot.loader.as_bytes().iter().chain(b".signed").copied().collect::<Vec<u8>>();
    let signed = TreePath::new(signed).to("name the boot loader")?;
    let loader = file_at(tree, &signed).or_else(|| file_at(tree, &boot.loader)).ok_or_else(|| {
        Error::build(format!("failed to find the boot loader in the image at {}", boot.loader))
            .hint("add the package that has it (systemd-boot) to customizations.packages.install")
    })?;
    put(&mut esp.tree, &format!("EFI/BOOT/BOOT{upper}.EFI"), loader.clone(), boot.epoch)?;
    put(&mut esp.tree, &format!("EFI/systemd/systemd-boot{}.efi", boot.efi_suffix), loader, boot.epoch)?;
    // No timeout would make another kernel unreachable; 3 seconds is what people expect.
    let settings = esp.generated.add("timeout 3\nconsole-mode keep\n");
    put(&mut esp.tree, "loader/loader.conf", Kind::File(settings), boot.epoch)?;
    esp.text("loader/entries.srel", "type1\n", boot.epoch)?;
    let release = os_release(tree, contents)?;
    for kernel in &found {
        esp.entry(tree, kernel, &release, boot)?;
    }
    Ok(esp)
}

impl Esp {
    /// Puts a file where kernels and their entries are looked for (Boot Loader Specification,
    /// "$BOOT").
    fn put(&mut self, path: &str, kind: Kind, epoch: i64) -> Result<(), Error> {
        put(self.xbootldr.as_mut().unwrap_or(&mut self.tree), path, kind, epoch)
    }

    fn text(&mut self, path: &str, text: &str, epoch: i64) -> Result<(), Error> {
        let content = self.generated.add(text);
        self.put(path, Kind::File(content), epoch)
    }

    fn entry(&mut self, tree: &Tree, kernel: &InstalledKernel, os: &OsRelease, boot: &Boot<'_>) -> Result<(), Error> {
        let missing = |what: &str| Error::build(format!("failed to find {what} of kernel {}", kernel.release));
        let (token, release) = (boot.token, kernel.release.as_str());
        let image = file_at(tree, &kernel.image).ok_or_else(|| missing("the image"))?;
        let initrd_path = kernel.initrd.as_ref().ok_or_else(|| {
            missing("the initial ramdisk").hint("is a generator (initramfs-tools) among the packages?")
        })?;
        let initrd = file_at(tree, initrd_path).ok_or_else(|| missing("the initial ramdisk"))?;
        let initrd_name = String::from_utf8_lossy(initrd_path.name()).into_owned();
        self.put(&format!("{token}/{release}/linux"), image, boot.epoch)?;
        self.put(&format!("{token}/{release}/{initrd_name}"), initrd, boot.epoch)?;
        // The fields and their order are kernel-install's own (90-loaderentry.install).
        let text = format!(
            "# Boot Loader Specification type#1 entry\n\
             title      {}\nversion    {release}\nsort-key   {}\noptions    {}\n\
             linux      /{token}/{release}/linux\ninitrd     /{token}/{release}/{initrd_name}\n",
            os.title, os.id, boot.cmdline
        );
        self.text(&format!("loader/entries/{token}-{release}.conf"), &text, boot.epoch)
    }
}

pub(super) fn put(tree: &mut Tree, path: &str, kind: Kind, epoch: i64) -> Result<(), Error> {
    let path = TreePath::new(path).to("name a file for the boot loader")?;
    let meta = Meta::root_owned(0o755, Time::seconds(epoch));
    if let Some(parent) = path.parent() {
        tree.create_directories(&parent, &meta).to("lay out the files of the boot loader")?;
    }
    tree.insert(path, Entry { kind, meta }).to("lay out the files of the boot loader")
}

/// Lays what a boot partition holds over what the image has at its mount point.
///
/// # Errors
/// A file is where a directory must be.
pub fn lay_over(below: &mut Tree, over: &Tree) -> Result<(), Error> {
    for (path, entry) in over.iter() {
        if !(entry.is_directory() && below.get(path).is_some_and(Entry::is_directory)) {
            below.insert(path.clone(), entry.clone()).to("lay out the files of the boot loader")?;
        }
    }
    Ok(())
}

/// As [`lay_over`] on a FAT file system, where names that differ in case only are one: what lies over
/// takes the place, and keeps its own spelling. Packages put `bootx64.efi` where the standard says
/// `BOOTX64.EFI`.
///
/// # Errors
/// A file is where a directory must be.
pub fn lay_over_fat(below: &mut Tree, over: &Tree) -> Result<(), Error> {
    let folded = |path: &TreePath| String::from_utf8_lossy(path.as_bytes()).to_lowercase();
    let mut spelt: BTreeMap<String, TreePath> = below.iter().map(|(path, _)| (folded(path), path.clone())).collect();
    for (path, entry) in over.iter() {
        let parent = path.parent().and_then(|parent| spelt.get(&folded(&parent)).cloned());
        let place = match parent {
            Some(parent) => parent.join(path.name()).to("lay out the files of the boot loader")?,
            None => path.clone(),
        };
        if let Some(known) = spelt.get(&folded(path)) {
            if entry.is_directory() && below.get(known).is_some_and(Entry::is_directory) {
                continue;
            }
            below.remove(known);
        }
        below.insert(place.clone(), entry.clone()).to("lay out the files of the boot loader")?;
        spelt.insert(folded(path), place);
    }
    Ok(())
}

/// Where packages put files for the EFI system partition, without asking where it is mounted.
const USUAL_MOUNT: &str = "boot/efi";

/// What packages have put at the usual mount point of the EFI system partition, when that is not
/// where it is mounted: its files reach it nevertheless.
///
/// # Errors
/// None but those of paths.
pub fn usual_files(tree: &Tree, mount: Option<&TreePath>) -> Result<Tree, Error> {
    let usual = TreePath::new(USUAL_MOUNT).to("name a file for the boot loader")?;
    let mut files = Tree::default();
    if mount == Some(&usual) {
        return Ok(files);
    }
    for (path, entry) in tree.below(&usual) {
        let Some(rest) = path.as_bytes().strip_prefix(usual.as_bytes()) else { continue };
        let rest = TreePath::new(rest).to("name a file for the boot loader")?;
        // FAT has no links: what they lead to is meant.
        let kind = match entry.is_directory() {
            true => Some(Kind::Directory),
            false => file_at(tree, path),
        };
        if let (Some(kind), false) = (kind, rest.is_root()) {
            let meta = entry.meta.clone();
            files.insert(rest, Entry { kind, meta }).to("lay out the files of the boot loader")?;
        }
    }
    Ok(files)
}

/// The file at a path, links followed.
pub fn file_at(tree: &Tree, path: &TreePath) -> Option<Kind> {
    let path = tree.resolve(path).ok()?;
    match &tree.get(&path)?.kind {
        file @ Kind::File(_) => Some(file.clone()),
        Kind::HardLink(target) => tree.get(target).map(|entry| entry.kind.clone()),
        _ => None,
    }
}

/// The names of a system.
pub struct OsRelease {
    /// `ID`.
    pub id: String,
    /// `PRETTY_NAME`.
    pub title: String,
}

/// Reads os-release(5).
///
/// # Errors
/// The file cannot be read.
pub fn os_release(tree: &Tree, contents: &dyn Contents) -> Result<OsRelease, Error> {
    let mut release = OsRelease { id: "linux".into(), title: "Linux".into() };
    let path = TreePath::new("etc/os-release").to("name os-release")?;
    if let Some(Kind::File(content)) = file_at(tree, &path) {
        let mut text = String::new();
        let mut reader = std::io::Read::take(contents.open(&content).to("open os-release")?, 64 << 10);
        std::io::Read::read_to_string(&mut reader, &mut text).to("read os-release")?;
        for line in text.lines() {
            let Some((name, value)) = line.split_once('=') else { continue };
            let value = value.trim().trim_matches(['"', '\'']).to_owned();
            match name {
                "ID" => release.id = value,
                "PRETTY_NAME" => release.title = value,
                _ => {}
            }
        }
    }
    Ok(release)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> TreePath {
        TreePath::new(text).unwrap()
    }

    fn facts() -> Facts {
        crate::boot::tests::facts("/boot/vmlinuz-{release}", &[], "/boot/initrd.img-{release}")
    }

    fn boot(facts: &Facts) -> Boot<'_> {
        Boot {
            loader: path("usr/lib/systemd/boot/efi/systemd-bootx64.efi"),
            efi_suffix: "x64",
            facts,
            token: "debian",
            cmdline: "root=UUID=1 ro",
            xbootldr: false,
            epoch: 1,
        }
    }

    #[test]
    fn files_lie_where_kernel_install_puts_them() {
        let mut contents = MemoryContents::default();
        let mut tree = Tree::default();
        let meta = Meta::root_owned(0o755, Time::default());
        for name in ["boot/vmlinuz-6.1", "boot/initrd.img-6.1", "usr/lib/systemd/boot/efi/systemd-bootx64.efi"] {
            let at = path(name);
            tree.create_directories(&at.parent().unwrap(), &meta).unwrap();
            tree.insert(at, Entry::file(contents.add(name), meta.clone())).unwrap();
        }
        let facts = facts();
        let made = esp(&tree, &contents, &boot(&facts)).unwrap();
        let files = |tree: &Tree| -> Vec<String> {
            tree.iter().filter(|(_, e)| !e.is_directory()).map(|(p, _)| p.to_string()).collect()
        };
        assert_eq!(
            files(&made.tree),
            [
                "/EFI/BOOT/BOOTX64.EFI",
                "/EFI/systemd/systemd-bootx64.efi",
                "/debian/6.1/initrd.img-6.1",
                "/debian/6.1/linux",
                "/loader/entries/debian-6.1.conf",
                "/loader/entries.srel",
                "/loader/loader.conf",
            ]
        );
        // With a second partition, the loader and its settings stay, and kernels go there.
        let split = esp(&tree, &contents, &Boot { xbootldr: true, ..boot(&facts) }).unwrap();
        assert_eq!(
            files(&split.tree),
            ["/EFI/BOOT/BOOTX64.EFI", "/EFI/systemd/systemd-bootx64.efi", "/loader/loader.conf"]
        );
        assert_eq!(
            files(&split.xbootldr.unwrap()),
            [
                "/debian/6.1/initrd.img-6.1",
                "/debian/6.1/linux",
                "/loader/entries/debian-6.1.conf",
                "/loader/entries.srel"
            ]
        );
        tree.remove(&path("boot/initrd.img-6.1"));
        assert!(esp(&tree, &contents, &boot(&facts)).is_err());
    }

    fn with(paths: &[(&str, &str)]) -> Tree {
        let mut tree = Tree::default();
        let meta = Meta::root_owned(0o755, Time::default());
        for (at, content) in paths {
            let at = path(at);
            tree.create_directories(&at.parent().unwrap(), &meta).unwrap();
            tree.insert(at, Entry::file(layers::Content::of(content.as_bytes()), meta.clone())).unwrap();
        }
        tree
    }

    fn sizes(tree: &Tree) -> Vec<String> {
        let files = tree.iter().filter_map(|(path, entry)| match &entry.kind {
            Kind::File(content) => Some(format!("{path} {}", content.size)),
            _ => None,
        });
        files.collect()
    }

    #[test]
    fn on_fat_our_loader_takes_the_place_of_the_packages_whatever_its_case() {
        let mut below = with(&[
            ("EFI/BOOT/bootx64.efi", "package's"),
            ("EFI/BOOT/grubx64.efi", "package's"),
            ("EFI/azure/BOOTX64.CSV", "package's"),
            ("Loader", "a file"),
        ]);
        let over = with(&[("EFI/BOOT/BOOTX64.EFI", "own"), ("EFI/Azure/x", "own"), ("loader/loader.conf", "own")]);
        lay_over_fat(&mut below, &over).unwrap();
        assert_eq!(
            sizes(&below),
            [
                "/EFI/BOOT/BOOTX64.EFI 3",
                "/EFI/BOOT/grubx64.efi 9",
                "/EFI/azure/BOOTX64.CSV 9",
                "/EFI/azure/x 3",
                "/loader/loader.conf 3",
            ]
        );
    }

    #[test]
    fn what_packages_put_at_the_usual_place_reaches_the_partition() {
        let mut tree = with(&[("boot/efi/EFI/BOOT/bootx64.efi", "shim"), ("boot/vmlinuz", "kernel")]);
        let link = Kind::Symlink(b"bootx64.efi".as_slice().into());
        let meta = Meta::root_owned(0o777, Time::default());
        tree.insert(path("boot/efi/EFI/BOOT/shimx64.efi"), Entry { kind: link, meta }).unwrap();
        let found = |mount: Option<&str>| sizes(&usual_files(&tree, mount.map(path).as_ref()).unwrap());
        let both = ["/EFI/BOOT/bootx64.efi 4", "/EFI/BOOT/shimx64.efi 4"];
        assert_eq!(found(Some("efi")), both);
        assert_eq!(found(None), both);
        assert!(found(Some("boot/efi")).is_empty());
    }
}
