//! Answers the calls that one mapped id cannot make, so that scripts and the captured tree
//! see what they would see as root.
//!
//! Where there are namespaces nothing here keeps a payload in: a call that the supervisor
//! lets the kernel carry out meets the kernel's own checks there. Where there are none,
//! `population` is part of the wall. The supervisor runs outside
//! of the payload's pid namespace and cannot be seen, traced or signalled from it. It reads
//! arguments once, finds files beneath the caller's root, checks that the call still waits
//! after it opened them, and only then acts.

pub(crate) mod acl;
mod attributes;
pub(crate) mod calls;
mod create;
mod credentials;
pub(crate) mod files;
pub(crate) mod filter;
mod identity;
pub(crate) mod ledger;
pub(crate) mod lookup;
mod operation;
mod population;
pub(crate) mod procfs;
mod stat;
pub(crate) mod tasks;

use crate::sys::{self, Answer, Notice};
use calls::Abi;
use credentials::UNCHANGED;
use files::Files;
use lookup::Start;
use operation::{Operation, Where};
use population::Population;
use procfs::Name;
use rustix::fs::OFlags;
use rustix::io::Errno;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use tasks::Tasks;

/// A handler's result: an answer, or that it has been sent already.
enum Outcome {
    Answer(Answer),
    Sent,
}

const CONTINUE: Result<Outcome, Errno> = Ok(Outcome::Answer(Answer::Continue));

fn done() -> Result<Outcome, Errno> {
    value(0)
}

fn value(value: i64) -> Result<Outcome, Errno> {
    Ok(Outcome::Answer(Answer::Value(value)))
}

/// A call that waits, with the listener that it waits at.
#[derive(Clone, Copy)]
struct Waiting<'a> {
    listener: BorrowedFd<'a>,
    id: u64,
    tid: u32,
    abi: Abi,
    args: [u64; 6],
}

impl Waiting<'_> {
    fn arg(&self, index: u8) -> u64 {
        self.args.get(usize::from(index)).copied().unwrap_or(0)
    }

    /// An argument of 32 bits; the kernel ignores the rest too.
    fn word(&self, index: u8) -> u32 {
        self.arg(index) as u32
    }

    /// An id, or "leave it", widened from 16 bits if need be.
    fn id_word(&self, index: u8, short: bool) -> u32 {
        let word = self.word(index);
        match word & 0xffff {
            0xffff if short => UNCHANGED,
            low if short => low,
            _ => word,
        }
    }

    fn path(&self, index: u8) -> Result<Vec<u8>, Errno> {
        tasks::read_path(self.tid, self.arg(index))
    }

    /// Fails if the caller is gone: then its number may be another's, and what was opened
    /// by it another's too.
    fn check(&self) -> Result<(), Errno> {
        if sys::still_waits(self.listener, self.id) { Ok(()) } else { Err(Errno::SRCH) }
    }
}

/// All that the supervisor knows of a session.
#[derive(Debug)]
pub(crate) struct Supervisor {
    pub(crate) files: Files,
    tasks: Tasks,
    /// There are no namespaces: what is outside is told apart here.
    pub(crate) bare: bool,
    pub(crate) population: Population,
    /// Operations by interface and number.
    operations: Vec<(Abi, Vec<Option<Operation>>)>,
}

/// The current directory, in place of a descriptor (`AT_FDCWD`).
const CURRENT: i32 = libc::AT_FDCWD;

impl Supervisor {
    pub(crate) fn new(single: bool, bare: bool) -> Supervisor {
        let operations = Abi::NATIVE
            .iter()
            .map(|abi| {
                let of = |number| calls::operation_of(*abi, number).map(|(operation, _)| operation);
                (*abi, (0..512).map(of).collect())
            })
            .collect();
        let (files, tasks) = (Files::new(single), Tasks::default());
        Supervisor { files, tasks, bare, population: Population::default(), operations }
    }

    /// Forgets the threads of a step that is over.
    pub(crate) fn forget_tasks(&mut self) {
        self.tasks.forget();
    }

    /// Receives one waiting call and answers it. A caller that died meanwhile is no error.
    pub(crate) fn serve(&mut self, listener: BorrowedFd<'_>) -> Result<(), std::io::Error> {
        let notice = match sys::receive(listener) {
            Ok(notice) => notice,
            Err(error) => {
                return match Errno::from_io_error(&error) {
                    Some(Errno::NOENT | Errno::INTR | Errno::AGAIN) => Ok(()),
                    _ => Err(error),
                };
            }
        };
        let answer = match self.decide(listener, &notice) {
            Ok(Outcome::Sent) => return Ok(()),
            Ok(Outcome::Answer(answer)) => answer,
            Err(errno) => Answer::Errno(errno.raw_os_error()),
        };
        match sys::respond(listener, notice.id, answer) {
            Err(error) if Errno::from_io_error(&error) == Some(Errno::NOENT) => Ok(()),
            other => other,
        }
    }

    fn decide(&mut self, listener: BorrowedFd<'_>, notice: &Notice) -> Result<Outcome, Errno> {
        let abi = Abi::from_audit(notice.arch).ok_or(Errno::NOSYS)?;
        let number = usize::try_from(notice.nr).map_err(|_| Errno::NOSYS)?;
        let operation = self
            .operations
            .iter()
            .find(|(listed, _)| *listed == abi)
            .and_then(|(_, list)| list.get(number).copied().flatten())
            .ok_or(Errno::NOSYS)?;
        let call = Waiting { listener, id: notice.id, tid: notice.pid, abi, args: notice.args };
        match operation {
            Operation::Own { place, uid, gid, short } => {
                let (uid, gid) = (call.id_word(uid, short), call.id_word(gid, short));
                self.own(&call, place, uid, gid)
            }
            Operation::Stat { place, out } => self.stat(&call, place, out),
            Operation::Statx { place, flags, mask, out } => {
                self.statx(&call, place, call.word(flags), call.word(mask), out)
            }
            Operation::Node { dir, path, mode, dev } => self.node(&call, dir, path, call.word(mode), call.word(dev)),
            Operation::Mkdir { dir, path, mode } => self.mkdir(&call, dir, path, call.word(mode)),
            Operation::Symlink { target, dir, path } => self.symlink(&call, target, dir, path),
            Operation::Open { dir, path, flags, mode } => {
                let flags =
                    flags.map_or(libc::O_CREAT | libc::O_WRONLY | libc::O_TRUNC, |index| call.word(index) as i32);
                self.open(&call, dir, path, flags, call.word(mode))
            }
            Operation::SetXattr(place) => self.set_attribute(&call, place),
            Operation::GetXattr(place) => self.get_attribute(&call, place),
            Operation::ListXattr(place) => self.list_attributes(&call, place),
            Operation::RemoveXattr(place) => self.remove_attribute(&call, place),
            Operation::Credential { which, short } => self.credential(&call, which, short),
            Operation::Exec(place) => self.exec(&call, place),
            Operation::CapSet => self.capset(&call),
            Operation::Keep => self.keep(&call),
            Operation::Limit => self.limit(&call),
            Operation::Signal => self.signal(&call),
            Operation::Target { pid } => self.target(&call, pid),
            Operation::Priority { process } => self.priority(&call, process),
            Operation::Group => self.group(),
            Operation::ProcessDescriptor => self.process_descriptor(&call),
            Operation::Uname => self.uname(&call),
            Operation::ReadLink { path } => self.read_link(&call, path),
            Operation::Access { path } => self.access(&call, path),
            Operation::Mode { path, mode } => self.mode_of(&call, path, mode),
            Operation::Times => self.times(&call),
            Operation::FileSystem => self.file_system(&call, false),
            Operation::FileSystemOf => self.file_system(&call, true),
        }
    }

    /// The directory that a relative path starts from, and the root if it is absolute.
    fn start(&mut self, tid: u32, dir: i32, path: &[u8]) -> Result<Start, Errno> {
        let flags = OFlags::PATH | OFlags::DIRECTORY;
        if path.starts_with(b"/") {
            return Ok(Start { root: Some(self.tasks.open(tid, "root", flags)?), base: None });
        }
        let base = if dir == CURRENT { self.tasks.open(tid, "cwd", flags)? } else { self.descriptor(tid, dir)? };
        Ok(Start { root: None, base: Some(base) })
    }

    /// An open file of the caller's, as a path descriptor of ours.
    fn descriptor(&mut self, tid: u32, fd: i32) -> Result<OwnedFd, Errno> {
        if fd < 0 {
            return Err(Errno::BADF);
        }
        self.tasks.open(tid, &format!("fd/{fd}"), OFlags::PATH).map_err(|errno| match errno {
            Errno::NOENT => Errno::BADF,
            other => other,
        })
    }

    /// Runs a lookup, and again with the caller's root if the path turns out to need it.
    fn find<T>(
        &mut self,
        tid: u32,
        dir: i32,
        path: &[u8],
        mut lookup: impl FnMut(&Start) -> Result<T, Errno>,
    ) -> Result<T, Errno> {
        let mut start = self.start(tid, dir, path)?;
        match lookup(&start) {
            Err(Errno::XDEV) if start.root.is_none() => {
                start.root = Some(self.tasks.open(tid, "root", OFlags::PATH | OFlags::DIRECTORY)?);
                lookup(&start)
            }
            other => other,
        }
    }

    /// The file a call is about; the error is what the kernel would most likely say, and
    /// most callers let the kernel say it.
    fn locate(&mut self, call: &Waiting<'_>, place: Where) -> Result<OwnedFd, Errno> {
        self.locate_any(call, place).map(|(fd, _)| fd)
    }

    /// As `locate`, and whether the kernel would not find it by that name.
    fn locate_any(&mut self, call: &Waiting<'_>, place: Where) -> Result<(OwnedFd, bool), Errno> {
        let (dir, path, follow) = match place {
            Where::Fd(index) => return Ok((self.descriptor(call.tid, call.word(index) as i32)?, false)),
            Where::Path { path, follow } => (CURRENT, call.path(path)?, follow),
            Where::At { flags } => {
                let (dir, flags) = (call.word(0) as i32, call.word(flags) as i32);
                let path = call.path(1)?;
                if path.is_empty() {
                    if flags & libc::AT_EMPTY_PATH == 0 {
                        return Err(Errno::NOENT);
                    }
                    let fd = if dir == CURRENT {
                        self.tasks.open(call.tid, "cwd", OFlags::PATH)
                    } else {
                        self.descriptor(call.tid, dir)
                    };
                    return Ok((fd?, false));
                }
                (dir, path, flags & libc::AT_SYMLINK_NOFOLLOW == 0)
            }
        };
        // Their links lead through the caller's own /proc, which we do not follow.
        if follow && let Some(named) = self.made_up(&path).filter(|(_, name)| *name != Name::Own) {
            return Ok((self.open_made_up(call, named, OFlags::PATH)?, self.bare));
        }
        let named = self.made_up(&path).filter(|(_, name)| self.bare && *name != Name::Own && *name != Name::Streams);
        if let Some(named) = named {
            return Ok((self.open_link(call, named)?, true));
        }
        let fd = self.find(call.tid, dir, &path, |start| lookup::file(start, &path, follow))?;
        Ok((fd, false))
    }

    /// chown and its kin.
    fn own(&mut self, call: &Waiting<'_>, place: Where, uid: u32, gid: u32) -> Result<Outcome, Errno> {
        let Ok(fd) = self.locate(call, place) else { return CONTINUE };
        let credentials = self.tasks.credentials(call.tid)?;
        let (uid, gid) = (given(uid), given(gid));
        if !credentials.is_root() {
            let facts = self.files.facts(fd.as_fd())?;
            let mine = credentials.uid.file == facts.uid;
            let uid_ok = uid.is_none_or(|uid| mine && uid == facts.uid);
            let gid_ok = gid.is_none_or(|gid| mine && (gid == facts.gid || credentials.in_group(gid)));
            if !uid_ok || !gid_ok {
                return Err(Errno::PERM);
            }
        }
        call.check()?;
        self.files.own(fd.as_fd(), uid, gid)?;
        done()
    }

    /// execve: the kernel carries it out, we change the ids first if the file asks for it.
    fn exec(&mut self, call: &Waiting<'_>, place: Where) -> Result<Outcome, Errno> {
        let Ok(fd) = self.locate(call, place) else { return CONTINUE };
        let (Ok(facts), Ok(before)) = (self.files.facts(fd.as_fd()), self.tasks.credentials(call.tid)) else {
            return CONTINUE;
        };
        let after = before.after_exec(facts.mode, facts.uid, facts.gid);
        if after != before {
            call.check()?;
            self.tasks.set(call.tid, after)?;
        }
        CONTINUE
    }
}

fn given(id: u32) -> Option<u32> {
    (id != UNCHANGED).then_some(id)
}
