//! Inodes as they are found.

use layers::{Meta, Time};

use super::super::format::{
    self, BLOCK_DEVICE, CHAR_DEVICE, DIRECTORY, EXTENDED, FIFO, FILE, NONE, Place, SOCKET, SYMLINK, TARGET_MAX,
    decode_device,
};
use super::metadata::Cursor;
use super::{Volume, damaged};
use crate::Error;
use crate::bytes::Fields;
use crate::volume::FileKind;

/// Where an inode lies, and so which it is; 48 bits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct NodeId(pub u64);

/// An inode.
#[derive(Clone, Debug)]
pub struct Node {
    /// Where it lies.
    pub id: NodeId,
    /// What it is.
    pub kind: FileKind,
    /// Owner, mode and time; [`Volume::attributes`] has the attributes.
    pub meta: Meta,
    /// Length in bytes: of a file, of a symbolic link's target, of the names in a directory.
    pub size: u64,
    /// Number of names.
    pub links: u32,
    pub(super) attributes: Option<u32>,
    pub(super) rest: Rest,
}

/// What the kinds of inodes have besides.
#[derive(Clone, Debug)]
pub(super) enum Rest {
    File(Stretch),
    Directory(Place),
    Symlink(Vec<u8>),
    Nothing,
}

/// Where the bytes of a file are.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stretch {
    /// Where the first block lies.
    pub start: u64,
    /// The fragment, and where in it.
    pub fragment: Option<(u32, u32)>,
    /// Where the lengths of the blocks are: a block of metadata, and how far in it.
    pub lengths: (u64, usize),
}

impl Node {
    /// Where the names begin, if it is a directory.
    pub(super) fn names(&self) -> Option<Place> {
        match self.rest {
            Rest::Directory(place) => Some(place),
            _ => None,
        }
    }
}

impl<'m> Volume<'m> {
    /// The inode at a place, without its extended attributes.
    ///
    /// # Errors
    /// [`Error::Damaged`] for places without an inode and inodes that contradict themselves;
    /// errors of the medium.
    pub fn node(&self, id: NodeId) -> Result<Node, Error> {
        let (table, end) = (self.superblock.inode_table, self.superblock.directory_table);
        let mut cursor = self.cursor(table, Place::of_reference(id.0), end)?;
        let at = cursor.place().0;
        let head: [u8; 16] = cursor.array()?;
        let head = Fields(&head);
        let number = head.u16_le(0);
        let extended = number > EXTENDED;
        let meta = Meta {
            mode: u32::from(head.u16_le(2) & 0o7777),
            uid: self.id(head.u16_le(4), at)?,
            gid: self.id(head.u16_le(6), at)?,
            mtime: Time::seconds(head.u32_le(8).into()),
            ..Meta::default()
        };
        let mut node =
            Node { id, kind: FileKind::File, meta, size: 0, links: 1, attributes: None, rest: Rest::Nothing };
        match if extended { number - EXTENDED } else { number } {
            FILE => read_file(&mut node, &mut cursor, extended)?,
            DIRECTORY => read_directory(&mut node, &mut cursor, extended)?,
            basic @ (SYMLINK | BLOCK_DEVICE | CHAR_DEVICE | FIFO | SOCKET) => {
                read_other(&mut node, &mut cursor, basic, extended)?;
            }
            _ => return Err(damaged(at, format!("no inode is of type {number}"))),
        }
        Ok(node)
    }

    /// The target of a symbolic link.
    ///
    /// # Errors
    /// The inode is of another kind.
    pub fn target(&self, node: &Node) -> Result<Vec<u8>, Error> {
        match &node.rest {
            Rest::Symlink(target) => Ok(target.clone()),
            _ => Err(damaged(self.superblock.inode_table, "an inode is asked for its target but is no symbolic link")),
        }
    }
}

fn read_file(node: &mut Node, cursor: &mut Cursor<'_, '_>, extended: bool) -> Result<(), Error> {
    let (start, fragment, offset);
    if extended {
        let bytes: [u8; 40] = cursor.array()?;
        let fields = Fields(&bytes);
        (start, node.size, node.links) = (fields.u64_le(0), fields.u64_le(8), fields.u32_le(24));
        (fragment, offset) = (fields.u32_le(28), fields.u32_le(32));
        node.attributes = some(fields.u32_le(36));
    } else {
        let bytes: [u8; 16] = cursor.array()?;
        let fields = Fields(&bytes);
        (start, node.size) = (fields.u32_le(0).into(), fields.u32_le(12).into());
        (fragment, offset) = (fields.u32_le(4), fields.u32_le(8));
    }
    let fragment = some(fragment).map(|number| (number, offset));
    node.rest = Rest::File(Stretch { start, fragment, lengths: cursor.place() });
    Ok(())
}

fn read_directory(node: &mut Node, cursor: &mut Cursor<'_, '_>, extended: bool) -> Result<(), Error> {
    let (block, length, offset);
    if extended {
        let bytes: [u8; 24] = cursor.array()?;
        let fields = Fields(&bytes);
        (node.links, length, block) = (fields.u32_le(0), fields.u32_le(4), fields.u32_le(8));
        offset = fields.u16_le(18);
        node.attributes = some(fields.u32_le(20));
    } else {
        let bytes: [u8; 16] = cursor.array()?;
        let fields = Fields(&bytes);
        (block, node.links, length) = (fields.u32_le(0), fields.u32_le(4), fields.u16_le(8).into());
        offset = fields.u16_le(10);
    }
    node.kind = FileKind::Directory;
    node.size = length.saturating_sub(format::DOTS).into();
    node.rest = Rest::Directory(Place { block: block.into(), offset });
    Ok(())
}

/// What begins with the number of links alone.
fn read_other(node: &mut Node, cursor: &mut Cursor<'_, '_>, basic: u16, extended: bool) -> Result<(), Error> {
    let mut word = || cursor.array().map(u32::from_le_bytes);
    node.links = word()?;
    node.kind = match basic {
        SYMLINK => {
            let length = word()? as usize;
            let at = cursor.place().0;
            if length == 0 || length > TARGET_MAX {
                return Err(damaged(at, format!("a symbolic link's target cannot have {length} bytes")));
            }
            node.size = length as u64;
            let target = cursor.bytes(length)?;
            if target.contains(&0) {
                return Err(damaged(at, "a symbolic link's target contains a NUL byte"));
            }
            node.rest = Rest::Symlink(target);
            FileKind::Symlink
        }
        BLOCK_DEVICE | CHAR_DEVICE => {
            let (major, minor) = decode_device(word()?);
            if basic == BLOCK_DEVICE { FileKind::BlockDevice(major, minor) } else { FileKind::CharDevice(major, minor) }
        }
        FIFO => FileKind::Fifo,
        _ => FileKind::Socket,
    };
    if extended {
        node.attributes = some(u32::from_le_bytes(cursor.array()?));
    }
    Ok(())
}

fn some(number: u32) -> Option<u32> {
    (number != NONE).then_some(number)
}
