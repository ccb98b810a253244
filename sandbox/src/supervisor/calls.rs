//! The filtered system calls, as a table: what is done about each, and why.
//!
//! Numbers are from the kernel's arch/x86/entry/syscalls/syscall_64.tbl and syscall_32.tbl
//! and scripts/syscall.tbl (aarch64); `-` there is `NONE` here. Calls that are not listed
//! are allowed: nothing in here is the wall that keeps a payload in (namespaces, dropped
//! capabilities and the detached root are), except the rows marked [`Rule::Deny`], and those of
//! [`When::Bare`], where there are no namespaces.

use super::operation::{Credential, Operation, Where};

/// A system call interface: an audit architecture and its numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Abi {
    X86_64,
    I386,
    Aarch64,
}

impl Abi {
    /// The interfaces of the machine that this program was compiled for.
    pub(crate) const NATIVE: &'static [Abi] = if cfg!(target_arch = "x86_64") {
        &[Abi::X86_64, Abi::I386]
    } else if cfg!(target_arch = "aarch64") {
        &[Abi::Aarch64]
    } else {
        &[]
    };

    /// `AUDIT_ARCH_*` of include/uapi/linux/audit.h.
    pub(crate) const fn audit(self) -> u32 {
        match self {
            Abi::X86_64 => 0xc000_003e,
            Abi::I386 => 0x4000_0003,
            Abi::Aarch64 => 0xc000_00b7,
        }
    }

    /// The interface of that audit architecture.
    pub(crate) fn from_audit(arch: u32) -> Option<Abi> {
        [Abi::X86_64, Abi::I386, Abi::Aarch64].into_iter().find(|abi| abi.audit() == arch)
    }
}

/// On which rungs, or when, a row holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum When {
    /// Always.
    Always,
    /// Only where one id is mapped.
    Single,
    /// Where one id is mapped, or the tree holds devices that only we know of.
    Devices,
    /// Only where there are no namespaces: nothing else stands between the payload and the
    /// processes, sockets and queues around it.
    Bare,
}

/// What the filter does about a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rule {
    /// Fails with this errno.
    Deny(i32),
    /// Fails with this errno if the argument has one of these bits.
    DenyBits { arg: u8, bits: u32, errno: i32 },
    /// Fails with this errno unless the argument is one of these values.
    DenyOthers { arg: u8, allowed: &'static [u32], errno: i32 },
    /// Fails with this errno if the argument has this value.
    DenyIf { arg: u8, value: u32, errno: i32 },
    /// Returns 0 without being carried out.
    Succeed,
    /// As `Succeed`, if the argument has this value.
    SucceedIf { arg: u8, value: u32 },
    /// The supervisor answers.
    Ask(Operation),
    /// The supervisor answers if the argument has one of these bits.
    AskBits { arg: u8, bits: u32, operation: Operation },
    /// The supervisor answers if the argument, masked, is one of two values.
    AskValues { arg: u8, mask: u32, values: [u32; 2], operation: Operation },
}

/// One row.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Call {
    /// Name in the kernel's table, for people and tests.
    pub(crate) name: &'static str,
    /// Numbers on x86_64, i386, aarch64.
    numbers: [i32; 3],
    pub(crate) when: When,
    pub(crate) rule: Rule,
    /// Why the row is here.
    #[allow(dead_code, reason = "for readers, and for the table that doctor may print")]
    pub(crate) reason: &'static str,
}

/// The call does not exist on that interface.
const NONE: i32 = -1;

impl Call {
    /// The call's number on that interface.
    pub(crate) fn number(&self, abi: Abi) -> Option<u32> {
        let index = match abi {
            Abi::X86_64 => 0,
            Abi::I386 => 1,
            Abi::Aarch64 => 2,
        };
        u32::try_from(self.numbers[index]).ok()
    }
}

/// Every row for that interface and number; a call may have several, tried in order.
pub(crate) fn operation_of(abi: Abi, number: i32) -> Option<(Operation, &'static str)> {
    let number = u32::try_from(number).ok()?;
    CALLS.iter().filter(|call| call.number(abi) == Some(number)).find_map(|call| match call.rule {
        Rule::Ask(operation) | Rule::AskBits { operation, .. } | Rule::AskValues { operation, .. } => {
            Some((operation, call.name))
        }
        _ => None,
    })
}

const fn deny(name: &'static str, numbers: [i32; 3], errno: i32, reason: &'static str) -> Call {
    Call { name, numbers, when: When::Always, rule: Rule::Deny(errno), reason }
}

const fn succeed(name: &'static str, numbers: [i32; 3], when: When, reason: &'static str) -> Call {
    Call { name, numbers, when, rule: Rule::Succeed, reason }
}

const fn ask(name: &'static str, numbers: [i32; 3], operation: Operation, reason: &'static str) -> Call {
    Call { name, numbers, when: When::Single, rule: Rule::Ask(operation), reason }
}

const fn credential(name: &'static str, numbers: [i32; 3], which: Credential) -> Call {
    let operation = Operation::Credential { which, short: false };
    ask(name, numbers, operation, "one id is mapped: the process's ids are kept by us")
}

const fn credential16(name: &'static str, number: i32, which: Credential) -> Call {
    let operation = Operation::Credential { which, short: true };
    ask(name, [NONE, number, NONE], operation, "as its 32-bit sibling, with 16-bit ids")
}

const fn stat(name: &'static str, numbers: [i32; 3], place: Where, out: u8) -> Call {
    Call {
        name,
        numbers,
        when: When::Devices,
        rule: Rule::Ask(Operation::Stat { place, out }),
        reason: "shows the owner that was set, and the device that was made",
    }
}

const fn bare_deny(name: &'static str, numbers: [i32; 3], errno: i32, reason: &'static str) -> Call {
    Call { name, numbers, when: When::Bare, rule: Rule::Deny(errno), reason }
}

const fn bare_deny_if(name: &'static str, numbers: [i32; 3], arg: u8, value: u32, reason: &'static str) -> Call {
    Call { name, numbers, when: When::Bare, rule: Rule::DenyIf { arg, value, errno: EPERM }, reason }
}

const fn bare(name: &'static str, numbers: [i32; 3], operation: Operation, reason: &'static str) -> Call {
    Call { name, numbers, when: When::Bare, rule: Rule::Ask(operation), reason }
}

const fn create(name: &'static str, numbers: [i32; 3], operation: Operation) -> Call {
    ask(name, numbers, operation, "what another id or a set-gid directory makes has its owner")
}

const DIR0: Option<u8> = Some(0);
const OWN: &str = "one id is mapped: the owner is kept beside the file";
const XATTR: &str = "access lists name ids that are not mapped; our own attributes are hidden";
const SYNC: &str = "what must be durable is made durable once, by us, after the session";
const MOUNT: &str = "the view is made by us and stays as it is";
const KERNEL: &str = "changes the machine, or widens the kernel's surface for no use in a build";
const CLOCK: &str = "the machine's clock";
const AROUND: &str = "would go round the filter; programs fall back to the older call";

// Clone flags of include/uapi/linux/sched.h: NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER,
// NEWPID, NEWNET.
const NEW_NAMESPACES: u32 = 0x7e02_0000;
/// `O_CREAT` of include/uapi/asm-generic/fcntl.h, the same on all three.
const CREAT: u32 = 0o100;
/// `__O_TMPFILE`, likewise.
const TMPFILE: u32 = 0o20_000_000;
/// `S_IFMT` and its two kinds of device.
const FORMAT: u32 = 0o170_000;
const DEVICES: [u32; 2] = [0o020_000, 0o060_000];
/// AF_UNIX, AF_INET, AF_INET6, AF_NETLINK: the families that a network namespace confines
/// (AF_VSOCK, for one, reaches the hypervisor from any).
const FAMILIES: &[u32] = &[1, 2, 10, 16];
/// `PR_SET_KEEPCAPS` and `PR_SET_SECUREBITS` of include/uapi/linux/prctl.h.
pub(super) const KEEPING: [u32; 2] = [8, 28];
/// The only family without namespaces: the others would be the machine's own network.
const UNIX_ONLY: &[u32] = &[1];
/// Files of a process that a script may ask for.
const PROCFS: &str = "there is no procfs to mount: names in /proc/self are answered by us";
const OTHERS: &str = "processes outside share our ids and numbers: only the payload's own are reached";
const IPC: &str = "System V and POSIX queues of the machine are not namespaced";

/// The limit that carries a process's ids, see `tasks`.
const CARRIER: u32 = super::tasks::CARRIER as u32;
const CARRIES: &str = "the limit on real-time CPU time carries the process's ids";
const GROUPS: &str = "a payload that is ending is killed by groups, and makes no more of them";
/// F_SETOWN, F_SETSIG and F_SETOWN_EX of fcntl(2), FIOSETOWN and SIOCSPGRP of asm-generic/sockios.h.
const ASYNC: &str = "the kernel would send a signal of the payload's choice to any process of uid 0";

const EPERM: i32 = libc::EPERM;
const ENOSYS: i32 = libc::ENOSYS;

/// The table.
#[rustfmt::skip]
pub(crate) const CALLS: &[Call] = &[
    // Durability.
    succeed("fsync", [74, 118, 82], When::Always, SYNC),
    succeed("fdatasync", [75, 148, 83], When::Always, SYNC),
    succeed("sync", [162, 36, 81], When::Always, SYNC),
    succeed("syncfs", [306, 344, 267], When::Always, SYNC),
    succeed("sync_file_range", [277, 314, 84], When::Always, SYNC),

    // The view.
    deny("mount", [165, 21, 40], EPERM, MOUNT),
    deny("umount", [NONE, 22, NONE], EPERM, MOUNT),
    deny("umount2", [166, 52, 39], EPERM, MOUNT),
    deny("pivot_root", [155, 217, 41], EPERM, MOUNT),
    deny("open_tree", [428, 428, 428], EPERM, MOUNT),
    deny("move_mount", [429, 429, 429], EPERM, MOUNT),
    deny("fsopen", [430, 430, 430], EPERM, MOUNT),
    deny("fsconfig", [431, 431, 431], EPERM, MOUNT),
    deny("fsmount", [432, 432, 432], EPERM, MOUNT),
    deny("fspick", [433, 433, 433], EPERM, MOUNT),
    deny("mount_setattr", [442, 442, 442], EPERM, MOUNT),
    deny("open_tree_attr", [467, 467, 467], EPERM, MOUNT),
    deny("setns", [308, 346, 268], EPERM, MOUNT),
    deny("unshare", [272, 310, 97], EPERM, "a namespace of its own would give back dropped capabilities"),
    Call { name: "clone", numbers: [56, 120, 220], when: When::Always,
        rule: Rule::DenyBits { arg: 0, bits: NEW_NAMESPACES, errno: EPERM },
        reason: "as unshare; threads and processes are allowed" },
    deny("clone3", [435, 435, 435], ENOSYS, "its flags lie in memory, out of the filter's sight; libc falls back to clone"),

    // The kernel.
    deny("io_uring_setup", [425, 425, 425], ENOSYS, AROUND),
    deny("io_uring_enter", [426, 426, 426], ENOSYS, AROUND),
    deny("io_uring_register", [427, 427, 427], ENOSYS, AROUND),
    deny("keyctl", [250, 288, 219], ENOSYS, "keyrings are shared with the user's other processes"),
    deny("add_key", [248, 286, 217], ENOSYS, "as keyctl"),
    deny("request_key", [249, 287, 218], ENOSYS, "as keyctl"),
    deny("bpf", [321, 357, 280], EPERM, KERNEL),
    deny("perf_event_open", [298, 336, 241], EPERM, KERNEL),
    deny("userfaultfd", [323, 374, 282], EPERM, KERNEL),
    deny("fanotify_init", [300, 338, 262], EPERM, KERNEL),
    deny("open_by_handle_at", [304, 342, 265], EPERM, "opens files by number, wherever they lie"),
    deny("quotactl", [179, 131, 60], EPERM, KERNEL),
    deny("quotactl_fd", [443, 443, 443], EPERM, KERNEL),
    deny("acct", [163, 51, 89], EPERM, KERNEL),
    deny("swapon", [167, 87, 224], EPERM, KERNEL),
    deny("swapoff", [168, 115, 225], EPERM, KERNEL),
    deny("reboot", [169, 88, 142], EPERM, KERNEL),
    deny("kexec_load", [246, 283, 104], EPERM, KERNEL),
    deny("kexec_file_load", [320, NONE, 294], EPERM, KERNEL),
    deny("init_module", [175, 128, 105], EPERM, KERNEL),
    deny("finit_module", [313, 350, 273], EPERM, KERNEL),
    deny("delete_module", [176, 129, 106], EPERM, KERNEL),
    deny("syslog", [103, 103, 116], EPERM, "the machine's kernel log"),
    deny("iopl", [172, 110, NONE], EPERM, KERNEL),
    deny("ioperm", [173, 101, NONE], EPERM, KERNEL),
    deny("vm86", [NONE, 166, NONE], ENOSYS, KERNEL),
    deny("vm86old", [NONE, 113, NONE], ENOSYS, KERNEL),
    deny("settimeofday", [164, 79, 170], EPERM, CLOCK),
    deny("clock_settime", [227, 264, 112], EPERM, CLOCK),
    deny("clock_settime64", [NONE, 404, NONE], EPERM, CLOCK),
    deny("stime", [NONE, 25, NONE], EPERM, CLOCK),
    Call { name: "socket", numbers: [41, 359, 198], when: When::Bare,
        rule: Rule::DenyOthers { arg: 0, allowed: UNIX_ONLY, errno: libc::EAFNOSUPPORT },
        reason: "the network is the machine's own" },
    Call { name: "socketpair", numbers: [53, 360, 199], when: When::Always,
        rule: Rule::DenyOthers { arg: 0, allowed: UNIX_ONLY, errno: libc::EAFNOSUPPORT },
        reason: "other families' pairs have no use in a build" },
    Call { name: "socket", numbers: [41, 359, 198], when: When::Always,
        rule: Rule::DenyOthers { arg: 0, allowed: FAMILIES, errno: libc::EAFNOSUPPORT },
        reason: "families that no network namespace confines" },
    deny("socketcall", [NONE, 102, NONE], libc::EAFNOSUPPORT, "its family lies in memory, out of the filter's sight"),

    // Owners. Calls whose arguments we do not read are answered with ENOSYS.
    ask("chown", [92, 212, NONE], Operation::Own { place: Where::path(0), uid: 1, gid: 2, short: false }, OWN),
    ask("lchown", [94, 198, NONE], Operation::Own { place: Where::link(0), uid: 1, gid: 2, short: false }, OWN),
    ask("fchown", [93, 207, 55], Operation::Own { place: Where::Fd(0), uid: 1, gid: 2, short: false }, OWN),
    ask("fchownat", [260, 298, 54], Operation::Own { place: Where::at(4), uid: 2, gid: 3, short: false }, OWN),
    ask("chown16", [NONE, 182, NONE], Operation::Own { place: Where::path(0), uid: 1, gid: 2, short: true }, OWN),
    ask("lchown16", [NONE, 16, NONE], Operation::Own { place: Where::link(0), uid: 1, gid: 2, short: true }, OWN),
    ask("fchown16", [NONE, 95, NONE], Operation::Own { place: Where::Fd(0), uid: 1, gid: 2, short: true }, OWN),
    stat("stat", [4, 195, NONE], Where::path(0), 1),
    stat("lstat", [6, 196, NONE], Where::link(0), 1),
    stat("fstat", [5, 197, 80], Where::Fd(0), 1),
    stat("newfstatat", [262, 300, 79], Where::at(3), 2),
    Call { name: "statx", numbers: [332, 383, 291], when: When::Devices,
        rule: Rule::Ask(Operation::Statx { place: Where::at(2), flags: 2, mask: 3, out: 4 }),
        reason: "as stat" },

    // Extended attributes.
    ask("setxattr", [188, 226, 5], Operation::SetXattr(Where::path(0)), XATTR),
    ask("lsetxattr", [189, 227, 6], Operation::SetXattr(Where::link(0)), XATTR),
    ask("fsetxattr", [190, 228, 7], Operation::SetXattr(Where::Fd(0)), XATTR),
    ask("getxattr", [191, 229, 8], Operation::GetXattr(Where::path(0)), XATTR),
    ask("lgetxattr", [192, 230, 9], Operation::GetXattr(Where::link(0)), XATTR),
    ask("fgetxattr", [193, 231, 10], Operation::GetXattr(Where::Fd(0)), XATTR),
    ask("listxattr", [194, 232, 11], Operation::ListXattr(Where::path(0)), XATTR),
    ask("llistxattr", [195, 233, 12], Operation::ListXattr(Where::link(0)), XATTR),
    ask("flistxattr", [196, 234, 13], Operation::ListXattr(Where::Fd(0)), XATTR),
    ask("removexattr", [197, 235, 14], Operation::RemoveXattr(Where::path(0)), XATTR),
    ask("lremovexattr", [198, 236, 15], Operation::RemoveXattr(Where::link(0)), XATTR),
    ask("fremovexattr", [199, 237, 16], Operation::RemoveXattr(Where::Fd(0)), XATTR),
    Call { name: "setxattrat", numbers: [463, 463, 463], when: When::Single, rule: Rule::Deny(ENOSYS), reason: AROUND },
    Call { name: "getxattrat", numbers: [464, 464, 464], when: When::Single, rule: Rule::Deny(ENOSYS), reason: AROUND },
    Call { name: "listxattrat", numbers: [465, 465, 465], when: When::Single, rule: Rule::Deny(ENOSYS), reason: AROUND },
    Call { name: "removexattrat", numbers: [466, 466, 466], when: When::Single, rule: Rule::Deny(ENOSYS), reason: AROUND },

    // Creating.
    Call { name: "mknod", numbers: [133, 14, NONE], when: When::Always,
        rule: Rule::AskValues { arg: 1, mask: FORMAT, values: DEVICES,
            operation: Operation::Node { dir: None, path: 0, mode: 1, dev: 2 } },
        reason: "no namespace may make devices: a placeholder stands for one" },
    Call { name: "mknodat", numbers: [259, 297, 33], when: When::Always,
        rule: Rule::AskValues { arg: 2, mask: FORMAT, values: DEVICES,
            operation: Operation::Node { dir: DIR0, path: 1, mode: 2, dev: 3 } },
        reason: "as mknod" },
    create("mknod", [133, 14, NONE], Operation::Node { dir: None, path: 0, mode: 1, dev: 2 }),
    create("mknodat", [259, 297, 33], Operation::Node { dir: DIR0, path: 1, mode: 2, dev: 3 }),
    create("mkdir", [83, 39, NONE], Operation::Mkdir { dir: None, path: 0, mode: 1 }),
    create("mkdirat", [258, 296, 34], Operation::Mkdir { dir: DIR0, path: 1, mode: 2 }),
    create("symlink", [88, 83, NONE], Operation::Symlink { target: 0, dir: None, path: 1 }),
    create("symlinkat", [266, 304, 36], Operation::Symlink { target: 0, dir: Some(1), path: 2 }),
    create("creat", [85, 8, NONE], Operation::Open { dir: None, path: 0, flags: None, mode: 1 }),
    Call { name: "open", numbers: [2, 5, NONE], when: When::Single,
        rule: Rule::DenyBits { arg: 1, bits: TMPFILE, errno: libc::EOPNOTSUPP },
        reason: "a file without a name has no owner yet; programs make a named one instead" },
    Call { name: "openat", numbers: [257, 295, 56], when: When::Single,
        rule: Rule::DenyBits { arg: 2, bits: TMPFILE, errno: libc::EOPNOTSUPP },
        reason: "as open" },
    Call { name: "open", numbers: [2, 5, NONE], when: When::Single,
        rule: Rule::AskBits { arg: 1, bits: CREAT,
            operation: Operation::Open { dir: None, path: 0, flags: Some(1), mode: 2 } },
        reason: "as mkdir" },
    Call { name: "openat", numbers: [257, 295, 56], when: When::Single,
        rule: Rule::AskBits { arg: 2, bits: CREAT,
            operation: Operation::Open { dir: DIR0, path: 1, flags: Some(2), mode: 3 } },
        reason: "as mkdir" },
    Call { name: "openat2", numbers: [437, 437, 437], when: When::Single, rule: Rule::Deny(ENOSYS), reason: AROUND },

    // Who a process is.
    credential("getuid", [102, 199, 174], Credential::GetUid),
    credential("geteuid", [107, 201, 175], Credential::GetEuid),
    credential("getgid", [104, 200, 176], Credential::GetGid),
    credential("getegid", [108, 202, 177], Credential::GetEgid),
    credential("getresuid", [118, 209, 148], Credential::GetResuid),
    credential("getresgid", [120, 211, 150], Credential::GetResgid),
    credential("getgroups", [115, 205, 158], Credential::GetGroups),
    credential("setuid", [105, 213, 146], Credential::SetUid),
    credential("setgid", [106, 214, 144], Credential::SetGid),
    credential("setreuid", [113, 203, 145], Credential::SetReuid),
    credential("setregid", [114, 204, 143], Credential::SetRegid),
    credential("setresuid", [117, 208, 147], Credential::SetResuid),
    credential("setresgid", [119, 210, 149], Credential::SetResgid),
    credential("setfsuid", [122, 215, 151], Credential::SetFsuid),
    credential("setfsgid", [123, 216, 152], Credential::SetFsgid),
    credential("setgroups", [116, 206, 159], Credential::SetGroups),
    credential16("getuid16", 24, Credential::GetUid),
    credential16("geteuid16", 49, Credential::GetEuid),
    credential16("getgid16", 47, Credential::GetGid),
    credential16("getegid16", 50, Credential::GetEgid),
    credential16("getresuid16", 165, Credential::GetResuid),
    credential16("getresgid16", 171, Credential::GetResgid),
    credential16("getgroups16", 80, Credential::GetGroups),
    credential16("setuid16", 23, Credential::SetUid),
    credential16("setgid16", 46, Credential::SetGid),
    credential16("setreuid16", 70, Credential::SetReuid),
    credential16("setregid16", 71, Credential::SetRegid),
    credential16("setresuid16", 164, Credential::SetResuid),
    credential16("setresgid16", 170, Credential::SetResgid),
    credential16("setfsuid16", 138, Credential::SetFsuid),
    credential16("setfsgid16", 139, Credential::SetFsgid),
    credential16("setgroups16", 81, Credential::SetGroups),
    ask("execve", [59, 11, 221], Operation::Exec(Where::path(0)), "set-uid and set-gid bits act on our ids"),
    ask("execveat", [322, 358, 281], Operation::Exec(Where::at(4)), "as execve"),
    ask("capset", [126, 185, 91], Operation::CapSet, "a process that leaves uid 0 gives up capabilities that it here needs to work at all"),
    Call { name: "prctl", numbers: [157, 172, 167], when: When::Single,
        rule: Rule::AskValues { arg: 0, mask: u32::MAX, values: KEEPING, operation: Operation::Keep },
        reason: "whether capabilities outlive uid 0 (setpriv relies on it)" },
    Call { name: "setrlimit", numbers: [160, 75, 164], when: When::Single,
        rule: Rule::SucceedIf { arg: 0, value: CARRIER }, reason: CARRIES },
    bare("prlimit64", [302, 340, 261], Operation::Limit, OTHERS),
    Call { name: "prlimit64", numbers: [302, 340, 261], when: When::Single,
        rule: Rule::AskValues { arg: 1, mask: u32::MAX, values: [CARRIER, CARRIER], operation: Operation::Limit },
        reason: CARRIES },

    // Without namespaces: other processes.
    bare("kill", [62, 37, 129], Operation::Signal, OTHERS),
    bare("tkill", [200, 238, 130], Operation::Target { pid: 0 }, OTHERS),
    bare("tgkill", [234, 270, 131], Operation::Target { pid: 0 }, OTHERS),
    bare("rt_sigqueueinfo", [129, 178, 138], Operation::Target { pid: 0 }, OTHERS),
    bare("rt_tgsigqueueinfo", [297, 335, 240], Operation::Target { pid: 0 }, OTHERS),
    bare("pidfd_open", [434, 434, 434], Operation::ProcessDescriptor, OTHERS),
    bare_deny("pidfd_send_signal", [424, 424, 424], ENOSYS, "a descriptor may come through a socket; kill is asked about"),
    bare("sched_setaffinity", [203, 241, 122], Operation::Target { pid: 0 }, OTHERS),
    bare("sched_setparam", [142, 154, 118], Operation::Target { pid: 0 }, OTHERS),
    bare("sched_setscheduler", [144, 156, 119], Operation::Target { pid: 0 }, OTHERS),
    bare("sched_setattr", [314, 351, 274], Operation::Target { pid: 0 }, OTHERS),
    bare("setpriority", [141, 97, 140], Operation::Priority { process: 0 }, OTHERS),
    bare("ioprio_set", [251, 289, 30], Operation::Priority { process: 1 }, OTHERS),
    bare_deny("ptrace", [101, 26, 117], EPERM, OTHERS),
    bare_deny("process_vm_readv", [310, 347, 270], EPERM, OTHERS),
    bare_deny("process_vm_writev", [311, 348, 271], EPERM, OTHERS),
    bare_deny("pidfd_getfd", [438, 438, 438], EPERM, OTHERS),
    bare_deny("kcmp", [312, 349, 272], EPERM, OTHERS),
    bare_deny("process_madvise", [440, 440, 440], EPERM, OTHERS),
    bare_deny("process_mrelease", [448, 448, 448], EPERM, OTHERS),
    bare_deny("migrate_pages", [256, 294, 238], EPERM, OTHERS),
    bare_deny("move_pages", [279, 317, 239], EPERM, OTHERS),
    bare_deny("get_robust_list", [274, 312, 100], EPERM, OTHERS),
    bare("setsid", [112, 66, 157], Operation::Group, GROUPS),
    bare("setpgid", [109, 57, 154], Operation::Group, GROUPS),
    bare_deny_if("fcntl", [72, 55, 25], 1, 8, ASYNC),
    bare_deny_if("fcntl", [72, 55, 25], 1, 10, ASYNC),
    bare_deny_if("fcntl", [72, 55, 25], 1, 15, ASYNC),
    bare_deny_if("fcntl64", [NONE, 221, NONE], 1, 8, ASYNC),
    bare_deny_if("fcntl64", [NONE, 221, NONE], 1, 10, ASYNC),
    bare_deny_if("fcntl64", [NONE, 221, NONE], 1, 15, ASYNC),
    bare_deny_if("ioctl", [16, 54, 29], 1, 0x8901, ASYNC),
    bare_deny_if("ioctl", [16, 54, 29], 1, 0x8902, ASYNC),

    // Without namespaces: what else the machine shares.
    bare_deny("chroot", [161, 61, 51], EPERM, "a root below the root lets uid 0 out of both"),
    bare_deny("shmget", [29, 395, 194], ENOSYS, IPC),
    bare_deny("shmat", [30, 397, 196], ENOSYS, IPC),
    bare_deny("shmctl", [31, 396, 195], ENOSYS, IPC),
    bare_deny("semget", [64, 393, 190], ENOSYS, IPC),
    bare_deny("semctl", [66, 394, 191], ENOSYS, IPC),
    bare_deny("semop", [65, NONE, 193], ENOSYS, IPC),
    bare_deny("semtimedop", [220, NONE, 192], ENOSYS, IPC),
    bare_deny("semtimedop_time64", [NONE, 420, NONE], ENOSYS, IPC),
    bare_deny("msgget", [68, 399, 186], ENOSYS, IPC),
    bare_deny("msgctl", [71, 402, 187], ENOSYS, IPC),
    bare_deny("msgrcv", [70, 401, 188], ENOSYS, IPC),
    bare_deny("msgsnd", [69, 400, 189], ENOSYS, IPC),
    bare_deny("ipc", [NONE, 117, NONE], ENOSYS, IPC),
    bare_deny("mq_open", [240, 277, 180], ENOSYS, IPC),
    bare_deny("mq_unlink", [241, 278, 181], ENOSYS, IPC),
    bare("uname", [63, 122, 160], Operation::Uname, "the machine's name is not the image's"),
    bare_deny("olduname", [NONE, 109, NONE], ENOSYS, "as uname"),
    bare_deny("oldolduname", [NONE, 59, NONE], ENOSYS, "as uname"),

    // Without namespaces: /proc.
    bare("open", [2, 5, NONE], Operation::Open { dir: None, path: 0, flags: Some(1), mode: 2 }, PROCFS),
    bare("openat", [257, 295, 56], Operation::Open { dir: DIR0, path: 1, flags: Some(2), mode: 3 }, PROCFS),
    bare("readlink", [89, 85, NONE], Operation::ReadLink { path: 0 }, PROCFS),
    bare("readlinkat", [267, 305, 78], Operation::ReadLink { path: 1 }, PROCFS),
    bare("access", [21, 33, NONE], Operation::Access { path: 0 }, PROCFS),
    bare("faccessat", [269, 307, 48], Operation::Access { path: 1 }, PROCFS),
    bare("faccessat2", [439, 439, 439], Operation::Access { path: 1 }, PROCFS),
    bare("chmod", [90, 15, NONE], Operation::Mode { path: 0, mode: 1 }, PROCFS),
    bare("fchmodat", [268, 306, 53], Operation::Mode { path: 1, mode: 2 }, PROCFS),
    bare("utimensat", [280, NONE, 88], Operation::Times, PROCFS),
    bare("statfs", [137, NONE, 43], Operation::FileSystem, PROCFS),
    bare("fstatfs", [138, NONE, 44], Operation::FileSystemOf, PROCFS),
];
