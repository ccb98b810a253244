//! Where the changed entries of a session lie, the upper directory of an overlay or the tree
//! itself, and how they get from there to where they stay.

use super::assembled::{Assembled, Difference};
use super::capture::{DOING, Relative, entries, open_top, shown};
use super::fault::Doing;
use super::settle;
use super::stack::exists;
use crate::error::Fault;
use rustix::fs::{AtFlags, FileType, Mode, Stat, chmod, mkdirat, renameat, statat};
use rustix::io::Errno;
use std::collections::BTreeMap;
use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// One changed entry.
pub(super) struct Seen {
    pub(super) path: Relative,
    /// `None` if it is gone.
    pub(super) stat: Option<Stat>,
    /// A directory in the place of something of the layers.
    pub(super) hides: bool,
}

fn sorted(mut all: Vec<Seen>) -> Vec<Seen> {
    all.sort_by(|a, b| a.path.as_os_str().as_bytes().cmp(b.path.as_os_str().as_bytes()));
    all
}

/// Everything in an overlay's upper directory.
pub(super) fn upper(top: &OwnedFd) -> Result<Vec<Seen>, Fault> {
    let all = entries(top)?.into_iter().map(|(path, stat)| {
        let gone = settle::is_whiteout(&stat);
        Seen { path, stat: (!gone).then_some(stat), hides: false }
    });
    Ok(sorted(all.collect()))
}

/// What differs from the layers in an assembled tree, with the directories above, as overlay has them.
pub(super) fn changed(assembled: &Assembled, tree: &OwnedFd) -> Result<Vec<Seen>, Fault> {
    let mut found: BTreeMap<PathBuf, Option<bool>> = BTreeMap::new();
    for (path, difference) in assembled.differences(tree)? {
        for above in path.ancestors().skip(1).filter(|above| !above.as_os_str().is_empty()) {
            found.entry(above.to_owned()).or_insert(Some(false));
        }
        let hides = match difference {
            Difference::Removed => None,
            Difference::Changed { hides } => Some(hides),
        };
        found.insert(path, hides);
    }
    let seen = |(path, hides): (PathBuf, Option<bool>)| {
        let stat = hides.map(|_| statat(tree, &path, AtFlags::SYMLINK_NOFOLLOW)).transpose();
        let stat = stat.doing(DOING, || format!("fstatat({})", shown(&path)))?;
        Ok(Seen { path, stat, hides: hides == Some(true) })
    };
    Ok(sorted(found.into_iter().map(seen).collect::<Result<_, Fault>>()?))
}

/// Moves plain files out of an assembled tree.
pub(super) fn move_out(tree: &OwnedFd, all: &[Seen], to: &OwnedFd) -> Result<(), Fault> {
    for Seen { path, stat, .. } in all {
        let Some(stat) = stat else { continue };
        let moved = match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => mkdirat(to, path, Mode::from_raw_mode(stat.st_mode & 0o777 | 0o700)),
            _ => match renameat(tree, path, to, path) {
                // What was no plain file is gone already.
                Err(Errno::NOENT) => Ok(()),
                other => other,
            },
        };
        moved.doing(DOING, || format!("move({})", shown(path)))?;
    }
    Ok(())
}

/// Copies plain files from the tmpfs to where they stay. Hard links are copied as such.
pub(super) fn copy_out(from: &Path, all: &[Seen], to: &Path) -> Result<(), Fault> {
    let source = open_top(from)?;
    let mut linked: BTreeMap<(u64, u64), PathBuf> = BTreeMap::new();
    for Seen { path, stat, .. } in all {
        let Some(stat) = stat else { continue };
        let (here, there) = (from.join(path), to.join(path));
        // What was no plain file is gone already.
        if !exists(&source, path) {
            continue;
        }
        let call = || format!("copy({})", shown(path));
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => fs::create_dir(&there).doing(DOING, call)?,
            FileType::Symlink => {
                let target = fs::read_link(&here).doing(DOING, call)?;
                std::os::unix::fs::symlink(target, &there).doing(DOING, call)?;
                continue;
            }
            _ => {
                if let Some(first) = linked.get(&(stat.st_dev, stat.st_ino)) {
                    fs::hard_link(first, &there).doing(DOING, call)?;
                    continue;
                }
                fs::copy(&here, &there).doing(DOING, call)?;
                if stat.st_nlink > 1 {
                    linked.insert((stat.st_dev, stat.st_ino), there.clone());
                }
            }
        }
        let mode = stat.st_mode & 0o7777 | 0o600;
        let mode = if there.is_dir() { mode | 0o700 } else { mode };
        chmod(&there, Mode::from_raw_mode(mode)).doing(DOING, call)?;
    }
    Ok(())
}
