//! What a payload has taken that is not where one looks first: bytes in directories of any depth,
//! in files without a name, and memory that is in no process's own.

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, ResolveFlags, openat2, statat};
use rustix::io::Errno;
use std::collections::BTreeSet;
use std::fs;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;

/// `st_blocks` counts in these, in bytes (stat(2)).
const BLOCK: u64 = 512;

/// Magic number of a tmpfs (statfs(2)), which memfd_create(2) uses too.
const TMPFS: u64 = 0x0102_1994;

/// Longest path that is opened in one piece, in bytes; half of `PATH_MAX`.
const PIECE: usize = 2048;

/// Memory that must stay available on the machine, in bytes: an eighth of what it has, and no more
/// than this. Between two looks a payload can take about as much.
const MOST_SPARED: u64 = 1 << 30;

/// A payload that has less than this share of the machine's memory is not what fills it.
const FAIR_SHARE: u64 = 4;

/// A process with less shared memory than this, in KiB, is not looked into: reading what each
/// mapping holds costs far more than the rest.
const WORTH_A_LOOK: u64 = 1024;

/// Bytes allocated below a directory, however deep; a file with several names counts once.
pub(super) fn bytes_below(top: &Path) -> u64 {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::open(top, flags, Mode::empty()).map_or(0, from_top)
}

/// As [`bytes_below`], of an open directory.
pub(super) fn bytes_below_at(top: BorrowedFd<'_>) -> u64 {
    top.try_clone_to_owned().map_or(0, from_top)
}

fn from_top(top: OwnedFd) -> u64 {
    // No descriptor and no stack frame for each level: a payload decides how many there are.
    let mut left = vec![(Rc::new(top), PathBuf::from("."))];
    let mut linked = BTreeSet::new();
    let mut blocks = 0u64;
    while let Some((base, path)) = left.pop() {
        let Ok(fd) = open_below(&base, &path) else { continue };
        let Ok(entries) = Dir::read_from(&fd) else { continue };
        let (base, path) =
            if path.as_os_str().len() > PIECE { (Rc::new(fd), PathBuf::from(".")) } else { (base, path) };
        for entry in entries.flatten() {
            let name = entry.file_name();
            if name.to_bytes() == b"." || name.to_bytes() == b".." {
                continue;
            }
            let path = path.join(std::ffi::OsStr::from_bytes(name.to_bytes()));
            let Ok(stat) = statat(&*base, &path, AtFlags::SYMLINK_NOFOLLOW) else { continue };
            if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
                left.push((Rc::clone(&base), path));
            } else if stat.st_nlink > 1 && !linked.insert(stat.st_ino) {
                continue;
            }
            blocks = blocks.saturating_add(stat.st_blocks as u64);
        }
    }
    blocks.saturating_mul(BLOCK)
}

/// A directory below another; links are not followed, wherever in the path they are.
fn open_below(base: &Rc<OwnedFd>, path: &Path) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    openat2(base.as_fd(), path, flags, Mode::empty(), ResolveFlags::NO_SYMLINKS | ResolveFlags::BENEATH)
}

/// Why the session must end before the machine is out of memory and the kernel chooses whom to
/// kill, with or without a bound of its own; `own` is what its processes have.
pub(super) fn out_of_memory(own: u64, payload: impl FnOnce() -> Payload) -> Option<String> {
    let (left, total) = memory_left(&fs::read_to_string("/proc/meminfo").ok()?)?;
    if left >= MOST_SPARED.min(total / 8) {
        return None;
    }
    let own = own.saturating_add(hidden(&payload()).memory);
    (own >= total / FAIR_SHARE).then(|| format!("{left} bytes are left on the machine, {own} in use"))
}

/// Bytes that can still be had, and those that the machine has, from /proc/meminfo (proc(5)).
fn memory_left(text: &str) -> Option<(u64, u64)> {
    let bytes =
        |name: &str| text.lines().find_map(|line| kilobytes(line, name)).map(|number| number.saturating_mul(1024));
    let left = bytes("MemAvailable:")?.saturating_add(bytes("SwapFree:").unwrap_or(0));
    Some((left, bytes("MemTotal:")?))
}

/// What nobody finds by a path.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Hidden {
    /// Bytes of open files on a disk that have no name any more.
    pub(super) unnamed: u64,
    /// Bytes of memory outside of the processes' own: memory files, shared mappings, and the file
    /// systems in memory.
    pub(super) memory: u64,
}

/// Whom to look at.
pub(super) struct Payload {
    /// Their directories in a /proc.
    pub(super) processes: Vec<PathBuf>,
    /// Where file systems in memory are mounted that only they have.
    pub(super) root: Option<PathBuf>,
}

/// Looks for it. What is on its way through a socket, or only open in one thread, is not seen; free
/// space and memory of the machine are bounded all the same.
pub(super) fn hidden(payload: &Payload) -> Hidden {
    let mut found = Hidden::default();
    let mut seen = BTreeSet::new();
    for process in &payload.processes {
        open_files(&process.join("fd"), &mut seen, &mut found);
    }
    // After all that is open, so that nothing counts twice.
    for process in &payload.processes {
        found.memory = found.memory.saturating_add(mapped(process, &seen));
    }
    if let Some(root) = &payload.root {
        for name in ["tmp", "run", "dev", "dev/shm"] {
            found.memory = found.memory.saturating_add(file_system(root, name));
        }
    }
    found
}

fn open_files(directory: &Path, seen: &mut BTreeSet<(u64, u64)>, found: &mut Hidden) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        // Follows to the open file itself, whatever its name was.
        let Ok(stat) = fs::metadata(entry.path()) else { continue };
        if !stat.is_file() || stat.nlink() > 0 || !seen.insert((stat.dev(), stat.ino())) {
            continue;
        }
        let in_memory = rustix::fs::statfs(entry.path()).is_ok_and(|system| system.f_type as u64 == TMPFS);
        let kind = if in_memory { &mut found.memory } else { &mut found.unnamed };
        *kind = kind.saturating_add(stat.blocks().saturating_mul(BLOCK));
    }
}

/// The number behind a name such as `Pss:` of a line (proc(5)), in KiB.
fn kilobytes(line: &str, name: &str) -> Option<u64> {
    line.strip_prefix(name)?.split_ascii_whitespace().next()?.parse().ok()
}

/// A process's share of shared memory that has no name and is not open either.
fn mapped(process: &Path, seen: &BTreeSet<(u64, u64)>) -> u64 {
    let status = fs::read_to_string(process.join("status")).unwrap_or_default();
    if status.lines().find_map(|line| kilobytes(line, "RssShmem:")).unwrap_or(0) < WORTH_A_LOOK {
        return 0;
    }
    shares(&String::from_utf8_lossy(&fs::read(process.join("smaps")).unwrap_or_default()), seen)
}

/// As [`mapped`], of the text of /proc/PID/smaps.
fn shares(smaps: &str, seen: &BTreeSet<(u64, u64)>) -> u64 {
    let (mut sum, mut counts) = (0u64, false);
    for line in smaps.lines() {
        // A mapping's first line: range, rights, offset, device, inode, name.
        let mut words = line.split_ascii_whitespace();
        if words.next().is_some_and(|word| word.contains('-')) {
            let inode = words.nth(3).and_then(|inode| inode.parse::<u64>().ok()).unwrap_or(0);
            let name = words.next().unwrap_or_default();
            let open = || seen.iter().any(|(_, number)| *number == inode);
            // A segment's name is its key; those that nobody has attached are bounded by the view.
            let shared = name == "/dev/zero" || name.starts_with("/SYSV");
            counts = shared || (name.starts_with("/memfd:") && !open());
        } else if counts && let Some(share) = kilobytes(line, "Pss:") {
            sum = sum.saturating_add(share.saturating_mul(1024));
        }
    }
    sum
}

/// Bytes in a file system in memory that is mounted there; 0 if it is a part of the tree.
fn file_system(root: &Path, name: &str) -> u64 {
    let at = root.join(name);
    let (Ok(tree), Ok(here), Ok(system)) = (fs::metadata(root), fs::symlink_metadata(&at), rustix::fs::statfs(&at))
    else {
        return 0;
    };
    if here.dev() == tree.dev() || system.f_type as u64 != TMPFS {
        return 0;
    }
    system.f_blocks.saturating_sub(system.f_bfree).saturating_mul(system.f_bsize as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_left_counts_swap() {
        let text = "MemTotal:  8000 kB\nMemFree: 10 kB\nMemAvailable:   500 kB\nSwapFree:  7 kB\n";
        assert_eq!(memory_left(text), Some((507 * 1024, 8000 * 1024)));
        assert_eq!(memory_left("MemTotal: 8000 kB\n"), None);
    }

    #[test]
    fn shared_mappings_count_by_share_and_open_ones_not_again() {
        let smaps = "7f00-7f10 rw-s 00000000 00:01 12 /dev/zero (deleted)\nSize: 64 kB\nPss:   32 kB\n\
                     7f20-7f30 rw-s 00000000 00:01 13 /memfd:x (deleted)\nPss: 8 kB\n\
                     7f40-7f50 rw-s 00000000 00:01 14 /memfd:y (deleted)\nPss: 4 kB\nPss_Dirty: 4 kB\n\
                     7f60-7f70 r--p 00000000 08:01 15 /bin/sh\nPss: 100 kB\n";
        assert_eq!(shares(smaps, &BTreeSet::from([(1, 13)])), 36 * 1024);
        assert_eq!(shares("nonsense\n\nPss: 3 kB\n", &BTreeSet::new()), 0);
    }
}
