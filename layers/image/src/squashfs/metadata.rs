//! Tables of metadata: blocks of 8 KiB, each compressed on its own (binary format, "Packing
//! Metadata", "Storing Lookup Tables").

use std::io;

use zstd::bulk::Compressor;

use super::format::{METADATA_BYTES, Place, RAW_METADATA};
use super::output::Output;
use crate::Error;

/// A table that is being made. Its blocks are kept: where it lies is known when it is whole.
pub(super) struct Table {
    compressor: Compressor<'static>,
    /// Less than a block.
    pending: Vec<u8>,
    packed: Vec<u8>,
    /// Where each block begins.
    starts: Vec<u64>,
}

impl Table {
    pub fn new(level: i32) -> io::Result<Self> {
        let compressor = Compressor::new(level)?;
        Ok(Self { compressor, pending: Vec::with_capacity(METADATA_BYTES), packed: Vec::new(), starts: Vec::new() })
    }

    /// Where the next byte will lie.
    pub fn place(&self) -> Place {
        // Less than 8192.
        Place { block: self.packed.len() as u64, offset: self.pending.len() as u16 }
    }

    pub fn put(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let (head, rest) = bytes.split_at(bytes.len().min(METADATA_BYTES - self.pending.len()));
            self.pending.extend_from_slice(head);
            if self.pending.len() == METADATA_BYTES {
                self.pack()?;
            }
            bytes = rest;
        }
        Ok(())
    }

    fn pack(&mut self) -> io::Result<()> {
        self.starts.push(self.packed.len() as u64);
        let packed = self.compressor.compress(&self.pending)?;
        let (bytes, flag) =
            if packed.len() < self.pending.len() { (&packed, 0) } else { (&self.pending, RAW_METADATA) };
        // At most 8192.
        self.packed.extend((bytes.len() as u16 | flag).to_le_bytes());
        self.packed.extend(bytes);
        self.pending.clear();
        Ok(())
    }

    /// Writes the blocks; gives where each begins, bytes from the start of the file system.
    pub fn finish(mut self, out: &mut Output<'_>) -> Result<Vec<u64>, Error> {
        if !self.pending.is_empty() {
            self.pack().map_err(|source| out.failed(source))?;
        }
        let start = out.position();
        out.put(&self.packed)?;
        Ok(self.starts.iter().map(|block| start + block).collect())
    }
}

/// Writes entries as a table that is found by the list of its blocks' places, behind `head`;
/// gives where that is.
pub(super) fn put_lookup(
    out: &mut Output<'_>,
    level: i32,
    head: &[u8],
    entries: impl IntoIterator<Item = impl AsRef<[u8]>>,
) -> Result<u64, Error> {
    let mut table = Table::new(level).map_err(|source| out.failed(source))?;
    for entry in entries {
        table.put(entry.as_ref()).map_err(|source| out.failed(source))?;
    }
    let blocks = table.finish(out)?;
    let start = out.position();
    out.put(head)?;
    blocks.iter().try_for_each(|block| out.put(&block.to_le_bytes()))?;
    Ok(start)
}
