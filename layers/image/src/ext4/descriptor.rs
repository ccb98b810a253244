//! Group descriptors and bitmaps (ext4 docs, "Block Group Descriptors", "Block and Inode Bitmaps").

use std::ops::Range;

use super::bytes::{low32, put16, put32_split, put64_split};
use super::checksum::{Checksums, of_descriptor};
use super::geometry::Geometry;

const INODES_UNWRITTEN: u16 = 0x1;
const BLOCKS_UNWRITTEN: u16 = 0x2;
/// What is left out reads as zero, so the kernel need not clear inode tables after mounting.
const TABLE_ZEROED: u16 = 0x4;

/// Where the metadata of a group lies.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tables {
    pub block_bitmap: u64,
    pub inode_bitmap: u64,
    pub inode_table: u64,
}

/// What a group holds, and which of its structures are written.
#[derive(Clone, Copy, Debug)]
pub(super) struct Group {
    pub tables: Tables,
    pub free_blocks: u32,
    pub used_inodes: u32,
    pub directories: u32,
    pub writes_block_bitmap: bool,
    pub writes_inode_bitmap: bool,
}

/// Sets bits `range` of a bitmap.
fn set(bitmap: &mut [u8], range: Range<u64>) {
    let mut bit = range.start;
    while bit < range.end {
        let byte = (bit / 8) as usize;
        if bit.is_multiple_of(8) && range.end - bit >= 8 {
            let whole = ((range.end - bit) / 8) as usize;
            bitmap[byte..byte + whole].fill(0xff);
            bit += whole as u64 * 8;
        } else {
            bitmap[byte] |= 1 << (bit % 8);
            bit += 1;
        }
    }
}

/// The ranges of `taken` that touch `range`.
fn touching(taken: &[Range<u64>], range: Range<u64>) -> impl Iterator<Item = Range<u64>> + '_ {
    let first = taken.partition_point(|found| found.end <= range.start);
    taken[first..]
        .iter()
        .take_while(move |found| found.start < range.end)
        .map(move |found| found.start.max(range.start)..found.end.min(range.end))
}

/// How many blocks of a range are taken.
pub(super) fn taken_in(taken: &[Range<u64>], range: Range<u64>) -> u64 {
    touching(taken, range).map(|found| found.end - found.start).sum()
}

/// The bitmap of a group's blocks, one block long; bits past the group are set.
pub(super) fn block_bitmap(geometry: &Geometry, taken: &[Range<u64>], group: u32, bitmap: &mut [u8]) {
    bitmap.fill(0);
    let start = geometry.group_start(group);
    let end = geometry.group_end(group);
    for found in touching(taken, start..end) {
        set(bitmap, found.start - start..found.end - start);
    }
    set(bitmap, end - start..bitmap.len() as u64 * 8);
}

/// The bitmap of a group's inodes, of which the first `used` are used.
pub(super) fn inode_bitmap(geometry: &Geometry, used: u32, bitmap: &mut [u8]) {
    bitmap.fill(0);
    set(bitmap, 0..u64::from(used));
    set(bitmap, u64::from(geometry.group_inodes)..bitmap.len() as u64 * 8);
}

/// Encodes all group descriptors.
pub(super) fn encode(
    geometry: &Geometry,
    checksums: Checksums,
    uuid: &[u8; 16],
    taken: &[Range<u64>],
    groups: &[Group],
) -> Vec<u8> {
    let size = geometry.descriptor_size as usize;
    let mut all = vec![0; size * groups.len()];
    let mut bitmap = vec![0; geometry.block_size as usize];
    let skips = geometry.features.has_group_checksums();
    // Upper halves are written into a wide descriptor and cut off where there is no room.
    for ((number, group), place) in (0u32..).zip(groups).zip(all.chunks_exact_mut(size)) {
        let mut bytes = [0; 64];
        put64_split(&mut bytes, 0x00, 0x20, group.tables.block_bitmap);
        put64_split(&mut bytes, 0x04, 0x24, group.tables.inode_bitmap);
        put64_split(&mut bytes, 0x08, 0x28, group.tables.inode_table);
        put32_split(&mut bytes, 0x0c, 0x2c, group.free_blocks);
        put32_split(&mut bytes, 0x0e, 0x2e, geometry.group_inodes - group.used_inodes);
        put32_split(&mut bytes, 0x10, 0x30, group.directories);
        if skips {
            let mut flags = TABLE_ZEROED;
            if !group.writes_inode_bitmap {
                flags |= INODES_UNWRITTEN;
            }
            if !group.writes_block_bitmap {
                flags |= BLOCKS_UNWRITTEN;
            }
            put16(&mut bytes, 0x12, flags);
            // Used inodes come first, so that all the others are unused ones at the end.
            put32_split(&mut bytes, 0x1c, 0x32, geometry.group_inodes - group.used_inodes);
        }
        if checksums.on() && group.writes_block_bitmap {
            block_bitmap(geometry, taken, number, &mut bitmap);
            put32_split(&mut bytes, 0x18, 0x38, checksums.of(&bitmap[..geometry.group_blocks as usize / 8]));
        }
        if checksums.on() && group.writes_inode_bitmap {
            inode_bitmap(geometry, group.used_inodes, &mut bitmap);
            put32_split(&mut bytes, 0x1a, 0x3a, checksums.of(&bitmap[..geometry.group_inodes as usize / 8]));
        }
        let checksum = of_descriptor(geometry.features, checksums, uuid, number, &bytes[..size]);
        put16(&mut bytes, 0x1e, checksum);
        place.copy_from_slice(&bytes[..size]);
    }
    all
}

/// The groups, given where their metadata lies, which blocks are taken, and how many inodes are
/// used from the first on, with their directories.
pub(super) fn groups(
    geometry: &Geometry,
    tables: &[Tables],
    taken: &[Range<u64>],
    used_inodes: u32,
    is_directory: impl Fn(u32) -> bool,
) -> Vec<Group> {
    let skips = geometry.features.has_group_checksums();
    let mut found = Vec::with_capacity(tables.len());
    for (number, tables) in (0u32..).zip(tables) {
        let range = geometry.group_start(number)..geometry.group_end(number);
        let taken_here = taken_in(taken, range.clone());
        let first = number.saturating_mul(geometry.group_inodes);
        let used = used_inodes.saturating_sub(first).min(geometry.group_inodes);
        let directories = (first..first + used).filter(|index| is_directory(index + 1)).count();
        let head = if geometry.has_head(number) { geometry.head_blocks() } else { 0 };
        // The kernel fills in an unwritten bitmap from the group's own descriptor alone. e2fsck
        // wants the last group's written.
        let is_plain = taken_here == head && number + 1 != geometry.groups;
        found.push(Group {
            tables: *tables,
            free_blocks: low32(range.end - range.start - taken_here),
            used_inodes: used,
            directories: directories as u32,
            writes_block_bitmap: !(skips && is_plain),
            writes_inode_bitmap: !(skips && used == 0),
        });
    }
    found
}
