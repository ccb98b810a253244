//! rpm and dnf as referees: the systems that they make of the distribution's packages, as root.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::Distribution;
use super::spec::tool;
use crate::support::must;

/// Runs a command with what scriptlets need in the new system, in namespaces that end with it: a
/// `/proc` and a few devices, and a `/run` that is thrown away. Scriptlets find root's own home
/// directory in the environment, while rpm and dnf read the suite's macros there. The words after
/// the script are the root and the command.
const INSIDE: &str = r#"set -e
root=$1; shift
mount --bind "$HOME" /root
export HOME=/root
cd /
mkdir -p "$root"
for place in proc:0555 dev:0755 run:0755; do
  [ -d "$root/${place%:*}" ] || mkdir -m "${place#*:}" "$root/${place%:*}"
done
mount -t proc proc "$root/proc"
mount -t tmpfs -o mode=0755 tmpfs "$root/run"
mount -t tmpfs -o mode=0755 tmpfs "$root/dev"
for device in null zero full random urandom; do
  : > "$root/dev/$device"
  mount --bind "/dev/$device" "$root/dev/$device"
done
ln -s /proc/self/fd "$root/dev/fd"
exec "$@"
"#;

/// What of the environment is told to a command inside: the caller's path, and what the tools are
/// given.
const KEPT: &[&str] = &["PATH", "HOME", "SOURCE_DATE_EPOCH", "LC_ALL", "TZ"];

/// A command that will run inside a root.
fn inside(distribution: &Distribution, root: &Path, program: &str) -> Command {
    let mut command = tool("unshare", distribution.home());
    command.args(["--mount", "--pid", "--fork", "--kill-child", "sh", "-c", INSIDE, "sh"]).arg(root).arg(program);
    // Scriptlets see what the caller's environment says (PYTHONDONTWRITEBYTECODE, for one).
    for (name, _) in std::env::vars_os().filter(|(name, _)| !KEPT.iter().any(|kept| name == kept)) {
        command.env_remove(name);
    }
    // Without it systemctl would look for a running system.
    command.env("SYSTEMD_OFFLINE", "1");
    command
}

/// Installs package files with `rpm -U --root` into an empty root; gives what rpm printed.
pub fn rpm_install(distribution: &Distribution, root: &Path, packages: &[PathBuf]) -> String {
    must(inside(distribution, root, "rpmkeys").arg("--root").arg(root).arg("--import").arg(distribution.key()));
    must(&mut rpm(distribution, root, packages))
}

/// `rpm -U --root` of package files, into a root that may know no keys.
pub fn rpm(distribution: &Distribution, root: &Path, packages: &[PathBuf]) -> Command {
    let mut rpm = inside(distribution, root, "sh");
    // Scriptlets speak on the standard error, in the order in which they run.
    rpm.args(["-c", "exec \"$@\" 2>&1", "sh", "rpm", "--force-debian", "-U", "--root"]);
    rpm.arg(root).args(packages);
    rpm
}

/// dnf for a root, both of its checks on.
pub fn dnf(distribution: &Distribution, root: &Path) -> Command {
    let configuration = distribution.repository().with_extension("dnf.conf");
    let text = format!(
        "[main]\ngpgcheck=1\nplugins=0\nbest=1\ninstall_weak_deps=1\nreposdir=/nonexistent\n\
         [distribution]\nname=distribution\nbaseurl=file://{repository}\ngpgcheck=1\nrepo_gpgcheck=1\n\
         gpgkey=file://{key}\n",
        repository = distribution.repository().display(),
        key = distribution.key().display()
    );
    // Beside others that read it.
    let unfinished = configuration.with_extension(std::process::id().to_string());
    fs::write(&unfinished, text).unwrap();
    fs::rename(unfinished, &configuration).unwrap();
    let mut command = inside(distribution, root, "dnf");
    command.arg("-c").arg(configuration).args(["--assumeyes", "--releasever=3.0", "--installroot"]).arg(root);
    command
}

/// Installs packages by name with `dnf --installroot`; gives what dnf printed.
pub fn dnf_install(distribution: &Distribution, root: &Path, packages: &[&str]) -> String {
    install(dnf(distribution, root), root, packages)
}

/// As [`dnf_install`], with a dnf for that root.
pub fn install(mut dnf: Command, root: &Path, packages: &[&str]) -> String {
    let said = must(dnf.arg("install").args(packages));
    // The repository's metadata, which a system gets anew.
    for entry in fs::read_dir(root.join("var/cache/dnf")).into_iter().flatten().filter_map(Result::ok) {
        let _ = if entry.path().is_dir() { fs::remove_dir_all(entry.path()) } else { fs::remove_file(entry.path()) };
    }
    said
}

/// What dnf would install for a wish list, as `name-epoch:version-release.arch`, sorted.
pub fn dnf_choice(distribution: &Distribution, root: &Path, packages: &[&str]) -> Vec<String> {
    let mut command = dnf(distribution, root);
    // It says what it would do and ends badly, because it was told not to do it; nor would it
    // take over a key.
    command.args(["--assumeno", "--setopt=assumeyes=0", "--setopt=distribution.repo_gpgcheck=0", "install"]);
    let output = command.args(packages).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.contains("Transaction Summary"), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
    let mut chosen: Vec<String> = text
        .lines()
        .filter_map(|line| {
            let fields: Vec<&str> = line.split_whitespace().collect();
            match fields.as_slice() {
                [name, arch, evr, "distribution", ..] => {
                    let epoch = if evr.contains(':') { "" } else { "0:" };
                    Some(format!("{name}-{epoch}{evr}.{arch}"))
                }
                _ => None,
            }
        })
        .collect();
    chosen.sort();
    chosen
}

/// What `rpm -Va` finds wrong in a root, a line each.
pub fn verified(distribution: &Distribution, root: &Path) -> Vec<String> {
    let mut command = inside(distribution, root, "rpm");
    let output = command.arg("--root").arg(root).arg("-Va").output().unwrap();
    String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect()
}

/// The packages of a root's database, as `name-epoch:version-release.arch`, sorted, keys apart.
pub fn installed(distribution: &Distribution, root: &Path) -> Vec<String> {
    const FORMAT: &str = "%{NAME}-%{EPOCHNUM}:%{VERSION}-%{RELEASE}.%{ARCH}\\n";
    let text = must(tool("rpm", distribution.home()).arg("--root").arg(root).args(["-qa", "--qf", FORMAT]));
    let mut names: Vec<String> =
        text.lines().filter(|line| !line.starts_with("gpg-pubkey-")).map(str::to_owned).collect();
    names.sort();
    names
}
