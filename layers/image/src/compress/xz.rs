//! xz as one stream of independent blocks (The .xz File Format 1.2), made in parallel.
//!
//! liblzma compresses each block on its own; header, index and footer of the stream are ours. So
//! the bytes do not depend on threads, memory is bounded, and blocks of zeros are made once. Each
//! block says its sizes, which lets `xz -T` decompress in parallel.

use std::io::{self, Write};
use std::sync::Arc;

use liblzma::stream::{Action, Check, Filters, LzmaOptions, Status, Stream};

use crate::bytes::{Fields, is_zero};
use crate::workers::Workers;

/// Bytes of input per block, and so the largest dictionary that is of use.
const BLOCK_BYTES: usize = 8 << 20;
/// Blocks in flight per thread: one at work and one waiting.
const DEPTH: usize = 2;
/// Stream header and footer (section 2.1.1): their magic.
const HEADER_MAGIC: [u8; 6] = [0xfd, b'7', b'z', b'X', b'Z', 0];
const FOOTER_MAGIC: [u8; 2] = *b"YZ";
const HEADER_BYTES: usize = 12;

/// The flags of a stream (section 2.1.1.2), and the length of a check in bytes.
fn of_check(check: Check) -> ([u8; 2], usize) {
    match check {
        Check::Crc32 => ([0, 1], 4),
        _ => ([0, 4], 8),
    }
}

struct Block {
    bytes: Vec<u8>,
    /// Without its padding, as the index wants it.
    unpadded: u64,
    /// Of the input.
    length: u64,
}

type Packed = io::Result<Arc<Block>>;

pub(super) struct Encoder<W: Write> {
    writer: W,
    workers: Workers<Vec<u8>, Packed>,
    current: Vec<u8>,
    /// Unpadded and original size of each block: 16 bytes for 8 MiB.
    index: Vec<(u64, u64)>,
    flags: [u8; 2],
    header: bool,
}

impl<W: Write> Encoder<W> {
    /// `check` is CRC32 or CRC64.
    pub(super) fn new(writer: W, level: u32, check: Check, threads: usize) -> Self {
        let workers = Workers::start(threads, DEPTH, move || work(level, check));
        Self { writer, workers, current: Vec::new(), index: Vec::new(), flags: of_check(check).0, header: false }
    }

    fn submit(&mut self) -> io::Result<()> {
        let bytes = std::mem::replace(&mut self.current, Vec::with_capacity(BLOCK_BYTES));
        match self.workers.submit(bytes)? {
            Some(block) => self.put(block),
            None => Ok(()),
        }
    }

    fn put_header(&mut self) -> io::Result<()> {
        if !self.header {
            self.header = true;
            self.writer.write_all(&HEADER_MAGIC)?;
            self.writer.write_all(&self.flags)?;
            self.writer.write_all(&crc32fast::hash(&self.flags).to_le_bytes())?;
        }
        Ok(())
    }

    fn put(&mut self, block: Packed) -> io::Result<()> {
        self.put_header()?;
        let block = block?;
        self.index.push((block.unpadded, block.length));
        self.writer.write_all(&block.bytes)
    }

    pub(super) fn finish(mut self) -> io::Result<W> {
        if !self.current.is_empty() {
            self.submit()?;
        }
        while let Some(block) = self.workers.next() {
            self.put(block?)?;
        }
        self.put_header()?;
        // Section 4, "Index".
        let mut index = vec![0];
        put_number(&mut index, self.index.len() as u64);
        for (unpadded, length) in &self.index {
            put_number(&mut index, *unpadded);
            put_number(&mut index, *length);
        }
        index.resize(index.len().next_multiple_of(4), 0);
        index.extend(crc32fast::hash(&index).to_le_bytes());
        self.writer.write_all(&index)?;
        // Section 2.1.2, "Stream Footer".
        let words = u32::try_from(index.len() / 4 - 1).map_err(|_| io::Error::other("the index is too large"))?;
        let sized = [&words.to_le_bytes()[..], &self.flags].concat();
        self.writer.write_all(&crc32fast::hash(&sized).to_le_bytes())?;
        self.writer.write_all(&sized)?;
        self.writer.write_all(&FOOTER_MAGIC)?;
        Ok(self.writer)
    }
}

impl<W: Write> Write for Encoder<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = bytes.len().min(BLOCK_BYTES - self.current.len());
        self.current.extend_from_slice(&bytes[..count]);
        if self.current.len() == BLOCK_BYTES {
            self.submit()?;
        }
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A number in groups of seven bits (section 1.2).
fn put_number(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

fn work(level: u32, check: Check) -> impl FnMut(Vec<u8>) -> Packed {
    let mut zeros: Option<Arc<Block>> = None;
    move |bytes| {
        let is_zeros = bytes.len() == BLOCK_BYTES && is_zero(&bytes);
        if let Some(block) = zeros.as_ref().filter(|_| is_zeros) {
            return Ok(Arc::clone(block));
        }
        let block = Arc::new(block(level, check, &bytes)?);
        if is_zeros {
            zeros = Some(Arc::clone(&block));
        }
        Ok(block)
    }
}

/// Compresses one block: as a stream of its own, out of which the block is taken.
fn block(level: u32, check: Check, bytes: &[u8]) -> io::Result<Block> {
    let mut options = LzmaOptions::new_preset(level)?;
    // The preset's dictionary up to level 6; beyond, a block has no use for a larger one.
    if level > 6 {
        options.dict_size(BLOCK_BYTES as u32);
    }
    let mut filters = Filters::new();
    filters.lzma2(&options);
    let mut state = Stream::new_stream_encoder(&filters, check)?;
    let mut stream = Vec::with_capacity(bytes.len() / 2 + 1024);
    loop {
        let taken = usize::try_from(state.total_in()).unwrap_or(usize::MAX);
        let rest = bytes.get(taken..).unwrap_or_default();
        if state.process_vec(rest, &mut stream, Action::Finish)? == Status::StreamEnd {
            break;
        }
        stream.reserve(bytes.len() / 4 + 1024);
    }
    rewrap(&stream, bytes.len(), of_check(check).1)
        .ok_or_else(|| io::Error::other("liblzma gave a stream of another shape"))
}

/// Takes the one block out of a stream and writes its sizes into its header (section 3.1).
fn rewrap(stream: &[u8], length: usize, check_bytes: usize) -> Option<Block> {
    let footer = stream.len().checked_sub(HEADER_BYTES)?;
    let index_bytes = (Fields(&stream[footer..]).u32_le(4) as usize).checked_add(1)?.checked_mul(4)?;
    let whole = stream.get(HEADER_BYTES..footer.checked_sub(index_bytes)?)?;
    let header = whole.get(..(usize::from(*whole.first()?) + 1) * 4)?;
    // Flags without sizes, one filter; then the filter: LZMA2, one byte of properties.
    let filter = header.get(2..5).filter(|filter| header[1] == 0 && filter[..2] == [0x21, 1])?;
    let padded = whole.len().checked_sub(header.len())?.checked_sub(check_bytes)?;
    let (data, check) = whole[header.len()..].split_at(padded);
    // The data ends with a zero byte (LZMA2's end marker), then up to three more pad it: its
    // length is known from the index, which begins with 0, 1 and the unpadded size.
    let index = stream.get(footer - index_bytes..footer)?;
    let unpadded = read_number(index.get(2..)?)?;
    let compressed = usize::try_from(unpadded).ok()?.checked_sub(header.len() + check_bytes)?;
    if compressed > padded || padded - compressed > 3 {
        return None;
    }
    let mut fresh = vec![0, 0xc0];
    put_number(&mut fresh, compressed as u64);
    put_number(&mut fresh, length as u64);
    fresh.extend_from_slice(filter);
    fresh.resize(fresh.len().next_multiple_of(4), 0);
    fresh[0] = u8::try_from(fresh.len() / 4).ok()?;
    fresh.extend(crc32fast::hash(&fresh).to_le_bytes());
    let unpadded = (fresh.len() + compressed + check_bytes) as u64;
    fresh.extend_from_slice(data);
    fresh.extend_from_slice(check);
    Some(Block { bytes: fresh, unpadded, length: length as u64 })
}

fn read_number(bytes: &[u8]) -> Option<u64> {
    let mut number = 0;
    for (at, byte) in bytes.iter().take(9).enumerate() {
        number |= u64::from(byte & 0x7f) << (7 * at);
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}
