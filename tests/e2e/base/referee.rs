//! apt as the referee: it installs packages into a base that was unpacked by another tool.

use std::fs;
use std::path::Path;
use std::process::Command;

use image_composer::machine::Machine;
use providers::distro::Catalogue;
use providers::lock::{Lock, LockedPackage};
use providers::mirror;

use crate::fidelity::referee;
use crate::support::must;
use crate::wrong::archive::SUITE;

/// Directories that apt wants to be there.
const WANTED: [&str; 5] =
    ["etc/apt/apt.conf.d", "var/lib/apt/lists/partial", "var/cache/apt/archives/partial", "var/log/apt", "usr/sbin"];

/// The suite's own archive as a line of sources.list(5).
pub fn tiny(root: &Path) -> String {
    format!("deb [trusted=yes] copy:{} {SUITE} main\n", root.display())
}

/// The repositories of a lock, from this machine's mirror.
pub fn debian(lock: &Lock) -> String {
    let catalogue = Catalogue::embedded().unwrap();
    referee::sources(lock, catalogue.find(&lock.os, &lock.os_version).unwrap())
}

/// The repositories of a release of Debian, from this machine's mirror.
pub fn debian_of(version: &str) -> String {
    let catalogue = Catalogue::embedded().unwrap();
    let machine = Machine::read();
    let configured = mirror::read(&machine.apt_sources).unwrap();
    let mut text = String::new();
    for facts in &catalogue.find("debian", version).unwrap().repositories {
        let own = mirror::mirrors_of(facts, &machine.os, &configured);
        let url = own.first().map_or(facts.url.clone(), |mirror| mirror.without_credentials());
        let keys = facts.keys.as_deref().expect("a repository with a key file");
        let keys = Path::new(env!("CARGO_MANIFEST_DIR")).join("providers/data/keys").join(keys);
        for suite in &facts.suites {
            text.push_str(&format!("deb [signed-by={}] {url} {suite} main\n", keys.display()));
        }
    }
    text
}

/// Installs packages into an unpacked image with this machine's apt and the image's own dpkg and settings, in
/// the versions of these if there are any.
pub fn install(root: &Path, sources: &str, names: &[&str], versions: &[LockedPackage], epoch: i64) {
    for directory in WANTED {
        fs::create_dir_all(root.join(directory)).unwrap();
    }
    let hold = tempfile::tempdir().unwrap();
    let at = |name: &str| hold.path().join(name);
    let mut pins = String::new();
    if !versions.is_empty() {
        pins.push_str("Package: *\nPin: release *\nPin-Priority: -1\n");
    }
    for LockedPackage { name, version, .. } in versions {
        pins.push_str(&format!("\nPackage: {name}\nPin: version {version}\nPin-Priority: 1001\n"));
    }
    fs::write(at("sources"), sources).unwrap();
    fs::write(at("pins"), pins).unwrap();
    let config = format!(
        "Dir \"{0}/\";\nDir::Etc::SourceList \"{1}\";\nDir::Etc::SourceParts \"/dev/null\";\n\
         Dir::Etc::Preferences \"{2}\";\nDir::Etc::PreferencesParts \"/dev/null\";\nDPkg::Chroot-Directory \"{0}\";\n\
         APT::Sandbox::User \"root\";\nAPT::Install-Recommends \"false\";\nDPkg::Options {{ \"--force-confold\"; }};\n",
        root.display(),
        at("sources").display(),
        at("pins").display()
    );
    fs::write(at("apt.conf"), config).unwrap();
    let policy = root.join("usr/sbin/policy-rc.d");
    fs::write(&policy, "#!/bin/sh\nexit 101\n").unwrap();
    must(Command::new("chmod").arg("755").arg(&policy));
    let script = "mount --bind /dev \"$1/dev\"; mount -t proc proc \"$1/proc\"; root=$1; shift\n\
                  apt-get -qq update; apt-get -qq -y --no-install-recommends install \"$@\"; apt-get -qq clean";
    let text = must(
        Command::new("unshare")
            .args(["--mount", "sh", "-ec", script, "install"])
            .arg(root)
            .args(names)
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .env("APT_CONFIG", at("apt.conf"))
            .env("DEBIAN_FRONTEND", "noninteractive")
            .env("DEBCONF_NONINTERACTIVE_SEEN", "true")
            .env("SOURCE_DATE_EPOCH", epoch.to_string())
            .env("LC_ALL", "C.UTF-8"),
    );
    println!("{text}");
    fs::remove_file(policy).unwrap();
}

/// Asks the image's own tools: nothing is broken, and so many packages are installed.
pub fn inspect(root: &Path, packages: usize) {
    let chroot = |line: &str| must(Command::new("chroot").arg(root).args(line.split(' ')));
    assert_eq!(chroot("dpkg --audit"), "");
    let listed = chroot("dpkg -l");
    let installed = listed.lines().filter(|line| line.starts_with("ii ")).count();
    assert_eq!(installed, packages, "{listed}");
    assert!(!listed.lines().skip(5).any(|line| !line.starts_with("ii ")), "{listed}");
    println!("{}", chroot("apt-get check"));
    // They object when there is something to object to.
    let status = root.join("var/lib/dpkg/status");
    let text = fs::read_to_string(&status).unwrap();
    let cron = text.split("\n\n").find(|stanza| stanza.starts_with("Package: cron\n")).unwrap();
    fs::write(&status, text.replace(&format!("{cron}\n\n"), "")).unwrap();
    let broken = Command::new("chroot").arg(root).args(["apt-get", "check"]).output().unwrap();
    assert!(!broken.status.success(), "a missing dependency goes unnoticed");
    fs::write(&status, text).unwrap();
}
