//! Removes what sessions leave in a scratch directory, whoever owns it.

use super::fault::Doing;
use crate::error::Fault;
use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, fchmod, openat, renameat, statat, unlinkat};
use rustix::io::Errno;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

const DOING: &str = "empty the scratch directory";

/// Nested directories removed one inside the other. What lies deeper is moved up first: a payload
/// decides how deep it goes, and each level here costs a descriptor.
const MAX_DEPTH: usize = 256;

/// As [`MAX_DEPTH`], where nothing can be moved: directories of lower layers (EXDEV).
const MAX_FIXED_DEPTH: usize = 2048;

/// Empties what a session made in a scratch directory, and makes the directory if need be.
pub(super) fn empty(scratch: &Path) -> Result<(), Fault> {
    let call = || format!("open({})", scratch.display());
    match rustix::fs::mkdir(scratch, Mode::from_raw_mode(0o700)) {
        Ok(()) | Err(Errno::EXIST) => {}
        other => other.doing(DOING, call)?,
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let fd = rustix::fs::openat(CWD, scratch, flags, Mode::empty()).doing(DOING, call)?;
    for part in super::stack::PARTS {
        remove(fd.as_fd(), part.as_bytes()).doing(DOING, || format!("unlink({}/{part})", scratch.display()))?;
    }
    Ok(())
}

/// Removes an entry with everything below it; none is no error.
pub(super) fn remove(parent: BorrowedFd<'_>, name: &[u8]) -> Result<(), Errno> {
    if unlinked(parent, name)? {
        return Ok(());
    }
    let top = directory(parent, name)?;
    let mut moved = 0;
    loop {
        let before = moved;
        clear(&top, &top, 0, &mut moved)?;
        if moved == before {
            return unlinkat(parent, name, AtFlags::REMOVEDIR);
        }
    }
}

/// Whether the entry was no directory, and is gone.
fn unlinked(parent: BorrowedFd<'_>, name: &[u8]) -> Result<bool, Errno> {
    match unlinkat(parent, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => return Ok(true),
        Err(Errno::ISDIR | Errno::PERM) => {}
        Err(errno) => return Err(errno),
    }
    let stat = statat(parent, name, AtFlags::SYMLINK_NOFOLLOW)?;
    if FileType::from_raw_mode(stat.st_mode) == FileType::Directory { Ok(false) } else { Err(Errno::PERM) }
}

/// A directory that can be read and emptied from now on.
fn directory(parent: BorrowedFd<'_>, name: &[u8]) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let fd = match openat(parent, name, flags, Mode::empty()) {
        // Overlay's own work directory has mode 0.
        Err(Errno::ACCESS) => {
            let mode = Mode::from_raw_mode(0o700);
            rustix::fs::chmodat(parent, name, mode, AtFlags::empty())?;
            openat(parent, name, flags, Mode::empty())?
        }
        other => other?,
    };
    let _ = fchmod(&fd, Mode::from_raw_mode(0o700));
    Ok(fd)
}

/// Removes everything in a directory, but directories that are too deep: those are moved to `top`,
/// and counted.
fn clear(fd: &OwnedFd, top: &OwnedFd, depth: usize, moved: &mut u64) -> Result<(), Errno> {
    for entry in Dir::read_from(fd)? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name == b"." || name == b".." || unlinked(fd.as_fd(), name)? {
            continue;
        }
        let below = directory(fd.as_fd(), name)?;
        if depth >= MAX_DEPTH {
            match lift(fd, name, top, moved) {
                Err(Errno::XDEV) if depth < MAX_FIXED_DEPTH => {}
                Err(errno) => return Err(errno),
                Ok(()) => continue,
            }
        }
        clear(&below, top, depth + 1, moved)?;
        unlinkat(fd, name, AtFlags::REMOVEDIR)?;
    }
    Ok(())
}

/// Moves a directory to the top, under a name that is free there.
fn lift(fd: &OwnedFd, name: &[u8], top: &OwnedFd, moved: &mut u64) -> Result<(), Errno> {
    loop {
        let free = format!("{moved}.too-deep");
        *moved += 1;
        match statat(top, &free, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => return renameat(fd, name, top, &free),
            Err(errno) => return Err(errno),
            Ok(_) => {}
        }
    }
}

/// Removes one part of a scratch directory.
pub(super) fn remove_part(scratch: &Path, part: &str) -> Result<(), Fault> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let call = || format!("unlink({}/{part})", scratch.display());
    let fd = rustix::fs::open(scratch, flags, Mode::empty()).doing(DOING, call)?;
    remove(fd.as_fd(), part.as_bytes()).doing(DOING, call)
}
