//! The boot catalog as it is found.

use super::super::damaged;
use super::super::format::SECTOR;
use super::Volume;
use crate::Error;
use crate::bytes::Fields;

/// Length of each thing in the catalog, in bytes (El Torito, figure 1).
const ENTRY_BYTES: usize = 32;

/// Something that firmware can boot (El Torito, figures 3 and 5).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BootEntry {
    /// Who boots it: 0 for a BIOS, 0xef for UEFI.
    pub platform: u8,
    /// Whether it is to be booted.
    pub bootable: bool,
    /// Which disk it stands for: 0 for none.
    pub emulation: u8,
    /// Where it lies, in bytes.
    pub start: u64,
    /// Sectors of 512 bytes that are loaded; UEFI takes 0 and 1 for all to the end.
    pub sectors: u16,
}

impl Volume<'_> {
    /// What firmware can boot, in the order of the catalog's first sector, which has room for more
    /// than there is firmware.
    ///
    /// # Errors
    /// [`Error::Damaged`] when the catalog is not there or its checksum is wrong.
    pub fn boot_entries(&self) -> Result<Vec<BootEntry>, Error> {
        let Some(at) = self.catalog_at else { return Ok(Vec::new()) };
        let mut catalog = [0; SECTOR as usize];
        self.medium.read_at(at, &mut catalog)?;
        let (validation, rest) = catalog.split_at(ENTRY_BYTES);
        let words = validation.chunks_exact(2).map(|word| Fields(word).u16_le(0));
        if validation[0] != 1 || validation[30..] != [0x55, 0xaa] || words.fold(0, u16::wrapping_add) != 0 {
            return Err(damaged(at, "the boot catalog does not begin as one, or its checksum is wrong"));
        }
        let read = |platform: u8, entry: &[u8]| BootEntry {
            platform,
            bootable: entry[0] == 0x88,
            emulation: entry[1] & 0x0f,
            start: u64::from(Fields(entry).u32_le(8)) * SECTOR,
            sectors: Fields(entry).u16_le(6),
        };
        let mut entries = rest.chunks_exact(ENTRY_BYTES);
        let mut found: Vec<BootEntry> = entries.next().map(|entry| read(validation[1], entry)).into_iter().collect();
        while let Some(header) = entries.next().filter(|header| matches!(header[0], 0x90 | 0x91)) {
            let count = usize::from(Fields(header).u16_le(2));
            found.extend(entries.by_ref().take(count).map(|entry| read(header[1], entry)));
            if header[0] == 0x91 {
                break;
            }
        }
        Ok(found)
    }
}
