//! File capabilities: the text that headers have (cap_from_text(3)) and the extended attribute that
//! the kernel reads (capabilities(7), "File capability extended attribute versioning").

/// Capabilities by number (Linux, include/uapi/linux/capability.h).
const NAMES: [&str; 41] = [
    "chown",
    "dac_override",
    "dac_read_search",
    "fowner",
    "fsetid",
    "kill",
    "setgid",
    "setuid",
    "setpcap",
    "linux_immutable",
    "net_bind_service",
    "net_broadcast",
    "net_admin",
    "net_raw",
    "ipc_lock",
    "ipc_owner",
    "sys_module",
    "sys_rawio",
    "sys_chroot",
    "sys_ptrace",
    "sys_pacct",
    "sys_admin",
    "sys_boot",
    "sys_nice",
    "sys_resource",
    "sys_time",
    "sys_tty_config",
    "mknod",
    "lease",
    "audit_write",
    "audit_control",
    "setfcap",
    "mac_override",
    "mac_admin",
    "syslog",
    "wake_alarm",
    "block_suspend",
    "audit_read",
    "perfmon",
    "bpf",
    "checkpoint_restore",
];
/// Version 2 of the attribute, and the bit that raises the effective set
/// (capability.h, `VFS_CAP_REVISION_2`, `VFS_CAP_FLAGS_EFFECTIVE`).
const REVISION: u32 = 0x0200_0000;
const EFFECTIVE: u32 = 1;

/// The sets of a file.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Sets {
    effective: u64,
    inheritable: u64,
    permitted: u64,
}

/// The bytes of `security.capability` for a text such as `cap_net_raw=ep`; `None` for what
/// cap_from_text(3) or the kernel would not take.
pub(super) fn attribute(text: &str) -> Option<[u8; 20]> {
    let sets = parse(text)?;
    let granted = sets.permitted | sets.inheritable;
    // The attribute has one bit for the whole effective set.
    let effective = match sets.effective {
        0 => 0,
        effective if effective == granted => EFFECTIVE,
        _ => return None,
    };
    let half = |set: u64, shift: u32| u32::try_from(set >> shift & 0xffff_ffff).ok();
    let words = [
        REVISION | effective,
        half(sets.permitted, 0)?,
        half(sets.inheritable, 0)?,
        half(sets.permitted, 32)?,
        half(sets.inheritable, 32)?,
    ];
    let mut bytes = [0; 20];
    for (place, word) in bytes.as_chunks_mut::<4>().0.iter_mut().zip(words) {
        *place = word.to_le_bytes();
    }
    Some(bytes)
}

/// Reads clauses: names, and then operators with flags, in which `=` clears what it does not set.
fn parse(text: &str) -> Option<Sets> {
    let mut sets = Sets::default();
    let mut clauses = text.split_ascii_whitespace().peekable();
    clauses.peek()?;
    for clause in clauses {
        let operators = clause.find(['=', '+', '-'])?;
        let (names, mut actions) = clause.split_at_checked(operators)?;
        let all = || (1u64 << NAMES.len()) - 1;
        let which = match names {
            "" if actions.starts_with('=') => all(),
            "" => return None,
            names => names.split(',').try_fold(0, |which, name| {
                if name.eq_ignore_ascii_case("all") {
                    return Some(all());
                }
                let name = name.to_ascii_lowercase();
                let name = name.strip_prefix("cap_")?;
                let number = NAMES.iter().position(|known| *known == name)?;
                Some(which | 1 << number)
            })?,
        };
        while let Some(operator) = actions.chars().next() {
            let rest = actions.get(1..)?;
            let end = rest.find(['=', '+', '-']).unwrap_or(rest.len());
            let (flags, next) = rest.split_at_checked(end)?;
            if flags.is_empty() && operator != '=' || !flags.chars().all(|flag| "eip".contains(flag)) {
                return None;
            }
            for (flag, set) in [('e', &mut sets.effective), ('i', &mut sets.inheritable), ('p', &mut sets.permitted)] {
                match (operator, flags.contains(flag)) {
                    ('=' | '+', true) => *set |= which,
                    ('=', false) | ('-', true) => *set &= !which,
                    _ => {}
                }
            }
            actions = next;
        }
    }
    Some(sets)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> Option<String> {
        attribute(text).map(hex::encode)
    }

    /// The bytes are those that setcap(8) writes, byte for byte (libcap 2.66).
    #[test]
    fn texts_become_attributes() {
        let raw = "0100000200200000000000000000000000000000";
        for text in
            ["cap_net_raw=ep", "cap_net_raw+ep", "= cap_net_raw+ep", "CAP_NET_RAW=p+e", "all=ep all-ep cap_net_raw+ep"]
        {
            assert_eq!(shown(text).as_deref(), Some(raw), "{text}");
        }
        assert_eq!(shown("cap_net_raw=p").as_deref(), Some("0000000200200000000000000000000000000000"));
        assert_eq!(shown("cap_net_admin,cap_net_raw=eip").as_deref(), Some("0100000200300000003000000000000000000000"));
        assert_eq!(shown("cap_checkpoint_restore=p").as_deref(), Some("0000000200000000000000000001000000000000"));
        assert_eq!(shown("=ep").as_deref(), Some("01000002ffffffff00000000ff01000000000000"));
        assert_eq!(shown("=").as_deref(), Some("0000000200000000000000000000000000000000"));
        for text in [
            "",
            " ",
            "cap_net_raw",
            "net_raw=ep",
            "cap_x=ep",
            "+ep",
            "cap_net_raw+",
            "cap_net_raw=x",
            "cap_chown=p cap_kill=ep",
        ] {
            assert_eq!(shown(text), None, "{text}");
        }
    }
}
