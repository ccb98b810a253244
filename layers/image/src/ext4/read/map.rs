//! Where the blocks of a file lie: by extents, and by the block maps of ext2 and ext3. Each
//! question walks from the inode down, so that no hostile map fills memory.

use super::super::bytes::{get16, get32};
use super::super::extent::{ENTRY, EXTENT_BLOCKS_MAX, MAGIC};
use super::{FileKind, Node, Volume, damaged};
use crate::Error;

/// Levels below the inode that an extent tree has at most (ext4 docs, "Extent Tree").
const DEPTH_MAX: u16 = 5;
/// Blocks that the map of ext2 names directly.
const DIRECT: u64 = 12;

/// Some blocks of a file that follow each other.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stretch {
    /// The first one's place; `None`: they are holes.
    pub place: Option<u64>,
    /// How many, at least one.
    pub blocks: u64,
}

impl Volume<'_> {
    /// Reads bytes of a file, a directory or a long symbolic link from `offset` on; gives how many
    /// there were, fewer than asked for only at the end.
    ///
    /// # Errors
    /// [`Error::Damaged`] for maps that contradict themselves; errors of the medium.
    pub fn read(&self, node: &Node, offset: u64, buffer: &mut [u8]) -> Result<usize, Error> {
        if !matches!(node.kind, FileKind::File | FileKind::Directory | FileKind::Symlink) {
            return Ok(0);
        }
        let wanted = (buffer.len() as u64).min(node.size.saturating_sub(offset));
        let block = u64::from(self.block_size);
        let mut done = 0u64;
        while done < wanted {
            // Below the size of a file, so the sum fits.
            let at = offset + done;
            let stretch = self.locate(node, at / block)?;
            let within = at % block;
            let length = stretch.blocks.saturating_mul(block).saturating_sub(within).min(wanted - done);
            // Within the buffer, whose length is a usize.
            let part = &mut buffer[done as usize..(done + length) as usize];
            match stretch.place {
                None => part.fill(0),
                Some(place) => {
                    self.offset(place + stretch.blocks - 1)?;
                    self.medium.read_at(self.offset(place)?.saturating_add(within), part)?;
                }
            }
            done += length;
        }
        Ok(wanted as usize)
    }

    /// Where block `logical` of a file lies, and how many after it follow it.
    pub(super) fn locate(&self, node: &Node, logical: u64) -> Result<Stretch, Error> {
        if node.has_extents() { self.locate_extent(node, logical) } else { self.locate_mapped(node, logical) }
    }

    fn locate_extent(&self, node: &Node, logical: u64) -> Result<Stretch, Error> {
        let refuse = |reason: &str| damaged(0, format!("the extents of inode {} {reason}", node.number));
        let mut bytes = node.map.to_vec();
        let mut expected = None;
        // The first block past what the nodes above say that this one knows of.
        let mut end = u64::from(u32::MAX) + 1;
        loop {
            let (entries, most, depth) = (get16(&bytes, 2), get16(&bytes, 4), get16(&bytes, 6));
            let room = bytes.len() / ENTRY - 1;
            if get16(&bytes, 0) != MAGIC || entries > most || usize::from(most) > room {
                return Err(refuse("have no valid node where one is expected"));
            }
            if depth > DEPTH_MAX || expected.is_some_and(|expected| expected != depth) {
                return Err(refuse("have nodes of the wrong depth"));
            }
            let entry = |index: usize| bytes.get(ENTRY * (index + 1)..).unwrap_or(&[]);
            let first = |index: usize| u64::from(get32(entry(index), 0));
            // Entries ascend: the last one that does not begin after the block.
            let (mut low, mut high) = (0, usize::from(entries));
            while low < high {
                let middle = low + (high - low) / 2;
                if first(middle) <= logical { low = middle + 1 } else { high = middle }
            }
            if low < usize::from(entries) {
                end = end.min(first(low));
            }
            let hole = Stretch { place: None, blocks: end.saturating_sub(logical).max(1) };
            let Some(index) = low.checked_sub(1) else { return Ok(hole) };
            let found = entry(index);
            if depth == 0 {
                let length = u64::from(get16(found, 4));
                let unwritten = length > EXTENT_BLOCKS_MAX;
                let length = if unwritten { length - EXTENT_BLOCKS_MAX } else { length };
                let within = logical - first(index);
                if within >= length {
                    return Ok(hole);
                }
                let place = u64::from(get32(found, 8)) | u64::from(get16(found, 6)) << 32;
                return Ok(Stretch { place: (!unwritten).then_some(place + within), blocks: length - within });
            }
            let place = u64::from(get32(found, 4)) | u64::from(get16(found, 8)) << 32;
            bytes = self.block(place)?;
            let tail = ENTRY * (1 + usize::from(get16(&bytes, 4)));
            let checksums = self.checksums.of_inode(node.number, node.generation);
            if checksums.on()
                && (tail + 4 > bytes.len() || checksums.then(&bytes[..tail]).value() != get32(&bytes, tail))
            {
                return Err(refuse("have a node with a wrong checksum"));
            }
            expected = Some(depth - 1);
        }
    }

    fn locate_mapped(&self, node: &Node, logical: u64) -> Result<Stretch, Error> {
        let place_or_hole = |place: u32| Stretch { place: (place != 0).then_some(u64::from(place)), blocks: 1 };
        let slot = |index: u64| get32(&node.map, index as usize * 4);
        if logical < DIRECT {
            return Ok(place_or_hole(slot(logical)));
        }
        let per_block = u64::from(self.block_size / 4);
        let mut rest = logical - DIRECT;
        let mut span = per_block;
        for level in 0..3 {
            if rest < span {
                let mut place = slot(DIRECT + level);
                let mut below = span;
                loop {
                    if place == 0 {
                        // Nothing is below: skip to where the next pointer of this level begins.
                        return Ok(Stretch { place: None, blocks: below - rest % below });
                    }
                    if below == 1 {
                        return Ok(place_or_hole(place));
                    }
                    below /= per_block;
                    let index = rest / below % per_block;
                    let offset = self.offset(u64::from(place))? + index * 4;
                    let mut bytes = [0; 4];
                    self.medium.read_at(offset, &mut bytes)?;
                    place = u32::from_le_bytes(bytes);
                }
            }
            rest -= span;
            span = span.saturating_mul(per_block);
        }
        Err(damaged(0, format!("inode {} has more blocks than its map can hold", node.number)))
    }

    /// The target of a symbolic link.
    ///
    /// # Errors
    /// As [`Volume::read`]; a target that is longer than a block.
    pub fn target(&self, node: &Node) -> Result<Vec<u8>, Error> {
        let own = if node.attribute_block == 0 { 0 } else { u64::from(self.block_size / 512) };
        let length = usize::try_from(node.size).unwrap_or(usize::MAX);
        if let Some(target) = node.map.get(..length)
            && !node.has_extents()
            && node.sectors <= own
        {
            return Ok(target.to_vec());
        }
        if node.size > u64::from(self.block_size) {
            return Err(damaged(0, format!("the symbolic link of inode {} is {} bytes long", node.number, node.size)));
        }
        let mut target = vec![0; length];
        self.read(node, 0, &mut target)?;
        Ok(target)
    }
}
