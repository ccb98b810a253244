//! Bytes that are there already and are read at any place: a host file, memory, a part of either.
//! What the readers of disks, containers and file systems read from.

use std::fs::File;
use std::io;
use std::io::{Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use crate::Error;

/// Bytes with a size that can be read at any place.
pub trait Medium: Sync {
    /// Size in bytes.
    fn size(&self) -> u64;

    /// Fills `buffer` with the bytes at `offset`.
    ///
    /// # Errors
    /// [`Error::Damaged`] when that goes past the end; errors of the host's file.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), Error>;
}

/// The range of `length` bytes at `offset`, if it lies within `size` bytes.
fn check_range(size: u64, offset: u64, length: usize) -> Result<(), Error> {
    match offset.checked_add(length as u64) {
        Some(end) if end <= size => Ok(()),
        _ => Err(Error::Damaged {
            format: "data",
            offset,
            reason: format!("{length} bytes are expected here, but the data ends at byte {size}"),
        }),
    }
}

impl Medium for &[u8] {
    fn size(&self) -> u64 {
        self.len() as u64
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), Error> {
        check_range(self.size(), offset, buffer.len())?;
        let start = usize::try_from(offset).map_err(|_| Error::Overflow("an offset in memory"))?;
        buffer.copy_from_slice(&self[start..start + buffer.len()]);
        Ok(())
    }
}

impl Medium for Vec<u8> {
    fn size(&self) -> u64 {
        self.len() as u64
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), Error> {
        self.as_slice().read_at(offset, buffer)
    }
}

/// A file or block device of the host.
#[derive(Debug)]
pub struct HostFile {
    file: File,
    path: PathBuf,
    size: u64,
}

impl HostFile {
    /// Takes an open file; `path` is for messages. The size is read once, here.
    ///
    /// # Errors
    /// The size cannot be found out.
    pub fn new(mut file: File, path: impl Into<PathBuf>) -> Result<Self, Error> {
        let path = path.into();
        // Seeking also tells the size of a block device, which its metadata gives as 0.
        match file.seek(SeekFrom::End(0)) {
            Ok(size) => Ok(Self { file, path, size }),
            Err(source) => Err(Error::Io { action: "find out the size of", path, source }),
        }
    }
}

impl Medium for HostFile {
    fn size(&self) -> u64 {
        self.size
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), Error> {
        check_range(self.size, offset, buffer.len())?;
        self.file.read_exact_at(buffer, offset).map_err(|source: io::Error| Error::Io {
            action: "read",
            path: self.path.clone(),
            source,
        })
    }
}

/// A part of a medium: one partition of a disk.
pub struct Window<'a> {
    medium: &'a dyn Medium,
    start: u64,
    size: u64,
}

impl<'a> Window<'a> {
    /// The `size` bytes from `start` on.
    ///
    /// # Errors
    /// They go past the end of the medium.
    pub fn new(medium: &'a dyn Medium, start: u64, size: u64) -> Result<Self, Error> {
        match start.checked_add(size) {
            Some(end) if end <= medium.size() => Ok(Self { medium, start, size }),
            _ => Err(Error::Damaged {
                format: "data",
                offset: start,
                reason: format!("a part of {size} bytes goes past the end at byte {}", medium.size()),
            }),
        }
    }
}

impl Medium for Window<'_> {
    fn size(&self) -> u64 {
        self.size
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), Error> {
        check_range(self.size, offset, buffer.len())?;
        // Both sums are below the size of the medium, checked when the window was made.
        self.medium.read_at(self.start.saturating_add(offset), buffer)
    }
}
