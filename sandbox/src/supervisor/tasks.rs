//! The threads that call: their directories in /proc, and their ids.
//!
//! Ids must follow fork and exec, also of a process whose parent is long gone, without the
//! cost of being asked about each fork. So the kernel carries them: a thread's *timer slack*
//! (prctl(2), proc(5)) is a number that is private to the thread, inherited by fork and
//! clone, kept by exec, and writable from outside with CAP_SYS_NICE. It holds an index into
//! our list of credentials; slack of at most the default means uid 0. The cost to the thread
//! is a timer that may be a few microseconds late.

use super::credentials::Credentials;
use rustix::fs::{Mode, OFlags, openat};
use rustix::io::Errno;
use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

/// Timer slack of a thread that nobody touched, in nanoseconds (init/init_task.c).
pub(crate) const DEFAULT_SLACK: u64 = 50_000;

/// Distinct sets of ids in one session; a build has dozens.
const MAX_CREDENTIALS: usize = 10_000;

/// Threads whose descriptors are kept open.
const MAX_TASKS: usize = 256;

/// A thread's /proc directory, opened while one of its calls waited.
#[derive(Debug)]
struct Task {
    directory: OwnedFd,
    slack: OwnedFd,
}

/// The threads seen of late, and all credentials ever set.
#[derive(Debug, Default)]
pub(crate) struct Tasks {
    open: BTreeMap<u32, Task>,
    known: Vec<Credentials>,
    index: BTreeMap<Credentials, usize>,
}

fn read_slack(fd: &OwnedFd) -> Result<u64, Errno> {
    let mut buffer = [0u8; 24];
    let len = rustix::io::pread(fd, &mut buffer, 0)?;
    let text = buffer[..len].trim_ascii();
    std::str::from_utf8(text).ok().and_then(|text| text.parse().ok()).ok_or(Errno::INVAL)
}

impl Tasks {
    /// The thread's slack, opening its directory if it is new. A number that was given to
    /// another thread is noticed: files of a dead thread's directory fail with ESRCH.
    fn slack(&mut self, tid: u32) -> Result<u64, Errno> {
        if let Some(task) = self.open.get(&tid) {
            if let Ok(value) = read_slack(&task.slack) {
                return Ok(value);
            }
            self.open.remove(&tid);
        }
        if self.open.len() >= MAX_TASKS {
            self.open.clear();
        }
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = rustix::fs::open(format!("/proc/{tid}"), flags, Mode::empty())?;
        let flags = OFlags::RDWR | OFlags::CLOEXEC;
        let slack = openat(&directory, "timerslack_ns", flags, Mode::empty())?;
        let value = read_slack(&slack)?;
        self.open.insert(tid, Task { directory, slack });
        Ok(value)
    }

    /// A file below the thread's directory.
    pub(crate) fn open(&mut self, tid: u32, name: &str, flags: OFlags) -> Result<OwnedFd, Errno> {
        self.slack(tid)?;
        let task = self.open.get(&tid).ok_or(Errno::SRCH)?;
        openat(task.directory.as_fd(), name, flags | OFlags::CLOEXEC, Mode::empty())
    }

    /// The thread's ids.
    pub(crate) fn credentials(&mut self, tid: u32) -> Result<Credentials, Errno> {
        let slack = self.slack(tid)?;
        let known = slack.checked_sub(DEFAULT_SLACK + 1).and_then(|index| usize::try_from(index).ok());
        Ok(known.and_then(|index| self.known.get(index)).cloned().unwrap_or_default())
    }

    /// Gives the thread these ids.
    pub(crate) fn set(&mut self, tid: u32, credentials: Credentials) -> Result<(), Errno> {
        let slack = if credentials == Credentials::default() {
            DEFAULT_SLACK
        } else if let Some(index) = self.index.get(&credentials) {
            DEFAULT_SLACK + 1 + *index as u64
        } else {
            if self.known.len() >= MAX_CREDENTIALS {
                return Err(Errno::AGAIN);
            }
            let index = self.known.len();
            self.known.push(credentials.clone());
            self.index.insert(credentials, index);
            DEFAULT_SLACK + 1 + index as u64
        };
        self.slack(tid)?;
        let task = self.open.get(&tid).ok_or(Errno::SRCH)?;
        // Not pwrite: files that the kernel generates refuse it.
        rustix::io::write(&task.slack, slack.to_string().as_bytes()).map(drop)
    }

    /// The thread's file creation mask.
    pub(crate) fn umask(&mut self, tid: u32) -> Result<u32, Errno> {
        let status = self.open(tid, "status", OFlags::RDONLY)?;
        let mut buffer = [0u8; 512];
        let len = rustix::io::read(&status, &mut buffer)?;
        let text = String::from_utf8_lossy(&buffer[..len]);
        // The name on the line before is escaped by the kernel, so a line is a line.
        text.lines()
            .find_map(|line| line.strip_prefix("Umask:"))
            .and_then(|mask| u32::from_str_radix(mask.trim(), 8).ok())
            .ok_or(Errno::INVAL)
    }

    /// The effective uid the kernel holds for the thread, in our namespace.
    pub(crate) fn kernel_file_ids(&mut self, tid: u32) -> Result<(u32, u32), Errno> {
        let status = self.open(tid, "status", OFlags::RDONLY)?;
        let mut buffer = [0u8; 1024];
        let len = rustix::io::read(&status, &mut buffer)?;
        let text = String::from_utf8_lossy(&buffer[..len]).into_owned();
        let id = |prefix: &str| {
            text.lines()
                .find_map(|line| line.strip_prefix(prefix))
                .and_then(|ids| ids.split_ascii_whitespace().nth(3))
                .and_then(|id| id.parse().ok())
                .ok_or(Errno::INVAL)
        };
        Ok((id("Uid:")?, id("Gid:")?))
    }

    /// Forgets every open directory.
    pub(crate) fn forget(&mut self) {
        self.open.clear();
    }
}

/// Reads a path: up to the first NUL, at most 4096 bytes with it (`PATH_MAX`).
pub(crate) fn read_path(tid: u32, address: u64) -> Result<Vec<u8>, Errno> {
    read_string(tid, address, 4096, Errno::NAMETOOLONG)
}

/// Reads a NUL-terminated string of at most `max` bytes, the NUL included.
pub(crate) fn read_string(tid: u32, address: u64, max: usize, long: Errno) -> Result<Vec<u8>, Errno> {
    let mut text: Vec<u8> = Vec::new();
    let mut chunk = [0u8; 4096];
    while text.len() < max {
        let from = address.checked_add(text.len() as u64).ok_or(Errno::FAULT)?;
        // Up to the end of the page: the one behind it may not be there. Most paths are
        // short, so the first read is too.
        let page = 4096 - (from % 4096) as usize;
        let want = page.min(max - text.len()).min(if text.is_empty() { 256 } else { 4096 });
        let n = crate::sys::read_memory(tid, from, &mut chunk[..want]).map_err(errno)?;
        if n == 0 {
            return Err(Errno::FAULT);
        }
        match chunk[..n].iter().position(|byte| *byte == 0) {
            Some(end) => {
                text.extend_from_slice(&chunk[..end]);
                return Ok(text);
            }
            None => text.extend_from_slice(&chunk[..n]),
        }
    }
    Err(long)
}

/// Reads exactly so many bytes.
pub(crate) fn read_bytes(tid: u32, address: u64, len: usize) -> Result<Vec<u8>, Errno> {
    let mut bytes = vec![0; len];
    if len > 0 && crate::sys::read_memory(tid, address, &mut bytes).map_err(errno)? != len {
        return Err(Errno::FAULT);
    }
    Ok(bytes)
}

/// The errno of an I/O error.
pub(crate) fn errno(error: io::Error) -> Errno {
    Errno::from_io_error(&error).unwrap_or(Errno::IO)
}
