//! Reads a GUID partition table from the primary copy or its backup. The disk may be hostile:
//! memory is bounded by 1 MiB of entries.

use uuid::Uuid;

use super::format::{ENTRY_BYTES, FORMAT, HEADER_BYTES, SIGNATURE};
use crate::Error;
use crate::bytes::Fields;
use crate::medium::Medium;

/// Sector sizes that disks have, in bytes.
const SECTOR_SIZES: [u64; 2] = [512, 4096];
/// Most bytes of entries that we read: 64 times what is usual.
const ENTRIES_BYTES_MAX: u64 = 1 << 20;

/// Which copy of the table was read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Copy {
    /// The one at the start of the disk.
    Primary,
    /// The one at its end, because the primary is damaged.
    Backup,
}

/// A partition as a table says it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// Number, from 1: as in `/dev/sda1`.
    pub number: u32,
    /// First byte.
    pub start: u64,
    /// Length in bytes.
    pub size: u64,
    /// What it is for.
    pub type_guid: Uuid,
    /// Its identity.
    pub guid: Uuid,
    /// See [`super::attributes`].
    pub attributes: u64,
    /// Its name; what is no UTF-16 is replaced.
    pub name: String,
}

/// A partition table.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Table {
    /// The copy that was read.
    pub copy: Copy,
    /// What is wrong with the other copy, if anything: the disk should be repaired.
    pub other_copy: Option<String>,
    /// Sector size, in bytes.
    pub sector_size: u64,
    /// The disk's identity.
    pub disk_guid: Uuid,
    /// The partitions in use, by number.
    pub partitions: Vec<Entry>,
}

fn damaged(offset: u64, reason: impl Into<String>) -> Error {
    Error::Damaged { format: FORMAT, offset, reason: reason.into() }
}

impl Table {
    /// Reads the table of a disk: the primary copy, or the backup at the disk's last sector when
    /// the primary is damaged.
    ///
    /// # Errors
    /// [`Error::Damaged`] when neither copy can be read, with what is wrong with the primary.
    pub fn read(disk: &dyn Medium) -> Result<Self, Error> {
        let mut first_error = None;
        for sector_size in SECTOR_SIZES {
            let last = (disk.size() / sector_size).saturating_sub(1);
            let backup = read_copy(disk, sector_size, last, Copy::Backup);
            match (read_copy(disk, sector_size, 1, Copy::Primary), backup) {
                (Ok(table), backup) => {
                    let other_copy = match backup {
                        Err(error) => Some(error.to_string()),
                        Ok(backup)
                            if (backup.disk_guid, &backup.partitions) != (table.disk_guid, &table.partitions) =>
                        {
                            Some("the two copies differ".into())
                        }
                        Ok(_) => None,
                    };
                    return Ok(Self { other_copy, ..table });
                }
                (Err(error), Ok(backup)) => return Ok(Self { other_copy: Some(error.to_string()), ..backup }),
                (Err(error), Err(_)) => first_error = first_error.or(Some(error)),
            }
        }
        Err(first_error.unwrap_or_else(|| damaged(0, "there is no partition table")))
    }
}

fn read_copy(disk: &dyn Medium, sector_size: u64, sector: u64, copy: Copy) -> Result<Table, Error> {
    let at = sector * sector_size;
    let mut header = [0; HEADER_BYTES];
    disk.read_at(at, &mut header)?;
    let fields = Fields(&header);
    if fields.bytes::<8>(0) != SIGNATURE {
        return Err(damaged(at, "there is no header (EFI PART)"));
    }
    let length = fields.u32_le(12);
    if (length as usize) < HEADER_BYTES || u64::from(length) > sector_size {
        return Err(damaged(at, format!("a header of {length} bytes is not possible")));
    }
    // The checksum covers what the header says is its length, with its own field as zeros.
    let mut whole = vec![0; length as usize];
    disk.read_at(at, &mut whole)?;
    whole[16..20].fill(0);
    if crc32fast::hash(&whole) != fields.u32_le(16) {
        return Err(damaged(at, "the header's checksum is wrong"));
    }
    if fields.u64_le(24) != sector {
        return Err(damaged(at, format!("the header says that it lies at sector {}", fields.u64_le(24))));
    }
    let (entries_at, count, entry_bytes) = (fields.u64_le(72), fields.u32_le(80), fields.u32_le(84));
    let total = u64::from(count) * u64::from(entry_bytes);
    if (entry_bytes as usize) < ENTRY_BYTES || !entry_bytes.is_multiple_of(8) || total > ENTRIES_BYTES_MAX {
        return Err(damaged(at, format!("{count} entries of {entry_bytes} bytes are not possible")));
    }
    let entries_offset = entries_at
        .checked_mul(sector_size)
        .filter(|&offset| offset.checked_add(total).is_some_and(|end| end <= disk.size()))
        .ok_or_else(|| damaged(at, "the entries lie outside the disk"))?;
    let mut entries = vec![0; total as usize];
    disk.read_at(entries_offset, &mut entries)?;
    if crc32fast::hash(&entries) != fields.u32_le(88) {
        return Err(damaged(entries_offset, "the checksum of the entries is wrong"));
    }
    let mut partitions = Vec::new();
    for (number, entry) in (1..).zip(entries.chunks_exact(entry_bytes as usize)) {
        let at = entries_offset + u64::from(number - 1) * u64::from(entry_bytes);
        if let Some(entry) = read_entry(disk, sector_size, number, at, Fields(entry))? {
            partitions.push(entry);
        }
    }
    let disk_guid = Uuid::from_bytes_le(fields.bytes(56));
    Ok(Table { copy, other_copy: None, sector_size, disk_guid, partitions })
}

fn read_entry(
    disk: &dyn Medium,
    sector_size: u64,
    number: u32,
    at: u64,
    fields: Fields<'_>,
) -> Result<Option<Entry>, Error> {
    let type_guid = Uuid::from_bytes_le(fields.bytes(0));
    if type_guid.is_nil() {
        return Ok(None);
    }
    let (first, last) = (fields.u64_le(32), fields.u64_le(40));
    let place = || {
        let start = first.checked_mul(sector_size)?;
        let end = last.checked_add(1)?.checked_mul(sector_size)?;
        let size = end.checked_sub(start)?;
        (size > 0 && end <= disk.size()).then_some((start, size))
    };
    let (start, size) = place()
        .ok_or_else(|| damaged(at, format!("partition {number}, sectors {first} to {last}, is not on the disk")))?;
    let units = (0..36).map(|unit| fields.u16_le(56 + 2 * unit)).take_while(|&unit| unit != 0);
    let name = char::decode_utf16(units).map(|unit| unit.unwrap_or(char::REPLACEMENT_CHARACTER)).collect();
    Ok(Some(Entry {
        number,
        start,
        size,
        type_guid,
        guid: Uuid::from_bytes_le(fields.bytes(16)),
        attributes: fields.u64_le(48),
        name,
    }))
}
