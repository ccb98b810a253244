//! The bytes of a plan, in the order they lie.

use std::io::{self, Read};

use layers::Contents;

use super::format::{DESCRIPTORS_AT, SECTOR};
use super::inventory::File;
use super::plan::{Plan, Record};
use super::{boot, descriptor};
use crate::stream::{Shifted, copy_file};
use crate::{Error, Sink, Source};

/// Where a sector lies, in bytes.
fn at(sector: u32) -> u64 {
    u64::from(sector) * SECTOR
}

impl Source for Plan<'_> {
    fn size(&self) -> u64 {
        at(self.sectors)
    }

    fn write_to(&self, contents: &dyn Contents, sink: &mut dyn Sink) -> Result<(), Error> {
        match &self.record {
            Record::None => {}
            Record::Mbr(record) => sink.data(0, record)?,
            Record::Gpt(disk, bios) => {
                let mut head = disk.head();
                if *bios {
                    boot::activate(&mut head);
                }
                sink.data(0, &head)?;
            }
        }
        self.write_metadata(sink)?;
        let mut buffer = Vec::new();
        for (index, file) in self.inventory.files.iter().enumerate().filter(|(_, file)| file.content.size > 0) {
            let offset = at(file.start);
            if self.inventory.boot_file == Some(index) {
                sink.data(offset, &patched(contents, file)?)?;
            } else {
                copy_file(contents, &file.content, &file.path, offset, &mut buffer, sink)?;
            }
        }
        if let Some((uefi, (start, _))) = self.options.uefi.zip(self.uefi) {
            uefi.image.write_to(contents, &mut Shifted { sink, by: start })?;
        }
        if let Record::Gpt(disk, _) = &self.record {
            let (offset, backup) = disk.tail();
            sink.data(offset, &backup)?;
        }
        Ok(())
    }
}

impl Plan<'_> {
    /// Everything between the system area and the files.
    fn write_metadata(&self, sink: &mut dyn Sink) -> Result<(), Error> {
        let nodes = &self.inventory.nodes;
        let volume = |index: usize| {
            let tables = self.tables.get(index)?;
            Some(descriptor::volume(&self.options, self.sectors, tables))
        };
        // The boot record must be the second one (El Torito, section 2.0).
        let descriptors = [volume(0), self.catalog_at.map(descriptor::boot), volume(1), Some(descriptor::end())];
        for (sector, bytes) in (DESCRIPTORS_AT..).zip(descriptors.into_iter().flatten()) {
            sink.data(at(sector), &bytes)?;
        }
        if let Some(catalog_at) = self.catalog_at {
            let uefi = self.uefi.map(|(start, length)| ((start / SECTOR) as u32, length));
            sink.data(at(catalog_at), &boot::catalog(self.boot_start(), uefi))?;
        }
        for (tables, hierarchy) in self.tables.iter().zip(&self.hierarchies) {
            sink.data(at(tables.little_at), &hierarchy.path_table(nodes, u32::to_le_bytes, u16::to_le_bytes))?;
            sink.data(at(tables.big_at), &hierarchy.path_table(nodes, u32::to_be_bytes, u16::to_be_bytes))?;
        }
        for hierarchy in &self.hierarchies {
            for (index, directory) in hierarchy.directories.iter().enumerate() {
                let (mut bytes, area) = hierarchy.encode(index, &self.inventory)?;
                bytes.extend(area);
                sink.data(at(directory.start), &bytes)?;
            }
        }
        Ok(())
    }
}

/// The image that a BIOS boots, told where it lies.
fn patched(contents: &dyn Contents, file: &File) -> Result<Vec<u8>, Error> {
    let failed = |source| Error::Content { path: file.path.to_string(), source };
    let mut bytes = Vec::new();
    // One byte more shows that it is longer than the tree says.
    contents.open(&file.content)?.take(file.content.size + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 != file.content.size {
        return Err(failed(io::Error::other(format!("it has {} bytes, not those of the tree", bytes.len()))));
    }
    boot::patch(&mut bytes, file.start);
    Ok(bytes)
}
