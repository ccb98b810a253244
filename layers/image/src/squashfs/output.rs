//! The file that is filled from its first byte to its last.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use crate::Error;
use crate::stream::empty;

/// Bytes that are collected before they are written.
const BUFFER: usize = 1 << 20;

pub(super) struct Output<'f> {
    file: &'f File,
    path: PathBuf,
    buffer: Vec<u8>,
    /// Where the buffer will lie, bytes.
    start: u64,
}

impl<'f> Output<'f> {
    /// Empties the file.
    pub fn new(file: &'f File, path: PathBuf) -> Result<Self, Error> {
        empty(file, &path)?;
        Ok(Self { file, path, buffer: Vec::with_capacity(BUFFER), start: 0 })
    }

    /// Where the next byte will lie.
    pub fn position(&self) -> u64 {
        self.start + self.buffer.len() as u64
    }

    pub fn put(&mut self, bytes: &[u8]) -> Result<(), Error> {
        if self.buffer.len() + bytes.len() > BUFFER {
            self.flush()?;
        }
        if bytes.len() > BUFFER {
            self.file.write_all_at(bytes, self.start).map_err(|source| self.failed(source))?;
            self.start += bytes.len() as u64;
        } else {
            self.buffer.extend_from_slice(bytes);
        }
        Ok(())
    }

    /// Writes what is left, and `head` over the first bytes.
    pub fn finish(mut self, head: &[u8]) -> Result<(), Error> {
        self.flush()?;
        self.file.write_all_at(head, 0).map_err(|source| self.failed(source))
    }

    fn flush(&mut self) -> Result<(), Error> {
        self.file.write_all_at(&self.buffer, self.start).map_err(|source| self.failed(source))?;
        self.start = self.position();
        self.buffer.clear();
        Ok(())
    }

    /// An error about the file.
    pub fn failed(&self, source: io::Error) -> Error {
        Error::Io { action: "write", path: self.path.clone(), source }
    }
}
