//! What the archives of Ubuntu and eLxr look like: written down here apart from the provider
//! files, so that one can be held against the other.

/// A distribution as its archive has it, and what Debian lends to it.
pub struct Shape {
    pub os: &'static str,
    pub version: &'static str,
    /// `PRETTY_NAME` of os-release(5).
    pub title: &'static str,
    pub codename: &'static str,
    /// `Origin` and `Label` of its release files.
    pub origin: &'static str,
    pub suites: &'static [Suite],
    pub components: &'static [&'static str],
    /// Compressed forms of its indexes.
    pub forms: &'static [&'static str],
    /// Indexes are fetched by their digests.
    pub by_hash: bool,
    /// `Release` and `Release.gpg` in place of `InRelease`.
    pub detached: bool,
    /// How dpkg-deb compresses its packages.
    pub compression: &'static str,
    pub reach: Reach,
    /// The format of the image.
    pub format: &'static str,
    /// What the kernel is told before the provider's consoles.
    pub cmdline: &'static str,
    pub debian: Debian,
    /// Packages that are in other places than the first suite's `main`: name, suite, component.
    pub elsewhere: &'static [(&'static str, &'static str, &'static str)],
    pub stand_ins: &'static [StandIn],
    /// Packages in the image that show which of several places they came from.
    pub expected: &'static [(&'static str, &'static str, &'static str)],
}

pub struct Suite {
    pub name: &'static str,
    /// The provider's name of the repository.
    pub repository: &'static str,
    /// Scheme apart, the repository's URL.
    pub at: &'static str,
}

/// How the program comes to the archive.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// One mirror of all of it, over http.
    Mirror,
    /// One mirror of all of it, in a directory.
    Directory,
    /// Under its own names, through a proxy.
    Proxy,
}

/// The Debian release whose packages stand for the distribution's.
pub struct Debian {
    pub version: &'static str,
    pub install: &'static [&'static str],
    pub remove: &'static [&'static str],
    /// Chosen in Debian, unknown to the distribution.
    pub unknown: &'static [&'static str],
}

/// A package that only is there.
pub struct StandIn {
    pub name: &'static str,
    pub version: &'static str,
    pub suite: &'static str,
    pub component: &'static str,
    pub depends: &'static str,
}

const fn stand_in(
    name: &'static str,
    version: &'static str,
    [suite, component]: [&'static str; 2],
    depends: &'static str,
) -> StandIn {
    StandIn { name, version, suite, component, depends }
}

/// Of the packages that Debian's minimal set has, those that make nothing here but time.
const LARGE: &[&str] = &["iproute2", "iputils-ping", "locales", "vim-tiny"];
const LARGE_AND_INITRAMFS_TOOLS: &[&str] = &["initramfs-tools", "iproute2", "iputils-ping", "locales", "vim-tiny"];
const UBUNTU_COMPONENTS: &[&str] = &["main", "restricted", "universe", "multiverse"];
const UBUNTU_MINIMAL: &str = "adduser, apt, debconf, init, kmod, less, passwd, procps, sudo, ubuntu-keyring, udev";

/// Stands for the name of the package with the kernel.
pub const KERNEL: &str = "KERNEL";

pub const JAMMY: Shape = Shape {
    os: "ubuntu",
    version: "22.04",
    title: "Ubuntu 22.04.5 LTS",
    codename: "jammy",
    origin: "Ubuntu",
    suites: &[
        Suite { name: "jammy", repository: "ubuntu", at: "archive.ubuntu.com/ubuntu" },
        Suite { name: "jammy-updates", repository: "ubuntu", at: "archive.ubuntu.com/ubuntu" },
        Suite { name: "jammy-security", repository: "ubuntu-security", at: "security.ubuntu.com/ubuntu" },
    ],
    components: UBUNTU_COMPONENTS,
    forms: &["gz", "xz"],
    by_hash: true,
    detached: true,
    compression: "zstd",
    reach: Reach::Mirror,
    format: "qcow2",
    cmdline: "",
    debian: Debian {
        version: "12",
        install: &[],
        remove: LARGE,
        unknown: &[
            "debian-archive-keyring",
            "linux-image-cloud-amd64",
            "systemd-boot",
            "systemd-boot-efi",
            "usr-is-merged",
        ],
    },
    elsewhere: &[("sudo", "jammy-security", "main")],
    stand_ins: &[
        stand_in("efibootmgr", "17-1", ["jammy", "main"], ""),
        stand_in("efibootmgr", "17-1ubuntu2.1", ["jammy-security", "main"], ""),
        stand_in("linux-image-generic", "5.15.0.25.27", ["jammy", "main"], KERNEL),
        stand_in("ubuntu-keyring", "2021.03.26", ["jammy", "main"], ""),
        stand_in("ubuntu-minimal", "1.481", ["jammy", "main"], UBUNTU_MINIMAL),
        stand_in("ubuntu-minimal", "1.481.4", ["jammy-updates", "main"], UBUNTU_MINIMAL),
        stand_in("usrmerge", "25ubuntu2", ["jammy", "main"], ""),
    ],
    expected: &[
        ("efibootmgr", "ubuntu-security", "17-1ubuntu2.1"),
        ("ubuntu-minimal", "ubuntu", "1.481.4"),
        ("usrmerge", "ubuntu", "25ubuntu2"),
    ],
};

pub const NOBLE: Shape = Shape {
    os: "ubuntu",
    version: "24.04",
    title: "Ubuntu 24.04.3 LTS",
    codename: "noble",
    origin: "Ubuntu",
    suites: &[
        Suite { name: "noble", repository: "ubuntu", at: "archive.ubuntu.com/ubuntu" },
        Suite { name: "noble-updates", repository: "ubuntu", at: "archive.ubuntu.com/ubuntu" },
        Suite { name: "noble-security", repository: "ubuntu-security", at: "security.ubuntu.com/ubuntu" },
    ],
    components: UBUNTU_COMPONENTS,
    forms: &["gz", "xz"],
    by_hash: true,
    detached: false,
    compression: "zstd",
    reach: Reach::Proxy,
    format: "raw",
    cmdline: "",
    debian: Debian {
        version: "13",
        install: &["systemd-boot-efi"],
        remove: LARGE,
        unknown: &["debian-archive-keyring", "linux-image-cloud-amd64", "systemd-boot-efi-amd64-signed"],
    },
    elsewhere: &[
        ("sudo", "noble-security", "main"),
        ("systemd-boot", "noble-updates", "universe"),
        ("systemd-boot-efi", "noble-updates", "universe"),
        ("systemd-boot-tools", "noble-updates", "universe"),
    ],
    stand_ins: &[
        stand_in("efibootmgr", "18-1build2", ["noble", "main"], ""),
        stand_in("linux-image-generic", "6.8.0-31.31", ["noble", "main"], KERNEL),
        stand_in("linux-image-generic", "6.8.0-79.79", ["noble-security", "main"], KERNEL),
        stand_in("ubuntu-keyring", "2023.11.28.1", ["noble", "main"], ""),
        stand_in("ubuntu-minimal", "1.539", ["noble", "main"], UBUNTU_MINIMAL),
        stand_in("ubuntu-minimal", "1.539.2", ["noble-updates", "main"], UBUNTU_MINIMAL),
    ],
    expected: &[("linux-image-generic", "ubuntu-security", "6.8.0-79.79"), ("ubuntu-minimal", "ubuntu", "1.539.2")],
};

pub const ARIA: Shape = Shape {
    os: "elxr",
    version: "12",
    title: "eLxr 12 (aria)",
    codename: "aria",
    origin: "eLxr",
    suites: &[Suite { name: "aria", repository: "elxr", at: "mirror.elxr.dev/elxr" }],
    components: &["main", "non-free-firmware"],
    forms: &["gz"],
    by_hash: false,
    detached: false,
    compression: "xz",
    reach: Reach::Directory,
    format: "raw",
    cmdline: "quiet splash ",
    debian: Debian {
        version: "12",
        install: &["dracut"],
        remove: LARGE_AND_INITRAMFS_TOOLS,
        unknown: &["debian-archive-keyring", "linux-image-cloud-amd64"],
    },
    elsewhere: &[],
    stand_ins: &[
        stand_in("ca-certificates", "20230311", ["aria", "main"], ""),
        stand_in("cloud-guest-utils", "0.33-1", ["aria", "main"], ""),
        stand_in("curl", "7.88.1-10", ["aria", "main"], ""),
        stand_in("efibootmgr", "17-2", ["aria", "main"], ""),
        stand_in("elxr-archive-keyring", "2024.1", ["aria", "main"], ""),
        stand_in("linux-image-amd64", "6.1.1", ["aria", "main"], KERNEL),
        stand_in("net-tools", "2.10-0.1", ["aria", "main"], ""),
        stand_in("policykit-1", "122-3", ["aria", "main"], ""),
        stand_in("usrmerge", "35", ["aria", "main"], ""),
        stand_in("vim", "2:9.0.1378-2", ["aria", "main"], ""),
        stand_in("wget", "1.21.3-1", ["aria", "main"], ""),
    ],
    expected: &[("vim", "elxr", "2:9.0.1378-2")],
};

pub const BIANCA: Shape = Shape {
    os: "elxr",
    version: "13",
    title: "eLxr 13 (bianca)",
    codename: "bianca",
    origin: "eLxr",
    suites: &[Suite { name: "bianca", repository: "elxr", at: "mirror.elxr.dev/elxr" }],
    components: &["main", "main-debian-community", "non-free-firmware", "non-free-firmware-debian-community"],
    forms: &["gz"],
    by_hash: false,
    detached: true,
    compression: "xz",
    reach: Reach::Mirror,
    format: "raw",
    cmdline: "quiet splash ",
    debian: Debian {
        version: "13",
        install: &["dracut"],
        remove: LARGE_AND_INITRAMFS_TOOLS,
        unknown: &["debian-archive-keyring", "linux-image-cloud-amd64"],
    },
    elsewhere: &[
        ("less", "bianca", "main-debian-community"),
        ("sudo", "bianca", "main-debian-community"),
        ("procps", "bianca", "main-debian-community"),
    ],
    stand_ins: &[
        stand_in("ca-certificates", "20250419", ["bianca", "main"], ""),
        stand_in("cloud-guest-utils", "0.33-1", ["bianca", "main"], ""),
        stand_in("curl", "8.14.1-2", ["bianca", "main"], ""),
        stand_in("efibootmgr", "18-2", ["bianca", "main"], ""),
        stand_in("elxr-archive-keyring", "2025.1", ["bianca", "main"], ""),
        stand_in("linux-image-amd64", "6.12.1", ["bianca", "main"], KERNEL),
        stand_in("net-tools", "2.10-1.3", ["bianca", "main"], ""),
        stand_in("polkitd", "126-2", ["bianca", "main"], ""),
        stand_in("vim", "2:9.1.1230-2", ["bianca", "main"], ""),
        stand_in("vim", "2:9.1.1230-2elxr1", ["bianca", "main-debian-community"], ""),
        stand_in("wget", "1.25.0-2", ["bianca", "main-debian-community"], ""),
    ],
    expected: &[("vim", "elxr", "2:9.1.1230-2elxr1")],
};
