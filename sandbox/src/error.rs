//! What can go wrong, in words for a person.

use crate::event::Status;
use crate::rung::Rung;
use crate::wire::wire_enum;
use std::path::PathBuf;
use thiserror::Error;

/// A session, or the search for a rung, failed.
#[derive(Debug, Error)]
pub enum Error {
    /// The machine does not allow the rung.
    #[error("use rung {rung}: {reason}")]
    Unavailable {
        /// The rung that was asked for.
        rung: Rung,
        /// Which check failed and how.
        reason: String,
        /// What to do about it, if anything can be done.
        hint: Option<String>,
    },
    /// No rung works on this machine.
    #[error("find a sandbox that this machine allows ({reason})")]
    NoRung {
        /// The first failed check of each rung.
        reason: String,
        /// What to do about it, if anything can be done.
        hint: Option<String>,
    },
    /// A system call failed.
    #[error("{doing}: {call}: {source}")]
    System {
        /// What was being done, as a fragment after "failed to".
        doing: String,
        /// The call and its arguments.
        call: String,
        /// What to do about it, if anything can be done.
        hint: Option<String>,
        /// What the kernel answered.
        source: std::io::Error,
    },
    /// A command ended with a status that is not accepted.
    #[error("run step {}, `{command}`: {status}", index + 1)]
    Command {
        /// Index into `Session::steps`.
        index: usize,
        /// The command as a line for a shell.
        command: String,
        /// How it ended.
        status: Status,
    },
    /// A bound of `Limits` was passed.
    #[error("stay within the limit on {what} ({detail})")]
    Limit {
        /// Index of the step that was running.
        index: usize,
        /// Which bound.
        what: String,
        /// The bound and what was measured.
        detail: String,
    },
    /// A path of a step cannot be used.
    #[error("use path {}: {reason}", String::from_utf8_lossy(path))]
    Path {
        /// The path as given.
        path: Vec<u8>,
        /// Why not.
        reason: String,
    },
    /// The caller's flag was set.
    #[error("finish: interrupted")]
    Cancelled,
    /// The helper process died or spoke nonsense.
    #[error("talk to the sandbox helper: {detail}")]
    Helper {
        /// What happened, with what the helper wrote before it died.
        detail: String,
    },
    /// A file of the machine could not be used.
    #[error("{doing} {}: {source}", path.display())]
    File {
        /// What was being done, as a fragment after "failed to".
        doing: &'static str,
        /// Which file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
}

impl Error {
    /// What a person can do about it.
    #[must_use]
    pub fn hint(&self) -> Option<&str> {
        match self {
            Error::Unavailable { hint, .. } | Error::NoRung { hint, .. } | Error::System { hint, .. } => {
                hint.as_deref()
            }
            Error::Limit { .. } => Some("raise the limit, or find out what the step does"),
            _ => None,
        }
    }
}

/// An [`Error`] on its way from the helper to the program.
#[derive(Debug)]
pub(crate) enum Fault {
    System { doing: String, call: String, hint: Option<String>, errno: i32 },
    Command { index: usize, command: String, status: Status },
    Limit { index: usize, what: String, detail: String },
    Path { path: Vec<u8>, reason: String },
    Cancelled,
    Helper { detail: String },
}

wire_enum!(Status { 0 => Exited(code), 1 => Killed(signal) });
wire_enum!(Fault {
    0 => System { doing, call, hint, errno },
    1 => Command { index, command, status },
    2 => Limit { index, what, detail },
    3 => Path { path, reason },
    4 => Cancelled,
    5 => Helper { detail }
});

impl From<Fault> for Error {
    fn from(fault: Fault) -> Error {
        match fault {
            Fault::System { doing, call, hint, errno } => {
                Error::System { doing, call, hint, source: std::io::Error::from_raw_os_error(errno) }
            }
            Fault::Command { index, command, status } => Error::Command { index, command, status },
            Fault::Limit { index, what, detail } => Error::Limit { index, what, detail },
            Fault::Path { path, reason } => Error::Path { path, reason },
            Fault::Cancelled => Error::Cancelled,
            Fault::Helper { detail } => Error::Helper { detail },
        }
    }
}
