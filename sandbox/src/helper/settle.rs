//! Before lower directories are added: what in the upper would hide their files goes, as
//! dpkg would overwrite it.

use super::fault::Doing;
use crate::error::Fault;
use rustix::fs::{
    AtFlags, Dir, FileType, Mode, OFlags, ResolveFlags, Stat, mknodat, openat, openat2, statat, unlinkat,
};
use rustix::io::Errno;
use std::collections::BTreeSet;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

const DOING: &str = "settle what new layers ship";
const OPAQUE: &str = "user.overlay.opaque";

/// Nested directories followed; deeper than any package ships.
const MAX_DEPTH: usize = 128;

fn directory(parent: BorrowedFd<'_>, name: &[u8]) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat(parent, name, flags, Mode::empty())
}

fn open(path: &Path) -> Result<OwnedFd, Fault> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, Mode::empty()).doing(DOING, || format!("open({})", path.display()))
}

fn kind(stat: &Stat) -> FileType {
    FileType::from_raw_mode(stat.st_mode)
}

/// A deletion: character device 0:0 (kernel's overlayfs document, "whiteouts").
pub(super) fn is_whiteout(stat: &Stat) -> bool {
    kind(stat) == FileType::CharacterDevice && stat.st_rdev == 0
}

struct Settler<'a> {
    keep: BTreeSet<&'a [u8]>,
    /// Lower directories that were there before, to spell out what an opaque one hides.
    before: &'a [PathBuf],
}

/// Settles every lower directory of `after` that is not in `before`.
pub(super) fn settle(upper: &Path, before: &[PathBuf], after: &[PathBuf], keep: &[Vec<u8>]) -> Result<(), Fault> {
    let known: BTreeSet<&PathBuf> = before.iter().collect();
    let strip = |path: &'_ Vec<u8>| path.iter().take_while(|byte| **byte == b'/').count();
    let keep = keep.iter().map(|path| &path[strip(path)..]).collect();
    let settler = Settler { keep, before };
    let top = open(upper)?;
    for lower in after.iter().filter(|lower| !known.contains(lower)) {
        settler.merge(top.as_fd(), open(lower)?.as_fd(), &mut Vec::new(), 0)?;
    }
    Ok(())
}

impl Settler<'_> {
    /// Walks what a lower directory ships, as far as the upper has the same paths.
    fn merge(
        &self,
        upper: BorrowedFd<'_>,
        lower: BorrowedFd<'_>,
        path: &mut Vec<u8>,
        depth: usize,
    ) -> Result<(), Fault> {
        let shown = |path: &[u8]| String::from_utf8_lossy(path).into_owned();
        let entries = Dir::read_from(lower).doing(DOING, || format!("readdir({})", shown(path)))?;
        for entry in entries {
            let entry = entry.doing(DOING, || format!("readdir({})", shown(path)))?;
            let name = entry.file_name().to_bytes();
            if name == b"." || name == b".." {
                continue;
            }
            let Ok(over) = statat(upper, name, AtFlags::SYMLINK_NOFOLLOW) else { continue };
            let length = path.len();
            if !path.is_empty() {
                path.push(b'/');
            }
            path.extend_from_slice(name);
            let ships_directory = match entry.file_type() {
                FileType::Unknown => directory(lower, name).is_ok(),
                other => other == FileType::Directory,
            };
            let over_directory = kind(&over) == FileType::Directory;
            if ships_directory && over_directory {
                if depth < MAX_DEPTH {
                    let call = || format!("open({})", shown(path));
                    let below = directory(upper, name).doing(DOING, call)?;
                    self.spell_out(&below, path)?;
                    let shipped = directory(lower, name).doing(DOING, call)?;
                    self.merge(below.as_fd(), shipped.as_fd(), path, depth + 1)?;
                }
            } else if is_whiteout(&over) || (!ships_directory && !over_directory) {
                // A kept file stays, but what was deleted comes back with its package.
                let kept = self.keep.contains(&path[..]) && !is_whiteout(&over);
                if !kept {
                    unlinkat(upper, name, AtFlags::empty()).doing(DOING, || format!("unlink({})", shown(path)))?;
                }
            }
            path.truncate(length);
        }
        Ok(())
    }

    /// Makes an opaque directory of the upper an ordinary one, with a deletion for each name
    /// it hid, so that what a new layer ships in it can be seen.
    fn spell_out(&self, upper: &OwnedFd, path: &[u8]) -> Result<(), Fault> {
        let mut value = [0u8; 4];
        if rustix::fs::fgetxattr(upper, OPAQUE, &mut value).is_err() {
            return Ok(());
        }
        let relative = Path::new(std::ffi::OsStr::new(""));
        let relative = {
            use std::os::unix::ffi::OsStrExt;
            relative.join(std::ffi::OsStr::from_bytes(path))
        };
        for lower in self.before {
            let Ok(lower) = open(lower) else { continue };
            // A link on the way would lead to the machine's files.
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let inside = ResolveFlags::NO_SYMLINKS | ResolveFlags::BENEATH;
            let Ok(hidden) = openat2(&lower, &relative, flags, Mode::empty(), inside) else { continue };
            let Ok(entries) = Dir::read_from(&hidden) else { continue };
            for entry in entries.flatten() {
                let name = entry.file_name();
                if name.to_bytes() == b"." || name.to_bytes() == b".." {
                    continue;
                }
                match mknodat(upper, name, FileType::CharacterDevice, Mode::empty(), 0) {
                    Ok(()) | Err(Errno::EXIST) => {}
                    other => other.doing(DOING, || "mknod(whiteout)".into())?,
                }
            }
        }
        rustix::fs::fremovexattr(upper, OPAQUE).doing(DOING, || format!("fremovexattr({OPAQUE})"))
    }
}
