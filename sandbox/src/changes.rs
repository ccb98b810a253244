//! What a session changed, as its upper directory and a sorted list.

use crate::wire::{wire_enum, wire_struct};
use std::path::PathBuf;

/// The outcome of a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Captured {
    /// Holds the regular files, directories and symbolic links of changed entries at their
    /// paths, owned by the calling user; files are owner-readable and -writable,
    /// directories owner-searchable too. It has no whiteouts, devices, pipes or sockets.
    pub upper: PathBuf,
    /// Every entry of the upper, sorted by path bytes. The root (empty path) is listed only
    /// if its metadata was set.
    pub changes: Vec<Change>,
}

/// One difference between the stacked layers and the tree as the steps left it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// The path of a lower layer is gone.
    Removed {
        /// Path relative to the root, without a leading slash.
        path: Vec<u8>,
    },
    /// The path is new, or was changed or touched. A directory is also listed when only
    /// something below it changed.
    Changed {
        /// Path relative to the root, without a leading slash.
        path: Vec<u8>,
        /// A directory that hides what the layers below have at its path.
        opaque: bool,
        /// The entry as the image sees it.
        entry: Meta,
    },
}

impl Change {
    /// The path it is about, relative to the root.
    #[must_use]
    pub fn path(&self) -> &[u8] {
        match self {
            Change::Removed { path } | Change::Changed { path, .. } => path,
        }
    }
}

/// Metadata of an entry, in the image's terms.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Meta {
    /// What it is.
    pub kind: Kind,
    /// Permission bits (07777).
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Modification time: seconds since 1970, and nanoseconds.
    pub mtime: (i64, u32),
    /// `security.capability` (version 2), `system.posix_acl_*` and `user.*`, sorted by name;
    /// nothing of overlay's, ours or the machine's.
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    /// Entries with the same number are hard links to one file.
    pub hard_link_group: Option<u64>,
    /// Set where size and modification time equal those of the file the upper hides: it was
    /// most likely copied up for its metadata only. A hint, not a proof.
    pub content_unchanged: bool,
}

/// The kind of an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// A regular file.
    File {
        /// Size in bytes.
        size: u64,
    },
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink {
        /// Its target, bytes as stored.
        target: Vec<u8>,
    },
    /// A device node.
    Device {
        /// Character device if true, block device otherwise.
        char: bool,
        /// Major number.
        major: u32,
        /// Minor number.
        minor: u32,
    },
    /// A named pipe.
    Fifo,
    /// A socket.
    Socket,
}

wire_struct!(Captured { upper, changes });
wire_enum!(Change { 0 => Removed { path }, 1 => Changed { path, opaque, entry } });
wire_struct!(Meta { kind, mode, uid, gid, mtime, xattrs, hard_link_group, content_unchanged });
wire_enum!(Kind {
    0 => File { size },
    1 => Directory,
    2 => Symlink { target },
    3 => Device { char, major, minor },
    4 => Fifo,
    5 => Socket
});
