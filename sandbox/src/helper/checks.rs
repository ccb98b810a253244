//! Tries, one after the other, what a session needs, and says what happened.

use super::fault::Doing;
use super::view;
use crate::error::Fault;
use crate::probe::Check;
use crate::rung::Rung;
use crate::supervisor::calls::Abi;
use crate::supervisor::filter::{self, Scope};
use crate::sys::{self, Fork};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen,
};
use rustix::process::{Pid, WaitOptions, waitpid};
use std::os::fd::AsFd;
use std::path::Path;

/// A check of that name with that outcome.
pub(super) fn check(rung: Rung, name: &str, result: Result<String, Fault>) -> Check {
    let (ok, detail, hint) = match result {
        Ok(detail) => (true, detail, None),
        Err(Fault::System { call, hint, errno, .. }) => {
            (false, format!("{call}: {}", std::io::Error::from_raw_os_error(errno)), hint)
        }
        Err(other) => (false, crate::Error::from(other).to_string(), None),
    };
    Check { rung, name: name.to_owned(), ok, detail, hint }
}

/// Everything beyond the namespaces themselves, which exist when this runs.
pub(super) fn all(rung: Rung) -> Vec<Check> {
    if rung == Rung::Root {
        return vec![
            check(rung, "chroot", in_child(0, change_root)),
            check(rung, "seccomp user notification", in_child(0, || listener(rung))),
            check(rung, "calls of a child are readable", child_memory()),
            check(rung, "capabilities", capabilities()),
            check(rung, "devices", devices()),
        ];
    }
    let namespaces = libc::CLONE_NEWPID | libc::CLONE_NEWNS;
    vec![
        check(rung, "overlay in a user namespace", overlay()),
        check(rung, "procfs in a new pid namespace", in_child(namespaces, processes)),
        check(rung, "seccomp user notification", in_child(namespaces, || listener(rung))),
    ]
}

/// A directory to mount on that is in no file system of the machine: tmpfs over /tmp is only
/// seen by this helper.
fn overlay() -> Result<String, Fault> {
    let base = Path::new("/tmp");
    view::attach(&view::memory(0o700, 1 << 20)?, base)?;
    for name in ["lower", "upper", "work", "merged"] {
        std::fs::create_dir(base.join(name)).doing("prepare", || format!("mkdir({name})"))?;
    }
    let doing = "mount an overlay";
    let fs = fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC).doing(doing, || "fsopen(\"overlay\")".into())?;
    for (key, name) in [("lowerdir", "/tmp/lower"), ("upperdir", "/tmp/upper"), ("workdir", "/tmp/work")] {
        fsconfig_set_string(fs.as_fd(), key, name).doing(doing, || format!("fsconfig(\"overlay\", {key})"))?;
    }
    for flag in ["userxattr", "volatile"] {
        fsconfig_set_flag(fs.as_fd(), flag).doing(doing, || format!("fsconfig(\"overlay\", {flag})"))?;
    }
    fsconfig_create(fs.as_fd()).doing(doing, || "fsconfig(\"overlay\", create)".into())?;
    let fd = fsmount(fs.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty())
        .doing(doing, || "fsmount(\"overlay\")".into())?;
    view::attach(&fd, &base.join("merged"))?;
    let file = base.join("merged/file");
    std::fs::write(&file, b"x").doing(doing, || "write".into())?;
    let flags = rustix::fs::XattrFlags::empty();
    match rustix::fs::setxattr(&file, c"user.image-composer.probe", b"x", flags) {
        Ok(()) => Ok("mounted with userxattr and volatile; attributes work on tmpfs".into()),
        Err(Errno::NOTSUP) => Ok("mounted; tmpfs has no user attributes before Linux 6.6".into()),
        other => other.doing(doing, || "setxattr".into()).map(|()| String::new()),
    }
}

fn processes() -> Result<String, Fault> {
    view::processes().map(|_| "a private /proc can be mounted".into())
}

fn change_root() -> Result<String, Fault> {
    rustix::process::chroot("/").doing("change the root", || "chroot(/)".into())?;
    Ok("the root can be changed".into())
}

/// What the supervisor reads: a path lies in its caller's memory.
fn child_memory() -> Result<String, Fault> {
    static WORD: [u8; 4] = *b"here";
    let doing = "read a child's memory";
    let (read, write) = rustix::pipe::pipe().doing(doing, || "pipe".into())?;
    match sys::fork(0).doing(doing, || "fork".into())? {
        Fork::Child => {
            drop(write);
            // Until the other end is closed.
            let _ = rustix::io::read(&read, &mut [0u8; 1]);
            sys::exit(0);
        }
        Fork::Parent { pid, .. } => {
            let mut word = [0u8; 4];
            let answer = sys::read_memory(pid as u32, WORD.as_ptr() as u64, &mut word);
            drop((read, write));
            if let Some(pid) = Pid::from_raw(pid) {
                let _ = waitpid(Some(pid), WaitOptions::empty());
            }
            answer.doing(doing, || "process_vm_readv".into())?;
            Ok("a supervisor can answer for it".into())
        }
    }
}

/// In a user namespace nobody makes devices, whatever the capabilities say.
fn devices() -> Result<String, Fault> {
    let name = format!(".image-composer-{}", rustix::process::getpid().as_raw_pid());
    for directory in ["/tmp", "/var/tmp", "/dev/shm", "/run"] {
        let probe = Path::new(directory).join(&name);
        let mode = rustix::fs::Mode::from_raw_mode(0o600);
        let device = rustix::fs::makedev(1, 3);
        match rustix::fs::mknodat(rustix::fs::CWD, &probe, rustix::fs::FileType::CharacterDevice, mode, device) {
            Ok(()) => {
                let _ = std::fs::remove_file(&probe);
                return Ok("null can be made".into());
            }
            Err(Errno::PERM) => {
                return Err(Fault::System {
                    doing: "make a device".into(),
                    call: format!("mknod({}, c 1 3)", probe.display()),
                    hint: Some("start the container with --cap-add MKNOD; in a user namespace it never works".into()),
                    errno: libc::EPERM,
                });
            }
            // Read-only, or not there.
            Err(_) => {}
        }
    }
    Ok("no place to try".into())
}

fn capabilities() -> Result<String, Fault> {
    use caps::Capability;
    let wanted =
        [Capability::CAP_SETFCAP, Capability::CAP_SETPCAP, Capability::CAP_DAC_OVERRIDE, Capability::CAP_FOWNER];
    let has = |capability: &Capability| caps::has_cap(None, caps::CapSet::Effective, *capability).unwrap_or(false);
    match wanted.iter().find(|capability| !has(capability)) {
        Some(missing) => Err(Fault::System {
            doing: "set file capabilities".into(),
            call: format!("capget without {missing}"),
            hint: Some(format!(
                "start the container with --cap-add {}",
                missing.to_string().trim_start_matches("CAP_")
            )),
            errno: libc::EPERM,
        }),
        None => Ok("those of a container's default set are there".into()),
    }
}

fn listener(rung: Rung) -> Result<String, Fault> {
    let (single, bare) = (rung != Rung::Userns, rung == Rung::Root);
    let program = filter::program(Abi::NATIVE, Scope { single, devices: false, bare });
    if bare {
        rustix::thread::set_no_new_privs(true).doing("filter system calls", || "prctl(PR_SET_NO_NEW_PRIVS)".into())?;
    }
    let fd = sys::install_filter(&program)
        .doing("filter system calls", || "seccomp(SET_MODE_FILTER, NEW_LISTENER)".into())?;
    drop(fd);
    Ok(format!("{} instructions installed", program.len()))
}

/// Runs a check in a child, in these new namespaces.
fn in_child(namespaces: libc::c_int, body: impl Fn() -> Result<String, Fault>) -> Result<String, Fault> {
    use crate::wire::{Wire, decode};
    let doing = "start a process in new namespaces";
    let (read, write) = rustix::pipe::pipe().doing(doing, || "pipe".into())?;
    match sys::fork(namespaces).doing(doing, || "clone(CLONE_NEWPID | CLONE_NEWNS)".into())? {
        Fork::Child => {
            let mut bytes = Vec::new();
            match body() {
                Ok(detail) => {
                    bytes.push(0);
                    detail.put(&mut bytes);
                }
                Err(fault) => {
                    bytes.push(1);
                    fault.put(&mut bytes);
                }
            }
            let _ = rustix::io::write(&write, &bytes);
            sys::exit(0);
        }
        Fork::Parent { pid, .. } => {
            drop(write);
            let mut bytes = vec![0u8; 65536];
            let len = rustix::io::read(&read, &mut bytes).doing(doing, || "read".into())?;
            if let Some(pid) = Pid::from_raw(pid) {
                let _ = waitpid(Some(pid), WaitOptions::empty());
            }
            let nonsense = |_| Fault::Helper { detail: "the check was killed".into() };
            match bytes[..len].split_first() {
                Some((0, rest)) => decode(rest).map_err(nonsense),
                Some((_, rest)) => Err(decode(rest).map_err(nonsense)?),
                None => Err(Fault::Helper { detail: "the check was killed".into() }),
            }
        }
    }
}
