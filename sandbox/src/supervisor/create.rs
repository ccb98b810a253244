//! Calls that make a file whose owner is not the one mapped id, and devices.

use super::credentials::Credentials;
use super::files::{Facts, open_entry};
use super::ledger::Device;
use super::{CONTINUE, CURRENT, Outcome, Supervisor, Waiting, done, lookup};
use crate::sys;
use rustix::fs::{AtFlags, FileType, Mode, OFlags, mkdirat, mknodat, openat, statat, symlinkat};
use rustix::io::Errno;
use std::os::fd::{AsFd, OwnedFd};

const SET_GID: u32 = 0o2000;

/// Where something is about to be made, and for whom.
struct Creation {
    parent: OwnedFd,
    name: Vec<u8>,
    uid: u32,
    gid: u32,
}

/// The rights of write and search that ids have on a directory.
fn may_write(directory: &Facts, credentials: &Credentials) -> bool {
    let shift = if credentials.uid.file == directory.uid {
        6
    } else if credentials.in_group(directory.gid) {
        3
    } else {
        0
    };
    credentials.is_root() || directory.mode >> shift & 3 == 3
}

/// A device number as mknod takes it: `new_decode_dev` of include/linux/kdev_t.h.
fn decode_device(char: bool, dev: u32) -> Device {
    Device { char, major: (dev & 0xf_ff00) >> 8, minor: (dev & 0xff) | ((dev >> 12) & 0xf_ff00) }
}

impl Supervisor {
    /// Where a creating call is about to act, if its outcome is not what the kernel's own
    /// would be. `None`: let the kernel do it.
    fn creation(
        &mut self,
        call: &Waiting<'_>,
        dir: Option<u8>,
        path: &[u8],
        trim: bool,
    ) -> Result<Option<Creation>, Errno> {
        let credentials = self.tasks.credentials(call.tid)?;
        let Some((parent, name)) = self.directory(call, dir, path, trim)? else {
            return Ok(None);
        };
        let facts = self.files.facts(parent.as_fd())?;
        if !may_write(&facts, &credentials) {
            return Err(Errno::ACCESS);
        }
        let gid = if facts.mode & SET_GID != 0 { facts.gid } else { credentials.gid.file };
        let uid = credentials.uid.file;
        if (uid, gid) == (0, 0) {
            return Ok(None);
        }
        call.check()?;
        Ok(Some(Creation { parent, name, uid, gid }))
    }

    /// Directory and name of a path to be made; `None` if the kernel will say what is wrong.
    fn directory(
        &mut self,
        call: &Waiting<'_>,
        dir: Option<u8>,
        path: &[u8],
        trim: bool,
    ) -> Result<Option<(OwnedFd, Vec<u8>)>, Errno> {
        let dir = dir.map_or(CURRENT, |index| call.word(index) as i32);
        let found = self.find(call.tid, dir, path, |start| {
            let found = lookup::parent(start, path, trim)?;
            Ok(found.map(|(parent, name)| (parent, name.to_vec())))
        });
        Ok(found.unwrap_or(None))
    }

    /// Records the owner of what was just made.
    fn sign(&mut self, creation: &Creation) -> Result<(), Errno> {
        let fd = open_entry(creation.parent.as_fd(), &creation.name)?;
        self.files.own(fd.as_fd(), Some(creation.uid), Some(creation.gid))
    }

    fn mode(&mut self, call: &Waiting<'_>, mode: u32) -> Result<Mode, Errno> {
        let umask = self.tasks.umask(call.tid)?;
        Ok(Mode::from_raw_mode(mode & 0o7777 & !umask))
    }

    pub(super) fn mkdir(&mut self, call: &Waiting<'_>, dir: Option<u8>, path: u8, mode: u32) -> Result<Outcome, Errno> {
        let Ok(path) = call.path(path) else { return CONTINUE };
        let Some(creation) = self.creation(call, dir, &path, true)? else { return CONTINUE };
        let mode = self.mode(call, mode)?;
        mkdirat(&creation.parent, &creation.name[..], mode)?;
        self.sign(&creation)?;
        done()
    }

    pub(super) fn symlink(
        &mut self,
        call: &Waiting<'_>,
        target: u8,
        dir: Option<u8>,
        path: u8,
    ) -> Result<Outcome, Errno> {
        let (Ok(target), Ok(path)) = (call.path(target), call.path(path)) else { return CONTINUE };
        let Some(creation) = self.creation(call, dir, &path, false)? else { return CONTINUE };
        symlinkat(&target[..], &creation.parent, &creation.name[..])?;
        self.sign(&creation)?;
        done()
    }

    pub(super) fn node(
        &mut self,
        call: &Waiting<'_>,
        dir: Option<u8>,
        path: u8,
        mode: u32,
        dev: u32,
    ) -> Result<Outcome, Errno> {
        let Ok(path) = call.path(path) else { return CONTINUE };
        match mode & libc::S_IFMT {
            libc::S_IFCHR => self.device(call, dir, &path, mode, decode_device(true, dev)),
            libc::S_IFBLK => self.device(call, dir, &path, mode, decode_device(false, dev)),
            _ => {
                let Some(creation) = self.creation(call, dir, &path, false)? else {
                    return CONTINUE;
                };
                let bits = self.mode(call, mode)?;
                let kind = match mode & libc::S_IFMT {
                    0 | libc::S_IFREG => FileType::RegularFile,
                    libc::S_IFIFO => FileType::Fifo,
                    libc::S_IFSOCK => FileType::Socket,
                    _ => return Err(Errno::INVAL),
                };
                mknodat(&creation.parent, &creation.name[..], kind, bits, 0)?;
                self.sign(&creation)?;
                done()
            }
        }
    }

    fn device(
        &mut self,
        call: &Waiting<'_>,
        dir: Option<u8>,
        path: &[u8],
        mode: u32,
        device: Device,
    ) -> Result<Outcome, Errno> {
        let (uid, gid) = if self.files.single {
            let credentials = self.tasks.credentials(call.tid)?;
            if !credentials.is_root() {
                return Err(Errno::PERM);
            }
            (credentials.uid.file, credentials.gid.file)
        } else {
            self.tasks.kernel_file_ids(call.tid)?
        };
        if uid != 0 {
            return Err(Errno::PERM);
        }
        let Some((parent, name)) = self.directory(call, dir, path, false)? else {
            return CONTINUE;
        };
        let facts = self.files.facts(parent.as_fd())?;
        let gid = if facts.mode & SET_GID != 0 { facts.gid } else { gid };
        let mode = self.mode(call, mode)?;
        call.check()?;
        let fd = self.files.make_device(parent.as_fd(), &name, device, mode.as_raw_mode())?;
        if gid != 0 {
            self.files.own(fd.as_fd(), None, Some(gid))?;
        }
        done()
    }

    /// open with `O_CREAT`: a file that is there is the kernel's business; a new one is made
    /// here and handed over, because its owner must be set before anyone sees it.
    pub(super) fn open(
        &mut self,
        call: &Waiting<'_>,
        dir: Option<u8>,
        path: u8,
        flags: i32,
        mode: u32,
    ) -> Result<Outcome, Errno> {
        let Ok(path) = call.path(path) else { return CONTINUE };
        let wanted = OFlags::from_bits_retain(flags as _);
        if self.bare {
            if let Some(named) = self.made_up(&path) {
                return self.hand_in(call, named, wanted);
            }
            if !wanted.contains(OFlags::CREATE) {
                return CONTINUE;
            }
        }
        let Some((parent, name)) = self.directory(call, dir, &path, false)? else {
            return CONTINUE;
        };
        if statat(&parent, &name[..], AtFlags::SYMLINK_NOFOLLOW).is_ok() {
            return CONTINUE;
        }
        let Some(creation) = self.creation(call, dir, &path, false)? else { return CONTINUE };
        let bits = self.mode(call, mode)?;
        if wanted.contains(OFlags::PATH) {
            return CONTINUE;
        }
        let ours = OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = match openat(&creation.parent, &creation.name[..], wanted | ours, bits) {
            Err(Errno::EXIST) if !wanted.contains(OFlags::EXCL) => return CONTINUE,
            other => other?,
        };
        self.sign(&creation)?;
        let close = wanted.contains(OFlags::CLOEXEC);
        sys::respond_with_fd(call.listener, call.id, fd.as_fd(), close).map_err(super::tasks::errno)?;
        Ok(Outcome::Sent)
    }
}
