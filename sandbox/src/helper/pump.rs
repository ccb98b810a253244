//! The helper's loop while a command runs: answers its calls, passes its output on, watches
//! its bounds.

use super::fault::Doing;
use super::launch::{self, Plan, Running, Word};
use super::watch::Watch;
use crate::error::Fault;
use crate::event::Status;
use crate::message::{Control, Report};
use crate::supervisor::Supervisor;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitOptions, waitpid};
use std::os::fd::{AsFd, OwnedFd};

/// Longest line passed on in one piece, in bytes.
const MAX_LINE: usize = 65536;

/// Lines on their way from one of a command's outputs.
struct Lines {
    fd: Option<OwnedFd>,
    err: bool,
    rest: Vec<u8>,
}

impl Lines {
    fn new(fd: OwnedFd, err: bool) -> Lines {
        Lines { fd: Some(fd), err, rest: Vec::new() }
    }

    /// Reads once, without waiting; what makes whole lines is sent. Whether there may be more.
    fn pump(&mut self, index: usize, control: &Control) -> Result<bool, Fault> {
        let Some(fd) = &self.fd else { return Ok(false) };
        let mut buffer = [0u8; 16384];
        match rustix::io::read(fd, &mut buffer) {
            Ok(0) => {
                self.fd = None;
                if !self.rest.is_empty() {
                    let text = std::mem::take(&mut self.rest);
                    report(control, &Report::Line { index, err: self.err, text })?;
                }
                return Ok(false);
            }
            Ok(n) => self.rest.extend_from_slice(&buffer[..n]),
            Err(Errno::INTR) => return Ok(true),
            Err(Errno::AGAIN) => return Ok(false),
            Err(errno) => return Err(errno).doing("read the command's output", || "read".into()),
        }
        while let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
            let mut text: Vec<u8> = self.rest.drain(..=end).collect();
            text.pop();
            report(control, &Report::Line { index, err: self.err, text })?;
        }
        if self.rest.len() >= MAX_LINE {
            let text = std::mem::take(&mut self.rest);
            report(control, &Report::Line { index, err: self.err, text })?;
        }
        Ok(true)
    }
}

/// Tells the program; if it is gone, so is the reason to go on.
pub(super) fn report(control: &Control, report: &Report) -> Result<(), Fault> {
    control.send(report).map_err(|_| Fault::Cancelled)
}

/// Runs a command to its end.
pub(super) fn run(
    index: usize,
    plan: &Plan<'_>,
    supervisor: &mut Supervisor,
    watch: &mut Watch,
    control: &Control,
) -> Result<Status, Fault> {
    let running = launch::start(plan)?;
    supervisor.population.begin(running.pid);
    let result = attend(index, running, supervisor, watch, control);
    supervisor.forget_tasks();
    result
}

/// Kills pid 1 of the command's namespace, and the kernel everything in it.
fn kill(running: &Running) {
    let _ = rustix::process::pidfd_send_signal(&running.pidfd, Signal::KILL);
}

fn attend(
    index: usize,
    running: Running,
    supervisor: &mut Supervisor,
    watch: &mut Watch,
    control: &Control,
) -> Result<Status, Fault> {
    let result = attend_until_end(index, &running, supervisor, watch, control);
    // Killed or ended, it is reaped, and its mounts are gone, before anything else happens.
    kill(&running);
    if let Some(pid) = Pid::from_raw(running.pid) {
        while let Err(Errno::INTR) = waitpid(Some(pid), WaitOptions::empty()) {}
    }
    if supervisor.bare {
        // No namespace takes them along. Nobody answers their calls any more, so none leaves its group.
        super::bare::end_all();
    }
    let (ended, mut out, mut err) = result?;
    watch.check_group(index)?;
    // Nobody is left who could write: what is there is all there will be.
    while (out.fd.is_some() && out.pump(index, control)?) || (err.fd.is_some() && err.pump(index, control)?) {}
    Ok(match ended {
        code @ 0.. => Status::Exited(code),
        signal => Status::Killed(-signal),
    })
}

fn attend_until_end(
    index: usize,
    running: &Running,
    supervisor: &mut Supervisor,
    watch: &mut Watch,
    control: &Control,
) -> Result<(i32, Lines, Lines), Fault> {
    let dup = |fd: &OwnedFd| fd.try_clone().doing("attend the command", || "dup".into());
    let mut out = Lines::new(dup(&running.out)?, false);
    let mut err = Lines::new(dup(&running.err)?, true);
    let mut listener: Option<OwnedFd> = None;
    loop {
        let wait = watch.wait();
        let timeout = Timespec { tv_sec: wait.as_secs() as i64, tv_nsec: i64::from(wait.subsec_nanos()) };
        let mut fds = vec![
            PollFd::new(&control.0, PollFlags::IN),
            PollFd::new(&running.channel, PollFlags::IN),
            PollFd::new(&running.pidfd, PollFlags::IN),
        ];
        let places: Vec<usize> = [listener.as_ref(), out.fd.as_ref(), err.fd.as_ref()]
            .into_iter()
            .map(|fd| match fd {
                Some(fd) => {
                    fds.push(PollFd::new(fd, PollFlags::IN));
                    fds.len() - 1
                }
                None => usize::MAX,
            })
            .collect();
        match poll(&mut fds, Some(&timeout)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(errno).doing("attend the command", || "poll".into()),
        }
        let seen: Vec<PollFlags> = fds.iter().map(PollFd::revents).collect();
        let ready = |place: usize| seen.get(place).copied().unwrap_or(PollFlags::empty());
        let [asks, out_ready, err_ready] = [0, 1, 2].map(|place| ready(places[place]));
        drop(fds);
        // Calls come first: somebody waits for each.
        if asks.contains(PollFlags::IN) {
            if let Some(listener) = &listener {
                supervisor
                    .serve(listener.as_fd())
                    .doing("answer a system call", || "ioctl(SECCOMP_IOCTL_NOTIF_*)".into())?;
            }
        } else if !asks.is_empty() {
            // Nobody is left who could ask.
            listener = None;
        }
        if !out_ready.is_empty() {
            out.pump(index, control)?;
        }
        if !err_ready.is_empty() {
            err.pump(index, control)?;
        }
        if !ready(1).is_empty() || !ready(2).is_empty() {
            while let Some((word, fd)) = launch::hear(&running.channel)? {
                match word {
                    Word::Listener => {
                        if let Some(fd) = &fd {
                            crate::sys::wake_in_place(fd.as_fd());
                        }
                        listener = fd;
                    }
                    Word::Ending => supervisor.population.closed = true,
                    Word::Ended { code } => return Ok((code, out, err)),
                    Word::Failed(fault) => return Err(fault),
                }
            }
            if !ready(2).is_empty() {
                let detail = "the command's first process was killed from outside".into();
                return Err(Fault::Helper { detail });
            }
        }
        // The program never speaks while a command runs: this is its end, or Ctrl-C.
        if !ready(0).is_empty() {
            return Err(Fault::Cancelled);
        }
        watch.check(index, running.pid)?;
    }
}
