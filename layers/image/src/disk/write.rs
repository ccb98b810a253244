//! A whole disk: table, partitions, table again.

use layers::Contents;
use uuid::Uuid;

use super::format::{
    AFTER_USABLE, BOOT_CODE_BYTES, ENTRIES, ENTRIES_SECTORS, ENTRY_BYTES, FIRST_USABLE, FORMAT, Header, NAME_UNITS,
    SECTOR_BYTES, protective_mbr,
};
use crate::bytes::put;
use crate::stream::{Shifted, ahead};
use crate::{Error, Sink, Source};

/// One partition.
pub struct Partition<'a> {
    /// First byte; a multiple of [`super::ALIGNMENT_BYTES`] by custom, of a sector by need.
    pub start: u64,
    /// Length in bytes; a multiple of a sector.
    pub size: u64,
    /// What it is for: see [`super::types`].
    pub type_guid: Uuid,
    /// Its own identity.
    pub guid: Uuid,
    /// At most 36 UTF-16 code units.
    pub name: String,
    /// See [`super::attributes`].
    pub attributes: u64,
    /// What lies in it, from its first byte; nothing reads as zeros. May be smaller than the
    /// partition.
    pub content: Option<&'a dyn Source>,
}

/// A disk with a GUID partition table.
pub struct Disk<'a> {
    size: u64,
    guid: Uuid,
    boot_code: Vec<u8>,
    partitions: Vec<Partition<'a>>,
    /// Numbers of partitions in the order they lie.
    order: Vec<usize>,
}

impl<'a> Disk<'a> {
    /// A disk of `size` bytes. Partitions are numbered in the order given.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for sizes and places that are not whole sectors, overlaps, twice
    /// the same GUID, names that are too long; [`Error::TooSmall`] where something does not fit.
    pub fn new(size: u64, guid: Uuid, partitions: Vec<Partition<'a>>) -> Result<Self, Error> {
        let mut order: Vec<usize> = (0..partitions.len()).collect();
        order.sort_by_key(|&number| partitions[number].start);
        let disk = Self { size, guid, boot_code: Vec::new(), partitions, order };
        disk.check()?;
        Ok(disk)
    }

    /// Puts boot code for BIOS into the MBR.
    ///
    /// # Errors
    /// It is longer than 440 bytes.
    pub fn with_boot_code(mut self, code: &[u8]) -> Result<Self, Error> {
        if code.len() > BOOT_CODE_BYTES {
            return Err(Error::TooSmall {
                what: "the boot code into the master boot record".into(),
                needed: code.len() as u64,
                available: BOOT_CODE_BYTES as u64,
            });
        }
        self.boot_code = code.to_vec();
        Ok(self)
    }

    /// The partitions, in the order of their numbers.
    pub fn partitions(&self) -> &[Partition<'a>] {
        &self.partitions
    }

    fn check(&self) -> Result<(), Error> {
        let refuse = |what: String, reason: &str| Error::Unsupported { format: FORMAT, what, reason: reason.into() };
        if !self.size.is_multiple_of(SECTOR_BYTES) {
            return Err(refuse(format!("a disk of {} bytes", self.size), "the size must be whole sectors"));
        }
        if self.partitions.len() > ENTRIES {
            return Err(refuse(format!("{} partitions", self.partitions.len()), "the table holds 128"));
        }
        // The table at the start, its backup at the end, and one sector between them.
        let least = (FIRST_USABLE + 1 + AFTER_USABLE) * SECTOR_BYTES;
        if self.size < least {
            return Err(Error::TooSmall {
                what: "the partition table on the disk".into(),
                needed: least,
                available: self.size,
            });
        }
        let usable_end = self.size - AFTER_USABLE * SECTOR_BYTES;
        let mut free_from = FIRST_USABLE * SECTOR_BYTES;
        for &number in &self.order {
            let partition = &self.partitions[number];
            let which = || format!("partition {} ({:?})", number + 1, partition.name);
            let Partition { start, size, .. } = *partition;
            if !start.is_multiple_of(SECTOR_BYTES) || !size.is_multiple_of(SECTOR_BYTES) || size == 0 {
                return Err(refuse(which(), "its place and size must be whole sectors, at least one"));
            }
            if start < free_from {
                return Err(refuse(which(), "it overlaps the partition or table before it"));
            }
            let end = start.checked_add(size).ok_or(Error::Overflow("the end of a partition"))?;
            if end > usable_end {
                return Err(Error::TooSmall {
                    what: format!("{} and the backup table on the disk", which()),
                    needed: end.saturating_add(AFTER_USABLE * SECTOR_BYTES),
                    available: self.size,
                });
            }
            if partition.name.encode_utf16().count() > NAME_UNITS {
                return Err(refuse(which(), "its name is longer than 36 UTF-16 units"));
            }
            if partition.type_guid.is_nil() || partition.guid.is_nil() {
                return Err(refuse(which(), "a GUID of zeros means that there is no partition"));
            }
            if self.partitions[..number].iter().any(|other| other.guid == partition.guid) {
                return Err(refuse(which(), "another partition has the same GUID"));
            }
            match partition.content {
                Some(content) if content.size() > size => {
                    return Err(Error::TooSmall {
                        what: format!("the content of {}", which()),
                        needed: content.size(),
                        available: size,
                    });
                }
                _ => free_from = end,
            }
        }
        Ok(())
    }

    fn entries(&self) -> Vec<u8> {
        let mut bytes = vec![0; ENTRIES * ENTRY_BYTES];
        for (entry, partition) in bytes.chunks_exact_mut(ENTRY_BYTES).zip(&self.partitions) {
            let first = partition.start / SECTOR_BYTES;
            let last = first + partition.size / SECTOR_BYTES - 1;
            put(entry, 0, &partition.type_guid.to_bytes_le());
            put(entry, 16, &partition.guid.to_bytes_le());
            put(entry, 32, &first.to_le_bytes());
            put(entry, 40, &last.to_le_bytes());
            put(entry, 48, &partition.attributes.to_le_bytes());
            for (at, unit) in partition.name.encode_utf16().take(NAME_UNITS).enumerate() {
                put(entry, 56 + 2 * at, &unit.to_le_bytes());
            }
        }
        bytes
    }

    fn header(&self, entries: &[u8]) -> Header {
        let sectors = self.size / SECTOR_BYTES;
        Header {
            here: 1,
            other: sectors - 1,
            last_usable: sectors - AFTER_USABLE - 1,
            entries_at: 2,
            disk_guid: self.guid,
            entries_crc: crc32fast::hash(entries),
        }
    }

    /// What lies before every partition: boot record, header, entries.
    pub(crate) fn head(&self) -> Vec<u8> {
        let entries = self.entries();
        let boot_record = protective_mbr(self.size / SECTOR_BYTES, &self.boot_code);
        [&boot_record[..], &self.header(&entries).encode(), &entries].concat()
    }

    /// What lies behind every partition, and where, in bytes.
    pub(crate) fn tail(&self) -> (u64, Vec<u8>) {
        let entries = self.entries();
        let primary = self.header(&entries);
        let (last, entries_at) = (primary.other, primary.other - ENTRIES_SECTORS);
        // The backup must stand on its own when the primary is gone: it names its own place and
        // its own copy of the entries.
        let backup = Header { here: last, other: 1, entries_at, ..primary };
        (entries_at * SECTOR_BYTES, [&entries[..], &backup.encode()].concat())
    }
}

impl Source for Disk<'_> {
    fn size(&self) -> u64 {
        self.size
    }

    fn write_to(&self, contents: &dyn Contents, sink: &mut dyn Sink) -> Result<(), Error> {
        ahead(&|sink| self.give(contents, sink), sink)
    }
}

impl Disk<'_> {
    fn give(&self, contents: &dyn Contents, sink: &mut dyn Sink) -> Result<(), Error> {
        sink.data(0, &self.head())?;
        for &number in &self.order {
            let partition = &self.partitions[number];
            if let Some(content) = partition.content {
                content.write_to(contents, &mut Shifted { sink, by: partition.start })?;
            }
        }
        let (at, backup) = self.tail();
        sink.data(at, &backup)
    }
}
