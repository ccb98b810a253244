//! What a payload sees: every mount and made-up file, with its reason.
//!
//! Sources on the machine are opened before the root changes, everything is attached after
//! the machine's root is gone, so that no link in an image can lead a mount astray.

use super::fault::Doing;
use crate::error::Fault;
use crate::session::Limits;
use rustix::fs::{CWD, Mode, OFlags, open};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags,
    fsconfig_create, fsconfig_set_string, fsmount, fsopen, mount_remount, move_mount, open_tree, unmount,
};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

/// What is put at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum What {
    /// A private file system in memory with that mode, bounded by the session's limit.
    Memory(u32),
    /// As `Memory`, empty and read-only.
    Nothing,
    /// The pid namespace's own procfs.
    Processes,
    /// A private set of pseudo-terminals.
    Terminals,
    /// The machine's device of the same path; read-only, so that its mode cannot be changed.
    Device,
    /// A symbolic link.
    Link(&'static str),
    /// A directory with that mode.
    Directory(u32),
    /// What is there, made read-only.
    ReadOnly,
    /// A file that is always empty.
    Empty,
}

/// One row of a view.
#[derive(Debug, Clone, Copy)]
pub(super) struct Row {
    pub(super) at: &'static str,
    pub(super) what: What,
    /// Why it is there.
    #[allow(dead_code, reason = "for readers")]
    reason: &'static str,
}

const fn row(at: &'static str, what: What, reason: &'static str) -> Row {
    Row { at, what, reason }
}

/// Both views have these.
#[rustfmt::skip]
pub(super) const COMMON: &[Row] = &[
    row("/proc", What::Processes, "the payload's own processes and nobody else's"),
    row("/proc/sys", What::ReadOnly, "knobs of the machine, writable for its root"),
    row("/proc/sysrq-trigger", What::ReadOnly, "as above"),
    row("/proc/irq", What::ReadOnly, "as above"),
    row("/proc/bus", What::ReadOnly, "as above"),
    row("/proc/fs", What::ReadOnly, "as above"),
    row("/dev", What::Memory(0o755), "no device of the machine but the harmless ones"),
    row("/dev/null", What::Device, "every script's sink"),
    row("/dev/zero", What::Device, "a source of zeros"),
    row("/dev/full", What::Device, "a full disk, for tests of programs"),
    row("/dev/random", What::Device, "randomness is never made up"),
    row("/dev/urandom", What::Device, "randomness is never made up"),
    row("/dev/tty", What::Device, "opened by programs that then find no terminal"),
    row("/dev/pts", What::Terminals, "programs that make a terminal get one of their own"),
    row("/dev/ptmx", What::Link("pts/ptmx"), "as above"),
    row("/dev/shm", What::Memory(0o1777), "POSIX shared memory and semaphores"),
    row("/dev/fd", What::Link("/proc/self/fd"), "shells use it"),
    row("/dev/stdin", What::Link("/proc/self/fd/0"), "shells use it"),
    row("/dev/stdout", What::Link("/proc/self/fd/1"), "shells use it"),
    row("/dev/stderr", What::Link("/proc/self/fd/2"), "shells use it"),
    row("/proc/cmdline", What::Empty, "the machine's kernel command line would end up in boot entries"),
    row("/proc/swaps", What::Empty, "the machine's swap would end up as the image's resume device"),
    row("/proc/partitions", What::Empty, "the machine's disks are not the image's"),
    row("/proc/modules", What::Empty, "the machine's modules are not the image's"),
    row("/proc/kcore", What::Empty, "the machine's memory, readable for its root"),
    row("/proc/keys", What::Empty, "the builder's keys"),
    row("/proc/timer_list", What::Empty, "the machine's timers"),
    row("/sys", What::Nothing, "the machine's hardware is not the image's"),
    row("/tmp", What::Memory(0o1777), "never captured"),
];

/// Only the image's own view has these.
#[rustfmt::skip]
pub(super) const IMAGE_ONLY: &[Row] = &[
    row("/run", What::Memory(0o755), "never captured, and empty at boot"),
    row("/run/lock", What::Directory(0o1777), "as Debian's base-files and systemd have it"),
];

/// Directories of the image that mounts need; an image without them gets empty ones from
/// below its lowest layer, so that nothing leaks into what is captured.
pub(super) const MOUNT_POINTS: [(&str, u32); 5] =
    [("dev", 0o755), ("proc", 0o555), ("run", 0o755), ("sys", 0o555), ("tmp", 0o1777)];

/// Merge links and directories of the machine beside /usr, for the build side's view.
const MERGED: [&str; 6] = ["bin", "sbin", "lib", "lib64", "lib32", "libx32"];

/// The build side's made-up /etc.
#[rustfmt::skip]
const MADE_UP: &[(&str, &str)] = &[
    ("/etc/passwd", "root:x:0:0:root:/:/bin/sh\nnobody:x:65534:65534:nobody:/:/usr/sbin/nologin\n"),
    ("/etc/group", "root:x:0:\nnogroup:x:65534:\n"),
    ("/etc/nsswitch.conf", "passwd: files\ngroup: files\nhosts: files\n"),
    ("/etc/hosts", "127.0.0.1 localhost\n::1 localhost\n"),
];

/// Largest /etc/ld.so.cache taken over, in bytes; real ones have a few hundred KiB.
const MAX_CACHE: u64 = 16 << 20;

/// Which view to make.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum View {
    /// The image's tree is the root.
    Image,
    /// The machine's /usr is the root's, the image's tree is beside it.
    Host { directory: std::path::PathBuf },
}

/// Sources that were opened while the machine's root was there.
struct Sources {
    /// By row: what is to be attached at `at`.
    mounts: Vec<(&'static str, OwnedFd)>,
    tmpfs_bytes: u64,
    processes: u64,
    /// Bytes of all System V segments together.
    segments: u64,
}

fn attributes(flags: &[MountAttrFlags]) -> MountAttrFlags {
    flags.iter().fold(MountAttrFlags::empty(), |all, flag| all | *flag)
}

const QUIET: [MountAttrFlags; 2] = [MountAttrFlags::MOUNT_ATTR_NOSUID, MountAttrFlags::MOUNT_ATTR_NODEV];

fn make(kind: &str, options: &[(&str, String)], flags: MountAttrFlags) -> Result<OwnedFd, Fault> {
    let doing = "make a private file system";
    let fs = fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC).doing(doing, || format!("fsopen(\"{kind}\")"))?;
    for (key, value) in options {
        fsconfig_set_string(fs.as_fd(), *key, value.as_str())
            .doing(doing, || format!("fsconfig(\"{kind}\", {key}={value})"))?;
    }
    fsconfig_create(fs.as_fd()).doing(doing, || format!("fsconfig(\"{kind}\", create)"))?;
    fsmount(fs.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, flags).doing(doing, || format!("fsmount(\"{kind}\")"))
}

/// Bytes of a file system in memory for each entry that it may have, and the least number of
/// those: what is in images has about 20 KiB an entry.
const BYTES_PER_ENTRY: u64 = 8192;
const LEAST_ENTRIES: u64 = 1024;

/// A private file system in memory.
pub(super) fn memory(mode: u32, bytes: u64) -> Result<OwnedFd, Fault> {
    let mut options = vec![("mode", format!("{mode:o}"))];
    if bytes > 0 {
        options.push(("size", bytes.to_string()));
        // Empty files take no bytes, and about a KiB of the kernel's memory each.
        options.push(("nr_inodes", (bytes / BYTES_PER_ENTRY).max(LEAST_ENTRIES).to_string()));
    }
    make("tmpfs", &options, attributes(&QUIET))
}

/// A new procfs for the pid namespace of the calling process. Only possible while a procfs
/// that shows everything is in the mount namespace.
pub(super) fn processes() -> Result<OwnedFd, Fault> {
    make("proc", &[], attributes(&QUIET) | MountAttrFlags::MOUNT_ATTR_NOEXEC)
}

/// A detached copy of a mount or of a part of one, with everything below it.
fn copy(path: &Path) -> Result<OwnedFd, Errno> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_RECURSIVE;
    open_tree(CWD, path, flags)
}

/// A directory as a mount of its own, to be attached.
pub(super) fn copy_of(path: &Path) -> Result<OwnedFd, Fault> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    open_tree(CWD, path, flags).doing("make a mount", || format!("open_tree({})", path.display()))
}

fn restrict(fd: &OwnedFd, flags: MountAttrFlags, at: &str) -> Result<(), Fault> {
    crate::sys::restrict_mount(fd.as_fd(), flags.bits().into())
        .doing("restrict a mount", || format!("mount_setattr({at}, {flags:?})"))
}

/// Attaches a detached mount.
pub(super) fn attach(fd: &OwnedFd, at: &Path) -> Result<(), Fault> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
    move_mount(fd.as_fd(), "", CWD, at, flags).doing("attach a mount", || format!("move_mount(_, {})", at.display()))
}

fn read_only() -> MountAttrFlags {
    attributes(&QUIET) | MountAttrFlags::MOUNT_ATTR_RDONLY
}

impl Sources {
    fn open(rows: &[Row], limits: &Limits) -> Result<Sources, Fault> {
        let mut mounts = Vec::new();
        for row in rows {
            match row.what {
                What::Processes => mounts.push((row.at, processes()?)),
                What::Device => {
                    // A container may lack one or the other.
                    let Ok(fd) = copy(Path::new(row.at)) else { continue };
                    // Not NODEV: it is what the row is about.
                    let flags = MountAttrFlags::MOUNT_ATTR_RDONLY
                        | MountAttrFlags::MOUNT_ATTR_NOSUID
                        | MountAttrFlags::MOUNT_ATTR_NOEXEC;
                    restrict(&fd, flags, row.at)?;
                    mounts.push((row.at, fd));
                }
                _ => {}
            }
        }
        let segments = if limits.memory > 0 { limits.memory } else { limits.tmpfs_bytes };
        Ok(Sources { mounts, tmpfs_bytes: limits.tmpfs_bytes, processes: limits.processes, segments })
    }

    fn take(&mut self, at: &str) -> Option<OwnedFd> {
        let index = self.mounts.iter().position(|(row, _)| *row == at)?;
        Some(self.mounts.swap_remove(index).1)
    }

    fn put(&mut self, row: &Row) -> Result<(), Fault> {
        let at = Path::new(row.at);
        let call = |call: &str| format!("{call}({})", row.at);
        match row.what {
            What::Memory(mode) => {
                ensure_directory(at)?;
                attach(&memory(mode, self.tmpfs_bytes)?, at)
            }
            What::Nothing => {
                ensure_directory(at)?;
                let fd = memory(0o555, 4096)?;
                restrict(&fd, read_only(), row.at)?;
                attach(&fd, at)
            }
            What::Processes => {
                ensure_directory(at)?;
                if let Some(fd) = self.take(row.at) {
                    attach(&fd, at)?;
                    bound_processes(self.processes);
                    bound_segments(self.segments);
                }
                Ok(())
            }
            What::Terminals => {
                ensure_directory(at)?;
                let options = [("mode", "620".to_owned()), ("ptmxmode", "666".to_owned())];
                let flags = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NOEXEC;
                attach(&make("devpts", &options, flags)?, at)
            }
            What::Device => {
                let Some(fd) = self.take(row.at) else { return Ok(()) };
                let flags = OFlags::CREATE | OFlags::WRONLY | OFlags::CLOEXEC;
                drop(open(at, flags, Mode::from_raw_mode(0o600)).doing("make /dev", || call("open"))?);
                attach(&fd, at)
            }
            What::Link(target) => rustix::fs::symlink(target, at).doing("make /dev", || call("symlink")),
            What::Directory(mode) => {
                ensure_directory(at)?;
                rustix::fs::chmod(at, Mode::from_raw_mode(mode)).doing("make a directory", || call("chmod"))
            }
            What::ReadOnly => match copy(at) {
                Ok(fd) => {
                    restrict(&fd, read_only(), row.at)?;
                    attach(&fd, at)
                }
                Err(_) => Ok(()),
            },
            What::Empty => {
                // Kernels are built with or without these; without one there is nothing to hide.
                if rustix::fs::stat(at).is_err() {
                    return Ok(());
                }
                let fd = copy(Path::new("/dev/null")).doing("hide a file", || call("open_tree"))?;
                attach(&fd, at)
            }
        }
    }
}

fn ensure_directory(at: &Path) -> Result<(), Fault> {
    match rustix::fs::mkdir(at, Mode::from_raw_mode(0o755)) {
        Ok(()) | Err(Errno::EXIST) => Ok(()),
        other => other.doing("make a mount point", || format!("mkdir({})", at.display())),
    }
}

/// Makes `root` the root of this mount namespace, and lets go of the old one.
fn enter(root: &Path) -> Result<(), Fault> {
    let doing = "change the root";
    rustix::process::chdir(root).doing(doing, || format!("chdir({})", root.display()))?;
    rustix::process::pivot_root(".", ".").doing(doing, || "pivot_root(., .)".into())?;
    unmount(".", UnmountFlags::DETACH).doing(doing, || "umount2(., MNT_DETACH)".into())?;
    rustix::process::chdir("/").doing(doing, || "chdir(/)".into())
}

/// Lowest number at which the kernel starts again after `pid_max` (`RESERVED_PIDS`).
const RESERVED_PIDS: u64 = 300;

/// Since Linux 6.14 each pid namespace has a `pid_max` of its own. Before, the knob is the
/// machine's, and real root could turn it.
fn has_own_pid_max() -> bool {
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(str::parse::<u32>);
    let (Some(Ok(major)), Some(Ok(minor))) = (numbers.next(), numbers.next()) else { return false };
    (major, minor) >= (6, 14)
}

/// Bounds the processes of this pid namespace in the kernel: a resource limit does not hold
/// real root.
fn bound_processes(processes: u64) {
    if processes > 0 && has_own_pid_max() {
        let bound = processes.saturating_add(RESERVED_PIDS);
        let _ = std::fs::write("/proc/sys/kernel/pid_max", bound.to_string());
    }
}

/// Bounds the memory in System V segments, which outlive the process that made them and show in
/// none: the knob belongs to this IPC namespace. Kernels that let only the machine's root turn it
/// keep theirs.
fn bound_segments(bytes: u64) {
    if bytes > 0 {
        let pages = bytes / rustix::param::page_size() as u64;
        let _ = std::fs::write("/proc/sys/kernel/shmall", pages.to_string());
    }
}

/// Makes the view in this process, which is the first of its pid and mount namespaces.
/// `root` is where the image's tree is mounted.
pub(super) fn apply(view: &View, root: &Path, limits: &Limits) -> Result<(), Fault> {
    match view {
        View::Image => {
            let rows = [COMMON, IMAGE_ONLY].concat();
            let mut sources = Sources::open(&rows, limits)?;
            enter(root)?;
            rows.iter().try_for_each(|row| sources.put(row))
        }
        View::Host { directory } => host(directory, root, limits),
    }
}

fn file(at: &str, bytes: &[u8]) -> Result<(), Fault> {
    std::fs::write(at, bytes).doing("make up /etc", || format!("write({at})"))
}

/// What a name beside /usr is on the machine.
enum Merged {
    Link(std::path::PathBuf),
    Tree(OwnedFd),
}

fn host(directory: &Path, root: &Path, limits: &Limits) -> Result<(), Fault> {
    let opened =
        |path: &Path| copy(path).doing("show the machine's files", || format!("open_tree({})", path.display()));
    let mut sources = Sources::open(COMMON, limits)?;
    let mut trees = vec![("/usr".to_owned(), opened(Path::new("/usr"))?)];
    trees.push((crate::session::HOST_VIEW_DIRECTORY.to_owned(), opened(directory)?));
    let mut merged = Vec::new();
    for name in MERGED {
        let path = Path::new("/").join(name);
        match std::fs::read_link(&path) {
            Ok(target) => merged.push((path, Merged::Link(target))),
            Err(_) if path.is_dir() => {
                let fd = opened(&path)?;
                merged.push((path, Merged::Tree(fd)));
            }
            Err(_) => {}
        }
    }
    let image = opened(root)?;
    let cache = std::fs::metadata("/etc/ld.so.cache").ok().filter(|file| file.len() < MAX_CACHE);
    let cache = cache.and_then(|_| std::fs::read("/etc/ld.so.cache").ok());
    // Programs such as awk are links through here; only links that lead into /usr are shown.
    let mut alternatives = Vec::new();
    for entry in std::fs::read_dir("/etc/alternatives").into_iter().flatten().flatten() {
        if let Ok(target) = std::fs::read_link(entry.path())
            && target.starts_with("/usr")
        {
            alternatives.push((entry.path(), target));
        }
    }
    attach(&memory(0o755, limits.tmpfs_bytes)?, root)?;
    enter(root)?;
    for name in ["/etc", "/etc/alternatives"] {
        ensure_directory(Path::new(name))?;
    }
    for (at, text) in MADE_UP {
        file(at, text.as_bytes())?;
    }
    if let Some(cache) = cache {
        file("/etc/ld.so.cache", &cache)?;
    }
    for (at, target) in alternatives {
        rustix::fs::symlink(&target, &at).doing("make up /etc", || format!("symlink({})", at.display()))?;
    }
    for (at, what) in merged {
        match what {
            Merged::Link(target) => rustix::fs::symlink(&target, &at)
                .doing("show the machine's files", || format!("symlink({})", at.display()))?,
            Merged::Tree(fd) => trees.push((at.display().to_string(), fd)),
        }
    }
    for (at, fd) in &trees {
        restrict(fd, read_only(), at)?;
        ensure_directory(Path::new(at))?;
        attach(fd, Path::new(at))?;
    }
    let at = Path::new(crate::session::HOST_VIEW_IMAGE);
    ensure_directory(at)?;
    attach(&image, at)?;
    COMMON.iter().try_for_each(|row| sources.put(row))?;
    // What the payload may write is the image and /tmp, nothing else of this root.
    let flags = MountFlags::BIND | MountFlags::RDONLY | MountFlags::NOSUID | MountFlags::NODEV;
    mount_remount("/", flags, c"").doing("make the root read-only", || "mount(/, MS_REMOUNT)".into())
}
