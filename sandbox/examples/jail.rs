//! Runs a command as a container of Docker's defaults would: uid 0 with fourteen capabilities
//! and a filter that refuses namespaces and mounts (moby's profiles/seccomp/default.json).
//!
//!     jail [--no-landlock] COMMAND ARGUMENT…
//!
//! Without landlock it is a kernel that has none.

use caps::{CapSet, Capability};
use seccompiler::{
    SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule, TargetArch,
};
use std::collections::BTreeMap;
use std::os::unix::process::CommandExt;

/// moby's oci/caps/defaults.go.
const KEPT: [Capability; 14] = [
    Capability::CAP_CHOWN,
    Capability::CAP_DAC_OVERRIDE,
    Capability::CAP_FSETID,
    Capability::CAP_FOWNER,
    Capability::CAP_MKNOD,
    Capability::CAP_NET_RAW,
    Capability::CAP_SETGID,
    Capability::CAP_SETUID,
    Capability::CAP_SETFCAP,
    Capability::CAP_SETPCAP,
    Capability::CAP_NET_BIND_SERVICE,
    Capability::CAP_SYS_CHROOT,
    Capability::CAP_KILL,
    Capability::CAP_AUDIT_WRITE,
];

/// Refused without CAP_SYS_ADMIN (and CAP_DAC_READ_SEARCH, CAP_BPF …).
const REFUSED: [i64; 21] = [
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_unshare,
    libc::SYS_setns,
    libc::SYS_open_tree,
    libc::SYS_move_mount,
    libc::SYS_fsopen,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fspick,
    libc::SYS_mount_setattr,
    libc::SYS_open_by_handle_at,
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_keyctl,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_quotactl,
    libc::SYS_sethostname,
    libc::SYS_fanotify_init,
];

/// `CLONE_NEW*` of clone(2), which the profile refuses.
const NEW_NAMESPACES: u64 = 0x7E02_0000;

fn main() {
    let mut words = std::env::args_os().skip(1).peekable();
    let no_landlock = words.next_if(|word| word == "--no-landlock").is_some();
    let Some(program) = words.next() else {
        eprintln!("usage: jail [--no-landlock] COMMAND ARGUMENT…");
        std::process::exit(2);
    };
    let mut unknown = BTreeMap::from([(libc::SYS_clone3, Vec::new())]);
    if no_landlock {
        unknown.insert(libc::SYS_landlock_create_ruleset, Vec::new());
    }
    filter(libc::ENOSYS, unknown);
    let mut refused: BTreeMap<i64, Vec<SeccompRule>> = REFUSED.iter().map(|number| (*number, Vec::new())).collect();
    let bits = (0..64).map(|bit| 1u64 << bit).filter(|bit| NEW_NAMESPACES & bit != 0);
    let asks = |bit: u64| {
        let condition = SeccompCondition::new(0, SeccompCmpArgLen::Qword, SeccompCmpOp::MaskedEq(bit), bit);
        SeccompRule::new(vec![condition.expect("condition")]).expect("rule")
    };
    refused.insert(libc::SYS_clone, bits.map(asks).collect());
    filter(libc::EPERM, refused);
    for capability in caps::all().into_iter().filter(|capability| !KEPT.contains(capability)) {
        for set in [CapSet::Ambient, CapSet::Bounding, CapSet::Effective, CapSet::Inheritable, CapSet::Permitted] {
            // Older kernels have fewer.
            let _ = caps::drop(None, set, capability);
        }
    }
    let error = std::process::Command::new(&program).args(words).exec();
    eprintln!("jail: {}: {error}", program.display());
    std::process::exit(127);
}

fn filter(errno: i32, calls: BTreeMap<i64, Vec<SeccompRule>>) {
    let arch = TargetArch::try_from(std::env::consts::ARCH).expect("a known architecture");
    let filter = SeccompFilter::new(calls, SeccompAction::Allow, SeccompAction::Errno(errno as u32), arch);
    let program: seccompiler::BpfProgram = filter.expect("filter").try_into().expect("program");
    // Sets no_new_privs, which Docker's profile does not need; nothing here is set-uid.
    seccompiler::apply_filter(&program).expect("seccomp");
}
