//! GRUB: shim and the signed image on the EFI system partition, and the code for a BIOS.
//!
//! The files lie where grub-install(8) puts them, so that it finds them inside the running image.
//! Source of the BIOS part: GRUB's include/grub/i386/pc/boot.h and grub_util_bios_setup in
//! util/setup.c.

use std::io::Read;

use layers::{Contents, Kind, MemoryContents, Tree, TreePath};
use providers::distro::Grub;
use uuid::Uuid;

use super::esp::{Esp, file_at, put};
use crate::error::{Error, ResultExt};

/// The directory of GRUB's modules for a BIOS in the image.
pub fn modules(grub: &Grub) -> String {
    format!("{}/i386-pc", grub.home())
}

/// Where the core image for a BIOS and a disk is made, as grub-install(8) does.
pub fn core_image(grub: &Grub) -> String {
    format!("{}/core.img", modules(grub))
}

/// Where that for a BIOS and a disc is made, as grub-mkrescue(1) does.
pub fn disc_image(grub: &Grub) -> String {
    format!("{}/eltorito.img", modules(grub))
}

/// Bytes of a sector, as a BIOS reads them.
const SECTOR: usize = 512;
/// Bytes of the first sector that are code; the rest is the partition table.
pub const BOOT_CODE_BYTES: usize = 440;
/// Where the first sector says at which sector the core image begins (`GRUB_BOOT_MACHINE_KERNEL_SECTOR`).
const KERNEL_SECTOR_AT: usize = 0x5c;
/// Where it jumps past its check of the drive's number (`GRUB_BOOT_MACHINE_DRIVE_CHECK`).
const DRIVE_CHECK_AT: usize = 0x66;
/// Two instructions that do nothing: some BIOSes give the wrong number, and the check corrects it.
const NO_JUMP: [u8; 2] = [0x90, 0x90];
/// Where the core image's first sector lists the rest of it (`GRUB_BOOT_MACHINE_LIST_SIZE` before its end):
/// first sector, number of sectors, segment to load them to.
const LIST_AT: usize = SECTOR - 12;
/// The segment behind the first sector (`GRUB_BOOT_MACHINE_KERNEL_SEG` and 512 bytes).
const REST_SEGMENT: u16 = 0x820;
/// Largest core image that is taken, in bytes: what a BIOS can load below 640 KiB.
const CORE_BYTES_MAX: u64 = 480 << 10;

/// The EFI system partition's files.
///
/// # Errors
/// The image lacks one of them.
pub fn esp(tree: &Tree, grub: &Grub, efi_suffix: &str, home: &Home, epoch: i64) -> Result<Esp, Error> {
    let mut esp = Esp { tree: Tree::default(), xbootldr: None, generated: MemoryContents::default() };
    let upper = efi_suffix.to_ascii_uppercase();
    let vendor = grub.vendor.as_ref().map(|vendor| format!("EFI/{vendor}"));
    let (shim, loader) = (file(tree, &grub.shim)?, file(tree, &grub.loader)?);
    let manager = grub.mok_manager.as_ref().map(|path| file(tree, path)).transpose()?;
    put(&mut esp.tree, &format!("EFI/BOOT/BOOT{upper}.EFI"), shim.clone(), epoch)?;
    if let Some(vendor) = &vendor {
        put(&mut esp.tree, &format!("{vendor}/shim{efi_suffix}.efi"), shim, epoch)?;
    }
    for directory in std::iter::once("EFI/BOOT").chain(vendor.as_deref()) {
        // Shim looks for both beside itself, by these names.
        put(&mut esp.tree, &format!("{directory}/grub{efi_suffix}.efi"), loader.clone(), epoch)?;
        if let Some(manager) = &manager {
            put(&mut esp.tree, &format!("{directory}/mm{efi_suffix}.efi"), manager.clone(), epoch)?;
        }
    }
    let settings = esp.generated.add(home.find(grub) + "configfile $prefix/grub.cfg\n");
    put(&mut esp.tree, &grub.configuration(), Kind::File(settings), epoch)?;
    Ok(esp)
}

/// Where GRUB finds its own directory, and kernels.
#[derive(Clone, Debug)]
pub enum Home {
    /// On the file system with this UUID, in this directory of it (`/boot`, or nothing).
    FileSystem(Uuid, &'static str),
    /// On the medium that has this file, in `/boot`.
    Medium(String),
}

impl Home {
    /// What stands before the paths of files that are below `/boot` in a running system.
    pub fn prefix(&self) -> &str {
        match self {
            Self::FileSystem(_, prefix) => prefix,
            Self::Medium(_) => "/boot",
        }
    }

    /// GRUB's directory there.
    pub fn directory(&self, grub: &Grub) -> String {
        format!("{}/{}", self.prefix(), grub.below_boot())
    }

    /// Commands for a core image or for the first file that is read.
    pub fn find(&self, grub: &Grub) -> String {
        let search = match self {
            Self::FileSystem(uuid, _) => format!("search.fs_uuid {uuid} root"),
            Self::Medium(file) => format!("search.file {file} root"),
        };
        format!("{search}\nset prefix=($root)'{}'\n", self.directory(grub))
    }

    /// The command of a menu's entry.
    fn search(&self) -> String {
        match self {
            Self::FileSystem(uuid, _) => format!("search --no-floppy --fs-uuid --set=root {uuid}"),
            Self::Medium(file) => format!("search --no-floppy --file --set=root {file}"),
        }
    }
}

fn file(tree: &Tree, path: &str) -> Result<Kind, Error> {
    let path = TreePath::new(path).to("name a file of the boot loader")?;
    file_at(tree, &path).ok_or_else(|| {
        Error::build(format!("failed to find the boot loader in the image at {path}"))
            .hint("is one of its packages in customizations.packages.remove?")
    })
}

/// What a BIOS runs: code of the first sector, and the image that it loads.
#[derive(Clone, Debug)]
pub struct Bios {
    boot: Vec<u8>,
    core: Vec<u8>,
}

impl Bios {
    /// Takes it from a tree in which `grub-mkimage` has run.
    ///
    /// # Errors
    /// It is not there, or no core image.
    pub fn of(tree: &Tree, contents: &dyn Contents, grub: &Grub, directory: &str) -> Result<Self, Error> {
        let boot = bytes(tree, contents, &format!("{directory}/boot.img"), SECTOR as u64)?;
        let mut core = bytes(tree, contents, &core_image(grub), CORE_BYTES_MAX)?;
        if boot.len() != SECTOR || core.len() <= SECTOR {
            return Err(Error::build("failed to use GRUB's images: they are too short"));
        }
        // Whole sectors are loaded.
        core.resize(core.len().div_ceil(SECTOR) * SECTOR, 0);
        Ok(Self { boot, core })
    }

    /// Bytes that the partition for it needs.
    pub fn bytes(&self) -> u64 {
        self.core.len() as u64
    }

    /// The code of the first sector, for a core image at a byte of the disk.
    pub fn first_sector(&self, start: u64) -> Vec<u8> {
        let mut code = self.boot[..BOOT_CODE_BYTES].to_vec();
        code[KERNEL_SECTOR_AT..KERNEL_SECTOR_AT + 8].copy_from_slice(&(start / SECTOR as u64).to_le_bytes());
        code[DRIVE_CHECK_AT..DRIVE_CHECK_AT + 2].copy_from_slice(&NO_JUMP);
        code
    }

    /// The core image, for that byte of the disk.
    pub fn core_image(&self, start: u64) -> Vec<u8> {
        let mut core = self.core.clone();
        // At most 960 sectors.
        let rest = (core.len() / SECTOR - 1) as u16;
        core[LIST_AT..LIST_AT + 8].copy_from_slice(&(start / SECTOR as u64 + 1).to_le_bytes());
        core[LIST_AT + 8..LIST_AT + 10].copy_from_slice(&rest.to_le_bytes());
        core[LIST_AT + 10..LIST_AT + 12].copy_from_slice(&REST_SEGMENT.to_le_bytes());
        core
    }
}

/// What starts a disc that is written to a USB stick under a BIOS: GRUB's boot_hybrid.img.
///
/// # Errors
/// It is not there.
pub fn hybrid(tree: &Tree, contents: &dyn Contents, directory: &str) -> Result<Vec<u8>, Error> {
    bytes(tree, contents, &format!("{directory}/boot_hybrid.img"), SECTOR as u64)
}

fn bytes(tree: &Tree, contents: &dyn Contents, path: &str, most: u64) -> Result<Vec<u8>, Error> {
    let Kind::File(content) = file(tree, path)? else { return Ok(Vec::new()) };
    if content.size > most {
        return Err(Error::build(format!("failed to use /{path}: it is larger than {most} bytes")));
    }
    let mut bytes = Vec::new();
    let mut reader = contents.open(&content).to("open GRUB's image")?;
    reader.read_to_end(&mut bytes).to("read GRUB's image")?;
    Ok(bytes)
}

/// A kernel in GRUB's menu.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// `uname -r`.
    pub release: String,
    /// Paths of kernel and initrd on the file system that GRUB reads.
    pub kernel: String,
    /// See `kernel`.
    pub initrd: String,
}

/// GRUB's menu as it is until update-grub(8) makes another, the newest kernel first.
pub fn menu(title: &str, grub: &Grub, home: &Home, cmdline: &str, entries: &[Entry]) -> String {
    let writer = menu_writer(grub);
    let mut text = format!("# Made with the image; {writer} writes over it.\nset default=0\nset timeout=3\n");
    if let Some(speed) = serial_speed(cmdline) {
        text.push_str(&format!(
            "serial --unit=0 --speed={speed}\nterminal_input console serial\nterminal_output console serial\n"
        ));
    }
    let (search, cmdline) = (home.search(), escaped(cmdline));
    for entry in entries.iter().rev() {
        let Entry { release, kernel, initrd } = entry;
        text.push_str(&format!(
            "\nmenuentry '{}, with Linux {release}' {{\n\t{search}\n\
             \tlinux {kernel} {cmdline}\n\tinitrd {initrd}\n}}\n",
            title.replace('\'', "")
        ));
    }
    text
}

/// The program that makes menus in a running image: Debian has its own name for it.
pub fn menu_writer(grub: &Grub) -> String {
    match grub.programs.as_str() {
        "grub" => "update-grub(8)".into(),
        programs => format!("{programs}-mkconfig(8)"),
    }
}

/// Words as GRUB's scripts take them: what has a meaning there stands behind a backslash (GRUB
/// manual, "Quoting").
pub fn escaped(words: &str) -> String {
    let special = |c: &char| "{}|&$;<>\"'\\#()*?[]~`".contains(*c);
    words.chars().flat_map(|c| Some('\\').filter(|_| special(&c)).into_iter().chain([c])).collect()
}

/// The speed of the first serial line, where the kernel's console is on it.
pub fn serial_speed(cmdline: &str) -> Option<u32> {
    let console = cmdline.split(' ').find_map(|word| word.strip_prefix("console=ttyS0"))?;
    let digits: String = console.trim_start_matches(',').chars().take_while(char::is_ascii_digit).collect();
    // The kernel's own default (Documentation/admin-guide/serial-console.rst).
    Some(digits.parse().unwrap_or(9600))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(prefix: Option<&str>) -> Grub {
        let debian = prefix.is_none();
        Grub {
            packages: Vec::new(),
            vendor: debian.then(|| "debian".into()),
            prefix: prefix.map(str::to_owned),
            directory: if debian { "/boot/grub" } else { "/boot/grub2" }.into(),
            programs: if debian { "grub" } else { "grub2" }.into(),
            shim: "/usr/lib/shim".into(),
            loader: "/usr/lib/grub".into(),
            mok_manager: debian.then(|| "/usr/lib/mm".into()),
            bios: None,
        }
    }

    #[test]
    fn each_signed_image_finds_its_configuration() {
        let (mut tree, mut contents) = (Tree::default(), MemoryContents::default());
        let meta = layers::Meta::root_owned(0o755, layers::Time::default());
        for name in ["usr/lib/shim", "usr/lib/grub", "usr/lib/mm"] {
            let path = TreePath::new(name).unwrap();
            tree.create_directories(&path.parent().unwrap(), &meta).unwrap();
            tree.insert(path, layers::Entry::file(contents.add(name), meta.clone())).unwrap();
        }
        let home = Home::FileSystem(Uuid::nil(), "/boot");
        let made = |facts: &Grub| {
            let made = esp(&tree, facts, "x64", &home, 1).unwrap();
            let files = made.tree.iter().filter(|(_, entry)| !entry.is_directory());
            let paths: Vec<String> = files.map(|(path, _)| path.to_string()).collect();
            let settings = made.tree.get(&TreePath::new(facts.configuration()).unwrap()).unwrap();
            let Kind::File(content) = &settings.kind else { panic!("{settings:?}") };
            let mut text = String::new();
            made.generated.open(content).unwrap().read_to_string(&mut text).unwrap();
            (paths, text)
        };
        let (paths, text) = made(&facts(Some("/boot/grub2")));
        assert_eq!(paths, ["/EFI/BOOT/BOOTX64.EFI", "/EFI/BOOT/grubx64.efi", "/boot/grub2/grub.cfg"]);
        assert!(text.ends_with(" root\nset prefix=($root)'/boot/grub2'\nconfigfile $prefix/grub.cfg\n"), "{text}");
        let (paths, text) = made(&facts(None));
        assert_eq!(
            paths,
            [
                "/EFI/BOOT/BOOTX64.EFI",
                "/EFI/BOOT/grubx64.efi",
                "/EFI/BOOT/mmx64.efi",
                "/EFI/debian/grub.cfg",
                "/EFI/debian/grubx64.efi",
                "/EFI/debian/mmx64.efi",
                "/EFI/debian/shimx64.efi",
            ]
        );
        assert!(text.contains("($root)'/boot/grub'\n"), "{text}");
    }

    #[test]
    fn code_is_told_where_the_core_image_lies() {
        let bios = Bios { boot: vec![0xee; 512], core: vec![0xdd; 3 * 512] };
        let first = bios.first_sector(2 << 20);
        assert_eq!(first.len(), 440);
        assert_eq!(first[0x5c..0x64], 4096u64.to_le_bytes());
        assert_eq!(first[0x66..0x68], [0x90, 0x90]);
        let core = bios.core_image(2 << 20);
        assert_eq!(core[0x1f4..0x1fc], 4097u64.to_le_bytes());
        assert_eq!(core[0x1fc..0x200], [2, 0, 0x20, 0x08]);
        assert_eq!(core[512..], vec![0xdd; 1024]);
    }

    #[test]
    fn the_menu_speaks_on_the_kernels_console() {
        assert_eq!(serial_speed("root=x console=ttyS0,115200n8 quiet"), Some(115_200));
        assert_eq!(serial_speed("console=ttyS0"), Some(9600));
        assert_eq!(serial_speed("console=tty0"), None);
        let entry = |release: &str| Entry {
            release: release.into(),
            kernel: format!("/boot/vmlinuz-{release}"),
            initrd: format!("/boot/initrd.img-{release}"),
        };
        assert_eq!(escaped("a=b|c quiet memmap=64K$0x1"), "a=b\\|c quiet memmap=64K\\$0x1");
        let text = menu(
            "Bob's Linux",
            &facts(None),
            &Home::FileSystem(Uuid::nil(), ""),
            "root=x ro",
            &[entry("6.1"), entry("6.12")],
        );
        assert!(text.find("with Linux 6.12'").unwrap() < text.find("with Linux 6.1'").unwrap(), "{text}");
        assert!(text.contains("menuentry 'Bobs Linux, with") && text.contains("linux /boot/vmlinuz-6.1 root=x ro\n"));
    }
}
