//! A control group for a session's commands, where the machine delegates one: the kernel itself
//! then holds the bounds that are only watched elsewhere (cgroups(7); Linux, cgroup-v2.rst,
//! "Delegation" and "No Internal Process Constraint").

use crate::session::Limits;
use rustix::process::{geteuid, getpid};
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// The controllers that hold a bound of ours.
const CONTROLLERS: [&str; 2] = ["memory", "pids"];

/// What our groups are called; a process number follows.
const NAME: &str = "image-composer-";

/// A group that is removed when this is dropped, with whoever is still in it.
#[derive(Debug)]
pub(crate) struct Group {
    path: PathBuf,
}

impl Group {
    /// A group that holds these bounds, or none where no group is delegated.
    pub(crate) fn make(limits: &Limits) -> Option<Group> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let above = delegated().ok()?;
        sweep(above);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = above.join(format!("{NAME}{}.{number}", getpid().as_raw_nonzero()));
        fs::create_dir(&path).ok()?;
        let group = Group { path };
        group.bound(limits).ok()?;
        Some(group)
    }

    fn bound(&self, limits: &Limits) -> io::Result<()> {
        let set = |file: &str, value: u64| fs::write(self.path.join(file), value.to_string());
        if limits.memory > 0 && self.path.join("memory.max").exists() {
            set("memory.max", limits.memory)?;
            // All of it or nothing: a script that lost one process ends who knows how.
            set("memory.oom.group", 1)?;
            // A kernel without swap accounting has no such file.
            let _ = set("memory.swap.max", 0);
        }
        if limits.processes > 0 && self.path.join("pids.max").exists() {
            set("pids.max", limits.processes)?;
        }
        Ok(())
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let _ = fs::write(self.path.join("cgroup.kill"), "1");
        for _ in 0..50 {
            match fs::remove_dir(&self.path) {
                // Who was killed takes a moment to be gone.
                Err(error) if error.kind() == io::ErrorKind::ResourceBusy => {
                    std::thread::sleep(Duration::from_millis(10));
                }
                _ => return,
            }
        }
    }
}

/// Removes the groups of programs that are no more. One that has somebody in it stays.
fn sweep(above: &Path) {
    for entry in fs::read_dir(above).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let Some(rest) = name.to_str().and_then(|name| name.strip_prefix(NAME)) else { continue };
        let Some(pid) = rest.split('.').next().filter(|pid| pid.parse::<u32>().is_ok()) else { continue };
        if !Path::new("/proc").join(pid).exists() {
            let _ = fs::remove_dir(entry.path());
        }
    }
}

/// Whether the kernel holds the number of processes in the group.
pub(crate) fn holds_processes(group: &Path) -> bool {
    bounds(group, "pids.max")
}

/// Whether the kernel holds the bytes of memory of the group: its processes' own, and those in file
/// systems in memory that they have written (cgroup-v2.rst, "Memory Ownership").
pub(crate) fn holds_memory(group: &Path) -> bool {
    bounds(group, "memory.max")
}

fn bounds(group: &Path, file: &str) -> bool {
    fs::read_to_string(group.join(file)).is_ok_and(|most| most.trim() != "max")
}

/// Which bound the group has enforced, and how, if it has had to.
pub(crate) fn enforced(group: &Path) -> Option<(&'static str, String)> {
    let events = |file: &str, key: &str| -> u64 {
        let text = fs::read_to_string(group.join(file)).unwrap_or_default();
        let value = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' '));
        value.and_then(|value| value.trim().parse().ok()).unwrap_or(0)
    };
    let most = |file: &str| fs::read_to_string(group.join(file)).unwrap_or_default().trim().to_owned();
    if events("memory.events", "oom_kill") > 0 {
        return Some(("memory", format!("{} bytes allowed by the control group", most("memory.max"))));
    }
    (events("pids.events", "max") > 0)
        .then(|| ("processes", format!("{} allowed by the control group", most("pids.max"))))
}

/// The control group below which sessions make theirs, for `doctor`.
///
/// # Errors
/// Why none is delegated: memory and processes are then watched, see [`Limits`].
pub fn control_group() -> Result<&'static Path, &'static str> {
    delegated().map_err(String::as_str)
}

/// The group that ours are made in, found once: finding it may mean moving this process.
fn delegated() -> Result<&'static Path, &'static String> {
    static FOUND: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    FOUND.get_or_init(find).as_deref()
}

fn find() -> Result<PathBuf, String> {
    let (mount, own) = place().ok_or("there is no unified hierarchy (cgroup v2) here")?;
    let enabled = |directory: &Path, file: &str| {
        let text = fs::read_to_string(directory.join(file)).unwrap_or_default();
        text.split_ascii_whitespace().any(|name| CONTROLLERS.contains(&name))
    };
    // Beside us, if whoever started us has put us into a leaf of a group that is ours.
    if let Some(above) = own.parent().filter(|above| above.starts_with(&mount))
        && is_ours(above, &mount)
        && enabled(above, "cgroup.subtree_control")
    {
        return Ok(above.to_owned());
    }
    if !is_ours(&own, &mount) {
        return Err(format!("{} is not delegated to this user", own.display()));
    }
    if !enabled(&own, "cgroup.controllers") {
        return Err(format!("{} has neither the memory nor the pids controller", own.display()));
    }
    // Only leaves have processes: we move into one, which works if nobody else is here.
    let processes = fs::read_to_string(own.join("cgroup.procs")).unwrap_or_default();
    if processes.lines().count() != 1 {
        return Err(format!("{} has other processes", own.display()));
    }
    let said = |error: io::Error| format!("{}: {error}", own.display());
    let leaf = own.join("image-composer");
    match fs::create_dir(&leaf) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(said(error)),
        _ => {}
    }
    fs::write(leaf.join("cgroup.procs"), "0").map_err(said)?;
    let control = own.join("cgroup.subtree_control");
    let given = CONTROLLERS.iter().filter(|name| fs::write(&control, format!("+{name}")).is_ok()).count();
    if given == 0 {
        // As it was.
        let _ = fs::write(own.join("cgroup.procs"), "0");
        let _ = fs::remove_dir(&leaf);
        return Err(format!("{} hands on neither memory nor pids", own.display()));
    }
    Ok(own)
}

/// Whether a group may be ours to divide. Root owns them all: to it one is delegated if systemd
/// says so in an attribute (systemd.resource-control(5), `Delegate=`), or if it is all that a
/// container sees, which is not the machine's own root group (that one has no `cgroup.events`).
fn is_ours(group: &Path, mount: &Path) -> bool {
    let Ok(metadata) = fs::metadata(group) else { return false };
    if !geteuid().is_root() {
        return metadata.uid() == geteuid().as_raw();
    }
    let says = |name: &str| {
        let mut value = [0u8; 8];
        rustix::fs::getxattr(group, name, &mut value[..]).is_ok_and(|length| value[..length] == *b"1")
    };
    says("user.delegate") || says("trusted.delegate") || (group == mount && group.join("cgroup.events").exists())
}

/// Where the unified hierarchy is mounted, and our group in it.
fn place() -> Option<(PathBuf, PathBuf)> {
    let own = fs::read_to_string("/proc/self/cgroup").ok()?;
    let own = own.lines().find_map(|line| line.strip_prefix("0::/"))?.to_owned();
    let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
    let mount = mounts.lines().find_map(mounted)?;
    let own = if own.is_empty() { mount.clone() } else { mount.join(own) };
    own.is_dir().then_some((mount, own))
}

/// The mount point of a line of /proc/self/mountinfo (proc_pid_mountinfo(5)) if it is a cgroup2.
fn mounted(line: &str) -> Option<PathBuf> {
    let (fields, source) = line.split_once(" - ")?;
    let mut fields = fields.split(' ');
    let (root, point) = (fields.nth(3)?, fields.next()?);
    // A part of the hierarchy, mounted alone, does not have our path below it.
    (source.starts_with("cgroup2 ") && root == "/").then(|| PathBuf::from(point))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_unified_hierarchy_is_found_among_mounts() {
        let line = "42 32 0:39 / /sys/fs/cgroup/unified rw,relatime shared:9 - cgroup2 cgroup2 rw";
        assert_eq!(mounted(line), Some(PathBuf::from("/sys/fs/cgroup/unified")));
        assert_eq!(mounted(&line.replace(" / ", " /a/part ")), None);
        assert_eq!(mounted("34 32 0:31 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu"), None);
        assert_eq!(mounted("nonsense"), None);
    }

    #[test]
    fn what_a_group_enforced_is_read_from_its_events() {
        let group = tempfile::tempdir().unwrap();
        let put = |name: &str, text: &str| fs::write(group.path().join(name), text).unwrap();
        assert_eq!(enforced(group.path()), None);
        assert!(!holds_processes(group.path()) && !holds_memory(group.path()));
        put("pids.max", "20\n");
        put("memory.max", "max\n");
        assert!(holds_processes(group.path()) && !holds_memory(group.path()));
        put("pids.events", "max 0\n");
        put("memory.events", "low 0\nhigh 0\nmax 17\noom 0\noom_kill 0\noom_group_kill 0\n");
        assert_eq!(enforced(group.path()), None);
        put("pids.events", "max 3\n");
        assert_eq!(enforced(group.path()), Some(("processes", "20 allowed by the control group".into())));
        put("memory.max", "4096\n");
        put("memory.events", "max 17\noom 1\noom_kill 2\n");
        assert_eq!(enforced(group.path()), Some(("memory", "4096 bytes allowed by the control group".into())));
    }
}
