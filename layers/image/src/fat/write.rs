//! Gives the bytes of a plan in the order they lie.

use layers::Contents;

use super::format::{
    BACKUP_SECTOR, FATS, FS_INFO_SECTOR, Kind, LONG_LAST, LONG_UNIT_AT, LONG_UNITS, MEDIA, SECTOR, SLOT, attribute,
    checksum,
};
use super::name::{self, Short};
use super::plan::{Node, Plan};
use super::time::DosTime;
use crate::bytes::put;
use crate::stream::copy_file;
use crate::{Error, Sink, Source};

impl Source for Plan {
    fn size(&self) -> u64 {
        self.options.size
    }

    fn write_to(&self, contents: &dyn Contents, sink: &mut dyn Sink) -> Result<(), Error> {
        let boot = self.boot_sector();
        sink.data(0, &boot)?;
        if self.geometry.kind == Kind::Fat32 {
            let info = self.fs_info();
            sink.data(FS_INFO_SECTOR * SECTOR, &info)?;
            sink.data(BACKUP_SECTOR * SECTOR, &boot)?;
            sink.data((BACKUP_SECTOR + FS_INFO_SECTOR) * SECTOR, &info)?;
        }
        let fat = self.fat();
        for copy in 0..FATS {
            sink.data(self.geometry.fat_at(copy), &fat)?;
        }
        if self.geometry.kind != Kind::Fat32 {
            sink.data(self.geometry.root_at(), &self.directory(0))?;
        }
        let mut buffer = Vec::new();
        for &number in &self.order {
            let node = &self.nodes[number];
            let offset = self.geometry.cluster_at(node.start);
            match &node.content {
                None => sink.data(offset, &self.directory(number))?,
                Some(content) => copy_file(contents, content, &node.path, offset, &mut buffer, sink)?,
            }
        }
        Ok(())
    }
}

impl Plan {
    /// The boot sector (fatgen103, "Boot Sector and BPB").
    fn boot_sector(&self) -> [u8; SECTOR as usize] {
        let geometry = &self.geometry;
        let mut sector = [0; SECTOR as usize];
        let fat32 = geometry.kind == Kind::Fat32;
        let extended = if fat32 { 64 } else { 36 };
        // A jump over the fields to code that stops the machine: hlt; jmp to the hlt.
        let code = extended + 26;
        put(&mut sector, 0, &[0xeb, (code - 2) as u8, 0x90]);
        put(&mut sector, code, &[0xf4, 0xeb, 0xfd]);
        put(&mut sector, 3, b"        ");
        put(&mut sector, 3, self.options.oem.as_bytes());
        put(&mut sector, 11, &(SECTOR as u16).to_le_bytes());
        put(&mut sector, 13, &[geometry.cluster_sectors as u8]);
        put(&mut sector, 14, &(geometry.reserved as u16).to_le_bytes());
        put(&mut sector, 16, &[FATS as u8]);
        put(&mut sector, 17, &(geometry.root_slots as u16).to_le_bytes());
        match u16::try_from(geometry.sectors) {
            Ok(sectors) if !fat32 => put(&mut sector, 19, &sectors.to_le_bytes()),
            _ => put(&mut sector, 32, &(geometry.sectors as u32).to_le_bytes()),
        }
        put(&mut sector, 21, &[MEDIA]);
        // The geometry that BIOSes make up for disks of this kind.
        put(&mut sector, 24, &63u16.to_le_bytes());
        put(&mut sector, 26, &255u16.to_le_bytes());
        put(&mut sector, 28, &self.options.hidden_sectors.to_le_bytes());
        if fat32 {
            put(&mut sector, 36, &(geometry.fat_sectors as u32).to_le_bytes());
            put(&mut sector, 44, &self.nodes[0].start.to_le_bytes());
            put(&mut sector, 48, &(FS_INFO_SECTOR as u16).to_le_bytes());
            put(&mut sector, 50, &(BACKUP_SECTOR as u16).to_le_bytes());
        } else {
            put(&mut sector, 22, &(geometry.fat_sectors as u16).to_le_bytes());
        }
        // BIOS drive 0x80; 0x29 says that the three fields after it are there.
        put(&mut sector, extended, &[0x80, 0, 0x29]);
        put(&mut sector, extended + 3, &self.options.volume_id.to_le_bytes());
        put(&mut sector, extended + 7, self.label.as_ref().unwrap_or(b"NO NAME    "));
        put(&mut sector, extended + 18, geometry.kind.name());
        put(&mut sector, 510, &[0x55, 0xaa]);
        sector
    }

    /// Counts of free clusters (fatgen103, "FSInfo").
    fn fs_info(&self) -> [u8; SECTOR as usize] {
        let mut sector = [0; SECTOR as usize];
        let free = self.geometry.clusters as u32 - (self.free - 2);
        put(&mut sector, 0, b"RRaA");
        put(&mut sector, 484, b"rrAa");
        put(&mut sector, 488, &free.to_le_bytes());
        // The hint is the last cluster in use: Linux looks from the next one on.
        put(&mut sector, 492, &(self.free - 1).to_le_bytes());
        put(&mut sector, 510, &[0x55, 0xaa]);
        sector
    }

    /// The FAT up to the last cluster in use, made up to whole sectors: 4 bytes per cluster.
    fn fat(&self) -> Vec<u8> {
        let kind = self.geometry.kind;
        let end = kind.end_of_chain() | 7;
        let bits = u64::from(self.free) * kind.entry_bits();
        let mut fat = vec![0; (bits.div_ceil(8).next_multiple_of(SECTOR)) as usize];
        let mut set = |cluster: u32, value: u32| match kind {
            Kind::Fat32 => put(&mut fat, cluster as usize * 4, &value.to_le_bytes()),
            Kind::Fat16 => put(&mut fat, cluster as usize * 2, &(value as u16).to_le_bytes()),
            Kind::Fat12 => {
                let (at, odd) = (cluster as usize * 3 / 2, cluster % 2 == 1);
                let shifted = if odd { value << 4 } else { value };
                fat[at] |= shifted as u8;
                fat[at + 1] |= (shifted >> 8) as u8;
            }
        };
        // The media byte, and the bits that say the volume was closed in order.
        set(0, end & !0xff | u32::from(MEDIA));
        set(1, end);
        for node in self.order.iter().map(|&number| &self.nodes[number]) {
            let last = node.start + node.clusters - 1;
            (node.start..last).for_each(|cluster| set(cluster, cluster + 1));
            set(last, end);
        }
        fat
    }

    fn directory(&self, number: usize) -> Vec<u8> {
        let node = &self.nodes[number];
        let mut bytes = Vec::with_capacity((node.slots as usize + 1) * SLOT);
        if number == 0 {
            if let Some(label) = &self.label {
                let time = DosTime::from_time(self.options.created);
                bytes.extend(slot(label, attribute::VOLUME_ID, time, 0, 0));
            }
        } else {
            let parent = &self.nodes[node.parent];
            // ".." of what lies in the root says 0, whatever the root's cluster is.
            let above = if node.parent == 0 { 0 } else { parent.start };
            let time = DosTime::from_time(node.mtime);
            bytes.extend(slot(b".          ", attribute::DIRECTORY, time, node.start, 0));
            let time = DosTime::from_time(parent.mtime);
            bytes.extend(slot(b"..         ", attribute::DIRECTORY, time, above, 0));
        }
        for child in node.children.iter().map(|&child| &self.nodes[child]) {
            if !name::is_enough(&child.name, &child.short) {
                put_long_name(&mut bytes, child);
            }
            let (attributes, size) = match child.content {
                None => (attribute::DIRECTORY, 0),
                Some(content) => (attribute::ARCHIVE, content.size as u32),
            };
            let attributes = attributes | if child.read_only { attribute::READ_ONLY } else { 0 };
            bytes.extend(slot(&child.short, attributes, DosTime::from_time(child.mtime), child.start, size));
        }
        bytes
    }
}

/// A directory entry (fatgen103, "Directory Structure").
fn slot(short: &Short, attributes: u8, time: DosTime, cluster: u32, size: u32) -> [u8; SLOT] {
    let mut slot = [0; SLOT];
    put(&mut slot, 0, short);
    put(&mut slot, 11, &[attributes]);
    // Created, read and written at the one time we know.
    put(&mut slot, 13, &[time.hundredths]);
    put(&mut slot, 14, &time.time.to_le_bytes());
    put(&mut slot, 16, &time.date.to_le_bytes());
    put(&mut slot, 18, &time.date.to_le_bytes());
    put(&mut slot, 20, &((cluster >> 16) as u16).to_le_bytes());
    put(&mut slot, 22, &time.time.to_le_bytes());
    put(&mut slot, 24, &time.date.to_le_bytes());
    put(&mut slot, 26, &(cluster as u16).to_le_bytes());
    put(&mut slot, 28, &size.to_le_bytes());
    slot
}

/// The slots of a long name, the last part first.
fn put_long_name(bytes: &mut Vec<u8>, node: &Node) {
    let units: Vec<u16> = node.name.encode_utf16().collect();
    let parts: Vec<&[u16]> = units.chunks(LONG_UNITS).collect();
    for (number, part) in parts.iter().enumerate().rev() {
        let mut slot = [0; SLOT];
        let last = if number + 1 == parts.len() { LONG_LAST } else { 0 };
        put(&mut slot, 0, &[(number + 1) as u8 | last]);
        put(&mut slot, 11, &[attribute::LONG_NAME]);
        put(&mut slot, 13, &[checksum(&node.short)]);
        // A zero ends a name that does not fill its slot; all ones fill the rest.
        let padded = part.iter().copied().chain([0]).chain(std::iter::repeat(0xffff));
        for (at, unit) in LONG_UNIT_AT.into_iter().zip(padded) {
            put(&mut slot, at, &unit.to_le_bytes());
        }
        bytes.extend(slot);
    }
}
