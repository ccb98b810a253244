//! Extended attributes where one id is mapped: access lists are kept by us, our own
//! attributes are hidden, everything else is the kernel's.

use super::operation::Where;
use super::{CONTINUE, Outcome, Supervisor, Waiting, acl, done, files, ledger, lookup, tasks, value};
use crate::sys;
use rustix::fs::XattrFlags;
use rustix::io::Errno;
use std::os::fd::{AsFd, OwnedFd};

// include/uapi/linux/limits.h.
const NAME_MAX: usize = 256;
const VALUE_MAX: usize = 65536;
const LIST_MAX: usize = 65536;

/// What is behind an attribute's name.
enum Attribute {
    /// An access list, kept under our name.
    List(&'static str),
    /// One of ours, which payloads may not touch.
    Ours,
    /// The kernel's business.
    Other,
}

fn attribute(call: &Waiting<'_>) -> Result<(Vec<u8>, Attribute), Errno> {
    let name = tasks::read_string(call.tid, call.arg(1), NAME_MAX, Errno::RANGE)?;
    let kind = if let Some(ours) = acl::kept_as(&name) {
        Attribute::List(ours)
    } else if name.starts_with(ledger::PREFIX) {
        Attribute::Ours
    } else {
        Attribute::Other
    };
    Ok((name, kind))
}

/// Gives bytes to a caller that may only want to know how many there are.
fn hand_over(call: &Waiting<'_>, bytes: &[u8], buffer: u8, room: u8) -> Result<Outcome, Errno> {
    let room = usize::try_from(call.arg(room)).unwrap_or(usize::MAX);
    if room > 0 {
        if room < bytes.len() {
            return Err(Errno::RANGE);
        }
        sys::write_memory(call.tid, call.arg(buffer), bytes).map_err(tasks::errno)?;
    }
    value(bytes.len() as i64)
}

impl Supervisor {
    /// Whether the caller may change a file's access list: its owner, or uid 0.
    fn may_change(&mut self, call: &Waiting<'_>, fd: &OwnedFd) -> Result<(), Errno> {
        let credentials = self.tasks.credentials(call.tid)?;
        let mine = credentials.uid.file == self.files.facts(fd.as_fd())?.uid;
        if credentials.is_root() || mine { Ok(()) } else { Err(Errno::PERM) }
    }

    /// The file, where the kernel cannot do it: it does not keep access lists for us, and does not
    /// find what we make up.
    fn subject(&mut self, call: &Waiting<'_>, place: Where, kind: &Attribute) -> Option<OwnedFd> {
        if !self.bare && matches!(kind, Attribute::Other) {
            return None;
        }
        let (fd, made_up) = self.locate_any(call, place).ok()?;
        (made_up || matches!(kind, Attribute::List(_))).then_some(fd)
    }

    pub(super) fn set_attribute(&mut self, call: &Waiting<'_>, place: Where) -> Result<Outcome, Errno> {
        let Ok((name, kind)) = attribute(call) else { return CONTINUE };
        match kind {
            Attribute::Ours => Err(Errno::PERM),
            Attribute::Other | Attribute::List(_) => {
                let Some(fd) = self.subject(call, place, &kind) else { return CONTINUE };
                let len = usize::try_from(call.arg(3)).map_err(|_| Errno::TOOBIG)?;
                if len > VALUE_MAX {
                    return Err(Errno::TOOBIG);
                }
                let value = tasks::read_bytes(call.tid, call.arg(2), len)?;
                let flags = XattrFlags::from_bits(call.word(4)).ok_or(Errno::INVAL)?;
                self.may_change(call, &fd)?;
                call.check()?;
                self.files.set_attribute(fd.as_fd(), &name, &value, flags)?;
                done()
            }
        }
    }

    pub(super) fn get_attribute(&mut self, call: &Waiting<'_>, place: Where) -> Result<Outcome, Errno> {
        let Ok((name, kind)) = attribute(call) else { return CONTINUE };
        match kind {
            Attribute::Ours => Err(Errno::NODATA),
            Attribute::Other => {
                let Some(fd) = self.subject(call, place, &kind) else { return CONTINUE };
                let mut bytes = vec![0u8; VALUE_MAX];
                let len = rustix::fs::getxattr(lookup::link_of(fd.as_fd()), &name[..], &mut bytes)?;
                call.check()?;
                hand_over(call, &bytes[..len], 2, 3)
            }
            Attribute::List(ours) => {
                let Ok((fd, made_up)) = self.locate_any(call, place) else { return CONTINUE };
                match self.files.list_kept(fd.as_fd(), &name, ours)? {
                    None if made_up => Err(Errno::NODATA),
                    None => CONTINUE,
                    Some(list) => {
                        call.check()?;
                        hand_over(call, &list, 2, 3)
                    }
                }
            }
        }
    }

    pub(super) fn remove_attribute(&mut self, call: &Waiting<'_>, place: Where) -> Result<Outcome, Errno> {
        let Ok((name, kind)) = attribute(call) else { return CONTINUE };
        if matches!(kind, Attribute::Ours) {
            return Err(Errno::NODATA);
        }
        let Some(fd) = self.subject(call, place, &kind) else { return CONTINUE };
        self.may_change(call, &fd)?;
        call.check()?;
        match kind {
            Attribute::List(ours) => files::remove_list(fd.as_fd(), ours, false)?,
            _ => rustix::fs::removexattr(lookup::link_of(fd.as_fd()), &name[..])?,
        }
        done()
    }

    pub(super) fn list_attributes(&mut self, call: &Waiting<'_>, place: Where) -> Result<Outcome, Errno> {
        let Ok((fd, made_up)) = self.locate_any(call, place) else { return CONTINUE };
        let mut buffer = vec![0u8; LIST_MAX];
        let Ok(len) = rustix::fs::listxattr(lookup::link_of(fd.as_fd()), &mut buffer) else {
            return CONTINUE;
        };
        let names = || buffer[..len].split(|byte| *byte == 0).filter(|name| !name.is_empty());
        if !made_up && !names().any(|name| name.starts_with(ledger::PREFIX)) {
            return CONTINUE;
        }
        let mut list = Vec::with_capacity(len);
        for name in names() {
            let kept = acl::NAMES.iter().find(|(_, ours)| ours.as_bytes() == name);
            let shown = match kept {
                Some((theirs, _)) => theirs,
                None if name.starts_with(ledger::PREFIX) => continue,
                None => name,
            };
            list.extend_from_slice(shown);
            list.push(0);
        }
        call.check()?;
        hand_over(call, &list, 1, 2)
    }
}
