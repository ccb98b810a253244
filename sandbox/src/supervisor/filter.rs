//! Turns the table of calls into a seccomp program.

use super::calls::{Abi, CALLS, Call, Rule, When};
use crate::sys::Instruction;

// include/uapi/linux/bpf_common.h and filter.h.
const LOAD: u16 = 0x20; // BPF_LD | BPF_W | BPF_ABS
const AND: u16 = 0x54; // BPF_ALU | BPF_AND | BPF_K
const JUMP: u16 = 0x05; // BPF_JMP | BPF_JA
const JUMP_EQUAL: u16 = 0x15; // BPF_JMP | BPF_JEQ | BPF_K
const JUMP_AT_LEAST: u16 = 0x35; // BPF_JMP | BPF_JGE | BPF_K
const JUMP_BITS: u16 = 0x45; // BPF_JMP | BPF_JSET | BPF_K
const RETURN: u16 = 0x06; // BPF_RET | BPF_K

// Offsets in `struct seccomp_data`, include/uapi/linux/seccomp.h.
const NUMBER: u32 = 0;
const ARCH: u32 = 4;
const ARGS: u32 = 16;

/// x32 calls carry this bit in their number, arch/x86/include/uapi/asm/unistd.h.
const X32_BIT: u32 = 0x4000_0000;

/// What one session's filter covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Scope {
    /// One id is mapped.
    pub(crate) single: bool,
    /// The tree holds devices that only the ledger knows.
    pub(crate) devices: bool,
    /// There are no namespaces.
    pub(crate) bare: bool,
}

fn instruction(code: u16, jump_true: u8, jump_false: u8, k: u32) -> Instruction {
    Instruction { code, jump_true, jump_false, k }
}

fn errno(value: i32) -> u32 {
    libc::SECCOMP_RET_ERRNO | (value as u32 & libc::SECCOMP_RET_DATA)
}

fn give(action: u32) -> Instruction {
    instruction(RETURN, 0, 0, action)
}

/// The lower 32 bits of an argument; all three interfaces are little-endian.
fn load_argument(arg: u8) -> Instruction {
    instruction(LOAD, 0, 0, ARGS + 8 * u32::from(arg))
}

fn holds(call: &Call, scope: Scope) -> bool {
    match call.when {
        When::Always => true,
        When::Single => scope.single,
        When::Devices => scope.single || scope.devices,
        When::Bare => scope.bare,
    }
}

/// What is done once the number matches; falls off its end if the row does not apply.
fn body(rule: Rule) -> Vec<Instruction> {
    let notify = libc::SECCOMP_RET_USER_NOTIF;
    match rule {
        Rule::Deny(value) => vec![give(errno(value))],
        Rule::Succeed => vec![give(errno(0))],
        Rule::Ask(_) => vec![give(notify)],
        Rule::SucceedIf { arg, value } => {
            vec![load_argument(arg), instruction(JUMP_EQUAL, 0, 1, value), give(errno(0))]
        }
        Rule::DenyIf { arg, value, errno: number } => {
            vec![load_argument(arg), instruction(JUMP_EQUAL, 0, 1, value), give(errno(number))]
        }
        Rule::DenyBits { arg, bits, errno: value } => {
            vec![load_argument(arg), instruction(JUMP_BITS, 0, 1, bits), give(errno(value))]
        }
        Rule::AskBits { arg, bits, .. } => vec![load_argument(arg), instruction(JUMP_BITS, 0, 1, bits), give(notify)],
        Rule::AskValues { arg, mask, values, .. } => vec![
            load_argument(arg),
            instruction(AND, 0, 0, mask),
            instruction(JUMP_EQUAL, 1, 0, values[0]),
            instruction(JUMP_EQUAL, 0, 1, values[1]),
            give(notify),
        ],
        Rule::DenyOthers { arg, allowed, errno: value } => {
            let mut list = vec![load_argument(arg)];
            for (index, family) in allowed.iter().enumerate() {
                // Past the values still to try, and past the refusal.
                let rest = (allowed.len() - index) as u8;
                list.push(instruction(JUMP_EQUAL, rest, 0, *family));
            }
            list.push(give(errno(value)));
            list
        }
    }
}

fn rows(abi: Abi, scope: Scope) -> Vec<Instruction> {
    let mut list = vec![instruction(LOAD, 0, 0, NUMBER)];
    if abi == Abi::X86_64 {
        list.push(instruction(JUMP_AT_LEAST, 0, 1, X32_BIT));
        list.push(give(errno(libc::ENOSYS)));
    }
    for call in CALLS.iter().filter(|call| holds(call, scope)) {
        let Some(number) = call.number(abi) else { continue };
        let mut body = body(call.rule);
        if body.len() > 1 {
            body.push(instruction(LOAD, 0, 0, NUMBER));
        }
        list.push(instruction(JUMP_EQUAL, 0, body.len() as u8, number));
        list.extend(body);
    }
    list.push(give(libc::SECCOMP_RET_ALLOW));
    list
}

/// The whole program: one block for each interface, everything else refused.
pub(crate) fn program(abis: &[Abi], scope: Scope) -> Vec<Instruction> {
    let mut list = vec![instruction(LOAD, 0, 0, ARCH)];
    for abi in abis {
        let rows = rows(*abi, scope);
        list.push(instruction(JUMP_EQUAL, 1, 0, abi.audit()));
        list.push(instruction(JUMP, 0, 0, rows.len() as u32));
        list.extend(rows);
    }
    list.push(give(errno(libc::ENOSYS)));
    list
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs a program as the kernel would.
    fn evaluate(program: &[Instruction], arch: u32, number: u32, args: [u32; 6]) -> u32 {
        let (mut at, mut a) = (0usize, 0u32);
        loop {
            let i = program[at];
            at += 1;
            match i.code {
                LOAD => {
                    a = match i.k {
                        NUMBER => number,
                        ARCH => arch,
                        k => args[((k - ARGS) / 8) as usize],
                    }
                }
                AND => a &= i.k,
                JUMP => at += i.k as usize,
                RETURN => return i.k,
                code => {
                    let yes = match code {
                        JUMP_EQUAL => a == i.k,
                        JUMP_AT_LEAST => a >= i.k,
                        JUMP_BITS => a & i.k != 0,
                        _ => panic!("unknown instruction {code:#x}"),
                    };
                    at += usize::from(if yes { i.jump_true } else { i.jump_false });
                }
            }
        }
    }

    const ABIS: &[Abi] = &[Abi::X86_64, Abi::I386];
    const SINGLE: Scope = Scope { single: true, devices: false, bare: false };
    const RANGE: Scope = Scope { single: false, devices: false, bare: false };
    const BARE: Scope = Scope { single: true, devices: false, bare: true };
    const ALLOW: u32 = libc::SECCOMP_RET_ALLOW;
    const ASK: u32 = libc::SECCOMP_RET_USER_NOTIF;

    fn x64(scope: Scope, number: u32, args: [u32; 6]) -> u32 {
        evaluate(&program(ABIS, scope), Abi::X86_64.audit(), number, args)
    }

    #[test]
    fn unknown_interfaces_are_refused() {
        let program = program(ABIS, SINGLE);
        assert_eq!(evaluate(&program, Abi::Aarch64.audit(), 1, [0; 6]), errno(libc::ENOSYS));
        assert_eq!(x64(SINGLE, X32_BIT | 1, [0; 6]), errno(libc::ENOSYS));
        assert_eq!(x64(SINGLE, 1, [0; 6]), ALLOW);
    }

    #[test]
    fn syncs_succeed_and_uring_does_not_exist() {
        for scope in [SINGLE, RANGE] {
            assert_eq!(x64(scope, 74, [0; 6]), errno(0));
            assert_eq!(x64(scope, 425, [0; 6]), errno(libc::ENOSYS));
            let program = program(ABIS, scope);
            assert_eq!(evaluate(&program, Abi::I386.audit(), 118, [0; 6]), errno(0));
        }
    }

    #[test]
    fn clone_makes_threads_but_no_namespaces() {
        assert_eq!(x64(RANGE, 56, [0x0100_0011, 0, 0, 0, 0, 0]), ALLOW);
        assert_eq!(x64(RANGE, 56, [0x1000_0011, 0, 0, 0, 0, 0]), errno(libc::EPERM));
    }

    #[test]
    fn socket_families_are_a_list() {
        assert_eq!(x64(RANGE, 41, [1, 1, 0, 0, 0, 0]), ALLOW);
        assert_eq!(x64(RANGE, 41, [16, 1, 0, 0, 0, 0]), ALLOW);
        assert_eq!(x64(RANGE, 41, [40, 1, 0, 0, 0, 0]), errno(libc::EAFNOSUPPORT));
    }

    #[test]
    fn without_namespaces_only_local_sockets_and_own_processes() {
        assert_eq!(x64(BARE, 41, [1, 1, 0, 0, 0, 0]), ALLOW);
        assert_eq!(x64(BARE, 41, [2, 1, 0, 0, 0, 0]), errno(libc::EAFNOSUPPORT));
        for asked in [62, 109, 112, 302, 63, 257] {
            assert_eq!(x64(BARE, asked, [0; 6]), ASK, "{asked}");
        }
        assert_eq!(x64(BARE, 56, [0x1000_0011, 0, 0, 0, 0, 0]), errno(libc::EPERM));
        assert_eq!(x64(BARE, 101, [0; 6]), errno(libc::EPERM));
        assert_eq!(x64(SINGLE, 62, [0; 6]), ALLOW);
    }

    #[test]
    fn devices_are_asked_about_on_every_rung() {
        let char_device = [0, 0o020_666, 0x103, 0, 0, 0];
        let fifo = [0, 0o010_644, 0, 0, 0, 0];
        assert_eq!(x64(RANGE, 133, char_device), ASK);
        assert_eq!(x64(RANGE, 133, [0, 0o060_600, 0, 0, 0, 0]), ASK);
        assert_eq!(x64(RANGE, 133, fifo), ALLOW);
        assert_eq!(x64(SINGLE, 133, fifo), ASK);
    }

    #[test]
    fn open_is_asked_about_only_where_it_creates() {
        assert_eq!(x64(SINGLE, 257, [0, 0, 0, 0, 0, 0]), ALLOW);
        assert_eq!(x64(SINGLE, 257, [0, 0, 0o101, 0, 0, 0]), ASK);
        assert_eq!(x64(SINGLE, 257, [0, 0, 0o20_200_002, 0, 0, 0]), errno(libc::EOPNOTSUPP));
        assert_eq!(x64(RANGE, 257, [0, 0, 0o101, 0, 0, 0]), ALLOW);
    }

    #[test]
    fn chown_is_asked_about_only_where_one_id_is_mapped() {
        assert_eq!(x64(SINGLE, 92, [0; 6]), ASK);
        assert_eq!(x64(RANGE, 92, [0; 6]), ALLOW);
        assert_eq!(x64(RANGE, 4, [0; 6]), ALLOW);
        assert_eq!(x64(Scope { single: false, devices: true, bare: false }, 4, [0; 6]), ASK);
    }

    /// The numbers of the interface we compile for, against libc's.
    #[cfg(target_arch = "x86_64")]
    #[test]
    fn numbers_agree_with_libc() {
        let known: &[(&str, i64)] = &[
            ("fsync", libc::SYS_fsync),
            ("syncfs", libc::SYS_syncfs),
            ("mount", libc::SYS_mount),
            ("umount2", libc::SYS_umount2),
            ("open_tree", libc::SYS_open_tree),
            ("mount_setattr", libc::SYS_mount_setattr),
            ("setns", libc::SYS_setns),
            ("unshare", libc::SYS_unshare),
            ("clone3", libc::SYS_clone3),
            ("io_uring_setup", libc::SYS_io_uring_setup),
            ("keyctl", libc::SYS_keyctl),
            ("bpf", libc::SYS_bpf),
            ("perf_event_open", libc::SYS_perf_event_open),
            ("userfaultfd", libc::SYS_userfaultfd),
            ("fanotify_init", libc::SYS_fanotify_init),
            ("open_by_handle_at", libc::SYS_open_by_handle_at),
            ("quotactl", libc::SYS_quotactl),
            ("acct", libc::SYS_acct),
            ("swapon", libc::SYS_swapon),
            ("reboot", libc::SYS_reboot),
            ("kexec_load", libc::SYS_kexec_load),
            ("kexec_file_load", libc::SYS_kexec_file_load),
            ("init_module", libc::SYS_init_module),
            ("finit_module", libc::SYS_finit_module),
            ("delete_module", libc::SYS_delete_module),
            ("syslog", libc::SYS_syslog),
            ("iopl", libc::SYS_iopl),
            ("ioperm", libc::SYS_ioperm),
            ("settimeofday", libc::SYS_settimeofday),
            ("clock_settime", libc::SYS_clock_settime),
            ("socket", libc::SYS_socket),
            ("chown", libc::SYS_chown),
            ("lchown", libc::SYS_lchown),
            ("fchown", libc::SYS_fchown),
            ("fchownat", libc::SYS_fchownat),
            ("newfstatat", libc::SYS_newfstatat),
            ("statx", libc::SYS_statx),
            ("setxattr", libc::SYS_setxattr),
            ("fremovexattr", libc::SYS_fremovexattr),
            ("mknodat", libc::SYS_mknodat),
            ("mkdirat", libc::SYS_mkdirat),
            ("symlinkat", libc::SYS_symlinkat),
            ("creat", libc::SYS_creat),
            ("openat2", libc::SYS_openat2),
            ("getresuid", libc::SYS_getresuid),
            ("getresgid", libc::SYS_getresgid),
            ("getgroups", libc::SYS_getgroups),
            ("setreuid", libc::SYS_setreuid),
            ("setresgid", libc::SYS_setresgid),
            ("setfsuid", libc::SYS_setfsuid),
            ("setgroups", libc::SYS_setgroups),
            ("execve", libc::SYS_execve),
            ("execveat", libc::SYS_execveat),
            ("capset", libc::SYS_capset),
            ("prctl", libc::SYS_prctl),
        ];
        for (name, number) in known {
            let call = CALLS.iter().find(|call| call.name == *name).expect("listed");
            assert_eq!(call.number(Abi::X86_64), Some(*number as u32), "{name}");
        }
    }
}
