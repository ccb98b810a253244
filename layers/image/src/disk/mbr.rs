//! Reads a master boot record, and the chain of extended boot records behind it (UEFI
//! Specification 2.10, section 5.2.1; the chain as Linux reads it, block/partitions/msdos.c).

use std::collections::BTreeSet;

use crate::Error;
use crate::bytes::Fields;
use crate::medium::Medium;

/// Bytes of a sector: what every such disk has.
const SECTOR: u64 = 512;
/// Where the four entries lie, and how long each is.
const ENTRIES_AT: usize = 446;
const ENTRY_BYTES: usize = 16;
/// Types that hold a chain of further partitions.
const EXTENDED: [u8; 3] = [0x05, 0x0f, 0x85];
/// The type that stands for a whole disk with a GUID partition table.
pub(super) const PROTECTIVE: u8 = 0xee;
/// Most logical partitions that are read: Linux has numbers for so many.
const LOGICAL_MAX: usize = 128;

/// A partition as a record says it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Record {
    /// Number, from 1; logical partitions from 5 on.
    pub number: u32,
    /// First byte.
    pub start: u64,
    /// Length in bytes.
    pub size: u64,
    /// What it is for.
    pub system: u8,
    /// Whether a BIOS is to boot it.
    pub active: bool,
}

/// A master boot record.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BootRecord {
    /// The disk's signature, by which boot loaders know it.
    pub signature: u32,
    /// The partitions in use.
    pub partitions: Vec<Record>,
}

fn damaged(offset: u64, reason: impl Into<String>) -> Error {
    Error::Damaged { format: "a master boot record", offset, reason: reason.into() }
}

/// The first sector of a disk, if it ends as a boot record does.
fn sector(disk: &dyn Medium, at: u64) -> Result<Option<[u8; SECTOR as usize]>, Error> {
    let mut bytes = [0; SECTOR as usize];
    if disk.size() < at.saturating_add(SECTOR) {
        return Ok(None);
    }
    disk.read_at(at, &mut bytes)?;
    Ok((bytes[510..] == [0x55, 0xaa]).then_some(bytes))
}

/// An entry as it lies in a record: system, flag, first sector relative to `base`, sectors.
fn entry(bytes: &[u8], index: usize) -> (u8, u8, u64, u64) {
    let fields = Fields(&bytes[ENTRIES_AT + index * ENTRY_BYTES..][..ENTRY_BYTES]);
    (fields.u8(4), fields.u8(0), u64::from(fields.u32_le(8)), u64::from(fields.u32_le(12)))
}

impl BootRecord {
    /// Reads the record of a disk; `None` where there is none.
    ///
    /// # Errors
    /// [`Error::Damaged`] for partitions that are not on the disk and chains that do not end.
    pub fn read(disk: &dyn Medium) -> Result<Option<Self>, Error> {
        let Some(bytes) = sector(disk, 0)? else { return Ok(None) };
        // A boot sector of a file system has code where the flags would be.
        if (0..4).any(|index| entry(&bytes, index).1 & 0x7f != 0) {
            return Ok(None);
        }
        let mut partitions = Vec::new();
        for (number, index) in (1..).zip(0..4) {
            let (system, flag, first, count) = entry(&bytes, index);
            if system == 0 || count == 0 {
                continue;
            }
            if EXTENDED.contains(&system) {
                logical(disk, first, &mut partitions)?;
            } else {
                partitions.push(place(disk, number, 0, (system, flag, first, count))?);
            }
        }
        partitions.sort_by_key(|partition| partition.number);
        let found = Self { signature: Fields(&bytes).u32_le(440), partitions };
        Ok((!found.partitions.is_empty()).then_some(found))
    }

    /// Whether it only stands for a GUID partition table.
    pub fn is_protective(&self) -> bool {
        self.partitions.iter().any(|partition| partition.system == PROTECTIVE)
    }
}

/// Follows the chain of an extended partition; each link tells where the next one is, counted from
/// the first.
fn logical(disk: &dyn Medium, extended: u64, found: &mut Vec<Record>) -> Result<(), Error> {
    let (mut link, mut seen) = (extended, BTreeSet::new());
    for number in (5..).take(LOGICAL_MAX) {
        let at = link * SECTOR;
        if !seen.insert(link) {
            return Err(damaged(at, "the chain of logical partitions runs in a circle"));
        }
        let bytes =
            sector(disk, at)?.ok_or_else(|| damaged(at, "a link of the chain of logical partitions is missing"))?;
        let own = entry(&bytes, 0);
        if own.0 != 0 && own.3 != 0 {
            found.push(place(disk, number, link, own)?);
        }
        let (system, _, next, count) = entry(&bytes, 1);
        if !EXTENDED.contains(&system) || count == 0 {
            return Ok(());
        }
        // Both have 32 bits.
        link = extended + next;
    }
    Err(damaged(0, format!("there are more than {LOGICAL_MAX} logical partitions")))
}

fn place(disk: &dyn Medium, number: u32, base: u64, entry: (u8, u8, u64, u64)) -> Result<Record, Error> {
    let (system, flag, first, count) = entry;
    // Numbers of 32 and 33 bits.
    let (start, size) = ((base + first) * SECTOR, count * SECTOR);
    // The one that stands for a whole disk says so even of a disk that is larger, or cut off.
    if system != PROTECTIVE && start + size > disk.size() {
        return Err(damaged(0, format!("partition {number} ends at byte {}, past the end of the disk", start + size)));
    }
    Ok(Record { number, start, size, system, active: flag == 0x80 })
}

/// What a partition of this type is for, by the names that fdisk(8) has.
pub fn system_name(system: u8) -> &'static str {
    match system {
        0x01 => "FAT12",
        0x04 | 0x06 | 0x0e => "FAT16",
        0x07 => "HPFS/NTFS/exFAT",
        0x0b | 0x0c => "W95 FAT32",
        0x82 => "Linux swap",
        0x83 => "Linux",
        0x8e => "Linux LVM",
        0xef => "EFI system",
        0xfd => "Linux raid",
        _ => "unknown",
    }
}
