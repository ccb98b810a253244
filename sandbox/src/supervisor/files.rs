//! Files as the image sees them: what the kernel holds, and the ledger above it.
//!
//! Both the supervisor and the session's own steps change files through this, so an owner
//! that a step set and one that a script set are the same thing.

use super::acl;
use super::ledger::{Device, Entry, Ledger};
use super::lookup::link_of;
use rustix::fs::{AtFlags, Gid, Mode, OFlags, StatxFlags, Uid, XattrFlags, chmod, chownat, openat};
use rustix::io::Errno;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// Owner, mode and device of a file, in the image's terms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Facts {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// Type and permission bits as the kernel holds them: a device is a regular file.
    pub(crate) mode: u32,
    pub(crate) device: Option<Device>,
}

/// The files of a session.
#[derive(Debug)]
pub(crate) struct Files {
    /// One id is mapped: owners are in the ledger.
    pub(crate) single: bool,
    /// A device was made in this session.
    pub(crate) devices: bool,
    pub(crate) ledger: Ledger,
}

impl Files {
    pub(crate) fn new(single: bool) -> Files {
        Files { single, devices: false, ledger: Ledger::default() }
    }

    /// What is known about the file behind an `O_PATH` descriptor.
    pub(crate) fn facts(&self, fd: BorrowedFd<'_>) -> Result<Facts, Errno> {
        let mask = StatxFlags::UID | StatxFlags::GID | StatxFlags::MODE | StatxFlags::TYPE;
        let stat = rustix::fs::statx(fd, "", AtFlags::EMPTY_PATH, mask)?;
        let entry = self.ledger.read(fd)?.unwrap_or_default();
        let (uid, gid) = entry.owner.unwrap_or((stat.stx_uid, stat.stx_gid));
        Ok(Facts { uid, gid, mode: stat.stx_mode.into(), device: entry.device })
    }

    /// Changes owner and group; `None` leaves one as it is. The kernel clears set-id bits
    /// and capabilities as for any chown.
    pub(crate) fn own(&mut self, fd: BorrowedFd<'_>, uid: Option<u32>, gid: Option<u32>) -> Result<(), Errno> {
        if !self.single {
            let (uid, gid) = (uid.map(Uid::from_raw), gid.map(Gid::from_raw));
            return chownat(fd, "", uid, gid, AtFlags::EMPTY_PATH);
        }
        // To the one mapped id, which copies the file up: its ledger key is settled then.
        let (zero_uid, zero_gid) = (uid.map(|_| Uid::ROOT), gid.map(|_| Gid::ROOT));
        chownat(fd, "", zero_uid, zero_gid, AtFlags::EMPTY_PATH)?;
        let old = self.ledger.read(fd)?;
        let entry = old.unwrap_or_default();
        let before = entry.owner.unwrap_or((0, 0));
        let after = (uid.unwrap_or(before.0), gid.unwrap_or(before.1));
        let owner = (after != (0, 0)).then_some(after);
        if old.is_none() && owner.is_none() {
            return Ok(());
        }
        self.ledger.write(fd, Entry { owner, ..entry })
    }

    /// Makes a placeholder for a device. `mode` holds permission bits only.
    pub(crate) fn make_device(
        &mut self,
        parent: BorrowedFd<'_>,
        name: &[u8],
        device: Device,
        mode: u32,
    ) -> Result<OwnedFd, Errno> {
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        drop(openat(parent, name, flags, Mode::from_raw_mode(mode & 0o7777))?);
        let fd = open_entry(parent, name)?;
        self.ledger.write(fd.as_fd(), Entry { owner: None, device: Some(device) })?;
        self.devices = true;
        Ok(fd)
    }

    /// Sets an attribute of the image's.
    pub(crate) fn set_attribute(
        &self,
        fd: BorrowedFd<'_>,
        name: &[u8],
        value: &[u8],
        flags: XattrFlags,
    ) -> Result<(), Errno> {
        match acl::kept_as(name) {
            Some(ours) if self.single => set_list(fd, name, ours, value, flags),
            _ => rustix::fs::setxattr(link_of(fd), name, value, flags),
        }
    }

    /// Reads an access list that we keep; `None` if the file has none.
    pub(crate) fn list_kept(&self, fd: BorrowedFd<'_>, name: &[u8], ours: &str) -> Result<Option<Vec<u8>>, Errno> {
        let mut buffer = vec![0u8; 4096];
        match rustix::fs::getxattr(link_of(fd), ours, &mut buffer) {
            Ok(len) => buffer.truncate(len),
            Err(Errno::NODATA | Errno::NOTSUP | Errno::PERM) => return Ok(None),
            Err(errno) => return Err(errno),
        }
        if name == acl::ACCESS {
            let stat = rustix::fs::statx(fd, "", AtFlags::EMPTY_PATH, StatxFlags::MODE)?;
            buffer = acl::with_mode(&buffer, stat.stx_mode.into());
        }
        Ok(Some(buffer))
    }
}

/// The entry itself, not what it points to.
pub(crate) fn open_entry(parent: BorrowedFd<'_>, name: &[u8]) -> Result<OwnedFd, Errno> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat(parent, name, flags, Mode::empty())
}

/// Sets permission bits of what is not a link.
pub(crate) fn set_mode(fd: BorrowedFd<'_>, mode: u32) -> Result<(), Errno> {
    chmod(link_of(fd), Mode::from_raw_mode(mode & 0o7777))
}

fn set_list(fd: BorrowedFd<'_>, name: &[u8], ours: &str, value: &[u8], flags: XattrFlags) -> Result<(), Errno> {
    let stat = rustix::fs::statx(fd, "", AtFlags::EMPTY_PATH, StatxFlags::MODE | StatxFlags::TYPE)?;
    let mode = u32::from(stat.stx_mode);
    let kind = mode & libc::S_IFMT;
    if kind == libc::S_IFLNK {
        return Err(Errno::NOTSUP);
    }
    // A list without entries removes it.
    if value.len() <= 4 {
        return remove_list(fd, ours, true);
    }
    let (bits, extended) = acl::mode_of(value)?;
    if name == acl::ACCESS {
        set_mode(fd, mode & 0o7000 | bits)?;
        if !extended {
            return remove_list(fd, ours, true);
        }
    } else if kind != libc::S_IFDIR {
        return Err(Errno::ACCESS);
    }
    rustix::fs::setxattr(link_of(fd), ours, value, flags)
}

/// Removes a list that we keep; with `quiet` it is no error if there is none.
pub(crate) fn remove_list(fd: BorrowedFd<'_>, ours: &str, quiet: bool) -> Result<(), Errno> {
    match rustix::fs::removexattr(link_of(fd), ours) {
        Err(Errno::NODATA) if quiet => Ok(()),
        other => other,
    }
}
