//! What a spec means: every default applied, every path absolute, every file read to its digest.
//!
//! Every decision of a build is here, so that its digest is an honest cache key. What the tree
//! and the disk hold depends on [`ResolvedSpec::content_digest`] only; what the artifacts are, on
//! [`ResolvedSpec::digest`].

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::PathBuf;

use layers::{Content, TreePath};

pub use super::choice::{Architecture, Bootloader, Compression, DebconfType, Dhcp, Format, Stage, Variant};
pub use super::names::{
    GroupName, Hostname, ImageName, InterfaceName, Locale, OsName, PackageName, PasswordHash, RepositoryName, Timezone,
    UnitName, UserName, VariableName, VersionText,
};
pub use super::partition::{Filesystem, PartitionRole, PartitionSize};
pub use super::scalar::{IpPrefix, LinkAddress, Mode, Owner};

/// A spec, resolved.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ResolvedSpec {
    /// The image's name; its files are named by it.
    pub name: ImageName,
    /// The image's own version.
    pub image_version: Option<VersionText>,
    /// One line about it.
    pub description: Option<String>,
    /// The provider.
    pub os: OsName,
    /// Its release, as written.
    pub os_version: VersionText,
    /// How much the base holds.
    pub variant: Variant,
    /// The processor that it runs on.
    pub architecture: Architecture,
    /// The image that it starts from; `None`: from nothing.
    pub base: Option<BaseImage>,
    /// Name of the machine.
    pub hostname: Hostname,
    /// System locale.
    pub locale: Locale,
    /// System time zone.
    pub timezone: Timezone,
    /// Users in the order of the spec; `root` may be among them.
    pub users: Vec<User>,
    /// Network interfaces.
    pub network: Network,
    /// Kernel package and command line.
    pub kernel: Kernel,
    /// What starts the kernel.
    pub bootloader: Bootloader,
    /// The disk and its partitions.
    pub disk: Disk,
    /// Repositories beside the provider's own, in the order of the spec.
    pub repositories: Vec<Repository>,
    /// Packages wished for and unwished.
    pub packages: Packages,
    /// Units switched on and off.
    pub services: Services,
    /// Files to copy, in the order of the spec.
    pub files: Vec<CopiedFile>,
    /// Scripts, in the order they run.
    pub scripts: Vec<Script>,
    /// Answers to questions of packages, given before they are configured.
    pub debconf: Vec<DebconfAnswer>,
    /// Whether scripts in compose and configuration reach the network.
    pub build_network: bool,
    /// Formats of the finished image, each once, in the order of the spec.
    pub formats: Vec<Format>,
    /// How they are compressed.
    pub compression: Compression,
    /// What is special to OCI images.
    pub container: Container,
    /// The stages to run.
    pub stages: BTreeSet<Stage>,
    /// Which caches this build may use (not part of any digest).
    pub caches: Caches,
    /// Layer caches in registries (not part of any digest).
    pub remotes: Vec<RemoteCache>,
    /// Where the artifacts go, absolute (not part of any digest).
    pub destination: PathBuf,
    /// The spec's own directory, absolute (not part of any digest).
    pub spec_directory: PathBuf,
}

/// An image to start from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BaseImage {
    /// As the spec has it.
    pub written: String,
    /// Where it is.
    pub place: BasePlace,
}

/// Where an image to start from is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum BasePlace {
    /// An OCI image layout.
    Layout {
        /// The directory or tar file, absolute.
        path: PathBuf,
        /// The image of several that is meant.
        name: Option<String>,
    },
    /// An image at a registry.
    Registry(registry::Reference),
}

/// A user, root included.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct User {
    /// Login name.
    pub name: UserName,
    /// The hash for shadow(5); `None`: no password lets anybody in (`!` or `*`).
    pub password_hash: Option<PasswordHash>,
    /// Lines of `authorized_keys`, each a whole key without a line end.
    pub ssh_keys: Vec<String>,
    /// Supplementary groups, in the order of the spec; created where the packages do not.
    pub groups: Vec<GroupName>,
    /// Login shell; `None`: the provider's default.
    pub shell: Option<TreePath>,
    /// Home directory; `None`: `/home/NAME`, or `/root`.
    pub home: Option<TreePath>,
    /// User id and id of the group of the same name; `None`: the next free one.
    pub uid: Option<u32>,
    /// Full name (the GECOS field of passwd(5)).
    pub gecos: Option<String>,
    /// What `sudo` allows.
    pub sudo: Sudo,
}

/// What `sudo` allows a user.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sudo {
    /// Nothing beyond what the user's groups give.
    No,
    /// Everything, after the user's own password.
    Password,
    /// Everything, without a password.
    NoPassword,
}

/// Network configuration, for systemd-networkd.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Network {
    /// One `.network` file each; empty: nothing is configured.
    pub interfaces: Vec<Interface>,
}

/// One network interface, or all that match.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Interface {
    /// Names the configuration.
    pub name: InterfaceName,
    /// Which interfaces, by name pattern (`en*`).
    pub match_name: Option<String>,
    /// Which interface, by its address; at least one of the two is given.
    pub match_mac: Option<LinkAddress>,
    /// What it asks a DHCP server for.
    pub dhcp: Dhcp,
    /// Fixed addresses.
    pub addresses: Vec<IpPrefix>,
    /// Default routes.
    pub gateways: Vec<IpAddr>,
    /// Name servers.
    pub dns: Vec<IpAddr>,
    /// Search domains.
    pub domains: Vec<Hostname>,
    /// Largest packet in bytes.
    pub mtu: Option<u32>,
}

/// Kernel package and command line.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Kernel {
    /// The package; `None`: the provider's default for the variant.
    pub package: Option<PackageName>,
    /// What the kernel package's version must begin with (`6.12`); `None`: anything.
    pub version: Option<VersionText>,
    /// Words added to the provider's command line.
    pub cmdline: Vec<String>,
}

/// The disk and its partitions.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Disk {
    /// Size in bytes, a multiple of 1 MiB; `None`: as small as its partitions together.
    pub size: Option<u64>,
    /// In the order in which they lie, the ESP first; see [`ResolvedSpec::partitions`].
    pub partitions: Vec<Partition>,
}

impl Disk {
    /// The partitions that are made under a boot loader: without one there is no ESP.
    pub fn partitions_with(&self, bootloader: Bootloader) -> impl Iterator<Item = &Partition> + Clone {
        let has_esp = bootloader != Bootloader::None;
        self.partitions.iter().filter(move |partition| has_esp || partition.role != PartitionRole::Esp)
    }
}

impl ResolvedSpec {
    /// The partitions of the disk, in the order in which they lie.
    pub fn partitions(&self) -> impl Iterator<Item = &Partition> + Clone {
        self.disk.partitions_with(self.bootloader)
    }
}

/// One partition.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Partition {
    /// Names it in messages, and is what its identifiers are derived from; each once.
    pub id: String,
    /// What it is for.
    pub role: PartitionRole,
    /// Its type; `None`: the architecture's root.
    pub type_guid: Option<uuid::Uuid>,
    /// Its name in the partition table, at most 36 UTF-16 code units.
    pub name: String,
    /// How large it is; bytes are a multiple of 1 MiB.
    pub size: PartitionSize,
    /// What lies in it.
    pub filesystem: Filesystem,
    /// Label of its file system; may be empty.
    pub label: String,
    /// Where it is mounted; `None`: nowhere.
    pub mount: Option<TreePath>,
    /// Options for fstab(5), separated by commas.
    pub options: String,
    /// Whether it grows to the end of the machine's disk on the first boot.
    pub grow: bool,
}

/// A repository beside the provider's own.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Repository {
    /// Its name, by which lock and SBOM refer to it.
    pub name: RepositoryName,
    /// Base URL: http, https or file.
    pub url: String,
    /// Suites; `./` for a flat repository. Empty for rpm repositories.
    pub suites: Vec<String>,
    /// Components; empty for flat and rpm repositories.
    pub components: Vec<String>,
    /// The public keys that may sign it.
    pub key: RepositoryKey,
    /// Whether its release must not have expired.
    pub check_valid_until: bool,
    /// Whether rpm metadata must be signed (dnf.conf(5)).
    pub repo_gpgcheck: bool,
    /// Whether rpm packages must be signed (dnf.conf(5)).
    pub gpgcheck: bool,
    /// Patterns of the names of rpm packages that are not taken from it.
    pub exclude: Vec<String>,
    /// Priority: deb's pin priority (apt_preferences(5)), of which the higher wins, or rpm's
    /// (dnf.conf(5)), of which the lower does; `None`: the family's default.
    pub priority: Option<i32>,
}

/// The keys that may sign a repository: never the machine's.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum RepositoryKey {
    /// OpenPGP public keys, armored or binary.
    Keyring(Vec<u8>),
    /// The user's own words: `trusted: true`, no signature asked for.
    TrustedUnsigned,
}

/// Packages wished for and unwished.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Packages {
    /// Must be in the image; in the order of the spec, each once.
    pub install: Vec<PackageName>,
    /// Must not be in the image.
    pub remove: Vec<PackageName>,
    /// Whether recommended packages come along.
    pub recommends: bool,
}

/// Units switched on and off, in the order of the spec, each once.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Services {
    /// Started at boot.
    pub enabled: Vec<UnitName>,
    /// Not started at boot.
    pub disabled: Vec<UnitName>,
    /// Cannot be started at all.
    pub masked: Vec<UnitName>,
}

/// A file, link or directory copied into the image.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CopiedFile {
    /// As the spec names it, for messages and for the step's name.
    pub source: String,
    /// Where it goes in the image.
    pub destination: TreePath,
    /// Mode of every regular file; `None`: 0755 where its owner may execute the source, else 0644
    /// (the builder's umask must not reach the image). Directories have 0755.
    pub permissions: Option<Mode>,
    /// Owner by name or number, in the image.
    pub owner: Owner,
    /// The source itself (at the root path) and, for a directory, all below it in path order.
    pub entries: Vec<SourceEntry>,
}

/// One entry of a copied source.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SourceEntry {
    /// Where it lies below [`CopiedFile::destination`]; the root for the source itself.
    pub path: TreePath,
    /// What it is.
    pub kind: SourceKind,
}

/// What a copied entry is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum SourceKind {
    /// A regular file of the builder's machine.
    File {
        /// Where it was read, absolute (not part of any digest).
        origin: PathBuf,
        /// Its bytes; whoever copies them checks this digest.
        content: Content,
        /// Whether its owner may execute it.
        executable: bool,
    },
    /// Text written in the spec itself.
    Text(String),
    /// A directory.
    Directory,
    /// A symbolic link, kept as it is.
    Symlink(Vec<u8>),
}

/// A script that changes the image.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Script {
    /// As the spec names it, for messages.
    pub path: String,
    /// Where it was read, absolute (not part of any digest).
    pub origin: PathBuf,
    /// Its bytes; whoever runs it checks this digest.
    pub content: Content,
    /// Arguments.
    pub args: Vec<String>,
    /// In the image (`true`), or on the build side with the image's tree at `$IMAGE_ROOT`.
    pub run_in_chroot: bool,
    /// Variables beside those every script has.
    pub environment: BTreeMap<VariableName, String>,
}

/// An answer to a question of a package (debconf-set-selections(1)).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DebconfAnswer {
    /// The package that asks.
    pub package: PackageName,
    /// The question.
    pub question: String,
    /// Its type.
    pub kind: DebconfType,
    /// The answer, without line ends.
    pub value: String,
}

/// What is special to OCI images.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Container {
    /// Most layers.
    pub layers: usize,
    /// What is run, before the command.
    pub entrypoint: Vec<String>,
    /// What is run; empty: what the tree has.
    pub command: Vec<String>,
}

/// Which caches a build may use.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Caches {
    /// Downloaded packages and the layers made of them.
    pub packages: bool,
    /// Finished images.
    pub images: bool,
}

/// A layer cache in a registry.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RemoteCache {
    /// The repository; it names neither tag nor digest.
    pub reference: registry::Reference,
    /// Whether what steps make is sent there.
    pub push: bool,
    /// Whether it holds layers of packages.
    pub packages: bool,
    /// Who is trusted; empty: everybody who can write there.
    pub keys: Vec<registry::cache::PublicKey>,
    /// The file of the key that signs what is sent, absolute.
    pub signing_key: Option<PathBuf>,
    /// Whether it is spoken to in plain http.
    pub insecure: bool,
    /// Files of certificates of further authorities, absolute.
    pub ca_file: Option<PathBuf>,
}
