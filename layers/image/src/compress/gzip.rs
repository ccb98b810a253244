//! gzip as one member (RFC 1952), its deflate blocks (RFC 1951) made in parallel: each part of
//! the input is compressed with the end of the part before it as dictionary, and ends on a byte.

use std::io::{self, Write};
use std::sync::Arc;

use flate2::{Compress, FlushCompress, Status};

use crate::bytes::is_zero;
use crate::workers::Workers;

/// Bytes of input per part: what each part costs at its border is less than one in ten thousand.
const PART_BYTES: usize = 256 * 1024;
/// How far back deflate can refer, in bytes.
const WINDOW_BYTES: usize = 32 * 1024;
/// Parts in flight per thread.
const DEPTH: usize = 4;
/// Header without name and time, made on Unix (RFC 1952, section 2.3).
const HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3];

struct Part {
    /// The part before, of which the end is the dictionary.
    before: Option<Arc<Vec<u8>>>,
    bytes: Arc<Vec<u8>>,
    last: bool,
}

struct Packed {
    bytes: io::Result<Arc<Vec<u8>>>,
    crc: crc32fast::Hasher,
}

pub(super) struct Encoder<W: Write> {
    writer: W,
    workers: Workers<Part, Packed>,
    before: Option<Arc<Vec<u8>>>,
    current: Vec<u8>,
    crc: crc32fast::Hasher,
    length: u64,
    header: bool,
}

impl<W: Write> Encoder<W> {
    pub(super) fn new(writer: W, level: u32, threads: usize) -> Self {
        Self {
            writer,
            workers: Workers::start(threads, DEPTH, move || work(level)),
            before: None,
            current: Vec::with_capacity(PART_BYTES),
            crc: crc32fast::Hasher::new(),
            length: 0,
            header: false,
        }
    }

    fn submit(&mut self, last: bool) -> io::Result<()> {
        let bytes = Arc::new(std::mem::replace(&mut self.current, Vec::with_capacity(PART_BYTES)));
        self.length = self.length.wrapping_add(bytes.len() as u64);
        let part = Part { before: self.before.replace(Arc::clone(&bytes)), bytes, last };
        match self.workers.submit(part)? {
            Some(packed) => self.put(packed),
            None => Ok(()),
        }
    }

    fn put(&mut self, packed: Packed) -> io::Result<()> {
        if !self.header {
            self.writer.write_all(&HEADER)?;
            self.header = true;
        }
        self.crc.combine(&packed.crc);
        self.writer.write_all(&packed.bytes?)
    }

    pub(super) fn finish(mut self) -> io::Result<W> {
        self.submit(true)?;
        while let Some(packed) = self.workers.next() {
            self.put(packed?)?;
        }
        self.writer.write_all(&self.crc.finalize().to_le_bytes())?;
        // The length modulo 1 << 32 (RFC 1952, "ISIZE").
        self.writer.write_all(&(self.length as u32).to_le_bytes())?;
        Ok(self.writer)
    }
}

impl<W: Write> Write for Encoder<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.current.len() == PART_BYTES {
            self.submit(false)?;
        }
        let count = bytes.len().min(PART_BYTES - self.current.len());
        self.current.extend_from_slice(&bytes[..count]);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Compresses parts. Runs of zeros are the bulk of many images: a part of zeros after another one
/// is compressed once and remembered.
fn work(level: u32) -> impl FnMut(Part) -> Packed {
    let mut zeros: Option<(Arc<Vec<u8>>, crc32fast::Hasher)> = None;
    move |part| {
        let dictionary = match &part.before {
            Some(before) => &before[before.len().saturating_sub(WINDOW_BYTES)..],
            None => &[],
        };
        let is_plain = part.bytes.len() == PART_BYTES && dictionary.len() == WINDOW_BYTES && !part.last;
        let is_zeros = is_plain && is_zero(dictionary) && is_zero(&part.bytes);
        if let Some((bytes, crc)) = zeros.as_ref().filter(|_| is_zeros) {
            return Packed { bytes: Ok(Arc::clone(bytes)), crc: crc.clone() };
        }
        let mut crc = crc32fast::Hasher::new();
        crc.update(&part.bytes);
        let bytes = deflate(level, dictionary, &part.bytes, part.last).map(Arc::new);
        if let (Ok(bytes), true) = (&bytes, is_zeros) {
            zeros = Some((Arc::clone(bytes), crc.clone()));
        }
        Packed { bytes, crc }
    }
}

fn deflate(level: u32, dictionary: &[u8], bytes: &[u8], last: bool) -> io::Result<Vec<u8>> {
    // A fresh state for each part: one that is reset looks at what lay in its window before
    // (zlib-rs 0.6.8), and the bytes would depend on which thread did which parts.
    let mut state = Compress::new(flate2::Compression::new(level), false);
    if !dictionary.is_empty() {
        state.set_dictionary(dictionary)?;
    }
    let flush = if last { FlushCompress::Finish } else { FlushCompress::Sync };
    // Bytes that do not shrink grow by five in 16 KiB, and the end takes a few more.
    let mut out = Vec::with_capacity(bytes.len() + bytes.len() / 1024 + 64);
    loop {
        let taken = usize::try_from(state.total_in()).unwrap_or(usize::MAX);
        let rest = bytes.get(taken..).unwrap_or_default();
        let status = state.compress_vec(rest, &mut out, flush)?;
        let all_taken = state.total_in() == bytes.len() as u64;
        // A flush is complete once there is room left behind it (zlib.h, "deflate").
        if status == Status::StreamEnd || (!last && all_taken && out.len() < out.capacity()) {
            return Ok(out);
        }
        out.reserve(bytes.len() / 8 + 64);
    }
}
