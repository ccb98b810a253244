//! The choices of a spec: closed sets of words, with the spellings that people use.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use super::names::FromText;

/// Declares an enum whose values are words: the first spelling is ours, the others are accepted.
macro_rules! choice {
    (
        $(#[$doc:meta])* $name:ident, $what:literal,
        $( $(#[$variant_doc:meta])* $variant:ident = $word:literal $(| $other:literal)* ),+ $(,)?
    ) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        pub enum $name {
            $( $(#[$variant_doc])* $variant ),+
        }

        impl $name {
            /// Every value, in order.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The word for it in specs and messages.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }
        }

        impl FromText for $name {
            const WHAT: &'static str = $what;

            fn from_text(text: &str) -> Result<Self, String> {
                match text {
                    $( $word $(| $other)* => Ok(Self::$variant), )+
                    _ => Err(format!("expected {} ({})", $what, [$($word),+].join(", "))),
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl std::str::FromStr for $name {
            type Err = String;

            fn from_str(text: &str) -> Result<Self, String> {
                Self::from_text(text)
            }
        }

        impl JsonSchema for $name {
            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                words_schema(&[$($word $(, $other)*),+])
            }
        }
    };
}

/// The words, and for those that YAML reads as a truth value, that too.
fn words_schema(words: &[&str]) -> Schema {
    let mut values: Vec<serde_json::Value> = words.iter().map(|word| (*word).into()).collect();
    values.extend(words.iter().filter_map(|word| word.parse::<bool>().ok()).map(Into::into));
    json_schema!({ "enum": values })
}

choice!(
    /// How much the base holds.
    Variant, "a type of base",
    /// What boots, answers on the network and can be logged in to.
    Minimal = "minimal",
    /// What an administrator expects on a server.
    Server = "server",
);

choice!(
    /// The processor that the image runs on: always a value, never the builder's own.
    Architecture, "an architecture",
    /// 64-bit x86.
    Amd64 = "amd64" | "x86_64" | "x86-64",
    /// 64-bit ARM.
    Arm64 = "arm64" | "aarch64",
);

impl Architecture {
    /// As deb names it.
    pub const fn deb(self) -> &'static str {
        match self {
            Self::Amd64 => "amd64",
            Self::Arm64 => "arm64",
        }
    }

    /// As rpm and the kernel's `uname -m` name it.
    pub const fn rpm(self) -> &'static str {
        match self {
            Self::Amd64 => "x86_64",
            Self::Arm64 => "aarch64",
        }
    }

    /// As it stands in the name of a removable medium's boot file, `BOOT<this>.EFI` (UEFI 2.10,
    /// section 3.5.1.1).
    pub const fn uefi(self) -> &'static str {
        match self {
            Self::Amd64 => "X64",
            Self::Arm64 => "AA64",
        }
    }
}

choice!(
    /// What starts the kernel.
    Bootloader, "a boot loader",
    /// systemd-boot on the EFI system partition.
    SystemdBoot = "systemd-boot",
    /// None: the kernel is started from outside.
    None = "none",
    /// GRUB: signed, behind shim, and for a BIOS where there is a `bios` partition.
    Grub = "grub",
);

choice!(
    /// A container of the finished image.
    Format, "an output format",
    /// The bytes of the disk, sparse.
    Raw = "raw" | "img",
    /// QEMU's copy-on-write disk, version 3.
    Qcow2 = "qcow2",
    /// Virtual hard disk of fixed size, as Azure takes it.
    Vhd = "vhd",
    /// ISO 9660 image of the live system, for discs and USB sticks.
    Iso = "iso",
    /// The whole system as an initial RAM disk: a cpio archive, and the kernel beside it.
    Initrd = "initrd",
    /// The root as a tar archive, extended attributes and all.
    Tar = "tar",
    /// OCI image: an image layout in a tar file.
    Oci = "oci",
);

impl Format {
    /// What its file name ends with, without a dot.
    pub const fn extension(self) -> &'static str {
        match self {
            Self::Initrd => "cpio",
            Self::Oci => "oci.tar",
            other => other.as_str(),
        }
    }

    /// Whether it holds a disk with its partitions, not just a tree.
    pub const fn is_disk(self) -> bool {
        matches!(self, Self::Raw | Self::Qcow2 | Self::Vhd)
    }
}

choice!(
    /// How an output is compressed: a raw image or an archive as a whole, a qcow2 image inside,
    /// cluster by cluster.
    Compression, "a compression",
    /// Not at all.
    None = "none",
    /// gzip; zlib clusters in qcow2.
    Gzip = "gzip" | "gz",
    /// xz; raw images and archives only.
    Xz = "xz",
    /// Zstandard.
    Zstd = "zstd" | "zst",
);

impl Compression {
    /// What a compressed file's name ends with, without a dot; empty for none.
    pub const fn extension(self) -> &'static str {
        match self {
            Self::None => "",
            Self::Gzip => "gz",
            Self::Xz => "xz",
            Self::Zstd => "zst",
        }
    }

    /// Whether this makes sense with a format.
    pub const fn fits(self, format: Format) -> bool {
        match format {
            Format::Raw | Format::Initrd | Format::Tar => true,
            // qcow2 knows deflate and zstd clusters (QEMU, docs/interop/qcow2.txt, header field
            // compression_type); what boots or is uploaded as it is must not be wrapped.
            Format::Qcow2 => matches!(self, Self::None | Self::Gzip | Self::Zstd),
            // What the image specification knows (layer.md).
            Format::Oci => matches!(self, Self::None | Self::Gzip | Self::Zstd),
            Format::Vhd | Format::Iso => matches!(self, Self::None),
        }
    }
}

choice!(
    /// A stage of a build, in order.
    Stage, "a stage",
    /// Is the spec right, and is everything there that it names?
    Validate = "validate",
    /// Which packages, and their bytes.
    Packages = "packages",
    /// The packages installed: the distribution's own tree.
    Compose = "compose",
    /// What the spec changes in it.
    Configuration = "configuration",
    /// The tree written as images.
    Finalize = "finalize",
);

choice!(
    /// What an interface asks a DHCP server for.
    Dhcp, "a use of DHCP",
    /// Nothing.
    No = "no" | "false",
    /// An address of either family.
    Yes = "yes" | "true",
    /// An IPv4 address.
    Ipv4 = "ipv4",
    /// An IPv6 address.
    Ipv6 = "ipv6",
);

choice!(
    /// The type of a debconf question's answer (debconf-devel(7)).
    DebconfType, "a type of debconf question",
    /// True or false.
    Boolean = "boolean",
    /// One of several.
    Select = "select",
    /// Some of several.
    Multiselect = "multiselect",
    /// Free text.
    String = "string",
    /// A note.
    Note = "note",
    /// A text shown.
    Text = "text",
    /// A secret.
    Password = "password",
);
