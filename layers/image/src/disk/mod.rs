//! Disks with a GUID partition table (UEFI Specification 2.10, chapter 5), and what other people made.
//!
//! [`Disk`] is a whole disk whose bytes are settled; [`layout`] finds places for partitions;
//! [`Table::read`] reads the partition table of any disk, from its backup if need be.

mod format;
mod layout;
mod mbr;
mod read;
mod scan;
pub mod types;
mod write;

pub use format::{SECTOR_BYTES, attributes};
pub use layout::{ALIGNMENT_BYTES, Extent, Layout, PartitionSize, layout};
pub use mbr::{BootRecord, Record};
pub use read::{Copy, Entry, Table};
pub use scan::{Part, Scheme, scan};
pub use write::{Disk, Partition};
