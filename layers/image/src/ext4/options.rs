//! What a person or a provider decides about a file system.

use layers::Time;

use super::{Features, unsupported};
use crate::Error;

/// Bytes of a block.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum BlockSize {
    /// As mke2fs chooses: 1 KiB below 512 MiB, 4 KiB from there on (mke2fs.conf, `small`).
    #[default]
    BySize,
    /// 1 KiB.
    Bytes1024,
    /// 2 KiB.
    Bytes2048,
    /// 4 KiB.
    Bytes4096,
}

/// One of mke2fs's size classes (mke2fs.conf, `fs_types`; bounds from mke2fs(8), `-T`).
#[derive(Clone, Copy, Debug)]
pub(super) struct Class {
    /// The class ends below this size in bytes.
    pub end: u64,
    /// Bytes of a block.
    pub block_size: u32,
    /// One inode for so many bytes.
    pub inode_ratio: u64,
}

const MIB: u64 = 1 << 20;
const TIB: u64 = 1 << 40;

/// `floppy`, `small`, the default, `big`, `huge`.
pub(super) const CLASSES: [Class; 5] = [
    Class { end: 3 * MIB, block_size: 1024, inode_ratio: 8192 },
    Class { end: 512 * MIB, block_size: 1024, inode_ratio: 4096 },
    Class { end: 4 * TIB, block_size: 4096, inode_ratio: 16384 },
    Class { end: 16 * TIB, block_size: 4096, inode_ratio: 32768 },
    Class { end: u64::MAX, block_size: 4096, inode_ratio: 65536 },
];

fn class(size: u64) -> Class {
    let mut found = CLASSES[4];
    for class in CLASSES.iter().rev() {
        if size < class.end {
            found = *class;
        }
    }
    found
}

/// Everything about a file system that the tree does not say.
#[derive(Clone, Debug)]
pub struct Options {
    /// Size in bytes; a multiple of the block size.
    pub size: u64,
    /// Bytes of a block.
    pub block_size: BlockSize,
    /// The file system's UUID; also the seed of checksums.
    pub uuid: [u8; 16],
    /// Seed of the hashes of directories, a UUID to mke2fs.
    pub hash_seed: [u8; 16],
    /// Label, at most 16 bytes.
    pub label: Vec<u8>,
    /// Where it is said to have been mounted last, at most 64 bytes; empty as mke2fs leaves it.
    pub last_mounted: Vec<u8>,
    /// Features; a release's own are provider data.
    pub features: Features,
    /// One inode for so many bytes; `None`: by mke2fs's size classes. More are made when the tree
    /// needs more.
    pub inode_ratio: Option<u64>,
    /// Bytes of an inode: a power of two from 256 to a block.
    pub inode_size: u32,
    /// Blocks kept for root, in percent, 0 to 50.
    pub reserved_percent: u8,
    /// Every time of the superblock, and the time of birth of every inode.
    pub created: Time,
}

impl Options {
    /// What mke2fs would choose for this size.
    pub fn new(size: u64, uuid: [u8; 16], hash_seed: [u8; 16], created: Time) -> Self {
        Self {
            size,
            block_size: BlockSize::BySize,
            uuid,
            hash_seed,
            label: Vec::new(),
            last_mounted: Vec::new(),
            features: Features::default(),
            inode_ratio: None,
            inode_size: 256,
            reserved_percent: 5,
            created,
        }
    }

    /// Bytes of a block at the size that is asked for.
    pub(super) fn block_bytes(&self) -> u32 {
        match self.block_size {
            BlockSize::BySize => class(self.size).block_size,
            BlockSize::Bytes1024 => 1024,
            BlockSize::Bytes2048 => 2048,
            BlockSize::Bytes4096 => 4096,
        }
    }

    /// The features that a file system of this size can have.
    pub(super) fn features_at_size(&self) -> Features {
        self.features.at(self.size / u64::from(self.block_bytes()))
    }

    /// Bytes for which there is one inode.
    pub(super) fn ratio(&self) -> u64 {
        self.inode_ratio.unwrap_or(class(self.size).inode_ratio).max(1024)
    }

    pub(super) fn check(&self) -> Result<(), Error> {
        self.features.check()?;
        let block = u64::from(self.block_bytes());
        if !self.size.is_multiple_of(block) {
            return Err(unsupported(
                format!("a size of {} bytes", self.size),
                format!("it must be a multiple of the block size, {block} bytes"),
            ));
        }
        if self.label.len() > 16 {
            return Err(unsupported("the label", "it is longer than 16 bytes"));
        }
        if self.last_mounted.len() > 64 {
            return Err(unsupported("the last mount point", "it is longer than 64 bytes"));
        }
        if !self.inode_size.is_power_of_two() || self.inode_size < 256 || self.inode_size > self.block_bytes() {
            return Err(unsupported(
                format!("inodes of {} bytes", self.inode_size),
                "take a power of two from 256 to the block size",
            ));
        }
        if self.reserved_percent > 50 {
            return Err(unsupported("more than 50 percent reserved blocks", "mke2fs refuses it as well"));
        }
        // The superblock's times have 40 bits without a sign; inodes end in 2446.
        if !(0..1 << 33).contains(&self.created.seconds) {
            return Err(unsupported("the time of creation", "take one from 1970 to 2242"));
        }
        Ok(())
    }
}
