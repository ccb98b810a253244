//! Removes what sessions leave in a scratch directory, whoever owns it.

use super::fault::Doing;
use crate::error::Fault;
use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, fchmod, openat, statat, unlinkat};
use rustix::io::Errno;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

const DOING: &str = "empty the scratch directory";

/// Nested directories removed one inside the other; a session cannot make deeper ones that
/// its own capture would accept.
const MAX_DEPTH: usize = 2048;

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
        remove(fd.as_fd(), part.as_bytes(), 0).doing(DOING, || format!("unlink({}/{part})", scratch.display()))?;
    }
    Ok(())
}

/// Removes an entry with everything below it; none is no error.
pub(super) fn remove(parent: BorrowedFd<'_>, name: &[u8], depth: usize) -> Result<(), Errno> {
    match unlinkat(parent, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => return Ok(()),
        Err(Errno::ISDIR | Errno::PERM) => {}
        Err(errno) => return Err(errno),
    }
    let stat = statat(parent, name, AtFlags::SYMLINK_NOFOLLOW)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::Directory || depth > MAX_DEPTH {
        return Err(Errno::PERM);
    }
    clear(parent, name, depth)?;
    unlinkat(parent, name, AtFlags::REMOVEDIR)
}

/// Removes everything in a directory.
fn clear(parent: BorrowedFd<'_>, name: &[u8], depth: usize) -> Result<(), Errno> {
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
    for entry in Dir::read_from(&fd)? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name != b"." && name != b".." {
            remove(fd.as_fd(), name, depth + 1)?;
        }
    }
    Ok(())
}

/// Removes one part of a scratch directory.
pub(super) fn remove_part(scratch: &Path, part: &str) -> Result<(), Fault> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let call = || format!("unlink({}/{part})", scratch.display());
    let fd = rustix::fs::open(scratch, flags, Mode::empty()).doing(DOING, call)?;
    remove(fd.as_fd(), part.as_bytes(), 0).doing(DOING, call)
}
