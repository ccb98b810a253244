//! gzip (RFC 1952) in parallel: a member for each part of the input, made by libdeflate, which has
//! no way to continue another part's stream. Section 2.2 says that members simply follow each other.

use std::io::{self, Write};
use std::sync::Arc;

use libdeflater::{CompressionLvl, Compressor};

use crate::bytes::is_zero;
use crate::workers::Workers;

/// Bytes of input per part. Of 1 MiB parts, level 6 makes files as small as `pigz -6` does; of
/// quarters of that, files 1 % larger.
const PART_BYTES: usize = 1 << 20;
/// Parts in flight per thread.
const DEPTH: usize = 4;

type Packed = io::Result<Arc<Vec<u8>>>;

pub(super) struct Encoder<W: Write> {
    writer: W,
    workers: Workers<Vec<u8>, Packed>,
    current: Vec<u8>,
    /// Whether there is a member already: an empty input is one, too.
    begun: bool,
}

impl<W: Write> Encoder<W> {
    pub(super) fn new(writer: W, level: u32, threads: usize) -> Self {
        let workers = Workers::start(threads, DEPTH, move || work(level));
        Self { writer, workers, current: Vec::with_capacity(PART_BYTES), begun: false }
    }

    fn submit(&mut self) -> io::Result<()> {
        let bytes = std::mem::replace(&mut self.current, Vec::with_capacity(PART_BYTES));
        self.begun = true;
        match self.workers.submit(bytes)? {
            Some(packed) => self.writer.write_all(&packed?),
            None => Ok(()),
        }
    }

    pub(super) fn finish(mut self) -> io::Result<W> {
        if !self.current.is_empty() || !self.begun {
            self.submit()?;
        }
        while let Some(packed) = self.workers.next() {
            self.writer.write_all(&packed??)?;
        }
        Ok(self.writer)
    }
}

impl<W: Write> Write for Encoder<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.current.len() == PART_BYTES {
            self.submit()?;
        }
        let count = bytes.len().min(PART_BYTES - self.current.len());
        self.current.extend_from_slice(&bytes[..count]);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Compresses parts. Runs of zeros are the bulk of many images: a part of zeros is compressed once
/// and remembered.
fn work(level: u32) -> impl FnMut(Vec<u8>) -> Packed {
    // Levels 1 to 9 are among libdeflate's 1 to 12.
    let level = CompressionLvl::new(i32::try_from(level).unwrap_or_default()).unwrap_or_default();
    let mut compressor = Compressor::new(level);
    let mut zeros: Option<Arc<Vec<u8>>> = None;
    move |part| {
        let is_zeros = part.len() == PART_BYTES && is_zero(&part);
        if let Some(member) = zeros.as_ref().filter(|_| is_zeros) {
            return Ok(Arc::clone(member));
        }
        let mut member = vec![0; compressor.gzip_compress_bound(part.len())];
        let length = compressor.gzip_compress(&part, &mut member).map_err(io::Error::other)?;
        member.truncate(length);
        let member = Arc::new(member);
        if is_zeros {
            zeros = Some(Arc::clone(&member));
        }
        Ok(member)
    }
}
