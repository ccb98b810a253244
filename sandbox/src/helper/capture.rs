//! Reads what the upper holds, in the image's terms, and leaves plain files behind.

use super::extract::{self, Seen};
use super::fault::Doing;
use super::stack::Room;
use super::sweep;
use crate::capability;
use crate::changes::{Captured, Change, Kind, Meta};
use crate::error::Fault;
use crate::supervisor::acl;
use crate::supervisor::files::{Facts, open_entry};
use crate::supervisor::ledger;
use crate::supervisor::lookup::link_of;
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat, chmod, chown, fstat, openat, statat};
use rustix::io::Errno;
use std::collections::BTreeMap;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

pub(super) const DOING: &str = "capture what changed";
/// Attributes that are overlay's own.
pub(super) const OVERLAY: &[u8] = b"user.overlay.";
const ORIGIN: &str = "user.overlay.origin";
const OPAQUE: &str = "user.overlay.opaque";

/// Largest value and list of attributes (include/uapi/linux/limits.h).
const XATTR_MAX: usize = 65536;

/// A path of the upper, relative to it.
pub(super) type Relative = PathBuf;

pub(super) fn shown(path: &Path) -> String {
    path.display().to_string()
}

/// Every entry of a directory tree, parents first. Paths are opened from the top, one after
/// the other, so that depth costs no stack; a path over `PATH_MAX` is refused.
pub(super) fn entries(top: &OwnedFd) -> Result<Vec<(Relative, Stat)>, Fault> {
    let mut found = Vec::new();
    let mut left = vec![PathBuf::new()];
    while let Some(directory) = left.pop() {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let name = if directory.as_os_str().is_empty() { Path::new(".") } else { &directory };
        let call = || format!("open({})", shown(&directory));
        let fd = openat(top, name, flags, Mode::empty()).doing(DOING, call)?;
        for entry in Dir::read_from(&fd).doing(DOING, call)? {
            let entry = entry.doing(DOING, call)?;
            let name = entry.file_name();
            if name.to_bytes() == b"." || name.to_bytes() == b".." {
                continue;
            }
            let stat = statat(&fd, name, AtFlags::SYMLINK_NOFOLLOW)
                .doing(DOING, || format!("fstatat({})", shown(&directory)))?;
            let path = directory.join(std::ffi::OsStr::from_bytes(name.to_bytes()));
            if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
                left.push(path.clone());
            }
            found.push((path, stat));
        }
    }
    Ok(found)
}

pub(super) fn open_top(path: &Path) -> Result<OwnedFd, Fault> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, Mode::empty()).doing(DOING, || format!("open({})", shown(path)))
}

/// Links, pipes and sockets of the upper: the kinds that can carry no attribute.
pub(super) fn special_files(upper: &Path) -> Result<Vec<Relative>, Fault> {
    let special = |stat: &Stat| {
        let kind = FileType::from_raw_mode(stat.st_mode);
        matches!(kind, FileType::Symlink | FileType::Fifo | FileType::Socket)
    };
    let all = entries(&open_top(upper)?)?;
    Ok(all.into_iter().filter(|(_, stat)| special(stat)).map(|(path, _)| path).collect())
}

/// Captures and normalises the upper; the overlay is unmounted on the way.
pub(super) fn capture(room: &mut Room) -> Result<Captured, Fault> {
    let (top, all) = match &room.assembled {
        Some(assembled) => {
            let tree = room.tree()?.try_clone().doing(DOING, || "dup".into())?;
            let all = extract::changed(assembled, &tree)?;
            (tree, all)
        }
        None => {
            let top = open_top(&room.upper)?;
            let all = extract::upper(&top)?;
            (top, all)
        }
    };
    let assembled = room.assembled.is_some();
    let mut links = BTreeMap::new();
    for stat in all.iter().filter_map(|seen| seen.stat.as_ref()) {
        if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
            *links.entry((stat.st_dev, stat.st_ino)).or_insert(0u32) += 1;
        }
    }
    let mut groups = Groups { links, numbers: BTreeMap::new() };
    let mut changes = Vec::with_capacity(all.len() + 1);
    changes.extend(root(room, &top)?);
    for Seen { path, stat, hides } in &all {
        let bytes = path.as_os_str().as_bytes().to_vec();
        let Some(stat) = stat else {
            changes.push(Change::Removed { path: bytes });
            continue;
        };
        let fd = open_entry(top.as_fd(), &bytes).doing(DOING, || format!("open({})", shown(path)))?;
        let (entry, opaque) = meta(room, path, &fd, stat, &mut groups)?;
        changes.push(Change::Changed { path: bytes, opaque: if assembled { *hides } else { opaque }, entry });
    }
    drop(top);
    room.close()?;
    let top = open_top(if assembled { &room.root } else { &room.upper })?;
    for Seen { path, stat, .. } in all.iter().rev() {
        let done = match stat {
            Some(stat) => plain(&top, path, stat),
            None if assembled => Ok(()),
            None => sweep::remove(top.as_fd(), path.as_os_str().as_bytes()),
        };
        done.doing(DOING, || format!("normalise {}", shown(path)))?;
    }
    let upper = room.scratch.join("upper");
    if assembled {
        extract::move_out(&top, &all, &open_top(&upper)?)?;
    } else if room.in_memory {
        extract::copy_out(&room.upper, &all, &upper)?;
    } else {
        strip(&link_of(top.as_fd())).doing(DOING, || "removexattr(/)".into())?;
        chown(&upper, Some(rustix::fs::Uid::ROOT), Some(rustix::fs::Gid::ROOT)).doing(DOING, || "chown(/)".into())?;
        chmod(&upper, Mode::from_raw_mode(0o755)).doing(DOING, || "chmod(/)".into())?;
    }
    Ok(Captured { upper, changes })
}

/// Hard links by inode, numbered in the order of paths.
struct Groups {
    links: BTreeMap<(u64, u64), u32>,
    numbers: BTreeMap<(u64, u64), u64>,
}

impl Groups {
    fn of(&mut self, stat: &Stat) -> Option<u64> {
        let key = (stat.st_dev, stat.st_ino);
        if self.links.get(&key).is_none_or(|count| *count < 2) {
            return None;
        }
        let next = self.numbers.len() as u64;
        Some(*self.numbers.entry(key).or_insert(next))
    }
}

/// The root is listed only if somebody set something of it.
fn root(room: &Room, top: &OwnedFd) -> Result<Option<Change>, Fault> {
    let stat = fstat(top).doing(DOING, || "fstat(/)".into())?;
    let mut groups = Groups { links: BTreeMap::new(), numbers: BTreeMap::new() };
    let (entry, _) = meta(room, Path::new(""), top, &stat, &mut groups)?;
    let set = (entry.mode, entry.uid, entry.gid) != (0o755, 0, 0) || !entry.xattrs.is_empty();
    Ok(set.then(|| Change::Changed { path: Vec::new(), opaque: false, entry }))
}

fn meta(room: &Room, path: &Path, fd: &OwnedFd, stat: &Stat, groups: &mut Groups) -> Result<(Meta, bool), Fault> {
    let kind = FileType::from_raw_mode(stat.st_mode);
    let call = |call: &str| format!("{call}({})", shown(path));
    let files = &room.supervisor.files;
    let mut facts = Facts { uid: stat.st_uid, gid: stat.st_gid, mode: stat.st_mode, device: None };
    let link = link_of(fd.as_fd());
    let entry = match kind {
        FileType::Symlink | FileType::Fifo | FileType::Socket if !files.ledger.holds_nothing() => room.held_at(path),
        _ => ledger::read_attribute_of(&link).doing(DOING, || call("getxattr"))?,
    };
    if let Some(entry) = entry {
        // With real owners nobody of ours writes one here: a script did.
        if files.single {
            (facts.uid, facts.gid) = entry.owner.unwrap_or((facts.uid, facts.gid));
        }
        facts.device = entry.device;
    }
    let (mut xattrs, opaque, copied_up) = match kind {
        FileType::RegularFile | FileType::Directory => {
            attributes(&link, stat.st_mode).doing(DOING, || call("getxattr"))?
        }
        _ => (Vec::new(), false, false),
    };
    xattrs.sort();
    let kind = match (kind, facts.device) {
        (FileType::RegularFile, Some(device)) => {
            Kind::Device { char: device.char, major: device.major, minor: device.minor }
        }
        (FileType::RegularFile, None) => Kind::File { size: stat.st_size as u64 },
        (FileType::Directory, _) => Kind::Directory,
        (FileType::Symlink, _) => {
            let target = rustix::fs::readlinkat(fd, "", Vec::new()).doing(DOING, || call("readlinkat"))?;
            Kind::Symlink { target: target.into_bytes() }
        }
        (FileType::Fifo, _) => Kind::Fifo,
        (FileType::Socket, _) => Kind::Socket,
        _ => {
            let reason = "a device that no step made".into();
            return Err(Fault::Path { path: path.as_os_str().as_bytes().to_vec(), reason });
        }
    };
    let copied_up = copied_up || room.assembled.as_ref().is_some_and(|assembled| assembled.knows(path));
    let content_unchanged = copied_up && matches!(kind, Kind::File { .. }) && same_below(room, path, stat);
    let meta = Meta {
        kind,
        mode: stat.st_mode & 0o7777,
        uid: facts.uid,
        gid: facts.gid,
        mtime: (stat.st_mtime, u32::try_from(stat.st_mtime_nsec).unwrap_or(0)),
        xattrs,
        hard_link_group: groups.of(stat),
        content_unchanged,
    };
    Ok((meta, opaque))
}

/// Whether the topmost lower directory with that path has a file of that size and time.
fn same_below(room: &Room, path: &Path, stat: &Stat) -> bool {
    let below = room.lowers.iter().rev().find_map(|lower| rustix::fs::lstat(lower.join(path)).ok());
    below.is_some_and(|below| {
        (below.st_size, below.st_mtime, below.st_mtime_nsec) == (stat.st_size, stat.st_mtime, stat.st_mtime_nsec)
            && FileType::from_raw_mode(below.st_mode) == FileType::RegularFile
    })
}

type Attributes = (Vec<(Vec<u8>, Vec<u8>)>, bool, bool);

fn names(link: &str) -> Result<Vec<Vec<u8>>, Errno> {
    let mut list = vec![0u8; XATTR_MAX];
    let len = match rustix::fs::listxattr(link, &mut list) {
        Ok(len) => len,
        Err(Errno::NOTSUP) => 0,
        Err(errno) => return Err(errno),
    };
    let names = list[..len].split(|byte| *byte == 0).filter(|name| !name.is_empty());
    Ok(names.map(<[u8]>::to_vec).collect())
}

fn value(link: &str, name: &[u8]) -> Result<Vec<u8>, Errno> {
    let mut value = vec![0u8; XATTR_MAX];
    let len = rustix::fs::getxattr(link, name, &mut value)?;
    value.truncate(len);
    Ok(value)
}

/// The attributes of the written list; whether the directory is opaque; whether the file
/// was copied up.
fn attributes(link: &str, mode: u32) -> Result<Attributes, Errno> {
    let (mut list, mut opaque, mut copied_up) = (Vec::new(), false, false);
    for name in names(link)? {
        if name.starts_with(OVERLAY) {
            opaque |= name == OPAQUE.as_bytes() && value(link, &name)? == b"y";
            copied_up |= name == ORIGIN.as_bytes();
        } else if name == capability::ATTRIBUTE {
            list.push((name.clone(), capability::to_version_2(&value(link, &name)?)));
        } else if let Some((theirs, _)) =
            acl::NAMES.iter().find(|(theirs, ours)| *theirs == name || ours.as_bytes() == name)
        {
            let mut value = value(link, &name)?;
            if *theirs == acl::ACCESS {
                value = acl::with_mode(&value, mode);
            }
            list.push((theirs.to_vec(), value));
        } else if name.starts_with(b"user.") && !name.starts_with(ledger::PREFIX) {
            list.push((name.clone(), value(link, &name)?));
        }
    }
    Ok((list, opaque, copied_up))
}

/// Removes every attribute that is in the index, or nobody's business, from a plain file.
fn strip(link: &str) -> Result<(), Errno> {
    for name in names(link)? {
        let ours = name.starts_with(OVERLAY)
            || name.starts_with(ledger::PREFIX)
            || name == capability::ATTRIBUTE
            || acl::kept_as(&name).is_some();
        if ours {
            match rustix::fs::removexattr(link, &name[..]) {
                Ok(()) | Err(Errno::NODATA) => {}
                Err(errno) => return Err(errno),
            }
        }
    }
    Ok(())
}

/// Makes an entry a plain file of the calling user's, or removes it if it cannot be one.
fn plain(top: &OwnedFd, path: &Path, stat: &Stat) -> Result<(), Errno> {
    let name = path.as_os_str().as_bytes();
    let kind = FileType::from_raw_mode(stat.st_mode);
    let remove = || sweep::remove(top.as_fd(), name);
    if !matches!(kind, FileType::RegularFile | FileType::Directory | FileType::Symlink) {
        return remove();
    }
    let fd = open_entry(top.as_fd(), name)?;
    let link = link_of(fd.as_fd());
    if kind == FileType::RegularFile && ledger::read_attribute_of(&link)?.is_some_and(|entry| entry.device.is_some()) {
        return remove();
    }
    if (stat.st_uid, stat.st_gid) != (0, 0) {
        let (uid, gid) = (Some(rustix::fs::Uid::ROOT), Some(rustix::fs::Gid::ROOT));
        rustix::fs::chownat(&fd, "", uid, gid, AtFlags::EMPTY_PATH)?;
    }
    if kind == FileType::Symlink {
        return Ok(());
    }
    strip(&link)?;
    let needed = if kind == FileType::Directory { 0o700 } else { 0o600 };
    let mode = stat.st_mode & 0o7777 | needed;
    if mode != stat.st_mode & 0o7777 || (stat.st_uid, stat.st_gid) != (0, 0) {
        chmod(&link, Mode::from_raw_mode(mode))?;
    }
    Ok(())
}
