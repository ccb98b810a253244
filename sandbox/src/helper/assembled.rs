//! The tree as plain directories, where no overlay can be mounted: layers are copied on top of
//! each other, sharing blocks where the file system can, and what the steps change is found by
//! comparing with what was copied.
//!
//! Never by hard links: a payload would write through them into the store.

use super::fault::Doing;
use super::sweep;
use super::union::{Shown, Union, union};
use crate::error::Fault;
use rustix::fs::{
    AtFlags, CWD, Dir, FileType, Mode, OFlags, StatxFlags, Timespec, Timestamps, UTIME_OMIT, mkdirat, openat, statx,
    symlinkat, utimensat,
};
use rustix::io::Errno;
use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

pub(super) const DOING: &str = "assemble the tree";

/// Magic number of a tmpfs (statfs(2)).
const TMPFS: u64 = 0x0102_1994;

/// Bytes compared in one piece.
const CHUNK: u64 = 1 << 20;

/// What tells a file from another and from itself after a change: the kernel moves a file's
/// change time with everything that is done to it, and nobody can set it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    inode: u64,
    born: (i64, u32),
    changed: (i64, u32),
    modified: (i64, u32),
}

impl Stamp {
    /// Of no file.
    const NONE: Stamp = Stamp { inode: 0, born: (0, 0), changed: (0, 0), modified: (0, 0) };

    fn is_same_file(&self, other: &Stamp) -> bool {
        (self.inode, self.born) == (other.inode, other.born)
    }
}

/// What the tree had when no step had touched it.
#[derive(Debug, Default)]
pub(super) struct Assembled {
    shown: Union,
    stamps: BTreeMap<PathBuf, Stamp>,
    lowers: Vec<PathBuf>,
    /// Bytes that the layers take.
    pub(super) bytes: u64,
}

/// One difference between the tree and its layers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Difference {
    Removed,
    /// The entry is new, or was changed; set for a directory in the place of something of the
    /// layers, which it hides.
    Changed {
        hides: bool,
    },
}

fn look(top: &OwnedFd, path: &Path) -> Result<Option<(Stamp, FileType)>, Fault> {
    let wanted = StatxFlags::INO | StatxFlags::CTIME | StatxFlags::MTIME | StatxFlags::BTIME | StatxFlags::TYPE;
    let name = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    match statx(top, name, AtFlags::SYMLINK_NOFOLLOW, wanted) {
        Ok(found) => {
            let born = (found.stx_btime.tv_sec, found.stx_btime.tv_nsec);
            let changed = (found.stx_ctime.tv_sec, found.stx_ctime.tv_nsec);
            let modified = (found.stx_mtime.tv_sec, found.stx_mtime.tv_nsec);
            Ok(Some((
                Stamp { inode: found.stx_ino, born, changed, modified },
                FileType::from_raw_mode(found.stx_mode.into()),
            )))
        }
        Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
        Err(errno) => Err(errno).doing(DOING, || format!("statx({})", path.display())),
    }
}

/// Everything in the tree as it is now; the root is the empty path.
type Now = BTreeMap<PathBuf, (Stamp, FileType)>;

fn walk(top: &OwnedFd) -> Result<Now, Fault> {
    let mut found = Now::new();
    let mut left = vec![PathBuf::new()];
    if let Some(root) = look(top, Path::new(""))? {
        found.insert(PathBuf::new(), root);
    }
    while let Some(directory) = left.pop() {
        let name = if directory.as_os_str().is_empty() { Path::new(".") } else { &directory };
        let call = || format!("open({})", directory.display());
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = openat(top, name, flags, Mode::empty()).doing(DOING, call)?;
        for entry in Dir::read_from(&fd).doing(DOING, call)? {
            let entry = entry.doing(DOING, call)?;
            let name = std::ffi::OsStr::from_bytes(entry.file_name().to_bytes());
            if name == "." || name == ".." {
                continue;
            }
            let Some(seen) = look(&fd, Path::new(name))? else { continue };
            let path = directory.join(name);
            if seen.1 == FileType::Directory {
                left.push(path.clone());
            }
            found.insert(path, seen);
        }
    }
    Ok(found)
}

impl Assembled {
    /// What differs, by path; without the directories in which only something below differs.
    pub(super) fn differences(&self, top: &OwnedFd) -> Result<BTreeMap<PathBuf, Difference>, Fault> {
        let mut found = self.compare(top, &walk(top)?)?;
        // The root is reported by its metadata.
        found.remove(Path::new(""));
        Ok(found)
    }

    /// Whether a file that looks untouched has other bytes than its layer: on a file system in memory a
    /// write through a mapping moves no time.
    fn is_written(&self, top: &OwnedFd, path: &Path) -> Result<bool, Fault> {
        let Some(lower) = self.shown.get(path).and_then(|shown| self.lowers.get(shown.layer)) else { return Ok(false) };
        let call = || format!("read({})", path.display());
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let now = openat(top, path, flags, Mode::empty()).doing(DOING, call)?;
        let before = std::fs::File::open(lower.join(path)).doing(DOING, call)?;
        is_different(now.into(), before).doing(DOING, call)
    }

    fn compare(&self, top: &OwnedFd, now: &Now) -> Result<BTreeMap<PathBuf, Difference>, Fault> {
        let in_memory = rustix::fs::fstatfs(top).is_ok_and(|stat| stat.f_type as u64 == TMPFS);
        let mut found = BTreeMap::new();
        let mut replaced: BTreeSet<&Path> = BTreeSet::new();
        for (path, (stamp, kind)) in now {
            let before = self.stamps.get(path);
            if before == Some(stamp) {
                if in_memory && *kind == FileType::RegularFile && self.is_written(top, path)? {
                    found.insert(path.clone(), Difference::Changed { hides: false });
                }
                continue;
            }
            let hides = before.is_some_and(|before| !before.is_same_file(stamp));
            if before.is_some() && (hides || *kind != FileType::Directory) {
                replaced.insert(path);
            }
            found.insert(path.clone(), Difference::Changed { hides: hides && *kind == FileType::Directory });
        }
        for path in self.stamps.keys().filter(|path| !now.contains_key(*path)) {
            // Below something that took a directory's place, and below what is gone itself, it goes without saying.
            let said = path
                .ancestors()
                .skip(1)
                .any(|above| replaced.contains(above) || matches!(found.get(above), Some(Difference::Removed)));
            if !said {
                found.insert(path.clone(), Difference::Removed);
            }
        }
        Ok(found)
    }

    /// Makes the tree show these layers, the bottom first, and keeps what steps have changed:
    /// files of layers that were not there before take the place of changed ones, unless kept.
    pub(super) fn stack(&mut self, top: &OwnedFd, lowers: &[PathBuf], keep: &BTreeSet<&[u8]>) -> Result<(), Fault> {
        let mut now = walk(top)?;
        let mut changed = if self.lowers.is_empty() { BTreeMap::new() } else { self.compare(top, &now)? };
        let known: BTreeSet<&PathBuf> = self.lowers.iter().collect();
        let added: Vec<bool> = lowers.iter().map(|lower| !known.contains(lower)).collect();
        let next = union(lowers)?;
        // Overlay has its own copy of a directory from the first change below it on, with the times and
        // the mode that it had then.
        let held: BTreeSet<PathBuf> =
            changed.keys().flat_map(|path| path.ancestors().skip(1)).map(Path::to_owned).collect();
        // Directories in which a step's own entry had to make room.
        let mut cleared: BTreeSet<PathBuf> = BTreeSet::new();
        // Entries put here, and directories that something was put into or taken out of.
        let mut put_here: BTreeSet<&Path> = BTreeSet::new();
        let mut stirred: BTreeSet<PathBuf> = BTreeSet::new();
        for (path, shown) in &next {
            let parent = path.parent().unwrap_or(Path::new(""));
            let is_root = path.as_os_str().is_empty();
            if !is_root && !matches!(now.get(parent), Some((_, FileType::Directory))) {
                continue;
            }
            let there = now.get(path).map(|(_, kind)| *kind);
            let is_new = added.get(shown.layer).copied().unwrap_or(false);
            let source = |of: &Shown, all: &[PathBuf]| all.get(of.layer).cloned();
            let same = self.shown.get(path).is_some_and(|was| source(was, &self.lowers) == source(shown, lowers));
            let touched = changed.contains_key(path) || (held.contains(path) && shown.kind == FileType::Directory);
            let keeps = there.is_some() && touched && keep.contains(path.as_os_str().as_bytes());
            let is_directory = there == Some(FileType::Directory);
            let act = match there {
                // As it was, or as a step left it; back with a directory that a step had removed.
                _ if same => there.is_none() && put_here.contains(parent),
                None => is_new || !touched,
                Some(_) if shown.kind == FileType::Directory => !touched,
                Some(_) if is_directory => !touched && !holds_changes(path, &changed),
                Some(_) => (is_new || !touched) && !keeps,
            };
            if !act {
                continue;
            }
            let from = lowers.get(shown.layer).map(|lower| lower.join(path)).unwrap_or_default();
            put(top, path, &from, shown, there).doing(DOING, || format!("copy({})", from.display()))?;
            if changed.remove(path).is_some() {
                cleared.insert(parent.to_owned());
            }
            if is_directory && shown.kind != FileType::Directory {
                now.retain(|at, _| !at.starts_with(path));
            }
            now.insert(path.clone(), (Stamp::NONE, shown.kind));
            if is_directory {
                stirred.insert(path.clone());
            } else {
                put_here.insert(path);
                stirred.insert(parent.to_owned());
            }
        }
        // What no layer has any more, and no step has changed.
        for path in self.shown.keys().rev().filter(|path| !next.contains_key(*path)) {
            let stays = changed.contains_key(path) || holds_changes(path, &changed);
            if !stays && now.remove(path).is_some() {
                sweep::remove(top.as_fd(), path.as_os_str().as_bytes())
                    .doing(DOING, || format!("unlink({})", path.display()))?;
                stirred.insert(path.parent().unwrap_or(Path::new("")).to_owned());
            }
        }
        // A directory in the place of another hides what was there, and not what comes now: from here
        // on it is the same one, changed, and what it hid is gone.
        let opened = |path: &PathBuf, shown: &Shown| {
            if !self.stamps.contains_key(path) {
                // A step made it before a layer brought it: it has hidden nothing.
                return true;
            }
            let is_new = added.get(shown.layer).copied().unwrap_or(false);
            matches!(changed.get(path), Some(Difference::Changed { hides: true }))
                && (is_new || put_here.range(&**path..).take_while(|at| at.starts_with(path)).any(|at| *at != path))
        };
        for path in stirred.iter().filter(|path| changed.contains_key(*path) || held.contains(*path)) {
            // What we put into it is not what moved its time.
            if let Some((stamp, _)) = now.get(path).filter(|_| !cleared.contains(path)) {
                set_time(top, path, stamp.modified).doing(DOING, || format!("utimensat({})", path.display()))?;
            }
        }
        let mut stamps = BTreeMap::new();
        for (path, entry) in next.iter().rev() {
            let is_stirred =
                stirred.contains(path) || (put_here.contains(&**path) && entry.kind == FileType::Directory);
            let stamp = match (changed.contains_key(path), now.get(path)) {
                (true, Some((stamp, _))) if opened(path, entry) => Stamp { changed: Stamp::NONE.changed, ..*stamp },
                (true, _) => self.stamps.get(path).copied().unwrap_or(Stamp::NONE),
                (false, None) => Stamp::NONE,
                (false, Some((stamp, _))) if !is_stirred && *stamp != Stamp::NONE => *stamp,
                (false, Some(_)) => {
                    if is_stirred && !held.contains(path) {
                        set_time(top, path, entry.mtime).doing(DOING, || format!("utimensat({})", path.display()))?;
                    }
                    look(top, path)?.map_or(Stamp::NONE, |(stamp, _)| stamp)
                }
            };
            stamps.insert(path.clone(), stamp);
        }
        (self.shown, self.stamps, self.lowers) = (next, stamps, lowers.to_vec());
        self.bytes = super::measure::bytes_below_at(top.as_fd());
        settle_clock(top);
        Ok(())
    }

    /// Whether the layers have a file at that path.
    pub(super) fn knows(&self, path: &Path) -> bool {
        self.shown.contains_key(path)
    }

    /// Takes entries for untouched that our own hands moved away and back.
    pub(super) fn forgive(&mut self, top: &OwnedFd, paths: &[PathBuf]) -> Result<(), Fault> {
        for path in paths {
            if let Some((now, _)) = look(top, path)?
                && let Some(stamp) = self.stamps.get_mut(path)
                && stamp.is_same_file(&now)
            {
                *stamp = now;
            }
        }
        Ok(())
    }

    /// Those of the paths that no step has touched.
    pub(super) fn untouched(&self, top: &OwnedFd, paths: &[&Path]) -> Result<Vec<PathBuf>, Fault> {
        let mut found = Vec::new();
        for path in paths {
            if look(top, path)?.map(|(stamp, _)| stamp) == self.stamps.get(*path).copied() {
                found.push(path.to_path_buf());
            }
        }
        Ok(found)
    }
}

fn is_different(mut one: std::fs::File, mut other: std::fs::File) -> std::io::Result<bool> {
    use std::io::Read;
    let (mut a, mut b) = (Vec::new(), Vec::new());
    loop {
        a.clear();
        b.clear();
        one.by_ref().take(CHUNK).read_to_end(&mut a)?;
        other.by_ref().take(CHUNK).read_to_end(&mut b)?;
        if a != b || a.is_empty() {
            return Ok(a != b);
        }
    }
}

/// Whether a step changed something below a path.
fn holds_changes(path: &Path, changed: &BTreeMap<PathBuf, Difference>) -> bool {
    changed.range(path.to_path_buf()..).take_while(|(at, _)| at.starts_with(path)).any(|(at, _)| at != path)
}

/// Waits until the file system's clock has moved: a change within the tick of the last copy would not
/// be seen. Most tick every few milliseconds; ext4 with small inodes does every second.
fn settle_clock(top: &OwnedFd) {
    let flags = OFlags::TMPFILE | OFlags::WRONLY | OFlags::CLOEXEC;
    let probe = openat(top, ".", flags, Mode::from_raw_mode(0o600));
    let now = || {
        if let Ok(probe) = &probe
            && rustix::fs::fchmod(probe, Mode::from_raw_mode(0o600)).is_ok()
            && let Ok(stat) = rustix::fs::fstat(probe)
        {
            return (stat.st_ctime, i64::try_from(stat.st_ctime_nsec).unwrap_or(0));
        }
        // No file without a name there: the kernel's own tick.
        let time = rustix::time::clock_gettime(rustix::time::ClockId::RealtimeCoarse);
        (time.tv_sec, time.tv_nsec)
    };
    let begin = now();
    // A clock that is set back meanwhile must not hold us.
    for _ in 0..2000 {
        if now() != begin {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
}

/// Puts a layer's entry at a path of the tree, in the place of what is there.
fn put(top: &OwnedFd, path: &Path, from: &Path, shown: &Shown, there: Option<FileType>) -> Result<(), Errno> {
    let is_root = path.as_os_str().is_empty();
    let name = if is_root { Path::new(".") } else { path };
    let both = shown.kind == FileType::Directory && there == Some(FileType::Directory);
    if there.is_some() && !both {
        sweep::remove(top.as_fd(), path.as_os_str().as_bytes())?;
    }
    match shown.kind {
        FileType::Directory => {
            if !both {
                mkdirat(top, name, Mode::from_raw_mode(0o700))?;
            }
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let made = openat(top, name, flags, Mode::empty())?;
            rustix::fs::fchmod(&made, Mode::from_raw_mode(shown.mode & 0o7777))?;
        }
        FileType::Symlink => {
            let target = rustix::fs::readlinkat(CWD, from, Vec::new())?;
            symlinkat(target, top, name)?;
        }
        FileType::RegularFile => copy_file(top, name, from, shown.mode)?,
        _ => return Ok(()),
    }
    match shown.kind {
        FileType::Directory => Ok(()),
        _ => set_time(top, path, shown.mtime),
    }
}

fn set_time(top: &OwnedFd, path: &Path, (seconds, nanoseconds): (i64, u32)) -> Result<(), Errno> {
    let name = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    let times = Timestamps {
        last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
        last_modification: Timespec { tv_sec: seconds, tv_nsec: nanoseconds.into() },
    };
    match utimensat(top, name, &times, AtFlags::SYMLINK_NOFOLLOW) {
        // Hidden by what a step did.
        Err(Errno::NOENT | Errno::NOTDIR) => Ok(()),
        other => other,
    }
}

fn copy_file(top: &OwnedFd, name: &Path, from: &Path, mode: u32) -> Result<(), Errno> {
    let source = rustix::fs::open(from, OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?;
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let made = openat(top, name, flags, Mode::from_raw_mode(0o600))?;
    if rustix::fs::ioctl_ficlone(&made, &source).is_err() {
        let (mut source, mut made) = (std::fs::File::from(source), std::fs::File::from(made.try_clone().map_err(io)?));
        std::io::copy(&mut source, &mut made).map_err(io)?;
    }
    rustix::fs::fchmod(&made, Mode::from_raw_mode(mode & 0o7777))
}

fn io(error: std::io::Error) -> Errno {
    Errno::from_io_error(&error).unwrap_or(Errno::IO)
}
