//! The map of a file from its blocks to those of the file system (ext4 docs, "Extent Tree").

use std::ops::Range;

use super::bytes::{low16, low32, put16, put32};
use super::checksum::Checksums;
use crate::Error;

/// Bytes of an inode that hold its map.
pub(super) const MAP_BYTES: usize = 60;
/// Marks a node of an extent tree.
pub(super) const MAGIC: u16 = 0xf30a;
/// Most blocks of one written extent (a larger length means: not written).
pub(super) const EXTENT_BLOCKS_MAX: u64 = 32768;
/// Bytes of a node's header, of an entry.
pub(super) const ENTRY: usize = 12;
/// Entries that fit into the inode.
const ROOT_ENTRIES: usize = 4;

/// One entry of a node: a first block of the file, and where it or a node for it lies.
#[derive(Clone, Copy)]
struct Entry {
    logical: u32,
    /// Blocks; 0 in nodes above the leaves.
    length: u16,
    place: u64,
}

/// How many extents a list of places needs.
fn extents(places: &[Range<u64>]) -> u64 {
    places.iter().map(|place| (place.end - place.start).div_ceil(EXTENT_BLOCKS_MAX)).sum()
}

/// How many blocks of nodes a file at these places needs besides its inode.
pub(super) fn node_blocks(places: &[Range<u64>], block_size: u32) -> u64 {
    let capacity = u64::from(block_size) / ENTRY as u64 - 1;
    let mut level = extents(places);
    let mut blocks = 0;
    while level > ROOT_ENTRIES as u64 {
        level = level.div_ceil(capacity);
        blocks += level;
    }
    blocks
}

/// Builds the map of a file whose blocks lie at `places`, in order. The nodes, one block each,
/// are given to `node` with their place.
pub(super) fn map(
    places: &[Range<u64>],
    block_size: u32,
    checksums: Checksums,
    nodes: &[u64],
    mut node: impl FnMut(u64, Vec<u8>),
) -> Result<[u8; MAP_BYTES], Error> {
    let mut level = Vec::new();
    let mut logical = 0u64;
    for place in places {
        let mut at = place.start;
        while at < place.end {
            let length = (place.end - at).min(EXTENT_BLOCKS_MAX);
            let first = u32::try_from(logical).map_err(|_| Error::Overflow("the blocks of a file"))?;
            // At most 32768, see above.
            level.push(Entry { logical: first, length: length as u16, place: at });
            logical += length;
            at += length;
        }
    }
    let capacity = block_size as usize / ENTRY - 1;
    let mut free = nodes.iter();
    let mut depth = 0u16;
    while level.len() > ROOT_ENTRIES {
        let mut above = Vec::with_capacity(level.len().div_ceil(capacity));
        for entries in level.chunks(capacity) {
            let place = *free.next().ok_or(Error::Overflow("the nodes of an extent tree"))?;
            let mut bytes = vec![0; block_size as usize];
            encode(&mut bytes, entries, capacity, depth);
            let tail = ENTRY * (capacity + 1);
            let checksum = checksums.then(&bytes[..tail]).value();
            put32(&mut bytes, tail, checksum);
            node(place, bytes);
            above.push(Entry { logical: entries[0].logical, length: 0, place });
        }
        level = above;
        depth += 1;
    }
    let mut root = [0; MAP_BYTES];
    encode(&mut root, &level, ROOT_ENTRIES, depth);
    Ok(root)
}

fn encode(bytes: &mut [u8], entries: &[Entry], capacity: usize, depth: u16) {
    put16(bytes, 0, MAGIC);
    // Both fit: a node has at most 4096 / 12 entries.
    put16(bytes, 2, entries.len() as u16);
    put16(bytes, 4, capacity as u16);
    put16(bytes, 6, depth);
    for (entry, bytes) in entries.iter().zip(bytes[ENTRY..].chunks_exact_mut(ENTRY)) {
        put32(bytes, 0, entry.logical);
        let high = low16(low32(entry.place >> 32));
        if depth == 0 {
            put16(bytes, 4, entry.length);
            put16(bytes, 6, high);
            put32(bytes, 8, low32(entry.place));
        } else {
            put32(bytes, 4, low32(entry.place));
            put16(bytes, 8, high);
        }
    }
}
