//! Every position settled, no byte written.

use layers::Tree;

use super::descriptor::Tables;
use super::format::{DESCRIPTORS_AT, SECTOR};
use super::hierarchy::Hierarchy;
use super::inventory::{self, Inventory};
use super::name::Alphabet;
use super::{Options, boot, unsupported};
use crate::Error;
use crate::disk::{ALIGNMENT_BYTES, Disk, SECTOR_BYTES};

/// Bytes of the backup of a partition table: 128 entries and a header.
const BACKUP_BYTES: u64 = 33 * SECTOR_BYTES;

/// What lies in the system area and at the end, besides the file system.
pub(super) enum Record {
    None,
    /// A boot record alone.
    Mbr(Vec<u8>),
    /// A partition table; whether a BIOS boots too.
    Gpt(Box<Disk<'static>>, bool),
}

/// An image whose every position is settled.
pub struct Plan<'a> {
    pub(super) options: Options<'a>,
    pub(super) inventory: Inventory,
    pub(super) hierarchies: Vec<Hierarchy>,
    /// Where the path tables of a hierarchy lie, and how long one is in bytes.
    pub(super) tables: Vec<Tables>,
    pub(super) catalog_at: Option<u32>,
    /// First byte and length of the EFI system partition.
    pub(super) uefi: Option<(u64, u64)>,
    pub(super) record: Record,
    /// Length in sectors.
    pub(super) sectors: u32,
}

impl Plan<'_> {
    /// First byte and length in bytes of the EFI system partition.
    pub fn efi_system_partition(&self) -> Option<(u64, u64)> {
        self.uefi
    }
}

/// Gives out sectors one after the other.
struct Cursor(u64);

impl Cursor {
    /// The first of so many sectors.
    fn take(&mut self, sectors: u64) -> Result<u32, Error> {
        let start = self.0;
        self.0 = self.0.saturating_add(sectors);
        // Every sector has a number in 32 bits.
        match (u32::try_from(start), u32::try_from(self.0)) {
            (Ok(start), Ok(_)) => Ok(start),
            _ => Err(unsupported("the files", "ISO 9660 ends at 8 TiB")),
        }
    }
}

/// Settles every position of an image that holds a tree. Extended attributes have no place in it. More
/// than eight levels of directories are written as they are, against ECMA-119, 6.8.2.1, as every
/// system has read them for long; Rock Ridge's detour around that is not needed.
///
/// # Errors
/// [`Error::Unsupported`] with the path for what the format or its readers cannot express: more than
/// 65,535 directories, 8 TiB, targets of links of more than 4095 bytes, some device numbers, a boot
/// image that is missing or larger than 1 MiB.
pub fn plan<'a>(tree: &Tree, options: &Options<'a>) -> Result<Plan<'a>, Error> {
    options.check()?;
    let mut inventory = inventory::take(tree, options)?;
    let mut hierarchies = vec![Hierarchy::new(Alphabet::Plain, &inventory.nodes)?];
    if options.joliet {
        hierarchies.push(Hierarchy::new(Alphabet::Joliet, &inventory.nodes)?);
    }
    let mut next = Cursor(u64::from(DESCRIPTORS_AT));
    let end = next.take(hierarchies.len() as u64 + u64::from(options.boots()))?;
    let end = next.take(1).map(|_| end)? + hierarchies.len() as u32 + u32::from(options.boots());
    let catalog_at = options.boots().then(|| next.take(1)).transpose()?;
    let tables = place_tables(&hierarchies, &inventory, &mut next)?;
    for hierarchy in &mut hierarchies {
        place_directories(hierarchy, &inventory, &mut next)?;
    }
    for file in &mut inventory.files {
        // What is empty lies nowhere; it is said to lie where there is a sector in any case.
        file.start = match file.content.size.div_ceil(SECTOR) {
            0 => end,
            sectors => next.take(sectors)?,
        };
    }
    let mut plan = Plan {
        options: options.clone(),
        inventory,
        hierarchies,
        tables,
        catalog_at,
        uefi: None,
        record: Record::None,
        sectors: 0,
    };
    plan.finish(next)?;
    Ok(plan)
}

fn place_tables(hierarchies: &[Hierarchy], inventory: &Inventory, next: &mut Cursor) -> Result<Vec<Tables>, Error> {
    let place = |hierarchy: &Hierarchy| {
        let length = hierarchy.path_table(&inventory.nodes, u32::to_le_bytes, u16::to_le_bytes).len() as u64;
        let path_table_bytes = u32::try_from(length).map_err(|_| Error::Overflow("the length of a path table"))?;
        let (little_at, big_at) = (next.take(length.div_ceil(SECTOR))?, next.take(length.div_ceil(SECTOR))?);
        Ok(Tables { alphabet: hierarchy.alphabet, path_table_bytes, little_at, big_at, root: Vec::new() })
    };
    hierarchies.iter().map(place).collect()
}

/// Each directory lies before what its records have no room for.
fn place_directories(hierarchy: &mut Hierarchy, inventory: &Inventory, next: &mut Cursor) -> Result<(), Error> {
    for index in 0..hierarchy.directories.len() {
        let (records, area) = hierarchy.encode(index, inventory)?;
        let directory = &mut hierarchy.directories[index];
        directory.start = next.take(records.len() as u64 / SECTOR + (area.len() as u64).div_ceil(SECTOR))?;
        // Below 4 GiB, checked above.
        directory.bytes = records.len() as u32;
    }
    Ok(())
}

impl Plan<'_> {
    /// Settles what lies around the file system.
    fn finish(&mut self, mut next: Cursor) -> Result<(), Error> {
        if let Some(uefi) = self.options.uefi {
            // El Torito asks for whole sectors; tools for disks complain below 1 MiB.
            next.take(next.0.next_multiple_of(ALIGNMENT_BYTES / SECTOR) - next.0)?;
            let length = uefi.image.size().next_multiple_of(SECTOR);
            if length == 0 {
                return Err(unsupported("an EFI system partition of no bytes", "there is nothing to boot"));
            }
            let start = u64::from(next.take(length / SECTOR)?) * SECTOR;
            self.uefi = Some((start, length));
            next.take(BACKUP_BYTES.div_ceil(SECTOR))?;
        }
        self.sectors = next.take(0)?;
        let size = u64::from(self.sectors) * SECTOR;
        let hybrid = self.options.bios.as_ref().and_then(|bios| bios.hybrid.as_ref());
        let hybrid = hybrid.zip(self.boot_start()).map(|(code, start)| boot::hybrid(code, start));
        self.record = match (self.options.uefi.zip(self.uefi), hybrid) {
            (None, None) => Record::None,
            (None, Some(code)) => Record::Mbr(boot::plain_record(size, &code)),
            (Some((uefi, place)), code) => {
                let disk = boot::table(size, self.options.disk_guid, uefi.guid, place, code.as_deref().unwrap_or(&[]))?;
                Record::Gpt(Box::new(disk), code.is_some())
            }
        };
        for (tables, hierarchy) in self.tables.iter_mut().zip(&self.hierarchies) {
            tables.root = hierarchy.root_record(&self.inventory.nodes);
        }
        Ok(())
    }

    /// The sector where the image lies that a BIOS boots.
    pub(super) fn boot_start(&self) -> Option<u32> {
        let file = self.inventory.boot_file?;
        self.inventory.files.get(file).map(|file| file.start)
    }
}
