//! The kernel's and the container's settings that decide which rung works: for people who ask why.
//! A rung is chosen by trying it, never by these.

use std::fs;

/// One setting as it is found on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Knob {
    /// Its name, as sysctl(8) or /proc/self/status has it.
    pub name: &'static str,
    /// Its value.
    pub value: String,
    /// Whether this value takes something away.
    pub hurts: bool,
    /// What it decides.
    pub decides: &'static str,
    /// What to do about a value that hurts.
    pub fix: &'static str,
}

/// Where a setting is read.
enum Source {
    /// Below /proc/sys.
    Sysctl(&'static str),
    /// A line of /proc/self/status.
    Status,
}

struct Row {
    name: &'static str,
    source: Source,
    hurts: fn(u64) -> bool,
    decides: &'static str,
    fix: &'static str,
}

const ROOT_SYSCTL: &str = "as root: sysctl -w, and a file in /etc/sysctl.d to keep it";

const ROWS: [Row; 7] = [
    Row {
        name: "kernel.apparmor_restrict_unprivileged_userns",
        source: Source::Sysctl("kernel/apparmor_restrict_unprivileged_userns"),
        hurts: |value| value != 0,
        decides: "user namespaces only for programs with an AppArmor profile that says `userns,`",
        fix: "as root: write a profile for this program (the failed check above shows it)",
    },
    Row {
        name: "kernel.unprivileged_userns_clone",
        source: Source::Sysctl("kernel/unprivileged_userns_clone"),
        hurts: |value| value == 0,
        decides: "whether ordinary users may make user namespaces",
        fix: "as root: sysctl -w kernel.unprivileged_userns_clone=1",
    },
    Row {
        name: "user.max_user_namespaces",
        source: Source::Sysctl("user/max_user_namespaces"),
        hurts: |value| value == 0,
        decides: "how many user namespaces there may be",
        fix: "as root: sysctl -w user.max_user_namespaces=10000",
    },
    Row {
        name: "user.max_mnt_namespaces",
        source: Source::Sysctl("user/max_mnt_namespaces"),
        hurts: |value| value == 0,
        decides: "how many mount namespaces there may be",
        fix: "as root: sysctl -w user.max_mnt_namespaces=10000",
    },
    Row {
        name: "kernel.yama.ptrace_scope",
        source: Source::Sysctl("kernel/yama/ptrace_scope"),
        hurts: |value| value == 3,
        decides: "whether a supervisor may look into its own children",
        fix: ROOT_SYSCTL,
    },
    Row {
        name: "NoNewPrivs",
        source: Source::Status,
        hurts: |value| value != 0,
        decides: "newuidmap's setuid bit has no effect, so the rung userns is closed",
        fix: "allow privilege escalation for this container; userns-single works all the same",
    },
    Row {
        name: "Seccomp",
        source: Source::Status,
        hurts: |value| value == 2,
        decides: "a filter around this process may refuse unshare, mount and clone",
        fix: "only if a check above failed: --security-opt seccomp=unconfined, or a profile that allows them",
    },
];

/// Every setting that this machine has.
#[must_use]
pub fn knobs() -> Vec<Knob> {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let found = |row: &Row| {
        let value = match row.source {
            Source::Sysctl(path) => fs::read_to_string(format!("/proc/sys/{path}")).ok()?,
            Source::Status => status.lines().find_map(|line| line.strip_prefix(row.name)?.strip_prefix(':'))?.into(),
        };
        let value = value.trim().to_owned();
        let hurts = value.parse().is_ok_and(row.hurts);
        Some(Knob { name: row.name, value, hurts, decides: row.decides, fix: row.fix })
    };
    ROWS.iter().filter_map(found).collect()
}
