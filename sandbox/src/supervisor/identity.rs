//! The set*id and get*id calls.

use super::calls::KEEPING;
use super::credentials::{MAX_GROUPS, UNCHANGED};
use super::operation::Credential;
use super::{CONTINUE, Outcome, Supervisor, Waiting, done, tasks, value};
use crate::sys;
use rustix::io::Errno;

/// What 16-bit calls show of an id that does not fit (`DEFAULT_OVERFLOWUID`).
const OVERFLOW: u16 = 65534;

fn encode(ids: &[u32], short: bool) -> Vec<u8> {
    let narrow = |id: &u32| u16::try_from(*id).unwrap_or(OVERFLOW).to_le_bytes();
    if short { ids.iter().flat_map(narrow).collect() } else { ids.iter().flat_map(|id| id.to_le_bytes()).collect() }
}

impl Supervisor {
    pub(super) fn credential(&mut self, call: &Waiting<'_>, which: Credential, short: bool) -> Result<Outcome, Errno> {
        let mut credentials = self.tasks.credentials(call.tid)?;
        let one = |id: u32| match u16::try_from(id) {
            Err(_) if short => value(OVERFLOW.into()),
            _ => value(id.into()),
        };
        let three = |ids: super::credentials::Ids| {
            for (index, id) in [ids.real, ids.effective, ids.saved].into_iter().enumerate() {
                sys::write_memory(call.tid, call.args[index], &encode(&[id], short)).map_err(tasks::errno)?;
            }
            done()
        };
        match which {
            Credential::GetUid => one(credentials.uid.real),
            Credential::GetEuid => one(credentials.uid.effective),
            Credential::GetGid => one(credentials.gid.real),
            Credential::GetEgid => one(credentials.gid.effective),
            Credential::GetResuid => three(credentials.uid),
            Credential::GetResgid => three(credentials.gid),
            Credential::GetGroups => {
                let (groups, room) = (&credentials.groups, call.word(0) as i32);
                if room != 0 {
                    if usize::try_from(room).map_err(|_| Errno::INVAL)? < groups.len() {
                        return Err(Errno::INVAL);
                    }
                    sys::write_memory(call.tid, call.args[1], &encode(groups, short)).map_err(tasks::errno)?;
                }
                value(groups.len() as i64)
            }
            Credential::SetGroups => {
                if !credentials.is_root() {
                    return Err(Errno::PERM);
                }
                credentials.groups = read_groups(call, short)?;
                call.check()?;
                self.tasks.set(call.tid, credentials)?;
                done()
            }
            _ => {
                let args = [0, 1, 2].map(|index| call.id_word(index, short));
                let before = credentials.clone();
                let result = credentials.set(which, args)?;
                if credentials != before {
                    call.check()?;
                    self.tasks.set(call.tid, credentials)?;
                }
                value(result)
            }
        }
    }
}

/// `_LINUX_CAPABILITY_VERSION_1` of include/uapi/linux/capability.h: one set of words; later
/// versions have two.
const VERSION_1: u32 = 0x1998_0330;

/// `SECBIT_KEEP_CAPS` and `SECBIT_NO_SETUID_FIXUP` of include/uapi/linux/securebits.h.
const SECBITS_KEEPING: u64 = 1 << 4 | 1 << 2;

impl Supervisor {
    /// Remembers what a process would give up. The kernel's own capabilities stay: with one
    /// mapped id they are what lets it work in files that are not its own here.
    pub(super) fn capset(&mut self, call: &Waiting<'_>) -> Result<Outcome, Errno> {
        let word = |bytes: &[u8]| bytes.iter().rev().fold(0u32, |word, byte| word << 8 | u32::from(*byte));
        let header = tasks::read_bytes(call.tid, call.args[0], 4)?;
        let sets = if word(&header) == VERSION_1 { 1 } else { 2 };
        let data = tasks::read_bytes(call.tid, call.args[1], sets * 12)?;
        let any = |at: usize| data.chunks_exact(12).any(|set| word(&set[at..at + 4]) != 0);
        let mut credentials = self.tasks.credentials(call.tid)?;
        let before = credentials.clone();
        credentials.limit(any(4), any(0))?;
        if credentials != before {
            call.check()?;
            self.tasks.set(call.tid, credentials)?;
        }
        done()
    }

    pub(super) fn keep(&mut self, call: &Waiting<'_>) -> Result<Outcome, Errno> {
        let mut credentials = self.tasks.credentials(call.tid)?;
        let keep = if call.word(0) == KEEPING[0] { call.args[1] != 0 } else { call.args[1] & SECBITS_KEEPING != 0 };
        if keep != credentials.keep {
            credentials.keep = keep;
            call.check()?;
            self.tasks.set(call.tid, credentials)?;
        }
        CONTINUE
    }
}

fn read_groups(call: &Waiting<'_>, short: bool) -> Result<Vec<u32>, Errno> {
    let count = usize::try_from(call.word(0)).map_err(|_| Errno::INVAL)?;
    if count > MAX_GROUPS {
        return Err(Errno::INVAL);
    }
    let width = if short { 2 } else { 4 };
    let bytes = tasks::read_bytes(call.tid, call.args[1], count * width)?;
    let mut groups: Vec<u32> =
        bytes.chunks_exact(width).map(|id| id.iter().rev().fold(0, |id, byte| id << 8 | u32::from(*byte))).collect();
    if groups.contains(&UNCHANGED) {
        return Err(Errno::INVAL);
    }
    // The kernel keeps them sorted, and getgroups shows them so.
    groups.sort_unstable();
    Ok(groups)
}
