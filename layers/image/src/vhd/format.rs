//! The structures of a virtual hard disk (Virtual Hard Disk Image Format Specification 1.0,
//! Microsoft 2006; numbers are big-endian).

use layers::Time;
use uuid::Uuid;

use crate::Error;
use crate::bytes::put;

pub(crate) const FORMAT: &str = "VHD";
/// Unit of the sizes that we make, in bytes: Azure refuses disks that are not whole MiB ("Prepare
/// a Windows VHD for Azure", "Azure requires virtual size aligned to 1 MiB").
pub const SIZE_UNIT_BYTES: u64 = 1 << 20;
pub(crate) const SECTOR: u64 = 512;
/// Length of the footer, in bytes.
pub const FOOTER_BYTES: usize = 512;
/// Length of the header of a dynamic disk, in bytes.
pub(crate) const DYNAMIC_HEADER_BYTES: usize = 1024;
pub(crate) const FOOTER_COOKIE: &[u8; 8] = b"conectix";
pub(crate) const DYNAMIC_COOKIE: &[u8; 8] = b"cxsparse";
/// Types of disks ("Disk Type").
pub(crate) const FIXED: u32 = 2;
pub(crate) const DYNAMIC: u32 = 3;
/// Block of a dynamic disk, in bytes: the default ("Block Size").
pub(crate) const BLOCK_BYTES: u64 = 2 << 20;
/// The map says so of a block that is not there ("Block Allocation Table").
pub(crate) const NO_BLOCK: u32 = u32::MAX;
/// Largest disk, in bytes: 2040 GiB, where Hyper-V and Azure end.
pub const SIZE_MAX: u64 = 2040 << 30;
/// 2000-01-01 00:00 UTC, from which time stamps count, in seconds since 1970.
const EPOCH: i64 = 946_684_800;

/// Cylinders, heads and sectors per track of a size ("Appendix: CHS Calculation").
pub(crate) fn chs(size: u64) -> (u16, u8, u8) {
    // More cannot be said in 65,535 cylinders, 16 heads and 255 sectors.
    let sectors = (size / SECTOR).min(65_535 * 16 * 255);
    let (heads, per_track) = if sectors >= 65_535 * 16 * 63 {
        (16, 255)
    } else {
        let tracks = sectors / 17;
        let heads = tracks.div_ceil(1024).max(4);
        if tracks < heads * 1024 && heads <= 16 {
            (heads, 17)
        } else if sectors / 31 < 16 * 1024 {
            (16, 31)
        } else {
            (16, 63)
        }
    };
    let cylinders = sectors / per_track / heads;
    (cylinders.min(65_535) as u16, heads as u8, per_track as u8)
}

/// The ones' complement of the sum of all bytes, the checksum's own being zeros.
pub(crate) fn checksum(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(0u32, |sum, &byte| sum.wrapping_add(u32::from(byte)))
}

/// The footer ("Hard Disk Footer Format").
pub(crate) fn footer(size: u64, kind: u32, id: Uuid, created: Time) -> [u8; FOOTER_BYTES] {
    let mut bytes = [0; FOOTER_BYTES];
    let time = created.seconds.saturating_sub(EPOCH).clamp(0, i64::from(u32::MAX)) as u32;
    let (cylinders, heads, per_track) = chs(size);
    let data_offset = if kind == FIXED { u64::MAX } else { FOOTER_BYTES as u64 };
    put(&mut bytes, 0, FOOTER_COOKIE);
    // "Reserved": this bit is always set.
    put(&mut bytes, 8, &2u32.to_be_bytes());
    put(&mut bytes, 12, &0x0001_0000u32.to_be_bytes());
    put(&mut bytes, 16, &data_offset.to_be_bytes());
    put(&mut bytes, 24, &time.to_be_bytes());
    // QEMU takes the size from the geometry, which cannot say every size, unless the creator is
    // one that it knows to fill in the exact size (block/vpc.c): Hyper-V is the most general.
    put(&mut bytes, 28, b"win ");
    put(&mut bytes, 32, &0x000a_0000u32.to_be_bytes());
    put(&mut bytes, 36, b"Wi2k");
    put(&mut bytes, 40, &size.to_be_bytes());
    put(&mut bytes, 48, &size.to_be_bytes());
    put(&mut bytes, 56, &cylinders.to_be_bytes());
    put(&mut bytes, 58, &[heads, per_track]);
    put(&mut bytes, 60, &kind.to_be_bytes());
    put(&mut bytes, 68, id.as_bytes());
    let sum = checksum(&bytes);
    put(&mut bytes, 64, &sum.to_be_bytes());
    bytes
}

/// The header of a dynamic disk ("Dynamic Disk Header Format").
pub(crate) fn dynamic_header(table_at: u64, blocks: u32) -> [u8; DYNAMIC_HEADER_BYTES] {
    let mut bytes = [0; DYNAMIC_HEADER_BYTES];
    put(&mut bytes, 0, DYNAMIC_COOKIE);
    put(&mut bytes, 8, &u64::MAX.to_be_bytes());
    put(&mut bytes, 16, &table_at.to_be_bytes());
    put(&mut bytes, 24, &0x0001_0000u32.to_be_bytes());
    put(&mut bytes, 28, &blocks.to_be_bytes());
    put(&mut bytes, 32, &(BLOCK_BYTES as u32).to_be_bytes());
    let sum = checksum(&bytes);
    put(&mut bytes, 36, &sum.to_be_bytes());
    bytes
}

pub(crate) fn check_size(size: u64) -> Result<(), Error> {
    if size == 0 || !size.is_multiple_of(SIZE_UNIT_BYTES) || size > SIZE_MAX {
        return Err(Error::Unsupported {
            format: FORMAT,
            what: format!("a disk of {size} bytes"),
            reason: "the size must be a multiple of 1 MiB, up to 2040 GiB".into(),
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn geometry_by_the_appendix() {
        // What qemu-img create -f vpc writes for these sizes.
        assert_eq!(chs(2 << 30), (4161, 16, 63));
        assert_eq!(chs(1 << 20), (30, 4, 17));
        assert_eq!(chs(SIZE_MAX), (65_535, 16, 255));
    }
}
