//! The comparison objects when there is something to object to.

use layers::{Content, Kind, Time, TreePath};

use crate::fidelity::compare::Difference;
use crate::fidelity::rpmdb;
use crate::fidelity::side::Side;

type Change = fn(&mut Side);

pub fn path(text: &str) -> TreePath {
    TreePath::new(text).unwrap()
}

fn entry<'a>(side: &'a mut Side, at: &str) -> &'a mut layers::Entry {
    side.tree.get_mut(&path(at)).unwrap()
}

/// Another text of a file.
pub fn write(side: &mut Side, at: &str, bytes: Vec<u8>) {
    entry(side, at).kind = Kind::File(Content::of(&bytes));
    side.texts.insert(path(at), bytes);
}

/// rpm's database after a statement of SQL.
fn database(side: &mut Side, statement: &str) {
    let bytes = rpmdb::changed(side.text(&path(DATABASE)), statement);
    write(side, DATABASE, bytes);
}

pub const DATABASE: &str = "var/lib/rpm/rpmdb.sqlite";

const OF_FILES: &[(&str, Change)] = &[
    ("a file that is gone", |side| drop(side.tree.remove(&path("usr/bin/rpm")))),
    ("a file in another place", |side| {
        let copy = entry(side, "usr/bin/rpm").clone();
        side.tree.insert(path("usr/bin/rpm-2"), copy).unwrap();
    }),
    ("another mode", |side| entry(side, "usr/bin/su").meta.mode = 0o755),
    ("another owner", |side| entry(side, "etc/shadow").meta.gid = 7),
    ("another link", |side| entry(side, "bin").kind = Kind::Symlink((*b"usr/sbin").into())),
    ("another content", |side| entry(side, "usr/bin/su").kind = Kind::File(Content::of(b"x"))),
    ("another time", |side| entry(side, "usr/bin/su").meta.mtime = Time::seconds(1)),
    ("another line", |side| {
        let more = [side.text(&path("etc/passwd")), b"more:x:7:7::/:/bin/sh\n"].concat();
        write(side, "etc/passwd", more);
    }),
    ("a capability that is lost", |side| {
        let with = side.tree.iter_mut().find(|(_, entry)| !entry.meta.xattrs.is_empty());
        with.expect("a file with a capability").1.meta.xattrs.clear();
    }),
    ("a name less of a file with several", |side| {
        let link = side.tree.iter().find(|(_, entry)| matches!(entry.kind, Kind::HardLink(_))).expect("a hard link");
        let (at, target) = (link.0.clone(), side.entry(link.0).unwrap().clone());
        *side.tree.get_mut(&at).unwrap() = target;
    }),
];

const OF_DATABASE: &[(&str, Change)] = &[
    ("a row that is gone", |side| database(side, "DELETE FROM Requirename WHERE rowid = 77")),
    ("a package with another header", |side| {
        database(side, "UPDATE Packages SET blob = substr(blob, 2) WHERE hnum = 20");
    }),
];

/// Every change of the referee's tree is found.
pub fn are_noticed(ours: &Side, theirs: &Side, found: impl Fn(&Side, &Side) -> Vec<Difference>) {
    check(OF_FILES, ours, theirs, &found, |at| is_ramdisk(at) || *at == path(DATABASE));
    of_database_are_noticed(ours, theirs, found);
}

/// Every change of the referee's database is found.
pub fn of_database_are_noticed(ours: &Side, theirs: &Side, found: impl Fn(&Side, &Side) -> Vec<Difference>) {
    check(OF_DATABASE, ours, theirs, &found, is_ramdisk);
}

fn is_ramdisk(at: &TreePath) -> bool {
    at.as_bytes().starts_with(b"boot/initramfs-")
}

/// Other differences in the big files are kept out, so that these are not read again and again.
fn check(
    changes: &[(&str, Change)],
    ours: &Side,
    theirs: &Side,
    found: &impl Fn(&Side, &Side) -> Vec<Difference>,
    is_out: impl Fn(&TreePath) -> bool,
) {
    let without = |side: &Side| {
        let mut side = side.clone();
        let gone: Vec<TreePath> = side.tree.iter().map(|(path, _)| path.clone()).filter(|at| is_out(at)).collect();
        gone.iter().for_each(|path| drop(side.tree.remove(path)));
        side
    };
    let (ours, theirs) = (without(ours), without(theirs));
    for (what, change) in changes {
        let mut changed = theirs.clone();
        change(&mut changed);
        assert!(!found(&ours, &changed).is_empty(), "{what} goes unnoticed");
    }
}
