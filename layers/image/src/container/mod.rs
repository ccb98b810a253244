//! The containers of disks in one place: [`detect`] and [`open`] tell by the bytes which one a
//! file is, [`Writer`] writes any of them.

mod read;
mod write;

use std::fmt;

pub use read::{detect, open};
pub use write::{Options, Writer};

/// A container of a disk's bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[non_exhaustive]
pub enum Format {
    /// The bytes as they are ([`crate::raw`]).
    Raw,
    /// QEMU's copy-on-write disk ([`crate::qcow2`]).
    Qcow2,
    /// Microsoft's virtual hard disk, written as a fixed one ([`crate::vhd`]).
    Vhd,
    /// Hyper-V's virtual hard disk v2, dynamic ([`crate::vhdx`]).
    Vhdx,
    /// VMware's disk, written stream-optimised ([`crate::vmdk`]).
    Vmdk,
    /// VirtualBox's disk, written as a dynamic one ([`crate::vdi`]).
    Vdi,
}

impl Format {
    /// Every format, in the order in which they are told.
    pub const ALL: &'static [Self] = &[Self::Raw, Self::Qcow2, Self::Vhd, Self::Vhdx, Self::Vmdk, Self::Vdi];

    /// Its name; also what its files' names end with.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::Qcow2 => "qcow2",
            Self::Vhd => "vhd",
            Self::Vhdx => "vhdx",
            Self::Vmdk => "vmdk",
            Self::Vdi => "vdi",
        }
    }

    /// The unit that a disk's size is a multiple of in what we write, in bytes.
    pub const fn size_unit(self) -> u64 {
        match self {
            Self::Raw => 1,
            Self::Qcow2 | Self::Vhdx | Self::Vmdk | Self::Vdi => 512,
            Self::Vhd => crate::vhd::SIZE_UNIT_BYTES,
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
