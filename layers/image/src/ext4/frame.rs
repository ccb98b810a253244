//! The metadata whose place the size alone decides: superblocks, descriptors, bitmaps, inode tables.

use super::Feature;
use super::descriptor::Tables;
use super::geometry::Geometry;
use super::space::Space;
use crate::Error;

/// Blocks of the file system's own files.
pub(super) fn own_blocks(geometry: &Geometry) -> u64 {
    u64::from(geometry.journal_blocks().unwrap_or(0))
        + geometry.orphan_blocks()
        + u64::from(geometry.features.has(Feature::RESIZE_INODE))
}

/// The metadata whose place the size alone decides.
pub(super) struct Frame {
    pub space: Space,
    pub tables: Vec<Tables>,
}

pub(super) fn no_room(geometry: &Geometry) -> Error {
    let size = geometry.blocks * u64::from(geometry.block_size);
    Error::TooSmall { what: "the tree into ext4".into(), needed: size, available: size }
}

/// Places superblocks, descriptors, bitmaps and inode tables.
pub(super) fn frame(geometry: &Geometry) -> Result<Frame, Error> {
    let mut space = Space::new(geometry.blocks);
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
