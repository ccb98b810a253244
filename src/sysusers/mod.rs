//! systemd's sysusers, for packages whose users are made before their files are laid.
//!
//! rpm 4.19 and later call the *machine's* `systemd-sysusers --root` for that (rpm, lib/psm.cc,
//! `runSysusers`): the first packages of an image bring no program of that name, nor a C library.
//! Here it is a function that the sandbox calls in the place of a command ([`sandbox::Builtin`]): on
//! the image's tree, behind a command's walls.
//!
//! It reads lines of sysusers.d(5) and writes /etc/passwd, /etc/group, /etc/shadow and /etc/gshadow
//! byte for byte as systemd 257 does, whose sequence of ids and habits are kept even where they
//! look odd: a user or group that cannot have the id it must have is left out with a message, and
//! that is no failure. Entries that are there are kept, in the form in which the C library writes
//! them; each file's last state stays beside it (`passwd-`). Known differences:
//!
//! - Specifiers: only `%%`. The others ask for the name and the ids of a machine, or for its
//!   variables, and a line that has one is an error.
//! - /etc/login.defs is not read; free ids are taken from 999 down to 1, or from the ranges of `r`
//!   lines.
//! - No lock (/etc/.pwd.lock): nobody else is at work in the tree.
//! - No credentials, no labels of SELinux, no name services but the files.

mod assign;
mod database;
mod directories;
mod entry;
mod field;
mod files;
mod item;
mod range;
mod request;
mod text;
mod word;

#[cfg(test)]
mod referee;
#[cfg(test)]
mod tests;

use std::ffi::OsStr;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use sandbox::{Builtin, Process};

use assign::assign;
use database::Database;
use request::Request;

/// What the sandbox's helper calls in the place of a command, see [`run`].
pub const BUILTIN: Builtin = Builtin { name: "sysusers", run };

/// Largest standard input, and largest file of lines, in bytes; a package's lines are a few hundred.
const LINES_MAX: u64 = 1 << 20;

/// Seconds of a day; shadow(5) counts days.
const DAY: u64 = 24 * 60 * 60;

/// Exit code where something is wrong.
const FAILED: i32 = 1;

/// What went wrong; each text fits after "failed to".
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// A line that sysusers.d(5) does not know, or that is not supported.
    #[error("read line {number} of {source_name}: {problem}")]
    Line {
        /// Where the line is.
        source_name: String,
        /// From 1.
        number: usize,
        /// What is wrong with it.
        problem: String,
    },
    /// The account files contradict what is asked for.
    #[error("write {}: {problem}", path.display())]
    Conflict {
        /// The account file.
        path: PathBuf,
        /// What is there.
        problem: String,
    },
    /// More bytes than are read.
    #[error("read {what}: it has more than {max} bytes")]
    TooLarge {
        /// What was read.
        what: String,
        /// How much is read at most.
        max: u64,
    },
    /// The system said no.
    #[error("{doing} {}: {source}", path.display())]
    Io {
        /// What was being done.
        doing: &'static str,
        /// To which file.
        path: PathBuf,
        /// What the kernel answered.
        source: io::Error,
    },
}

impl Error {
    /// For `map_err`.
    fn io(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error {
        move |source| Error::Io { doing, path: path.into(), source }
    }
}

/// Makes users and groups: `sysusers [FILE]`, with lines of sysusers.d(5) on standard input. FILE is
/// the path of the configuration file in whose place the lines stand (`--replace` of
/// systemd-sysusers(8)): then the image's other configuration files count too, each in its turn, and
/// the lines count for nothing where the image has a file that comes before FILE.
///
/// `SOURCE_DATE_EPOCH` is the time in shadow(5), if it is set.
///
/// Returns the exit code: 0, or 1 with the reason on standard error; nothing was written then.
pub fn run(_: Process, argv: &[Vec<u8>]) -> i32 {
    let replaced = match argv {
        [_] => None,
        [_, file] => Some(Path::new(OsStr::from_bytes(file))),
        _ => {
            eprintln!("error: sysusers takes one file, and lines on standard input");
            return FAILED;
        }
    };
    match take(io::stdin(), "standard input", LINES_MAX)
        .and_then(|lines| apply(Path::new("/"), replaced, &lines, today()))
    {
        Ok(notes) => {
            notes.iter().for_each(|note| eprintln!("{note}"));
            0
        }
        Err(error) => {
            eprintln!("error: failed to {error}");
            FAILED
        }
    }
}

/// Applies lines to the tree below a directory; returns what is to be said about it, a line each.
pub(crate) fn apply(root: &Path, replaced: Option<&Path>, lines: &[u8], today: i64) -> Result<Vec<String>, Error> {
    let mut request = Request::default();
    match replaced {
        None => request.read("standard input", lines)?,
        Some(file) => directories::read(root, file, lines, &mut request)?,
    }
    request.complete();
    let database = Database::read(root)?;
    let mut notes = std::mem::take(&mut request.notes);
    let assigned = assign(root, &request, &database, &mut notes);
    files::write(root, &request, &assigned, today)?;
    Ok(notes)
}

/// Reads all of something.
fn take(from: impl Read, what: &str, max: u64) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    from.take(max.saturating_add(1)).read_to_end(&mut bytes).map_err(Error::io("read", Path::new(what)))?;
    if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > max {
        return Err(Error::TooLarge { what: what.into(), max });
    }
    Ok(bytes)
}

/// The day that entries are dated, in days since 1970.
fn today() -> i64 {
    let epoch = std::env::var("SOURCE_DATE_EPOCH").ok().and_then(|text| text.parse::<u64>().ok());
    let now = || SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    i64::try_from(epoch.unwrap_or_else(now) / DAY).unwrap_or(i64::MAX)
}
