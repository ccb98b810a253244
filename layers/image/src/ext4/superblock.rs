//! The superblock (ext4 docs, "Super Block").

use super::bytes::{low16, low32, put16, put32, put64_split};
use super::checksum::{Checksums, crc32c};
use super::extent::MAP_BYTES;
use super::geometry::Geometry;
use super::inode::{EXTRA_BYTES, JOURNAL, LOST_AND_FOUND};
use super::{Feature, Options};

/// Bytes of a superblock.
pub(super) const BYTES: usize = 1024;
/// Where the first one lies, bytes.
pub(super) const OFFSET: u64 = 1024;
/// The magic number and its place, bytes.
pub(super) const MAGIC: u16 = 0xef53;
pub(super) const MAGIC_AT: usize = 0x38;
/// Place of the checksum, bytes.
pub(super) const CHECKSUM_AT: usize = 0x3fc;

/// The map and the size of the journal's inode.
pub(super) type JournalCopy = ([u8; MAP_BYTES], u64);

/// What the superblock counts and points at.
pub(super) struct Totals {
    pub free_blocks: u64,
    pub free_inodes: u32,
    /// Blocks that files can never use.
    pub overhead: u64,
    /// Kept here as well, for when the inode is damaged.
    pub journal: Option<JournalCopy>,
    /// The inode of the orphan file.
    pub orphans: Option<u32>,
}

/// Encodes the copy that lies in a group.
pub(super) fn encode(
    options: &Options,
    geometry: &Geometry,
    checksums: Checksums,
    totals: &Totals,
    group: u32,
) -> Vec<u8> {
    let mut bytes = vec![0; BYTES];
    let out = bytes.as_mut_slice();
    put32(out, 0x00, geometry.inodes());
    put64_split(out, 0x04, 0x150, geometry.blocks);
    put64_split(out, 0x08, 0x154, geometry.blocks * u64::from(options.reserved_percent) / 100);
    put64_split(out, 0x0c, 0x158, totals.free_blocks);
    put32(out, 0x10, totals.free_inodes);
    put32(out, 0x14, geometry.first_block);
    let log = geometry.block_size.trailing_zeros() - 10;
    put32(out, 0x18, log);
    put32(out, 0x1c, log);
    put32(out, 0x20, geometry.group_blocks);
    put32(out, 0x24, geometry.group_blocks);
    put32(out, 0x28, geometry.group_inodes);
    // Written, checked and made at the same time: seconds, then the upper eight bits.
    let (seconds, upper) = (options.created.seconds.cast_unsigned(), 0x274);
    for (low, high) in [(0x30, upper), (0x40, upper + 3), (0x108, upper + 2)] {
        put32(out, low, low32(seconds));
        out[high] = (seconds >> 32 & 0xff) as u8;
    }
    // Never to be checked for having been mounted often.
    put16(out, 0x36, 0xffff);
    put16(out, MAGIC_AT, MAGIC);
    // Cleanly unmounted; on errors go on; revision 1.
    put16(out, 0x3a, 1);
    put16(out, 0x3c, 1);
    put32(out, 0x4c, 1);
    put32(out, 0x54, LOST_AND_FOUND);
    put16(out, 0x58, low16(geometry.inode_size));
    put16(out, 0x5a, low16(group));
    for (at, word) in [0x5c, 0x60, 0x64].into_iter().zip(geometry.features.words()) {
        put32(out, at, word);
    }
    out[0x68..0x78].copy_from_slice(&options.uuid);
    out[0x78..0x78 + options.label.len()].copy_from_slice(&options.label);
    out[0x88..0x88 + options.last_mounted.len()].copy_from_slice(&options.last_mounted);
    put16(out, 0xce, low16(geometry.reserved_blocks));
    if let Some((map, size)) = totals.journal {
        put32(out, 0xe0, JOURNAL);
        // A copy of the inode's map and size (EXT3_JNL_BACKUP_BLOCKS).
        out[0xfd] = 1;
        out[0x10c..0x10c + MAP_BYTES].copy_from_slice(&map);
        put32(out, 0x148, low32(size >> 32));
        put32(out, 0x14c, low32(size));
    }
    out[0xec..0xfc].copy_from_slice(&options.hash_seed);
    // Half MD4, the hash of new directories.
    out[0xfc] = 1;
    if geometry.features.has(Feature::BITS_64) {
        put16(out, 0xfe, low16(geometry.descriptor_size));
    }
    // Mounted with user_xattr and acl (mke2fs.conf, default_mntopts).
    put32(out, 0x100, 0x4 | 0x8);
    put16(out, 0x15c, EXTRA_BYTES);
    put16(out, 0x15e, EXTRA_BYTES);
    // Hashes are over signed characters, as mke2fs says on x86; the kernel obeys it everywhere.
    put32(out, 0x160, 1);
    if geometry.features.has(Feature::FLEX_BG) {
        out[0x174] = (geometry.flex_groups.trailing_zeros() & 0xff) as u8;
    }
    put32(out, 0x248, low32(totals.overhead));
    if let Some(inode) = totals.orphans {
        put32(out, 0x280, inode);
    }
    if let Some(seed) = checksums.seed() {
        // CRC-32C, the only type.
        out[0x175] = 1;
        if geometry.features.has(Feature::METADATA_CSUM_SEED) {
            put32(out, 0x270, seed);
        }
        let checksum = crc32c(!0, &out[..CHECKSUM_AT]);
        put32(out, CHECKSUM_AT, checksum);
    }
    bytes
}
