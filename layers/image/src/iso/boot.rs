//! What firmware boots: the catalog of El Torito, what GRUB's images are told of their place, and the
//! boot record of a USB stick.

use uuid::Uuid;

use super::format::DESCRIPTORS_AT;
use crate::Error;
use crate::bytes::{Fields, put};
use crate::disk::{Disk, Partition, SECTOR_BYTES, types};

/// Platforms (El Torito, figure 2; UEFI 2.10, section 13.3.2.1).
const BIOS: u8 = 0;
const UEFI: u8 = 0xef;
/// Says that an entry boots (El Torito, figure 3).
const BOOTABLE: u8 = 0x88;
/// The last header of a section (figure 4).
const LAST_SECTION: u8 = 0x91;
/// Sectors of 512 bytes that a BIOS loads: cdboot.img, which loads what is behind it.
const BIOS_SECTORS: u16 = 4;
/// Sectors of 512 bytes in one of a disc.
const BLOCKS: u64 = 4;

/// Where the boot info table lies in an image, and where what its checksum counts begins (libisofs,
/// doc/boot_sectors.txt, "Boot Info Table").
const INFO_AT: usize = 8;
const INFO_END: usize = 64;
/// Where GRUB's diskboot.img, behind the four sectors of cdboot.img, says which sector follows it
/// (xorrisofs(1), `--grub2-boot-info`), and how far that is from the start of the image, in sectors
/// of 512 bytes.
const GRUB_AT: usize = 2548;
const GRUB_NEXT: u64 = 5;
/// Where GRUB's boot_hybrid.img says where diskboot.img lies (`--grub2-mbr`), and how far that is from
/// the start of the image, in sectors of 512 bytes.
const HYBRID_AT: usize = 0x1b0;
const HYBRID_NEXT: u64 = 4;
/// Boot code in a boot record, in bytes; behind it lies the partition table.
const BOOT_CODE: usize = 440;

/// The boot catalog: the sector where a BIOS's image lies, and sector and length in bytes of the EFI
/// system partition.
pub(super) fn catalog(bios: Option<u32>, uefi: Option<(u32, u64)>) -> Vec<u8> {
    let mut bytes = vec![0; 32];
    bytes[0] = 1;
    bytes[1] = if bios.is_some() { BIOS } else { UEFI };
    put(&mut bytes, 30, &[0x55, 0xaa]);
    // All words together are zero.
    let sum = (0..32).step_by(2).fold(0u16, |sum, at| sum.wrapping_add(Fields(&bytes).u16_le(at)));
    put(&mut bytes, 28, &sum.wrapping_neg().to_le_bytes());
    if let Some(start) = bios {
        bytes.extend(entry(start, BIOS_SECTORS));
    }
    if let Some((start, length)) = uefi {
        if bios.is_some() {
            let mut header = [0; 32];
            put(&mut header, 0, &[LAST_SECTION, UEFI]);
            put(&mut header, 2, &1u16.to_le_bytes());
            bytes.extend(header);
        }
        // 16 bits count 32 MiB. UEFI takes 0 and 1 for "to the end of the medium", and the partition
        // lies there. Firmware of EDK II reads it so from the size in the primary descriptor, and
        // takes any other number for sectors of 2048 bytes: a partition that is too long, in which FAT
        // knows its own size. 1 is what Windows' discs have, so every firmware has met it.
        bytes.extend(entry(start, u16::try_from(length / SECTOR_BYTES).unwrap_or(1).max(1)));
    }
    bytes
}

/// An entry without emulation (El Torito, figures 3 and 5).
fn entry(start: u32, sectors: u16) -> [u8; 32] {
    let mut entry = [0; 32];
    entry[0] = BOOTABLE;
    put(&mut entry, 6, &sectors.to_le_bytes());
    put(&mut entry, 8, &start.to_le_bytes());
    entry
}

/// Tells GRUB's image the sector where it lies.
pub(super) fn patch(image: &mut [u8], start: u32) {
    let next = u64::from(start) * BLOCKS + GRUB_NEXT;
    put(image, GRUB_AT, &next.to_le_bytes());
    let words = image[INFO_END..].chunks(4).map(|word| {
        let mut padded = [0; 4];
        padded[..word.len()].copy_from_slice(word);
        u32::from_le_bytes(padded)
    });
    let sum = words.fold(0u32, u32::wrapping_add);
    image[INFO_AT..INFO_END].fill(0);
    // At most 1 MiB.
    let length = image.len() as u32;
    for (at, number) in (INFO_AT..).step_by(4).zip([DESCRIPTORS_AT, start, length, sum]) {
        put(image, at, &number.to_le_bytes());
    }
}

/// GRUB's boot record, told where its image lies.
pub(super) fn hybrid(code: &[u8], start: u32) -> Vec<u8> {
    let mut code = code[..BOOT_CODE.min(code.len())].to_vec();
    let next = u64::from(start) * BLOCKS + HYBRID_NEXT;
    put(&mut code, HYBRID_AT, &next.to_le_bytes());
    code
}

/// The table of an image with an EFI system partition, at so many bytes and of so many.
pub(super) fn table(
    size: u64,
    disk: Uuid,
    partition: Uuid,
    (start, length): (u64, u64),
    code: &[u8],
) -> Result<Disk<'static>, Error> {
    let esp = Partition {
        start,
        size: length,
        type_guid: types::ESP,
        guid: partition,
        name: "EFI system partition".into(),
        attributes: 0,
        content: None,
    };
    Disk::new(size, disk, vec![esp])?.with_boot_code(code)
}

/// Some BIOSes boot no stick without an active partition. The protective one must not be it: EDK II
/// then finds no table at all. So the second entry is active and says that it is empty, which tools and
/// kernels pass over; xorriso does the same (`--mbr-force-bootable`).
pub(super) fn activate(boot_record: &mut [u8]) {
    put(boot_record, 462, &[0x80, 0, 1, 0, 0, 0, 1, 0]);
    put(boot_record, 470, &0u32.to_le_bytes());
    put(boot_record, 474, &1u32.to_le_bytes());
}

/// The boot record of an image that a BIOS only boots: one active partition of the type that
/// grub-mkrescue uses, from the second sector on, so that nobody takes it for the file system.
pub(super) fn plain_record(size: u64, code: &[u8]) -> Vec<u8> {
    let mut record = vec![0; SECTOR_BYTES as usize];
    put(&mut record, 0, code);
    put(&mut record, 446, &[0x80, 0, 2, 0, 0xcd, 0xfe, 0xff, 0xff]);
    put(&mut record, 454, &1u32.to_le_bytes());
    let sectors = u32::try_from(size / SECTOR_BYTES - 1).unwrap_or(u32::MAX);
    put(&mut record, 458, &sectors.to_le_bytes());
    put(&mut record, 510, &[0x55, 0xaa]);
    record
}
