//! Images of rpm packages that cannot be started from, and packages that cannot be put on one.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::images::{Image, owned, unpacked};
use super::{build, can, make_base, spec};
use crate::rpm::{key_of, run, site};
use crate::rpm_distribution::get;
use crate::support::{User, must};

/// Where rpm's database is, and where it may be.
const DATABASE: &str = "var/lib/rpm/rpmdb.sqlite";
const ELSEWHERE: &str = "usr/lib/sysimage/rpm/rpmdb.sqlite";
const RELEASE: &str = "usr/lib/os-release";

/// A base, from which others are made.
struct Base {
    layout: PathBuf,
    root: PathBuf,
}

impl Base {
    fn of(home: &Path, bundle: &Path) -> Self {
        let image = Image { layout: home.join("base"), name: "base:1.0".into() };
        let root = unpacked(&image, bundle);
        Self { layout: image.layout, root }
    }

    fn read(&self, path: &str) -> Vec<u8> {
        fs::read(self.root.join(path)).unwrap()
    }

    /// Another image under a name, with these files, or without them, in layers of their own.
    fn changed(&self, name: &str, files: &[(&str, Option<&[u8]>)]) {
        let image = |name: &str| format!("{}:{name}", self.layout.display());
        must(Command::new("umoci").args(["tag", "--image", &image("base:1.0"), name]));
        let hold = tempfile::NamedTempFile::new().unwrap();
        for (path, bytes) in files {
            let mut insert = Command::new("umoci");
            insert.args(["insert", "--image", &image(name), "--history.created", "2020-01-01T00:00:00Z"]);
            match bytes {
                None => insert.arg("--whiteout"),
                Some(bytes) => {
                    // umoci 0.4 ends its archive with the last byte of the file.
                    let mut whole = bytes.to_vec();
                    whole.resize(bytes.len().next_multiple_of(512), b'\n');
                    fs::write(hold.path(), whole).unwrap();
                    insert.arg(hold.path())
                }
            };
            must(insert.arg(format!("/{path}")));
        }
    }
}

/// A database after statements of SQL, as it is before it is closed, and its log.
fn sql(hold: &Path, database: &[u8], statements: &str) -> (Vec<u8>, Vec<u8>) {
    const SCRIPT: &str = "import shutil, sqlite3, sys\n\
                          path, statements = sys.argv[1:]\n\
                          connection = sqlite3.connect(path)\n\
                          for statement in statements.split('; '):\n    connection.execute(statement)\n    connection.commit()\n\
                          shutil.copy(path, path + '.copy')\n\
                          try:\n    shutil.copy(path + '-wal', path + '.log')\nexcept FileNotFoundError:\n    open(path + '.log', 'w')\n";
    let at = |end: &str| hold.join(format!("work.sqlite{end}"));
    fs::write(at(""), database).unwrap();
    must(Command::new("python3").args(["-c", SCRIPT]).arg(at("")).arg(statements));
    (fs::read(at(".copy")).unwrap(), fs::read(at(".log")).unwrap())
}

fn refused(user: User, home: &Path, from: &str, packages: &[&str], rest: &str, words: &[&str]) {
    spec(home, "small", &format!(", from: \"oci:base:{from}\""), packages, rest);
    let (code, text) = run(user, home, &["build", "small.yml", "--output-dir", "output"]);
    assert_eq!(code, Some(4), "{from}: {text}");
    for word in words {
        assert!(text.contains(word), "no {word:?} in:\n{text}");
    }
    assert!(!text.contains("panicked"), "{text}");
    assert!(!home.join("output/small.tar").exists(), "something was written");
}

#[test]
fn a_base_of_rpm_packages_that_cannot_be_used_is_refused() {
    if !can(&[]) {
        return;
    }
    let distribution = get();
    let user = User::WithoutRange;
    let home = site(user, "rpm-base-wrong", "azurelinux", distribution.repository(), &key_of(distribution), "");
    make_base(user, &home, &["corner-tilde=2.0~rc1", "corner-or", "corner-replaced=1.0"]);
    let hold = tempfile::tempdir_in("/var/tmp").unwrap();
    let base = Base::of(&home, &hold.path().join("bundle"));
    let database = base.read(DATABASE);
    let with = |name: &str, place: &str, bytes: &[u8]| base.changed(name, &[(place, Some(bytes))]);
    let without = |name: &str, place: &str| base.changed(name, &[(DATABASE, None), (place, Some(&database))]);
    base.changed("none", &[(DATABASE, None)]);
    without("ndb", "var/lib/rpm/Packages.db");
    without("bdb", "var/lib/rpm/Packages");
    with("cut", DATABASE, &database[..100_000]);
    with("noise", DATABASE, &b"no database at all\n".repeat(10_000));
    with("hot", "var/lib/rpm/rpmdb.sqlite-journal", b"hot");
    for (name, statement) in [
        ("blob", "UPDATE Packages SET blob = substr(blob, 1, 50) WHERE hnum = 9"),
        ("moved", "ALTER TABLE Packages RENAME TO p"),
        ("twins", "UPDATE Packages SET blob = (SELECT blob FROM Packages WHERE hnum = 8) WHERE hnum = 9"),
    ] {
        with(name, DATABASE, &sql(hold.path(), &database, statement).0);
    }
    let release = String::from_utf8(base.read(RELEASE)).unwrap().replace("ID=azurelinux", "ID=mariner");
    with("other", RELEASE, release.as_bytes());
    base.changed("apart", &[("bin", None), ("bin/bash", Some(b"no shell"))]);
    // Good ones: in the other place, and one of which the log says what is in it.
    without("elsewhere", ELSEWHERE);
    let delete = "DELETE FROM Packages WHERE hnum = (SELECT hnum FROM Name WHERE key = 'corner-or')";
    let (main, log) = sql(hold.path(), &database, &format!("PRAGMA journal_mode = wal; {delete}"));
    base.changed("open", &[(DATABASE, Some(&main)), (&format!("{DATABASE}-wal"), Some(&log))]);
    owned(&home, "base");
    let says = |from: &str, words: &[&str]| refused(user, &home, from, &["corner-lua"], "", words);
    says("none", &["it has no database of rpm's (/var/lib/rpm/rpmdb.sqlite)"]);
    says("ndb", &["its database of packages is in the format ndb (/var/lib/rpm/Packages.db)", "rpmdb --rebuilddb"]);
    says("bdb", &["in the format Berkeley DB (/var/lib/rpm/Packages)"]);
    for name in ["cut", "noise", "blob", "moved"] {
        says(name, &["its database of packages (/var/lib/rpm/rpmdb.sqlite) cannot be read"]);
    }
    says("hot", &["left in the middle of a change", "/var/lib/rpm/rpmdb.sqlite-journal"]);
    says("other", &["it is mariner 3.0, and the spec says", "image.base.os"]);
    says("apart", &["/bin does not lead to /usr/bin"]);

    // What cannot be put on it, and what cannot be taken away.
    let hint = "packages of the base image stay as they are";
    let chosen = |packages: &[&str], rest: &str, word: &str| {
        refused(user, &home, "base:1.0", packages, rest, &[word, hint]);
    };
    chosen(&[], "    remove: [bash]\n", "'bash' cannot be removed: the base image has it, in version");
    chosen(&["bash=99"], "", "'bash' has no version 99; there is");
    chosen(
        &["corner-versions"],
        "",
        "corner-tilde > 2.0~rc1, but there is only corner-tilde 2.0~rc1-1.azl3 of the base image",
    );
    chosen(&["corner-either"], "", "cannot be beside");
    chosen(&["corner-replaces"], "", "corner-replaced 1.0-1.azl3 of the base image: it excludes corner-replaced < 2");
    // With nothing to put on it, it is the base.
    spec(&home, "small", ", from: \"oci:base:noise\"", &[], "");
    let (code, text) = run(user, &home, &["build", "small.yml", "--output-dir", "output"]);
    assert_eq!(code, Some(4), "the lock would not say what there is: {text}");
    spec(&home, "small", ", from: \"oci:base:base:1.0\"", &[], "");
    let (_, lock) = build(user, &home, "small", &[]);
    assert!(lock.packages.is_empty() && lock.base.unwrap().packages.len() > 100);

    // The database is where it was, and what a log said is in it.
    let put = |from: &str, package: &str| {
        spec(&home, "small", &format!(", from: \"oci:base:{from}\""), &[package], "");
        let (tar, lock) = build(user, &home, "small", &["--force"]);
        let listed = must(Command::new("tar").arg("-tf").arg(tar));
        let files = listed.lines().filter(|line| line.contains("rpmdb.sqlite")).map(str::to_owned).collect::<Vec<_>>();
        (files, lock.base.unwrap().packages)
    };
    let (files, there) = put("elsewhere", "corner-lua");
    assert_eq!(files, [format!("./{ELSEWHERE}")]);
    // One package twice is one package.
    let (_, twins) = put("twins", "corner-lua");
    assert_eq!(twins.len(), there.len() - 1);
    let (files, less) = put("open", "corner-either");
    assert_eq!(files, [format!("./{DATABASE}")]);
    assert!(there.len() == less.len() + 1 && !less.iter().any(|package| package.name == "corner-or"));
    must(Command::new("rm").arg("-rf").arg(&home));
}
