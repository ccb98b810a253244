//! Places for the file system's own files and for those of the tree.

use std::iter;
use std::ops::Range;

use super::bytes::put32;
use super::checksum::Checksums;
use super::frame::no_room;
use super::geometry::Geometry;
use super::inode::{self, Inode};
use super::inventory::Inventory;
use super::plan::{Piece, What};
use super::space::Space;
use super::superblock::JournalCopy;
use super::{Feature, Options, attribute, extent, reserved};
use crate::Error;

/// Gives places to files while walking upwards once.
pub(super) struct Placing<'g> {
    pub geometry: &'g Geometry,
    pub checksums: Checksums,
    pub space: Space,
    /// Where to look for free blocks.
    pub next: u64,
    pub pieces: Vec<Piece>,
    pub held: Vec<u8>,
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

/// Places resize inode, journal and orphan file; gives the map and the size of the journal.
pub(super) fn place_own(
    placing: &mut Placing,
    inventory: &mut Inventory,
    options: &Options,
) -> Result<Option<JournalCopy>, Error> {
    let geometry = placing.geometry;
    let block = placing.block();
    let sectors = block / 512;
    if geometry.features.has(Feature::RESIZE_INODE) {
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
            Some(start) => iter::once(start..start + u64::from(blocks)).collect(),
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
pub(super) fn place_tree(placing: &mut Placing, inventory: &mut Inventory) -> Result<(), Error> {
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
        put32(bytes, attribute::BLOCK_CHECKSUM, checksum);
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
