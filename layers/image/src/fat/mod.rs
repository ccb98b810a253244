//! FAT12, FAT16 and FAT32 with long names (Microsoft, "FAT32 File System Specification" 1.03,
//! called fatgen103 here; ECMA-107 for the small ones).
//!
//! [`plan`] settles where everything lies; the [`Plan`] is a [`crate::Source`]. [`Volume`] reads
//! what any system wrote.

mod format;
mod name;
mod plan;
mod read;
mod size;
mod time;
mod write;

pub use format::Kind;
pub use plan::{Plan, minimum_size_from, plan};
pub use read::{FileData, Item, Volume};
pub use size::Wish;

use layers::Time;

/// What a FAT file system is made with.
#[derive(Clone, Debug)]
pub struct Options {
    /// Size in bytes; a multiple of 512, below 2 TiB.
    pub size: u64,
    /// Which FAT.
    pub kind: Wish,
    /// Identity of the volume, as `1234-ABCD` in fstab's `UUID=`.
    pub volume_id: u32,
    /// Label, at most 11 characters that short names may have, kept in upper case; empty for
    /// none.
    pub label: String,
    /// Who made it, at most 8 ASCII characters.
    pub oem: String,
    /// Time that the label bears.
    pub created: Time,
    /// First sector of the partition on its disk, in sectors of 512 bytes; boot code asks for it.
    pub hidden_sectors: u32,
}

impl Options {
    /// No label, no identity, at the epoch: for one that names just the size.
    pub fn new(size: u64) -> Self {
        Self {
            size,
            kind: Wish::Auto,
            volume_id: 0,
            label: String::new(),
            // fatgen103 ("BS_OEMName"): this text meets the fewest compatibility problems.
            oem: "MSWIN4.1".into(),
            created: Time::default(),
            hidden_sectors: 0,
        }
    }
}
