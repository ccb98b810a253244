//! Constants, and numbers that lie in both byte orders.

use crate::bytes::Fields;

pub(super) const FORMAT: &str = "ISO 9660";
/// Logical sector and logical block of what we write, in bytes (ECMA-119, 6.1.2 and 6.2.2).
pub(super) const SECTOR: u64 = 2048;
/// Where the descriptors begin, in sectors: the system area lies before (6.2.1).
pub(super) const DESCRIPTORS_AT: u32 = 16;
/// "CD001" (8.1.2).
pub(super) const STANDARD_ID: &[u8; 5] = b"CD001";
/// Names the boot record of El Torito (figure 7 there).
pub(super) const EL_TORITO: &[u8; 23] = b"EL TORITO SPECIFICATION";
/// Bytes of a directory record before the identifier (9.1).
pub(super) const RECORD_BYTES: usize = 33;
/// Longest directory record, in bytes: its length is an even number in one byte.
pub(super) const RECORD_MAX: usize = 254;
/// Most bytes of one section of a file: whole sectors, in 32 bits (9.1.4).
pub(super) const SECTION_MAX: u64 = u32::MAX as u64 / SECTOR * SECTOR;
/// The identifiers of a directory in itself, and of the one above (6.8.2.2).
pub(super) const SELF: &[u8] = &[0];
pub(super) const PARENT: &[u8] = &[1];

/// Types of descriptors (8.1.1).
pub(super) mod descriptor_type {
    pub(in crate::iso) const BOOT: u8 = 0;
    pub(in crate::iso) const PRIMARY: u8 = 1;
    pub(in crate::iso) const SUPPLEMENTARY: u8 = 2;
    pub(in crate::iso) const END: u8 = 255;
}

/// Flags of a directory record (9.1.6).
pub(super) mod flag {
    pub(in crate::iso) const DIRECTORY: u8 = 0x02;
    pub(in crate::iso) const ASSOCIATED: u8 = 0x04;
    pub(in crate::iso) const MORE_SECTIONS: u8 = 0x80;
}

/// File types in a POSIX mode, as Rock Ridge keeps it (RRIP 4.1.1).
pub(super) mod file_type {
    pub(in crate::iso) const MASK: u32 = 0o170_000;
    pub(in crate::iso) const SOCKET: u32 = 0o140_000;
    pub(in crate::iso) const SYMLINK: u32 = 0o120_000;
    pub(in crate::iso) const REGULAR: u32 = 0o100_000;
    pub(in crate::iso) const BLOCK: u32 = 0o060_000;
    pub(in crate::iso) const DIRECTORY: u32 = 0o040_000;
    pub(in crate::iso) const CHARACTER: u32 = 0o020_000;
    pub(in crate::iso) const FIFO: u32 = 0o010_000;
}

/// A number in both byte orders (7.2.3).
pub(super) fn both16(number: u16) -> [u8; 4] {
    let (low, high) = (number.to_le_bytes(), number.to_be_bytes());
    [low[0], low[1], high[0], high[1]]
}

/// A number in both byte orders (7.3.3).
pub(super) fn both32(number: u32) -> [u8; 8] {
    let mut bytes = [0; 8];
    bytes[..4].copy_from_slice(&number.to_le_bytes());
    bytes[4..].copy_from_slice(&number.to_be_bytes());
    bytes
}

/// Reads such a number; the little-endian half counts, as for Linux.
pub(super) fn get_both32(bytes: &[u8], at: usize) -> u32 {
    Fields(bytes).u32_le(at)
}
