//! Blocks of metadata, and reading on from one into the next.

use std::collections::VecDeque;
use std::sync::Arc;

use super::super::format::{METADATA_BYTES, Place, RAW_METADATA};
use super::{Volume, damaged, locked, unpack};
use crate::Error;

/// What was read last, by where it lies.
pub(super) struct Recent<T> {
    kept: VecDeque<(u64, Arc<T>)>,
    most: usize,
}

impl<T> Recent<T> {
    pub fn new(most: usize) -> Self {
        Self { kept: VecDeque::with_capacity(most), most }
    }

    pub fn get(&mut self, at: u64) -> Option<Arc<T>> {
        let index = self.kept.iter().position(|(place, _)| *place == at)?;
        let found = self.kept.remove(index)?;
        let value = Arc::clone(&found.1);
        self.kept.push_front(found);
        Some(value)
    }

    pub fn put(&mut self, at: u64, value: &Arc<T>) {
        self.kept.truncate(self.most - 1);
        self.kept.push_front((at, Arc::clone(value)));
    }
}

/// A block of metadata, unpacked.
pub(super) struct Block {
    /// At most 8192 bytes, at least one.
    pub bytes: Vec<u8>,
    /// Where the next one lies.
    pub next: u64,
}

/// A place from which metadata is read on.
#[derive(Clone)]
pub(super) struct Cursor<'v, 'm> {
    volume: &'v Volume<'m>,
    block: Arc<Block>,
    /// Where the block lies, for messages and to come back.
    at: u64,
    offset: usize,
    /// Where the table ends.
    end: u64,
}

impl<'m> Volume<'m> {
    fn metadata_block(&self, at: u64) -> Result<Arc<Block>, Error> {
        if let Some(block) = locked(&self.metadata).get(at) {
            return Ok(block);
        }
        let mut head = [0; 2];
        self.check(at, 2)?;
        self.medium.read_at(at, &mut head)?;
        let word = u16::from_le_bytes(head);
        let length = usize::from(word & !RAW_METADATA);
        if length == 0 || length > METADATA_BYTES {
            return Err(damaged(at, format!("a block of metadata cannot be {length} bytes long")));
        }
        // Within the file system, see `check`.
        let (start, mut bytes) = (at + 2, vec![0; length]);
        self.check(start, length as u64)?;
        self.medium.read_at(start, &mut bytes)?;
        if word & RAW_METADATA == 0 {
            bytes = unpack::unpack(self.superblock.compressor, &bytes, METADATA_BYTES)
                .map_err(|reason| damaged(at, format!("a block of metadata cannot be unpacked: {reason}")))?;
        }
        if bytes.is_empty() {
            return Err(damaged(at, "a block of metadata is empty"));
        }
        let block = Arc::new(Block { bytes, next: start + length as u64 });
        locked(&self.metadata).put(at, &block);
        Ok(block)
    }

    /// Reads from a place in the table that begins at `table`, and not beyond `end`.
    pub(super) fn cursor(&self, table: u64, place: Place, end: u64) -> Result<Cursor<'_, 'm>, Error> {
        let at = table.saturating_add(place.block);
        if at >= end {
            return Err(damaged(table, format!("byte {at} is referred to but the table ends at byte {end}")));
        }
        let block = self.metadata_block(at)?;
        let offset = usize::from(place.offset);
        if offset >= block.bytes.len() {
            return Err(damaged(at, format!("byte {offset} is referred to in a block of {}", block.bytes.len())));
        }
        Ok(Cursor { volume: self, block, at, offset, end })
    }
}

impl Cursor<'_, '_> {
    /// Where the present block lies, and how far in it we are.
    pub fn place(&self) -> (u64, usize) {
        (self.at, self.offset)
    }

    fn turn_page(&mut self) -> Result<(), Error> {
        let next = self.block.next;
        if next >= self.end {
            return Err(damaged(self.at, "a table ends before what lies in it"));
        }
        self.block = self.volume.metadata_block(next)?;
        (self.at, self.offset) = (next, 0);
        Ok(())
    }

    pub fn read(&mut self, mut buffer: &mut [u8]) -> Result<(), Error> {
        while !buffer.is_empty() {
            if self.offset == self.block.bytes.len() {
                self.turn_page()?;
            }
            let count = buffer.len().min(self.block.bytes.len() - self.offset);
            let (head, rest) = buffer.split_at_mut(count);
            head.copy_from_slice(&self.block.bytes[self.offset..self.offset + count]);
            self.offset += count;
            buffer = rest;
        }
        Ok(())
    }

    /// Goes on within the present block, its end included.
    pub fn skip(&mut self, count: usize) -> Result<(), Error> {
        if count > self.block.bytes.len() - self.offset {
            return Err(damaged(self.at, "a table ends before what lies in it"));
        }
        self.offset += count;
        Ok(())
    }

    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        let mut bytes = [0; N];
        self.read(&mut bytes)?;
        Ok(bytes)
    }

    /// So many bytes; the caller has bounded the length.
    pub fn bytes(&mut self, length: usize) -> Result<Vec<u8>, Error> {
        let mut bytes = vec![0; length];
        self.read(&mut bytes)?;
        Ok(bytes)
    }
}
