//! A pseudo-terminal between the user's terminal and a command in the sandbox, so that nothing
//! inside can type into the user's own (ioctl_tty(2), TIOCSTI).

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt};
use rustix::stdio::{stdin, stdout};
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr, tcsetwinsize};

/// How often the size of the user's window is looked at.
const LOOK: Timespec = Timespec { tv_sec: 0, tv_nsec: 250_000_000 };
/// Bytes passed on at once.
const BLOCK: usize = 16 << 10;

/// The user's terminal while it is lent: every key goes inside. Dropped, it is as it was.
pub(super) struct Terminal {
    before: Termios,
    over: Arc<AtomicBool>,
    workers: Vec<JoinHandle<()>>,
}

impl Terminal {
    /// Lends the terminal of standard input and output, and gives the inner end.
    ///
    /// # Errors
    /// There is no terminal, or the system has none to give.
    pub(super) fn open() -> io::Result<(Self, OwnedFd)> {
        let outer = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
        grantpt(&outer)?;
        unlockpt(&outer)?;
        let inner = ioctl_tiocgptpeer(&outer, OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
        let before = tcgetattr(stdin())?;
        // What the user's terminal did with keys, the inner one does from now on.
        tcsetattr(&inner, OptionalActions::Now, &before)?;
        let _ = tcsetwinsize(&outer, tcgetwinsize(stdout())?);
        let mut raw = before.clone();
        raw.make_raw();
        let over = Arc::new(AtomicBool::new(false));
        let (outer, keys) = (Arc::new(outer), Arc::clone(&over));
        let inwards = Arc::clone(&outer);
        // What was typed ahead is for whoever comes next, here as in any shell.
        tcsetattr(stdin(), OptionalActions::Now, &raw)?;
        let workers =
            vec![thread::spawn(move || pass_keys(&inwards, &keys)), thread::spawn(move || pass_output(&outer))];
        Ok((Self { before, over, workers }, inner))
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        for worker in self.workers.drain(..) {
            let _ = worker.join();
        }
        let _ = tcsetattr(stdin(), OptionalActions::Drain, &self.before);
    }
}

/// From the user to the command, and the window's size with it.
fn pass_keys(outer: &OwnedFd, over: &AtomicBool) {
    let mut block = [0u8; BLOCK];
    while !over.load(Ordering::Relaxed) {
        if let Ok(size) = tcgetwinsize(stdout())
            && tcgetwinsize(outer).is_ok_and(|now| (now.ws_row, now.ws_col) != (size.ws_row, size.ws_col))
        {
            let _ = tcsetwinsize(outer, size);
        }
        let input = stdin();
        let mut ready = [PollFd::new(&input, PollFlags::IN)];
        match poll(&mut ready, Some(&LOOK)) {
            Ok(0) | Err(rustix::io::Errno::INTR) => continue,
            Ok(_) => {}
            Err(_) => return,
        }
        match rustix::io::read(input, &mut block) {
            Err(rustix::io::Errno::INTR | rustix::io::Errno::AGAIN) => {}
            Ok(0) | Err(_) => return,
            Ok(count) => {
                let mut rest = block.get(..count).unwrap_or_default();
                while !rest.is_empty() {
                    match rustix::io::write(outer.as_fd(), rest) {
                        Ok(written) => rest = rest.get(written..).unwrap_or_default(),
                        Err(rustix::io::Errno::INTR) => {}
                        Err(_) => return,
                    }
                }
            }
        }
    }
}

/// From the command to the user, until nobody inside has the terminal open (EIO, as pty(7) has it).
/// What the user's end does not take is lost, so that nobody inside waits for it.
fn pass_output(outer: &OwnedFd) {
    let mut block = [0u8; BLOCK];
    loop {
        match rustix::io::read(outer, &mut block) {
            Ok(0) => return,
            Ok(count) => {
                let mut rest = block.get(..count).unwrap_or_default();
                while !rest.is_empty() {
                    match rustix::io::write(stdout(), rest) {
                        Ok(written) => rest = rest.get(written..).unwrap_or_default(),
                        Err(rustix::io::Errno::INTR) => {}
                        // Somebody else has made the user's terminal so.
                        Err(rustix::io::Errno::AGAIN) => {
                            let output = stdout();
                            let _ = poll(&mut [PollFd::new(&output, PollFlags::OUT)], Some(&LOOK));
                        }
                        Err(_) => break,
                    }
                }
            }
            Err(rustix::io::Errno::INTR) => {}
            Err(_) => return,
        }
    }
}
