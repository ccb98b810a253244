//! Calls about other processes, where no pid namespace hides those that are not the payload's.

use super::{CONTINUE, Outcome, Supervisor, Waiting, done, tasks};
use crate::processes::{self, Process};
use crate::sys;
use rustix::io::Errno;

/// The payload's processes, where only their descent tells them from others.
#[derive(Debug, Default)]
pub(crate) struct Population {
    /// The process of ours that all of them are below; it is not one of them.
    pub(crate) first: i32,
    /// How many there may be; 0 means no bound.
    pub(crate) most: u64,
    /// No more are made: the payload is ending.
    pub(crate) closed: bool,
    /// How many there were when they were last counted, and how many were made since.
    counted: u64,
    made: u64,
}

impl Population {
    /// A new payload below that process.
    pub(crate) fn begin(&mut self, first: i32, most: u64) {
        *self = Population { first, most, ..Population::default() };
    }

    fn has(&self, pid: i32) -> bool {
        processes::is_below(pid, self.first)
    }

    /// The number itself names the caller if it is 0.
    pub(super) fn check(&self, pid: i32) -> Result<(), Errno> {
        if pid == 0 || self.has(pid) { Ok(()) } else { Err(Errno::SRCH) }
    }

    fn count(&mut self) -> Result<(), Errno> {
        if self.closed {
            return Err(Errno::AGAIN);
        }
        self.made += 1;
        if self.most > 0 && self.counted + self.made > self.most {
            (self.counted, self.made) = (processes::below(self.first).len() as u64, 1);
            if self.counted + self.made > self.most {
                return Err(Errno::AGAIN);
            }
        }
        Ok(())
    }
}

/// `PRIO_PGRP` of setpriority(2) and `IOPRIO_WHO_PGRP` of ioprio_set(2) follow their words for a process.
const GROUP_AFTER: u32 = 1;

impl Supervisor {
    /// The arguments of these calls lie in registers, so what was checked is what is carried out.
    pub(super) fn target(&mut self, call: &Waiting<'_>, pid: u8) -> Result<Outcome, Errno> {
        self.population.check(call.word(pid) as i32)?;
        CONTINUE
    }

    pub(super) fn signal(&mut self, call: &Waiting<'_>) -> Result<Outcome, Errno> {
        let all = || processes::below(self.population.first);
        match call.word(0) as i32 {
            // The caller's own group: a session of its own holds nobody else.
            0 => CONTINUE,
            // "Every process", except the caller and the first.
            -1 => {
                let caller = call.tid as i32;
                let others: Vec<Process> = all().into_iter().filter(|process| process.pid != caller).collect();
                call.check()?;
                for process in &others {
                    let _ = sys::kill(process.pid, call.word(1) as i32);
                }
                if others.is_empty() { Err(Errno::SRCH) } else { done() }
            }
            group if group < 0 => {
                let known = all().iter().any(|process| Some(process.group) == group.checked_neg());
                if known { CONTINUE } else { Err(Errno::SRCH) }
            }
            _ => self.target(call, 0),
        }
    }

    pub(super) fn priority(&mut self, call: &Waiting<'_>, process: u32) -> Result<Outcome, Errno> {
        match (call.word(0), call.word(1)) {
            (which, _) if which == process => self.target(call, 1),
            (which, 0) if which == process + GROUP_AFTER => CONTINUE,
            _ => Err(Errno::PERM),
        }
    }

    pub(super) fn fork(&mut self) -> Result<Outcome, Errno> {
        self.population.count()?;
        CONTINUE
    }

    /// prlimit64: of whom, and never the limit that carries the ids.
    pub(super) fn limit(&mut self, call: &Waiting<'_>) -> Result<Outcome, Errno> {
        if self.bare {
            self.population.check(call.word(0) as i32)?;
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
