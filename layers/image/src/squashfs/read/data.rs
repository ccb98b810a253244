//! The bytes of files.

use std::sync::Arc;

use super::super::format::{Place, RAW_DATA};
use super::node::{Rest, Stretch};
use super::{Node, NodeId, Volume, damaged, locked, unpack};
use crate::Error;

/// A block of a file that was reached by adding up the lengths of those before it: files are
/// mostly read in order, and go on from there.
#[derive(Clone, Copy)]
pub(super) struct Reached {
    node: NodeId,
    /// The number of the block, and where it lies.
    block: u64,
    start: u64,
    /// Where its length is.
    lengths: (u64, usize),
}

impl Volume<'_> {
    /// Reads bytes of a file from `offset` on; gives how many there were, fewer than asked for
    /// only at the end.
    ///
    /// # Errors
    /// [`Error::Damaged`] for blocks that lie elsewhere, or do not unpack to what the file's size
    /// says; errors of the medium.
    pub fn read(&self, node: &Node, offset: u64, buffer: &mut [u8]) -> Result<usize, Error> {
        let Rest::File(stretch) = &node.rest else { return Ok(0) };
        let wanted = (buffer.len() as u64).min(node.size.saturating_sub(offset)) as usize;
        let size = u64::from(self.superblock.block_size);
        // Blocks before the end that a fragment holds.
        let whole = if stretch.fragment.is_some() { node.size / size } else { node.size.div_ceil(size) };
        let mut rest = &mut buffer[..wanted];
        let mut offset = offset;
        while !rest.is_empty() {
            let (number, within) = (offset / size, (offset % size) as usize);
            // At most a block, as is the part of it that is asked for.
            let length = (node.size - number * size).min(size) as usize;
            let (head, tail) = rest.split_at_mut(rest.len().min(length - within));
            let count = head.len();
            if number < whole {
                let (start, word) = self.locate(node, stretch, number)?;
                match word {
                    0 => head.fill(0),
                    _ => {
                        let bytes = self.block(start, word)?;
                        if bytes.len() != length {
                            let reason = format!("a block of {length} bytes holds {}", bytes.len());
                            return Err(damaged(start, reason));
                        }
                        head.copy_from_slice(&bytes[within..within + count]);
                    }
                }
            } else if let Some((fragment, at)) = stretch.fragment {
                let (start, word) = self.fragment(fragment)?;
                let bytes = self.block(start, word)?;
                let at = at as usize;
                let Some(tail) = bytes.get(at..at.saturating_add(length)) else {
                    let reason = format!("{length} bytes at {at} go past the end of a fragment of {}", bytes.len());
                    return Err(damaged(start, reason));
                };
                head.copy_from_slice(&tail[within..within + count]);
            }
            (rest, offset) = (tail, offset + count as u64);
        }
        Ok(wanted)
    }

    /// Where a block of a file lies, and its length as it is written.
    fn locate(&self, node: &Node, stretch: &Stretch, number: u64) -> Result<(u64, u32), Error> {
        let first = Reached { node: node.id, block: 0, start: stretch.start, lengths: stretch.lengths };
        let before = *locked(&self.reached);
        let mut reached = before.filter(|reached| reached.node == node.id && reached.block <= number).unwrap_or(first);
        let (at, offset) = reached.lengths;
        // The offset may be that of the block's end, where no place can be.
        let mut cursor = self.cursor(0, Place { block: at, offset: 0 }, self.superblock.directory_table)?;
        cursor.skip(offset)?;
        loop {
            reached.lengths = cursor.place();
            let word = u32::from_le_bytes(cursor.array()?);
            let length = word & !RAW_DATA;
            if length > self.superblock.block_size {
                return Err(damaged(reached.lengths.0, format!("a block of data cannot be {length} bytes long")));
            }
            if reached.block == number {
                *locked(&self.reached) = Some(reached);
                return Ok((reached.start, word));
            }
            reached.block += 1;
            reached.start = reached.start.saturating_add(length.into());
        }
    }

    /// A block of data, or a fragment.
    fn block(&self, start: u64, word: u32) -> Result<Arc<Vec<u8>>, Error> {
        if let Some(block) = locked(&self.data).get(start) {
            return Ok(block);
        }
        let (length, most) = (word & !RAW_DATA, self.superblock.block_size);
        if length == 0 || length > most {
            return Err(damaged(start, format!("a block of data cannot be {length} bytes long")));
        }
        self.check(start, length.into())?;
        let mut bytes = vec![0; length as usize];
        self.medium.read_at(start, &mut bytes)?;
        if word & RAW_DATA == 0 {
            bytes = unpack::unpack(self.superblock.compressor, &bytes, most as usize)
                .map_err(|reason| damaged(start, format!("a block of data cannot be unpacked: {reason}")))?;
        }
        let block = Arc::new(bytes);
        locked(&self.data).put(start, &block);
        Ok(block)
    }
}
