//! Reads a qcow2 file as the disk inside it. The file may be hostile: memory is bounded by one
//! L1 table, one L2 table and one cluster, time by the bytes asked for.

use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use flate2::{Decompress, FlushDecompress};
use zstd::stream::raw::{Decoder, InBuffer, Operation, OutBuffer};

use super::format::{self, FORMAT, HEADER_BYTES, HEADER_V2_BYTES, Header};
use crate::Error;
use crate::bytes::Fields;
use crate::medium::{Medium, read_padded};

/// The disk inside a qcow2 file.
pub struct Reader<M> {
    file: M,
    header: Header,
    l1: Vec<u64>,
    cache: Mutex<Cache>,
}

/// The tables and the compressed cluster used last: neighbours are usually read together.
#[derive(Default)]
struct Cache {
    l2: Option<(u64, Vec<u8>)>,
    cluster: Option<(u64, Vec<u8>)>,
}

fn damaged(offset: u64, reason: impl Into<String>) -> Error {
    Error::Damaged { format: FORMAT, offset, reason: reason.into() }
}

impl<M: Medium> Reader<M> {
    /// Reads the header and the L1 table.
    ///
    /// # Errors
    /// [`Error::Damaged`] for what contradicts the format, [`Error::Unsupported`] for backing
    /// files, encryption and other features that images for handing on do not have.
    pub fn open(file: M) -> Result<Self, Error> {
        let mut bytes = [0; HEADER_BYTES];
        let length = file.size().min(HEADER_BYTES as u64) as usize;
        if length < HEADER_V2_BYTES {
            return Err(damaged(0, "the file is shorter than a header"));
        }
        file.read_at(0, &mut bytes[..length])?;
        let header = Header::decode(&bytes)?;
        let mut table = vec![0; header.l1_entries as usize * 8];
        // Checked before the table is read: a short file cannot claim a large table.
        if header.l1_offset.checked_add(table.len() as u64).is_none_or(|end| end > file.size()) {
            return Err(damaged(40, "the L1 table goes past the end of the file"));
        }
        file.read_at(header.l1_offset, &mut table)?;
        let l1: Vec<u64> = table.chunks_exact(8).map(|entry| Fields(entry).u64_be(0)).collect();
        refuse_shared_tables(&l1)?;
        Ok(Self { file, header, l1, cache: Mutex::default() })
    }

    /// Size of a cluster in bytes.
    pub fn cluster_size(&self) -> u64 {
        1 << self.header.cluster_bits
    }

    /// The compression in use as its specification names it: "zlib" or "zstd". Whether any
    /// cluster is compressed is another question.
    pub fn compression(&self) -> &'static str {
        if self.header.compression == format::COMPRESSION_ZSTD { "zstd" } else { "zlib" }
    }

    /// The L2 entry of a cluster of the disk.
    fn entry(&self, cache: &mut Cache, number: u64) -> Result<u64, Error> {
        let bits = self.header.cluster_bits;
        let per_table = 1u64 << (bits - 3);
        let l1_entry = usize::try_from(number / per_table).ok().and_then(|at| self.l1.get(at)).copied();
        let offset = l1_entry.unwrap_or(0) & format::OFFSET_MASK;
        if offset == 0 {
            return Ok(0);
        }
        if !offset.is_multiple_of(1 << bits) {
            return Err(damaged(offset, "an L2 table does not begin at a cluster"));
        }
        if cache.l2.as_ref().is_none_or(|(at, _)| *at != offset) {
            let mut table = vec![0; 1 << bits];
            self.file.read_at(offset, &mut table)?;
            cache.l2 = Some((offset, table));
        }
        let within = (number % per_table) as usize * 8;
        Ok(cache.l2.as_ref().map_or(0, |(_, table)| Fields(table).u64_be(within)))
    }

    /// Fills `buffer` with bytes of one cluster.
    fn read_cluster(&self, number: u64, within: u64, buffer: &mut [u8]) -> Result<(), Error> {
        // A panic while the lock was held leaves at most a stale cache entry, never a wrong one.
        let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = self.entry(&mut cache, number)?;
        let offset = entry & format::OFFSET_MASK;
        if entry & format::COMPRESSED != 0 {
            if cache.cluster.as_ref().is_none_or(|(of, _)| *of != entry) {
                cache.cluster = Some((entry, self.decompress(entry)?));
            }
            if let Some((_, bytes)) = &cache.cluster {
                buffer.copy_from_slice(&bytes[within as usize..within as usize + buffer.len()]);
            }
            return Ok(());
        }
        if entry & format::ZERO != 0 || offset == 0 {
            buffer.fill(0);
            return Ok(());
        }
        if !offset.is_multiple_of(self.cluster_size()) {
            return Err(damaged(offset, "a cluster of data does not begin at a cluster"));
        }
        // QEMU cuts the last cluster off where the disk inside ends.
        read_padded(&self.file, FORMAT, offset.saturating_add(within), buffer)
    }

    fn decompress(&self, entry: u64) -> Result<Vec<u8>, Error> {
        let (offset, length) = format::extent(self.header.cluster_bits, entry);
        if offset >= self.file.size() {
            return Err(damaged(offset, "a compressed cluster lies past the end of the file"));
        }
        // The last sector may be cut off by the end of the file.
        let mut packed = vec![0; length.min(self.file.size() - offset) as usize];
        self.file.read_at(offset, &mut packed)?;
        let mut bytes = vec![0; 1 << self.header.cluster_bits];
        let filled = if self.header.compression == format::COMPRESSION_ZSTD {
            unpack_zstd(&packed, &mut bytes)
        } else {
            let mut state = Decompress::new_with_window_bits(false, 15);
            state
                .decompress(&packed, &mut bytes, FlushDecompress::Finish)
                .map_err(|error| damaged(offset, format!("a compressed cluster is no deflate data: {error}")))?;
            Ok(state.total_out() as usize)
        };
        match filled {
            Ok(count) if count == bytes.len() => Ok(bytes),
            Ok(count) => Err(damaged(offset, format!("a compressed cluster holds {count} bytes only"))),
            Err(error) => Err(damaged(offset, format!("a compressed cluster is no zstd data: {error}"))),
        }
    }
}

/// An L2 table that stands twice would make a small file a disk of any length.
fn refuse_shared_tables(l1: &[u64]) -> Result<(), Error> {
    let mut tables: Vec<u64> = l1.iter().map(|entry| entry & format::OFFSET_MASK).filter(|&at| at != 0).collect();
    tables.sort_unstable();
    match tables.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => Err(damaged(pair[0], "an L2 table is referred to twice")),
        None => Ok(()),
    }
}

/// Whether an L2 entry stands for anything but zeros.
fn is_data(entry: u64) -> bool {
    entry & format::COMPRESSED != 0 || (entry & format::ZERO == 0 && entry & format::OFFSET_MASK != 0)
}

fn unpack_zstd(packed: &[u8], bytes: &mut [u8]) -> std::io::Result<usize> {
    let mut state = Decoder::new()?;
    let mut input = InBuffer::around(packed);
    let mut output = OutBuffer::around(bytes);
    loop {
        let before = (input.pos(), output.pos());
        state.run(&mut input, &mut output)?;
        if output.pos() == output.capacity() || before == (input.pos(), output.pos()) {
            return Ok(output.pos());
        }
    }
}

impl<M: Medium> Medium for Reader<M> {
    fn size(&self) -> u64 {
        self.header.size
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), Error> {
        if offset.checked_add(buffer.len() as u64).is_none_or(|end| end > self.header.size) {
            return Err(damaged(offset, "the disk inside ends before the bytes asked for"));
        }
        let cluster = self.cluster_size();
        let (mut offset, mut rest) = (offset, buffer);
        while !rest.is_empty() {
            let within = offset % cluster;
            let count = rest.len().min((cluster - within) as usize);
            let (head, tail) = rest.split_at_mut(count);
            self.read_cluster(offset / cluster, within, head)?;
            (offset, rest) = (offset + count as u64, tail);
        }
        Ok(())
    }
    fn data_from(&self, offset: u64) -> Result<Option<Range<u64>>, Error> {
        let cluster = self.cluster_size();
        let per_table = cluster / 8;
        let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut number, end) = (offset / cluster, self.header.size.div_ceil(cluster));
        let mut first = None;
        while number < end {
            let l1_entry = usize::try_from(number / per_table).ok().and_then(|at| self.l1.get(at)).copied();
            let has_table = l1_entry.unwrap_or(0) & format::OFFSET_MASK != 0;
            match (has_table && is_data(self.entry(&mut cache, number)?), first) {
                (true, None) => first = Some(number),
                (false, Some(_)) => break,
                _ => {}
            }
            // A table that is missing is passed at once.
            number = if has_table { number + 1 } else { (number / per_table + 1) * per_table };
            // One table's worth at a time: the next call goes on.
            if first.is_some() && number.is_multiple_of(per_table) {
                break;
            }
        }
        let range =
            first.map(|first| (first * cluster).max(offset)..number.saturating_mul(cluster).min(self.header.size));
        Ok(range.filter(|range| range.start < range.end))
    }
}
