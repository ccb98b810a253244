//! ext4: a tree becomes a file system, and back.
//!
//! Source of the format: the kernel's `Documentation/filesystems/ext4/` ("ext4 Data Structures and
//! Algorithms"), cited below as *ext4 docs* with the section. The layout follows what mke2fs makes
//! for the same size and features, so that a release's own e2fsck, boot loader and kernel read it.
//!
//! [`plan()`] settles every position and every byte but those of the files; [`Plan`] then gives the
//! bytes in the order they lie. [`Volume`] reads, and trusts nothing that it reads.

mod attribute;
mod bytes;
mod checksum;
mod descriptor;
mod directory;
mod extent;
mod features;
mod frame;
mod geometry;
mod hash;
mod inode;
mod inventory;
mod minimum;
mod options;
mod place;
mod plan;
pub mod read;
mod reserved;
mod space;
mod superblock;
mod write;

pub use features::{Feature, Features};
pub use minimum::{minimum_size, minimum_size_from};
pub use options::{BlockSize, Options};
pub use plan::{Plan, plan};
pub use read::{Limits, Volume};

use crate::Error;

/// The format's name in errors.
const FORMAT: &str = "ext4";

fn unsupported(what: impl Into<String>, reason: impl Into<String>) -> Error {
    Error::Unsupported { format: FORMAT, what: what.into(), reason: reason.into() }
}
