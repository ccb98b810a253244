//! Reading, for file systems that anyone made: every number is checked before it is used, nothing
//! is kept in memory that the medium does not hold, and walks end.
//!
//! A journal that is not empty is not replayed: see [`Volume::needs_recovery`].

mod attributes;
mod contents;
mod map;
mod names;
mod node;
mod walk;

use super::bytes::{get16, get32, get64_split};
use super::checksum::{Checksums, crc32c, of_descriptor};
use super::superblock::{BYTES, CHECKSUM_AT, MAGIC, MAGIC_AT, OFFSET};
use super::{FORMAT, Feature, Features};
use crate::{Error, Medium};

pub use contents::{Found, FoundContents};
pub use names::Name;
pub use node::{FileKind, Node};
pub use walk::Limits;

/// The journal holds changes (ext4 docs, "Super Block", incompatible features).
const RECOVER: u32 = 0x4;
/// Group descriptors lie with their groups from some group on.
const META_GROUPS: u32 = 0x10;
/// Incompatible features that change nothing for a reader: protection against a second mount,
/// large values of attributes, large directories, data in inodes, folded case. What cannot be read
/// of them is refused where it is met.
const HARMLESS: u32 = 0x100 | 0x400 | 0x4000 | 0x8000 | 0x20000;

fn damaged(offset: u64, reason: impl Into<String>) -> Error {
    Error::Damaged { format: FORMAT, offset, reason: reason.into() }
}

/// An ext4 file system (ext2 and ext3 too) on a medium.
pub struct Volume<'m> {
    medium: &'m dyn Medium,
    features: Features,
    checksums: Checksums,
    recovers: bool,
    block_size: u32,
    blocks: u64,
    free_blocks: u64,
    first_block: u32,
    group_blocks: u32,
    group_inodes: u32,
    inodes: u32,
    free_inodes: u32,
    inode_size: u32,
    descriptor_size: u32,
    /// The first block of descriptors that lies with its groups.
    first_meta: u64,
    uuid: [u8; 16],
    label: Vec<u8>,
}

impl<'m> Volume<'m> {
    /// Reads and checks the superblock.
    ///
    /// # Errors
    /// [`Error::Damaged`] for what is not ext4 or contradicts itself; [`Error::Unsupported`] for
    /// features that change the format in ways unknown here; errors of the medium.
    pub fn open(medium: &'m dyn Medium) -> Result<Self, Error> {
        let mut bytes = [0; BYTES];
        medium.read_at(OFFSET, &mut bytes)?;
        let refuse = |at: usize, reason: &str| damaged(OFFSET + at as u64, reason);
        if get16(&bytes, MAGIC_AT) != MAGIC {
            return Err(refuse(MAGIC_AT, "the magic number of ext4 is not here"));
        }
        let words = [get32(&bytes, 0x5c), get32(&bytes, 0x60), get32(&bytes, 0x64)];
        let features = Features::from_words(words);
        let known =
            [Feature::FILETYPE, Feature::EXTENT, Feature::BITS_64, Feature::FLEX_BG, Feature::METADATA_CSUM_SEED];
        let known = known.into_iter().fold(Features::from_words([0; 3]), Features::with);
        let unknown = words[1] & !(known.words()[1] | RECOVER | META_GROUPS | HARMLESS);
        if unknown != 0 {
            return Err(super::unsupported(
                format!("a file system with the incompatible features {unknown:#x}"),
                "this reader does not know them",
            ));
        }
        if features.has(Feature::METADATA_CSUM) && crc32c(!0, &bytes[..CHECKSUM_AT]) != get32(&bytes, CHECKSUM_AT) {
            return Err(refuse(CHECKSUM_AT, "the superblock's checksum is wrong"));
        }
        let log = get32(&bytes, 0x18);
        if log > 6 {
            return Err(refuse(0x18, "the block size is more than 64 KiB"));
        }
        let block_size = 1024 << log;
        let wide = features.has(Feature::BITS_64);
        let high = |at| if wide { at } else { BYTES };
        let blocks = get64_split(&bytes, 0x04, high(0x150));
        if blocks.checked_mul(u64::from(block_size)).is_none_or(|size| size > medium.size()) {
            return Err(refuse(0x04, "the file system is larger than what holds it"));
        }
        let modern = get32(&bytes, 0x4c) > 0;
        let inode_size = if modern { u32::from(get16(&bytes, 0x58)) } else { 128 };
        if !inode_size.is_power_of_two() || inode_size < 128 || inode_size > block_size {
            return Err(refuse(0x58, "the size of inodes is not possible"));
        }
        let descriptor_size = if wide { u32::from(get16(&bytes, 0xfe)) } else { 32 };
        if !descriptor_size.is_power_of_two() || !(32..=1024).contains(&descriptor_size) {
            return Err(refuse(0xfe, "the size of group descriptors is not possible"));
        }
        let (group_blocks, group_inodes) = (get32(&bytes, 0x20), get32(&bytes, 0x28));
        if group_blocks == 0 || group_inodes == 0 || group_inodes > block_size * 8 {
            return Err(refuse(0x20, "the size of groups is not possible"));
        }
        let first_block = get32(&bytes, 0x14);
        if u64::from(first_block) >= blocks {
            return Err(refuse(0x14, "the first block lies past the end"));
        }
        let inodes = get32(&bytes, 0x00);
        let groups = (blocks - u64::from(first_block)).div_ceil(u64::from(group_blocks));
        if u64::from(inodes) > groups.saturating_mul(u64::from(group_inodes)) {
            return Err(refuse(0x00, "there are more inodes than the groups hold"));
        }
        let uuid: [u8; 16] = bytes[0x68..0x78].try_into().unwrap_or_default();
        let checksums = if features.has(Feature::METADATA_CSUM_SEED) {
            Checksums::with_seed(features.has(Feature::METADATA_CSUM).then(|| get32(&bytes, 0x270)))
        } else {
            Checksums::new(features, &uuid)
        };
        let label = &bytes[0x78..0x88];
        Ok(Self {
            medium,
            features,
            checksums,
            recovers: words[1] & RECOVER != 0,
            block_size,
            blocks,
            free_blocks: get64_split(&bytes, 0x0c, high(0x158)),
            first_block,
            group_blocks,
            group_inodes,
            inodes,
            free_inodes: get32(&bytes, 0x10),
            inode_size,
            descriptor_size,
            first_meta: if words[1] & META_GROUPS != 0 { u64::from(get32(&bytes, 0x104)) } else { u64::MAX },
            uuid,
            label: label.split(|&byte| byte == 0).next().unwrap_or(&[]).to_vec(),
        })
    }

    /// The label, without the zeros behind it.
    pub fn label(&self) -> &[u8] {
        &self.label
    }

    /// The UUID.
    pub fn uuid(&self) -> [u8; 16] {
        self.uuid
    }

    /// The features that we have names for.
    pub fn features(&self) -> Features {
        self.features
    }

    /// Whether the journal holds changes that a mount would make first: what is read here may then
    /// be older, or contradict itself.
    pub fn needs_recovery(&self) -> bool {
        self.recovers
    }

    /// Bytes of a block.
    pub fn block_size(&self) -> u32 {
        self.block_size
    }

    /// Size of the file system in bytes.
    pub fn size(&self) -> u64 {
        self.blocks * u64::from(self.block_size)
    }

    /// Bytes that are free, as the superblock counts them.
    pub fn free_bytes(&self) -> u64 {
        self.free_blocks.min(self.blocks) * u64::from(self.block_size)
    }

    /// Number of inodes, and how many of them are free.
    pub fn inodes(&self) -> (u32, u32) {
        (self.inodes, self.free_inodes.min(self.inodes))
    }

    /// Reads a block.
    fn block(&self, number: u64) -> Result<Vec<u8>, Error> {
        let mut bytes = vec![0; self.block_size as usize];
        self.medium.read_at(self.offset(number)?, &mut bytes)?;
        Ok(bytes)
    }

    /// Where a block lies in bytes, if it can belong to anything.
    fn offset(&self, block: u64) -> Result<u64, Error> {
        // The product fits: the whole file system does, see `open`.
        if block < u64::from(self.first_block) || block >= self.blocks {
            return Err(damaged(
                OFFSET,
                format!("block {block} is referred to but not among the {} there are", self.blocks),
            ));
        }
        Ok(block * u64::from(self.block_size))
    }

    /// Where the inode table of a group lies, bytes.
    fn inode_table(&self, group: u32) -> Result<u64, Error> {
        let per_block = u64::from(self.block_size / self.descriptor_size);
        let index = u64::from(group) / per_block;
        let block = if index < self.first_meta {
            u64::from(self.first_block) + 1 + index
        } else {
            // The first group of those that share this block holds it, behind a superblock if any.
            let first = index * per_block;
            let start = u64::from(self.first_block) + first * u64::from(self.group_blocks);
            start + u64::from(self.has_head(first))
        };
        let offset = self.offset(block)? + u64::from(group) % per_block * u64::from(self.descriptor_size);
        let mut bytes = vec![0; self.descriptor_size as usize];
        self.medium.read_at(offset, &mut bytes)?;
        let checksum = of_descriptor(self.features, self.checksums, &self.uuid, group, &bytes);
        if self.features.has_group_checksums() && checksum != get16(&bytes, 0x1e) {
            return Err(damaged(offset, format!("the checksum of group {group} is wrong")));
        }
        self.offset(get64_split(&bytes, 0x08, if bytes.len() >= 64 { 0x28 } else { bytes.len() }))
    }

    /// Whether a group has a superblock.
    fn has_head(&self, group: u64) -> bool {
        let is_power = |base: u64| {
            let mut power = base;
            while power < group {
                power = power.saturating_mul(base);
            }
            power == group
        };
        !self.features.has(Feature::SPARSE_SUPER) || group <= 1 || is_power(3) || is_power(5) || is_power(7)
    }
}
