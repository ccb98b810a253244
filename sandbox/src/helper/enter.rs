//! The helper's way into its namespaces.
//!
//! It ends by executing itself again through a read-only mount: a payload can make the
//! kernel execute /proc/self/exe of ours and then write to the file it got (the way of
//! CVE-2019-5736); a mount that cannot be written closes it.

use super::fault::Doing;
use crate::error::Fault;
use crate::message::{Control, Order, Report};
use crate::rung::Rung;
use crate::sys;
use rustix::fs::{CWD, MemfdFlags, SealFlags};
use rustix::mount::{MountAttrFlags, MountPropagationFlags, OpenTreeFlags, mount_change, open_tree};
use rustix::thread::UnshareFlags;
use std::ffi::CString;
use std::fs;
use std::os::fd::{AsFd, OwnedFd};

const DOING: &str = "enter the sandbox";

/// Enters a user namespace with its id maps, and the others.
pub(super) fn enter(rung: Rung, control: &Control) -> Result<(), Fault> {
    if rung == Rung::Root {
        // A signal to the program's whole group must leave somebody to end the payload: this
        // process does, once the program is gone.
        let _ = rustix::process::setsid();
        // Whatever the payload's first process leaves behind comes to this one.
        let me = Some(rustix::process::getpid());
        return rustix::process::set_child_subreaper(me).doing(DOING, || "prctl(PR_SET_CHILD_SUBREAPER)".into());
    }
    let (uid, gid) = (rustix::process::geteuid(), rustix::process::getegid());
    unshare(UnshareFlags::NEWUSER, "CLONE_NEWUSER")?;
    match rung {
        Rung::Userns => {
            super::pump::report(control, &Report::NeedMaps)?;
            match control.receive::<Order>() {
                Ok(Order::Mapped) => {}
                _ => return Err(Fault::Cancelled),
            }
        }
        _ => {
            write("/proc/self/setgroups", "deny")?;
            write("/proc/self/uid_map", &format!("0 {} 1", uid.as_raw()))?;
            write("/proc/self/gid_map", &format!("0 {} 1", gid.as_raw()))?;
        }
    }
    let rest = UnshareFlags::NEWNS | UnshareFlags::NEWNET | UnshareFlags::NEWIPC | UnshareFlags::NEWUTS;
    unshare(rest, "CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS")?;
    let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    mount_change("/", private).doing(DOING, || "mount(/, MS_REC | MS_PRIVATE)".into())?;
    // Programs that look for any active interface at all find one (postfix's newaliases).
    sys::loopback_up().doing(DOING, || "ioctl(SIOCSIFFLAGS, lo)".into())?;
    rustix::system::sethostname(b"localhost").doing(DOING, || "sethostname(localhost)".into())
}

fn unshare(flags: UnshareFlags, names: &str) -> Result<(), Fault> {
    // The helper has one thread and shares nothing with another process.
    sys::unshare(flags.bits() as i32).doing(DOING, || format!("unshare({names})"))
}

fn write(path: &str, text: &str) -> Result<(), Fault> {
    fs::write(path, text).doing(DOING, || format!("write({path}, \"{text}\")"))
}

/// Executes this program again from a file that nobody can write. Returns only on failure.
pub(super) fn exec_again(argv: &[CString]) -> Fault {
    let mount = read_only_mount();
    let error = match &mount {
        Ok(fd) => sys::exec_fd(fd.as_fd(), argv),
        Err(_) => std::io::Error::from_raw_os_error(libc::EPERM),
    };
    // Some security modules refuse files of detached mounts: a sealed copy serves as well.
    match sealed_copy() {
        Ok(fd) => {
            let error = sys::exec_fd(fd.as_fd(), argv);
            fault(Err(error).doing(DOING, || "execveat(a sealed copy of this program)".into()))
        }
        Err(_) => fault(Err(error).doing(DOING, || "execveat(this program, read-only)".into())),
    }
}

fn fault(result: Result<(), Fault>) -> Fault {
    result.err().unwrap_or(Fault::Cancelled)
}

fn read_only_mount() -> Result<OwnedFd, Fault> {
    // The link itself leads into the mount namespace that we left: by name, then, and only
    // if the file of that name is still the one we run.
    let name = fs::read_link("/proc/self/exe").doing(DOING, || "readlink(/proc/self/exe)".into())?;
    let call = || format!("open_tree({})", name.display());
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let fd = open_tree(CWD, &name, flags).doing(DOING, call)?;
    let same = |a: &rustix::fs::Stat, b: &rustix::fs::Stat| (a.st_dev, a.st_ino) == (b.st_dev, b.st_ino);
    let (ours, found) = (rustix::fs::stat("/proc/self/exe"), rustix::fs::fstat(&fd));
    if !matches!((ours, found), (Ok(ours), Ok(found)) if same(&ours, &found)) {
        return Err(Fault::Helper { detail: "the program was replaced while it ran".into() });
    }
    sys::restrict_mount(fd.as_fd(), MountAttrFlags::MOUNT_ATTR_RDONLY.bits().into())
        .doing(DOING, || "mount_setattr(/proc/self/exe, MOUNT_ATTR_RDONLY)".into())?;
    Ok(fd)
}

fn sealed_copy() -> Result<OwnedFd, std::io::Error> {
    let mut program = fs::File::open("/proc/self/exe")?;
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let mut copy = fs::File::from(rustix::fs::memfd_create("helper", flags)?);
    std::io::copy(&mut program, &mut copy)?;
    let seals = SealFlags::SEAL | SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE;
    rustix::fs::fcntl_add_seals(&copy, seals)?;
    Ok(copy.into())
}
