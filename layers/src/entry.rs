//! One entry of a tree: what it is and what is said of it.

use std::collections::BTreeMap;

use crate::{Blake3, TreePath};

/// Bits of a mode that an entry keeps (permissions, setuid, setgid, sticky; POSIX `chmod`).
pub const MODE_MASK: u32 = 0o7777;

/// A time: seconds since the epoch, and nanoseconds below one second.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Time {
    /// Seconds since 1970-01-01 00:00 UTC; may be negative.
    pub seconds: i64,
    /// 0 to 999,999,999.
    pub nanoseconds: u32,
}

impl Time {
    /// A whole second.
    pub const fn seconds(seconds: i64) -> Self {
        Self { seconds, nanoseconds: 0 }
    }
}

/// The bytes of a regular file, by digest.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub struct Content {
    /// BLAKE3 of the bytes.
    pub digest: Blake3,
    /// Length in bytes.
    pub size: u64,
}

impl Content {
    /// Content of bytes in memory.
    pub fn of(bytes: &[u8]) -> Self {
        Self { digest: Blake3::of(bytes), size: bytes.len() as u64 }
    }
}

/// What an entry is.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Kind {
    /// A regular file.
    File(Content),
    /// A directory.
    Directory,
    /// A symbolic link; the target is kept as it was written.
    Symlink(Box<[u8]>),
    /// Another name of the file at this path. The target is never a hard link itself and comes
    /// first in the order of paths; its entry holds the metadata of both.
    HardLink(TreePath),
    /// A character device.
    CharDevice {
        /// Major number.
        major: u32,
        /// Minor number.
        minor: u32,
    },
    /// A block device.
    BlockDevice {
        /// Major number.
        major: u32,
        /// Minor number.
        minor: u32,
    },
    /// A named pipe.
    Fifo,
    /// A socket's name.
    Socket,
}

/// What is said of an entry besides its kind.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct Meta {
    /// Permission bits within [`MODE_MASK`].
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Time of last modification.
    pub mtime: Time,
    /// Extended attributes, by full name (`security.capability`).
    pub xattrs: BTreeMap<Box<[u8]>, Box<[u8]>>,
}

impl Meta {
    /// Root's, with this mode and time.
    pub fn root_owned(mode: u32, mtime: Time) -> Self {
        Self { mode, mtime, ..Self::default() }
    }
}

/// One entry of a tree. The metadata of a [`Kind::HardLink`] is its target's and is ignored here.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Entry {
    /// What it is.
    pub kind: Kind,
    /// What is said of it.
    pub meta: Meta,
}

impl Entry {
    /// A directory.
    pub fn directory(meta: Meta) -> Self {
        Self { kind: Kind::Directory, meta }
    }

    /// A regular file.
    pub fn file(content: Content, meta: Meta) -> Self {
        Self { kind: Kind::File(content), meta }
    }

    /// A symbolic link (mode 0777, as Linux shows them).
    pub fn symlink(target: &[u8], mtime: Time) -> Self {
        Self { kind: Kind::Symlink(target.into()), meta: Meta::root_owned(0o777, mtime) }
    }

    /// Whether it is a directory.
    pub fn is_directory(&self) -> bool {
        matches!(self.kind, Kind::Directory)
    }
}
