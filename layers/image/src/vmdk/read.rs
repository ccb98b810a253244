//! Reads a VMDK of one file as the disk inside it. The file may be hostile: of directory and
//! tables one page each is in memory, and one grain.

use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use flate2::{Decompress, FlushDecompress, Status};

use super::format::{self, FORMAT, HEADER_BYTES, Header, SECTOR, TABLE_ENTRIES, flag};
use crate::blocks::{BlockMap, Pages, Place};
use crate::bytes::Fields;
use crate::medium::{Medium, read_padded};
use crate::{Error, blocks};

/// Longest descriptor that is looked at, in bytes: VMware makes 10 KiB.
const DESCRIPTOR_BYTES_MAX: u64 = 64 * 1024;

/// The disk inside a VMDK.
pub struct Reader<M> {
    file: M,
    header: Header,
    directory: Pages,
    tables: Pages,
    grain: Mutex<Option<(u64, Vec<u8>)>>,
}

fn damaged(offset: u64, reason: impl Into<String>) -> Error {
    Error::Damaged { format: FORMAT, offset, reason: reason.into() }
}

impl<M: Medium> Reader<M> {
    /// Reads header, footer and descriptor.
    ///
    /// # Errors
    /// [`Error::Damaged`] for what contradicts the format, [`Error::Unsupported`] for disks that
    /// lie in several files.
    pub fn open(file: M) -> Result<Self, Error> {
        let mut bytes = [0; HEADER_BYTES];
        file.read_at(0, &mut bytes)?;
        let mut header = Header::decode(&bytes, 0)?;
        check_descriptor(&file, &header)?;
        if header.directory_at == format::DIRECTORY_AT_END {
            // Before the marker of the end.
            let at = file.size().saturating_sub(2 * SECTOR);
            file.read_at(at, &mut bytes)?;
            let footer = Header::decode(&bytes, at)?;
            if footer.capacity != header.capacity || footer.grain_sectors != header.grain_sectors {
                return Err(damaged(at, "header and footer contradict each other"));
            }
            header = footer;
        }
        let tables = header.capacity.div_ceil(header.grain_sectors).div_ceil(TABLE_ENTRIES);
        let end = header.directory_at.checked_mul(SECTOR).and_then(|at| at.checked_add(tables * 4));
        if header.directory_at == 0 || end.is_none_or(|end| end > file.size()) {
            return Err(damaged(56, format!("the directory of {tables} tables does not lie in the file")));
        }
        Ok(Self { file, header, directory: Pages::default(), tables: Pages::default(), grain: Mutex::default() })
    }

    fn decompress(&self, at: u64) -> Result<Vec<u8>, Error> {
        let mut marker = [0; format::GRAIN_MARKER_BYTES as usize];
        self.file.read_at(at, &mut marker)?;
        let length = u64::from(Fields(&marker).u32_le(8));
        let grain_bytes = self.block_bytes();
        if length > 2 * grain_bytes {
            return Err(damaged(at, format!("a compressed grain of {length} bytes is too long")));
        }
        let mut packed = vec![0; length as usize];
        self.file.read_at(at + format::GRAIN_MARKER_BYTES, &mut packed)?;
        // The last grain may be shorter; zeros follow then.
        let mut bytes = vec![0; grain_bytes as usize];
        match Decompress::new(true).decompress(&packed, &mut bytes, FlushDecompress::Finish) {
            Ok(Status::StreamEnd) => Ok(bytes),
            Ok(_) => Err(damaged(at, "a compressed grain is cut off or too long")),
            Err(error) => Err(damaged(at, format!("a compressed grain is no zlib data: {error}"))),
        }
    }
}

/// Refuses what is only a part of a disk.
fn check_descriptor(file: &dyn Medium, header: &Header) -> Result<(), Error> {
    let Some(at) = header.descriptor_at.checked_mul(SECTOR).filter(|&at| at != 0 && at < file.size()) else {
        return Ok(());
    };
    let length = header.descriptor_sectors.saturating_mul(SECTOR).min(DESCRIPTOR_BYTES_MAX).min(file.size() - at);
    let mut bytes = vec![0; length as usize];
    file.read_at(at, &mut bytes)?;
    let text = String::from_utf8_lossy(&bytes).to_ascii_lowercase();
    let value = |key: &str| {
        let line = text.lines().find_map(|line| line.trim().strip_prefix(key)?.trim_start().strip_prefix('='));
        line.map(|value| value.trim().trim_matches('"').to_owned())
    };
    if let Some(parent) = value("parentcid")
        && parent != "ffffffff"
    {
        let reason = "a part of it lies in another file; clone it in VMware first, or use qemu-img";
        return Err(Error::Unsupported { format: FORMAT, what: "a snapshot".into(), reason: reason.into() });
    }
    Ok(())
}

impl<M: Medium> BlockMap for Reader<M> {
    const FORMAT: &'static str = FORMAT;

    fn disk_bytes(&self) -> u64 {
        self.header.capacity * SECTOR
    }

    fn block_bytes(&self) -> u64 {
        self.header.grain_sectors * SECTOR
    }

    fn place(&self, number: u64) -> Result<Place, Error> {
        // The directory lies in the file, so the sum is small.
        let at = self.header.directory_at * SECTOR + number / TABLE_ENTRIES * 4;
        let table = u32::from_le_bytes(self.directory.read(&self.file, at)?);
        if table == 0 {
            return Ok(Place::Zeros(TABLE_ENTRIES - number % TABLE_ENTRIES));
        }
        let at = u64::from(table) * SECTOR + number % TABLE_ENTRIES * 4;
        let grain = u32::from_le_bytes(self.tables.read(&self.file, at)?);
        let is_zeros = grain == 0 || (grain == 1 && self.header.flags & flag::ZERO_GRAINS != 0);
        Ok(if is_zeros { Place::Zeros(1) } else { Place::At(u64::from(grain) * SECTOR) })
    }

    fn read_block(&self, place: u64, within: u64, buffer: &mut [u8]) -> Result<(), Error> {
        if self.header.flags & flag::COMPRESSED == 0 {
            return read_padded(&self.file, FORMAT, place + within, buffer);
        }
        // A panic while the lock was held leaves at most the grain before.
        let mut cached = self.grain.lock().unwrap_or_else(PoisonError::into_inner);
        if cached.as_ref().is_none_or(|(of, _)| *of != place) {
            *cached = Some((place, self.decompress(place)?));
        }
        if let Some((_, bytes)) = cached.as_ref() {
            buffer.copy_from_slice(&bytes[within as usize..within as usize + buffer.len()]);
        }
        Ok(())
    }
}

impl<M: Medium> Medium for Reader<M> {
    fn size(&self) -> u64 {
        self.disk_bytes()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), Error> {
        blocks::read_at(self, offset, buffer)
    }

    fn data_from(&self, offset: u64) -> Result<Option<Range<u64>>, Error> {
        blocks::data_from(self, offset)
    }
}
