//! What scripts ask of /proc/self, where no procfs can be mounted.
//!
//! Only names that a process uses for itself and its like are answered; nothing leads to a
//! process outside, and never is a directory of the machine's procfs handed in, because `..`
//! would lead out of it. Everything else below /proc is a plain file or is not there.

use super::files::set_mode;
use super::lookup::link_of;
use super::{CONTINUE, Outcome, Supervisor, Waiting, done, tasks, value};
use crate::sys;
use rustix::fs::{AtFlags, CWD, Mode, OFlags, Timespec, Timestamps, UTIME_NOW, readlinkat, utimensat};
use rustix::io::Errno;
use std::os::fd::{AsFd, OwnedFd};

/// Files of a process that can be read, and the few that programs write.
#[rustfmt::skip]
const FILES: [&str; 17] = [
    "auxv", "cmdline", "comm", "environ", "io", "limits", "loginuid", "maps", "oom_score", "oom_score_adj",
    "personality", "sessionid", "smaps", "stat", "statm", "status", "wchan",
];

/// Links of a process.
const LINKS: [&str; 3] = ["cwd", "exe", "root"];

/// What a name stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Name {
    /// An open file.
    Stream(i32),
    /// The directory of open files.
    Streams,
    Link(&'static str),
    File(&'static str),
    /// /proc/self.
    Own,
}

/// Whose it is, if not the caller's, and what.
pub(super) fn name(path: &[u8]) -> Option<(Option<i32>, Name)> {
    let path = match std::str::from_utf8(path).ok()? {
        "/dev/stdin" => "/proc/self/fd/0",
        "/dev/stdout" => "/proc/self/fd/1",
        "/dev/stderr" => "/proc/self/fd/2",
        other => other,
    };
    let in_dev = path.strip_prefix("/dev/fd").map(|rest| format!("self/fd{rest}"));
    let below = in_dev.as_deref().or_else(|| path.strip_prefix("/proc/"))?;
    let mut parts = below.split('/').filter(|part| !part.is_empty());
    let who = match parts.next()? {
        "self" | "thread-self" => None,
        number => Some(number.parse().ok()?),
    };
    let name = match (parts.next(), parts.next(), parts.next()) {
        (None, ..) => who.is_none().then_some(Name::Own)?,
        (Some("fd"), None, _) => Name::Streams,
        (Some("fd"), Some(number), None) => Name::Stream(number.parse().ok().filter(|number| *number >= 0)?),
        (Some(file), None, _) => match FILES.iter().find(|known| **known == file) {
            Some(file) => Name::File(file),
            None => Name::Link(LINKS.iter().find(|known| **known == file)?),
        },
        _ => return None,
    };
    Some((who, name))
}

impl Supervisor {
    /// The name, if it is one that only we can answer.
    pub(super) fn made_up(&self, path: &[u8]) -> Option<(Option<i32>, Name)> {
        let (who, name) = name(path)?;
        // A procfs of the payload's own answers for everything else.
        (self.bare || (who.is_none() && matches!(name, Name::Stream(_)))).then_some((who, name))
    }

    /// The process that a name is about.
    fn process(&self, call: &Waiting<'_>, who: Option<i32>) -> Result<u32, Errno> {
        let Some(pid) = who else { return Ok(call.tid) };
        self.population.check(pid).map_err(|_| Errno::NOENT)?;
        u32::try_from(pid).map_err(|_| Errno::NOENT)
    }

    /// What a name stands for, opened by us.
    pub(super) fn open_made_up(
        &mut self,
        call: &Waiting<'_>,
        (who, name): (Option<i32>, Name),
        flags: OFlags,
    ) -> Result<OwnedFd, Errno> {
        let pid = self.process(call, who)?;
        let flags = flags.difference(OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW);
        match name {
            Name::Stream(number) => self.tasks.open(pid, &format!("fd/{number}"), flags),
            Name::Link(name) | Name::File(name) => self.tasks.open(pid, name, flags),
            Name::Streams => self.list_streams(call, pid),
            Name::Own => Err(Errno::NOENT),
        }
    }

    /// A name itself, where it is a link that is not followed.
    pub(super) fn open_link(&mut self, call: &Waiting<'_>, (who, name): (Option<i32>, Name)) -> Result<OwnedFd, Errno> {
        let pid = self.process(call, who)?;
        let flags = OFlags::PATH | OFlags::NOFOLLOW;
        match name {
            Name::Stream(number) => self.tasks.open(pid, &format!("fd/{number}"), flags),
            Name::Link(name) | Name::File(name) => self.tasks.open(pid, name, flags),
            Name::Streams | Name::Own => Err(Errno::NOENT),
        }
    }

    /// open of such a name.
    pub(super) fn hand_in(
        &mut self,
        call: &Waiting<'_>,
        named: (Option<i32>, Name),
        flags: OFlags,
    ) -> Result<Outcome, Errno> {
        if named.1 == Name::Own {
            return CONTINUE;
        }
        // Path descriptors cannot be handed over; one that can read serves as well. A pipe without its
        // other end would hold us up.
        let opened = flags.difference(OFlags::PATH) | OFlags::NONBLOCK;
        let fd = self.open_made_up(call, named, opened)?;
        if !flags.contains(OFlags::NONBLOCK) {
            let now = rustix::fs::fcntl_getfl(&fd)?;
            rustix::fs::fcntl_setfl(&fd, now.difference(OFlags::NONBLOCK))?;
        }
        send(call, &fd, flags)
    }

    /// A directory with a link for each open file, as the process's own would have.
    fn list_streams(&mut self, call: &Waiting<'_>, pid: u32) -> Result<OwnedFd, Errno> {
        let directory = OFlags::RDONLY | OFlags::DIRECTORY;
        let theirs = self.tasks.open(pid, "fd", directory)?;
        let place = format!(".{pid}-{}", call.id);
        let root = self.tasks.open(call.tid, "root", OFlags::PATH | OFlags::DIRECTORY)?;
        let below = rustix::fs::ResolveFlags::NO_SYMLINKS | rustix::fs::ResolveFlags::IN_ROOT;
        let proc = rustix::fs::openat2(&root, "proc", directory | OFlags::CLOEXEC, Mode::empty(), below)?;
        rustix::fs::mkdirat(&proc, &*place, Mode::from_raw_mode(0o555))?;
        let flags = directory | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let made = rustix::fs::openat(&proc, &*place, flags, Mode::empty())?;
        for entry in rustix::fs::Dir::read_from(&theirs)?.flatten() {
            let number = entry.file_name();
            if number.to_bytes().iter().all(u8::is_ascii_digit) {
                let text = readlinkat(&theirs, number, Vec::new()).map(|text| text.into_bytes()).unwrap_or_default();
                let shown = self.inside(call, text).unwrap_or_else(|| b"/".to_vec());
                rustix::fs::symlinkat(&shown[..], &made, number)?;
            }
        }
        Ok(made)
    }

    /// A link's text as the caller's root has it; `None` if it leads outside.
    fn inside(&mut self, call: &Waiting<'_>, text: Vec<u8>) -> Option<Vec<u8>> {
        // Pipes and sockets, and files that never had a name.
        if !text.starts_with(b"/") || text.starts_with(b"/memfd:") {
            return Some(text);
        }
        let root = std::fs::read_link(format!("/proc/{}/root", call.tid)).ok()?;
        let root = std::os::unix::ffi::OsStrExt::as_bytes(root.as_os_str());
        match text.strip_prefix(root)? {
            b"" => Some(b"/".to_vec()),
            rest => rest.starts_with(b"/").then(|| rest.to_vec()),
        }
    }

    pub(super) fn read_link(&mut self, call: &Waiting<'_>, path: u8) -> Result<Outcome, Errno> {
        let Ok(text) = call.path(path) else { return CONTINUE };
        let Some((who, name)) = self.made_up(&text) else { return CONTINUE };
        if name == Name::Streams && text.starts_with(b"/dev/") {
            // A link of the tree's own.
            return CONTINUE;
        }
        let pid = self.process(call, who)?;
        let of = |name: &str| std::fs::read_link(format!("/proc/{pid}/{name}")).map_err(tasks::errno);
        let text = match name {
            Name::Stream(number) => of(&format!("fd/{number}"))?,
            Name::Link(name) => of(name)?,
            Name::Own => self.tasks.process_of(pid)?.to_string().into(),
            Name::Streams | Name::File(_) => return Err(Errno::INVAL),
        };
        let text = std::os::unix::ffi::OsStringExt::into_vec(text.into_os_string());
        let text = self.inside(call, text).ok_or(Errno::NOENT)?;
        let room = usize::try_from(call.word(path + 2) as i32).map_err(|_| Errno::INVAL)?;
        let bytes = &text[..text.len().min(room)];
        sys::write_memory(call.tid, call.arg(path + 1), bytes).map_err(tasks::errno)?;
        value(bytes.len() as i64)
    }

    pub(super) fn access(&mut self, call: &Waiting<'_>, path: u8) -> Result<Outcome, Errno> {
        match call.path(path).ok().and_then(|path| self.made_up(&path)) {
            Some((_, Name::Own | Name::Streams)) | None => CONTINUE,
            Some(named) => self.open_made_up(call, named, OFlags::PATH).and_then(|_| done()),
        }
    }

    /// The file behind the name of an open file, if a call is about one, and the caller's own.
    fn streamed(&mut self, call: &Waiting<'_>, path: u8) -> Result<Option<OwnedFd>, Errno> {
        let named = call.path(path).ok().and_then(|path| self.made_up(&path));
        let Some(named) = named.filter(|(_, name)| matches!(name, Name::Stream(_))) else { return Ok(None) };
        let fd = self.open_made_up(call, named, OFlags::PATH)?;
        let credentials = self.tasks.credentials(call.tid)?;
        if !credentials.is_root() && self.files.facts(fd.as_fd())?.uid != credentials.uid.file {
            return Err(Errno::PERM);
        }
        call.check()?;
        Ok(Some(fd))
    }

    pub(super) fn mode_of(&mut self, call: &Waiting<'_>, path: u8, mode: u8) -> Result<Outcome, Errno> {
        let Some(fd) = self.streamed(call, path)? else { return CONTINUE };
        set_mode(fd.as_fd(), call.word(mode))?;
        done()
    }

    pub(super) fn times(&mut self, call: &Waiting<'_>) -> Result<Outcome, Errno> {
        if call.arg(1) == 0 {
            return CONTINUE;
        }
        let Some(fd) = self.streamed(call, 1)? else { return CONTINUE };
        let now = Timespec { tv_sec: 0, tv_nsec: UTIME_NOW };
        let mut times = [now, now];
        if call.arg(2) != 0 {
            let bytes = tasks::read_bytes(call.tid, call.arg(2), 32)?;
            for (time, bytes) in times.iter_mut().zip(bytes.chunks_exact(16)) {
                let number = |at: usize| bytes[at..at + 8].iter().rev().fold(0i64, |n, byte| n << 8 | i64::from(*byte));
                *time = Timespec { tv_sec: number(0), tv_nsec: number(8) };
            }
        }
        let times = Timestamps { last_access: times[0], last_modification: times[1] };
        utimensat(CWD, link_of(fd.as_fd()), &times, AtFlags::empty())?;
        done()
    }

    /// Programs look whether a procfs is there before they use names in it.
    pub(super) fn file_system(&mut self, call: &Waiting<'_>, open: bool) -> Result<Outcome, Errno> {
        let path = if open {
            let text = std::fs::read_link(format!("/proc/{}/fd/{}", call.tid, call.word(0) as i32));
            let text = text.map(|text| std::os::unix::ffi::OsStringExt::into_vec(text.into_os_string()));
            text.ok().and_then(|text| self.inside(call, text)).unwrap_or_default()
        } else {
            call.path(0)?
        };
        if path != b"/proc" && !path.starts_with(b"/proc/") {
            return CONTINUE;
        }
        let bytes = sys::file_system_of(c"/proc").map_err(tasks::errno)?;
        sys::write_memory(call.tid, call.arg(1), &bytes).map_err(tasks::errno)?;
        done()
    }
}

fn send(call: &Waiting<'_>, fd: &OwnedFd, flags: OFlags) -> Result<Outcome, Errno> {
    call.check()?;
    let close = flags.contains(OFlags::CLOEXEC);
    sys::respond_with_fd(call.listener, call.id, fd.as_fd(), close).map_err(tasks::errno)?;
    Ok(Outcome::Sent)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_process_s_own_names_are_known() {
        assert_eq!(name(b"/dev/fd/63"), Some((None, Name::Stream(63))));
        assert_eq!(name(b"/dev/stdin"), Some((None, Name::Stream(0))));
        assert_eq!(name(b"/proc/12//fd/3"), Some((Some(12), Name::Stream(3))));
        assert_eq!(name(b"/proc/self/fd/"), Some((None, Name::Streams)));
        assert_eq!(name(b"/proc/self"), Some((None, Name::Own)));
        assert_eq!(name(b"/proc/self/exe"), Some((None, Name::Link("exe"))));
        for other in
            ["/proc/1/root/etc", "/proc/self/../1/environ", "/proc/self/ns", "/proc/self/fd/-1", "/dev/fdx", "/proc"]
        {
            assert_eq!(name(other.as_bytes()), None, "{other}");
        }
    }
}
