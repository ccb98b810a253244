//! The processes below one process, read from /proc: for where no pid namespace holds them.

use std::collections::BTreeMap;
use std::fs;

/// Generations followed upwards at most; a deeper family does not count as one.
const MAX_GENERATIONS: usize = 8192;

/// One process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Process {
    pub(crate) pid: i32,
    pub(crate) parent: i32,
    pub(crate) group: i32,
    /// Ended, and not waited for.
    pub(crate) ended: bool,
}

/// Reads /proc/PID/stat (proc(5)); also of a thread, whose parent is its process's.
pub(crate) fn look_at(pid: i32) -> Option<Process> {
    parse(pid, &fs::read(format!("/proc/{pid}/stat")).ok()?)
}

/// The name stands in parentheses and may hold anything, so what follows is counted from the
/// last one.
fn parse(pid: i32, stat: &[u8]) -> Option<Process> {
    let end = stat.iter().rposition(|byte| *byte == b')')?;
    let text = std::str::from_utf8(stat.get(end + 1..)?).ok()?;
    let mut fields = text.split_ascii_whitespace();
    let ended = matches!(fields.next()?, "Z" | "X");
    Some(Process { pid, parent: fields.next()?.parse().ok()?, group: fields.next()?.parse().ok()?, ended })
}

/// Whether a process, or the process of a thread, is below `root`, which is not below itself.
pub(crate) fn is_below(pid: i32, root: i32) -> bool {
    let mut at = pid;
    for _ in 0..MAX_GENERATIONS {
        let Some(process) = (at > 0).then(|| look_at(at)).flatten() else { return false };
        if process.parent == root {
            // A thread of the root has the root's parent.
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

/// Kills every process below `root`; whether there was one alive.
pub(crate) fn kill_below(root: i32) -> bool {
    let mut alive = false;
    for process in below(root).into_iter().filter(|process| !process.ended) {
        alive = true;
        if let Some(pid) = rustix::process::Pid::from_raw(process.pid) {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        }
    }
    alive
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_may_hold_anything() {
        let stat = b"7 (a) b) Z 1 2) S 3 4 5 0 -1";
        assert_eq!(parse(7, stat), Some(Process { pid: 7, parent: 3, group: 4, ended: false }));
        assert_eq!(parse(7, b"7 (a"), None);
    }

    #[test]
    fn a_child_is_below_and_a_parent_is_not() {
        let me = std::process::id() as i32;
        let mut child = std::process::Command::new("sleep").arg("60").spawn().expect("sleep");
        let pid = child.id() as i32;
        assert!(is_below(pid, me) && !is_below(me, pid) && !is_below(me, me));
        assert!(below(me).iter().any(|process| process.pid == pid));
        child.kill().expect("kill");
        child.wait().expect("wait");
    }
}
