//! A view without a single mount, for where none may be made: what a mount would hide is moved
//! aside and moved back, and the payload's root is changed by chroot(2).

use super::fault::Doing;
use super::stack::Room;
use super::sweep;
use super::view::{COMMON, IMAGE_ONLY, MOUNT_POINTS, Row, View, What};
use crate::error::Fault;
use crate::processes;
use rustix::fs::{AtFlags, FileType, Mode, OFlags, mkdirat, mknodat, openat, renameat, symlinkat};
use rustix::io::Errno;
use std::fs;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

const DOING: &str = "make a view without mounts";

/// Files of the machine's /proc that are shown as they are now.
const SHOWN: [&str; 16] = [
    "cpuinfo",
    "devices",
    "filesystems",
    "loadavg",
    "meminfo",
    "stat",
    "sys/fs/nr_open",
    "sys/kernel/cap_last_cap",
    "sys/kernel/ngroups_max",
    "sys/kernel/osrelease",
    "sys/kernel/ostype",
    "sys/kernel/pid_max",
    "sys/kernel/random/boot_id",
    "sys/kernel/random/uuid",
    "uptime",
    "version",
];

/// Files of /proc that are made up.
const MADE_UP: [(&str, &str); 5] = [
    ("mounts", "rootfs / rootfs rw 0 0\n"),
    ("self/mounts", "rootfs / rootfs rw 0 0\n"),
    ("self/mountinfo", "1 1 0:1 / / rw - rootfs rootfs rw\n"),
    ("sys/kernel/hostname", "localhost\n"),
    ("sys/vm/overcommit_memory", "0\n"),
];

/// Devices with their numbers (the kernel's devices.txt).
const DEVICES: [(&str, u32, u32); 6] =
    [("null", 1, 3), ("zero", 1, 5), ("full", 1, 7), ("random", 1, 8), ("urandom", 1, 9), ("tty", 5, 0)];

/// Largest file of /proc that is shown, in bytes.
const MAX_SHOWN: u64 = 1 << 20;

/// A view that was made, to be unmade.
pub(super) struct Bare {
    /// What the payload's root is.
    pub(super) root: PathBuf,
    /// Those of the directories that were moved aside, and the root, that no step had touched before.
    untouched: Vec<PathBuf>,
}

impl Bare {
    /// Makes the view.
    pub(super) fn make(room: &mut Room, view: &View) -> Result<Bare, Fault> {
        if matches!(view, View::Host { .. }) {
            // Copies of all of /usr would do, and take minutes.
            return Err(Fault::System {
                doing: "show the machine's programs to a build-side command".into(),
                call: "mount(/usr)".into(),
                hint: Some(
                    "run it in the image (run_in_chroot: true), or build where user namespaces are allowed".into(),
                ),
                errno: libc::EPERM,
            });
        }
        let mut paths = vec![Path::new("")];
        paths.extend(MOUNT_POINTS.iter().map(|(name, _)| Path::new(*name)));
        let tree = room.tree()?.try_clone().doing(DOING, || "dup".into())?;
        let untouched = match &room.assembled {
            Some(assembled) => assembled.untouched(&tree, &paths)?,
            None => Vec::new(),
        };
        let held = directory(&room.scratch.join("held"))?;
        for (name, _) in MOUNT_POINTS {
            renameat(&tree, name, &held, name).doing(DOING, || format!("rename(/{name})"))?;
        }
        lay(&tree, COMMON)?;
        lay(&tree, IMAGE_ONLY)?;
        Ok(Bare { root: room.root.clone(), untouched })
    }

    /// Puts everything back where it was.
    pub(super) fn unmake(self, room: &mut Room) -> Result<(), Fault> {
        let tree = room.tree()?.try_clone().doing(DOING, || "dup".into())?;
        let held = directory(&room.scratch.join("held"))?;
        for (name, _) in MOUNT_POINTS {
            sweep::remove(tree.as_fd(), name.as_bytes()).doing(DOING, || format!("unlink(/{name})"))?;
            renameat(&held, name, &tree, name).doing(DOING, || format!("rename(/{name})"))?;
        }
        match &mut room.assembled {
            Some(assembled) => assembled.forgive(&tree, &self.untouched),
            None => Ok(()),
        }
    }
}

fn directory(path: &Path) -> Result<OwnedFd, Fault> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, Mode::empty()).doing(DOING, || format!("open({})", path.display()))
}

/// Lays what the rows of a view say into a tree, by plain files and devices.
fn lay(top: &OwnedFd, rows: &[Row]) -> Result<(), Fault> {
    for row in rows {
        let at = Path::new(row.at.trim_start_matches('/'));
        let call = |call: &str| format!("{call}({})", row.at);
        match row.what {
            What::Memory(mode) | What::Directory(mode) => make_directory(top, at, mode)?,
            What::Nothing => make_directory(top, at, 0o555)?,
            What::Processes => processes(top, at)?,
            What::Device => device(top, at)?,
            What::Link(target) => symlinkat(target, top, at).doing(DOING, || call("symlink"))?,
            What::Empty => write(top, at, b"")?,
            // Nothing of the machine is below, and terminals need a mount.
            What::ReadOnly | What::Terminals => {}
        }
    }
    Ok(())
}

fn make_directory(top: &OwnedFd, at: &Path, mode: u32) -> Result<(), Fault> {
    let call = || format!("mkdir(/{})", at.display());
    match mkdirat(top, at, Mode::from_raw_mode(0o700)) {
        Ok(()) | Err(Errno::EXIST) => {}
        other => other.doing(DOING, call)?,
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let made = openat(top, at, flags, Mode::empty()).doing(DOING, call)?;
    rustix::fs::fchmod(&made, Mode::from_raw_mode(mode)).doing(DOING, call)
}

fn write(top: &OwnedFd, at: &Path, bytes: &[u8]) -> Result<(), Fault> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let made =
        openat(top, at, flags, Mode::from_raw_mode(0o444)).doing(DOING, || format!("open(/{})", at.display()))?;
    std::io::Write::write_all(&mut fs::File::from(made), bytes).doing(DOING, || format!("write(/{})", at.display()))
}

/// What of /proc needs no procfs; the rest is answered call by call, see `supervisor::procfs`.
fn processes(top: &OwnedFd, at: &Path) -> Result<(), Fault> {
    make_directory(top, at, 0o755)?;
    for name in ["self", "self/fd", "sys", "sys/fs", "sys/kernel", "sys/kernel/random", "sys/vm"] {
        make_directory(top, &at.join(name), 0o755)?;
    }
    for name in SHOWN {
        use std::io::Read;
        let mut bytes = Vec::new();
        // A container may hide one or the other.
        if let Ok(file) = fs::File::open(Path::new("/proc").join(name))
            && file.take(MAX_SHOWN).read_to_end(&mut bytes).is_ok()
        {
            write(top, &at.join(name), &bytes)?;
        }
    }
    MADE_UP.iter().try_for_each(|(name, text)| write(top, &at.join(name), text.as_bytes()))
}

/// A device of the tree's own. The machine's must not be lent: who has one open changes its mode.
fn device(top: &OwnedFd, at: &Path) -> Result<(), Fault> {
    let name = at.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let Some((_, major, minor)) = DEVICES.iter().find(|(known, ..)| *known == name) else { return Ok(()) };
    let failed = |call: &str, errno: Errno| Fault::System {
        doing: DOING.into(),
        call: format!("{call}(/{})", at.display()),
        hint: Some(
            "this rung makes its own devices: start the container with --cap-add MKNOD, and choose a work \
             directory (--work-dir) on a file system that is not mounted nodev"
                .into(),
        ),
        errno: errno.raw_os_error(),
    };
    mknodat(top, at, FileType::CharacterDevice, Mode::from_raw_mode(0o600), rustix::fs::makedev(*major, *minor))
        .map_err(|errno| failed("mknod", errno))?;
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NOCTTY | OFlags::CLOEXEC;
    match openat(top, at, flags, Mode::empty()) {
        // The controlling terminal, where there is none.
        Err(Errno::NXIO) => {}
        other => other.map(drop).map_err(|errno| failed("open", errno))?,
    }
    rustix::fs::chmodat(top, at, Mode::from_raw_mode(0o666), AtFlags::empty()).map_err(|errno| failed("chmod", errno))
}

/// Kills everything below this process and waits until it is gone: as their reaper it has no
/// child only when none of them is left.
pub(super) fn end_all() {
    use rustix::process::{WaitOptions, wait};
    let me = rustix::process::getpid().as_raw_nonzero().get();
    loop {
        processes::kill_below(me);
        loop {
            match wait(WaitOptions::NOHANG) {
                Ok(Some(_)) | Err(Errno::INTR) => {}
                Ok(None) => break,
                Err(_) => return,
            }
        }
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
}
