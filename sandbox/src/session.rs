//! A session as data: what to stack, what to place, what to run, and within which bounds.

use crate::rung::Rung;
use crate::wire::{wire_enum, wire_struct};
use std::path::PathBuf;

/// Where a build-side command finds the image's tree, also in `$IMAGE_ROOT`.
pub const HOST_VIEW_IMAGE: &str = "/image";

/// Where a build-side command finds [`Step::RunOnHost`]'s directory, read-only.
pub const HOST_VIEW_DIRECTORY: &str = "/spec";

/// Steps to run, in order, over one upper directory.
#[derive(Debug, Clone, PartialEq)]
pub struct Session {
    /// Which rung to use, see [`crate::choose`].
    pub rung: Rung,
    /// A directory of the caller's, on the file system of the store. The session makes
    /// `upper`, `work` and the like below it and sets the directory's mode to 0700.
    pub scratch: PathBuf,
    /// What to do.
    pub steps: Vec<Step>,
    /// Bounds on what the steps may use.
    pub limits: Limits,
    /// Modification time, in seconds since 1970, of what [`Step::Place`] makes without one.
    pub epoch: i64,
    /// Copies the layers into one tree even where an overlay could be mounted.
    pub assemble: bool,
}

/// Bounds on a session. Memory, processes and bytes are watched four times a second, so a
/// step can overshoot by what it takes in a quarter of a second; where a control group is
/// delegated to us, the kernel holds memory and processes besides, without an overshoot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Wall time of the whole session, in seconds; 0 means no bound.
    pub seconds: u64,
    /// Resident anonymous memory of all processes together, in bytes; 0 means no bound.
    pub memory: u64,
    /// Bytes in the upper directory, and in any single file; 0 means no bound.
    pub upper_bytes: u64,
    /// Bytes that must stay free on the file system of the scratch directory.
    pub free_bytes: u64,
    /// Processes and threads at one time; 0 means no bound.
    pub processes: u64,
    /// Bytes in each of /tmp, /run and /dev/shm (and of the upper, where it has to be a
    /// tmpfs); 0 means half of the machine's memory.
    pub tmpfs_bytes: u64,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            seconds: 3600,
            memory: 0,
            upper_bytes: 64 << 30,
            free_bytes: 256 << 20,
            processes: 4096,
            tmpfs_bytes: 4 << 30,
        }
    }
}

/// One step of a session.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// Mounts the root overlay with these lower directories, keeping the upper.
    ///
    /// Lower directories that the previous `Stack` did not have are *added*: a whiteout or a
    /// file of the upper that hides a non-directory they ship is dropped first, as dpkg
    /// would overwrite it.
    Stack {
        /// Lower directories, bottom first.
        lowers: Vec<PathBuf>,
        /// Paths (relative to the root, bytes) whose file in the upper wins: conffiles.
        keep: Vec<Vec<u8>>,
    },
    /// Materialises an entry that plain files cannot express.
    Place {
        /// Path below the root; a leading slash is ignored. Its parent must exist.
        path: Vec<u8>,
        /// What is to be there.
        what: Placed,
        /// Permission bits (07777); `None` leaves them, or takes 0755/0644 for a new entry.
        mode: Option<u32>,
        /// Owner as the image sees it.
        uid: u32,
        /// Group as the image sees it.
        gid: u32,
        /// Modification time, seconds and nanoseconds; `None` is the session's epoch for a
        /// new entry, and leaves an existing one as it is.
        mtime: Option<(i64, u32)>,
        /// Extended attributes by full name, in the image's terms.
        xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    },
    /// Removes a path, recursively; it is no error if there is none.
    Remove {
        /// Path below the root; a leading slash is ignored.
        path: Vec<u8>,
    },
    /// Runs a command in the image. An exit code that is neither 0 nor listed in
    /// [`Command::ok`] ends the session. Processes it leaves behind are killed.
    Run(Command),
    /// Runs a command with the machine's `/usr` read-only, a made-up `/etc`, the given
    /// directory read-only at [`HOST_VIEW_DIRECTORY`], and the image's tree writable at
    /// [`HOST_VIEW_IMAGE`], which `IMAGE_ROOT` names. No home, no network, no /run.
    RunOnHost {
        /// What to run.
        command: Command,
        /// A directory of the machine to show.
        directory: PathBuf,
    },
}

/// What a [`Step::Place`] puts at its path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Placed {
    /// The entry that is there; only its metadata is set.
    Existing,
    /// A device node.
    Device {
        /// Character device if true, block device otherwise.
        char: bool,
        /// Major number.
        major: u32,
        /// Minor number.
        minor: u32,
    },
    /// A named pipe.
    Fifo,
    /// A directory; one that is there is kept.
    Directory,
    /// A regular file with these bytes.
    File(Vec<u8>),
    /// A symbolic link to this target.
    Symlink(Vec<u8>),
}

/// A command: exactly this argument vector and environment, nothing is inherited.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Command {
    /// Program and arguments; a program without a slash is searched in `PATH` of `env`.
    pub argv: Vec<Vec<u8>>,
    /// The whole environment.
    pub env: Vec<(Vec<u8>, Vec<u8>)>,
    /// Working directory; empty means `/`.
    pub cwd: Vec<u8>,
    /// What it reads on standard input.
    pub stdin: Vec<u8>,
    /// Exit codes besides 0 that are no failure; 127 stands for a program that cannot be started too,
    /// and 128 and a signal's number for an end by that signal, SIGKILL apart.
    pub ok: Vec<i32>,
    /// Reads and writes the terminal of the session, see [`crate::run_at`], which becomes its
    /// controlling one. `stdin` counts for nothing then, and no [`crate::Event::Line`] comes.
    pub terminal: bool,
    /// The program is no file: its name is that of a function of ours, see [`crate::Builtin`].
    pub builtin: bool,
}

wire_enum!(Rung { 0 => Userns, 1 => UsernsSingle, 2 => Root });
wire_struct!(Session { rung, scratch, steps, limits, epoch, assemble });
wire_struct!(Limits { seconds, memory, upper_bytes, free_bytes, processes, tmpfs_bytes });
wire_enum!(Step {
    0 => Stack { lowers, keep },
    1 => Place { path, what, mode, uid, gid, mtime, xattrs },
    2 => Remove { path },
    3 => Run(command),
    4 => RunOnHost { command, directory }
});
wire_enum!(Placed {
    0 => Existing,
    1 => Device { char, major, minor },
    2 => Fifo,
    3 => Directory,
    4 => File(bytes),
    5 => Symlink(target)
});
wire_struct!(Command { argv, env, cwd, stdin, ok, terminal, builtin });
