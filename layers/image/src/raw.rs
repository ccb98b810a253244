//! A disk image as it is: byte for byte, with holes where nothing lies.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use rustix::fs::{SeekFrom, copy_file_range, seek};
use rustix::io::Errno;

use crate::bytes::is_zero;
use crate::stream::empty;
use crate::{Error, Sink};

/// Bytes gathered before a write: large enough that the calls do not matter.
const BUFFER_BYTES: usize = 1 << 20;
/// Unit in which holes are looked for, in bytes: the block size of the usual host file systems.
const HOLE_BYTES: usize = 4096;
/// Files below this many bytes go through the buffer: for them a copy inside the kernel costs
/// more calls than it saves copying.
pub(crate) const COPY_MINIMUM_BYTES: u64 = 64 * 1024;

/// Writes a sparse raw image into a host file.
#[derive(Debug)]
pub struct RawFile {
    file: File,
    path: PathBuf,
    size: u64,
    buffer: Vec<u8>,
    buffer_at: u64,
    /// The end of what was given.
    end: u64,
    copies: bool,
}

impl RawFile {
    /// Takes an open, writable file, empties it, and will make it `size` bytes long. `path` is for
    /// messages.
    ///
    /// # Errors
    /// The file cannot be emptied.
    pub fn new(file: File, path: impl Into<PathBuf>, size: u64) -> Result<Self, Error> {
        let path = path.into();
        empty(&file, &path)?;
        Ok(Self { file, path, size, buffer: Vec::with_capacity(BUFFER_BYTES), buffer_at: 0, end: 0, copies: true })
    }

    /// The file's path, as given.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes what is left and sets the size. Making it durable is the caller's.
    ///
    /// # Errors
    /// Those of the file.
    pub fn finish(mut self) -> Result<File, Error> {
        self.flush()?;
        self.file.set_len(self.size).map_err(|source| self.error("set the size of", source))?;
        Ok(self.file)
    }

    /// Bytes from the beginning that stay as they are: data comes in ascending order.
    pub fn settled(&self) -> u64 {
        self.buffer_at
    }

    fn error(&self, action: &'static str, source: io::Error) -> Error {
        Error::Io { action, path: self.path.clone(), source }
    }

    /// Gives the end, if the bytes may lie there.
    fn check_end(&self, offset: u64, length: u64) -> Result<u64, Error> {
        if offset < self.end {
            return Err(Error::Unsupported {
                format: "raw",
                what: format!("data at byte {offset} after data up to byte {}", self.end),
                reason: "data must come in ascending order".into(),
            });
        }
        let end = offset.checked_add(length).ok_or(Error::Overflow("the end of a write"))?;
        if end > self.size {
            return Err(Error::TooSmall {
                what: format!("the data into {}", self.path.display()),
                needed: end,
                available: self.size,
            });
        }
        Ok(end)
    }

    fn flush(&mut self) -> Result<(), Error> {
        self.write_around_holes(self.buffer_at, &self.buffer)?;
        self.buffer_at = self.buffer_at.saturating_add(self.buffer.len() as u64);
        self.buffer.clear();
        Ok(())
    }

    /// Writes the runs of blocks that are not zero; the file was empty, so the rest is a hole.
    fn write_around_holes(&self, offset: u64, bytes: &[u8]) -> Result<(), Error> {
        let write = |from: usize, to: usize| match bytes.get(from..to) {
            Some(run) if !run.is_empty() => self
                .file
                .write_all_at(run, offset.saturating_add(from as u64))
                .map_err(|source| self.error("write", source)),
            _ => Ok(()),
        };
        let (mut at, mut run_start) = (0, 0);
        while at < bytes.len() {
            // Blocks are those of the file, not of the buffer.
            let to_boundary = HOLE_BYTES - (offset.saturating_add(at as u64) % HOLE_BYTES as u64) as usize;
            let end = bytes.len().min(at + to_boundary);
            if is_zero(&bytes[at..end]) {
                write(run_start, at)?;
                run_start = end;
            }
            at = end;
        }
        write(run_start, bytes.len())
    }

    /// Copies the parts of `file` that hold data; what the kernel can share, it shares.
    fn copy(&self, offset: u64, file: &File, length: u64) -> Result<(), Errno> {
        let mut at = 0;
        while at < length {
            let start = match seek(file, SeekFrom::Data(at)) {
                Ok(start) if start < length => start,
                Ok(_) | Err(Errno::NXIO) => break,
                Err(Errno::INVAL) => at,
                Err(error) => return Err(error),
            };
            let end = match seek(file, SeekFrom::Hole(start)) {
                Ok(end) => end.min(length),
                Err(_) => length,
            };
            at = start;
            while at < end {
                let (mut from, mut to) = (at, offset.saturating_add(at));
                let count = usize::try_from(end - at).unwrap_or(usize::MAX >> 1).min(1 << 30);
                match copy_file_range(file, Some(&mut from), &self.file, Some(&mut to), count)? {
                    // The file is shorter than it was said to be.
                    0 => return Err(Errno::NODATA),
                    copied => at = at.saturating_add(copied as u64),
                }
            }
        }
        Ok(())
    }
}

impl Sink for RawFile {
    fn data(&mut self, offset: u64, bytes: &[u8]) -> Result<(), Error> {
        self.end = self.check_end(offset, bytes.len() as u64)?;
        let buffer_end = self.buffer_at.saturating_add(self.buffer.len() as u64);
        if offset != buffer_end || self.buffer.len().saturating_add(bytes.len()) > BUFFER_BYTES {
            self.flush()?;
            self.buffer_at = offset;
        }
        if bytes.len() >= BUFFER_BYTES {
            self.write_around_holes(offset, bytes)?;
            self.buffer_at = offset.saturating_add(bytes.len() as u64);
        } else {
            self.buffer.extend_from_slice(bytes);
        }
        Ok(())
    }

    fn file(&mut self, offset: u64, file: &File, length: u64) -> Result<bool, Error> {
        let end = self.check_end(offset, length)?;
        if !self.copies || length < COPY_MINIMUM_BYTES {
            return Ok(false);
        }
        self.flush()?;
        let size = file.metadata().map_err(|source| self.error("look at a file to copy into", source))?.len();
        if size < length {
            // The caller reads it and can name the file that has changed.
            return Ok(false);
        }
        match self.copy(offset, file, length) {
            Ok(()) => {
                self.end = end;
                Ok(true)
            }
            Err(Errno::NOSPC | Errno::DQUOT | Errno::FBIG | Errno::IO) => {
                // Repeating the write gives the error with the right words, or succeeds.
                Ok(false)
            }
            Err(_) => {
                // Another file system, or a kernel that refuses: it will refuse the next one too.
                self.copies = false;
                Ok(false)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    #[test]
    fn holes_stay_holes_and_bytes_stay_bytes() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let mut raw = RawFile::new(file.reopen().unwrap(), file.path(), 64 << 20).unwrap();
        raw.data(10, b"start").unwrap();
        raw.data(1 << 20, &vec![0; 3 << 20]).unwrap();
        raw.data((32 << 20) + 5, &[7; 10_000]).unwrap();
        raw.data((32 << 20) + 10_005, &[8; 10]).unwrap();
        assert!(matches!(raw.data(64 << 20, b"x"), Err(Error::TooSmall { .. })));
        assert!(matches!(raw.data(32 << 20, b"x"), Err(Error::Unsupported { .. })));
        raw.finish().unwrap();
        let bytes = std::fs::read(file.path()).unwrap();
        assert_eq!(bytes.len(), 64 << 20);
        let mut expected = vec![0; 64 << 20];
        expected[10..15].copy_from_slice(b"start");
        expected[(32 << 20) + 5..(32 << 20) + 10_005].fill(7);
        expected[(32 << 20) + 10_005..(32 << 20) + 10_015].fill(8);
        assert!(bytes == expected);
        assert!(file.as_file().metadata().unwrap().blocks() * 512 < 64 * 1024);
    }

    #[test]
    fn files_are_copied_with_their_holes() {
        let source = tempfile::NamedTempFile::new().unwrap();
        source.as_file().set_len(5 << 20).unwrap();
        source.as_file().write_all_at(&[9; 100_000], 2 << 20).unwrap();
        let file = tempfile::NamedTempFile::new().unwrap();
        let mut raw = RawFile::new(file.reopen().unwrap(), file.path(), 16 << 20).unwrap();
        raw.data(0, b"before").unwrap();
        if !raw.file(4096, source.as_file(), 5 << 20).unwrap() {
            println!("skipped: copy_file_range does not work here");
            return;
        }
        raw.data(4096 + (5 << 20), b"after").unwrap();
        assert!(!raw.file(8 << 20, source.as_file(), 6 << 20).unwrap(), "a file that is too short");
        raw.finish().unwrap();
        let bytes = std::fs::read(file.path()).unwrap();
        assert!(bytes[..6] == *b"before" && bytes[4096 + (5 << 20)..][..5] == *b"after");
        assert!(bytes[4096..][..5 << 20] == std::fs::read(source.path()).unwrap());
    }
}
