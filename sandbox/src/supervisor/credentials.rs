//! The ids of a process as the image sees them, and what the set*id calls do to them.
//!
//! The rules are those of kernel/sys.c and security/commoncap.c (credentials(7),
//! capabilities(7)): a process with capabilities may take any id, others only swap among the
//! ones they have. Capabilities are kept as all or nothing, which is how builds use them.

use super::operation::Credential;
use rustix::io::Errno;

/// "Leave it as it is" in the set*id and chown calls.
pub(crate) const UNCHANGED: u32 = u32::MAX;

/// `NGROUPS_MAX` is 65536; no program of a build needs more than this.
pub(crate) const MAX_GROUPS: usize = 1024;

/// Real, effective, saved and file-system id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) struct Ids {
    pub(crate) real: u32,
    pub(crate) effective: u32,
    pub(crate) saved: u32,
    pub(crate) file: u32,
}

impl Ids {
    fn has(self, id: u32) -> bool {
        [self.real, self.effective, self.saved].contains(&id)
    }
}

/// All ids of one thread.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) struct Credentials {
    pub(crate) uid: Ids,
    pub(crate) gid: Ids,
    pub(crate) groups: Vec<u32>,
    /// No capabilities are permitted any more.
    pub(crate) lost: bool,
    /// No capabilities are effective now.
    pub(crate) idle: bool,
    /// Capabilities stay permitted when uid 0 is left (`PR_SET_KEEPCAPS`).
    pub(crate) keep: bool,
}

impl Credentials {
    /// Whether calls that need privilege succeed.
    pub(crate) fn is_root(&self) -> bool {
        !self.idle
    }

    /// What becomes of capabilities when uids change (`cap_emulate_setxuid`).
    fn adjust(&mut self, before: Ids) {
        let after = self.uid;
        if before.has(0) && !after.has(0) && !self.keep {
            (self.lost, self.idle) = (true, true);
        }
        if before.effective == 0 && after.effective != 0 {
            self.idle = true;
        }
        if before.effective != 0 && after.effective == 0 {
            self.idle = self.lost;
        }
    }

    /// What capset asks for: whether any capability is to be permitted and effective. More
    /// than is permitted cannot be had.
    pub(crate) fn limit(&mut self, permitted: bool, effective: bool) -> Result<(), Errno> {
        if (permitted && self.lost) || (effective && !permitted) {
            return Err(Errno::PERM);
        }
        (self.lost, self.idle) = (!permitted, !effective);
        Ok(())
    }

    /// Whether a file of that group counts as the process's own.
    pub(crate) fn in_group(&self, gid: u32) -> bool {
        self.gid.file == gid || self.groups.contains(&gid)
    }

    /// The ids after an exec of a file with that mode and owner.
    pub(crate) fn after_exec(&self, mode: u32, uid: u32, gid: u32) -> Credentials {
        let mut next = self.clone();
        if mode & 0o4000 != 0 {
            next.uid.effective = uid;
        }
        // Set-gid without group-execute once meant mandatory locking: ignored.
        if mode & 0o2010 == 0o2010 {
            next.gid.effective = gid;
        }
        for ids in [&mut next.uid, &mut next.gid] {
            ids.saved = ids.effective;
            ids.file = ids.effective;
        }
        // The set-uid bit of a file of uid 0, or uid 0 itself, has them; nobody else does.
        next.idle = next.uid.effective != 0;
        next.lost = next.idle && next.uid.real != 0;
        next.keep = false;
        next
    }

    /// Carries out a set*id call; the value is what the call returns.
    pub(crate) fn set(&mut self, which: Credential, args: [u32; 3]) -> Result<i64, Errno> {
        let root = self.is_root();
        let before = self.uid;
        let result = self.change(which, args, root)?;
        if !matches!(which, Credential::SetFsuid | Credential::SetFsgid) {
            self.adjust(before);
        }
        Ok(result)
    }

    fn change(&mut self, which: Credential, args: [u32; 3], root: bool) -> Result<i64, Errno> {
        match which {
            Credential::SetUid => set_one(&mut self.uid, args[0], root),
            Credential::SetGid => set_one(&mut self.gid, args[0], root),
            Credential::SetReuid => set_two(&mut self.uid, args[0], args[1], root),
            Credential::SetRegid => set_two(&mut self.gid, args[0], args[1], root),
            Credential::SetResuid => set_three(&mut self.uid, args, root),
            Credential::SetResgid => set_three(&mut self.gid, args, root),
            Credential::SetFsuid => Ok(set_file(&mut self.uid, args[0], root)),
            Credential::SetFsgid => Ok(set_file(&mut self.gid, args[0], root)),
            _ => Err(Errno::INVAL),
        }
    }
}

fn set_one(ids: &mut Ids, id: u32, root: bool) -> Result<i64, Errno> {
    if id == UNCHANGED {
        return Err(Errno::INVAL);
    }
    if root {
        (ids.real, ids.saved) = (id, id);
    } else if id != ids.real && id != ids.saved {
        return Err(Errno::PERM);
    }
    (ids.effective, ids.file) = (id, id);
    Ok(0)
}

fn set_two(ids: &mut Ids, real: u32, effective: u32, root: bool) -> Result<i64, Errno> {
    let old = *ids;
    if real != UNCHANGED {
        if !root && real != old.real && real != old.effective {
            return Err(Errno::PERM);
        }
        ids.real = real;
    }
    if effective != UNCHANGED {
        if !root && !old.has(effective) {
            *ids = old;
            return Err(Errno::PERM);
        }
        ids.effective = effective;
    }
    if real != UNCHANGED || (effective != UNCHANGED && effective != old.real) {
        ids.saved = ids.effective;
    }
    ids.file = ids.effective;
    Ok(0)
}

fn set_three(ids: &mut Ids, to: [u32; 3], root: bool) -> Result<i64, Errno> {
    if !root && to.iter().any(|id| *id != UNCHANGED && !ids.has(*id)) {
        return Err(Errno::PERM);
    }
    for (slot, id) in [&mut ids.real, &mut ids.effective, &mut ids.saved].into_iter().zip(to) {
        if id != UNCHANGED {
            *slot = id;
        }
    }
    ids.file = ids.effective;
    Ok(0)
}

/// Never fails: it returns the former id.
fn set_file(ids: &mut Ids, id: u32, root: bool) -> i64 {
    let old = ids.file;
    if id != UNCHANGED && (root || ids.has(id) || id == old) {
        ids.file = id;
    }
    i64::from(old)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(id: u32) -> Ids {
        Ids { real: id, effective: id, saved: id, file: id }
    }

    #[test]
    fn root_gives_up_everything_with_setuid() {
        let mut credentials = Credentials::default();
        assert_eq!(credentials.set(Credential::SetUid, [33, 0, 0]), Ok(0));
        assert_eq!(credentials.uid, user(33));
        assert_eq!(credentials.set(Credential::SetUid, [0, 0, 0]), Err(Errno::PERM));
    }

    #[test]
    fn seteuid_comes_back() {
        let mut credentials = Credentials::default();
        let drop = [UNCHANGED, 33, UNCHANGED];
        assert_eq!(credentials.set(Credential::SetResuid, drop), Ok(0));
        assert!(!credentials.is_root());
        assert_eq!(credentials.set(Credential::SetResuid, [UNCHANGED, 0, UNCHANGED]), Ok(0));
        assert!(credentials.is_root());
    }

    #[test]
    fn setreuid_swaps_and_saves() {
        let mut credentials = Credentials { uid: user(5), ..Credentials::default() };
        credentials.uid.effective = 0;
        credentials.keep = true;
        assert_eq!(credentials.set(Credential::SetReuid, [0, 5, 0]), Ok(0));
        let swapped = Ids { real: 0, effective: 5, saved: 5, file: 5 };
        assert_eq!(credentials.uid, swapped);
        assert_eq!(credentials.set(Credential::SetReuid, [UNCHANGED, 7, 0]), Err(Errno::PERM));
        assert_eq!(credentials.uid, swapped);
    }

    #[test]
    fn exec_of_a_set_id_file() {
        let credentials = Credentials { uid: user(5), gid: user(6), lost: true, idle: true, ..Credentials::default() };
        let next = credentials.after_exec(0o6755, 0, 7);
        assert_eq!(next.uid, Ids { real: 5, effective: 0, saved: 0, file: 0 });
        assert_eq!(next.gid, Ids { real: 6, effective: 7, saved: 7, file: 7 });
        assert!(next.is_root() && !next.lost);
        assert_eq!(credentials.after_exec(0o2644, 0, 7).gid, user(6));
        assert!(!credentials.after_exec(0o755, 0, 0).is_root());
    }

    #[test]
    fn setfsuid_returns_the_old_id_and_refuses_in_silence() {
        let mut credentials = Credentials { uid: user(5), idle: true, ..Credentials::default() };
        assert_eq!(credentials.set(Credential::SetFsuid, [9, 0, 0]), Ok(5));
        assert_eq!(credentials.uid.file, 5);
    }

    /// setpriv changes its uid first and needs capabilities for the rest.
    #[test]
    fn kept_capabilities_outlive_uid_0() {
        let mut credentials = Credentials { keep: true, ..Credentials::default() };
        assert_eq!(credentials.set(Credential::SetResuid, [6, 6, 6]), Ok(0));
        assert!(!credentials.is_root() && !credentials.lost);
        assert_eq!(credentials.limit(true, true), Ok(()));
        assert_eq!(credentials.set(Credential::SetResgid, [12, 12, 12]), Ok(0));
        assert_eq!(credentials.limit(false, false), Ok(()));
        assert_eq!(credentials.limit(true, true), Err(Errno::PERM));
    }
}
