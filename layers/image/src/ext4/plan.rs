//! Every position settled, no byte written.

use std::ops::Range;

use layers::Tree;

use super::checksum::Checksums;
use super::descriptor::{self, Group, Tables};
use super::extent;
use super::geometry::{Geometry, JOURNAL_CLASSES};
use super::inode::{self, DIRECTORY, Inode};
use super::inventory::{self, File, Inventory, Names};
use super::options::{BlockSize, CLASSES};
use super::reserved;
use super::superblock::{JournalCopy, Totals};
use super::{Options, bytes::put32};
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
            Err(Error::TooSmall { what: "the tree into ext4".into(), needed: minimum_size(tree, options)?, available })
        }
        settled => settled,
    }
}

/// The largest size that is tried for a tree, bytes.
const SIZE_MAX: u64 = 64 << 40;

/// The least size in bytes of a file system with these options that holds a tree; the size in the
/// options does not count.
///
/// # Errors
/// As [`plan()`], but for [`Error::TooSmall`].
pub fn minimum_size(tree: &Tree, options: &Options) -> Result<u64, Error> {
    // Block size, number of inodes and journal jump from class to class, so that what fits need
    // not fit into something larger: the least size is looked for class by class.
    let mut start = 0;
    for class in CLASSES {
        let end = class.end.min(SIZE_MAX);
        let mut sized = options.clone();
        sized.size = 0;
        sized.inode_ratio = Some(options.inode_ratio.unwrap_or(class.inode_ratio));
        if sized.block_size == BlockSize::BySize {
            sized.block_size = if class.block_size == 1024 { BlockSize::Bytes1024 } else { BlockSize::Bytes4096 };
        }
        sized.check()?;
        let block = u64::from(sized.block_bytes());
        let bounds = JOURNAL_CLASSES.iter().map(|(end, _)| *end).take_while(|bound| *bound < end / block);
        let bounds: Vec<u64> = bounds.chain([end / block]).collect();
        let mut first = (start / block).max(1);
        for bound in bounds {
            if first < bound
                && let Some(size) = least(tree, &sized, first..bound)?
            {
                return Ok(size);
            }
            first = first.max(bound);
        }
        start = end;
    }
    Err(Error::Overflow("the least size of a file system"))
}

/// The least size in bytes among numbers of blocks, none of which changes the class.
fn least(tree: &Tree, sized: &Options, among: Range<u64>) -> Result<Option<u64>, Error> {
    let block = u64::from(sized.block_bytes());
    let at = |blocks: u64| Options { size: blocks * block, ..sized.clone() };
    let inventory = inventory::take(tree, &at(among.end - 1))?;
    let blocks = inventory.blocks();
    let inodes = u32::try_from(inventory.inodes.len()).map_err(|_| Error::Overflow("the inodes of a tree"))?;
    if blocks >= among.end {
        return Ok(None);
    }
    let fits = |size: u64| match Geometry::new(&at(size), inodes)
        .and_then(|geometry| Ok((frame(&geometry)?.space.free(), geometry)))
    {
        Ok((free, geometry)) => Ok(free >= blocks.saturating_add(own_blocks(&geometry))),
        Err(Error::TooSmall { .. }) => Ok(false),
        Err(error) => Err(error),
    };
    let (mut low, mut high) = (among.start.max(blocks) - 1, among.end - 1);
    if !fits(high)? {
        return Ok(None);
    }
    while high - low > 1 {
        let middle = low + (high - low) / 2;
        if fits(middle)? {
            high = middle;
        } else {
            low = middle;
        }
    }
    // Files that lie in many pieces need blocks for their maps: only placing them tells.
    let mut inventory = inventory;
    for size in (high..among.end).step_by(8).take(1024) {
        match settle(inventory, &at(size)) {
            Ok(_) => return Ok(Some(size * block)),
            Err(Error::TooSmall { .. }) => inventory = inventory::take(tree, &at(size))?,
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}

/// Blocks of the file system's own files.
fn own_blocks(geometry: &Geometry) -> u64 {
    u64::from(geometry.journal_blocks().unwrap_or(0))
        + geometry.orphan_blocks()
        + u64::from(geometry.features.has(super::Feature::RESIZE_INODE))
}

/// The metadata whose place the size alone decides.
struct Frame {
    space: super::space::Space,
    tables: Vec<Tables>,
}

fn no_room(geometry: &Geometry) -> Error {
    let size = geometry.blocks * u64::from(geometry.block_size);
    Error::TooSmall { what: "the tree into ext4".into(), needed: size, available: size }
}

/// Places superblocks, descriptors, bitmaps and inode tables.
fn frame(geometry: &Geometry) -> Result<Frame, Error> {
    let mut space = super::space::Space::new(geometry.blocks);
    space.claim(0..u64::from(geometry.first_block));
    for group in (0..geometry.groups).filter(|group| geometry.has_head(*group)) {
        let start = geometry.group_start(group);
        space.claim(start..start + geometry.head_blocks());
    }
    let mut tables = vec![Tables::default(); geometry.groups as usize];
    for (index, flex) in tables.chunks_mut(geometry.flex_groups as usize).enumerate() {
        let first = geometry.group_start(index as u32 * geometry.flex_groups);
        // In a file system without flex_bg a group's metadata must lie in the group.
        let end = if geometry.flex_groups == 1 { geometry.group_end(index as u32) } else { geometry.blocks };
        let mut place = |count: u64| {
            let found = space.take_whole(first, count).or_else(|| {
                // The last groups may be too short for what they need.
                (geometry.flex_groups > 1).then(|| space.take_whole(0, count)).flatten()
            });
            found.filter(|start| start + count <= end).ok_or_else(|| no_room(geometry))
        };
        for tables in flex.iter_mut() {
            tables.block_bitmap = place(1)?;
        }
        for tables in flex.iter_mut() {
            tables.inode_bitmap = place(1)?;
        }
        for tables in flex.iter_mut() {
            tables.inode_table = place(u64::from(geometry.table_blocks))?;
        }
    }
    Ok(Frame { space, tables })
}

/// Gives places to files while walking upwards once.
struct Placing<'g> {
    geometry: &'g Geometry,
    checksums: Checksums,
    space: super::space::Space,
    /// Where to look for free blocks.
    next: u64,
    pieces: Vec<Piece>,
    held: Vec<u8>,
}

impl Placing<'_> {
    fn block(&self) -> u64 {
        u64::from(self.geometry.block_size)
    }

    /// Takes blocks wherever they are free.
    fn take(&mut self, count: u64) -> Result<Vec<Range<u64>>, Error> {
        let mut places = Vec::with_capacity(1);
        let mut left = count;
        while left > 0 {
            let found = self.space.take_some(self.next, left).ok_or_else(|| no_room(self.geometry))?;
            self.next = found.end;
            left -= found.end - found.start;
            places.push(found);
        }
        Ok(places)
    }

    /// Takes blocks for bytes that we hold and lists them.
    fn place_held(&mut self, start: usize, end: usize) -> Result<Vec<Range<u64>>, Error> {
        let places = self.take(((end - start) as u64).div_ceil(self.block()))?;
        let mut from = start;
        for place in &places {
            let to = end.min(from + ((place.end - place.start) * self.block()) as usize);
            self.pieces.push(Piece { block: place.start, what: What::Held { start: from, end: to } });
            from = to;
        }
        Ok(places)
    }

    /// Keeps bytes that lie at a block.
    fn keep(&mut self, block: u64, bytes: &[u8]) {
        let start = self.held.len();
        self.held.extend_from_slice(bytes);
        self.pieces.push(Piece { block, what: What::Held { start, end: self.held.len() } });
    }

    /// Makes the map of an inode whose blocks lie at `places`; gives it with all sectors it owns.
    fn map(&mut self, inode: u32, places: &[Range<u64>]) -> Result<([u8; extent::MAP_BYTES], u64), Error> {
        let block_size = self.geometry.block_size;
        let nodes = match extent::node_blocks(places, block_size) {
            0 => Vec::new(),
            count => self.take(count)?.into_iter().flatten().collect(),
        };
        let checksums = self.checksums.of_inode(inode, 0);
        let map = extent::map(places, block_size, checksums, &nodes, |place, bytes| self.keep(place, &bytes))?;
        let blocks: u64 = places.iter().map(|place| place.end - place.start).sum::<u64>() + nodes.len() as u64;
        Ok((map, blocks * (self.block() / 512)))
    }
}

/// Gives everything its place.
fn settle(mut inventory: Inventory, options: &Options) -> Result<Plan, Error> {
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

/// Places resize inode, journal and orphan file; gives the map and the size of the journal.
fn place_own(
    placing: &mut Placing,
    inventory: &mut Inventory,
    options: &Options,
) -> Result<Option<JournalCopy>, Error> {
    let geometry = placing.geometry;
    let block = placing.block();
    let sectors = block / 512;
    if geometry.features.has(super::Feature::RESIZE_INODE) {
        let at = placing.take(1)?[0].start;
        let resize = reserved::resize_inode(geometry, at);
        placing.keep(at, &resize.double);
        if let Some(place) = inventory.inode(inode::RESIZE) {
            *place = Inode::internal(resize.size, resize.blocks * sectors, options.created, 0, resize.map);
        }
    }
    let mut journal = None;
    if let Some(blocks) = geometry.journal_blocks() {
        // In one piece if there is one; the files then fill what lies before it.
        let places = match placing.space.take_whole(placing.next, u64::from(blocks)) {
            Some(start) => vec![start..start + u64::from(blocks)],
            None => placing.take(u64::from(blocks))?,
        };
        let (map, sectors) = placing.map(inode::JOURNAL, &places)?;
        placing.keep(places[0].start, &reserved::journal_superblock(geometry, blocks, &options.uuid));
        let size = u64::from(blocks) * block;
        if let Some(place) = inventory.inode(inode::JOURNAL) {
            *place = Inode::internal(size, sectors, options.created, inode::EXTENTS_FLAG, map);
        }
        journal = Some((map, size));
    }
    if let Some(number) = inventory.orphans {
        let blocks = geometry.orphan_blocks();
        let places = placing.take(blocks)?;
        let checksums = placing.checksums.of_inode(number, 0);
        for place in places.iter().cloned().flatten() {
            placing.keep(place, &reserved::orphan_block(geometry, checksums, place));
        }
        let (map, sectors) = placing.map(number, &places)?;
        if let Some(place) = inventory.inode(number) {
            *place = Inode::internal(blocks * block, sectors, options.created, inode::EXTENTS_FLAG, map);
        }
    }
    Ok(journal)
}

/// Places directories, links, attributes and files.
fn place_tree(placing: &mut Placing, inventory: &mut Inventory) -> Result<(), Error> {
    let block = placing.block();
    for held in std::mem::take(&mut inventory.held) {
        let places = placing.place_held(held.start, held.end)?;
        let (map, sectors) = placing.map(held.inode, &places)?;
        if let Some(inode) = inventory.inode(held.inode) {
            inode.map = map;
            inode.sectors += sectors;
        }
    }
    for held in std::mem::take(&mut inventory.attributes) {
        let place = placing.place_held(held.start, held.end)?[0].start;
        let bytes = &mut placing.held[held.start..held.end];
        let checksum = placing.checksums.then(&place.to_le_bytes()).then(bytes).value();
        put32(bytes, super::attribute::BLOCK_CHECKSUM, checksum);
        if let Some(inode) = inventory.inode(held.inode) {
            inode.attribute_block = place;
            inode.sectors += block / 512;
        }
    }
    let files = std::mem::take(&mut inventory.files);
    for (index, file) in (0u32..).zip(&files) {
        let places = placing.take(file.content.size.div_ceil(block))?;
        let mut from = 0;
        for place in &places {
            let length = ((place.end - place.start) * block).min(file.content.size - from);
            placing.pieces.push(Piece { block: place.start, what: What::File { file: index, from, length } });
            from += length;
        }
        let (map, sectors) = placing.map(file.inode, &places)?;
        if let Some(inode) = inventory.inode(file.inode) {
            inode.map = map;
            inode.sectors += sectors;
        }
    }
    inventory.files = files;
    Ok(())
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
