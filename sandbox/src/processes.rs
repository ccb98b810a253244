//! The processes below one process, read from /proc: for where no pid namespace holds them.

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;

/// Generations followed upwards at most; a deeper family does not count as one.
const MAX_GENERATIONS: usize = 8192;

/// One process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Process {
    pub(crate) pid: i32,
    pub(crate) parent: i32,
    pub(crate) group: i32,
    /// Threads that it has.
    pub(crate) threads: u64,
}

/// Reads /proc/PID/stat (proc(5)); also of a thread, whose parent is its process's.
fn look_at(pid: i32) -> Option<Process> {
    parse(pid, &fs::read(format!("/proc/{pid}/stat")).ok()?)
}

/// The name stands in parentheses and may hold anything, so what follows is counted from the
/// last one.
fn parse(pid: i32, stat: &[u8]) -> Option<Process> {
    let end = stat.iter().rposition(|byte| *byte == b')')?;
    let text = std::str::from_utf8(stat.get(end + 1..)?).ok()?;
    let fields: Vec<&str> = text.split_ascii_whitespace().collect();
    let number = |at: usize| fields.get(at).and_then(|field| field.parse::<i32>().ok());
    // State, ppid, pgrp, and after fourteen others num_threads.
    let threads = number(17).and_then(|threads| u64::try_from(threads).ok()).unwrap_or(1);
    Some(Process { pid, parent: number(1)?, group: number(2)?, threads })
}

/// Whether a process, or the process of a thread, is below `root`, which is not below itself.
pub(crate) fn is_below(pid: i32, root: i32) -> bool {
    let mut at = pid;
    for _ in 0..MAX_GENERATIONS {
        let Some(process) = (at > 0).then(|| look_at(at)).flatten() else { return false };
        if process.parent == root {
            return true;
        }
        at = process.parent;
    }
    false
}

/// Every process below `root`, parents before children.
pub(crate) fn below(root: i32) -> Vec<Process> {
    let mut children: BTreeMap<i32, Vec<Process>> = BTreeMap::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let number = entry.file_name().to_str().and_then(|name| name.parse().ok());
        if let Some(process) = number.and_then(look_at) {
            children.entry(process.parent).or_default().push(process);
        }
    }
    let mut found = Vec::new();
    let mut next = children.remove(&root).unwrap_or_default();
    while let Some(process) = next.pop() {
        next.extend(children.remove(&process.pid).unwrap_or_default());
        found.push(process);
    }
    found
}

/// Signals a process if it is below `root`: the descriptor keeps its number from being another's.
pub(crate) fn signal(pid: i32, root: i32, signal: Option<Signal>) -> Result<(), rustix::io::Errno> {
    let fd = pidfd_open(Pid::from_raw(pid).ok_or(rustix::io::Errno::SRCH)?, PidfdFlags::empty())?;
    if !is_below(pid, root) {
        return Err(rustix::io::Errno::SRCH);
    }
    signal.map_or(Ok(()), |signal| pidfd_send_signal(&fd, signal))
}

/// Kills every process below `root`, whatever state it is in: one whose first thread has ended
/// looks dead. Whole groups at once, because a group cannot fork away from a signal (the kernel
/// adds no child to it meanwhile); no group can be made by a payload that is ending.
pub(crate) fn kill_below(root: i32) {
    let all = below(root);
    let own = rustix::process::getpgrp().as_raw_nonzero().get();
    let groups: BTreeSet<i32> =
        all.iter().map(|process| process.group).filter(|group| *group > 1 && *group != own).collect();
    for group in groups.into_iter().filter_map(Pid::from_raw) {
        let _ = rustix::process::kill_process_group(group, Signal::KILL);
    }
    for process in &all {
        let _ = signal(process.pid, root, Some(Signal::KILL));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_may_hold_anything() {
        let stat = b"7 (a) b) Z 1 2) S 3 4 5 0 -1 0 0 0 0 0 0 0 0 0 20 0 12 0";
        assert_eq!(parse(7, stat), Some(Process { pid: 7, parent: 3, group: 4, threads: 12 }));
        assert_eq!(parse(7, b"7 (a"), None);
    }

    #[test]
    fn a_child_is_below_and_a_parent_is_not() {
        let me = std::process::id() as i32;
        let mut child = std::process::Command::new("sleep").arg("60").spawn().expect("sleep");
        let pid = child.id() as i32;
        assert!(is_below(pid, me) && !is_below(me, pid) && !is_below(me, me));
        assert!(below(me).iter().any(|process| process.pid == pid));
        assert_eq!(signal(pid, pid, None), Err(rustix::io::Errno::SRCH));
        assert_eq!(signal(pid, me, Some(Signal::KILL)), Ok(()));
        child.wait().expect("wait");
    }
}
