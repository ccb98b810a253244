//! Owners, devices, capabilities and ids: asked for, seen again, and captured.

use super::Case;
use crate::support::{Bench, shell, stack};
use sandbox::{Captured, Change, Kind, Meta, Placed, Step};

pub const CASES: &[Case] =
    &[("a_script_runs_and_its_file_is_captured", plain), ("an_owner_is_seen_and_captured", owner)];

fn entry<'a>(captured: &'a Captured, path: &str) -> &'a Meta {
    let found = captured.changes.iter().find_map(|change| match change {
        Change::Changed { path: p, entry, .. } if p == path.as_bytes() => Some(entry),
        _ => None,
    });
    found.unwrap_or_else(|| panic!("{path} is not captured: {:#?}", captured.changes))
}

fn plain(bench: &Bench) {
    let outcome = bench.script("echo hello; echo text > /etc/new; id -u; cat /proc/1/status | head -1");

    let captured = outcome.captured();
    let new = entry(&captured, "etc/new");
    assert_eq!(new.kind, Kind::File { size: 5 });
    assert_eq!((new.mode, new.uid, new.gid), (0o644, 0, 0));
    assert_eq!(std::fs::read(captured.upper.join("etc/new")).unwrap(), b"text\n");
    let paths: Vec<_> = captured.changes.iter().map(|c| String::from_utf8_lossy(c.path()).into_owned()).collect();
    assert_eq!(paths, ["etc", "etc/new"]);
}

fn owner(bench: &Bench) {
    let outcome = bench.script(
        "touch /etc/new; chown 33:44 /etc/new; stat -c '%u:%g' /etc/new; chmod 2755 /etc/new;
         mv /etc/new /etc/newer; stat -c '%u:%g %a' /etc/newer; chown 0:0 /etc/passwd;
         chown 5 /etc/group; ln -s nowhere /etc/link; chown -h 7:8 /etc/link; stat -c %u:%g /etc/link",
    );
    assert_eq!(outcome.output, "33:44\n33:44 2755\n7:8\n");
    let captured = outcome.captured();
    let new = entry(&captured, "etc/newer");
    assert_eq!((new.mode, new.uid, new.gid), (0o2755, 33, 44));
    let group = entry(&captured, "etc/group");
    assert_eq!((group.uid, group.gid, group.content_unchanged), (5, 0, true));
    let link = entry(&captured, "etc/link");
    assert_eq!((link.uid, link.gid), (7, 8));
    assert_eq!(link.kind, Kind::Symlink { target: b"nowhere".to_vec() });
    let _ = (shell(""), stack(&[]), Placed::Fifo, Step::Remove { path: vec![] });
}
