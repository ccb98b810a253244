//! The structures of VHDX (\[MS-VHDX\] 8.0; numbers are little-endian).

use uuid::{Uuid, uuid};

use crate::bytes::{Fields, put};

pub(crate) const FORMAT: &str = "VHDX";
/// Section 2.2.1, "Signature".
pub(crate) const MAGIC: &[u8; 8] = b"vhdxfile";
/// Unit of places in the file, in bytes (section 2.1).
pub(crate) const MIB: u64 = 1 << 20;
/// Places of the two headers and of the two region tables, in bytes (section 2.2).
pub(crate) const HEADERS_AT: [u64; 2] = [64 << 10, 128 << 10];
pub(crate) const REGION_TABLES_AT: [u64; 2] = [192 << 10, 256 << 10];
/// Lengths in bytes that the checksums cover (sections 2.2.2 and 2.2.3).
pub(crate) const HEADER_BYTES: usize = 4 << 10;
pub(crate) const TABLE_BYTES: usize = 64 << 10;
/// Most entries of a region table and of the metadata table (sections 2.2.3.1 and 2.6.1.1).
pub(crate) const ENTRIES_MAX: usize = 2047;
/// Blocks are 1 MiB to 256 MiB, a power of two (section 2.6.2.1).
pub(crate) const BLOCK_BYTES: std::ops::RangeInclusive<u64> = MIB..=256 * MIB;
/// Largest disk, in bytes: 64 TiB (section 2.6.2.2).
pub(crate) const SIZE_MAX: u64 = 64 << 40;
/// A sector bitmap block covers this many sectors (section 2.5, "Chunk Ratio").
const CHUNK_SECTORS: u64 = 1 << 23;

/// Regions (section 2.2.3.2).
pub(crate) const BAT: Uuid = uuid!("2DC27766-F623-4200-9D64-115E9BFD4A08");
pub(crate) const METADATA: Uuid = uuid!("8B7CA206-4790-4B9A-B8FE-575F050F886E");
/// Metadata items (section 2.6.2).
pub(crate) const FILE_PARAMETERS: Uuid = uuid!("CAA16737-FA36-4D43-B3B6-33F0AA44E76B");
pub(crate) const DISK_SIZE: Uuid = uuid!("2FA54224-CD1B-4876-B211-5DBED83BF4B8");
pub(crate) const DISK_ID: Uuid = uuid!("BECA12AB-B2E6-4523-93EF-C309E000C746");
pub(crate) const LOGICAL_SECTOR: Uuid = uuid!("8141BF1D-A96F-4709-BA47-F233A8FAAB5F");
pub(crate) const PHYSICAL_SECTOR: Uuid = uuid!("CDA348C7-445D-4471-9CC9-E9885251C556");
/// Flags of metadata entries (section 2.6.1.2).
pub(crate) const IS_VIRTUAL_DISK: u32 = 1 << 1;
pub(crate) const IS_REQUIRED: u32 = 1 << 2;
/// File parameters: the disk is the difference to another (section 2.6.2.1).
pub(crate) const HAS_PARENT: u32 = 1 << 1;

/// States of a block (section 2.5.1.1).
pub(crate) const FULLY_PRESENT: u64 = 6;
pub(crate) const PARTIALLY_PRESENT: u64 = 7;

/// Payload blocks between two entries of sector bitmaps in the block map.
pub(crate) fn chunk_ratio(sector_bytes: u64, block_bytes: u64) -> u64 {
    CHUNK_SECTORS * sector_bytes / block_bytes
}

/// A GUID as it lies in the file.
pub(crate) fn guid(bytes: &[u8], at: usize) -> Uuid {
    Uuid::from_bytes_le(Fields(bytes).bytes(at))
}

/// The checksum of a structure, its own field (bytes 4 to 7) being zeros.
pub(crate) fn checksum(bytes: &[u8]) -> u32 {
    let head = bytes.get(..4).unwrap_or_default();
    let rest = bytes.get(8..).unwrap_or_default();
    crc32c::crc32c_append(crc32c::crc32c_append(crc32c::crc32c(head), &[0; 4]), rest)
}

/// Writes the checksum into a finished structure.
pub(crate) fn seal(bytes: &mut [u8]) {
    let sum = checksum(bytes);
    put(bytes, 4, &sum.to_le_bytes());
}

/// Whether a structure has this signature and a right checksum.
pub(crate) fn is_sound(bytes: &[u8], signature: &[u8; 4]) -> bool {
    Fields(bytes).bytes::<4>(0) == *signature && Fields(bytes).u32_le(4) == checksum(bytes)
}
