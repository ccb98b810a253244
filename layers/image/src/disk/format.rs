//! The structures of a GUID partition table (UEFI Specification 2.10, chapter 5; numbers are
//! little-endian).

use uuid::Uuid;

use crate::bytes::put;

pub(crate) const FORMAT: &str = "GPT";
/// Sector size of the disks we make, in bytes: what firmware, QEMU and every cloud present.
pub const SECTOR_BYTES: u64 = 512;
/// "EFI PART" (table 5.5).
pub(crate) const SIGNATURE: [u8; 8] = *b"EFI PART";
/// Revision 1.0 (table 5.5).
pub(crate) const REVISION: u32 = 0x0001_0000;
/// Length of the header, in bytes (table 5.5).
pub(crate) const HEADER_BYTES: usize = 92;
/// Length of one entry, in bytes (table 5.6).
pub(crate) const ENTRY_BYTES: usize = 128;
/// Number of entries that we write: the 16,384 bytes that section 5.3.1 reserves at least.
pub(crate) const ENTRIES: usize = 128;
/// Sectors taken by the entries.
pub(crate) const ENTRIES_SECTORS: u64 = (ENTRY_BYTES * ENTRIES) as u64 / SECTOR_BYTES;
/// First sector that partitions may use: after the protective MBR, the header and the entries.
pub(crate) const FIRST_USABLE: u64 = 2 + ENTRIES_SECTORS;
/// Sectors after the last that partitions may use: the backup entries and header.
pub(crate) const AFTER_USABLE: u64 = ENTRIES_SECTORS + 1;
/// Longest name, in UTF-16 code units (table 5.6).
pub(crate) const NAME_UNITS: usize = 36;
/// Boot code for BIOS in the MBR, in bytes (table 5.1).
pub(crate) const BOOT_CODE_BYTES: usize = 440;

/// Attribute bits of a partition.
pub mod attributes {
    /// The platform needs it (UEFI, table 5.7).
    pub const REQUIRED: u64 = 1 << 0;
    /// Firmware must not make it a block device (UEFI, table 5.7).
    pub const NO_BLOCK_IO: u64 = 1 << 1;
    /// BIOS boots from it (UEFI, table 5.7).
    pub const LEGACY_BOOT: u64 = 1 << 2;
    /// The file system grows to the partition's size when mounted (Discoverable Partitions
    /// Specification, "Partition Flags").
    pub const GROW_FILE_SYSTEM: u64 = 1 << 59;
    /// Mounted read-only (same place).
    pub const READ_ONLY: u64 = 1 << 60;
    /// Never mounted by itself (same place).
    pub const NO_AUTO: u64 = 1 << 63;
}

/// The fields of a header that differ between disks and between the two copies, in sectors.
pub(crate) struct Header {
    pub here: u64,
    pub other: u64,
    pub last_usable: u64,
    pub entries_at: u64,
    pub disk_guid: Uuid,
    pub entries_crc: u32,
}

impl Header {
    pub(crate) fn encode(&self) -> [u8; SECTOR_BYTES as usize] {
        let mut sector = [0; SECTOR_BYTES as usize];
        put(&mut sector, 0, &SIGNATURE);
        put(&mut sector, 8, &REVISION.to_le_bytes());
        put(&mut sector, 12, &(HEADER_BYTES as u32).to_le_bytes());
        put(&mut sector, 24, &self.here.to_le_bytes());
        put(&mut sector, 32, &self.other.to_le_bytes());
        put(&mut sector, 40, &FIRST_USABLE.to_le_bytes());
        put(&mut sector, 48, &self.last_usable.to_le_bytes());
        put(&mut sector, 56, &self.disk_guid.to_bytes_le());
        put(&mut sector, 72, &self.entries_at.to_le_bytes());
        put(&mut sector, 80, &(ENTRIES as u32).to_le_bytes());
        put(&mut sector, 84, &(ENTRY_BYTES as u32).to_le_bytes());
        put(&mut sector, 88, &self.entries_crc.to_le_bytes());
        let crc = crc32fast::hash(&sector[..HEADER_BYTES]);
        put(&mut sector, 16, &crc.to_le_bytes());
        sector
    }
}

/// The protective MBR (section 5.2.3): one partition of type 0xee over the whole disk.
pub(crate) fn protective_mbr(sectors: u64, boot_code: &[u8]) -> [u8; SECTOR_BYTES as usize] {
    let mut sector = [0; SECTOR_BYTES as usize];
    put(&mut sector, 0, &boot_code[..boot_code.len().min(BOOT_CODE_BYTES)]);
    // First sector 0/0/2; the last one cannot be said in CHS (table 5.4).
    put(&mut sector, 446, &[0, 0x00, 0x02, 0x00, 0xee, 0xff, 0xff, 0xff]);
    put(&mut sector, 454, &1u32.to_le_bytes());
    let length = u32::try_from(sectors - 1).unwrap_or(u32::MAX);
    put(&mut sector, 458, &length.to_le_bytes());
    put(&mut sector, 510, &[0x55, 0xaa]);
    sector
}
