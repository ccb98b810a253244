//! Bytes that are there already and are read at any place: a host file, memory, a part of either.
//! What the readers of disks, containers and file systems read from.

use std::fs::File;
use std::io;
use std::io::{Seek, SeekFrom};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use rustix::fs::seek;
use rustix::io::Errno;

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

    /// The next stretch from `offset` on that may hold anything but zeros, not empty; `None` when
    /// only zeros follow. It may end where another one begins.
    ///
    /// # Errors
    /// As [`Medium::read_at`], of the tables that say where data lies.
    fn data_from(&self, offset: u64) -> Result<Option<Range<u64>>, Error> {
        let size = self.size();
        Ok((offset < size).then_some(offset..size))
    }
}

impl<M: Medium + ?Sized> Medium for &M {
    fn size(&self) -> u64 {
        (**self).size()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), Error> {
        (**self).read_at(offset, buffer)
    }

    fn data_from(&self, offset: u64) -> Result<Option<Range<u64>>, Error> {
        (**self).data_from(offset)
    }
}

impl<M: Medium + ?Sized> Medium for Box<M> {
    fn size(&self) -> u64 {
        (**self).size()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), Error> {
        (**self).read_at(offset, buffer)
    }

    fn data_from(&self, offset: u64) -> Result<Option<Range<u64>>, Error> {
        (**self).data_from(offset)
    }
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

/// Fills `buffer` from `offset` on, with zeros past the end: the last unit of a container may be
/// cut off where only zeros would follow.
///
/// # Errors
/// Nothing of it lies in the medium; those of the medium.
pub(crate) fn read_padded(
    medium: &dyn Medium,
    format: &'static str,
    offset: u64,
    buffer: &mut [u8],
) -> Result<(), Error> {
    let size = medium.size();
    if offset >= size {
        let reason = format!("data is said to lie here, but the file ends at byte {size}");
        return Err(Error::Damaged { format, offset, reason });
    }
    let there = (size - offset).min(buffer.len() as u64) as usize;
    let (head, tail) = buffer.split_at_mut(there);
    tail.fill(0);
    medium.read_at(offset, head)
}

impl Medium for [u8] {
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

    fn data_from(&self, offset: u64) -> Result<Option<Range<u64>>, Error> {
        if offset >= self.size {
            return Ok(None);
        }
        let start = match seek(&self.file, rustix::fs::SeekFrom::Data(offset)) {
            Ok(start) if start < self.size => start.max(offset),
            Ok(_) | Err(Errno::NXIO) => return Ok(None),
            // Block devices and some file systems do not tell.
            Err(_) => return Ok(Some(offset..self.size)),
        };
        let end = match seek(&self.file, rustix::fs::SeekFrom::Hole(start)) {
            Ok(end) if end > start => end.min(self.size),
            _ => self.size,
        };
        Ok(Some(start..end))
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

    fn data_from(&self, offset: u64) -> Result<Option<Range<u64>>, Error> {
        if offset >= self.size {
            return Ok(None);
        }
        let found = self.medium.data_from(self.start.saturating_add(offset))?;
        let within = found.map(|range| range.start - self.start..(range.end - self.start).min(self.size));
        Ok(within.filter(|range| range.start < range.end))
    }
}
