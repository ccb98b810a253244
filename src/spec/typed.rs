//! The spec as it was written, in types. Nothing is defaulted here: see [`super::resolve`].

use super::choice::{Architecture, Bootloader, Compression, DebconfType, Dhcp, Format, Variant};
use super::decode::{Entries, Located, OneOrMany, record};
use super::names::{
    GroupName, Hostname, ImageName, InterfaceName, Locale, OsName, PackageName, PasswordHash, RepositoryName, Timezone,
    UnitName, UserName, VariableName, VersionText,
};
use super::partition::{Filesystem, MountPoint, PartitionRole, PartitionSize};
use super::scalar::{Address, ByteSize, IpPrefix, LinkAddress, Mode, Owner};
use super::unsupported::{NotYet, OffOnly};
use super::written::{Cmdline, ImagePath, InterfacePattern, Stages, SudoChoice};

record! {
    /// A build specification: what the image is made of, what is changed in it, and what it
    /// becomes.
    Spec {
        /// What the image is, and what it starts from.
        image: Image,
        /// How this spec is built.
        build: Build,
        /// The kernel and its command line.
        kernel: Kernel,
        /// What starts the kernel. Default: `systemd-boot`; `none` where `oci` is the only format.
        bootloader: Option<Located<Bootloader>>,
        /// The disk and its partitions.
        disk: Disk,
        /// What is changed in the distribution's own tree.
        customizations: Customizations,
        /// What the image becomes.
        output: Output,
        /// An image whose root cannot be written.
        immutable: OffOnly,
        /// Settings of one platform.
        platform_specific: NotYet,
        /// Makes this spec a template.
        template: NotYet,
        /// Variables of a template.
        variables: NotYet,
    }
}

record! {
    /// What the image is, and what it starts from.
    Image {
        /// The image's name; its files are named by it.
        name: Located<ImageName>,
        /// The image's own version.
        version: Option<VersionText>,
        /// One line about it.
        description: Option<String>,
        /// The distribution that it is made of.
        base: Base,
    }
}

record! {
    /// The distribution that an image is made of.
    Base {
        /// The provider: `debian`, `ubuntu`, `elxr`, `azurelinux`, `emt`, `redhat`, or one of your own.
        os: Located<OsName>,
        /// Its release, as text: `24.10` is not `24.1`.
        version: Located<VersionText>,
        /// How much the base holds. Default: `minimal`.
        r#type: Option<Variant>,
        /// The processor that the image runs on. Default: `amd64`.
        architecture: Option<Located<Architecture>>,
        /// An existing image to start from: `oci:PATH[:NAME]`, an OCI image layout (a directory or a tar
        /// file, relative to the spec's directory), or `docker://HOST/REPOSITORY[:TAG][@DIGEST]`. The
        /// packages that it has stay as they are; what is missing is added.
        from: Option<Located<String>>,
    }
}

record! {
    /// How a spec is built.
    Build {
        /// Which caches may be used.
        cache: BuildCache,
        /// The stages to run. Default: all.
        stages: Option<Located<Stages>>,
        /// Whether scripts may reach the network while the image is built (`true` is refused so far); what
        /// they fetch is not in the lock, so the same bytes are not promised then. Default: `false`.
        network: Option<bool>,
    }
}

record! {
    /// Which caches a build may use.
    BuildCache {
        /// Downloaded packages. Default: `true`.
        use_package_cache: Option<bool>,
        /// Finished images. Default: `true`.
        use_image_cache: Option<bool>,
        /// Layer caches in registries, asked in this order before those of the global configuration.
        remote: Vec<Located<RemoteCache>>,
    }
}

record! {
    /// A layer cache in a registry.
    RemoteCache {
        /// The repository that holds it: `oci://HOST/REPOSITORY`.
        url: Located<String>,
        /// Whether what steps make here is sent there. Default: `false`.
        push: Option<bool>,
        /// Whether it holds layers of packages, too: fetching one costs less than unpacking the package where the
        /// registry is near. Default: `false`.
        packages: Option<bool>,
        /// Public keys (Ed25519): the text, or the path of its file. Where there are any, only what one of
        /// them signed is used; where there are none, everybody who can write there is trusted.
        keys: Vec<Located<String>>,
        /// The file of the private key (Ed25519, PEM) that signs what is sent.
        signing_key: Option<Located<String>>,
        /// Whether the registry is spoken to in plain http. Default: `false`, but for one on this machine.
        insecure: Option<bool>,
        /// A file of certificates (PEM) of further authorities.
        ca_file: Option<Located<String>>,
    }
}

record! {
    /// The kernel and its command line.
    Kernel {
        /// The kernel's package. Default: the provider's.
        package: Option<PackageName>,
        /// What the version of the kernel's package must begin with: `6.12`.
        version: Option<VersionText>,
        /// Words added to the provider's command line: a text, or a list of words.
        cmdline: Cmdline,
    }
}

record! {
    /// The disk and its partitions.
    Disk {
        /// Size of the whole disk: `4GiB`. Default: `6GiB` where a partition takes a share or the
        /// rest of it, else as small as the partitions together. The image's file is sparse, and
        /// the last partition grows to the size of the machine's disk on the first boot.
        size: Option<Located<ByteSize>>,
        /// The partitions, in the order in which they lie on the disk, but for the ESP, which is
        /// always the first. Default: an ESP of `512MiB`, and a root that takes the rest.
        partitions: Vec<Located<Partition>>,
    }
}

record! {
    /// One partition. Files of the image below its mount point lie in it. Where another tool says
    /// `mountpoint`, `fstype`, `fs_type` or `format`, these are read as `mount` and `filesystem`.
    Partition {
        /// What it is for: `esp`, `xbootldr`, `boot`, `root`, `home`, `srv`, `var`, `tmp` (/var/tmp),
        /// `swap`, `bios`, `linux` (anything else), a name that systemd-repart knows, or a GUID.
        r#type: Located<PartitionRole>,
        /// Its size: `512MiB`; `25%` of what the partition table leaves of the disk; `rest`, what the
        /// others leave; `fit` (or `min`), as small as its files allow, a tenth more than they need
        /// and at least 32 MiB more. Default: `512MiB` for the ESP, `rest` for the root.
        size: Option<Located<PartitionSize>>,
        /// Its file system: `ext4`, `vfat`, `swap`, or `none`. Default: by its type (a GUID: `ext4`
        /// with a mount point, `none` without).
        filesystem: Option<Located<Filesystem>>,
        /// Where it is mounted, or `none`. Default: by its type; `/boot/efi` for the ESP.
        mount: Option<Located<MountPoint>>,
        /// Mount options for fstab, as a list or separated by commas. Default:
        /// `errors=remount-ro` for the root, `umask=0077` for the ESP, else `defaults`.
        options: OneOrMany<Located<String>>,
        /// The label of its file system, at most 16 bytes (`vfat`: 11). Default: by its type.
        label: Option<Located<String>>,
        /// The partition's own name (GPT), at most 36 characters. Default: its type.
        name: Option<Located<String>>,
        /// Whether it grows to the end of the machine's disk on the first boot; only the last
        /// partition can, and only `ext4`. Default: `true` for that one.
        grow: Option<Located<bool>>,
    }
}

record! {
    /// What is changed in the distribution's own tree.
    Customizations {
        /// Name of the machine. Default: the image's name.
        hostname: Option<Hostname>,
        /// System locale. Default: `C.UTF-8`.
        locale: Option<Locale>,
        /// System time zone. Default: `UTC`.
        timezone: Option<Timezone>,
        /// Users to make; `root` may be among them.
        users: Vec<Located<User>>,
        /// Network interfaces, for systemd-networkd.
        network: Network,
        /// Repositories beside the provider's own.
        repositories: Vec<Located<Repository>>,
        /// Packages wished for and unwished.
        packages: Packages,
        /// Units switched on and off.
        services: Services,
        /// Files copied into the image, in this order.
        files: Vec<Located<CopiedFile>>,
        /// Scripts that change the image, in this order.
        scripts: Vec<Located<Script>>,
        /// Answers to questions of packages, given before they are configured.
        debconf: Vec<DebconfAnswer>,
    }
}

record! {
    /// A user.
    User {
        /// Login name.
        name: Located<UserName>,
        /// The password's hash (crypt(5); `mkpasswd` or `openssl passwd -6` makes one). Default:
        /// no password lets anybody in.
        password_hash: Option<PasswordHash>,
        /// Public ssh keys: the line itself, or the path of a file of such lines.
        ssh_keys: Vec<Located<String>>,
        /// Supplementary groups.
        groups: Vec<GroupName>,
        /// Login shell. Default: `/bin/bash`.
        shell: Option<ImagePath>,
        /// Home directory. Default: `/home/NAME`.
        home: Option<ImagePath>,
        /// User id, and id of the group of the same name. Default: the next free one.
        uid: Option<Located<u32>>,
        /// Full name.
        gecos: Option<Located<String>>,
        /// What sudo allows: `false`, `true` (after the user's own password), or `nopasswd`.
        sudo: Option<SudoChoice>,
    }
}

record! {
    /// Network configuration, for systemd-networkd.
    Network {
        /// The interfaces. Default: DHCP on all that match `en*`; an empty list configures none.
        interfaces: Option<Located<Vec<Located<Interface>>>>,
    }
}

record! {
    /// One network interface, or all that match.
    Interface {
        /// Names the configuration; and, without a `match`, the interface.
        name: Located<InterfaceName>,
        /// Which interfaces, by a pattern of their names: `en*`.
        r#match: Option<Located<InterfacePattern>>,
        /// Which interface, by its MAC address.
        mac: Option<LinkAddress>,
        /// What it asks a DHCP server for: `true`, `false`, `ipv4`, `ipv6`. Default: `true`
        /// without `addresses`, `false` with them.
        dhcp: Option<Dhcp>,
        /// Fixed addresses, each with its prefix length: `192.0.2.10/24`.
        addresses: Vec<IpPrefix>,
        /// Default route, or one of each family.
        gateway: OneOrMany<Address>,
        /// Name servers.
        dns: OneOrMany<Address>,
        /// Search domains.
        domains: OneOrMany<Hostname>,
        /// Largest packet in bytes.
        mtu: Option<Located<u32>>,
    }
}

record! {
    /// A repository of packages beside the provider's own.
    Repository {
        /// Its name.
        name: Located<RepositoryName>,
        /// Its base URL: `https://…`, `http://…` or `file:/…`.
        url: Located<String>,
        /// Suites (deb): `trixie`, or `./` for a flat repository.
        suites: OneOrMany<String>,
        /// Components (deb): `main`.
        components: OneOrMany<String>,
        /// The public keys that may sign it: the path of a keyring, or the armored text itself.
        key: Option<Located<String>>,
        /// `true`: use it without any signature, which lets whoever answers for its address put
        /// anything into the image. Default: `false`.
        trusted: Option<bool>,
        /// `false`: use it after its release has expired (`Valid-Until`), as for a frozen copy.
        /// Default: `true`.
        check_valid_until: Option<bool>,
        /// `false`: its metadata (rpm: repomd.xml) is not signed, only its packages are. Default: `true`.
        repo_gpgcheck: Option<bool>,
        /// `false`: its packages (rpm) are not signed, only its metadata is. Default: `true`.
        gpgcheck: Option<bool>,
        /// Packages (rpm) that are not taken from it: names, `*` stands for anything.
        exclude: OneOrMany<String>,
        /// Priority. deb: pin priority, the higher one wins (apt_preferences(5)). rpm: the lower one
        /// wins, 99 is the default (dnf.conf(5)).
        priority: Option<i16>,
    }
}

record! {
    /// Packages wished for and unwished.
    Packages {
        /// Must be in the image, with all that they need.
        install: Vec<Located<PackageName>>,
        /// Must not be in the image.
        remove: Vec<Located<PackageName>>,
        /// Whether recommended packages come along. Default: `false`.
        recommends: Option<bool>,
    }
}

record! {
    /// Units (services) switched on and off.
    Services {
        /// Started at boot.
        enabled: Vec<Located<UnitName>>,
        /// Not started at boot.
        disabled: Vec<Located<UnitName>>,
        /// Cannot be started at all.
        masked: Vec<Located<UnitName>>,
    }
}

record! {
    /// A file, link or directory copied into the image.
    CopiedFile {
        /// What to copy: a path, relative to the spec's directory. Symbolic links stay links.
        source: Option<Located<String>>,
        /// The text of the file, in place of a source.
        content: Option<String>,
        /// Where it goes in the image; directories above it are made.
        destination: Located<ImagePath>,
        /// Its mode in octal, and that of every regular file of a directory. Default: `0755` for
        /// what its owner may execute, else `0644`.
        permissions: Option<Mode>,
        /// Its owner, or owner and group, of the image. Default: `root:root`.
        owner: Option<Owner>,
    }
}

record! {
    /// A script that changes the image.
    Script {
        /// The script: a path, relative to the spec's directory.
        path: Located<String>,
        /// Its arguments.
        args: Vec<String>,
        /// In the image (`true`), or on the build side with the image's tree at `$IMAGE_ROOT`,
        /// which makes the build depend on the machine. Default: `true`.
        run_in_chroot: Option<bool>,
        /// Variables for it.
        env: Entries<VariableName, String>,
    }
}

record! {
    /// An answer to a question of a package (debconf-set-selections(1)).
    DebconfAnswer {
        /// The package that asks.
        package: PackageName,
        /// The question: `locales/default_environment_locale`.
        question: Located<String>,
        /// The type of its answer.
        r#type: DebconfType,
        /// The answer.
        value: Located<String>,
    }
}

record! {
    /// What the image becomes.
    Output {
        /// One format or a list of them. Default: `raw`.
        format: OneOrMany<Located<Format>>,
        /// How it is compressed; layers of an OCI image always are, with gzip where this is `none`.
        /// Default: `none`.
        compression: Option<Located<Compression>>,
        /// The directory of the finished files, relative to where the command runs. Default:
        /// `./output`.
        destination: Option<Located<String>>,
        /// What is special to OCI images.
        oci: OciOutput,
    }
}

record! {
    /// What is special to OCI images.
    OciOutput {
        /// Most layers, from 1 to 127. Default: `64`.
        layers: Option<Located<u32>>,
        /// What is run, before the command. Default: nothing.
        entrypoint: Vec<String>,
        /// What is run, or the arguments of the entry point. Default: `/sbin/init` where there is one,
        /// else a shell.
        command: Vec<String>,
    }
}
