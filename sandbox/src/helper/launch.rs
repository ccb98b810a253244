//! Starts a command in namespaces of its own: pid 1 makes the view and reaps, its child
//! becomes the command.

use super::fault::Doing;
use super::view::{self, View};
use super::walls;
use crate::builtin::{self, Builtin, Process};
use crate::error::Fault;
use crate::session::{Command, Limits};
use crate::supervisor::calls::Abi;
use crate::supervisor::filter::{self, Scope};
use crate::sys::{self, Fork};
use crate::wire::{Wire, decode, wire_enum};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{MemfdFlags, OFlags, SealFlags};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, SocketFlags, SocketType,
};
use rustix::process::{Pid, Resource, Rlimit, Signal, WaitOptions, WaitStatus, setrlimit, wait};
use std::ffi::CString;
use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

/// Exit code of our own code in the new namespaces when it has said why.
const SAID_WHY: i32 = 125;

/// Exit code of a builtin that panicked, that of any program of Rust's.
const PANICKED: i32 = 101;

/// Exit code of a shell for a command that cannot be started (POSIX, Shell Command Language, 2.8.2).
const NOT_STARTED: i32 = 127;

/// Open files a command may have: what most systems give a service.
const OPEN_FILES: u64 = 1024;
const OPEN_FILES_MAX: u64 = 524_288;

/// How often pid 1 reaps orphans while the command runs.
const REAP: Timespec = Timespec { tv_sec: 0, tv_nsec: 200_000_000 };

/// What the new processes say to the helper.
#[derive(Debug)]
pub(super) enum Word {
    /// The filter is in place; its listener comes with the message, if calls are asked about.
    Listener,
    /// The command ended, and what it left behind is about to.
    Ending,
    /// The command ended: exit code, or negative signal number.
    Ended { code: i32 },
    /// Our own code failed.
    Failed(Fault),
}

wire_enum!(Word { 0 => Listener, 1 => Ended { code }, 2 => Failed(fault), 3 => Ending });

/// What to start.
pub(super) struct Plan<'a> {
    pub(super) view: View,
    pub(super) root: &'a Path,
    pub(super) command: &'a Command,
    pub(super) limits: &'a Limits,
    pub(super) scope: Scope,
    /// The control group that the command joins.
    pub(super) group: Option<&'a Path>,
}

/// A started command.
pub(super) struct Running {
    pub(super) pid: i32,
    pub(super) pidfd: OwnedFd,
    pub(super) channel: OwnedFd,
    pub(super) out: OwnedFd,
    pub(super) err: OwnedFd,
}

/// Receives a word and what comes with it; `None` if the other side is gone.
pub(super) fn hear(channel: &OwnedFd) -> Result<Option<(Word, Option<OwnedFd>)>, Fault> {
    let mut bytes = vec![0u8; 65536];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let mut slices = [IoSliceMut::new(&mut bytes)];
    let flags = RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT;
    let received = match rustix::net::recvmsg(channel, &mut slices, &mut ancillary, flags) {
        Err(Errno::AGAIN | Errno::INTR) => return Ok(None),
        Err(Errno::CONNRESET) => return Ok(None),
        other => other.doing("hear from the sandbox", || "recvmsg".into())?,
    };
    let mut fd = None;
    for message in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(mut fds) = message {
            fd = fds.next();
        }
    }
    if received.bytes == 0 {
        return Ok(None);
    }
    let word = decode(&bytes[..received.bytes])
        .map_err(|_| Fault::Helper { detail: "the sandbox's first process spoke nonsense".into() })?;
    Ok(Some((word, fd)))
}

fn say(channel: BorrowedFd<'_>, word: &Word, fd: Option<BorrowedFd<'_>>) -> Result<(), Errno> {
    let mut bytes = Vec::new();
    word.put(&mut bytes);
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    let fds: Vec<_> = fd.into_iter().collect();
    if !fds.is_empty() {
        ancillary.push(SendAncillaryMessage::ScmRights(&fds));
    }
    let slices = [IoSlice::new(&bytes)];
    rustix::net::sendmsg(channel, &slices, &mut ancillary, SendFlags::NOSIGNAL).map(drop)
}

/// Standard input: the bytes, sealed so that the command cannot change them.
fn input(bytes: &[u8]) -> Result<OwnedFd, Fault> {
    let doing = "prepare standard input";
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let fd = rustix::fs::memfd_create("stdin", flags).doing(doing, || "memfd_create".into())?;
    let mut rest = bytes;
    while !rest.is_empty() {
        let n = rustix::io::write(&fd, rest).doing(doing, || "write".into())?;
        rest = &rest[n..];
    }
    rustix::fs::seek(&fd, rustix::fs::SeekFrom::Start(0)).doing(doing, || "lseek".into())?;
    let seals = SealFlags::SEAL | SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE;
    rustix::fs::fcntl_add_seals(&fd, seals).doing(doing, || "fcntl(F_ADD_SEALS)".into())?;
    Ok(fd)
}

/// Starts the command; it is under way when this returns.
pub(super) fn start(plan: &Plan<'_>) -> Result<Running, Fault> {
    let doing = "start the command";
    let pipe = || rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).doing(doing, || "pipe2".into());
    let stdin = if plan.command.stdin.is_empty() { None } else { Some(input(&plan.command.stdin)?) };
    let (out, out_end) = pipe()?;
    let (err, err_end) = pipe()?;
    for end in [&out, &err] {
        // A payload may read its own pipe empty between our look at it and our read.
        rustix::fs::fcntl_setfl(end, OFlags::NONBLOCK).doing(doing, || "fcntl(O_NONBLOCK)".into())?;
    }
    let (channel, end) =
        rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
            .doing(doing, || "socketpair".into())?;
    let flags = OFlags::WRONLY | OFlags::CLOEXEC;
    let open = |group: &Path| rustix::fs::open(group.join("cgroup.procs"), flags, rustix::fs::Mode::empty()).ok();
    let group = plan.group.and_then(open);
    let (namespaces, call) = match plan.scope.bare {
        true => (0, "fork"),
        false => (libc::CLONE_NEWPID | libc::CLONE_NEWNS | libc::CLONE_NEWIPC, "clone(CLONE_NEWPID | CLONE_NEWNS)"),
    };
    match sys::fork(namespaces).doing(doing, || call.into())? {
        Fork::Parent { pid, pidfd } => Ok(Running { pid, pidfd, channel, out, err }),
        Fork::Child => {
            let streams = Streams { stdin, out: out_end, err: err_end, group };
            let body = std::panic::AssertUnwindSafe(|| first(plan, &streams, &end));
            let _ = std::panic::catch_unwind(body);
            sys::exit(SAID_WHY)
        }
    }
}

struct Streams {
    stdin: Option<OwnedFd>,
    out: OwnedFd,
    err: OwnedFd,
    /// Where a process joins the control group.
    group: Option<OwnedFd>,
}

/// Pid 1 of the new namespace.
fn first(plan: &Plan<'_>, streams: &Streams, channel: &OwnedFd) {
    let fail = |fault: Fault| {
        let _ = say(channel.as_fd(), &Word::Failed(fault), None);
        sys::exit(SAID_WHY);
    };
    if plan.scope.bare {
        // It must outlive the helper, to end what is below it.
        let me = Some(rustix::process::getpid());
        let call = || "prctl(PR_SET_CHILD_SUBREAPER)".into();
        if let Err(fault) = rustix::process::set_child_subreaper(me).doing("start the command", call) {
            fail(fault);
        }
    } else {
        // The helper has one thread, so this fires when the helper dies and not before.
        let _ = rustix::process::set_parent_process_death_signal(Some(Signal::KILL));
        if let Err(fault) = view::apply(&plan.view, plan.root, plan.limits) {
            fail(fault);
        }
    }
    let child = match sys::fork(0).doing("start the command", || "fork".into()) {
        Ok(Fork::Parent { pid, .. }) => pid,
        Ok(Fork::Child) => {
            if let Err(fault) = second(plan, streams, channel) {
                fail(fault);
            }
            sys::exit(SAID_WHY)
        }
        Err(fault) => {
            fail(fault);
            return;
        }
    };
    let code = wait_for(child, channel, plan.scope.bare);
    // Whatever it left behind ends with it.
    if plan.scope.bare {
        let _ = say(channel.as_fd(), &Word::Ending, None);
        super::bare::end_all();
    } else {
        sys::kill_all();
        while !matches!(wait(WaitOptions::empty()), Err(Errno::CHILD)) {}
    }
    let _ = say(channel.as_fd(), &Word::Ended { code }, None);
    sys::exit(0);
}

/// Reaps until the command ends. Holds no descriptor but the channel meanwhile.
fn wait_for(child: i32, channel: &OwnedFd, bare: bool) -> i32 {
    use std::os::fd::AsRawFd;
    let keep = channel.as_raw_fd() as u32;
    // The numbers below belong to nobody who still runs in this process.
    for number in [0, 1, 2] {
        if let Ok(null) = rustix::fs::open("/dev/null", OFlags::RDWR, rustix::fs::Mode::empty()) {
            let _ = sys::place_fd(null.as_fd(), number);
        }
    }
    let _ = sys::close_from(keep + 1);
    let _ = sys::close_between(3, keep);
    let pidfd = Pid::from_raw(child)
        .and_then(|pid| rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()).ok());
    loop {
        let mut fds = Vec::new();
        if let Some(pidfd) = &pidfd {
            fds.push(PollFd::new(pidfd, PollFlags::IN));
        }
        fds.push(PollFd::new(channel, PollFlags::empty()));
        let _ = poll(&mut fds, Some(&REAP));
        if fds.last().is_some_and(|fd| fd.revents().contains(PollFlags::HUP)) {
            // The helper is gone, and this namespace with it, if it is one.
            if bare {
                super::bare::end_all();
            }
            sys::exit(SAID_WHY);
        }
        while let Ok(Some((pid, status))) = wait(WaitOptions::NOHANG) {
            if pid.as_raw_nonzero().get() == child {
                return code(status);
            }
        }
    }
}

/// Exit code, or negative signal number.
pub(super) fn code(status: WaitStatus) -> i32 {
    status.exit_status().unwrap_or_else(|| -status.terminating_signal().unwrap_or(9))
}

fn c_string(bytes: &[u8]) -> Result<CString, Fault> {
    CString::new(bytes).map_err(|_| Fault::Path {
        path: bytes.to_vec(),
        reason: "a NUL byte ends an argument, a variable or a path".into(),
    })
}

/// The places a program may be, as execvp has them.
fn candidates(command: &Command) -> Result<Vec<CString>, Fault> {
    let Some(program) = command.argv.first().filter(|program| !program.is_empty()) else {
        return Err(Fault::Path { path: Vec::new(), reason: "the command has no program".into() });
    };
    if program.contains(&b'/') {
        return Ok(vec![c_string(program)?]);
    }
    let path = command.env.iter().find(|(name, _)| name == b"PATH").map(|(_, value)| &value[..]);
    let path = path.unwrap_or(b"/usr/sbin:/usr/bin:/sbin:/bin");
    let absolute = path.split(|byte| *byte == b':').filter(|entry| entry.starts_with(b"/"));
    absolute.map(|entry| c_string(&[entry, b"/", program].concat())).collect()
}

/// Becomes the command; returns only on failure.
fn second(plan: &Plan<'_>, streams: &Streams, channel: &OwnedFd) -> Result<(), Fault> {
    let doing = "start the command";
    let command = plan.command;
    let builtin = if command.builtin { Some(function(command)?) } else { None };
    let programs = if command.builtin { Vec::new() } else { candidates(command)? };
    let argv: Vec<CString> = command.argv.iter().map(|arg| c_string(arg)).collect::<Result<_, _>>()?;
    let mut variables = command.env.clone();
    if matches!(plan.view, View::Host { .. }) {
        variables.retain(|(name, _)| name != b"IMAGE_ROOT");
        variables.push((b"IMAGE_ROOT".to_vec(), crate::session::HOST_VIEW_IMAGE.into()));
    }
    let mut env: Vec<CString> = Vec::new();
    for (name, value) in &variables {
        env.push(c_string(&[name, b"=".as_slice(), value].concat())?);
    }
    rustix::process::setsid().doing(doing, || "setsid".into())?;
    if let Some(group) = &streams.group {
        // Where the kernel does not let us, the bounds are watched as they are everywhere else.
        let _ = rustix::io::write(group, b"0");
    }
    // What the helper ignores the command does not.
    sys::reset_signals();
    let open_null = || {
        rustix::fs::open("/dev/null", OFlags::RDONLY | OFlags::CLOEXEC, rustix::fs::Mode::empty())
            .doing(doing, || "open(/dev/null)".into())
    };
    let mut null = open_null()?;
    if plan.scope.bare {
        walls::shut_in(plan.root)?;
        // The tree's own, unless no device could be made in it.
        if let Ok(own) = open_null()
            && rustix::fs::fstat(&own).is_ok_and(|stat| stat.st_rdev != 0)
        {
            null = own;
        }
    }
    if command.terminal {
        // The helper's standard output; see `Helper::start_at`.
        let terminal = rustix::stdio::stdout();
        rustix::process::ioctl_tiocsctty(terminal).doing(doing, || "ioctl(TIOCSCTTY)".into())?;
        for number in [0, 2] {
            sys::place_fd(terminal, number).doing(doing, || format!("dup2(_, {number})"))?;
        }
    } else {
        let stdin = streams.stdin.as_ref().unwrap_or(&null);
        for (number, fd) in [(0, stdin), (1, &streams.out), (2, &streams.err)] {
            sys::place_fd(fd.as_fd(), number).doing(doing, || format!("dup2(_, {number})"))?;
        }
    }
    sys::close_from_on_exec(3).doing(doing, || "close_range(3, CLOEXEC)".into())?;
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
    let cwd = if command.cwd.is_empty() { b"/" } else { &command.cwd[..] };
    rustix::process::chdir(cwd).doing(doing, || format!("chdir({})", String::from_utf8_lossy(cwd)))?;
    limit(plan)?;
    walls::carrier()?;
    if !plan.scope.single || plan.scope.bare {
        rustix::thread::set_thread_groups(&[]).doing(doing, || "setgroups([])".into())?;
    }
    walls::drop_capabilities(plan.scope.bare)?;
    let is_asked = plan.scope.single || plan.scope.bare;
    if builtin.is_some() && is_asked {
        // No file's bits give a payload anything here: the supervisor keeps its ids.
        walls::no_new_privileges()?;
        walls::drop_as_exec(plan.scope.bare)?;
    }
    let program = filter::program(Abi::NATIVE, plan.scope);
    let listener = sys::install_filter(&program).doing("filter system calls", || "seccomp(SET_MODE_FILTER)".into())?;
    say(channel.as_fd(), &Word::Listener, Some(listener.as_fd())).doing(doing, || "sendmsg".into())?;
    if let Some(builtin) = builtin {
        if !is_asked {
            walls::drop_as_exec(plan.scope.bare)?;
        }
        call(builtin, &command.argv, &variables)?;
    }
    let mut last = std::io::Error::from_raw_os_error(libc::ENOENT);
    for program in &programs {
        let error = sys::exec(program, &argv, &env);
        if error.raw_os_error() != Some(libc::ENOENT) {
            last = error;
            break;
        }
    }
    let names: Vec<_> = programs.iter().map(|program| program.to_string_lossy()).collect();
    if command.ok.contains(&NOT_STARTED) {
        // As a shell tells it; whoever accepts any end of the command accepts this one.
        let text = format!("{}: {last}\n", names.join(" or "));
        let _ = rustix::io::write(rustix::stdio::stderr(), text.as_bytes());
        sys::exit(NOT_STARTED);
    }
    Err(last).doing(doing, || format!("execve({})", names.join(" or ")))
}

/// The function that a command names.
fn function(command: &Command) -> Result<Builtin, Fault> {
    let name = command.argv.first().map(Vec::as_slice).unwrap_or_default();
    builtin::find(name).ok_or_else(|| Fault::System {
        doing: "start the command".into(),
        call: format!("builtin({})", String::from_utf8_lossy(name)),
        hint: Some("the program has no such function, or did not hand it to intercept_with".into()),
        errno: libc::ENOENT,
    })
}

/// Calls the function as if it were a program; returns only on failure.
fn call(builtin: Builtin, argv: &[Vec<u8>], variables: &[(Vec<u8>, Vec<u8>)]) -> Result<(), Fault> {
    use std::io::Write;
    let doing = "start the command";
    sys::clear_environment().doing(doing, || "clearenv".into())?;
    for (name, value) in variables {
        let text = || format!("setenv({})", String::from_utf8_lossy(name));
        sys::set_variable(name, Some(value)).doing(doing, text)?;
    }
    // Without exec nothing closes by itself. From here on nobody is told of a failure, and whoever
    // owns one of these numbers must never come to close it: the process ends below.
    if sys::close_from(3).is_err() {
        sys::exit(SAID_WHY);
    }
    let run = std::panic::AssertUnwindSafe(|| (builtin.run)(Process::new(), argv));
    let code = std::panic::catch_unwind(run).unwrap_or(PANICKED);
    let _ = std::io::stdout().flush();
    sys::exit(code)
}

fn limit(plan: &Plan<'_>) -> Result<(), Fault> {
    let mut limits = vec![(Resource::Core, 0, 0), (Resource::Nofile, OPEN_FILES, OPEN_FILES_MAX)];
    if plan.limits.processes > 0 {
        // More than is allowed: whoever watches, or the control group, comes first and says why.
        let processes = plan.limits.processes.saturating_add(plan.limits.processes / 4).saturating_add(16);
        limits.push((Resource::Nproc, processes, processes));
    }
    if plan.limits.upper_bytes > 0 {
        limits.push((Resource::Fsize, plan.limits.upper_bytes, plan.limits.upper_bytes));
    }
    for (resource, soft, hard) in limits {
        // Never above what we have: raising a hard limit is for the machine's root.
        let top = rustix::process::getrlimit(resource).maximum.unwrap_or(u64::MAX);
        let limit = Rlimit { current: Some(soft.min(top)), maximum: Some(hard.min(top)) };
        setrlimit(resource, limit).doing("limit the command", || format!("setrlimit({resource:?})"))?;
    }
    Ok(())
}
