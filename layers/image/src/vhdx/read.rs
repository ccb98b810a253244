//! Reads a VHDX as the disk inside it. The file may be hostile: of its map one page is in memory.

use std::ops::Range;

use uuid::Uuid;

use super::format::{self, FORMAT, MIB};
use crate::blocks::{BlockMap, Pages, Place};
use crate::bytes::Fields;
use crate::medium::Medium;
use crate::{Error, blocks};

/// The disk inside a VHDX.
pub struct Reader<M> {
    file: M,
    size: u64,
    block_bytes: u64,
    chunk_ratio: u64,
    map_at: u64,
    map: Pages,
}

fn damaged(offset: u64, reason: impl Into<String>) -> Error {
    Error::Damaged { format: FORMAT, offset, reason: reason.into() }
}

fn unsupported(what: impl Into<String>, reason: &str) -> Error {
    Error::Unsupported { format: FORMAT, what: what.into(), reason: reason.into() }
}

/// What the metadata says of the disk.
#[derive(Default)]
struct Metadata {
    size: Option<u64>,
    sector_bytes: Option<u32>,
    block_bytes: Option<u32>,
}

impl<M: Medium> Reader<M> {
    /// Reads headers, region table and metadata.
    ///
    /// # Errors
    /// [`Error::Damaged`] for what contradicts the format, [`Error::Unsupported`] for
    /// differencing disks and for a log that waits to be replayed.
    pub fn open(file: M) -> Result<Self, Error> {
        let mut magic = [0; 8];
        file.read_at(0, &mut magic)?;
        if magic != *format::MAGIC {
            return Err(damaged(0, "the file does not begin with vhdxfile"));
        }
        check_headers(&file)?;
        let ((map_at, map_bytes), metadata) = regions(&file)?;
        let metadata = read_metadata(&file, metadata)?;
        let (Some(size), Some(sector), Some(block_bytes)) =
            (metadata.size, metadata.sector_bytes, metadata.block_bytes.map(u64::from))
        else {
            return Err(damaged(0, "the metadata lacks the size of the disk, of its blocks or of its sectors"));
        };
        if sector != 512 && sector != 4096 {
            return Err(damaged(0, format!("sectors of {sector} bytes are not possible")));
        }
        if !block_bytes.is_power_of_two() || !format::BLOCK_BYTES.contains(&block_bytes) {
            return Err(damaged(0, format!("blocks of {block_bytes} bytes are not possible")));
        }
        if size > format::SIZE_MAX {
            return Err(damaged(0, format!("a disk of {size} bytes is not possible")));
        }
        let chunk_ratio = format::chunk_ratio(u64::from(sector), block_bytes);
        let count = size.div_ceil(block_bytes);
        let entries = count + count.saturating_sub(1) / chunk_ratio;
        if entries * 8 > map_bytes {
            return Err(damaged(map_at, format!("a map of {map_bytes} bytes does not hold {entries} entries")));
        }
        Ok(Self { file, size, block_bytes, chunk_ratio, map_at, map: Pages::default() })
    }
}

/// The newer of the headers that are whole decides.
fn check_headers(file: &dyn Medium) -> Result<(), Error> {
    let mut newest: Option<(u64, Vec<u8>)> = None;
    for at in format::HEADERS_AT {
        let mut header = vec![0; format::HEADER_BYTES];
        file.read_at(at, &mut header)?;
        let number = Fields(&header).u64_le(8);
        if format::is_sound(&header, b"head") && newest.as_ref().is_none_or(|(newest, _)| *newest < number) {
            newest = Some((number, header));
        }
    }
    let Some((_, header)) = newest else {
        return Err(damaged(format::HEADERS_AT[0], "there is no sound header"));
    };
    let version = u16::from_le_bytes(Fields(&header).bytes(66));
    if version != 1 {
        return Err(unsupported(format!("version {version}"), "only version 1 is supported"));
    }
    if !format::guid(&header, 48).is_nil() {
        let reason = "it was not closed; open it in Hyper-V once, or repair it with `qemu-img check -r all FILE`";
        return Err(unsupported("a log that waits to be replayed", reason));
    }
    Ok(())
}

type Region = (u64, u64);

/// Where the block map and the metadata lie.
fn regions(file: &dyn Medium) -> Result<(Region, Region), Error> {
    let mut table = vec![0; format::TABLE_BYTES];
    let mut found = false;
    for at in format::REGION_TABLES_AT {
        file.read_at(at, &mut table)?;
        found = format::is_sound(&table, b"regi");
        if found {
            break;
        }
    }
    let at = format::REGION_TABLES_AT[0];
    if !found {
        return Err(damaged(at, "there is no sound region table"));
    }
    let count = Fields(&table).u32_le(8) as usize;
    if count > format::ENTRIES_MAX {
        return Err(damaged(at, format!("{count} regions are too many")));
    }
    let (mut map, mut metadata) = (None, None);
    for entry in table[16..].chunks_exact(32).take(count) {
        let fields = Fields(entry);
        let (start, length) = (fields.u64_le(16), u64::from(fields.u32_le(24)));
        let kind = format::guid(entry, 0);
        let place = match kind {
            format::BAT => &mut map,
            format::METADATA => &mut metadata,
            _ if fields.u32_le(28) & 1 == 0 => continue,
            _ => return Err(unsupported(format!("the region {kind}"), "it is not known, but required")),
        };
        if start < MIB || !start.is_multiple_of(MIB) || start.checked_add(length).is_none_or(|end| end > file.size()) {
            return Err(damaged(start, "a region does not lie in the file"));
        }
        *place = Some((start, length));
    }
    map.zip(metadata).ok_or_else(|| damaged(at, "the block map or the metadata is missing"))
}

fn read_metadata(file: &dyn Medium, (at, length): Region) -> Result<Metadata, Error> {
    if length < format::TABLE_BYTES as u64 {
        return Err(damaged(at, "the metadata is shorter than its table"));
    }
    let mut table = vec![0; format::TABLE_BYTES];
    file.read_at(at, &mut table)?;
    if Fields(&table).bytes::<8>(0) != *b"metadata" {
        return Err(damaged(at, "there is no metadata table"));
    }
    let count = usize::from(u16::from_le_bytes(Fields(&table).bytes(10)));
    if count > format::ENTRIES_MAX {
        return Err(damaged(at, format!("{count} items of metadata are too many")));
    }
    let mut found = Metadata::default();
    for entry in table[32..].chunks_exact(32).take(count) {
        let fields = Fields(entry);
        let (start, size) = (u64::from(fields.u32_le(16)), u64::from(fields.u32_le(20)));
        if start + size > length {
            return Err(damaged(at + start, "an item of metadata goes past its region"));
        }
        let item: Uuid = format::guid(entry, 0);
        // The longest that we know of is 16 bytes; what is shorter than it should be reads as 0.
        let mut value = [0; 16];
        file.read_at(at + start, &mut value[..size.min(16) as usize])?;
        let value = Fields(&value);
        match item {
            format::FILE_PARAMETERS if value.u32_le(4) & format::HAS_PARENT != 0 => {
                let reason = "a part of it lies in another file; merge it with its parent first";
                return Err(unsupported("a differencing disk", reason));
            }
            format::FILE_PARAMETERS => found.block_bytes = Some(value.u32_le(0)),
            format::DISK_SIZE => found.size = Some(value.u64_le(0)),
            format::LOGICAL_SECTOR => found.sector_bytes = Some(value.u32_le(0)),
            format::DISK_ID | format::PHYSICAL_SECTOR => {}
            _ if fields.u32_le(24) & format::IS_REQUIRED != 0 => {
                return Err(unsupported(format!("the metadata {item}"), "it is not known, but required"));
            }
            _ => {}
        }
    }
    Ok(found)
}

impl<M: Medium> BlockMap for Reader<M> {
    const FORMAT: &'static str = FORMAT;

    fn disk_bytes(&self) -> u64 {
        self.size
    }

    fn block_bytes(&self) -> u64 {
        self.block_bytes
    }

    fn place(&self, number: u64) -> Result<Place, Error> {
        let at = self.map_at + (number + number / self.chunk_ratio) * 8;
        let entry = u64::from_le_bytes(self.map.read(&self.file, at)?);
        match entry & 7 {
            format::FULLY_PRESENT => Ok(Place::At(entry & !(MIB - 1))),
            format::PARTIALLY_PRESENT => Err(damaged(at, "a block is said to lie partly in a parent")),
            // Not there, undefined, zeros or unmapped: a disk without a parent reads as zeros.
            _ => Ok(Place::Zeros(1)),
        }
    }

    fn read_block(&self, place: u64, within: u64, buffer: &mut [u8]) -> Result<(), Error> {
        self.file.read_at(place.saturating_add(within), buffer)
    }
}

impl<M: Medium> Medium for Reader<M> {
    fn size(&self) -> u64 {
        self.size
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), Error> {
        blocks::read_at(self, offset, buffer)
    }

    fn data_from(&self, offset: u64) -> Result<Option<Range<u64>>, Error> {
        blocks::data_from(self, offset)
    }
}
