//! Calls about other processes, where no pid namespace hides those that are not the payload's.

use super::{CONTINUE, Outcome, Supervisor, Waiting, done, tasks};
use crate::processes;
use crate::sys;
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use std::os::fd::AsFd;

/// The payload's processes, where only their descent tells them from others.
#[derive(Debug, Default)]
pub(crate) struct Population {
    /// The process of ours that all of them are below; it is not one of them.
    pub(crate) first: i32,
    /// The payload is ending: nobody leaves the group that is about to be killed.
    pub(crate) closed: bool,
}

impl Population {
    /// A new payload below that process.
    pub(crate) fn begin(&mut self, first: i32) {
        *self = Population { first, closed: false };
    }

    pub(super) fn check(&self, pid: i32) -> Result<(), Errno> {
        if processes::is_below(pid, self.first) { Ok(()) } else { Err(Errno::SRCH) }
    }
}

/// `PRIO_PGRP` of setpriority(2) and `IOPRIO_WHO_PGRP` of ioprio_set(2) follow their words for a process.
const GROUP_AFTER: u32 = 1;

impl Supervisor {
    /// Whether a number means the caller's own process. Of others it could come to mean somebody
    /// else between our look and the kernel's.
    fn is_own(&mut self, call: &Waiting<'_>, number: i32) -> Result<bool, Errno> {
        let Ok(number) = u32::try_from(number) else { return Ok(false) };
        if number == 0 || number == call.tid {
            return Ok(true);
        }
        let own = self.tasks.process_of(call.tid)?;
        Ok(number == own || self.tasks.process_of(number).is_ok_and(|process| process == own))
    }

    pub(super) fn target(&mut self, call: &Waiting<'_>, pid: u8) -> Result<Outcome, Errno> {
        if self.is_own(call, call.word(pid) as i32)? { CONTINUE } else { Err(Errno::PERM) }
    }

    pub(super) fn signal(&mut self, call: &Waiting<'_>) -> Result<Outcome, Errno> {
        let (first, number) = (self.population.first, call.word(1) as i32);
        let signal = rustix::process::Signal::from_named_raw(number);
        match call.word(0) as i32 {
            // The caller's own group: a session of its own holds nobody else.
            0 => CONTINUE,
            // "Every process", except the caller and the first.
            -1 => {
                let own = self.tasks.process_of(call.tid)? as i32;
                let mut found = false;
                call.check()?;
                for process in processes::below(first).into_iter().filter(|process| process.pid != own) {
                    found |= processes::signal(process.pid, first, signal).is_ok();
                }
                if found { done() } else { Err(Errno::SRCH) }
            }
            group if group < 0 => {
                let known = processes::below(first).iter().any(|process| Some(process.group) == group.checked_neg());
                call.check()?;
                // A group lasts as long as a member of it.
                if !known {
                    return Err(Errno::SRCH);
                }
                sys::kill(group, number).map_err(tasks::errno)?;
                done()
            }
            pid if self.is_own(call, pid)? => CONTINUE,
            pid => {
                call.check()?;
                if number != 0 && signal.is_none() {
                    return Err(Errno::INVAL);
                }
                processes::signal(pid, first, signal)?;
                done()
            }
        }
    }

    /// pidfd_open: the descriptor is made by us, so that it is of the process that was looked at.
    pub(super) fn process_descriptor(&mut self, call: &Waiting<'_>) -> Result<Outcome, Errno> {
        let pid = call.word(0) as i32;
        let flags = PidfdFlags::from_bits(call.word(1)).ok_or(Errno::INVAL)?;
        let fd = pidfd_open(Pid::from_raw(pid).ok_or(Errno::INVAL)?, flags)?;
        self.population.check(pid)?;
        call.check()?;
        sys::respond_with_fd(call.listener, call.id, fd.as_fd(), true).map_err(tasks::errno)?;
        Ok(Outcome::Sent)
    }

    pub(super) fn priority(&mut self, call: &Waiting<'_>, process: u32) -> Result<Outcome, Errno> {
        match (call.word(0), call.word(1)) {
            (which, _) if which == process => self.target(call, 1),
            (which, 0) if which == process + GROUP_AFTER => CONTINUE,
            _ => Err(Errno::PERM),
        }
    }

    /// setsid and setpgid.
    pub(super) fn group(&mut self) -> Result<Outcome, Errno> {
        if self.population.closed { Err(Errno::PERM) } else { CONTINUE }
    }

    /// prlimit64: of whom, and never the limit that carries the ids.
    pub(super) fn limit(&mut self, call: &Waiting<'_>) -> Result<Outcome, Errno> {
        if self.bare && !self.is_own(call, call.word(0) as i32)? {
            return Err(Errno::PERM);
        }
        let changes = call.arg(2) != 0;
        if changes && call.word(1) as i32 == tasks::CARRIER { done() } else { CONTINUE }
    }

    /// The kernel's answer with the name that every sandbox has.
    pub(super) fn uname(&mut self, call: &Waiting<'_>) -> Result<Outcome, Errno> {
        // `struct new_utsname` of include/uapi/linux/utsname.h: six fields of 65 bytes.
        const FIELD: usize = 65;
        let ours = rustix::system::uname();
        let fields = [ours.sysname(), c"localhost", ours.release(), ours.version(), ours.machine(), c"(none)"];
        let mut bytes = [0u8; 6 * FIELD];
        for (room, text) in bytes.chunks_exact_mut(FIELD).zip(fields) {
            for (to, from) in room.iter_mut().take(FIELD - 1).zip(text.to_bytes()) {
                *to = *from;
            }
        }
        sys::write_memory(call.tid, call.arg(0), &bytes).map_err(tasks::errno)?;
        done()
    }
}
