//! The fixed structures and numbers (binary format, sections "Superblock" and "Inode Table").

use crate::Error;
use crate::bytes::{Fields, put};

use super::{FORMAT, unsupported};

/// "hsqs" as a little-endian number.
pub(super) const MAGIC: u32 = 0x7371_7368;
/// Length of the superblock, in bytes.
pub(super) const SUPERBLOCK_BYTES: usize = 96;
/// Most bytes in a block of metadata before it is compressed.
pub(super) const METADATA_BYTES: usize = 8192;
/// In the length of a block of metadata: it is not compressed.
pub(super) const RAW_METADATA: u16 = 0x8000;
/// In the length of a block of data: it is not compressed.
pub(super) const RAW_DATA: u32 = 1 << 24;
/// No fragment, no attributes.
pub(super) const NONE: u32 = u32::MAX;
/// No such table.
pub(super) const NO_TABLE: u64 = u64::MAX;
/// Sizes of data blocks, in bytes, both included.
pub(super) const BLOCK_BYTES: std::ops::RangeInclusive<u32> = 4096..=1 << 20;
/// Most entries that follow one header in a directory (squashfs_fs.h, `SQUASHFS_DIR_COUNT`).
pub(super) const RUN_MAX: usize = 256;
/// A directory says its length with so many bytes more, for "." and ".." (squashfs docs, "Directories").
pub(super) const DOTS: u32 = 3;
/// Most bytes of a symbolic link's target: Linux takes no more (`PATH_MAX` without its NUL).
pub(super) const TARGET_MAX: usize = 4095;
/// Most bytes of an attribute's value (Linux, `XATTR_SIZE_MAX`).
pub(super) const VALUE_MAX: usize = 65536;
/// Most bytes of an attribute's name, its prefix included (Linux, `XATTR_NAME_MAX`).
pub(super) const ATTRIBUTE_NAME_MAX: usize = 255;
/// What names of attributes can begin with, and the number of each is its place.
pub(super) const PREFIXES: [&[u8]; 3] = [b"user.", b"trusted.", b"security."];
/// In the number of a prefix: the value lies elsewhere.
pub(super) const ELSEWHERE: u16 = 0x100;

/// The types of basic inodes; extended ones are higher by [`EXTENDED`].
pub(super) const DIRECTORY: u16 = 1;
pub(super) const FILE: u16 = 2;
pub(super) const SYMLINK: u16 = 3;
pub(super) const BLOCK_DEVICE: u16 = 4;
pub(super) const CHAR_DEVICE: u16 = 5;
pub(super) const FIFO: u16 = 6;
pub(super) const SOCKET: u16 = 7;
pub(super) const EXTENDED: u16 = 7;

/// Flags of the superblock; they inform, and the kernel goes by none of them but the last.
pub(super) const ALWAYS_FRAGMENTS: u16 = 0x20;
pub(super) const DUPLICATES: u16 = 0x40;
pub(super) const EXPORTABLE: u16 = 0x80;
pub(super) const COMPRESSOR_OPTIONS: u16 = 0x400;

/// A place in a table of metadata.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub(super) struct Place {
    /// Where the compressed block begins, in bytes from the start of the table.
    pub block: u64,
    /// Bytes into what the block holds.
    pub offset: u16,
}

impl Place {
    /// As it is written.
    pub fn reference(self) -> u64 {
        self.block << 16 | u64::from(self.offset)
    }

    pub fn of_reference(reference: u64) -> Self {
        // The lower 16 bits.
        Self { block: reference >> 16, offset: reference as u16 }
    }

    /// The block where 32 bits are kept for it.
    pub fn short_block(self) -> Result<u32, Error> {
        u32::try_from(self.block).map_err(|_| unsupported("the tree", "its inodes or names take more than 4 GiB"))
    }
}

/// Compressors, by their numbers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Compressor {
    Gzip = 1,
    Xz = 4,
    Zstd = 6,
}

/// What stands at the start. Places are bytes from there.
#[derive(Clone, Debug)]
pub(super) struct Superblock {
    pub inodes: u32,
    pub created: u32,
    pub block_size: u32,
    pub fragments: u32,
    pub compressor: Compressor,
    pub flags: u16,
    pub ids: u16,
    /// A place in the table of inodes.
    pub root: u64,
    pub bytes: u64,
    pub id_table: u64,
    pub attribute_table: u64,
    pub inode_table: u64,
    pub directory_table: u64,
    pub fragment_table: u64,
    pub export_table: u64,
}

impl Superblock {
    pub fn encode(&self) -> [u8; SUPERBLOCK_BYTES] {
        let mut bytes = [0; SUPERBLOCK_BYTES];
        put(&mut bytes, 0, &MAGIC.to_le_bytes());
        put(&mut bytes, 4, &self.inodes.to_le_bytes());
        put(&mut bytes, 8, &self.created.to_le_bytes());
        put(&mut bytes, 12, &self.block_size.to_le_bytes());
        put(&mut bytes, 16, &self.fragments.to_le_bytes());
        put(&mut bytes, 20, &(self.compressor as u16).to_le_bytes());
        // At most 20.
        put(&mut bytes, 22, &(self.block_size.trailing_zeros() as u16).to_le_bytes());
        put(&mut bytes, 24, &self.flags.to_le_bytes());
        put(&mut bytes, 26, &self.ids.to_le_bytes());
        put(&mut bytes, 28, &4u16.to_le_bytes());
        for (at, place) in [
            (32, self.root),
            (40, self.bytes),
            (48, self.id_table),
            (56, self.attribute_table),
            (64, self.inode_table),
            (72, self.directory_table),
            (80, self.fragment_table),
            (88, self.export_table),
        ] {
            put(&mut bytes, at, &place.to_le_bytes());
        }
        bytes
    }

    /// Reads it and checks what can be checked without the rest; `size` is that of the medium.
    pub fn decode(bytes: &[u8; SUPERBLOCK_BYTES], size: u64) -> Result<Self, Error> {
        let refuse = |offset: u64, reason: String| Err(Error::Damaged { format: FORMAT, offset, reason });
        let fields = Fields(bytes);
        if fields.u32_le(0) != MAGIC {
            return refuse(0, "the magic number of squashfs is not here".into());
        }
        let (major, minor) = (fields.u16_le(28), fields.u16_le(30));
        if (major, minor) != (4, 0) {
            return Err(unsupported(format!("version {major}.{minor}"), "this reader knows version 4.0"));
        }
        let compressor = match fields.u16_le(20) {
            1 => Compressor::Gzip,
            4 => Compressor::Xz,
            6 => Compressor::Zstd,
            number => {
                let name = match number {
                    2 => "lzma",
                    3 => "lzo",
                    5 => "lz4",
                    _ => "something unknown",
                };
                let what = format!("a file system compressed by {name} (number {number})");
                return Err(unsupported(what, "this reader knows gzip, xz and zstd"));
            }
        };
        let block_size = fields.u32_le(12);
        let log = u32::from(fields.u16_le(22));
        if !BLOCK_BYTES.contains(&block_size) || !block_size.is_power_of_two() || block_size.trailing_zeros() != log {
            return refuse(12, format!("blocks of {block_size} bytes, 2 to the {log}, are not possible"));
        }
        let found = Self {
            inodes: fields.u32_le(4),
            created: fields.u32_le(8),
            block_size,
            fragments: fields.u32_le(16),
            compressor,
            flags: fields.u16_le(24),
            ids: fields.u16_le(26),
            root: fields.u64_le(32),
            bytes: fields.u64_le(40),
            id_table: fields.u64_le(48),
            attribute_table: fields.u64_le(56),
            inode_table: fields.u64_le(64),
            directory_table: fields.u64_le(72),
            fragment_table: fields.u64_le(80),
            export_table: fields.u64_le(88),
        };
        if found.bytes > size {
            return refuse(40, format!("it has {} bytes, but what holds it ends at byte {size}", found.bytes));
        }
        if found.inode_table >= found.directory_table || found.directory_table > found.bytes {
            return refuse(64, "the tables of inodes and directories are not where they can be".into());
        }
        if found.id_table >= found.bytes || found.ids == 0 {
            return refuse(48, "there is no table of owners".into());
        }
        if found.fragments > 0 && found.fragment_table >= found.bytes {
            return refuse(80, "the table of fragments lies past the end".into());
        }
        if found.attribute_table != NO_TABLE && found.attribute_table >= found.bytes {
            return refuse(56, "the table of attributes lies past the end".into());
        }
        Ok(found)
    }
}

/// A device's numbers as the kernel packs them into 32 bits (Linux, `new_encode_dev`).
pub(super) fn encode_device(major: u32, minor: u32) -> Option<u32> {
    let fits = major < 1 << 12 && minor < 1 << 20;
    fits.then_some((minor & 0xff) | major << 8 | (minor & 0xf_ff00) << 12)
}

pub(super) fn decode_device(device: u32) -> (u32, u32) {
    ((device >> 8) & 0xfff, (device & 0xff) | (device >> 12) & 0xf_ff00)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_come_back() {
        for numbers in [(0, 0), (1, 3), (259, 260), (4095, 0xf_ffff)] {
            assert_eq!(decode_device(encode_device(numbers.0, numbers.1).unwrap()), numbers);
        }
        assert_eq!(encode_device(4096, 0), None);
        assert_eq!(encode_device(0, 1 << 20), None);
    }
}
