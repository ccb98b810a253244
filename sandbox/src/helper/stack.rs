//! The scratch directory and the overlay that is mounted in it.

use super::assembled::Assembled;
use super::fault::Doing;
use super::overlay::overlay;
use super::{settle, view};
use crate::error::Fault;
use crate::rung::Rung;
use crate::session::{Limits, Session};
use crate::supervisor::Supervisor;
use crate::supervisor::ledger::Entry;
use rustix::fs::{AtFlags, Mode, OFlags, open, openat};
use rustix::io::Errno;
use rustix::mount::{UnmountFlags, unmount};
use std::collections::BTreeSet;
use std::fs;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Lower directories in one overlay: the kernel's limit is 500 (`OVL_MAX_STACK`), one is the
/// floor, and each group takes a place.
const MAX_LOWERS: usize = 480;

pub(super) const STACK: &str = "stack the layers";

/// The directories of a session and what is mounted on them.
pub(super) struct Room {
    pub(super) scratch: PathBuf,
    /// Where the overlay is mounted.
    pub(super) root: PathBuf,
    /// The overlay's upper directory.
    pub(super) upper: PathBuf,
    /// The upper lies on a tmpfs that ends with the helper.
    pub(super) in_memory: bool,
    pub(super) epoch: i64,
    pub(super) limits: Limits,
    pub(super) supervisor: Supervisor,
    /// Lower directories of the mounted overlay, bottom first.
    pub(super) lowers: Vec<PathBuf>,
    /// The overlay's root, while one is mounted.
    tree: Option<OwnedFd>,
    /// Counts overlays: `volatile` wants a fresh work directory for each.
    generation: u32,
    groups: Vec<PathBuf>,
    /// Set where no overlay can be mounted, or none is wanted.
    pub(super) assembled: Option<Assembled>,
}

fn make_directory(path: &Path, mode: u32) -> Result<(), Fault> {
    let call = || format!("mkdir({})", path.display());
    match rustix::fs::mkdir(path, Mode::from_raw_mode(mode)) {
        Ok(()) => {}
        Err(Errno::EXIST) => {}
        other => other.doing("prepare the scratch directory", call)?,
    }
    rustix::fs::chmod(path, Mode::from_raw_mode(mode)).doing("prepare the scratch directory", call)
}

/// What a scratch directory of ours may hold; `sweep` empties these and nothing else.
pub(super) const PARTS: [&str; 10] =
    ["upper", "root", "floor", "memory", "links", "work", "groups", "probe", "held", "host"];

impl Room {
    /// Prepares the scratch directory; what an earlier session left in it goes.
    pub(super) fn new(session: &Session) -> Result<Room, Fault> {
        let (single, bare) = (session.rung != Rung::Userns, session.rung == Rung::Root);
        let scratch = session.scratch.clone();
        super::sweep::empty(&scratch)?;
        rustix::fs::chmod(&scratch, Mode::from_raw_mode(0o700))
            .doing("prepare the scratch directory", || format!("chmod({})", scratch.display()))?;
        for part in ["root", "floor", "upper", "work", "links", "groups", "held"] {
            make_directory(&scratch.join(part), 0o755)?;
            // A set-gid parent must not hand its group to what the image calls group 0.
            let gid = Some(rustix::fs::Gid::ROOT);
            rustix::fs::chown(scratch.join(part), None, gid)
                .doing("prepare the scratch directory", || format!("chown({part})"))?;
        }
        for (name, mode) in view::MOUNT_POINTS {
            make_directory(&scratch.join("floor").join(name), mode)?;
        }
        let mut room = Room {
            root: scratch.join("root"),
            upper: scratch.join("upper"),
            scratch,
            in_memory: false,
            epoch: session.epoch,
            limits: session.limits.clone(),
            supervisor: Supervisor::new(single, bare),
            lowers: Vec::new(),
            tree: None,
            generation: 0,
            groups: Vec::new(),
            assembled: (bare || session.assemble).then(Assembled::default),
        };
        if room.assembled.is_none() && crate::place::carries_upper(&room.scratch.join("probe")).is_err() {
            room.move_to_memory()?;
        }
        Ok(room)
    }

    /// Puts upper and work on a bounded tmpfs; changed files are copied out at the end.
    fn move_to_memory(&mut self) -> Result<(), Fault> {
        let memory = self.scratch.join("memory");
        make_directory(&memory, 0o700)?;
        view::attach(&view::memory(0o700, self.limits.tmpfs_bytes)?, &memory)?;
        self.upper = memory.join("upper");
        make_directory(&self.upper, 0o755)?;
        self.in_memory = true;
        Ok(())
    }

    /// The root of the mounted overlay.
    pub(super) fn tree(&self) -> Result<&OwnedFd, Fault> {
        self.tree
            .as_ref()
            .ok_or_else(|| Fault::Path { path: b"/".to_vec(), reason: "no step has stacked layers yet".into() })
    }

    /// Makes the tree show these lower directories.
    pub(super) fn stack(&mut self, lowers: &[PathBuf], keep: &[Vec<u8>]) -> Result<(), Fault> {
        if self.assembled.is_some() {
            return self.assemble(lowers, keep);
        }
        let held = self.unmount()?;
        if self.generation > 0 {
            settle::settle(&self.upper, &self.lowers, lowers, keep)?;
        }
        self.generation += 1;
        match self.mount(lowers) {
            // An upper that looks right may be refused all the same, and so may any overlay.
            Err(Fault::System { .. }) if self.generation == 1 => {
                let tried = if self.in_memory { Err(()) } else { self.move_to_memory().map_err(|_| ()) };
                if tried.and_then(|()| self.mount(lowers).map_err(|_| ())).is_err() {
                    self.let_go();
                    (self.upper, self.in_memory) = (self.scratch.join("upper"), false);
                    self.assembled = Some(Assembled::default());
                    return self.assemble(lowers, keep);
                }
            }
            other => other?,
        }
        self.lowers = lowers.to_vec();
        let tree = self.open_root()?;
        for (path, entry) in held {
            let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            if let Ok(fd) = openat(&tree, &path, flags, Mode::empty()) {
                let _ = self.supervisor.files.ledger.write(fd.as_fd(), entry);
            }
        }
        self.tree = Some(tree);
        Ok(())
    }

    fn open_root(&self) -> Result<OwnedFd, Fault> {
        // Not O_PATH: an assembled tree is read and changed through it.
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        open(&self.root, flags, Mode::empty()).doing(STACK, || format!("open({})", self.root.display()))
    }

    /// Without overlay: the tree's own directory takes copies.
    fn assemble(&mut self, lowers: &[PathBuf], keep: &[Vec<u8>]) -> Result<(), Fault> {
        if self.tree.is_none() {
            if !self.supervisor.bare {
                // A view's root has to be a mount.
                view::attach(&view::copy_of(&self.root)?, &self.root)?;
            }
            self.tree = Some(self.open_root()?);
        }
        let mut all = vec![self.scratch.join("floor")];
        all.extend(without_repeats(lowers));
        let strip = |path: &'_ Vec<u8>| path.iter().take_while(|byte| **byte == b'/').count();
        let keep = keep.iter().map(|path| &path[strip(path)..]).collect();
        if let (Some(assembled), Some(tree)) = (&mut self.assembled, &self.tree) {
            assembled.stack(tree, &all, &keep)?;
        }
        self.lowers = lowers.to_vec();
        self.generation += 1;
        Ok(())
    }

    /// Unmounts the overlay. Files that only the ledger's table knows are returned by path.
    fn unmount(&mut self) -> Result<Vec<(PathBuf, Entry)>, Fault> {
        let mut held = Vec::new();
        if self.assembled.is_some() {
            self.supervisor.files.ledger.release();
            if self.tree.take().is_some() && !self.supervisor.bare {
                unmount(&self.root, UnmountFlags::empty())
                    .doing(STACK, || format!("umount2({})", self.root.display()))?;
            }
        } else if self.tree.is_some() {
            held = self.held()?;
            self.supervisor.files.ledger.release();
            self.tree = None;
            unmount(&self.root, UnmountFlags::empty()).doing(STACK, || format!("umount2({})", self.root.display()))?;
            for group in self.groups.drain(..) {
                unmount(&group, UnmountFlags::empty()).doing(STACK, || format!("umount2({})", group.display()))?;
            }
        }
        Ok(held)
    }

    fn held(&self) -> Result<Vec<(PathBuf, Entry)>, Fault> {
        let mut held = Vec::new();
        if self.supervisor.files.ledger.holds_nothing() {
            return Ok(held);
        }
        for path in super::capture::special_files(&self.upper)? {
            if let Some(entry) = self.held_at(&path) {
                held.push((path, entry));
            }
        }
        Ok(held)
    }

    /// What the ledger's table says about a path of the mounted overlay.
    pub(super) fn held_at(&self, path: &Path) -> Option<Entry> {
        let tree = self.tree.as_ref()?;
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = openat(tree, path, flags, Mode::empty()).ok()?;
        self.supervisor.files.ledger.read(fd.as_fd()).ok().flatten()
    }

    fn mount(&mut self, lowers: &[PathBuf]) -> Result<(), Fault> {
        for lower in lowers {
            let metadata = fs::metadata(lower);
            let is_directory = metadata.is_ok_and(|metadata| metadata.is_dir());
            if !is_directory {
                return Err(Fault::Path {
                    path: lower.as_os_str().as_bytes().to_vec(),
                    reason: "a layer must be a directory".into(),
                });
            }
        }
        let mut all = vec![self.scratch.join("floor")];
        all.extend(without_repeats(lowers));
        let lowers = self.group(all)?;
        let base = if self.in_memory { self.scratch.join("memory") } else { self.scratch.join("work") };
        let work = base.join(format!("work-{}", self.generation));
        make_directory(&work, 0o700)?;
        overlay(&self.root, &lowers, Some((&self.upper, &work)), &self.scratch.join("links"))
    }

    /// Joins the lowest directories into read-only overlays of their own while there are
    /// more than one overlay takes. A deletion in one group does not reach into another:
    /// only the lowest layers, those of packages, are grouped, and they have none.
    fn group(&mut self, mut lowers: Vec<PathBuf>) -> Result<Vec<PathBuf>, Fault> {
        let mut groups = Vec::new();
        while lowers.len() + groups.len() > MAX_LOWERS {
            let group: Vec<PathBuf> = lowers.drain(..MAX_LOWERS.min(lowers.len() - 1)).collect();
            let at = self.scratch.join("groups").join(groups.len().to_string());
            make_directory(&at, 0o755)?;
            overlay(&at, &group, None, &self.scratch.join("links"))?;
            self.groups.push(at.clone());
            groups.push(at);
        }
        groups.append(&mut lowers);
        Ok(groups)
    }

    /// Lets go of the tmpfs, once everything was copied out of it.
    pub(super) fn let_go(&self) {
        if self.in_memory {
            let _ = unmount(self.scratch.join("memory"), UnmountFlags::DETACH);
        }
    }

    /// Ends the session's mounts, so that what it leaves is plain files.
    pub(super) fn close(&mut self) -> Result<(), Fault> {
        self.unmount().map(drop)
    }
}

/// Layers that say the same are one directory, and overlay refuses a directory that it has already
/// (ELOOP). The uppermost says again all that those below it say, so it is the one that counts.
fn without_repeats(lowers: &[PathBuf]) -> Vec<PathBuf> {
    let mut seen = BTreeSet::new();
    let mut kept: Vec<PathBuf> = lowers.iter().rev().filter(|lower| seen.insert(*lower)).cloned().collect();
    kept.reverse();
    kept
}

/// Whether a path of a directory exists, without following a link at its end.
pub(super) fn exists(directory: &OwnedFd, path: &Path) -> bool {
    rustix::fs::statat(directory, path, AtFlags::SYMLINK_NOFOLLOW).is_ok()
}
