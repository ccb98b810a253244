//! The scratch directory and the overlay that is mounted in it.

use super::fault::Doing;
use super::merge::Merged;
use super::{settle, view};
use crate::error::Fault;
use crate::session::{Limits, Session};
use crate::supervisor::Supervisor;
use crate::supervisor::ledger::Entry;
use rustix::fs::{AtFlags, Mode, OFlags, open, openat};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountFlags, UnmountFlags, fsconfig_create, fsconfig_set_flag,
    fsconfig_set_string, fsmount, fsopen, unmount,
};
use std::collections::BTreeSet;
use std::ffi::CString;
use std::fs;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Lower directories in one overlay: the kernel's limit is 500 (`OVL_MAX_STACK`), one is the
/// floor, and each group takes a place.
const MAX_LOWERS: usize = 480;

/// What mount(2) takes as data, for kernels before `lowerdir+` (Linux 6.7).
const PAGE: usize = 4096;

const STACK: &str = "stack the layers";

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
    merged: Merged,
    /// Groups are directories and no overlays, see [`super::merge`].
    merges: bool,
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
pub(super) const PARTS: [&str; 8] = ["upper", "root", "floor", "memory", "links", "work", "groups", "probe"];

impl Room {
    /// Prepares the scratch directory; what an earlier session left in it goes.
    pub(super) fn new(session: &Session, single: bool) -> Result<Room, Fault> {
        let scratch = session.scratch.clone();
        super::sweep::empty(&scratch)?;
        rustix::fs::chmod(&scratch, Mode::from_raw_mode(0o700))
            .doing("prepare the scratch directory", || format!("chmod({})", scratch.display()))?;
        for part in ["root", "floor", "upper", "work", "links", "groups"] {
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
            supervisor: Supervisor::new(single),
            lowers: Vec::new(),
            tree: None,
            generation: 0,
            groups: Vec::new(),
            merged: Merged::default(),
            merges: false,
        };
        if crate::place::carries_upper(&room.scratch.join("probe")).is_err() {
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

    /// Mounts the overlay with these lower directories.
    pub(super) fn stack(&mut self, lowers: &[PathBuf], keep: &[Vec<u8>]) -> Result<(), Fault> {
        let held = self.unmount()?;
        if self.generation > 0 {
            settle::settle(&self.upper, &self.lowers, lowers, keep)?;
        }
        self.generation += 1;
        match self.mount(lowers) {
            // An upper that looks right may be refused all the same.
            Err(Fault::System { .. }) if self.generation == 1 && !self.in_memory => {
                self.move_to_memory()?;
                self.mount(lowers)?;
            }
            other => other?,
        }
        self.lowers = lowers.to_vec();
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let tree = open(&self.root, flags, Mode::empty()).doing(STACK, || format!("open({})", self.root.display()))?;
        for (path, entry) in held {
            let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            if let Ok(fd) = openat(&tree, &path, flags, Mode::empty()) {
                let _ = self.supervisor.files.ledger.write(fd.as_fd(), entry);
            }
        }
        self.tree = Some(tree);
        Ok(())
    }

    /// Unmounts the overlay. Files that only the ledger's table knows are returned by path.
    fn unmount(&mut self) -> Result<Vec<(PathBuf, Entry)>, Fault> {
        let mut held = Vec::new();
        if self.tree.is_some() {
            held = self.held()?;
            self.supervisor.files.ledger.release();
            self.tree = None;
            unmount(&self.root, UnmountFlags::empty()).doing(STACK, || format!("umount2({})", self.root.display()))?;
            self.ungroup()?;
        }
        Ok(held)
    }

    fn ungroup(&mut self) -> Result<(), Fault> {
        for group in self.groups.drain(..) {
            unmount(&group, UnmountFlags::empty()).doing(STACK, || format!("umount2({})", group.display()))?;
        }
        Ok(())
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
        match self.mount_grouped(all.clone(), "") {
            Err(Fault::System { errno, .. }) if errno == libc::EINVAL && !self.groups.is_empty() => {
                self.ungroup()?;
                self.merges = true;
                self.mount_grouped(all, "-merged")
            }
            other => other,
        }
    }

    /// Mounts with a work directory of this ending: one that was refused is marked as used.
    fn mount_grouped(&mut self, lowers: Vec<PathBuf>, ending: &str) -> Result<(), Fault> {
        let lowers = self.group(lowers)?;
        let base = if self.in_memory { self.scratch.join("memory") } else { self.scratch.join("work") };
        let work = base.join(format!("work-{}{ending}", self.generation));
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
            if self.merges {
                groups.push(self.merged.of(&group, &self.scratch.join("groups"))?);
                continue;
            }
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

/// Mounts an overlay: `lowers` bottom first, upper and work if it is to be written.
fn overlay(at: &Path, lowers: &[PathBuf], writable: Option<(&Path, &Path)>, links: &Path) -> Result<(), Fault> {
    match overlay_new(at, lowers, writable) {
        // The parameter `lowerdir+` is not known to this kernel: some say so at once, those before 6.5 take
        // any parameter and refuse when the file system is made.
        Err(Fault::System { errno, .. }) if errno == libc::EINVAL => overlay_old(at, lowers, writable, links),
        other => other,
    }
}

fn overlay_new(at: &Path, lowers: &[PathBuf], writable: Option<(&Path, &Path)>) -> Result<(), Fault> {
    let fs = fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC).doing(STACK, || "fsopen(\"overlay\")".into())?;
    // A value may have 255 bytes, so directories are named through our open files.
    let set = |key: &str, path: &Path| -> Result<(), Fault> {
        use std::os::fd::AsRawFd;
        let call = || format!("fsconfig(\"overlay\", {key}={})", path.display());
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = open(path, flags, Mode::empty()).doing(STACK, call)?;
        let name = format!("/proc/self/fd/{}", directory.as_raw_fd());
        fsconfig_set_string(fs.as_fd(), key, name).doing(STACK, call)
    };
    for lower in lowers.iter().rev() {
        set("lowerdir+", lower)?;
    }
    let mut flags = vec!["userxattr"];
    if let Some((upper, work)) = writable {
        set("upperdir", upper)?;
        set("workdir", work)?;
        flags.push("volatile");
    }
    for flag in flags {
        fsconfig_set_flag(fs.as_fd(), flag).doing(STACK, || format!("fsconfig(\"overlay\", {flag})"))?;
    }
    for key in ["index", "metacopy"] {
        fsconfig_set_string(fs.as_fd(), key, "off").doing(STACK, || format!("fsconfig(\"overlay\", {key}=off)"))?;
    }
    fsconfig_create(fs.as_fd())
        .doing(STACK, || format!("fsconfig(\"overlay\", create) with {} lower directories", lowers.len()))?;
    let attributes = MountAttrFlags::MOUNT_ATTR_NODEV | MountAttrFlags::MOUNT_ATTR_NOATIME;
    let fd = fsmount(fs.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, attributes)
        .doing(STACK, || "fsmount(\"overlay\")".into())?;
    view::attach(&fd, at)
}

/// With mount(2), whose data is one page: directories get short names.
fn overlay_old(at: &Path, lowers: &[PathBuf], writable: Option<(&Path, &Path)>, links: &Path) -> Result<(), Fault> {
    let call = || format!("mount(\"overlay\", {}) with {} lower directories", at.display(), lowers.len());
    for entry in fs::read_dir(links).doing(STACK, call)?.flatten() {
        let _ = fs::remove_file(entry.path());
    }
    let link = |name: &str, target: &Path| rustix::fs::symlink(target, links.join(name)).doing(STACK, call);
    let mut names = Vec::new();
    for (index, lower) in lowers.iter().enumerate().rev() {
        let name = format!("{index:x}");
        link(&name, lower)?;
        names.push(name);
    }
    let mut data = format!("lowerdir={},userxattr,index=off,metacopy=off", names.join(":"));
    if let Some((upper, work)) = writable {
        link("u", upper)?;
        link("w", work)?;
        data.push_str(",upperdir=u,workdir=w,volatile");
    }
    if data.len() >= PAGE {
        return Err(Fault::Path {
            path: at.as_os_str().as_bytes().to_vec(),
            reason: format!("{} layers are too many for a kernel before 6.7", lowers.len()),
        });
    }
    let data = CString::new(data).map_err(|_| Fault::Helper { detail: "NUL in a name".into() })?;
    rustix::process::chdir(links).doing(STACK, call)?;
    let flags = MountFlags::NODEV | MountFlags::NOATIME;
    let mounted = rustix::mount::mount("overlay", at, "overlay", flags, data.as_c_str());
    rustix::process::chdir("/").doing(STACK, call)?;
    mounted.doing(STACK, call)
}

/// Whether a path of a directory exists, without following a link at its end.
pub(super) fn exists(directory: &OwnedFd, path: &Path) -> bool {
    rustix::fs::statat(directory, path, AtFlags::SYMLINK_NOFOLLOW).is_ok()
}
