//! The least size of a file system that holds a tree.

use std::ops::Range;

use layers::Tree;

use super::frame::{frame, own_blocks};
use super::geometry::{Geometry, JOURNAL_CLASSES};
use super::options::{BlockSize, CLASSES};
use super::plan::settle;
use super::{Options, inventory};
use crate::Error;

/// The largest size that is tried for a tree, bytes.
const SIZE_MAX: u64 = 64 << 40;

/// The least size in bytes of a file system with these options that holds a tree; the size in the
/// options does not count.
///
/// # Errors
/// As [`super::plan()`], but for [`Error::TooSmall`].
pub fn minimum_size(tree: &Tree, options: &Options) -> Result<u64, Error> {
    minimum_size_from(tree, options, 0)
}

/// As [`minimum_size`], among the sizes from `from` bytes on: what fits into one size need not fit
/// into the next larger class of mke2fs's.
///
/// # Errors
/// As [`super::plan()`], but for [`Error::TooSmall`].
pub fn minimum_size_from(tree: &Tree, options: &Options, from: u64) -> Result<u64, Error> {
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
        let mut first = (start / block).max(from.div_ceil(block)).max(1);
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
