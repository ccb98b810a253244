//! Reading, for file systems that anyone made: every number is checked before it is used, memory
//! is bounded by a few blocks and the names of one directory, and every walk ends.

mod attributes;
mod data;
mod metadata;
mod names;
mod node;
mod unpack;

use std::sync::{Mutex, PoisonError};

use super::FORMAT;
use super::format::{METADATA_BYTES, Place, SUPERBLOCK_BYTES, Superblock};
use crate::bytes::Fields;
use crate::{Error, Medium};

use data::Reached;
use metadata::Recent;

pub use names::Name;
pub use node::{Node, NodeId};

/// Blocks of metadata that are kept, 8 KiB each: a directory, and the inodes it names.
const METADATA_KEPT: usize = 64;
/// Blocks of data that are kept: neighbours of a file, and the fragment that it ends in.
const DATA_KEPT: usize = 4;

fn damaged(offset: u64, reason: impl Into<String>) -> Error {
    Error::Damaged { format: FORMAT, offset, reason: reason.into() }
}

/// A squashfs file system on a medium.
pub struct Volume<'m> {
    medium: &'m dyn Medium,
    superblock: Superblock,
    ids: Vec<u32>,
    metadata: Mutex<Recent<metadata::Block>>,
    data: Mutex<Recent<Vec<u8>>>,
    reached: Mutex<Option<Reached>>,
}

impl<'m> Volume<'m> {
    /// Reads the superblock and the table of owners.
    ///
    /// # Errors
    /// [`Error::Damaged`] for what is not squashfs or contradicts itself; [`Error::Unsupported`]
    /// for other versions, and for compressors other than gzip, xz and zstd; errors of the medium.
    pub fn open(medium: &'m dyn Medium) -> Result<Self, Error> {
        let mut bytes = [0; SUPERBLOCK_BYTES];
        medium.read_at(0, &mut bytes)?;
        let superblock = Superblock::decode(&bytes, medium.size())?;
        let mut volume = Self {
            medium,
            superblock,
            ids: Vec::new(),
            metadata: Mutex::new(Recent::new(METADATA_KEPT)),
            data: Mutex::new(Recent::new(DATA_KEPT)),
            reached: Mutex::new(None),
        };
        // At most 65535 of four bytes.
        let count = u64::from(volume.superblock.ids);
        let mut ids = Vec::with_capacity(count as usize);
        for number in 0..count {
            let bytes: [u8; 4] = volume.entry(volume.superblock.id_table, number)?;
            ids.push(u32::from_le_bytes(bytes));
        }
        volume.ids = ids;
        Ok(volume)
    }

    /// Bytes of a block of data.
    pub fn block_size(&self) -> u32 {
        self.superblock.block_size
    }

    /// Size of the file system in bytes, without what pads it.
    pub fn size(&self) -> u64 {
        self.superblock.bytes
    }

    /// When it was made, in seconds since 1970.
    pub fn created(&self) -> u32 {
        self.superblock.created
    }

    /// The number of files that the superblock tells.
    pub fn inodes(&self) -> u32 {
        self.superblock.inodes
    }

    /// The root directory.
    ///
    /// # Errors
    /// As [`Volume::node`]; the root is no directory.
    pub fn root(&self) -> Result<Node, Error> {
        let root = self.node(NodeId(self.superblock.root))?;
        if root.names().is_none() {
            return Err(damaged(32, "the root is not a directory"));
        }
        Ok(root)
    }

    /// Entry `number` of `N` bytes in a table whose blocks a list at `list` finds (binary format,
    /// "Storing Lookup Tables").
    fn entry<const N: usize>(&self, list: u64, number: u64) -> Result<[u8; N], Error> {
        let per_block = (METADATA_BYTES / N) as u64;
        let mut block = [0; 8];
        let at = list.saturating_add(number / per_block * 8);
        self.check(at, 8)?;
        self.medium.read_at(at, &mut block)?;
        // Less than 8192.
        let place = Place { block: u64::from_le_bytes(block), offset: (number % per_block) as u16 * N as u16 };
        let mut bytes = [0; N];
        self.cursor(0, place, self.superblock.bytes)?.read(&mut bytes)?;
        Ok(bytes)
    }

    /// That so many bytes from `offset` on are within the file system.
    fn check(&self, offset: u64, length: u64) -> Result<(), Error> {
        match offset.checked_add(length) {
            Some(end) if end <= self.superblock.bytes => Ok(()),
            _ => Err(damaged(offset, format!("{length} bytes here go past the end at byte {}", self.superblock.bytes))),
        }
    }

    /// The owner of a number.
    fn id(&self, number: u16, at: u64) -> Result<u32, Error> {
        self.ids.get(usize::from(number)).copied().ok_or_else(|| {
            damaged(at, format!("owner {number} is referred to but not among the {} there are", self.ids.len()))
        })
    }

    /// The fragment of a number: where it lies, and its length as it is written.
    fn fragment(&self, number: u32) -> Result<(u64, u32), Error> {
        if number >= self.superblock.fragments {
            let there = self.superblock.fragments;
            return Err(damaged(80, format!("fragment {number} is referred to but not among the {there} there are")));
        }
        let entry: [u8; 16] = self.entry(self.superblock.fragment_table, number.into())?;
        Ok((Fields(&entry).u64_le(0), Fields(&entry).u32_le(8)))
    }
}

/// What the lock guards is only ever replaced as a whole: a panic elsewhere leaves it usable.
fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
