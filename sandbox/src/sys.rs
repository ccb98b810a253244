//! The system calls that no safe crate offers. This is the only file with `unsafe` in it.
#![allow(unsafe_code)]

use std::ffi::CString;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

/// Turns a system call's -1 into the error it left.
fn check(result: libc::c_long) -> io::Result<libc::c_long> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// Takes a descriptor that a call just made, or that was inherited under a fixed number.
pub(crate) fn own(fd: RawFd) -> OwnedFd {
    // SAFETY: callers pass a number that nothing else in the process closes: it was returned
    // by the kernel a moment ago, or is the helper's fd 0, which std never closes.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

/// Which side of a fork this is.
pub(crate) enum Fork {
    Child,
    Parent { pid: i32, pidfd: OwnedFd },
}

/// Forks, into new namespaces if `namespaces` holds `CLONE_NEW*` flags. Only for
/// single-threaded processes: the child goes on with this program's memory.
pub(crate) fn fork(namespaces: libc::c_int) -> io::Result<Fork> {
    let mut pidfd: libc::c_int = -1;
    let flags = (namespaces | libc::CLONE_PIDFD | libc::SIGCHLD) as libc::c_ulong;
    // SAFETY: without CLONE_VM and with a null stack this is fork(2); the pidfd is written
    // to a variable that lives here. The helper has one thread, so no lock is held.
    let pid = check(unsafe {
        libc::syscall(
            libc::SYS_clone,
            flags,
            std::ptr::null_mut::<libc::c_void>(),
            &raw mut pidfd,
            std::ptr::null_mut::<libc::c_int>(),
            0 as libc::c_ulong,
        )
    })?;
    if pid == 0 {
        return Ok(Fork::Child);
    }
    Ok(Fork::Parent { pid: pid as i32, pidfd: own(pidfd) })
}

/// Ends the process at once, without destructors or buffers.
pub(crate) fn exit(code: i32) -> ! {
    // SAFETY: _exit never returns and touches no memory of ours.
    unsafe { libc::_exit(code) }
}

fn pointers(list: &[CString]) -> Vec<*const libc::c_char> {
    list.iter().map(|item| item.as_ptr()).chain([std::ptr::null()]).collect()
}

/// Replaces the program; returns only on failure.
pub(crate) fn exec(path: &CString, argv: &[CString], env: &[CString]) -> io::Error {
    let (argv, env) = (pointers(argv), pointers(env));
    // SAFETY: both vectors end with a null pointer and their strings outlive the call.
    unsafe { libc::execve(path.as_ptr(), argv.as_ptr(), env.as_ptr()) };
    io::Error::last_os_error()
}

/// Replaces the program by the open file; returns only on failure.
pub(crate) fn exec_fd(fd: BorrowedFd<'_>, argv: &[CString]) -> io::Error {
    let argv = pointers(argv);
    let env = pointers(&[]);
    // SAFETY: as for `exec`; the path is an empty C string.
    unsafe {
        libc::syscall(
            libc::SYS_execveat,
            fd.as_raw_fd(),
            c"".as_ptr(),
            argv.as_ptr(),
            env.as_ptr(),
            libc::AT_EMPTY_PATH,
        )
    };
    io::Error::last_os_error()
}

/// Makes `number` a copy of `fd` that survives exec.
pub(crate) fn place_fd(fd: BorrowedFd<'_>, number: RawFd) -> io::Result<()> {
    // SAFETY: dup2 on numbers; what `number` was is closed, which is what callers want of
    // 0, 1 and 2 just before exec.
    check(unsafe { libc::dup2(fd.as_raw_fd(), number) }.into()).map(drop)
}

/// Closes every descriptor from `first` on.
pub(crate) fn close_from(first: u32) -> io::Result<()> {
    // SAFETY: called in a fresh helper or just before exec, where no `OwnedFd` of these
    // numbers is used any more.
    check(unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, 0u32) }).map(drop)
}

/// Lets exec close every descriptor from `first` on.
pub(crate) fn close_from_on_exec(first: u32) -> io::Result<()> {
    // SAFETY: sets a flag on descriptors only.
    let flag = libc::CLOSE_RANGE_CLOEXEC;
    check(unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, flag) }).map(drop)
}

/// Empties the environment. Only for single-threaded processes.
pub(crate) fn clear_environment() -> io::Result<()> {
    // SAFETY: the one thread of the helper holds no pointer into the environment.
    check(unsafe { libc::clearenv() }.into()).map(drop)
}

/// Sets or removes a variable of the environment. Only for single-threaded processes.
pub(crate) fn set_variable(name: &[u8], value: Option<&[u8]>) -> io::Result<()> {
    let name = CString::new(name)?;
    let value = value.map(CString::new).transpose()?;
    // SAFETY: both strings end with a NUL and are copied; the one thread of the helper, or of what
    // it forked, holds no pointer into the environment.
    check(
        match &value {
            Some(value) => unsafe { libc::setenv(name.as_ptr(), value.as_ptr(), 1) },
            None => unsafe { libc::unsetenv(name.as_ptr()) },
        }
        .into(),
    )
    .map(drop)
}

/// Undoes what the Rust runtime and our caller did to signals: nothing ignored or blocked.
pub(crate) fn reset_signals() {
    // SAFETY: default dispositions and an empty mask, in a single-threaded process.
    unsafe {
        for signal in 1..=64 {
            libc::signal(signal, libc::SIG_DFL);
        }
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const set, std::ptr::null_mut());
    }
}

/// Ignores the signals by which people and service managers ask a process to end.
pub(crate) fn ignore_requests_to_end() {
    for signal in [libc::SIGTERM, libc::SIGINT, libc::SIGHUP, libc::SIGQUIT] {
        // SAFETY: no handler runs.
        unsafe { libc::signal(signal, libc::SIG_IGN) };
    }
}

/// `struct mount_attr` of mount_setattr(2).
#[repr(C)]
struct MountAttr {
    attr_set: u64,
    attr_clr: u64,
    propagation: u64,
    userns_fd: u64,
}

/// Adds `MOUNT_ATTR_*` flags to the mount that `fd` is the root of, and to those below it.
pub(crate) fn restrict_mount(fd: BorrowedFd<'_>, attributes: u64) -> io::Result<()> {
    let attr = MountAttr { attr_set: attributes, attr_clr: 0, propagation: 0, userns_fd: 0 };
    // SAFETY: the structure is the kernel's, its size is passed with it.
    check(unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            fd.as_raw_fd(),
            c"".as_ptr(),
            libc::AT_EMPTY_PATH | libc::AT_RECURSIVE,
            &raw const attr,
            size_of::<MountAttr>(),
        )
    })
    .map(drop)
}

/// One instruction of a seccomp program, `struct sock_filter`.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Instruction {
    pub(crate) code: u16,
    pub(crate) jump_true: u8,
    pub(crate) jump_false: u8,
    pub(crate) k: u32,
}

#[repr(C)]
struct Program {
    len: u16,
    filter: *const Instruction,
}

/// Installs a filter on this process and returns its listener.
pub(crate) fn install_filter(program: &[Instruction]) -> io::Result<OwnedFd> {
    let len = u16::try_from(program.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    let program = Program { len, filter: program.as_ptr() };
    // WAIT_KILLABLE_RECV came with Linux 5.19; without it a signal can run a call twice.
    let wanted = libc::SECCOMP_FILTER_FLAG_NEW_LISTENER | libc::SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV;
    let mut last = io::Error::from_raw_os_error(libc::EINVAL);
    for flags in [wanted, libc::SECCOMP_FILTER_FLAG_NEW_LISTENER] {
        // SAFETY: the program and its instructions outlive the call.
        let fd = check(unsafe {
            libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, flags, &raw const program)
        });
        match fd {
            Ok(fd) => return Ok(own(fd as RawFd)),
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => last = error,
            Err(error) => return Err(error),
        }
    }
    Err(last)
}

/// `struct seccomp_notif`: a call that waits for an answer.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Notice {
    pub(crate) id: u64,
    pub(crate) pid: u32,
    pub(crate) flags: u32,
    pub(crate) nr: i32,
    pub(crate) arch: u32,
    pub(crate) instruction: u64,
    pub(crate) args: [u64; 6],
}

/// `struct seccomp_notif_resp`.
#[repr(C)]
struct Response {
    id: u64,
    val: i64,
    error: i32,
    flags: u32,
}

/// `struct seccomp_notif_addfd`.
#[repr(C)]
struct AddFd {
    id: u64,
    flags: u32,
    srcfd: u32,
    newfd: u32,
    newfd_flags: u32,
}

// include/uapi/linux/seccomp.h: _IOC with magic '!' and the sizes of the structures above.
const NOTIF_RECV: libc::c_ulong = 0xC050_2100;
const NOTIF_SEND: libc::c_ulong = 0xC018_2101;
const NOTIF_ID_VALID: libc::c_ulong = 0x4008_2102;
const NOTIF_ADDFD: libc::c_ulong = 0x4018_2103;
const NOTIF_SET_FLAGS: libc::c_ulong = 0x4008_2104;
/// SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP, Linux 6.6.
const SYNC_WAKE_UP: libc::c_ulong = 1;
/// SECCOMP_ADDFD_FLAG_SEND, Linux 5.14.
const ADDFD_SEND: u32 = 2;
/// SECCOMP_USER_NOTIF_FLAG_CONTINUE.
const CONTINUE: u32 = 1;

/// What the supervisor tells the kernel about a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    /// The call returns this value.
    Value(i64),
    /// The call fails with this errno.
    Errno(i32),
    /// The kernel carries the call out itself.
    Continue,
}

/// Asks for wake-ups on the caller's processor, which halves the cost of an answer; older
/// kernels refuse and lose nothing but time.
pub(crate) fn wake_in_place(listener: BorrowedFd<'_>) {
    // SAFETY: the argument is a number.
    unsafe { libc::ioctl(listener.as_raw_fd(), NOTIF_SET_FLAGS, SYNC_WAKE_UP) };
}

/// Receives a waiting call.
pub(crate) fn receive(listener: BorrowedFd<'_>) -> io::Result<Notice> {
    let mut notice = Notice::default();
    // SAFETY: the kernel wants a zeroed structure of this size and fills it.
    check(unsafe { libc::ioctl(listener.as_raw_fd(), NOTIF_RECV, &raw mut notice) }.into())?;
    Ok(notice)
}

/// Answers a call; ENOENT means that the caller is gone.
pub(crate) fn respond(listener: BorrowedFd<'_>, id: u64, answer: Answer) -> io::Result<()> {
    let (val, error, flags) = match answer {
        Answer::Value(value) => (value, 0, 0),
        Answer::Errno(errno) => (0, -errno, 0),
        Answer::Continue => (0, 0, CONTINUE),
    };
    let mut response = Response { id, val, error, flags };
    // SAFETY: the structure is the kernel's and lives across the call.
    check(unsafe { libc::ioctl(listener.as_raw_fd(), NOTIF_SEND, &raw mut response) }.into()).map(drop)
}

/// Whether the call still waits: then what was opened by its pid was its caller's.
pub(crate) fn still_waits(listener: BorrowedFd<'_>, id: u64) -> bool {
    // SAFETY: the kernel reads eight bytes.
    unsafe { libc::ioctl(listener.as_raw_fd(), NOTIF_ID_VALID, &raw const id) == 0 }
}

/// Gives the caller a descriptor as the result of its call.
pub(crate) fn respond_with_fd(
    listener: BorrowedFd<'_>,
    id: u64,
    fd: BorrowedFd<'_>,
    close_on_exec: bool,
) -> io::Result<()> {
    let newfd_flags = if close_on_exec { libc::O_CLOEXEC as u32 } else { 0 };
    let add = AddFd { id, flags: ADDFD_SEND, srcfd: fd.as_raw_fd() as u32, newfd: 0, newfd_flags };
    // SAFETY: the structure is the kernel's and lives across the call.
    check(unsafe { libc::ioctl(listener.as_raw_fd(), NOTIF_ADDFD, &raw const add) }.into()).map(drop)
}

/// Reads another process's memory; returns how many bytes there were.
pub(crate) fn read_memory(pid: u32, address: u64, buffer: &mut [u8]) -> io::Result<usize> {
    let local = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    let remote = libc::iovec { iov_base: address as *mut libc::c_void, iov_len: buffer.len() };
    // SAFETY: the kernel checks the remote range and writes at most `buffer.len()` bytes.
    let n = unsafe { libc::process_vm_readv(pid as libc::pid_t, &raw const local, 1, &raw const remote, 1, 0) };
    check(n as libc::c_long).map(|n| n as usize)
}

/// Writes another process's memory; all or an error.
pub(crate) fn write_memory(pid: u32, address: u64, bytes: &[u8]) -> io::Result<()> {
    if bytes.is_empty() {
        return Ok(());
    }
    let local = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
    let remote = libc::iovec { iov_base: address as *mut libc::c_void, iov_len: bytes.len() };
    // SAFETY: the kernel only reads the local range and checks the remote one.
    let n = unsafe { libc::process_vm_writev(pid as libc::pid_t, &raw const local, 1, &raw const remote, 1, 0) };
    if check(n as libc::c_long)? as usize == bytes.len() {
        Ok(())
    } else {
        Err(io::Error::from_raw_os_error(libc::EFAULT))
    }
}

/// A resource limit of another process, soft and hard (prlimit(2)).
pub(crate) fn limit_of(pid: u32, resource: libc::c_int) -> io::Result<(u64, u64)> {
    let mut old = libc::rlimit64 { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: no new limit is given; the kernel writes one structure.
    check(unsafe {
        libc::syscall(libc::SYS_prlimit64, pid, resource, std::ptr::null::<libc::rlimit64>(), &raw mut old)
    })?;
    Ok((old.rlim_cur, old.rlim_max))
}

/// Changes a resource limit of another process, soft and hard.
pub(crate) fn set_limit_of(pid: u32, resource: libc::c_int, (soft, hard): (u64, u64)) -> io::Result<()> {
    let new = libc::rlimit64 { rlim_cur: soft, rlim_max: hard };
    // SAFETY: the kernel reads one structure and writes none.
    check(unsafe {
        libc::syscall(libc::SYS_prlimit64, pid, resource, &raw const new, std::ptr::null_mut::<libc::rlimit64>())
    })
    .map(drop)
}

/// Size of `struct statx`, include/uapi/linux/stat.h.
pub(crate) const STATX_SIZE: usize = 256;

/// statx(2) of the open file itself, as the bytes of the kernel's structure.
pub(crate) fn statx(fd: BorrowedFd<'_>, flags: i32, mask: u32) -> io::Result<[u8; STATX_SIZE]> {
    let mut buffer = [0u8; STATX_SIZE];
    // SAFETY: the kernel writes one `struct statx`, 256 bytes, to the buffer.
    check(unsafe {
        libc::syscall(
            libc::SYS_statx,
            fd.as_raw_fd(),
            c"".as_ptr(),
            flags | libc::AT_EMPTY_PATH,
            mask,
            buffer.as_mut_ptr(),
        )
    })?;
    Ok(buffer)
}

/// Size of `struct statfs` on interfaces with 64-bit words, include/uapi/asm-generic/statfs.h.
const STATFS_SIZE: usize = 120;

/// statfs(2), as the bytes of the kernel's structure.
pub(crate) fn file_system_of(path: &std::ffi::CStr) -> io::Result<[u8; STATFS_SIZE]> {
    let mut buffer = [0u8; STATFS_SIZE];
    // SAFETY: the kernel writes one `struct statfs`, 120 bytes, to the buffer.
    check(unsafe { libc::syscall(libc::SYS_statfs, path.as_ptr(), buffer.as_mut_ptr()) })?;
    Ok(buffer)
}

/// `LANDLOCK_CREATE_RULESET_VERSION` of include/uapi/linux/landlock.h.
const LANDLOCK_VERSION: u32 = 1;

/// The version of landlock's interface; 0 if there is none.
pub(crate) fn landlock_version() -> i32 {
    // SAFETY: with this flag the kernel wants no structure and returns a number.
    let version = unsafe {
        libc::syscall(libc::SYS_landlock_create_ruleset, std::ptr::null::<libc::c_void>(), 0usize, LANDLOCK_VERSION)
    };
    i32::try_from(version).unwrap_or(0).max(0)
}

/// Sends a signal by number.
pub(crate) fn kill(pid: i32, signal: i32) -> io::Result<()> {
    // SAFETY: kill on numbers; callers have checked whose the pid is.
    check(unsafe { libc::kill(pid, signal) }.into()).map(drop)
}

/// Sends a signal to every process this one may signal; from pid 1 of a namespace that is
/// the whole namespace.
pub(crate) fn kill_all() {
    // SAFETY: kill on numbers. Only called by pid 1 of a pid namespace of ours.
    unsafe { libc::kill(-1, libc::SIGKILL) };
}

/// Closes the descriptors from `first` up to, not including, `end`.
pub(crate) fn close_between(first: u32, end: u32) -> io::Result<()> {
    if first >= end {
        return Ok(());
    }
    // SAFETY: as for `close_from`.
    check(unsafe { libc::syscall(libc::SYS_close_range, first, end - 1, 0u32) }).map(drop)
}

/// Leaves shared namespaces; only for single-threaded processes.
pub(crate) fn unshare(flags: libc::c_int) -> io::Result<()> {
    // SAFETY: no CLONE_FILES or CLONE_FS trickery with other threads: there are none.
    check(unsafe { libc::unshare(flags) }.into()).map(drop)
}

/// Brings the loopback interface of this network namespace up.
pub(crate) fn loopback_up() -> io::Result<()> {
    // SAFETY: creates a descriptor.
    let fd = check(unsafe { libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0) }.into())?;
    let socket = own(fd as RawFd);
    // SAFETY: all bytes zero is a valid value of this plain structure.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(b"lo") {
        *to = *from as libc::c_char;
    }
    request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
    // SAFETY: the kernel reads one `struct ifreq`, which lives across the call.
    check(unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &raw const request) }.into()).map(drop)
}
