//! A tree into a file, from the first byte to the last.

use std::fs;
use std::path::PathBuf;

use layers::{Contents, Tree};

use super::Options;
use super::data::{self, Fragment, Located};
use super::directory::{self, Item};
use super::format::{
    ALWAYS_FRAGMENTS, COMPRESSOR_OPTIONS, Compressor, DUPLICATES, EXPORTABLE, Place, RAW_METADATA, SUPERBLOCK_BYTES,
    Superblock,
};
use super::inode::{self, Known};
use super::inventory::{self, Inventory, What};
use super::metadata::{Table, put_lookup};
use super::output::Output;
use crate::Error;

/// The file's size is a multiple of this, in bytes: what loop devices are read by (mksquashfs(1),
/// `-nopad`).
const UNIT: u64 = 4096;

/// Writes a file system that holds a tree into a file, which it empties first; `path` is for
/// messages. Gives the file's size in bytes, a multiple of 4096.
///
/// Times before 1970 and after 2106 become the nearest that squashfs has; parts of seconds are
/// left out. Equal contents are written once.
///
/// # Errors
/// [`Error::Unsupported`] for options and entries that squashfs cannot express, with their path;
/// content that is missing or has another size than the tree says; errors of the file.
pub fn write(
    tree: &Tree,
    contents: &dyn Contents,
    options: &Options,
    file: &fs::File,
    path: impl Into<PathBuf>,
) -> Result<u64, Error> {
    let created = options.check()?;
    let inventory = inventory::take(tree, options)?;
    let level = options.level;
    let mut out = Output::new(file, path.into())?;
    out.put(&[0; SUPERBLOCK_BYTES])?;
    // The compressor's options are a block of metadata that is never compressed: the level.
    out.put(&(RAW_METADATA | 4).to_le_bytes())?;
    out.put(&level.to_le_bytes())?;
    let (located, fragments) = data::put(&mut out, &inventory.files, contents, options)?;
    let Tables { inodes, directories, places } = tables(&inventory, &located, level, &out)?;
    let inode_table = out.position();
    inodes.finish(&mut out)?;
    let directory_table = out.position();
    directories.finish(&mut out)?;
    let fragment_table = put_lookup(&mut out, level, &[], fragments.iter().map(encode_fragment))?;
    let references = places.iter().map(|place| place.reference().to_le_bytes());
    let export_table = put_lookup(&mut out, level, &[], references)?;
    let id_table = put_lookup(&mut out, level, &[], inventory.ids.iter().map(|id| id.to_le_bytes()))?;
    let attribute_table = inventory.sets.put(&mut out, level)?;
    let bytes = out.position();
    let size = bytes.next_multiple_of(UNIT);
    // Less than a unit.
    out.put(&vec![0; (size - bytes) as usize])?;
    let superblock = Superblock {
        // As many as 32 bits hold, which the inventory has checked; ids and fragments likewise.
        inodes: places.len() as u32,
        created,
        block_size: options.block_size,
        fragments: fragments.len() as u32,
        compressor: Compressor::Zstd,
        flags: ALWAYS_FRAGMENTS | DUPLICATES | EXPORTABLE | COMPRESSOR_OPTIONS,
        ids: inventory.ids.len() as u16,
        root: places.first().copied().unwrap_or_default().reference(),
        bytes,
        id_table,
        attribute_table,
        inode_table,
        directory_table,
        fragment_table,
        export_table,
    };
    out.finish(&superblock.encode())?;
    Ok(size)
}

fn encode_fragment(fragment: &Fragment) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&fragment.start.to_le_bytes());
    bytes[8..12].copy_from_slice(&fragment.length.to_le_bytes());
    bytes
}

struct Tables {
    inodes: Table,
    directories: Table,
    /// Of the inode of each node.
    places: Vec<Place>,
}

/// Makes the tables of inodes and directories. A directory's names say where the inodes are, and
/// its inode says where the names are; so everything else comes first, then the directories from
/// the last path to the first, since what is in a directory comes after it in a tree.
fn tables(inventory: &Inventory<'_>, located: &[Located], level: i32, out: &Output<'_>) -> Result<Tables, Error> {
    let failed = |source| out.failed(source);
    let (mut inodes, mut directories) = (Table::new(level).map_err(failed)?, Table::new(level).map_err(failed)?);
    let mut places = vec![Place::default(); inventory.nodes.len()];
    // Numbers of inodes begin at 1; the inventory has checked that they fit.
    let number = |node: usize| node as u32 + 1;
    let empty = Located::default();
    for (index, node) in inventory.nodes.iter().enumerate() {
        let known = match node.what {
            What::Directory => continue,
            What::File(None) => Known::File(&empty, 0),
            What::File(Some(file)) => Known::File(&located[file], inventory.files[file].content.size),
            What::Symlink(_) | What::Device { .. } | What::Fifo | What::Socket => Known::Node,
        };
        places[index] = inodes.place();
        inodes.put(&inode::encode(node, number(index), &known)?).map_err(failed)?;
    }
    for directory in inventory.directories.iter().rev() {
        let mut items = Vec::with_capacity(directory.children.len());
        for (name, child) in &directory.children {
            let kind = inventory.nodes[*child].what.number();
            items.push(Item { name, number: number(*child), kind, place: places[*child] });
        }
        let listing = directory::put(&mut directories, &items, failed)?;
        // Where the root is, in its parent's place, stands a number that no inode has (as in mksquashfs).
        let is_root = directory.parent == directory.node;
        let parent = if is_root { number(inventory.nodes.len()) } else { number(directory.parent) };
        let node = &inventory.nodes[directory.node];
        places[directory.node] = inodes.place();
        let bytes = inode::encode(node, number(directory.node), &Known::Directory(&listing, parent))?;
        inodes.put(&bytes).map_err(failed)?;
    }
    Ok(Tables { inodes, directories, places })
}
