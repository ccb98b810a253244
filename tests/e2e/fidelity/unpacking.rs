//! What dpkg does besides laying files, on small packages that show it: diversions, statoverrides,
//! Replaces, links and directories in each other's place, conffiles, Pre-Depends, alternatives, the
//! names of a merged /usr. The referee is what apt and dpkg make of the same packages.

use std::path::{Path, PathBuf};
use std::process::Command;

use layers::{Content, Kind, TreePath};
use providers::distro::Catalogue;

use super::compare::compare;
use super::known::{DEBIAN, unknown};
use super::odd;
use super::side::Side;
use crate::support::{User, have};
use crate::wrong::archive::{SUITE, archive};
use crate::wrong::case::Case;

/// What mmdebstrap leaves because it runs apt, on a system that has none.
const OF_APT: [&str; 8] =
    ["etc/apt", "etc/dpkg", "etc/resolv.conf", "var/lib/apt", "var/cache", "var/log", "dev", "tmp"];

/// The system that apt and dpkg make of packages of the suite's own archive.
fn referee(packages: &[&str]) -> Result<PathBuf, String> {
    let archive = archive().unwrap();
    let tar = PathBuf::from(format!("/var/tmp/image-composer-odd-{}.tar", std::process::id()));
    let mut command = Command::new("mmdebstrap");
    command
        .args(["--mode=root", "--variant=essential", "--aptopt=APT::Install-Recommends \"false\""])
        .arg(format!("--include={}", packages.join(",")))
        .arg(SUITE)
        .arg(&tar)
        .arg(format!("deb [trusted=yes] copy:{} {SUITE} main", archive.root.display()))
        .env("LC_ALL", "C.UTF-8")
        .env("SOURCE_DATE_EPOCH", "1700000000");
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    if output.status.success() { Ok(tar) } else { Err(text) }
}

fn path(text: &str) -> TreePath {
    TreePath::new(text).unwrap()
}

fn ours(user: User, name: &str) -> Option<Side> {
    let root = &archive()?.root;
    let case = Case::at(user, name, &format!("file:{}", root.display()))?;
    case.spec(&odd::names(), "");
    case.build(&["--skip-stage", "configuration"]).with(0, &[]);
    let raw = case.directory.join("output/small.raw");
    let side = Side::of_disk(&raw);
    // From layers at hand: the same bytes.
    let digest = |raw: &Path| layers::Blake3::of(&std::fs::read(raw).unwrap());
    let cold = digest(&raw);
    case.build(&["--skip-stage", "configuration", "--no-image-cache", "--force"]).with(0, &[]);
    assert_eq!(digest(&raw), cold, "the same packages, other bytes");
    Some(side)
}

type Change = (&'static str, fn(&mut Side));

/// The comparison objects when there is something to object to.
const CHANGES: &[Change] = &[
    ("a diverted file in its old place", |side| {
        let entry = side.tree.remove(&path("usr/bin/odd-late.distrib")).unwrap();
        side.tree.insert(path("usr/bin/odd-late.away"), entry).unwrap();
    }),
    ("a mode that nobody overrides", |side| side.tree.get_mut(&path("usr/share/odd/owned")).unwrap().meta.mode = 0o644),
    ("a file of another package", |side| {
        side.tree.get_mut(&path("usr/share/odd/taken")).unwrap().kind = Kind::File(Content::of(b"of the old one\n"));
    }),
    ("a link that is gone", |side| drop(side.tree.remove(&path("usr/share/odd-link")))),
    ("a name in a list", |side| {
        let list = path("var/lib/dpkg/info/odd-old.list");
        let text = [&side.texts[&list][..], b"/usr/share/odd/taken\n"].concat();
        side.tree.get_mut(&list).unwrap().kind = Kind::File(Content::of(&text));
        side.texts.insert(list, text);
    }),
];

#[test]
fn unpacking_is_what_dpkg_does() {
    if !have(&["mmdebstrap"]) {
        return;
    }
    let Some(single) = ours(User::WithoutRange, "odd") else { return };
    let range = ours(User::WithRange, "odd").unwrap();
    assert!(compare(&single, &range).is_empty(), "the rungs differ: {:?}", compare(&single, &range));
    let tar = referee(&odd::names()).unwrap_or_else(|text| panic!("mmdebstrap: {text}"));
    let theirs = Side::of_tar(&tar);
    std::fs::remove_file(&tar).unwrap();
    let catalogue = Catalogue::embedded().unwrap();
    let volatile = &catalogue.find("debian", "13").unwrap().volatile;
    let differences = |side: &Side| {
        let of_apt = |at: &TreePath| OF_APT.iter().any(|top| *at == path(top) || at.is_below(&path(top)));
        let found = unknown(DEBIAN, volatile, &compare(side, &theirs));
        found.into_iter().filter(|difference| !of_apt(&difference.path)).collect::<Vec<_>>()
    };
    let found = differences(&single);
    let lines: Vec<String> = found.iter().map(ToString::to_string).collect();
    assert!(found.is_empty(), "{}", lines.join("\n"));
    for (what, change) in CHANGES {
        let mut changed = single.clone();
        change(&mut changed);
        assert!(!differences(&changed).is_empty(), "{what} goes unnoticed");
    }
}

#[test]
fn what_dpkg_refuses_to_overwrite_is_refused() {
    let Some(case) = Case::new("clash") else { return };
    let hint = "replace, divert or conflict";
    for (packages, words) in [
        (&["odd-clash-b"][..], "odd-clash-b: it would overwrite /usr/share/odd/clash, which is also in odd-clash-a"),
        (&["odd-clash-c"], "odd-clash-c: it would overwrite /usr/share/odd/taken, which is also in odd-old"),
        (&["odd-clash-d"], "which is the diverted version of /usr/bin/odd-tool"),
    ] {
        case.spec(packages, "");
        case.build(&[]).with(4, &[words, hint]);
        case.nothing_is_there();
        if have(&["mmdebstrap"]) {
            let refused = referee(packages).expect_err("dpkg agrees with us");
            assert!(refused.contains("trying to overwrite"), "{refused}");
        }
    }
    case.spec(&["odd-new"], "");
    case.build(&[]).with(0, &[]);
    case.all_is_there();
}
