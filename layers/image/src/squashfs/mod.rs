//! squashfs 4.0, for the root of live media: a tree becomes a file system, and back.
//!
//! Sources of the format: the kernel's `Documentation/filesystems/squashfs.rst`, cited below as
//! *squashfs docs*, and "Squashfs Binary Format" (Z. Dremann, D. Oberhollenzer), cited as
//! *binary format*, with the section.
//!
//! Unlike the other file systems this one has no plan: where anything lies is known only after
//! what comes before has been compressed. So [`write()`] fills a file of the caller's. The order
//! is fixed by the tree alone: data, inodes, directories, then the tables that say where they are.
//! [`Volume`] reads, and trusts nothing that it reads.

mod attribute;
mod data;
mod directory;
mod format;
mod inode;
mod inventory;
mod metadata;
mod options;
mod output;
pub mod read;
mod write;

pub use options::{Options, OtherAttributes};
pub use read::Volume;
pub use write::write;

use crate::Error;

/// The format's name in errors.
const FORMAT: &str = "squashfs";

fn unsupported(what: impl Into<String>, reason: impl Into<String>) -> Error {
    Error::Unsupported { format: FORMAT, what: what.into(), reason: reason.into() }
}
