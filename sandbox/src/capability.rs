//! File capabilities and the capabilities of payloads.

use caps::Capability;

/// Name of the attribute that holds a file's capabilities.
pub(crate) const ATTRIBUTE: &[u8] = b"security.capability";

// include/uapi/linux/capability.h: the revision is in the high byte of the first word.
const REVISION_2: u8 = 2;
const REVISION_3: u8 = 3;
const SIZE_2: usize = 20;
const SIZE_3: usize = 24;

/// The attribute as an image wants it. What is set in a user namespace reads from outside as
/// version 3, which is version 2 with the namespace's root at its end.
pub(crate) fn to_version_2(value: &[u8]) -> Vec<u8> {
    let mut value = value.to_vec();
    if value.len() == SIZE_3 && value[3] == REVISION_3 {
        value.truncate(SIZE_2);
        value[3] = REVISION_2;
    }
    value
}

/// What a payload may have at most, and why; the rest leaves its bounding set.
#[rustfmt::skip]
pub(crate) const KEPT: &[(Capability, &str)] = &[
    (Capability::CAP_CHOWN, "scripts set owners"),
    (Capability::CAP_DAC_OVERRIDE, "uid 0 reads and writes what it likes in its tree"),
    (Capability::CAP_DAC_READ_SEARCH, "as above; open_by_handle_at is denied"),
    (Capability::CAP_FOWNER, "scripts change modes and times of files of others"),
    (Capability::CAP_FSETID, "set-gid bits survive a change"),
    (Capability::CAP_SETFCAP, "setcap"),
    (Capability::CAP_SETUID, "su, runuser, setpriv"),
    (Capability::CAP_SETGID, "as above, and setgroups"),
    (Capability::CAP_SETPCAP, "programs that drop capabilities themselves"),
    (Capability::CAP_KILL, "signals among the payload's own processes"),
    (Capability::CAP_SYS_CHROOT, "chroot into a tree of its own; the machine's root is detached"),
    (Capability::CAP_NET_BIND_SERVICE, "daemons that a script starts for a moment, in a network of their own"),
    (Capability::CAP_NET_RAW, "a file that carries it (ping) can be executed at all"),
    (Capability::CAP_AUDIT_WRITE, "PAM modules that log"),
    (Capability::CAP_IPC_OWNER, "System V IPC of its own namespace"),
    (Capability::CAP_LEASE, "harmless, and expected by some daemons"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn version_3_becomes_version_2() {
        let mut three = vec![1, 0, 0, 3];
        three.extend_from_slice(&[7; 16]);
        let mut two = three.clone();
        two[3] = 2;
        three.extend_from_slice(&1000u32.to_le_bytes());
        assert_eq!(to_version_2(&three), two);
        assert_eq!(to_version_2(&two), two);
    }
}
