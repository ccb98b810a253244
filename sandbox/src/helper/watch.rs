//! Watches a session's bounds: time, memory, processes, bytes in the upper, free space.

use super::measure;
use crate::error::Fault;
use crate::session::Limits;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Time between two looks. What can be used in it is the stated overshoot.
const TICK: Duration = Duration::from_millis(250);

/// A look at the upper may take this share of the time: the next one waits accordingly.
const UPPER_SHARE: u32 = 20;

/// Files that must still fit on the file system of the scratch directory: empty ones take no bytes.
const FREE_ENTRIES: u64 = 1000;

/// The bounds and when to look at them.
pub(super) struct Watch {
    limits: Limits,
    scratch: PathBuf,
    upper: PathBuf,
    deadline: Option<Instant>,
    next: Instant,
    next_upper: Instant,
}

impl Watch {
    pub(super) fn new(limits: &Limits, scratch: &Path, upper: &Path) -> Watch {
        let now = Instant::now();
        let deadline = (limits.seconds > 0).then(|| now.checked_add(Duration::from_secs(limits.seconds))).flatten();
        Watch {
            limits: limits.clone(),
            scratch: scratch.to_owned(),
            upper: upper.to_owned(),
            deadline,
            next: now + TICK,
            next_upper: now + TICK,
        }
    }

    /// How long the loop may sleep.
    pub(super) fn wait(&self) -> Duration {
        self.next.saturating_duration_since(Instant::now())
    }

    /// Whether the session's time is up.
    pub(super) fn check_time(&self, index: usize) -> Result<(), Fault> {
        if self.deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            return Err(limit(index, "time", format!("{} seconds", self.limits.seconds)));
        }
        Ok(())
    }

    /// Looks, if it is time to. `pid` is pid 1 of the command's namespace.
    pub(super) fn check(&mut self, index: usize, pid: i32) -> Result<(), Fault> {
        let now = Instant::now();
        if now < self.next {
            return Ok(());
        }
        self.next = now + TICK;
        self.check_time(index)?;
        let (processes, memory) = usage(pid);
        if self.limits.processes > 0 && processes > self.limits.processes {
            return Err(limit(index, "processes", format!("{} allowed", self.limits.processes)));
        }
        if self.limits.memory > 0 && memory > self.limits.memory {
            let detail = format!("{} bytes allowed, {memory} in use", self.limits.memory);
            return Err(limit(index, "memory", detail));
        }
        if let Some(detail) = measure::out_of_memory(memory, pid) {
            return Err(limit(index, "memory", detail));
        }
        if let Ok(stat) = rustix::fs::statvfs(&self.scratch) {
            // Some file systems have no such bound, and say 0.
            if stat.f_files > 0 && stat.f_favail < FREE_ENTRIES {
                let detail = format!("{} more files fit below {}", stat.f_favail, self.scratch.display());
                return Err(limit(index, "free space", detail));
            }
            let free = stat.f_bavail.saturating_mul(stat.f_frsize);
            if free < self.limits.free_bytes {
                let detail = format!(
                    "{free} bytes are left below {}, {} must stay free",
                    self.scratch.display(),
                    self.limits.free_bytes
                );
                return Err(limit(index, "free space", detail));
            }
        }
        if now >= self.next_upper && (self.limits.upper_bytes > 0 || self.limits.memory > 0) {
            let hidden = measure::hidden(pid);
            let used = measure::bytes_below(&self.upper).saturating_add(hidden.unnamed);
            let memory = memory.saturating_add(hidden.memory);
            let took = now.elapsed();
            self.next_upper = now + took.saturating_mul(UPPER_SHARE).max(TICK);
            if self.limits.upper_bytes > 0 && used > self.limits.upper_bytes {
                let detail = format!("{} bytes allowed, {used} written", self.limits.upper_bytes);
                return Err(limit(index, "bytes written", detail));
            }
            if self.limits.memory > 0 && memory > self.limits.memory {
                let detail = format!("{} bytes allowed, {memory} in use", self.limits.memory);
                return Err(limit(index, "memory", detail));
            }
        }
        Ok(())
    }
}

fn limit(index: usize, what: &str, detail: String) -> Fault {
    Fault::Limit { index, what: what.to_owned(), detail }
}

/// Processes of the namespace, and their anonymous memory in bytes. Both are 0 when it is
/// ending: that is no reason to stop.
fn usage(pid: i32) -> (u64, u64) {
    let Ok(entries) = fs::read_dir(format!("/proc/{pid}/root/proc")) else { return (0, 0) };
    let (mut processes, mut pages) = (0u64, 0u64);
    for entry in entries.flatten() {
        if !entry.file_name().as_encoded_bytes().iter().all(u8::is_ascii_digit) {
            continue;
        }
        processes += 1;
        let text = fs::read_to_string(entry.path().join("statm")).unwrap_or_default();
        let mut fields = text.split_ascii_whitespace().filter_map(|field| field.parse::<u64>().ok());
        // size, resident, shared (proc(5))
        let (resident, shared) = (fields.nth(1).unwrap_or(0), fields.next().unwrap_or(0));
        pages = pages.saturating_add(resident.saturating_sub(shared));
    }
    (processes, pages.saturating_mul(rustix::param::page_size() as u64))
}
