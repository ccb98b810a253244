//! Images of rpm packages that start from an image (`image.base.from`): what is put on it is what rpm would
//! put there, whoever made it.

mod errors;
mod images;

use std::path::{Path, PathBuf};
use std::process::Command;

use layers::Time;
use providers::lock::{Group, Lock};

use crate::fidelity::side::Side;
use crate::rpm::{REMOVED, boots, key_of, run, site};
use crate::rpm_distribution::{Distribution, TOOLS, get, referee};
use crate::rpm_fidelity::{changes, side_of, unexplained};
use crate::support::{User, have, is_root, must, must_as, strict};
use images::{Image, independent, packed, unpacked};

/// What the base has of the corner packages: triggers on packages and files that come later, users that own
/// them, configuration.
const BELOW: &[&str] = &[
    "corner-config",
    "corner-directories",
    "corner-ghosts",
    "corner-literal",
    "corner-rich-first",
    "corner-triggers",
    "corner-users",
];

/// What comes onto it: the rest of the corners, and packages with scriptlets of their own.
const ABOVE: &[&str] = &[
    "corner-caps",
    "corner-digest-md5",
    "corner-file-needs",
    "corner-hardlinks",
    "corner-interpreters",
    "corner-late",
    "corner-lua",
    "corner-needs",
    "corner-owned",
    "corner-payload-zstd",
    "corner-rich",
    "corner-scripts",
    "corner-setuid",
    "corner-sysusers",
    "corner-unicode",
    "corner-verify",
    "corner-weak",
    "rsyslog",
];

/// What somebody did in the base: configuration that packages on top have, in their way.
const CHANGE: &str = "printf 'mine\\n' >\"$1/usr/share/corner/corner-late\"; printf 'c=9\\n' >\"$1/etc/corner/plain.conf\"; \
                      touch -d @1600000000 \"$1/usr/share/corner/corner-late\" \"$1/etc/corner/plain.conf\"; \
                      rm \"$1/etc/corner/kept.conf\"";

/// Whether the suite can be other users and has these tools.
fn can(tools: &[&str]) -> bool {
    if !is_root() {
        println!("skipped: the suite must run as root to be other users");
        assert!(!strict(), "with CI set the suite must run as root");
        return false;
    }
    have(&["setpriv", "tar", "python3", "umoci", "skopeo"]) && have(tools) && have(TOOLS)
}

/// Writes a spec of container images and tars.
fn spec(home: &Path, name: &str, from: &str, packages: &[&str], rest: &str) {
    let layers = if from.is_empty() { 16 } else { 32 };
    let text = format!(
        "image: {{name: {name}, version: \"1.0\", base: {{os: azurelinux, version: \"3.0\", type: minimal{from}}}}}\n\
         bootloader: none\noutput: {{format: [oci, tar], oci: {{layers: {layers}}}}}\ncustomizations:\n  packages:\n    install: [{}]\n{rest}",
        packages.join(", ")
    );
    std::fs::write(home.join(format!("{name}.yml")), text).unwrap();
}

/// Makes a base of our own below a home, as the image `base:base:1.0` of a layout.
fn make_base(user: User, home: &Path, packages: &[&str]) {
    let rest = format!("    remove: [{REMOVED}]\n");
    spec(home, "base", "", packages, &rest);
    let (code, text) = run(user, home, &["oci", "export", "base.yml", "base"]);
    assert_eq!(code, Some(0), "{text}");
}

/// Builds a spec; the tar and the lock.
fn build(user: User, home: &Path, name: &str, words: &[&str]) -> (PathBuf, Lock) {
    let words = [&["build", &format!("{name}.yml"), "--skip-stage", "configuration", "--output-dir", "output"], words];
    let (code, text) = run(user, home, &words.concat());
    assert_eq!(code, Some(0), "{text}");
    let output = home.join("output");
    let lock = Lock::read(&std::fs::read(output.join(format!("{name}.lock"))).unwrap()).unwrap();
    (output.join(format!("{name}.tar")), lock)
}

/// `rpm -U --root` of a lock's packages in a base's tree, group by group.
fn install(distribution: &Distribution, root: &Path, lock: &Lock) {
    for group in [Group::Base, Group::Kernel, Group::Defaults, Group::Rest] {
        let packages = lock.packages.iter().filter(|package| package.group == group);
        let mut files: Vec<PathBuf> = packages.map(|package| distribution.repository().join(&package.path)).collect();
        println!("{} packages are {group:?}", files.len());
        files.sort();
        if !files.is_empty() {
            let said = must(referee::rpm(distribution, root, &files).env("SOURCE_DATE_EPOCH", lock.epoch.to_string()));
            println!("{said}");
        }
    }
}

fn now() -> Time {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    Time::seconds(i64::try_from(now.as_secs()).unwrap())
}

/// What we made of a base is what rpm makes of it, and the comparison sees what is not.
#[track_caller]
fn assert_same(distribution: &Distribution, base: &Image, tar: &Path, lock: &Lock) {
    let begun = now();
    let hold = tempfile::tempdir_in("/var/tmp").unwrap();
    let root = unpacked(base, &hold.path().join("theirs"));
    install(distribution, &root, lock);
    let (ours, theirs) = (Side::of_tar(tar), side_of(&root));
    let found: Vec<String> = unexplained(&ours, &theirs, begun, lock).iter().map(ToString::to_string).collect();
    println!("{} and {} paths, {} unexplained", ours.tree.len(), theirs.tree.len(), found.len());
    assert!(found.is_empty(), "{}", found.join("\n"));
    changes::are_noticed(&ours, &theirs, |ours, theirs| unexplained(ours, theirs, begun, lock));
    // The two databases say the same of what is there, and rpm's own tools are content with ours.
    let mine = hold.path().join("mine");
    std::fs::create_dir(&mine).unwrap();
    let words = ["--xattrs", "--xattrs-include=*", "--numeric-owner", "-xpf"];
    must(Command::new("tar").arg("-C").arg(&mine).args(words).arg(tar));
    assert_eq!(referee::verified(distribution, &mine), referee::verified(distribution, &root));
    let installed = referee::installed(distribution, &mine);
    assert_eq!(installed, referee::installed(distribution, &root));
    assert_eq!(installed.len(), lock.base.as_ref().unwrap().packages.len() + lock.packages.len());
}

#[test]
fn corner_packages_on_our_own_image_are_what_rpm_makes() {
    if !can(&[]) {
        return;
    }
    let distribution = get();
    let mut tars = Vec::new();
    let mut made = None;
    for user in [User::WithRange, User::WithoutRange] {
        let home = site(user, "rpm-base", "azurelinux", distribution.repository(), &key_of(distribution), "");
        make_base(user, &home, BELOW);
        packed(&home, "base", CHANGE);
        spec(&home, "small", ", from: \"oci:base:base:1.0\"", ABOVE, "");
        let (tar, lock) = build(user, &home, "small", &[]);
        let cold = std::fs::read(&tar).unwrap();
        // From layers at hand and a lock: the same bytes.
        let (code, text) = run(user, &home, &["lock", "small.yml"]);
        assert_eq!(code, Some(0), "{text}");
        let (tar, _) = build(user, &home, "small", &["--no-image-cache", "--force", "--locked"]);
        assert!(cold == std::fs::read(&tar).unwrap(), "the same packages on the same base, other bytes");
        tars.push(tar);
        made = Some((home, lock));
    }
    must(Command::new("cmp").args(&tars));
    let (home, lock) = made.unwrap();
    let there = &lock.base.as_ref().unwrap().packages;
    assert!(there.len() > 100 && there.iter().any(|package| package.name == "corner-triggers"), "{}", there.len());
    assert!(lock.packages.iter().all(|package| there.iter().all(|other| other.name != package.name)));
    assert!(lock.packages.iter().any(|package| package.name == "corner-triggered"), "a dependency");
    let base = Image { layout: home.join("base"), name: "base:1.0".into() };
    assert_same(distribution, &base, &tars[1], &lock);
    what_is_said_of_it(&home, &lock);
    for user in [User::WithRange, User::WithoutRange] {
        must(Command::new("rm").arg("-rf").arg(user.home().join("rpm-base")));
    }
}

/// The SBOM is a rendering of the lock.
fn what_is_said_of_it(home: &Path, lock: &Lock) {
    let text = std::fs::read_to_string(home.join("output/small.spdx.json")).unwrap();
    let sbom: serde_json::Value = serde_json::from_str(&text).unwrap();
    let packages = sbom["packages"].as_array().unwrap();
    let there = &lock.base.as_ref().unwrap().packages;
    assert_eq!(packages.len(), 1 + there.len() + lock.packages.len());
    let bash = packages.iter().find(|package| package["name"] == "bash").unwrap();
    assert_eq!(bash["comment"], "the base image has it");
    assert!(bash["externalRefs"][0]["referenceLocator"].as_str().unwrap().starts_with("pkg:rpm/azurelinux/bash@"));
    let why = |name: &str| run(User::WithoutRange, home, &["why", name, "small.yml"]).1;
    assert!(why("bash").contains("the base image has it"));
    assert!(why("corner-late").contains("the spec asks for it"));
}

#[test]
fn packages_on_an_image_of_dnf_are_what_rpm_installs() {
    if !can(&[]) {
        return;
    }
    let distribution = get();
    let user = User::WithoutRange;
    let home = site(user, "rpm-base-dnf", "azurelinux", distribution.repository(), &key_of(distribution), "");
    let names = ["azurelinux-release", "core-packages-base-image", "corner-triggers", "corner-epoch", "corner-weak"];
    let (base, root) = independent(distribution, &home, &names);
    let above = ["corner-rich", "corner-late", "corner-lua", "corner-sysusers", "openssh-server", "corner-needs"];
    let chosen = referee::dnf_choice(distribution, &root, &above);
    spec(&home, "small", ", from: \"oci:base:slim\"", &above, "");
    let (tar, lock) = build(user, &home, "small", &[]);
    let epoch = |version: &str| if version.contains(':') { "" } else { "0:" };
    let shown = |name: &str, version: &str, machine: &str| format!("{name}-{}{version}.{machine}", epoch(version));
    let mut ours: Vec<String> =
        lock.packages.iter().map(|one| shown(&one.name, &one.version, &one.architecture)).collect();
    ours.sort();
    assert_eq!(ours, chosen, "dnf would choose others");
    let mut there: Vec<String> = lock
        .base
        .as_ref()
        .unwrap()
        .packages
        .iter()
        .map(|one| shown(&one.name, &one.version, &one.architecture))
        .collect();
    there.sort();
    assert_eq!(there, referee::installed(distribution, &root), "the lock has another base");
    must(Command::new("rm").arg("-rf").arg(&root));
    assert_same(distribution, &base, &tar, &lock);
    must(Command::new("rm").arg("-rf").arg(&home));
}

/// A container's image becomes a machine's: the kernel and what starts it come onto it.
#[test]
fn a_machine_made_of_a_container_image_boots() {
    if !can(&["ssh-keygen", "ssh", "qemu-system-x86_64", "qemu-img"]) {
        return;
    }
    let distribution = get();
    let user = User::WithoutRange;
    let home = site(user, "rpm-base-boot", "azurelinux", distribution.repository(), &key_of(distribution), "");
    let names = ["azurelinux-release", "core-packages-base-image", "corner-triggers"];
    let (_, root) = independent(distribution, &home, &names);
    must(Command::new("rm").arg("-rf").arg(&root));
    let key = home.join("key");
    must_as(user, Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-C", "test", "-f"]).arg(&key));
    let public = std::fs::read_to_string(key.with_extension("pub")).unwrap();
    let text = format!(
        "image: {{name: azl, base: {{os: azurelinux, version: \"3.0\", type: minimal, from: \"oci:base:slim\"}}}}\n\
         kernel: {{cmdline: {}}}\n\
         disk: {{size: 2GiB, partitions: [{{type: esp, size: 128MiB}}, {{type: root, size: rest}}]}}\n\
         customizations:\n  hostname: azl\n  packages:\n    remove: [{REMOVED}]\n    \
         install: [dnf, rsyslog, sudo, systemd-timesyncd, corner-caps, corner-owned, corner-setuid]\n  users:\n    \
         - {{name: tester, groups: [wheel], sudo: nopasswd, ssh_keys: [\"{}\"]}}\noutput: {{format: raw}}\n",
        crate::machine::PATIENT,
        public.trim()
    );
    std::fs::write(home.join("spec.yml"), text).unwrap();
    let (code, text) = run(user, &home, &["build", "spec.yml", "--output-dir", "output"]);
    assert_eq!(code, Some(0), "{text}");
    boots(&home.join("output/azl.raw"), &key);
    must(Command::new("rm").arg("-rf").arg(&home));
}
