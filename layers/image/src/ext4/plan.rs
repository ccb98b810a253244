//! Every position settled, no byte written.

use std::ops::Range;

use layers::Tree;

use super::Options;
use super::checksum::Checksums;
use super::descriptor::{self, Group};
use super::frame::{frame, no_room, own_blocks};
use super::geometry::Geometry;
use super::inode::{DIRECTORY, Inode};
use super::inventory::{self, File, Inventory, Names};
use super::minimum::minimum_size_from;
use super::place::{Placing, place_own, place_tree};
use super::superblock::Totals;
use crate::Error;

/// What lies somewhere.
#[derive(Clone, Copy, Debug)]
pub(super) enum What {
    /// Superblock and descriptors of a group.
    Head(u32),
    /// The first group's reserve of descriptors.
    Reserve,
    BlockBitmap(u32),
    InodeBitmap(u32),
    InodeTable(u32),
    /// Bytes that we hold, by place.
    Held {
        start: usize,
        end: usize,
    },
    /// So many bytes of a file that is read while writing, from `from` on.
    File {
        file: u32,
        from: u64,
        length: u64,
    },
}

/// Something and the block where it begins.
#[derive(Clone, Copy, Debug)]
pub(super) struct Piece {
    pub block: u64,
    pub what: What,
}

/// A file system whose every position is settled.
pub struct Plan {
    pub(super) options: Options,
    pub(super) geometry: Geometry,
    pub(super) checksums: Checksums,
    pub(super) totals: Totals,
    pub(super) inodes: Vec<Inode>,
    pub(super) files: Vec<File>,
    pub(super) names: Vec<Names>,
    /// Directories, targets, nodes of extents, attributes, in no order.
    pub(super) held: Vec<u8>,
    pub(super) taken: Vec<Range<u64>>,
    pub(super) groups: Vec<Group>,
    pub(super) descriptors: Vec<u8>,
    /// By block.
    pub(super) pieces: Vec<Piece>,
}

impl Plan {
    /// Bytes of a block.
    pub fn block_size(&self) -> u32 {
        self.geometry.block_size
    }

    /// Bytes that files could still take.
    pub fn free_bytes(&self) -> u64 {
        self.totals.free_blocks * u64::from(self.geometry.block_size)
    }

    /// Number of inodes, used or not.
    pub fn inodes(&self) -> u32 {
        self.geometry.inodes()
    }
}

/// Settles every position of a file system that holds a tree.
///
/// # Errors
/// [`Error::TooSmall`] with the size that the tree needs; [`Error::Unsupported`] for options and
/// entries that ext4 or this writer cannot express, with their path.
pub fn plan(tree: &Tree, options: &Options) -> Result<Plan, Error> {
    options.check()?;
    let inventory = inventory::take(tree, options)?;
    match settle(inventory, options) {
        Err(Error::TooSmall { available, .. }) => {
            let needed = minimum_size_from(tree, options, options.size)?;
            Err(Error::TooSmall { what: "the tree into ext4".into(), needed, available })
        }
        settled => settled,
    }
}

/// Gives everything its place.
pub(super) fn settle(mut inventory: Inventory, options: &Options) -> Result<Plan, Error> {
    let inodes = u32::try_from(inventory.inodes.len()).map_err(|_| Error::Overflow("the inodes of a tree"))?;
    let geometry = Geometry::new(options, inodes)?;
    let checksums = Checksums::new(geometry.features, &options.uuid);
    let frame = frame(&geometry)?;
    if frame.space.free() < inventory.blocks() + own_blocks(&geometry) {
        return Err(no_room(&geometry));
    }
    let metadata_blocks = geometry.blocks - frame.space.free();
    let mut placing = Placing {
        geometry: &geometry,
        checksums,
        space: frame.space,
        next: u64::from(geometry.first_block),
        pieces: Vec::new(),
        held: std::mem::take(&mut inventory.bytes),
    };
    let journal = place_own(&mut placing, &mut inventory, options)?;
    place_tree(&mut placing, &mut inventory)?;
    let Placing { space, mut pieces, held, .. } = placing;
    let taken = space.taken();
    let groups = descriptor::groups(&geometry, &frame.tables, &taken, inodes, |number| {
        inventory.inodes.get(number as usize - 1).is_some_and(|inode| inode.mode & 0xf000 == DIRECTORY.mode)
    });
    list_metadata(&geometry, &groups, &mut pieces);
    pieces.sort_unstable_by_key(|piece| piece.block);
    let descriptors = descriptor::encode(&geometry, checksums, &options.uuid, &taken, &groups);
    let totals = Totals {
        free_blocks: space.free(),
        free_inodes: geometry.inodes() - inodes,
        overhead: metadata_blocks + u64::from(geometry.journal_blocks().unwrap_or(0)),
        journal,
        orphans: inventory.orphans,
    };
    Ok(Plan {
        options: options.clone(),
        checksums,
        totals,
        inodes: inventory.inodes,
        files: inventory.files,
        names: inventory.names,
        held,
        taken,
        groups,
        descriptors,
        pieces,
        geometry,
    })
}

/// Lists the metadata that is written.
fn list_metadata(geometry: &Geometry, groups: &[Group], pieces: &mut Vec<Piece>) {
    for (number, group) in (0u32..).zip(groups) {
        let mut add = |block, what| pieces.push(Piece { block, what });
        if geometry.has_head(number) {
            add(geometry.group_start(number), What::Head(number));
        }
        if number == 0 && geometry.reserved_blocks > 0 {
            add(geometry.group_start(0) + 1 + u64::from(geometry.descriptor_blocks), What::Reserve);
        }
        if group.writes_block_bitmap {
            add(group.tables.block_bitmap, What::BlockBitmap(number));
        }
        if group.writes_inode_bitmap {
            add(group.tables.inode_bitmap, What::InodeBitmap(number));
        }
        if group.used_inodes > 0 {
            add(group.tables.inode_table, What::InodeTable(number));
        }
    }
}
