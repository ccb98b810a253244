//! What a stack of directories shows, as overlay has it: directories are merged, of everything
//! else the topmost is seen.

use super::assembled::DOING;
use super::capture::entries;
use super::fault::Doing;
use crate::error::Fault;
use rustix::fs::{FileType, Mode, OFlags};
use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::path::PathBuf;

/// One entry, and which layer it is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Shown {
    /// Index of the layer.
    pub(super) layer: usize,
    pub(super) kind: FileType,
    pub(super) mode: u32,
    pub(super) mtime: (i64, u32),
}

/// Entries by path relative to the root, which is the empty path.
pub(super) type Union = BTreeMap<PathBuf, Shown>;

/// Unites layers, the bottom first.
pub(super) fn union(lowers: &[PathBuf]) -> Result<Union, Fault> {
    let mut shown = Union::new();
    for (layer, lower) in lowers.iter().enumerate() {
        let call = || format!("open({})", lower.display());
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let top = rustix::fs::open(lower, flags, Mode::empty()).doing(DOING, call)?;
        let root = rustix::fs::fstat(&top).doing(DOING, call)?;
        // Overlay shows the upper's own root, which is made by us.
        let mode = root.st_mode & !0o7777 | 0o755;
        shown.insert(PathBuf::new(), Shown { mode, ..of(layer, &root) });
        add(&mut shown, layer, &top)?;
    }
    Ok(shown)
}

fn of(layer: usize, stat: &rustix::fs::Stat) -> Shown {
    let mtime = (stat.st_mtime, u32::try_from(stat.st_mtime_nsec).unwrap_or(0));
    Shown { layer, kind: FileType::from_raw_mode(stat.st_mode), mode: stat.st_mode, mtime }
}

fn add(shown: &mut Union, layer: usize, top: &OwnedFd) -> Result<(), Fault> {
    for (path, stat) in entries(top)? {
        let entry = of(layer, &stat);
        let below = shown.insert(path.clone(), entry);
        if entry.kind != FileType::Directory && below.is_some_and(|below| below.kind == FileType::Directory) {
            // A file over a directory hides all that is in it.
            shown.retain(|at, _| *at == path || !at.starts_with(&path));
        }
    }
    Ok(())
}
