//! Steps that change the tree without running anything in it.

use super::capture::OVERLAY;
use super::fault::Doing;
use super::stack::Room;
use super::sweep;
use crate::capability;
use crate::error::Fault;
use crate::session::Placed;
use crate::supervisor::acl;
use crate::supervisor::files::{open_entry, set_mode};
use crate::supervisor::ledger::{self, Device};
use crate::supervisor::lookup::{self, Start};
use rustix::fs::{
    AtFlags, FileType, Mode, OFlags, Timespec, Timestamps, UTIME_OMIT, XattrFlags, mkdirat, mknodat, openat, statat,
    symlinkat, utimensat,
};
use rustix::io::Errno;
use std::os::fd::{AsFd, OwnedFd};

/// An entry to be placed.
pub(super) struct Placement<'a> {
    pub(super) path: &'a [u8],
    pub(super) what: &'a Placed,
    pub(super) mode: Option<u32>,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) mtime: Option<(i64, u32)>,
    pub(super) xattrs: &'a [(Vec<u8>, Vec<u8>)],
}

fn shown(path: &[u8]) -> String {
    String::from_utf8_lossy(path).into_owned()
}

/// Directory and name of a path of the tree. Links on the way are followed inside of it.
fn find(room: &Room, path: &[u8]) -> Result<(OwnedFd, Vec<u8>), Fault> {
    let root = room.tree()?.try_clone().doing("use the tree", || "dup".into())?;
    let absolute = [b"/", path].concat();
    let start = Start { root: Some(root), base: None };
    lookup::parent(&start, &absolute, true)
        .doing("find the parent directory", || format!("openat2({})", shown(path)))?
        .map(|(fd, name)| (fd, name.to_vec()))
        .ok_or_else(|| Fault::Path { path: path.to_vec(), reason: "it names no entry".into() })
}

/// Removes a path, recursively.
pub(super) fn remove(room: &Room, path: &[u8]) -> Result<(), Fault> {
    let (parent, name) = match find(room, path) {
        Ok(found) => found,
        Err(Fault::System { errno: libc::ENOENT | libc::ENOTDIR, .. }) => return Ok(()),
        Err(fault) => return Err(fault),
    };
    sweep::remove(parent.as_fd(), &name).doing("remove a path", || format!("unlink({})", shown(path)))
}

/// Places an entry.
pub(super) fn place(room: &mut Room, placement: &Placement<'_>) -> Result<(), Fault> {
    let doing = "place an entry";
    let path = placement.path;
    if path.iter().all(|byte| *byte == b'/') {
        return root(room, placement);
    }
    let (parent, name) = find(room, path)?;
    let call = |call: &str| format!("{call}({})", shown(path));
    let there = statat(&parent, &name[..], AtFlags::SYMLINK_NOFOLLOW).ok();
    let kind = there.as_ref().map(|stat| FileType::from_raw_mode(stat.st_mode));
    let keeps = match placement.what {
        Placed::Existing => true,
        Placed::Directory => kind == Some(FileType::Directory),
        _ => false,
    };
    if !keeps && there.is_some() {
        sweep::remove(parent.as_fd(), &name).doing(doing, || call("unlink"))?;
    }
    let mode = Mode::from_raw_mode(0o644);
    let made = match placement.what {
        Placed::Existing if there.is_none() => Err(Errno::NOENT),
        _ if keeps => Ok(()),
        Placed::Existing => Ok(()),
        Placed::Directory => mkdirat(&parent, &name[..], Mode::from_raw_mode(0o755)),
        Placed::Fifo => mknodat(&parent, &name[..], FileType::Fifo, mode, 0),
        Placed::Symlink(target) => symlinkat(&target[..], &parent, &name[..]),
        Placed::File(bytes) => write(&parent, &name, bytes),
        Placed::Device { char, major, minor } => {
            let device = Device { char: *char, major: *major, minor: *minor };
            let files = &mut room.supervisor.files;
            files.make_device(parent.as_fd(), &name, device, 0o644).map(drop)
        }
    };
    made.doing(doing, || call("create"))?;
    let fd = open_entry(parent.as_fd(), &name).doing(doing, || call("open"))?;
    let link = matches!(placement.what, Placed::Symlink(_)) || (keeps && kind == Some(FileType::Symlink));
    dress(room, &fd, placement, link)?;
    let mtime = placement.mtime.or((!keeps).then_some((room.epoch, 0)));
    if let Some((seconds, nanoseconds)) = mtime {
        let times = times(seconds, nanoseconds);
        utimensat(&parent, &name[..], &times, AtFlags::SYMLINK_NOFOLLOW).doing(doing, || call("utimensat"))?;
    }
    Ok(())
}

fn times(seconds: i64, nanoseconds: u32) -> Timestamps {
    Timestamps {
        last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
        last_modification: Timespec { tv_sec: seconds, tv_nsec: i64::from(nanoseconds) },
    }
}

fn root(room: &mut Room, placement: &Placement<'_>) -> Result<(), Fault> {
    if !matches!(placement.what, Placed::Existing | Placed::Directory) {
        let reason = "the root is a directory".into();
        return Err(Fault::Path { path: placement.path.to_vec(), reason });
    }
    let fd = room.tree()?.try_clone().doing("place an entry", || "dup".into())?;
    dress(room, &fd, placement, false)?;
    if let Some((seconds, nanoseconds)) = placement.mtime {
        utimensat(&fd, ".", &times(seconds, nanoseconds), AtFlags::empty())
            .doing("place an entry", || "utimensat(/)".into())?;
    }
    Ok(())
}

/// Owner, mode and attributes, in the order in which none undoes another: chown clears
/// set-id bits and capabilities, an access list changes the mode.
fn dress(room: &mut Room, fd: &OwnedFd, placement: &Placement<'_>, link: bool) -> Result<(), Fault> {
    let doing = "place an entry";
    let call = |call: &str| format!("{call}({})", shown(placement.path));
    let mut mode = placement.mode;
    if mode.is_none() && !link {
        // chown would take these from an entry that keeps its mode.
        let facts = room.supervisor.files.facts(fd.as_fd()).doing(doing, || call("statx"))?;
        mode = (facts.mode & 0o6000 != 0).then_some(facts.mode & 0o7777);
    }
    let files = &mut room.supervisor.files;
    files
        .own(fd.as_fd(), Some(placement.uid), Some(placement.gid))
        .doing(doing, || format!("chown({}, {}, {})", shown(placement.path), placement.uid, placement.gid))?;
    if let Some(mode) = mode.filter(|_| !link) {
        set_mode(fd.as_fd(), mode).doing(doing, || call("chmod"))?;
    }
    for (name, value) in placement.xattrs {
        // Overlay's own, and those in which we keep what the kernel cannot, mean something here.
        let ours = name.starts_with(OVERLAY) || name.starts_with(ledger::PREFIX);
        let known = name == capability::ATTRIBUTE || name.starts_with(b"user.") || acl::kept_as(name).is_some();
        if ours || !known {
            let reason = format!("attribute {} cannot be set in a sandbox", shown(name));
            return Err(Fault::Path { path: placement.path.to_vec(), reason });
        }
        files
            .set_attribute(fd.as_fd(), name, value, XattrFlags::empty())
            .doing(doing, || format!("setxattr({}, {})", shown(placement.path), shown(name)))?;
    }
    Ok(())
}

fn write(parent: &OwnedFd, name: &[u8], bytes: &[u8]) -> Result<(), Errno> {
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let fd = openat(parent, name, flags, Mode::from_raw_mode(0o644))?;
    let mut rest = bytes;
    while !rest.is_empty() {
        let n = rustix::io::write(&fd, rest)?;
        rest = &rest[n..];
    }
    Ok(())
}
