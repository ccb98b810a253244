//! What lies on a part of a disk, by the magic numbers that blkid(8) goes by.

use std::fmt;

use crate::Error;
use crate::medium::Medium;

/// Something that a part of a disk can hold.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Format {
    /// ext2, ext3 or ext4.
    Ext,
    /// FAT12, FAT16 or FAT32.
    Fat,
    /// Swap space of Linux.
    Swap,
    /// XFS.
    Xfs,
    /// Btrfs.
    Btrfs,
    /// SquashFS.
    Squashfs,
    /// EROFS.
    Erofs,
    /// ISO 9660.
    Iso9660,
    /// NTFS.
    Ntfs,
    /// An encrypted volume.
    Luks,
    /// A physical volume of LVM.
    Lvm,
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ext => "ext4",
            Self::Fat => "vfat",
            Self::Swap => "swap",
            Self::Xfs => "xfs",
            Self::Btrfs => "btrfs",
            Self::Squashfs => "squashfs",
            Self::Erofs => "erofs",
            Self::Iso9660 => "iso9660",
            Self::Ntfs => "ntfs",
            Self::Luks => "crypto_LUKS",
            Self::Lvm => "LVM2_member",
        })
    }
}

/// Format, where its magic number lies in bytes, and the number. Swap lies at the end of its first
/// page, whose size is the machine's that made it.
const MAGIC: &[(Format, u64, &[u8])] = &[
    (Format::Luks, 0, b"LUKS\xba\xbe"),
    (Format::Lvm, 512, b"LABELONE"),
    (Format::Xfs, 0, b"XFSB"),
    (Format::Squashfs, 0, b"hsqs"),
    (Format::Ntfs, 3, b"NTFS    "),
    (Format::Erofs, 1024, b"\xe2\xe1\xf5\xe0"),
    (Format::Ext, 1080, b"\x53\xef"),
    (Format::Swap, 4086, b"SWAPSPACE2"),
    (Format::Swap, 16374, b"SWAPSPACE2"),
    (Format::Swap, 65526, b"SWAPSPACE2"),
    (Format::Iso9660, 32769, b"CD001"),
    (Format::Btrfs, 65600, b"_BHRfS_M"),
    // Last: boot code may lie before anything else, with words like these in it.
    (Format::Fat, 54, b"FAT12   "),
    (Format::Fat, 54, b"FAT16   "),
    (Format::Fat, 82, b"FAT32   "),
];

/// What these bytes are; `None` if nothing that we know.
///
/// # Errors
/// Those of the medium.
pub fn identify(medium: &dyn Medium) -> Result<Option<Format>, Error> {
    for (format, at, magic) in MAGIC {
        let mut found = [0; 16];
        let found = &mut found[..magic.len()];
        if at + magic.len() as u64 <= medium.size() {
            medium.read_at(*at, found)?;
            if found == *magic {
                return Ok(Some(*format));
            }
        }
    }
    Ok(None)
}
