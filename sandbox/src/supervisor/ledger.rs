//! What the kernel cannot hold about a file here: a foreign owner, a device number, an
//! access list that names foreign ids.
//!
//! It is kept in a `user.*` attribute of the file itself, which goes with it through rename,
//! link and copy-up. Links, pipes and sockets can have no such attribute; those are held in
//! a table whose keys are kept from being used again by holding each file open.

use super::lookup::link_of;
use rustix::fs::{AtFlags, StatxFlags, XattrFlags};
use rustix::io::Errno;
use std::collections::BTreeMap;
use std::os::fd::{BorrowedFd, OwnedFd};

/// Attributes with this prefix are ours: hidden from payloads and never captured.
pub(crate) const PREFIX: &[u8] = b"user.image-composer.";

const ENTRY: &str = "user.image-composer.entry";
const FORM: u8 = 1;

/// Files that the table may hold at one time; more are refused with ENOSPC.
const MAX_HELD: usize = 8192;

/// A device number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Device {
    pub(crate) char: bool,
    pub(crate) major: u32,
    pub(crate) minor: u32,
}

/// What we hold about one file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Entry {
    /// Owner and group, where the kernel's are not the image's.
    pub(crate) owner: Option<(u32, u32)>,
    /// Set if the file stands for a device.
    pub(crate) device: Option<Device>,
}

impl Entry {
    fn encode(self) -> [u8; 19] {
        let mut bytes = [0; 19];
        let (uid, gid) = self.owner.unwrap_or((0, 0));
        bytes[0] = FORM;
        bytes[1] = u8::from(self.owner.is_some());
        bytes[2..6].copy_from_slice(&uid.to_le_bytes());
        bytes[6..10].copy_from_slice(&gid.to_le_bytes());
        if let Some(device) = self.device {
            bytes[10] = if device.char { 1 } else { 2 };
            bytes[11..15].copy_from_slice(&device.major.to_le_bytes());
            bytes[15..19].copy_from_slice(&device.minor.to_le_bytes());
        }
        bytes
    }

    /// `None` if the bytes are not ours: then the file is what the kernel says.
    fn decode(bytes: &[u8]) -> Option<Entry> {
        let bytes: &[u8; 19] = bytes.try_into().ok()?;
        if bytes[0] != FORM {
            return None;
        }
        let number = |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        let owner = (bytes[1] == 1).then(|| (number(2), number(6)));
        let device = (bytes[10] != 0).then(|| Device { char: bytes[10] == 1, major: number(11), minor: number(15) });
        Some(Entry { owner, device })
    }
}

/// File system and inode of a file that is held open.
type Key = (u32, u32, u64);

/// The table for files that can have no attribute.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    held: BTreeMap<Key, (OwnedFd, Entry)>,
}

fn key(fd: BorrowedFd<'_>) -> Result<Key, Errno> {
    let stat = rustix::fs::statx(fd, "", AtFlags::EMPTY_PATH, StatxFlags::INO)?;
    Ok((stat.stx_dev_major, stat.stx_dev_minor, stat.stx_ino))
}

/// What the attribute of a file says; `None` if it has none.
pub(crate) fn read_attribute_of(path: &str) -> Result<Option<Entry>, Errno> {
    let mut buffer = [0u8; 32];
    match rustix::fs::getxattr(path, ENTRY, &mut buffer) {
        Ok(len) => Ok(Entry::decode(&buffer[..len])),
        Err(Errno::NODATA | Errno::NOTSUP | Errno::PERM | Errno::RANGE) => Ok(None),
        Err(errno) => Err(errno),
    }
}

impl Ledger {
    /// What is held about the file behind an `O_PATH` descriptor.
    pub(crate) fn read(&self, fd: BorrowedFd<'_>) -> Result<Option<Entry>, Errno> {
        let mut buffer = [0u8; 32];
        match rustix::fs::getxattr(link_of(fd), ENTRY, &mut buffer) {
            Ok(len) => return Ok(Entry::decode(&buffer[..len])),
            Err(Errno::NODATA | Errno::NOTSUP | Errno::PERM | Errno::RANGE) => {}
            Err(errno) => return Err(errno),
        }
        if self.held.is_empty() {
            return Ok(None);
        }
        Ok(self.held.get(&key(fd)?).map(|(_, entry)| *entry))
    }

    /// Holds this about a file; the default entry forgets it.
    pub(crate) fn write(&mut self, fd: BorrowedFd<'_>, entry: Entry) -> Result<(), Errno> {
        let path = link_of(fd);
        let result = if entry == Entry::default() {
            match rustix::fs::removexattr(&path, ENTRY) {
                Err(Errno::NODATA) => Ok(()),
                other => other,
            }
        } else {
            rustix::fs::setxattr(&path, ENTRY, &entry.encode(), XattrFlags::empty())
        };
        match result {
            // What links, pipes and sockets answer, and file systems without attributes.
            Err(Errno::PERM | Errno::NOTSUP) => self.hold(fd, entry),
            other => other,
        }
    }

    fn hold(&mut self, fd: BorrowedFd<'_>, entry: Entry) -> Result<(), Errno> {
        let key = key(fd)?;
        if entry == Entry::default() {
            self.held.remove(&key);
            return Ok(());
        }
        if self.held.len() >= MAX_HELD && !self.held.contains_key(&key) {
            self.sweep();
            if self.held.len() >= MAX_HELD {
                return Err(Errno::NOSPC);
            }
        }
        let fd = rustix::io::fcntl_dupfd_cloexec(fd, 3)?;
        self.held.insert(key, (fd, entry));
        Ok(())
    }

    /// Lets go of files that no directory names any more.
    fn sweep(&mut self) {
        self.held.retain(|_, (fd, _)| {
            rustix::fs::statx(&*fd, "", AtFlags::EMPTY_PATH, StatxFlags::NLINK).is_ok_and(|stat| stat.stx_nlink > 0)
        });
    }

    /// Whether nothing is held outside attributes.
    pub(crate) fn holds_nothing(&self) -> bool {
        self.held.is_empty()
    }

    /// Lets go of everything, before the file systems that it lies on are unmounted.
    pub(crate) fn release(&mut self) {
        self.held.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_come_back() {
        let device = Some(Device { char: true, major: 10, minor: 0x12_3456 });
        for entry in [
            Entry { owner: Some((33, u32::MAX - 1)), device: None },
            Entry { owner: Some((0, 7)), device },
            Entry { owner: None, device },
        ] {
            assert_eq!(Entry::decode(&entry.encode()), Some(entry));
        }
        assert_eq!(Entry::decode(b""), None);
        assert_eq!(Entry::decode(&[2; 19]), None);
    }
}
