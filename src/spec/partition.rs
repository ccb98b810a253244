//! Words that describe a partition: what it is for, how large it is, what lies in it, where it is
//! mounted.

use std::borrow::Cow;
use std::fmt;

use image::disk::types;
use layers::TreePath;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use uuid::Uuid;

use super::names::FromText;
use super::scalar::ByteSize;
use super::written::ImagePath;

/// What a partition is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PartitionRole {
    /// The EFI system partition.
    Esp,
    /// Kernels and boot entries beside a small ESP (Boot Loader Specification, "XBOOTLDR").
    Xbootldr,
    /// /boot with a Linux file system.
    Boot,
    /// The root file system.
    Root,
    /// /home.
    Home,
    /// /srv.
    Srv,
    /// /var.
    Var,
    /// /var/tmp (Discoverable Partitions Specification).
    Tmp,
    /// Swap space.
    Swap,
    /// Where GRUB keeps its core image on a BIOS machine.
    Bios,
    /// Any Linux file system.
    Linux,
    /// A type by its GUID.
    Guid(Uuid),
}

/// What a partition is unless its spec says otherwise.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Usual {
    /// Its type; `None`: the architecture's root.
    pub guid: Option<Uuid>,
    /// What lies in it.
    pub filesystem: Filesystem,
    /// Where it is mounted; an empty text: nowhere.
    pub mount: &'static str,
    /// Label of its file system.
    pub label: &'static str,
}

impl PartitionRole {
    /// Every role that has a word, with the words for it: ours first.
    const WORDS: &[(Self, &[&str])] = &[
        (Self::Esp, &["esp", "efi"]),
        (Self::Xbootldr, &["xbootldr"]),
        (Self::Boot, &["boot"]),
        (Self::Root, &["root"]),
        (Self::Home, &["home"]),
        (Self::Srv, &["srv"]),
        (Self::Var, &["var"]),
        (Self::Tmp, &["tmp"]),
        (Self::Swap, &["swap"]),
        (Self::Bios, &["bios", "bios-boot", "bios-grub"]),
        (Self::Linux, &["linux", "linux-generic", "data"]),
    ];

    /// The word for it; a GUID has its name in systemd-repart, if any.
    pub fn word(self) -> &'static str {
        let own = Self::WORDS.iter().find(|(role, _)| *role == self).and_then(|(_, words)| words.first().copied());
        match self {
            Self::Guid(guid) => types::name_of(guid).unwrap_or("data"),
            _ => own.unwrap_or("data"),
        }
    }

    /// Whether a disk has at most one: the machine boots from it.
    pub const fn is_single(self) -> bool {
        matches!(self, Self::Esp | Self::Xbootldr | Self::Root)
    }

    /// What such a partition usually is.
    pub fn usual(self) -> Usual {
        let ext4 = |guid, mount, label| Usual { guid: Some(guid), filesystem: Filesystem::Ext4, mount, label };
        match self {
            Self::Esp => {
                Usual { guid: Some(types::ESP), filesystem: Filesystem::Vfat, mount: "/boot/efi", label: "ESP" }
            }
            // Not /boot: dpkg replaces files by hard links, which FAT does not have.
            Self::Xbootldr => Usual {
                guid: Some(types::XBOOTLDR),
                filesystem: Filesystem::Vfat,
                mount: "/boot/xbootldr",
                label: "XBOOTLDR",
            },
            Self::Root => Usual { guid: None, filesystem: Filesystem::Ext4, mount: "/", label: "root" },
            // Not XBOOTLDR: no boot loader reads a Linux file system there.
            Self::Boot => ext4(types::LINUX_GENERIC, "/boot", "boot"),
            Self::Home => ext4(types::HOME, "/home", "home"),
            Self::Srv => ext4(types::SRV, "/srv", "srv"),
            Self::Var => ext4(types::VAR, "/var", "var"),
            Self::Tmp => ext4(types::TMP, "/var/tmp", "tmp"),
            Self::Linux => ext4(types::LINUX_GENERIC, "", ""),
            Self::Swap => Usual { guid: Some(types::SWAP), filesystem: Filesystem::Swap, mount: "", label: "swap" },
            Self::Bios => Usual { guid: Some(types::BIOS_BOOT), filesystem: Filesystem::None, mount: "", label: "" },
            Self::Guid(guid) => Usual { guid: Some(guid), filesystem: Filesystem::None, mount: "", label: "" },
        }
    }

    /// The role of a type; a GUID that has none is its own.
    fn of_guid(guid: Uuid) -> Self {
        let same = |role: &&Self| !matches!(role, Self::Boot | Self::Root) && role.usual().guid == Some(guid);
        Self::WORDS.iter().map(|(role, _)| role).find(same).copied().unwrap_or(Self::Guid(guid))
    }
}

impl FromText for PartitionRole {
    const WHAT: &'static str = "a type of partition";

    fn from_text(text: &str) -> Result<Self, String> {
        let by_word = Self::WORDS.iter().find(|(_, words)| words.contains(&text)).map(|(role, _)| *role);
        if let Some(role) = by_word {
            return Ok(role);
        }
        // Other spellings of a UUID are not what partitioning tools show.
        let guid = (text.len() == 36).then(|| Uuid::parse_str(text).ok()).flatten();
        match guid.or_else(|| types::by_name(text)) {
            Some(guid) if guid.is_nil() => Err("a GUID of zeros means that there is no partition".to_owned()),
            Some(guid) => Ok(Self::of_guid(guid)),
            None => {
                let words = Self::WORDS.iter().filter_map(|(_, words)| words.first().copied());
                let known: Vec<&str> = words.collect();
                let near = super::keys::nearest(text, known.iter().copied());
                let near = near.map(|word| format!("; did you mean '{word}'?")).unwrap_or_default();
                Err(format!("expected {}, or a GUID{near}", known.join(", ")))
            }
        }
    }
}

impl JsonSchema for PartitionRole {
    fn schema_name() -> Cow<'static, str> {
        "PartitionRole".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let mut words: Vec<&str> = Self::WORDS.iter().flat_map(|(_, words)| words.iter().copied()).collect();
        words.extend(types::NAMES.iter().map(|(name, _)| *name));
        words.sort_unstable();
        words.dedup();
        json_schema!({ "anyOf": [
            { "enum": words },
            { "type": "string", "pattern": "^[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}$" }
        ], "description": "`esp`, `root`, `boot`, `home`, `var`, …, or a GUID" })
    }
}

/// What lies in a partition.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Filesystem {
    /// ext4.
    Ext4,
    /// FAT with long names.
    Vfat,
    /// Swap space.
    Swap,
    /// Nothing: zeros.
    None,
}

impl Filesystem {
    const WORDS: [(Self, &'static str); 4] =
        [(Self::Ext4, "ext4"), (Self::Vfat, "vfat"), (Self::Swap, "swap"), (Self::None, "none")];

    /// The word for it, which is also fstab's.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ext4 => "ext4",
            Self::Vfat => "vfat",
            Self::Swap => "swap",
            Self::None => "none",
        }
    }

    /// Whether files can lie in it.
    pub const fn holds_files(self) -> bool {
        matches!(self, Self::Ext4 | Self::Vfat)
    }
}

impl FromText for Filesystem {
    const WHAT: &'static str = "a file system for a partition";

    fn from_text(text: &str) -> Result<Self, String> {
        match text {
            "fat" | "fat32" => Ok(Self::Vfat),
            "btrfs" | "xfs" | "ext2" | "ext3" | "f2fs" | "erofs" | "squashfs" | "exfat" | "ntfs" => {
                Err("it is not supported yet".to_owned())
            }
            _ => Self::WORDS
                .iter()
                .find(|(_, word)| *word == text)
                .map(|(filesystem, _)| *filesystem)
                .ok_or_else(|| "expected ext4, vfat, swap or none".to_owned()),
        }
    }
}

impl JsonSchema for Filesystem {
    fn schema_name() -> Cow<'static, str> {
        "Filesystem".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "enum": ["ext4", "vfat", "fat", "fat32", "swap", "none"] })
    }
}

/// The size of a partition.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PartitionSize {
    /// So many bytes.
    Bytes(ByteSize),
    /// So many hundredths of the disk without its partition table, 1 to 100.
    Percent(u8),
    /// What the others leave.
    Rest,
    /// As small as its files allow, with some room for more.
    Fit,
}

impl FromText for PartitionSize {
    const WHAT: &'static str = "the size of a partition";

    fn from_text(text: &str) -> Result<Self, String> {
        const FORM: &str = "expected 512MiB, 25%, rest or fit";
        match text {
            "rest" => Ok(Self::Rest),
            "fit" | "min" => Ok(Self::Fit),
            _ => match text.strip_suffix('%') {
                Some(number) => match number.trim_end().parse() {
                    Ok(percent @ 1..=100) if !number.starts_with('+') => Ok(Self::Percent(percent)),
                    _ => Err("a percentage is a whole number from 1 to 100".to_owned()),
                },
                None if text.starts_with(|c: char| c.is_ascii_digit()) => ByteSize::from_text(text).map(Self::Bytes),
                None => Err(FORM.to_owned()),
            },
        }
    }
}

impl fmt::Display for PartitionSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bytes(bytes) => bytes.fmt(f),
            Self::Percent(percent) => write!(f, "{percent}%"),
            Self::Rest => f.write_str("rest"),
            Self::Fit => f.write_str("fit"),
        }
    }
}

impl JsonSchema for PartitionSize {
    fn schema_name() -> Cow<'static, str> {
        "PartitionSize".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({ "anyOf": [
            { "enum": ["rest", "fit", "min"] },
            { "type": "string", "pattern": "^[0-9]{1,3} ?%$" },
            generator.subschema_for::<ByteSize>()
        ], "description": "`512MiB`, `25%`, `rest` or `fit`" })
    }
}

/// Where a partition is mounted.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum MountPoint {
    /// `none`.
    Nowhere,
    /// At this path, which may be the root.
    At(TreePath),
}

impl FromText for MountPoint {
    const WHAT: &'static str = "a mount point";

    fn from_text(text: &str) -> Result<Self, String> {
        match text {
            "none" => Ok(Self::Nowhere),
            "/" => Ok(Self::At(TreePath::root())),
            // fstab(5) separates its fields by blanks, and escapes with backslashes.
            _ if text.contains([' ', '\\']) => Err("it contains a blank or a backslash".to_owned()),
            _ => ImagePath::from_text(text).map(|path| Self::At(path.0)),
        }
    }
}

impl JsonSchema for MountPoint {
    fn schema_name() -> Cow<'static, str> {
        "MountPoint".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^(none|/[^ \\\\]*)$", "description": "an absolute path, or `none`" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_have_names_and_guids() {
        assert_eq!(PartitionRole::from_text("data"), Ok(PartitionRole::Linux));
        assert_eq!(PartitionRole::from_text("933AC7E1-2EB4-4F13-B844-0E14E2AEF915"), Ok(PartitionRole::Home));
        assert_eq!(PartitionRole::from_text("root-arm64"), Ok(PartitionRole::Guid(types::ARM64.root)));
        // What no name is for: a generic type is not /boot.
        assert_eq!(PartitionRole::from_text("0fc63daf-8483-4772-8e79-3d69d8477de4"), Ok(PartitionRole::Linux));
        let unknown = PartitionRole::from_text("hom").unwrap_err();
        assert!(unknown.ends_with("did you mean 'home'?"), "{unknown}");
        assert!(PartitionRole::from_text("00000000-0000-0000-0000-000000000000").is_err());
        assert!(PartitionRole::from_text("933ac7e12eb44f13b8440e14e2aef915").is_err());
    }

    #[test]
    fn sizes_are_bytes_shares_or_words() {
        assert_eq!(PartitionSize::from_text("512MiB"), Ok(PartitionSize::Bytes(ByteSize(512 << 20))));
        assert_eq!(PartitionSize::from_text("25%"), Ok(PartitionSize::Percent(25)));
        assert_eq!(PartitionSize::from_text("100 %"), Ok(PartitionSize::Percent(100)));
        assert_eq!(PartitionSize::from_text("min"), Ok(PartitionSize::Fit));
        for bad in ["0%", "101%", "2.5%", "-5%", "+5%", "%", "best", "", "-1G"] {
            assert!(PartitionSize::from_text(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn mount_points_are_paths_or_none() {
        assert_eq!(MountPoint::from_text("none"), Ok(MountPoint::Nowhere));
        assert_eq!(MountPoint::from_text("/"), Ok(MountPoint::At(TreePath::root())));
        for bad in ["", "home", "/a b", "/a\\040b", "/../x", "/a\tb"] {
            assert!(MountPoint::from_text(bad).is_err(), "{bad:?}");
        }
    }
}
