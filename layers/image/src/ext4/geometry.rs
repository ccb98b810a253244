//! How a file system of a given size is divided into groups (ext4 docs, "Layout"; the formulas are
//! mke2fs's, so that sizes and counts are what it would choose).

use super::features::JOURNAL_FROM;
use super::{Feature, Features, Options, unsupported};
use crate::Error;

/// Groups whose metadata lies together under `flex_bg` (mke2fs(8), `-G`: 16).
const FLEX_GROUPS: u32 = 16;
/// Inodes that every file system has: ten reserved ones and lost+found.
pub(super) const FIRST_FREE_INODE: u32 = 12;
/// A last group with fewer free blocks than this is left out, as mke2fs does.
const LAST_GROUP_SPARE: u64 = 50;
/// A file system may grow to so many times its size while mounted (mke2fs(8), `-E resize`).
const GROWTH: u64 = 1024;

/// Blocks below which a journal has so many blocks (libext2fs, ext2fs_default_journal_size).
pub(super) const JOURNAL_CLASSES: [(u64, u32); 9] = [
    (JOURNAL_FROM, 0),
    (32 << 10, 1024),
    (256 << 10, 4096),
    (512 << 10, 8192),
    (4096 << 10, 16384),
    (8192 << 10, 32768),
    (16384 << 10, 65536),
    (32768 << 10, 131_072),
    (u64::MAX, 262_144),
];

/// Sizes and counts of a file system.
#[derive(Clone, Debug)]
pub(super) struct Geometry {
    /// Bytes of a block.
    pub block_size: u32,
    /// The block that holds the superblock: 1 with blocks of 1 KiB, otherwise 0.
    pub first_block: u32,
    /// Number of blocks, those before `first_block` included.
    pub blocks: u64,
    /// Blocks of every group but the last.
    pub group_blocks: u32,
    /// Number of groups.
    pub groups: u32,
    /// Inodes of every group.
    pub group_inodes: u32,
    /// Blocks of every group's inode table.
    pub table_blocks: u32,
    /// Bytes of an inode.
    pub inode_size: u32,
    /// Bytes of a group descriptor.
    pub descriptor_size: u32,
    /// Blocks that hold the group descriptors.
    pub descriptor_blocks: u32,
    /// Blocks kept for more of them.
    pub reserved_blocks: u32,
    /// Groups whose metadata lies together.
    pub flex_groups: u32,
    /// Features; those that cannot be at this size are gone.
    pub features: Features,
}

fn too_small(options: &Options) -> Error {
    Error::TooSmall {
        what: "the structures of ext4 into the file system".into(),
        needed: options.size.saturating_add(1 << 20),
        available: options.size,
    }
}

impl Geometry {
    /// Divides `options.size` bytes so that there are at least `inodes` inodes.
    pub fn new(options: &Options, inodes: u32) -> Result<Self, Error> {
        let features = options.features_at_size();
        let block_size = options.block_bytes();
        let first_block = u32::from(block_size == 1024);
        let group_blocks = block_size * 8;
        let mut blocks = options.size / u64::from(block_size);
        if blocks <= u64::from(first_block) + 8 {
            return Err(too_small(options));
        }
        if blocks > u64::from(u32::MAX) && !features.has(Feature::BITS_64) {
            return Err(unsupported(format!("{blocks} blocks"), "more than 2^32 - 1 blocks need the feature 64bit"));
        }
        let descriptor_size = if features.has(Feature::BITS_64) { 64 } else { 32 };
        let per_block = block_size / descriptor_size;
        loop {
            let usable = blocks - u64::from(first_block);
            let groups = u32::try_from(usable.div_ceil(u64::from(group_blocks)))
                .map_err(|_| unsupported(format!("{blocks} blocks"), "there would be more than 2^32 groups"))?;
            let descriptor_blocks = groups.div_ceil(per_block);
            let reserved_blocks = if features.has(Feature::RESIZE_INODE) {
                reserved_blocks(blocks, first_block, group_blocks, per_block, descriptor_blocks, block_size)
            } else {
                0
            };
            let (group_inodes, table_blocks) = inode_table(options, groups, block_size, inodes)?;
            let geometry = Self {
                block_size,
                first_block,
                blocks,
                group_blocks,
                groups,
                group_inodes,
                table_blocks,
                inode_size: options.inode_size,
                descriptor_size,
                descriptor_blocks,
                reserved_blocks,
                flex_groups: if features.has(Feature::FLEX_BG) { FLEX_GROUPS } else { 1 },
                features,
            };
            if geometry.head_blocks() + 3 >= u64::from(group_blocks) {
                return Err(unsupported(
                    format!("{blocks} blocks of {block_size} bytes"),
                    "the group descriptors do not fit into a group, take larger blocks",
                ));
            }
            let last = usable % u64::from(group_blocks);
            let head = if geometry.has_head(groups - 1) { geometry.head_blocks() } else { 0 };
            let overhead = 2 + u64::from(table_blocks) + head;
            if last != 0 && groups > 1 && last < overhead + LAST_GROUP_SPARE {
                blocks -= last;
                continue;
            }
            if last != 0 && groups == 1 && last < overhead {
                return Err(too_small(options));
            }
            return Ok(geometry);
        }
    }

    /// Superblock, descriptors and their reserve, in blocks.
    pub fn head_blocks(&self) -> u64 {
        1 + u64::from(self.descriptor_blocks) + u64::from(self.reserved_blocks)
    }

    /// Whether a group begins with a copy of superblock and descriptors: 0, 1 and the powers of
    /// 3, 5 and 7 (ext4 docs, "Sparse Super Blocks").
    pub fn has_head(&self, group: u32) -> bool {
        let is_power = |base: u32| {
            let mut power = u64::from(base);
            while power < u64::from(group) {
                power *= u64::from(base);
            }
            power == u64::from(group)
        };
        group <= 1 || (group % 2 == 1 && (is_power(3) || is_power(5) || is_power(7)))
    }

    /// The first block of a group.
    pub fn group_start(&self, group: u32) -> u64 {
        u64::from(self.first_block) + u64::from(group) * u64::from(self.group_blocks)
    }

    /// The first block past a group.
    pub fn group_end(&self, group: u32) -> u64 {
        (self.group_start(group) + u64::from(self.group_blocks)).min(self.blocks)
    }

    /// Number of all inodes.
    pub fn inodes(&self) -> u32 {
        self.group_inodes.saturating_mul(self.groups)
    }

    /// Blocks of a journal, by mke2fs's classes; `None` where there is none.
    pub fn journal_blocks(&self) -> Option<u32> {
        if !self.features.has(Feature::HAS_JOURNAL) {
            return None;
        }
        JOURNAL_CLASSES.iter().find(|(end, _)| self.blocks < *end).map(|(_, journal)| *journal)
    }

    /// Blocks of the orphan file, by mke2fs's classes; 0 where there is none.
    pub fn orphan_blocks(&self) -> u64 {
        if !self.features.has(Feature::ORPHAN_FILE) {
            return 0;
        }
        match self.blocks {
            blocks if blocks < 128 << 10 => 32,
            blocks if blocks < 2 << 20 => blocks / 4096,
            _ => 512,
        }
    }
}

/// Room for the descriptors of a file system 1024 times as large, at most as many blocks as one
/// block can name (libext2fs, calc_reserved_gdt_blocks).
fn reserved_blocks(
    blocks: u64,
    first_block: u32,
    group_blocks: u32,
    per_block: u32,
    descriptor_blocks: u32,
    block_size: u32,
) -> u32 {
    let most = blocks.saturating_mul(GROWTH).min(u64::from(u32::MAX));
    let groups = (most - u64::from(first_block)).div_ceil(u64::from(group_blocks));
    let all = groups.div_ceil(u64::from(per_block));
    let reserved = all.saturating_sub(u64::from(descriptor_blocks)).min(u64::from(block_size / 4));
    u32::try_from(reserved).unwrap_or(0)
}

/// Inodes of a group, and the blocks that hold them.
fn inode_table(options: &Options, groups: u32, block_size: u32, needed: u32) -> Result<(u32, u32), Error> {
    // By the whole size: mke2fs counts them before it may leave out the last group.
    let by_ratio = options.size / options.ratio();
    let wanted = by_ratio.min(u64::from(u32::MAX)).max(16).div_ceil(u64::from(groups));
    let per_block = u64::from(block_size / options.inode_size);
    // Whole blocks, and whole bytes of the bitmap: mke2fs rounds up to the one, then down to the other.
    let filled = wanted.div_ceil(per_block) * per_block;
    let step = per_block.max(8);
    let rounded = (filled & !7).max(step);
    let least = u64::from(needed).div_ceil(u64::from(groups)).div_ceil(step) * step;
    let group_inodes = rounded.max(least);
    if group_inodes > u64::from(block_size) * 8 {
        // A bitmap of inodes is one block: more inodes need more groups.
        if rounded > u64::from(block_size) * 8 {
            return Err(unsupported(
                format!("one inode for {} bytes", options.ratio()),
                "a group cannot hold so many, take a larger ratio",
            ));
        }
        let group_bytes = u64::from(block_size) * 8 * u64::from(block_size);
        return Err(Error::TooSmall {
            what: format!("{needed} inodes into the file system"),
            needed: u64::from(needed).div_ceil(u64::from(block_size) * 8) * group_bytes,
            available: options.size,
        });
    }
    let table = (group_inodes * u64::from(options.inode_size)).div_ceil(u64::from(block_size));
    let narrow = |value: u64| u32::try_from(value).map_err(|_| Error::Overflow("the inodes of a group"));
    if group_inodes * u64::from(groups) > u64::from(u32::MAX) {
        return Err(unsupported("more than 2^32 inodes", "take a larger ratio"));
    }
    Ok((narrow(group_inodes)?, narrow(table)?))
}
