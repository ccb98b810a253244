//! Failed system calls, with their arguments and with what a person can do.

use crate::error::Fault;
use rustix::io::Errno;
use std::fs;
use std::io;

/// Adds what was being done to the error of a system call.
pub(super) trait Doing<T> {
    /// `doing` is a fragment after "failed to", `call` the call with its arguments.
    fn doing(self, doing: &str, call: impl FnOnce() -> String) -> Result<T, Fault>;
}

impl<T> Doing<T> for Result<T, Errno> {
    fn doing(self, doing: &str, call: impl FnOnce() -> String) -> Result<T, Fault> {
        self.map_err(|errno| {
            let call = call();
            let hint = hint(&call, errno);
            Fault::System { doing: doing.to_owned(), call, hint, errno: errno.raw_os_error() }
        })
    }
}

impl<T> Doing<T> for io::Result<T> {
    fn doing(self, doing: &str, call: impl FnOnce() -> String) -> Result<T, Fault> {
        self.map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO)).doing(doing, call)
    }
}

/// A knob of /proc/sys, if the kernel has it.
fn knob(name: &str) -> Option<u64> {
    fs::read_to_string(format!("/proc/sys/{name}")).ok()?.trim().parse().ok()
}

fn in_seccomp() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    status.lines().any(|line| line.strip_prefix("Seccomp:").is_some_and(|mode| mode.trim() == "2"))
}

fn apparmor_restricts() -> bool {
    knob("kernel/apparmor_restrict_unprivileged_userns") == Some(1)
}

/// The profile that lets this program make user namespaces where AppArmor restricts them.
fn apparmor_profile() -> String {
    let path = fs::read_link("/proc/self/exe").unwrap_or_default();
    format!(
        "AppArmor restricts user namespaces. As root, write this to \
         /etc/apparmor.d/image-composer and run `apparmor_parser -r /etc/apparmor.d/image-composer`:\n\
         abi <abi/4.0>,\ninclude <tunables/global>\n\
         profile image-composer \"{}\" flags=(unconfined) {{\n  userns,\n}}",
        path.display()
    )
}

/// What would make the call work: the operation failed, so the knobs are asked why.
fn hint(call: &str, errno: Errno) -> Option<String> {
    let refused = matches!(errno, Errno::PERM | Errno::ACCESS);
    if call.starts_with("unshare(") && errno == Errno::NOSPC {
        let limits = ["user", "mnt", "pid", "net", "ipc", "uts"];
        let zero = limits.iter().find(|kind| knob(&format!("user/max_{kind}_namespaces")) == Some(0));
        let kind = zero.unwrap_or(&"user");
        return Some(format!("as root: sysctl -w user.max_{kind}_namespaces=10000"));
    }
    if call.starts_with("unshare(") && refused {
        if knob("kernel/unprivileged_userns_clone") == Some(0) {
            return Some("as root: sysctl -w kernel.unprivileged_userns_clone=1".into());
        }
        if apparmor_restricts() {
            return Some(apparmor_profile());
        }
        if in_seccomp() {
            return Some(
                "the container's seccomp profile blocks namespaces: start it with \
                 --security-opt seccomp=unconfined, or a profile that allows unshare, mount and clone"
                    .into(),
            );
        }
        return Some(
            "user namespaces are refused; inside a chroot they never work, and SELinux may forbid them".into(),
        );
    }
    if refused && apparmor_restricts() && (call.contains("_map") || call.contains("mount(")) {
        return Some(apparmor_profile());
    }
    if refused && call.contains("\"proc\"") {
        return Some(
            "/proc of this container is masked, so no new one may be mounted: start it with \
             --security-opt systempaths=unconfined (procMount: Unmasked in Kubernetes)"
                .into(),
        );
    }
    if refused && (call.contains("mount(") || call.starts_with("fsopen(")) && in_seccomp() {
        return Some("the container's seccomp profile blocks mount: --security-opt seccomp=unconfined".into());
    }
    if call.starts_with("seccomp(") && errno == Errno::BUSY {
        return Some("a supervisor of the container already listens to this process's calls".into());
    }
    if call.contains("\"overlay\"") && errno == Errno::NODEV {
        return Some("as root: modprobe overlay".into());
    }
    None
}
