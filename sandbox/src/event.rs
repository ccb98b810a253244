//! What a caller sees while a session runs, and how it stops one.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Which of a command's two outputs a line came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Out,
    /// Standard error.
    Err,
}

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// It exited with this code.
    Exited(i32),
    /// This signal killed it.
    Killed(i32),
}

impl Status {
    /// Exit code 0.
    pub const SUCCESS: Status = Status::Exited(0);
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Status::Exited(code) => write!(f, "exit code {code}"),
            Status::Killed(signal) => write!(f, "killed by signal {signal}"),
        }
    }
}

/// Something that happened in a running session.
#[derive(Debug)]
pub enum Event<'a> {
    /// The step with this index (into `Session::steps`) begins.
    StepStarted {
        /// Index into `Session::steps`.
        index: usize,
    },
    /// A line of output, without its newline. Lines over 64 KiB arrive in pieces.
    Line {
        /// Index into `Session::steps`.
        index: usize,
        /// Which output it was written to.
        stream: Stream,
        /// The bytes as written, not necessarily UTF-8.
        text: &'a [u8],
    },
    /// The step ended; steps that run no command end with [`Status::SUCCESS`].
    StepEnded {
        /// Index into `Session::steps`.
        index: usize,
        /// How its command ended.
        status: Status,
        /// Wall time it took, in seconds.
        seconds: f64,
    },
}

/// A flag that stops a running session; clones share it.
#[derive(Debug, Clone, Default)]
pub struct Cancel(Arc<AtomicBool>);

impl Cancel {
    /// Shares a flag that someone else raises, such as a signal handler.
    #[must_use]
    pub fn from_flag(flag: Arc<AtomicBool>) -> Cancel {
        Cancel(flag)
    }

    /// A flag that is not set.
    #[must_use]
    pub fn new() -> Cancel {
        Cancel::default()
    }

    /// Asks every session that holds this flag to stop. Safe in a signal handler.
    pub fn cancel(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether it has been set.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}
