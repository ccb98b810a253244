//! ISO 9660: a tree becomes an image for discs and USB sticks, and back.
//!
//! Sources: ECMA-119 (4th edition), the System Use Sharing Protocol and the Rock Ridge Interchange
//! Protocol, both 1.12 (*SUSP*, *RRIP*), the Joliet Specification (1995), the El Torito Bootable
//! CD-ROM Format Specification 1.0, and UEFI Specification 2.10, section 13.3.2.1.
//!
//! [`plan()`] settles every position; the [`Plan`] is a [`crate::Source`]. What lies where, in order:
//! system area (boot record, partition table), descriptors, boot catalog, path tables, directories of
//! Rock Ridge, directories of Joliet, files, the EFI system partition, the backup of the table.
//! [`Volume`] reads what anybody wrote, and trusts nothing that it reads.

mod boot;
mod descriptor;
mod format;
mod hierarchy;
mod inventory;
mod name;
mod options;
mod plan;
pub mod read;
mod rock;
mod time;
mod write;

pub use options::{BiosBoot, EfiImage, Options};
pub use plan::{Plan, plan};
pub use read::{BootEntry, Extensions, Volume};

use crate::Error;

fn unsupported(what: impl ToString, reason: impl Into<String>) -> Error {
    Error::Unsupported { format: format::FORMAT, what: what.to_string(), reason: reason.into() }
}

fn damaged(offset: u64, reason: impl Into<String>) -> Error {
    Error::Damaged { format: format::FORMAT, offset, reason: reason.into() }
}
