//! The tree that we compose of rpm packages is the tree that rpm and dnf make of the same packages,
//! in an order that they choose for themselves: every path with its owner, mode, capabilities and
//! content, every row of the database, every file of the initial ramdisk. rpm installs them in as many
//! transactions as we do; dnf in one.

pub mod changes;

use std::path::{Path, PathBuf};
use std::process::Command;

use layers::{Kind, Time};
use providers::distro::Catalogue;
use providers::lock::{Group, Lock};

use crate::fidelity::compare::{Aspect, Difference, compare};
use crate::fidelity::known::{Known, tell, unknown};
use crate::fidelity::rpmdb;
use crate::fidelity::side::Side;
use crate::rpm::{REMOVED, key_of, run, site};
use crate::rpm_distribution::{CORNERS, Distribution, SYSTEM, TOOLS, get, referee, triggers::LOG};
use crate::support::{User, have, is_root, must, strict};

/// The known differences, from both referees. Whoever adds one says why it is right.
const KNOWN: &[Known] = &[
    Known {
        only: &[
            "6 parts differ",
            "only theirs: dev/console",
            "only theirs: dev/kmsg",
            "only theirs: dev/null",
            "only theirs: dev/random",
            "only theirs: dev/urandom",
            "usr/lib/dracut/build-parameter.txt",
        ],
        path: "/boot/initramfs-*",
        aspects: &[Aspect::Content],
        why: "ours is made once and reproducibly, which dracut writes into it, and has no devices: devtmpfs has them",
    },
    Known {
        only: &[],
        path: "/etc/machine-id",
        aspects: &[Aspect::Content],
        why: "identifies one machine: ours is empty, as the table of volatile paths says",
    },
    Known {
        only: &[],
        path: "/var/lib/dnf/history.sqlite*",
        aspects: &[Aspect::OnlyTheirs],
        why: "dnf's diary, dated by the clock: it begins a new one",
    },
];

/// Where the referees' systems are, until the end of the test.
const ABOVE: &str = "/var/tmp/image-composer-rpm-fidelity";

/// Builds the tree as a user; the tar and the lock.
fn ours(distribution: &Distribution, user: User) -> (PathBuf, Lock) {
    let home = site(user, "rpm-fidelity", "azurelinux", distribution.repository(), &key_of(distribution), "");
    let install: Vec<&str> = SYSTEM.iter().chain(CORNERS).copied().collect();
    let spec = format!(
        "image: {{name: tree, base: {{os: azurelinux, version: \"3.0\", type: minimal}}}}\nbootloader: none\n\
         customizations: {{packages: {{remove: [{REMOVED}], install: [{}]}}}}\noutput: {{format: tar}}\n",
        install.join(", ")
    );
    std::fs::write(home.join("spec.yml"), spec).unwrap();
    // Every step is taken anew from its own key: an image in the cache says nothing of compose.
    let words = "build spec.yml --skip-stage configuration --no-image-cache --output-dir output";
    let (code, text) = run(user, &home, &words.split(' ').collect::<Vec<_>>());
    assert_eq!(code, Some(0), "{text}");
    let output = home.join("output");
    (output.join("tree.tar"), Lock::read(&std::fs::read(output.join("tree.lock")).unwrap()).unwrap())
}

/// An empty directory for a system.
fn place(name: &str) -> PathBuf {
    let place = Path::new(ABOVE).join(name);
    std::fs::create_dir_all(&place).unwrap();
    place
}

/// A referee's system, as one of the two sides. Nothing is mounted in it any more.
pub fn side_of(root: &Path) -> Side {
    let tar = root.with_extension("tar");
    let words = ["--xattrs", "--xattrs-include=*", "--numeric-owner", "--format=pax", "--sort=name"];
    must(Command::new("tar").args(words).arg("-C").arg(root).arg("-cf").arg(&tar).arg("."));
    let side = Side::of_tar(&tar);
    std::fs::remove_file(tar).unwrap();
    side
}

/// The system that `rpm -U --root` makes of a lock's packages, cut point by cut point, in the order
/// that it chooses for each.
fn by_rpm(distribution: &Distribution, lock: &Lock) -> Side {
    let root = place("rpm");
    for group in [Group::Base, Group::Kernel, Group::Defaults, Group::Rest] {
        let mut packages: Vec<_> = lock.packages.iter().filter(|package| package.group == group).collect();
        assert!(!packages.is_empty(), "no package is {group:?}");
        println!("{} packages are {group:?}", packages.len());
        packages.sort_by(|a, b| a.name.cmp(&b.name));
        let files: Vec<PathBuf> =
            packages.iter().map(|package| distribution.repository().join(&package.path)).collect();
        // It looks for itself whether they have all that they need.
        must(referee::rpm(distribution, &root, &files).env("SOURCE_DATE_EPOCH", lock.epoch.to_string()));
    }
    side_of(&root)
}

/// The system that `dnf --installroot` makes of what a lock's request asks for.
fn by_dnf(distribution: &Distribution, lock: &Lock) -> Side {
    let asked: Vec<&str> =
        lock.packages.iter().filter(|package| !package.automatic).map(|package| &*package.name).collect();
    let root = place("dnf");
    let mut dnf = referee::dnf(distribution, &root);
    dnf.env("SOURCE_DATE_EPOCH", lock.epoch.to_string());
    referee::install(dnf, &root, &asked);
    side_of(&root)
}

/// Everything that nobody knows of. Directories' times are not compared: with rpm they are those of
/// the last file that was laid there, or its scriptlets'.
pub fn unexplained(ours: &Side, theirs: &Side, begun: Time, lock: &Lock) -> Vec<Difference> {
    let catalogue = Catalogue::embedded().unwrap();
    let volatile = &catalogue.find("azurelinux", "3.0").unwrap().volatile;
    let differences = compare(ours, theirs);
    tell(KNOWN, &differences);
    let mut found = unknown(KNOWN, volatile, &differences);
    for (path, entry) in ours.tree.iter() {
        let (Some(own), Some(other)) = (ours.entry(path), theirs.entry(path)) else { continue };
        // What scriptlets make has the build's time with us, and the clock's with rpm.
        let is_made = own.meta.mtime == Time::seconds(lock.epoch) && other.meta.mtime >= begun;
        if entry.kind != Kind::Directory && own.meta.mtime != other.meta.mtime && !is_made {
            let detail = format!("the times {:?} and {:?}", own.meta.mtime, other.meta.mtime);
            found.push(Difference { path: path.clone(), aspect: Aspect::Content, detail });
        }
    }
    found
}

/// A side that does not tell in how many transactions its packages were installed: with more of them
/// the order of all is another. It is in the database, where each has its number and its time, and in
/// the log that the corner packages keep, every line of which has to be there all the same.
fn in_any_transactions(side: &Side) -> Side {
    let mut side = side.clone();
    let sorted = rpmdb::sorted(side.text(&changes::path(changes::DATABASE)));
    changes::write(&mut side, changes::DATABASE, sorted);
    let log = LOG.trim_start_matches('/');
    let mut lines: Vec<&[u8]> = side.text(&changes::path(log)).split_inclusive(|byte| *byte == b'\n').collect();
    lines.sort_unstable();
    assert!(lines.len() > 20, "{} lines in {LOG}", lines.len());
    let sorted = lines.concat();
    changes::write(&mut side, log, sorted);
    side
}

/// What `rpm -Va` finds in the tree of a tar.
fn verified(distribution: &Distribution, tar: &Path) -> Vec<String> {
    let root = place("ours");
    let words = ["--xattrs", "--xattrs-include=*", "--numeric-owner", "-xpf"];
    must(Command::new("tar").arg("-C").arg(&root).args(words).arg(tar));
    referee::verified(distribution, &root)
}

#[test]
fn azure_linux_is_what_rpm_and_dnf_make() {
    if !is_root() {
        println!("skipped: rpm and dnf must run as root");
        assert!(!strict(), "with CI set the suite must run as root");
        return;
    }
    if !have(&["setpriv", "tar", "python3"]) || !have(TOOLS) {
        return;
    }
    let distribution = get();
    must(Command::new("rm").arg("-rf").arg(ABOVE));
    let (tar, lock) = ours(distribution, User::WithoutRange);
    assert!(lock.packages.len() > 240, "{} packages", lock.packages.len());
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let begun = Time::seconds(i64::try_from(now.as_secs()).unwrap());
    let (other, rpms, dnfs, wrong) = std::thread::scope(|scope| {
        let dnfs = scope.spawn(|| by_dnf(distribution, &lock));
        let (other, _) = ours(distribution, User::WithRange);
        let rpms = by_rpm(distribution, &lock);
        (other, rpms, dnfs.join().unwrap(), verified(distribution, &tar))
    });
    must(Command::new("cmp").arg(&tar).arg(&other));
    assert_eq!(wrong, [] as [&str; 0], "rpm -Va");
    let side = Side::of_tar(&tar);
    assert!(side.tree.len() > 12_000, "{} paths", side.tree.len());
    let (once, dnfs) = (in_any_transactions(&side), in_any_transactions(&dnfs));
    for (name, ours, theirs) in [("rpm", &side, &rpms), ("dnf", &once, &dnfs)] {
        let found = unexplained(ours, theirs, begun, &lock);
        println!("{} and {} paths, of {name}'s {} unexplained", ours.tree.len(), theirs.tree.len(), found.len());
        let lines: Vec<String> = found.iter().map(ToString::to_string).collect();
        assert!(found.is_empty(), "{name}:\n{}", lines.join("\n"));
    }
    changes::are_noticed(&side, &rpms, |ours, theirs| unexplained(ours, theirs, begun, &lock));
    changes::of_database_are_noticed(&once, &dnfs, |ours, theirs| unexplained(ours, theirs, begun, &lock));
    must(Command::new("rm").arg("-rf").arg(ABOVE));
}
