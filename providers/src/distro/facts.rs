//! The shape of a provider file. Every field is a fact about a release; what follows from the
//! facts is decided elsewhere.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{Architecture, Error, PathPattern, RepositoryFacts, ScaffoldFile, VolatilePath};

/// The format of provider files that this program reads.
pub(super) const FORMAT: u32 = 1;

/// One release of one distribution.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Distro {
    /// The format of the file; [`FORMAT`].
    pub format: u32,
    /// The name that specs use, such as `debian`.
    pub os: String,
    /// The release that specs name, such as `13`: text, so that 24.10 is not 24.1.
    pub version: String,
    /// Other names of the release, such as `trixie`.
    #[serde(default)]
    pub aliases: BTreeSet<String>,
    /// For people, such as `Debian 13 (trixie)`.
    pub title: String,
    /// What an image of it says that it is, where that is not `os` and `version`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub os_release: Option<OsRelease>,
    /// The family of its packages.
    pub family: Family,
    /// Where its packages are, in order of preference.
    pub repositories: Vec<RepositoryFacts>,
    /// What it exists for.
    pub architectures: BTreeMap<Architecture, ArchitectureFacts>,
    /// The default packages of each variant that specs can name as `image.base.type`.
    pub variants: BTreeMap<Variant, VariantFacts>,
    /// The base set: the cut point of the configure order after the essential packages. Names that a
    /// package set does not contain are passed over. Of the rpm family, those of the default packages on
    /// which others build without saying so; where it is empty, all of them.
    #[serde(default)]
    pub base_set: BTreeSet<String>,
    /// Kernel packages.
    pub kernel: Kernel,
    /// Boot files and the kernel's command line.
    pub boot: Boot,
    /// How the initial ramdisk is made.
    pub initramfs: Initramfs,
    /// The file system that the release's own tools would make.
    pub ext4: Ext4,
    /// Directories that the release has merged into /usr: the link's name and where it points,
    /// both relative to the root.
    #[serde(default)]
    pub merged_usr: BTreeMap<String, String>,
    /// The network interfaces that are configured when a spec names none, as a pattern of
    /// systemd.network(5), such as `en*`.
    #[serde(default = "ethernet")]
    pub network_match: String,
    /// What is particular about its rpm; only in the rpm family.
    #[serde(default)]
    pub rpm: RpmFacts,
    /// Questions answered before packages are configured.
    #[serde(default)]
    pub debconf: Vec<DebconfAnswer>,
    /// Files that stand there while packages are configured.
    #[serde(default)]
    pub scaffold: Vec<ScaffoldFile>,
    /// What must not be in an image as it was left behind.
    #[serde(default)]
    pub volatile: Vec<VolatilePath>,
}

/// What a system says that it is (os-release(5)).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OsRelease {
    /// `ID`.
    pub id: String,
    /// `VERSION_ID`.
    pub version: String,
}

/// A family of packages: what there is code for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Family {
    /// dpkg and apt.
    Deb,
    /// rpm and dnf.
    Rpm,
}

impl Family {
    /// Whether images can be built of its packages.
    pub fn is_supported(self) -> bool {
        match self {
            Self::Deb => true,
            Self::Rpm => true,
        }
    }

    /// Whether images that the family's own tools make have recommended packages, unless told not to.
    pub fn takes_recommends(self) -> bool {
        match self {
            // debootstrap and mmdebstrap take none.
            Self::Deb => false,
            // dnf and tdnf do (dnf.conf(5), `install_weak_deps`).
            Self::Rpm => true,
        }
    }

    /// The name that provider files use.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Deb => "deb",
            Self::Rpm => "rpm",
        }
    }
}

/// What kind of base a spec asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Variant {
    /// What a machine needs to boot and to be reached.
    Minimal,
    /// What people expect on a server that they log in to.
    Server,
}

impl Variant {
    /// The name that specs use.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Minimal => "minimal",
            Self::Server => "server",
        }
    }
}

fn ethernet() -> String {
    "en*".into()
}

/// What depends on the architecture.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ArchitectureFacts {
    /// What `uname -m` says, such as `x86_64`.
    pub machine: String,
    /// The kernel package taken when the spec names none.
    pub kernel: String,
    /// The partition type of the root file system by its name in the Discoverable Partitions
    /// Specification, such as `root-x86-64`.
    pub root_type: String,
    /// What UEFI calls the machine in file names, such as `x64` (UEFI 2.10, section 3.5.1.1).
    pub efi_suffix: String,
}

/// The default packages of a variant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VariantFacts {
    /// For people.
    pub description: String,
    /// Their names.
    pub packages: BTreeSet<String>,
}

/// Kernel packages.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Kernel {
    /// Names of packages that are, or stand for, kernels; a trailing `*` stands for any rest.
    pub packages: Vec<String>,
    /// The kernel meant for virtual machines, per architecture, where there is one.
    #[serde(default)]
    pub cloud: BTreeMap<Architecture, String>,
}

impl Kernel {
    /// Whether a package of this name is a kernel.
    pub fn matches(&self, name: &str) -> bool {
        self.packages.iter().any(|pattern| matches_name(pattern, name))
    }
}

/// Whether a package's name fits a pattern: a name, with a `*` at its end or its beginning perhaps.
fn matches_name(pattern: &str, name: &str) -> bool {
    match (pattern.strip_suffix('*'), pattern.strip_prefix('*')) {
        (Some(start), _) => name.starts_with(start),
        (None, Some(end)) => name.ends_with(end),
        (None, None) => name == pattern,
    }
}

/// Boot files and the kernel's command line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Boot {
    /// The package that holds the boot loader's file.
    pub package: String,
    /// Path of the boot loader in the image; `{efi}` stands for
    /// [`ArchitectureFacts::efi_suffix`].
    pub loader: String,
    /// Where packages put the kernel image in the image; `{release}` stands for the kernel release.
    pub kernel: String,
    /// Where else it may be, in order of preference: for kernels that are not there, because the
    /// package leaves it to kernel-install(8) to put them there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub kernel_elsewhere: Vec<String>,
    /// Where the generator puts the initial ramdisk; `{release}` likewise.
    pub initrd: String,
    /// The kernel's command line, without the root file system.
    pub cmdline: Vec<String>,
    /// GRUB, for the architectures that images can have it on.
    #[serde(default)]
    pub grub: BTreeMap<Architecture, Grub>,
    /// How it starts from a medium that is not written to, where it can.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub live: Option<Live>,
}

/// Live media: the root is a squashfs file on them, below a layer in memory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Live {
    /// The packages with which the initial ramdisk finds the root.
    pub packages: Vec<String>,
    /// What tells the initial ramdisk to do so, in place of `root=`.
    pub cmdline: Vec<String>,
    /// Path of the squashfs file on the medium.
    pub root: String,
    /// The directory of kernels and initial ramdisks on the medium.
    pub kernels: String,
}

/// GRUB as the release ships it: signed for UEFI, behind shim, and where there is one for a BIOS.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Grub {
    /// The packages that hold it.
    pub packages: Vec<String>,
    /// The directory below `EFI` that belongs to the distribution, where it has one besides `BOOT`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vendor: Option<String>,
    /// The directory of the EFI system partition in which the signed image looks for its
    /// configuration (`grub-mkimage --prefix`); that of the vendor when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefix: Option<String>,
    /// The directory of its own files in the image, below `/boot`.
    #[serde(default = "grub_directory")]
    pub directory: String,
    /// What the names of its programs begin with, as in `grub-mkimage`.
    #[serde(default = "grub_programs")]
    pub programs: String,
    /// Path of the signed first stage in the image.
    pub shim: String,
    /// Path of the signed image that shim starts.
    pub loader: String,
    /// Path of the manager of a machine's own keys, which shim starts when asked to, where it is
    /// shipped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mok_manager: Option<String>,
    /// The directory of its images and modules for a BIOS (platform i386-pc).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bios: Option<String>,
}

fn grub_directory() -> String {
    "/boot/grub".into()
}

fn grub_programs() -> String {
    "grub".into()
}

impl Grub {
    /// Where the signed image looks for its configuration on the EFI system partition, without a
    /// leading slash.
    pub fn configuration(&self) -> String {
        let directory = match (&self.prefix, &self.vendor) {
            (Some(prefix), _) => prefix.trim_matches('/').to_owned(),
            (None, vendor) => format!("EFI/{}", vendor.as_deref().unwrap_or("BOOT")),
        };
        format!("{directory}/grub.cfg")
    }

    /// The directory of its own files as seen from `/boot`, such as `grub`.
    pub fn below_boot(&self) -> &str {
        let directory = self.directory.trim_matches('/');
        directory.strip_prefix("boot/").unwrap_or(directory)
    }

    /// The directory of its own files, without a leading slash.
    pub fn home(&self) -> String {
        format!("boot/{}", self.below_boot())
    }
}

impl Boot {
    /// Where kernel images may be, the preferred place first; see [`Boot::kernel`].
    pub fn kernel_places(&self) -> impl Iterator<Item = &str> {
        std::iter::once(&self.kernel).chain(&self.kernel_elsewhere).map(String::as_str)
    }
}

/// How the initial ramdisk is made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Initramfs {
    /// The generator's package and what it needs to do well, installed with a kernel.
    pub packages: Vec<String>,
    /// The command that makes it, run in the image; `{release}` stands for the kernel release and
    /// `{initrd}` for [`Boot::initrd`].
    pub command: Vec<String>,
    /// Variables that the command is run with.
    #[serde(default)]
    pub environment: BTreeMap<String, String>,
    /// The command that packages call to have it made, which does nothing while they are configured.
    /// Empty when they call none.
    #[serde(default)]
    pub deferred: String,
    /// Packages that it takes something of, where they are installed: they are configured with the
    /// kernel. `*` at either end stands for any text.
    #[serde(default)]
    pub with: BTreeSet<String>,
    /// Files and directories that it follows: when something below changes, it is made again.
    #[serde(default)]
    pub inputs: Vec<PathPattern>,
    /// The generator's own scripts: a program that one of them names counts among its inputs.
    #[serde(default)]
    pub scripts: Vec<PathPattern>,
    /// Where the generator is dracut: what it is made of.
    #[serde(default)]
    pub modules: Option<DracutModules>,
}

/// Where dracut's modules are, and what says which of them a ramdisk gets (dracut.modules(7), dracut.conf(5)).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DracutModules {
    /// The directory of the modules' directories, whose names are two digits and the module's name.
    pub directory: PathPattern,
    /// Files and directories that ask for modules by name.
    pub settings: Vec<PathPattern>,
}

impl Initramfs {
    /// Whether it takes something of a package.
    pub fn takes_of(&self, package: &str) -> bool {
        self.with.iter().any(|pattern| matches_name(pattern, package))
    }
}

/// What the release's own mke2fs would make of a file system of 512 MiB or more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ext4 {
    /// The version of e2fsprogs that this is the configuration of.
    pub e2fsprogs: String,
    /// Feature names as mke2fs.conf(5) spells them: `base_features` and those of `ext4`.
    pub features: BTreeSet<String>,
    /// Bytes per block.
    pub block_size: u32,
    /// Bytes per inode.
    pub inode_size: u32,
    /// Bytes of file system per inode.
    pub inode_ratio: u32,
    /// Default mount options.
    pub mount_options: BTreeSet<String>,
}

/// What is particular about a release's rpm.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RpmFacts {
    /// The directory of the database (`%_dbpath`), without a leading slash.
    pub database: String,
    /// Which word sizes the system takes, one bit each (`%_transaction_color`): 32 bits, 64 bits.
    pub color: u32,
    /// Whether it makes the users and groups that packages provide: rpm 4.19 and later.
    pub users: bool,
}

impl Default for RpmFacts {
    /// rpm's own (its macros, and those of its platforms x86_64 and aarch64).
    fn default() -> Self {
        Self { database: "var/lib/rpm".into(), color: 3, users: false }
    }
}

/// A question answered before packages are configured.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DebconfAnswer {
    /// The package that asks.
    pub package: String,
    /// The question's name.
    pub question: String,
    /// Its type, such as `boolean`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The answer.
    pub value: String,
    /// Why it is given.
    pub why: String,
}

impl Distro {
    /// The facts about one architecture.
    ///
    /// # Errors
    /// [`Error::UnknownArchitecture`] names those there are.
    pub fn architecture(&self, wanted: &Architecture) -> Result<&ArchitectureFacts, Error> {
        self.architectures.get(wanted).ok_or_else(|| Error::UnknownArchitecture {
            os: self.os.clone(),
            version: self.version.clone(),
            architecture: wanted.clone(),
            known: self.architectures.keys().map(ToString::to_string).collect(),
        })
    }

    /// The repositories that serve an architecture.
    pub fn repositories_for<'a>(
        &'a self,
        architecture: &'a Architecture,
    ) -> impl Iterator<Item = &'a RepositoryFacts> + 'a {
        self.repositories.iter().filter(move |repository| match &repository.architectures {
            Some(only) => only.contains(architecture),
            None => true,
        })
    }

    /// Path of the boot loader's file in the image, without a leading slash.
    ///
    /// # Errors
    /// [`Error::UnknownArchitecture`].
    pub fn loader_path(&self, architecture: &Architecture) -> Result<String, Error> {
        let facts = self.architecture(architecture)?;
        Ok(self.boot.loader.replace("{efi}", &facts.efi_suffix).trim_start_matches('/').to_owned())
    }

    /// The default packages of a variant; empty when the release does not have the variant.
    pub fn default_packages(&self, variant: Variant) -> BTreeSet<String> {
        self.variants.get(&variant).map(|facts| facts.packages.clone()).unwrap_or_default()
    }
}
