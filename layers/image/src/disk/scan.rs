//! What a disk is divided into, whoever divided it.

use uuid::Uuid;

use super::mbr::{BootRecord, system_name};
use super::{Copy, Table, types};
use crate::Error;
use crate::medium::{Medium, Window};
use crate::volume::identify;

/// How a disk is divided.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Scheme {
    /// By a GUID partition table.
    Gpt {
        /// The disk's identity.
        guid: Uuid,
        /// The copy of the table that was read.
        copy: Copy,
        /// What is wrong with the other copy, if anything.
        other_copy: Option<String>,
    },
    /// By a master boot record, with the disk's signature.
    Mbr(u32),
    /// Not at all: one file system, or nothing that we know, from the first byte on.
    Whole,
}

/// A part of a disk.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Part {
    /// Number, from 1, as in `/dev/sda1`; 0 for a disk that is not divided.
    pub number: u32,
    /// First byte.
    pub start: u64,
    /// Length in bytes.
    pub size: u64,
    /// What it is for: a name of [`types::NAMES`] or of fdisk(8), or the type's GUID.
    pub purpose: String,
    /// Its identity, by which `PARTUUID=` finds it.
    pub guid: Option<String>,
    /// Its name in a GUID partition table.
    pub name: String,
}

impl Part {
    /// The bytes of the part.
    ///
    /// # Errors
    /// They go past the end of the disk.
    pub fn window<'m>(&self, disk: &'m dyn Medium) -> Result<Window<'m>, Error> {
        Window::new(disk, self.start, self.size)
    }
}

/// Finds out how a disk is divided.
///
/// # Errors
/// A partition table that is there and damaged in both copies; errors of the medium.
pub fn scan(disk: &dyn Medium) -> Result<(Scheme, Vec<Part>), Error> {
    let record = BootRecord::read(disk)?;
    let protective = record.as_ref().is_some_and(BootRecord::is_protective);
    match Table::read(disk) {
        Ok(table) => return Ok(of_table(table)),
        // A disk that says it has one must have one.
        Err(error) if protective => return Err(error),
        Err(_) => {}
    }
    let whole =
        Part { number: 0, start: 0, size: disk.size(), purpose: "whole disk".into(), guid: None, name: String::new() };
    match record {
        // A FAT may have bytes that look like a record where boot code usually is.
        Some(record) if identify(disk)?.is_none() => {
            let part = |partition: &super::mbr::Record| Part {
                number: partition.number,
                start: partition.start,
                size: partition.size,
                purpose: system_name(partition.system).to_owned(),
                guid: Some(format!("{:08x}-{:02x}", record.signature, partition.number)),
                name: String::new(),
            };
            Ok((Scheme::Mbr(record.signature), record.partitions.iter().map(part).collect()))
        }
        _ => Ok((Scheme::Whole, vec![whole])),
    }
}

fn of_table(table: Table) -> (Scheme, Vec<Part>) {
    let part = |entry: super::Entry| Part {
        number: entry.number,
        start: entry.start,
        size: entry.size,
        purpose: types::name_of(entry.type_guid).map_or_else(|| entry.type_guid.to_string(), str::to_owned),
        guid: Some(entry.guid.to_string()),
        name: entry.name,
    };
    let scheme = Scheme::Gpt { guid: table.disk_guid, copy: table.copy, other_copy: table.other_copy };
    (scheme, table.partitions.into_iter().map(part).collect())
}
