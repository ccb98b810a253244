//! Images that start from an image (`image.base.from`): what is put on it is what apt and dpkg would put
//! there, whoever made it and wherever it is.

mod errors;
mod referee;
mod registry;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use layers::{Content, Kind, TreePath};
use providers::distro::Catalogue;
use serde_json::Value;

use crate::engines;
use crate::fidelity::compare::{Aspect, compare};
use crate::fidelity::known::{Known, unknown};
use crate::fidelity::odd;
use crate::fidelity::side::Side;
use crate::machine::{Machine, PATIENT};
use crate::support::{User, have, must};
use crate::wrong::archive::archive;
use crate::wrong::case::Case;

const TOOLS: [&str; 4] = ["apt-get", "skopeo", "umoci", "unshare"];

/// What the base has of the odd packages; the others come onto it.
const BELOW: [&str; 12] = [
    "odd-tool",
    "odd-old",
    "odd-first",
    "odd-link",
    "odd-dir",
    "odd-mode-a",
    "odd-alias-a",
    "odd-needed",
    "odd-choice-a",
    "odd-owner",
    "odd-brief",
    "odd-local",
];

/// What the base's script leaves: its name, and a directory for which a package comes later.
const SCRIPT: &str = "#!/bin/sh
set -e
printf 'ID=tiny\\nVERSION_ID=1\\n' >/etc/os-release
mkdir /usr/share/tiny-hallo; echo old >/usr/share/tiny-hallo/old; echo old >/usr/share/tiny-hallo/data
";

fn spec(case: &Case, file: &str, base: &str, packages: &[&str], rest: &str) {
    let text = format!(
        "image: {{name: {}, version: \"1.0\", base: {{os: tiny, version: 1{base}}}}}\nbootloader: none\n\
         output: {{format: [oci, tar]}}\ncustomizations:\n  packages: {{install: [{}]}}\n{rest}",
        file.trim_end_matches(".yml"),
        packages.join(", ")
    );
    case.write(file, &text);
}

/// Makes a base in the directory `base` of a case, of our own making: with a deletion in a layer of its own.
fn make_base(case: &Case, packages: &[&str]) {
    spec(case, "base.yml", "", packages, "  scripts:\n    - path: ./base.sh\n");
    case.write("base.sh", SCRIPT);
    case.run(&["oci", "export", "base.yml", "base", "--rung", case.user.rung()]).with(0, &["wrote"]);
    let image = format!("{}:base:1.0", case.directory.join("base").display());
    must(Command::new("umoci").args([
        "insert",
        "--rootless",
        "--image",
        &image,
        "--history.created",
        "2020-01-01T00:00:00Z",
        "--whiteout",
        "/usr/share/tiny-hallo",
    ]));
    own(case, "base");
}

/// Gives what root made to the case's user.
fn own(case: &Case, path: &str) {
    must(Command::new("chown").arg("-R").arg(format!("{}:", case.user.name())).arg(case.directory.join(path)));
}

/// Unpacks an image of a layout directory and gives its root.
fn unpack(layout: &Path, name: &str, to: &Path) -> PathBuf {
    must(Command::new("umoci").args(["unpack", "--image", &format!("{}:{name}", layout.display())]).arg(to));
    to.join("rootfs")
}

/// Makes a layer of what a script changes in an image; `$1` is its root, `$2` what it is given.
fn repack(layout: &Path, name: &str, change: &str, given: &Path) {
    let hold = tempfile::tempdir().unwrap();
    let bundle = hold.path().join("bundle");
    let root = unpack(layout, name, &bundle);
    must(Command::new("sh").args(["-ec", change, "change"]).arg(&root).arg(given));
    must(Command::new("umoci").args(["repack", "--image", &format!("{}:{name}", layout.display())]).arg(&bundle));
}

/// Unpacks the OCI image that a case built.
fn unpack_built(case: &Case, name: &str, home: &Path) -> PathBuf {
    let archive = format!("oci-archive:{}", case.directory.join(format!("output/{name}.oci.tar")).display());
    let layout = home.join("layout");
    must(Command::new("skopeo").args(["copy", "--quiet", &archive, &format!("oci:{}:built", layout.display())]));
    unpack(&layout, "built", &home.join("built"))
}

/// A directory of root's as a side to compare.
fn side(root: &Path) -> Side {
    let tar = root.with_extension("tar");
    let options = ["--numeric-owner", "--xattrs", "--xattrs-include=*", "--format=pax", "--sort=name"];
    must(Command::new("tar").args(options).arg("-C").arg(root).arg("-cf").arg(&tar).arg("."));
    let side = Side::of_tar(&tar);
    fs::remove_file(tar).unwrap();
    side
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

fn path(text: &str) -> TreePath {
    TreePath::new(text).unwrap()
}

/// What apt leaves where it runs.
const OF_APT: [&str; 4] = ["var/lib/apt/lists", "var/cache", "var/log", "usr/sbin/policy-rc.d"];

/// The differences that nobody knows of.
fn differences(known: &[Known], version: &str, ours: &Side, theirs: &Side, apart: &[&str]) -> Vec<String> {
    let catalogue = Catalogue::embedded().unwrap();
    let volatile = &catalogue.find("debian", version).unwrap().volatile;
    let found = unknown(known, volatile, &compare(ours, theirs));
    let is_apart = |at: &TreePath| apart.iter().any(|top| *at == path(top) || at.is_below(&path(top)));
    found.iter().filter(|difference| !is_apart(&difference.path)).map(ToString::to_string).collect()
}

type Change = (&'static str, fn(&mut Side));

/// The comparison objects when there is something to object to.
const CHANGES: &[Change] = &[
    ("a file that is gone", |side| drop(side.tree.remove(&path("usr/bin/dpkg")))),
    ("another mode", |side| side.tree.get_mut(&path("usr/bin/dpkg")).unwrap().meta.mode = 0o700),
    ("another content", |side| side.tree.get_mut(&path("usr/bin/dpkg")).unwrap().kind = Kind::File(Content::of(b"x"))),
    ("a package in another state", |side| {
        let status = path("var/lib/dpkg/status");
        let text = String::from_utf8(side.texts[&status].clone()).unwrap();
        let text = text.replacen("install ok installed", "install ok unpacked", 1).into_bytes();
        side.tree.get_mut(&status).unwrap().kind = Kind::File(Content::of(&text));
        side.texts.insert(status, text);
    }),
];

/// Both sides are the same but for what is known, and the comparison sees what is not.
#[track_caller]
fn assert_same(ours: &Side, differences: impl Fn(&Side) -> Vec<String>) {
    let found = differences(ours);
    assert!(found.is_empty(), "{}", found.join("\n"));
    for (what, change) in CHANGES {
        let mut changed = ours.clone();
        change(&mut changed);
        assert!(!differences(&changed).is_empty(), "{what} goes unnoticed");
    }
}

#[test]
fn odd_packages_on_our_own_image_are_what_dpkg_makes() {
    if !have(&TOOLS) {
        return;
    }
    let above: Vec<&str> =
        odd::names().into_iter().filter(|name| !BELOW.contains(name)).chain(["tiny-hallo"]).collect();
    let mut sums = Vec::new();
    for user in [User::WithoutRange, User::WithRange] {
        let Some(case) = Case::of(user, "base-odd") else { return };
        make_base(&case, &[&BELOW[..], &["tiny-hello"]].concat());
        spec(&case, "small.yml", ", from: \"oci:base:base:1.0\"", &above, "");
        // What a layer of the base deletes is gone without an overlay, too.
        let mode = if user == User::WithRange { &["--no-overlay"][..] } else { &[] };
        let words = [&["--skip-stage", "configuration"], mode].concat();
        case.build(&words).with(0, &["take the base image oci:base:base:1.0"]);
        // From layers at hand: the same bytes.
        let cold = case.sums();
        case.build(&[&words[..], &["--no-image-cache", "--force"]].concat()).with(0, &[]);
        assert_eq!(case.sums(), cold, "the same packages on the same base, other bytes");
        sums.push(cold);
        if user != User::WithoutRange {
            continue;
        }
        let home = tempfile::tempdir().unwrap();
        let theirs = unpack(&case.directory.join("base"), "base:1.0", &home.path().join("theirs"));
        referee::install(&theirs, &referee::tiny(&archive().unwrap().root), &above, &[], 1_700_000_000);
        let built = unpack_built(&case, "small", home.path());
        let tree = home.path().join("tar");
        engines::unpack_tar(&case.directory.join("output/small.tar"), &tree);
        engines::assert_have(&case.directory.join("output/small.oci.tar"), &tree);
        let (theirs, as_oci) = (side(&theirs), side(&built));
        let ours = Side::of_tar(&case.directory.join("output/small.tar"));
        assert!(theirs.tree.get(&path("usr/share/tiny-hallo/data")).is_some());
        assert!(ours.tree.get(&path("usr/share/tiny-hallo/old")).is_none());
        let apart = [&OF_APT[..], &["etc/apt", "var/lib/apt", "var/lib/dpkg/lock-frontend", "dev", "tmp"]].concat();
        assert_same(&ours, |side| differences(&[], "13", side, &theirs, &apart));
        let found: Vec<String> = compare(&ours, &as_oci).iter().map(ToString::to_string).collect();
        assert!(found.is_empty(), "as a container image it is another tree:\n{}", found.join("\n"));
        what_is_said_of_it(&case);
    }
    assert_eq!(sums[0], sums[1], "the rungs differ");
}

/// SBOM, manifest, lock and image say what was there and what came.
fn what_is_said_of_it(case: &Case) {
    let read = |name: &str| json(&fs::read_to_string(case.directory.join("output").join(name)).unwrap());
    let names = |list: &Value| -> Vec<String> {
        list.as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap_or_default().to_owned()).collect()
    };
    let (sbom, lock, manifest) = (read("small.spdx.json"), read("small.lock"), read("small.manifest.json"));
    let (all, new, below) = (names(&sbom["packages"]), names(&lock["packages"]), names(&lock["base"]["packages"]));
    assert!(below.contains(&"odd-tool".to_owned()) && below.contains(&"tiny-system".to_owned()), "{below:?}");
    assert!(new.contains(&"odd-wrap".to_owned()) && !new.iter().any(|name| below.contains(name)), "{new:?}");
    assert!(below.iter().chain(&new).all(|name| all.contains(name)), "{all:?}");
    assert_eq!(all.len(), 1 + below.len() + new.len());
    assert_eq!(manifest["base"]["manifest"], lock["base"]["manifest"]);
    assert_eq!(manifest["base"]["packages"].as_array().unwrap().len(), below.len());
    case.run(&["why", "odd-tool", "small.yml"]).with(0, &["the base image has it"]);
    case.run(&["why", "odd-wrap", "small.yml"]).with(0, &["the spec asks for it"]);

    // The base's layers are the image's lowest ones, as they are.
    let archive = format!("oci-archive:{}", case.directory.join("output/small.oci.tar").display());
    let base = format!("oci:{}:base:1.0", case.directory.join("base").display());
    let layers = |image: &str| -> Vec<String> {
        let raw = json(&must(Command::new("skopeo").args(["inspect", "--raw", image])));
        let layers = raw["layers"].as_array().unwrap();
        layers.iter().map(|layer| layer["digest"].as_str().unwrap().to_owned()).collect()
    };
    let (lowest, whole) = (layers(&base), layers(&archive));
    assert!(whole.len() > lowest.len() && whole.starts_with(&lowest), "{lowest:?} {whole:?}");
    let raw = json(&must(Command::new("skopeo").args(["inspect", "--raw", &archive])));
    let digest = format!("sha256:{}", lock["base"]["manifest"].as_str().unwrap());
    assert_eq!(raw["annotations"]["org.opencontainers.image.base.digest"], digest.as_str());
}

/// The known differences from what apt makes.
const ON_DEBIAN: &[Known] = &[Known {
    only: &[],
    path: "/run/*",
    aspects: &[Aspect::OnlyTheirs],
    why: "a tmpfs is mounted over it before anything runs",
}];

/// An image that nothing of ours made: mmdebstrap's, packed by umoci, with the settings of a small image and
/// with deletions in a second layer.
fn independent(version: &str, codename: &str, home: &Path) -> PathBuf {
    let (tar, layout, sources) = (home.join("base.tar"), home.join("base"), home.join("sources.list"));
    fs::write(&sources, referee::debian_of(version)).unwrap();
    let image = format!("{}:slim", layout.display());
    must(
        Command::new("mmdebstrap")
            .args(["--quiet", "--mode=root", "--variant=apt", codename])
            .arg(&tar)
            .arg(sources)
            .env("SOURCE_DATE_EPOCH", "1700000000")
            .env("LC_ALL", "C.UTF-8"),
    );
    must(Command::new("umoci").arg("init").arg("--layout").arg(&layout));
    must(Command::new("umoci").args(["new", "--image", &image]));
    let repack = |change: &str| repack(&layout, "slim", change, &tar);
    repack("tar -C \"$1\" --xattrs --xattrs-include='*' --numeric-owner -xpf \"$2\"");
    repack(
        "printf 'path-exclude /usr/share/doc/*\\npath-include /usr/share/doc/*/copyright\\npath-exclude /usr/share/man/*\\n' \
         >\"$1/etc/dpkg/dpkg.cfg.d/docker\"\n\
         rm -r \"$1/usr/share/man\"; find \"$1/usr/share/doc\" -type f ! -name copyright -delete",
    );
    layout
}

#[test]
fn packages_on_an_image_of_mmdebstrap_are_what_apt_installs() {
    const PACKAGES: [&str; 3] = ["ca-certificates", "dbus", "logrotate"];
    if !have(&[&TOOLS[..], &["mmdebstrap"]].concat()) {
        return;
    }
    let (version, codename) = ("12", "bookworm");
    let Some(case) = Case::of(User::WithoutRange, "base-debian") else { return };
    let home = tempfile::tempdir().unwrap();
    let layout = independent(version, codename, home.path());
    must(Command::new("cp").arg("-r").arg(&layout).arg(case.directory.join("base")));
    own(&case, "base");
    let text = format!(
        "image: {{name: small, base: {{os: debian, version: {version}, from: \"oci:base:slim\"}}}}\n\
         bootloader: none\noutput: {{format: [oci, tar]}}\ncustomizations: {{packages: {{install: [{}]}}}}\n",
        PACKAGES.join(", ")
    );
    case.write("small.yml", &text);
    case.build(&["--skip-stage", "configuration"]).with(0, &[]);
    let cold = case.sums();
    case.build(&["--skip-stage", "configuration", "--no-image-cache", "--force"]).with(0, &[]);
    assert_eq!(case.sums(), cold, "the same packages on the same base, other bytes");

    let lock = fs::read(case.directory.join("output/small.lock")).unwrap();
    let lock = providers::lock::Lock::read(&lock).unwrap();
    assert!(lock.packages.iter().any(|package| package.name == "cron"), "a dependency");
    let theirs = unpack(&layout, "slim", &home.path().join("theirs"));
    let asked: Vec<String> =
        lock.packages.iter().filter(|package| !package.automatic).map(|package| package.name.clone()).collect();
    let asked: Vec<&str> = asked.iter().map(String::as_str).collect();
    referee::install(&theirs, &referee::debian(&lock), &asked, &lock.packages, lock.epoch);
    let built = unpack_built(&case, "small", home.path());
    let (theirs, as_oci) = (side(&theirs), side(&built));
    referee::inspect(&built, lock.base.as_ref().unwrap().packages.len() + lock.packages.len());
    let ours = Side::of_tar(&case.directory.join("output/small.tar"));
    assert!(ours.tree.get(&path("usr/share/doc/dbus/copyright")).is_some());
    assert!(ours.tree.get(&path("usr/share/man/man8")).is_none());
    let apart = [&OF_APT[..], &["dev"]].concat();
    assert_same(&ours, |side| differences(ON_DEBIAN, version, side, &theirs, &apart));
    // No container has a disk to mount.
    let found = compare(&ours, &as_oci).into_iter().filter(|difference| difference.path != path("etc/fstab"));
    let found: Vec<String> = found.map(|difference| difference.to_string()).collect();
    assert!(found.is_empty(), "as a container image it is another tree:\n{}", found.join("\n"));

    // With a kernel and what has to start it, it is a machine.
    if !have(&["qemu-system-x86_64"]) {
        return;
    }
    let text = format!(
        "image: {{name: boot, base: {{os: debian, version: {version}, from: \"oci:base:slim\"}}}}\n\
         kernel: {{package: linux-image-cloud-amd64, cmdline: \"{PATIENT}\"}}\ndisk: {{size: 3GiB}}\n\
         output: {{format: raw}}\ncustomizations: {{hostname: based}}\n"
    );
    case.write("boot.yml", &text);
    case.run(&["build", "boot.yml", "--progress", "plain", "--rung", case.user.rung()]).with(0, &[]);
    let disk = case.directory.join("output/boot.raw");
    Machine::boot(&disk, "raw", home.path()).wait_for("based login:");
    fs::remove_file(disk).unwrap();
}
