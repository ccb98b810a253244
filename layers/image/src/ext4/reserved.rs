//! The file system's own files: journal, resize inode, orphan file.

use super::bytes::{low32, put32, put32_big};
use super::checksum::Checksums;
use super::extent::MAP_BYTES;
use super::geometry::Geometry;

/// The journal's first block: its superblock, version 2, as mke2fs leaves it (ext4 docs, "Journal
/// (jbd2)": big-endian; empty, so that the rest may stay zero).
pub(super) fn journal_superblock(geometry: &Geometry, blocks: u32, uuid: &[u8; 16]) -> Vec<u8> {
    let mut bytes = vec![0; 1024];
    put32_big(&mut bytes, 0x00, 0xc03b_3998);
    put32_big(&mut bytes, 0x04, 4);
    put32_big(&mut bytes, 0x0c, geometry.block_size);
    put32_big(&mut bytes, 0x10, blocks);
    // First block of the log, first transaction; a start of 0 says that there is nothing to do.
    put32_big(&mut bytes, 0x14, 1);
    put32_big(&mut bytes, 0x18, 1);
    bytes[0x30..0x40].copy_from_slice(uuid);
    // Number of file systems that use it.
    put32_big(&mut bytes, 0x40, 1);
    bytes
}

/// The resize inode owns the reserve of group descriptors: a block of its own names the reserve
/// in the first group, each block of which names its copies (ext4 docs, "Special inodes", 7).
pub(super) struct ResizeInode {
    /// The map of the inode.
    pub map: [u8; MAP_BYTES],
    /// The block that names the reserve.
    pub double: Vec<u8>,
    /// Length in bytes.
    pub size: u64,
    /// Blocks that it owns.
    pub blocks: u64,
}

/// Slot of the doubly indirect block in an inode's map.
const DOUBLE_SLOT: usize = 13;

pub(super) fn resize_inode(geometry: &Geometry, double_at: u64) -> ResizeInode {
    let block = u64::from(geometry.block_size);
    let per_block = block / 4;
    let mut map = [0; MAP_BYTES];
    put32(&mut map, DOUBLE_SLOT * 4, low32(double_at));
    let mut double = vec![0; geometry.block_size as usize];
    for index in 0..u64::from(geometry.reserved_blocks) {
        let slot = (u64::from(geometry.descriptor_blocks) + index) % per_block;
        put32(&mut double, slot as usize * 4, low32(reserve_at(geometry, 0, index)));
    }
    let heads = 1 + copies(geometry).count() as u64;
    ResizeInode {
        map,
        double,
        size: (12 + per_block + per_block * per_block) * block,
        blocks: 1 + u64::from(geometry.reserved_blocks) * heads,
    }
}

/// The groups besides the first that hold copies.
fn copies(geometry: &Geometry) -> impl Iterator<Item = u32> + '_ {
    (1..geometry.groups).filter(|group| geometry.has_head(*group))
}

/// Where block `index` of the reserve lies in a group.
fn reserve_at(geometry: &Geometry, group: u32, index: u64) -> u64 {
    geometry.group_start(group) + 1 + u64::from(geometry.descriptor_blocks) + index
}

/// The reserve of the first group: each block names its copies in the other groups.
pub(super) fn reserve(geometry: &Geometry) -> Vec<u8> {
    let block = geometry.block_size as usize;
    let groups: Vec<u32> = copies(geometry).collect();
    let mut bytes = vec![0; block * geometry.reserved_blocks as usize];
    for (index, bytes) in bytes.chunks_exact_mut(block).enumerate() {
        for (slot, group) in bytes.chunks_exact_mut(4).zip(&groups) {
            put32(slot, 0, low32(reserve_at(geometry, *group, index as u64)));
        }
    }
    bytes
}

/// Marks a block of the orphan file (ext4 docs, "Orphan file").
const ORPHAN_MAGIC: u32 = 0x0b10_ca04;

/// One empty block of the orphan file at a place.
pub(super) fn orphan_block(geometry: &Geometry, checksums: Checksums, place: u64) -> Vec<u8> {
    let mut bytes = vec![0; geometry.block_size as usize];
    let tail = bytes.len() - 8;
    let checksum = checksums.then(&place.to_le_bytes()).then(&bytes[..tail]).value();
    put32(&mut bytes, tail, ORPHAN_MAGIC);
    put32(&mut bytes, tail + 4, checksum);
    bytes
}
