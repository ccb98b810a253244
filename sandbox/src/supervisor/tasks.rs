//! The threads that call: their directories in /proc, and their ids.
//!
//! Ids must follow fork and exec, also of a process whose parent is long gone, without the
//! cost of being asked about each fork. So the kernel carries them: the soft limit on
//! *real-time CPU time* (RLIMIT_RTTIME of getrlimit(2)) is a number of the process, inherited
//! by fork, kept by exec, and settable from outside by the same uid. It says nothing to a
//! process that no one gave real-time priority. It holds an index into our list of
//! credentials; a limit above the list means uid 0. A payload's own changes of this one limit
//! are answered with success and nothing else.

use super::credentials::Credentials;
use crate::sys;
use rustix::fs::{Mode, OFlags, openat};
use rustix::io::Errno;
use std::collections::BTreeMap;
use std::io;
use std::os::fd::OwnedFd;

/// The limit that carries a process's ids.
pub(crate) const CARRIER: libc::c_int = libc::RLIMIT_RTTIME as libc::c_int;

/// Distinct sets of ids in one session; a build has dozens.
pub(crate) const MAX_CREDENTIALS: u64 = 10_000;

/// Threads whose descriptors are kept open.
const MAX_TASKS: usize = 256;

/// The threads seen of late, and all credentials ever set.
#[derive(Debug, Default)]
pub(crate) struct Tasks {
    /// Directories in /proc, each opened while one of the thread's calls waited.
    open: BTreeMap<u32, OwnedFd>,
    known: Vec<Credentials>,
    index: BTreeMap<Credentials, usize>,
}

impl Tasks {
    /// A file below the thread's directory. A number that was given to another thread is
    /// noticed: a dead thread's directory has nothing in it any more.
    pub(crate) fn open(&mut self, tid: u32, name: &str, flags: OFlags) -> Result<OwnedFd, Errno> {
        let flags = flags | OFlags::CLOEXEC;
        if let Some(directory) = self.open.get(&tid) {
            match openat(directory, name, flags, Mode::empty()) {
                Err(Errno::SRCH | Errno::NOENT) => {}
                other => return other,
            }
        }
        if self.open.len() >= MAX_TASKS {
            self.open.clear();
        }
        let path = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = rustix::fs::open(format!("/proc/{tid}"), path, Mode::empty())?;
        let file = openat(&directory, name, flags, Mode::empty());
        self.open.insert(tid, directory);
        file
    }

    /// The thread's ids.
    pub(crate) fn credentials(&mut self, tid: u32) -> Result<Credentials, Errno> {
        let (carried, _) = sys::limit_of(tid, CARRIER).map_err(errno)?;
        let known = usize::try_from(carried).ok().and_then(|index| self.known.get(index));
        Ok(known.cloned().unwrap_or_default())
    }

    /// Gives the thread, and with it its process, these ids.
    pub(crate) fn set(&mut self, tid: u32, credentials: Credentials) -> Result<(), Errno> {
        let (_, most) = sys::limit_of(tid, CARRIER).map_err(errno)?;
        let carried = if credentials == Credentials::default() {
            most
        } else if let Some(index) = self.index.get(&credentials) {
            *index as u64
        } else {
            let index = self.known.len();
            if index as u64 >= MAX_CREDENTIALS {
                return Err(Errno::AGAIN);
            }
            self.known.push(credentials.clone());
            self.index.insert(credentials, index);
            index as u64
        };
        sys::set_limit_of(tid, CARRIER, (carried, most)).map_err(errno)
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

    /// The process that a thread belongs to.
    pub(crate) fn process_of(&mut self, tid: u32) -> Result<u32, Errno> {
        let status = self.open(tid, "status", OFlags::RDONLY)?;
        let mut buffer = [0u8; 512];
        let len = rustix::io::read(&status, &mut buffer)?;
        let text = String::from_utf8_lossy(&buffer[..len]);
        let line = text.lines().find_map(|line| line.strip_prefix("Tgid:"));
        line.and_then(|number| number.trim().parse().ok()).ok_or(Errno::INVAL)
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
        let n = sys::read_memory(tid, from, &mut chunk[..want]).map_err(errno)?;
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
    if len > 0 && sys::read_memory(tid, address, &mut bytes).map_err(errno)? != len {
        return Err(Errno::FAULT);
    }
    Ok(bytes)
}

/// The errno of an I/O error.
pub(crate) fn errno(error: io::Error) -> Errno {
    Errno::from_io_error(&error).unwrap_or(Errno::IO)
}
