//! Cut points of rpm images: a spec that is another's plus a few packages, or less them, begins where
//! both are the same, and what it becomes is what it becomes from nothing.

use std::path::{Path, PathBuf};
use std::process::Command;

use providers::lock::{Group, Lock};

use crate::rpm::{REMOVED, key_of, run, site};
use crate::rpm_distribution::{TOOLS, get};
use crate::support::{User, have, is_root, must, must_as, strict};

/// What both specs ask for, and what one of them asks for besides: scriptlets of every kind.
const FEW: &[&str] = &["kernel", "corner-literal", "corner-lua", "sudo", "systemd-timesyncd"];
const MORE: &str = "corner-scripts";

const BASE: &str = "run scriptlets of base packages";
const KERNEL: &str = "run scriptlets of kernel packages";
const DEFAULT: &str = "run scriptlets of default packages";
const OTHER: &str = "run scriptlets of other packages";
const RAMDISK: &str = "make the initial ramdisk";

/// One build: what it said, and what it made.
struct Build {
    said: String,
    tar: PathBuf,
    lock: Lock,
}

impl Build {
    fn of(user: User, home: &Path, cache: &str, name: &str, packages: &[&str]) -> Self {
        let spec = format!(
            "image: {{name: {name}, base: {{os: azurelinux, version: \"3.0\", type: minimal}}}}\nbootloader: none\n\
             customizations: {{packages: {{remove: [{REMOVED}], install: [{}]}}}}\noutput: {{format: tar}}\n",
            packages.join(", ")
        );
        std::fs::write(home.join("spec.yml"), spec).unwrap();
        let output = format!("{cache}-output");
        // Steps that are reused are told of one by one only so.
        let words = "build spec.yml --log-level debug --skip-stage configuration --no-image-cache --cache-dir";
        let words = [&words.split(' ').collect::<Vec<_>>()[..], &[cache, "--output-dir", &output]].concat();
        let (code, said) = run(user, home, &words);
        assert_eq!(code, Some(0), "{said}");
        let output = home.join(output);
        let lock = Lock::read(&std::fs::read(output.join(format!("{name}.lock"))).unwrap()).unwrap();
        Self { said, tar: output.join(format!("{name}.tar")), lock }
    }

    /// What became of each step of this title: `built`, `reused`.
    fn outcomes(&self, title: &str) -> Vec<String> {
        let outcome = |line: &'_ str| line.trim_start().strip_prefix(title)?.strip_prefix(": ").map(str::to_owned);
        let words = self.said.lines().filter_map(outcome);
        words.filter_map(|words| words.split([' ', ':', ',']).next().map(str::to_owned)).collect()
    }

    fn has(&self, title: &str, outcome: &str) {
        let outcomes = self.outcomes(title);
        assert!(!outcomes.is_empty() && outcomes.iter().all(|one| *one == outcome), "{title}: {outcomes:?}");
    }

    /// The digest of the initial ramdisk.
    fn ramdisk(&self) -> String {
        let script = "tar -xOf \"$1\" --wildcards './boot/initramfs-*' | sha256sum";
        must(Command::new("bash").args(["-eo", "pipefail", "-c", script, "bash"]).arg(&self.tar))
    }

    fn packages(&self, group: Group) -> Vec<&str> {
        self.lock.packages.iter().filter(|one| one.group == group).map(|one| one.name.as_str()).collect()
    }
}

#[test]
fn a_package_more_or_less_runs_the_last_cut_point_alone() {
    if !is_root() {
        println!("skipped: the suite must run as root to be other users");
        assert!(!strict(), "with CI set the suite must run as root");
        return;
    }
    if !have(&["setpriv"]) || !have(TOOLS) {
        return;
    }
    let distribution = get();
    let user = User::WithoutRange;
    let home = site(user, "rpm-cuts", "azurelinux", distribution.repository(), &key_of(distribution), "");
    let more = [FEW, &[MORE]].concat();
    let few = Build::of(user, &home, "one", "few", FEW);
    let added = Build::of(user, &home, "one", "more", &more);
    let anew = Build::of(user, &home, "other", "more", &more);
    let less = Build::of(user, &home, "other", "few", FEW);

    // What the spec names is in the last group, and no other knows of it.
    for group in [Group::Essential, Group::Base, Group::Kernel, Group::Defaults] {
        assert_eq!(few.packages(group), added.packages(group));
    }
    assert!(few.packages(Group::Kernel).contains(&"kernel"), "{:?}", few.packages(Group::Kernel));
    assert!(few.packages(Group::Defaults).contains(&"openssh-server"), "{:?}", few.packages(Group::Defaults));
    assert!(few.packages(Group::Base).len() > 100, "{} packages", few.packages(Group::Base).len());
    assert!(added.packages(Group::Rest).contains(&MORE) && !few.packages(Group::Rest).contains(&MORE));

    for build in [&few, &anew] {
        for title in [BASE, KERNEL, DEFAULT, OTHER, RAMDISK] {
            build.has(title, "built");
        }
    }
    for build in [&added, &less] {
        for title in [BASE, KERNEL, DEFAULT, RAMDISK] {
            build.has(title, "reused");
        }
        build.has(OTHER, "built");
    }
    must(Command::new("cmp").arg(&added.tar).arg(&anew.tar));
    must(Command::new("cmp").arg(&few.tar).arg(&less.tar));
    // Had the ramdisk waited for all packages, it would be the same.
    let ours = include_str!("../../providers/data/azurelinux-3.0.yaml");
    let theirs = ours.replace("  inputs: [", "  inputs: [/usr/share/corner, ");
    assert_ne!(ours, theirs);
    let providers = home.join("config/image-composer/providers");
    must_as(user, Command::new("mkdir").arg("-p").arg(&providers));
    std::fs::write(providers.join("azurelinux-3.0.yaml"), theirs).unwrap();
    let waiting = Build::of(user, &home, "one", "waiting", &more);
    for title in [BASE, KERNEL, DEFAULT, OTHER] {
        waiting.has(title, "reused");
    }
    waiting.has(RAMDISK, "built");
    assert_eq!(added.ramdisk(), waiting.ramdisk());
    let differ = !Command::new("cmp").arg("-s").arg(&few.tar).arg(&added.tar).status().unwrap().success();
    assert!(differ, "a package more makes no difference");
    must(Command::new("rm").arg("-rf").arg(&home));
}
