//! Inodes as they are found.

use layers::{Meta, Time};

use super::super::bytes::{get16, get32, get64_split};
use super::super::extent::MAP_BYTES;
use super::super::inode::{
    BLOCK, CHARACTER, DIRECTORY, EXTENTS_FLAG, FIFO, REGULAR, ROOT, SOCKET, SYMLINK, decode_device, decode_time,
};
use super::{Volume, damaged};
use crate::Error;

/// Data lies in the inode itself.
const INLINE_FLAG: u32 = 0x1000_0000;
/// Content is encrypted.
const ENCRYPTED_FLAG: u32 = 0x800;

/// What an inode is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FileKind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink,
    /// A character device: major and minor number.
    CharDevice(u32, u32),
    /// A block device: major and minor number.
    BlockDevice(u32, u32),
    /// A named pipe.
    Fifo,
    /// A socket's name.
    Socket,
}

/// An inode.
#[derive(Clone, Debug)]
pub struct Node {
    /// Its number.
    pub number: u32,
    /// What it is.
    pub kind: FileKind,
    /// Owner, mode, time and extended attributes.
    pub meta: Meta,
    /// Length in bytes.
    pub size: u64,
    /// Number of names.
    pub links: u16,
    /// 512-byte sectors that it owns.
    pub sectors: u64,
    pub(super) generation: u32,
    pub(super) flags: u32,
    pub(super) map: [u8; MAP_BYTES],
    pub(super) attribute_block: u64,
}

impl Node {
    pub(super) fn has_extents(&self) -> bool {
        self.flags & EXTENTS_FLAG != 0
    }
}

impl Volume<'_> {
    /// The root directory.
    ///
    /// # Errors
    /// As [`Volume::node`].
    pub fn root(&self) -> Result<Node, Error> {
        let root = self.node(ROOT)?;
        if root.kind != FileKind::Directory {
            return Err(damaged(0, "the root is not a directory"));
        }
        Ok(root)
    }

    /// The inode of a number, with its extended attributes.
    ///
    /// # Errors
    /// [`Error::Damaged`] for inodes that are not in use, or contradict themselves or their
    /// checksum; [`Error::Unsupported`] for encrypted ones and for data inside inodes.
    pub fn node(&self, number: u32) -> Result<Node, Error> {
        if number == 0 || number > self.inodes {
            return Err(damaged(
                0,
                format!("inode {number} is referred to but not among the {} there are", self.inodes),
            ));
        }
        let (group, index) = ((number - 1) / self.group_inodes, (number - 1) % self.group_inodes);
        let table = self.inode_table(group)?;
        let offset = table.saturating_add(u64::from(index) * u64::from(self.inode_size));
        let mut bytes = vec![0; self.inode_size as usize];
        self.medium.read_at(offset, &mut bytes)?;
        self.check_inode(number, offset, &mut bytes)?;
        let mode = get16(&bytes, 0x00);
        let flags = get32(&bytes, 0x20);
        if flags & (INLINE_FLAG | ENCRYPTED_FLAG) != 0 {
            return Err(super::super::unsupported(
                format!("inode {number}"),
                "its data is encrypted or lies inside the inode",
            ));
        }
        let map: [u8; MAP_BYTES] =
            bytes.get(0x28..0x28 + MAP_BYTES).and_then(|map| map.try_into().ok()).unwrap_or([0; MAP_BYTES]);
        let (major, minor) = decode_device(get32(&map, 0), get32(&map, 4));
        let kind = match mode & 0xf000 {
            kind if kind == REGULAR.mode => FileKind::File,
            kind if kind == DIRECTORY.mode => FileKind::Directory,
            kind if kind == SYMLINK.mode => FileKind::Symlink,
            kind if kind == CHARACTER.mode => FileKind::CharDevice(major, minor),
            kind if kind == BLOCK.mode => FileKind::BlockDevice(major, minor),
            kind if kind == FIFO.mode => FileKind::Fifo,
            kind if kind == SOCKET.mode => FileKind::Socket,
            _ => return Err(damaged(offset, format!("inode {number} is in use but is of no kind"))),
        };
        let links = get16(&bytes, 0x1a);
        if links == 0 {
            return Err(damaged(offset, format!("inode {number} has a name but is deleted")));
        }
        let extra = self.extra(&bytes);
        let word = |at: usize| if extra >= at + 4 { get32(&bytes, at) } else { 0 };
        // Only files and directories use the upper half of the size.
        let tall = matches!(kind, FileKind::File | FileKind::Directory);
        let size = u64::from(get32(&bytes, 0x04)) | if tall { u64::from(get32(&bytes, 0x6c)) << 32 } else { 0 };
        let both = |low, high| u32::from(get16(&bytes, low)) | u32::from(get16(&bytes, high)) << 16;
        let mut node = Node {
            number,
            kind,
            meta: Meta {
                mode: u32::from(mode & 0o7777),
                uid: both(0x02, 0x78),
                gid: both(0x18, 0x7a),
                mtime: if extra >= 0x8c {
                    decode_time(get32(&bytes, 0x10), word(0x88))
                } else {
                    Time::seconds(i64::from(get32(&bytes, 0x10).cast_signed()))
                },
                ..Meta::default()
            },
            size,
            links,
            sectors: u64::from(get32(&bytes, 0x1c)) | u64::from(get16(&bytes, 0x74)) << 32,
            generation: get32(&bytes, 0x64),
            flags,
            map,
            attribute_block: get64_split(&bytes, 0x68, bytes.len()) | u64::from(get16(&bytes, 0x76)) << 32,
        };
        self.read_attributes(&mut node, bytes.get(extra..).filter(|_| extra > 0x80).unwrap_or(&[]), offset)?;
        Ok(node)
    }

    /// Where the fields of an inode end, bytes.
    fn extra(&self, bytes: &[u8]) -> usize {
        if self.inode_size <= 128 {
            return 128;
        }
        (128 + usize::from(get16(bytes, 0x80))).min(bytes.len())
    }

    /// Checks the checksum of an inode; clears its field.
    fn check_inode(&self, number: u32, offset: u64, bytes: &mut [u8]) -> Result<(), Error> {
        if !self.checksums.on() {
            return Ok(());
        }
        let wide = self.inode_size > 128 && get16(bytes, 0x80) >= 4;
        let low = get16(bytes, 0x7c);
        let high = if wide { get16(bytes, 0x82) } else { 0 };
        bytes[0x7c..0x7e].fill(0);
        if wide {
            bytes[0x82..0x84].fill(0);
        }
        let computed = self.checksums.of_inode(number, get32(bytes, 0x64)).then(bytes).value();
        let mask = if wide { u32::MAX } else { 0xffff };
        if computed & mask != u32::from(low) | u32::from(high) << 16 {
            return Err(damaged(offset, format!("the checksum of inode {number} is wrong")));
        }
        Ok(())
    }
}
