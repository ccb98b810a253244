//! Engines of containers as referees of whole images: what they make of an image that was built is the
//! tree of the tar beside it, whatever family its packages are of; and podman runs it.

#[path = "../../layers/oci/tests/oci/engines/engine.rs"]
mod engine;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use providers::lock::Lock;
use rustix::fs::{XattrFlags, lgetxattr, lremovexattr, lsetxattr};

use crate::rpm::{acme, key_of, ready, run, site};
use crate::support::{User, have, must, strict};
use engine::Engine;

/// The engines that have storage, with the driver that keeps layers apart, as they are used.
const ENGINES: [(&str, &str); 3] = [("podman", "overlay"), ("buildah", "overlay"), ("containerd", "overlayfs")];

/// Every path below a directory with what is said of it, and the digests of files. What only a disk has is
/// left out.
pub fn listing(root: &Path) -> Vec<String> {
    let script = "find . -mindepth 1 ! -path ./etc/fstab -printf '%P|%y|%m|%U:%G|%T@|%l|%n\\n' | sort; \
                  find . -type f ! -path ./etc/fstab -print0 | sort -z | xargs -0 sha256sum; \
                  find . -type b -o -type c | sort | xargs -r stat -c '%n is %t:%T'";
    let text = must(Command::new("sh").args(["-c", script]).current_dir(root));
    let mut lines: Vec<String> = Vec::new();
    for line in text.lines() {
        // The number of links of a directory is the file system's own; times have ten decimals.
        let mut fields: Vec<&str> = line.split('|').collect();
        if fields.get(1) == Some(&"d") {
            fields.pop();
        }
        let mut line = fields.join("|");
        let named = fields.first().filter(|_| fields.len() > 1);
        for (name, value) in named.map(|path| attributes(&root.join(path))).unwrap_or_default() {
            line.push_str(&format!(" {name}={value}"));
        }
        lines.push(line);
    }
    lines
}

/// Extended attributes, values in hexadecimal.
fn attributes(path: &Path) -> Vec<(String, String)> {
    let mut names = vec![0; 64 << 10];
    let length = rustix::fs::llistxattr(path, &mut names[..]).unwrap_or(0);
    let names = names[..length].split(|&byte| byte == 0).filter(|name| !name.is_empty());
    let mut found: Vec<(String, String)> = names
        .map(|name| {
            let name = String::from_utf8_lossy(name).into_owned();
            let mut value = vec![0; 64 << 10];
            let length = rustix::fs::lgetxattr(path, name.as_str(), &mut value[..]).unwrap_or(0);
            (name, hex::encode(&value[..length]))
        })
        .collect();
    found.sort();
    found
}

#[track_caller]
pub fn assert_same(one: &Path, other: &Path) {
    let (one, other) = (listing(one), listing(other));
    let only = |a: &[String], b: &[String]| -> Vec<String> { a.iter().filter(|l| !b.contains(l)).cloned().collect() };
    let (gone, new) = (only(&one, &other), only(&other, &one));
    assert!(one.len() > 100 && gone.is_empty() && new.is_empty(), "{gone:#?}\n{new:#?}");
}

/// Unpacks a tar with all that is in it.
pub fn unpack_tar(tar: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    let options = ["--numeric-owner", "--xattrs", "--xattrs-include=*", "--delay-directory-restore"];
    must(Command::new("tar").arg("-xpf").arg(tar).arg("-C").arg(to).args(options));
}

/// An engine, where it runs on this machine.
fn start(name: &'static str, driver: &'static str, home: &Path) -> Option<Engine> {
    if !have(&[name]) {
        return None;
    }
    Engine::start(name, driver, home)
        .map_err(|said| {
            println!("skipped: {name} does not run on this machine with {driver}");
            assert!(!strict(), "{said}");
        })
        .ok()
}

/// Every engine has the tree in a directory when it takes in an image of an archive.
#[track_caller]
pub fn assert_have(archive: &Path, tree: &Path) {
    for (name, driver) in ENGINES {
        let home = tempfile::tempdir().unwrap();
        let Some(mut engine) = start(name, driver, home.path()) else { continue };
        let image = engine.load(archive, "amd64").unwrap();
        let root = engine.mount(&image, "amd64").unwrap();
        println!("{name}: {} lines", listing(&root).len());
        assert_same(tree, &root);
    }
}

/// What is missing in one listing and what is new in it is told, also of a capability alone.
#[track_caller]
fn assert_sees_a_capability(tree: &Path, file: &str) {
    let (file, name) = (tree.join(file), "security.capability");
    let before = listing(tree);
    let mut value = [0; 64];
    let length = lgetxattr(&file, name, &mut value[..]).unwrap();
    lremovexattr(&file, name).unwrap();
    assert_eq!(before.iter().zip(listing(tree)).filter(|(one, other)| *one != other).count(), 1);
    lsetxattr(&file, name, &value[..length], XattrFlags::CREATE).unwrap();
    assert_eq!(before, listing(tree));
}

/// Packages of owners, modes, capabilities and links of their own, beside what makes rpm run.
const PACKAGES: [&str; 8] = [
    "corner-caps",
    "corner-directories",
    "corner-hardlinks",
    "corner-owned",
    "corner-setuid",
    "corner-unicode",
    "corner-users",
    "shadow-utils",
];

#[test]
fn podman_runs_an_image_of_rpm_packages() {
    let Some(distribution) = ready() else { return };
    let user = User::WithoutRange;
    let home = site(user, "rpm-engines", "acme", distribution.repository(), &key_of(distribution), "");
    acme(user, &home);
    let spec = format!(
        "image: {{name: small, version: \"1.0\", base: {{os: acme, version: \"1\"}}}}\nbootloader: none\n\
         customizations: {{packages: {{install: [{}]}}}}\noutput: {{format: [oci, tar]}}\n",
        PACKAGES.join(", ")
    );
    fs::write(home.join("spec.yml"), spec).unwrap();
    let (code, text) = run(user, &home, &["build", "spec.yml", "--output-dir", "output"]);
    assert_eq!(code, Some(0), "{text}");
    let output = home.join("output");
    let archive = output.join("small.oci.tar");
    let hold = tempfile::tempdir().unwrap();
    let tree = hold.path().join("tree");
    unpack_tar(&output.join("small.tar"), &tree);
    assert_sees_a_capability(&tree, "usr/bin/corner-caps");
    assert_have(&archive, &tree);

    let storage = tempfile::tempdir().unwrap();
    let Some(podman) = start("podman", "overlay", storage.path()) else { return };
    let image = podman.load(&archive, "amd64").unwrap();
    let script = format!("rpm -qa --queryformat '%{{name}}\\n'; rpm -V {} || echo differs", PACKAGES.join(" "));
    let said = match podman.run_container(&image, &["/bin/sh", "-c", &script]) {
        Ok(said) => said,
        Err(said) => {
            println!("skipped: podman runs no containers on this machine");
            assert!(!strict(), "{said}");
            return;
        }
    };
    let lock = Lock::read(&fs::read(output.join("small.lock")).unwrap()).unwrap();
    let locked: BTreeSet<&str> = lock.packages.iter().map(|package| package.name.as_str()).collect();
    assert_eq!(said.lines().collect::<BTreeSet<_>>(), locked);
    assert!(locked.len() > 20, "{said}");
}
