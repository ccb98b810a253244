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
    /// Bytes that lie where the upper is looked for and are nobody's doing.
    given: u64,
    /// The control group that holds the bounds too, where one is delegated.
    pub(super) group: Option<PathBuf>,
    /// There is no pid namespace: the processes are those below the first.
    bare: bool,
}

impl Watch {
    pub(super) fn new(limits: &Limits, scratch: &Path, upper: &Path, bare: bool) -> Watch {
        let now = Instant::now();
        let deadline = (limits.seconds > 0).then(|| now.checked_add(Duration::from_secs(limits.seconds))).flatten();
        Watch {
            limits: limits.clone(),
            scratch: scratch.to_owned(),
            upper: upper.to_owned(),
            deadline,
            next: now + TICK,
            next_upper: now + TICK,
            given: 0,
            group: None,
            bare,
        }
    }

    /// Looks at an assembled tree, of which the layers' own bytes do not count.
    pub(super) fn look_at_tree(&mut self, tree: &Path, given: u64) {
        (self.upper, self.given) = (tree.to_owned(), given);
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

    /// Whether the kernel has had to hold a bound.
    pub(super) fn check_group(&self, index: usize) -> Result<(), Fault> {
        let enforced = self.group.as_deref().and_then(crate::cgroup::enforced);
        enforced.map_or(Ok(()), |(what, detail)| Err(limit(index, what, detail)))
    }

    /// Looks, if it is time to. `pid` is pid 1 of the command's namespace.
    pub(super) fn check(&mut self, index: usize, pid: i32) -> Result<(), Fault> {
        let now = Instant::now();
        if now < self.next {
            return Ok(());
        }
        self.next = now + TICK;
        self.check_time(index)?;
        self.check_group(index)?;
        let (processes, memory) = if self.bare { usage_below(pid) } else { usage(pid) };
        // Where the kernel holds that bound, it counts better than somebody who reads one name after the other.
        // A sum of what was there at different moments can exceed what the group ever had.
        let holds = |bound: fn(&Path) -> bool| self.group.as_deref().is_some_and(bound);
        if self.limits.processes > 0 && processes > self.limits.processes && !holds(crate::cgroup::holds_processes) {
            return Err(limit(index, "processes", format!("{} allowed", self.limits.processes)));
        }
        let memory_watched = self.limits.memory > 0 && !holds(crate::cgroup::holds_memory);
        if memory_watched && memory > self.limits.memory {
            let detail = format!("{} bytes allowed, {memory} in use", self.limits.memory);
            return Err(limit(index, "memory", detail));
        }
        if let Some(detail) = measure::out_of_memory(memory, || self.payload(pid)) {
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
        if now >= self.next_upper && (self.limits.upper_bytes > 0 || memory_watched) {
            let hidden = measure::hidden(&self.payload(pid));
            let used = measure::bytes_below(&self.upper).saturating_sub(self.given).saturating_add(hidden.unnamed);
            let memory = memory.saturating_add(hidden.memory);
            let took = now.elapsed();
            self.next_upper = now + took.saturating_mul(UPPER_SHARE).max(TICK);
            if self.limits.upper_bytes > 0 && used > self.limits.upper_bytes {
                let detail = format!("{} bytes allowed, {used} written", self.limits.upper_bytes);
                return Err(limit(index, "bytes written", detail));
            }
            if memory_watched && memory > self.limits.memory {
                let detail = format!("{} bytes allowed, {memory} in use", self.limits.memory);
                return Err(limit(index, "memory", detail));
            }
        }
        Ok(())
    }

    /// The processes of the command, and the tree with the file systems that are only theirs.
    fn payload(&self, pid: i32) -> measure::Payload {
        if self.bare {
            let below = crate::processes::below(pid).into_iter();
            let processes = below.map(|process| PathBuf::from(format!("/proc/{}", process.pid))).collect();
            return measure::Payload { processes, root: None };
        }
        let root = PathBuf::from(format!("/proc/{pid}/root"));
        let entries = fs::read_dir(root.join("proc")).into_iter().flatten().flatten();
        let processes = entries.filter(|entry| entry.file_name().as_encoded_bytes().iter().all(u8::is_ascii_digit));
        measure::Payload { processes: processes.map(|entry| entry.path()).collect(), root: Some(root) }
    }
}

fn limit(index: usize, what: &str, detail: String) -> Fault {
    Fault::Limit { index, what: what.to_owned(), detail }
}

/// Processes of the payload, and their anonymous memory in bytes. Both are 0 when it is
/// ending: that is no reason to stop.
fn usage(pid: i32) -> (u64, u64) {
    let Ok(entries) = fs::read_dir(format!("/proc/{pid}/root/proc")) else { return (0, 0) };
    let (mut processes, mut pages) = (0u64, 0u64);
    for entry in entries.flatten() {
        if !entry.file_name().as_encoded_bytes().iter().all(u8::is_ascii_digit) {
            continue;
        }
        processes += 1;
        pages = pages.saturating_add(anonymous_pages(&entry.path()));
    }
    // Pid 1 is ours.
    (processes.saturating_sub(1), pages.saturating_mul(rustix::param::page_size() as u64))
}

/// As `usage`, of the processes below one.
fn usage_below(first: i32) -> (u64, u64) {
    let all = crate::processes::below(first);
    let pages = all.iter().map(|process| anonymous_pages(&PathBuf::from(format!("/proc/{}", process.pid))));
    let pages = pages.fold(0u64, u64::saturating_add);
    let threads = all.iter().map(|process| process.threads.max(1)).fold(0u64, u64::saturating_add);
    (threads, pages.saturating_mul(rustix::param::page_size() as u64))
}

fn anonymous_pages(process: &Path) -> u64 {
    let pages = |directory: &Path| {
        let text = fs::read_to_string(directory.join("statm")).unwrap_or_default();
        let mut fields = text.split_ascii_whitespace().filter_map(|field| field.parse::<u64>().ok());
        // size, resident, shared (proc(5))
        let (size, resident, shared) =
            (fields.next().unwrap_or(0), fields.next().unwrap_or(0), fields.next().unwrap_or(0));
        (size > 0).then(|| resident.saturating_sub(shared))
    };
    pages(process).unwrap_or_else(|| {
        // Its first thread has ended; the others still have what it had.
        let threads = fs::read_dir(process.join("task")).into_iter().flatten().flatten();
        threads.filter_map(|thread| pages(&thread.path())).max().unwrap_or(0)
    })
}
