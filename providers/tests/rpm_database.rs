//! Our database against the one that rpm itself writes for the same packages.

mod rpm_referee;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use providers::rpm::Header;
use providers::rpm::database::{Database, Installed};
use providers::rpm::header::tag;
use providers::rpm::transaction::Package;
use rpm_referee::{EPOCH, Workshop, headers, is_root, run, text, tool};
use rusqlite::types::Value;

const SPEC: &str = include_str!("data/rpm-corners.spec");

/// The order in which the packages are installed.
const ORDER: [&str; 9] =
    ["plain", "filled", "relations", "scripted", "triggered", "sharing", "empty", "signed", "resigned"];

fn packages(workshop: &Workshop) -> Option<Vec<PathBuf>> {
    if !["rpm", "rpmbuild", "rpmsign", "gpg"].into_iter().all(tool) {
        return None;
    }
    let built: BTreeMap<String, PathBuf> = workshop.build("corners", SPEC).into_iter().collect();
    workshop.sign(&built["signed"], "ed25519", &[]);
    workshop.sign(&built["resigned"], "rsa2048", &["--rpmv3"]);
    Some(ORDER.iter().map(|name| built[*name].clone()).collect())
}

/// Our database of the packages.
fn ours(packages: &[PathBuf]) -> Database {
    let headers: Vec<(Header, Header)> = packages.iter().map(|package| headers(package)).collect();
    let mut database = Database::new();
    for (time, (signature, header)) in (EPOCH..).zip(&headers) {
        database.install(&Installed { header, signature, time, transaction: EPOCH, color: 3, states: &[] }).unwrap();
    }
    database
}

/// rpm's database of the packages, in a root.
fn theirs(workshop: &Workshop, root: &Path, packages: &[PathBuf], how: &[&str]) -> PathBuf {
    std::fs::create_dir_all(root).unwrap();
    let mut command = workshop.rpm(root);
    command.args(["--define", "_transaction_color 3", "-i", "--nodeps", "--noorder", "--nosignature"]).args(how);
    run(command.args(packages));
    root.join("var/lib/rpm/rpmdb.sqlite")
}

/// Everything in a database: its tables and indexes with their columns, and every row of every
/// table with its number.
fn contents(path: &Path) -> BTreeMap<String, Vec<String>> {
    let connection = rusqlite::Connection::open(path).unwrap();
    let rows = |query: &str| -> Vec<String> {
        let mut statement = connection.prepare(query).unwrap();
        let columns = statement.column_count();
        let rows = statement.query_map([], |row| {
            let values: Vec<Value> = (0..columns).map(|at| row.get_unwrap::<_, Value>(at)).collect();
            Ok(format!("{values:?}"))
        });
        rows.unwrap().map(Result::unwrap).collect()
    };
    let names = "SELECT name FROM sqlite_master WHERE type = 'table' AND name <> 'sqlite_stat1' ORDER BY name";
    let mut statement = connection.prepare(names).unwrap();
    let tables: Vec<String> = statement.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
    let mut contents = BTreeMap::new();
    for table in tables {
        contents.insert(format!("columns of {table}"), rows(&format!("PRAGMA table_info('{table}')")));
        contents.insert(format!("references of {table}"), rows(&format!("PRAGMA foreign_key_list('{table}')")));
        contents.insert(format!("rows of {table}"), rows(&format!("SELECT rowid, * FROM '{table}' ORDER BY rowid")));
    }
    let indexes = "SELECT name, tbl_name FROM sqlite_master WHERE type = 'index' ORDER BY name";
    contents.insert("indexes".into(), rows(indexes));
    contents
}

fn differing(a: &Path, b: &Path) -> Vec<String> {
    let (a, b) = (contents(a), contents(b));
    let keys: std::collections::BTreeSet<&String> = a.keys().chain(b.keys()).collect();
    keys.into_iter().filter(|key| a.get(*key) != b.get(*key)).cloned().collect()
}

#[test]
fn every_row_is_the_one_that_rpm_writes() {
    let workshop = Workshop::new();
    let Some(packages) = packages(&workshop) else { return };
    let theirs = theirs(&workshop, &workshop.path("theirs"), &packages, &["--justdb"]);
    let ours = ours(&packages);
    let path = workshop.path("rpmdb.sqlite");
    ours.write(&path).unwrap();

    assert_eq!(differing(&path, &theirs), Vec::<String>::new());
    assert_eq!(Database::read(&theirs).unwrap(), ours, "rpm's database is read");
    assert_eq!(Database::read(&path).unwrap(), ours, "ours is read");

    // The same packages give the same bytes, and a taken name is refused.
    let again = workshop.path("again.sqlite");
    Database::read(&theirs).unwrap().write(&again).unwrap();
    assert!(std::fs::read(&path).unwrap() == std::fs::read(&again).unwrap(), "the bytes differ");
    assert!(ours.write(&again).is_err());
    for left in ["-wal", "-shm", "-journal"] {
        assert!(!workshop.path(&format!("rpmdb.sqlite{left}")).exists(), "{left}");
    }

    // The comparison sees one byte of one row.
    let connection = rusqlite::Connection::open(&again).unwrap();
    connection.execute("UPDATE Basenames SET idx = idx + 1 WHERE key = 'README'", []).unwrap();
    drop(connection);
    assert_eq!(differing(&again, &theirs), ["rows of Basenames"]);
}

#[test]
fn keys_that_rpm_imported_are_kept() {
    let workshop = Workshop::new();
    let Some(packages) = packages(&workshop) else { return };
    let root = workshop.path("root");
    let theirs = theirs(&workshop, &root, &packages, &["--justdb"]);
    for algorithm in ["ed25519", "rsa2048"] {
        run(workshop.within("rpmkeys", &root).arg("--import").arg(workshop.key(algorithm)));
    }
    let database = Database::read(&theirs).unwrap();
    let names: Vec<&str> = database.packages().skip(9).filter_map(|(_, header)| header.string(tag::NAME)).collect();
    assert_eq!(names, ["gpg-pubkey", "gpg-pubkey"]);
    for (_, header) in database.packages() {
        Package::read(header).unwrap();
    }
    let path = workshop.path("rpmdb.sqlite");
    database.write(&path).unwrap();
    assert_eq!(differing(&path, &theirs), Vec::<String>::new());
}

/// A distribution of one's own: `RPM_PACKAGES=directory cargo test … -- --ignored --nocapture`.
#[test]
#[ignore = "needs packages"]
fn a_whole_distribution() {
    let directory = std::env::var_os("RPM_PACKAGES").expect("RPM_PACKAGES names a directory of packages");
    let mut packages: Vec<PathBuf> = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    packages.retain(|path| path.extension().is_some_and(|suffix| suffix == "rpm"));
    packages.sort();
    let workshop = Workshop::new();
    let began = std::time::Instant::now();
    let theirs = theirs(&workshop, &workshop.path("theirs"), &packages, &["--justdb", "--force"]);
    println!("rpm --justdb of {} packages: {:?}", packages.len(), began.elapsed());
    // Some obsolete others, which rpm then leaves out.
    let chosen = Database::read(&theirs).unwrap();
    let digest = |header: &Header| header.string(tag::SHA1HEADER).map(str::to_owned);
    packages.retain(|package| {
        let own = digest(&headers(package).0);
        chosen.packages().any(|(_, header)| digest(header) == own)
    });
    let ours = ours(&packages);
    let path = workshop.path("rpmdb.sqlite");
    let began = std::time::Instant::now();
    ours.write(&path).unwrap();
    println!("written: {:?}, {} bytes", began.elapsed(), std::fs::metadata(&path).unwrap().len());
    let began = std::time::Instant::now();
    assert_eq!(Database::read(&path).unwrap(), ours);
    println!("read: {:?}", began.elapsed());
    let files: usize = ours.packages().map(|(_, header)| header.count(tag::BASENAMES)).sum();
    println!("{files} files; rpm's has {} bytes", std::fs::metadata(&theirs).unwrap().len());
    assert_eq!(differing(&path, &theirs), Vec::<String>::new());
}

/// What rpm tells of a database.
fn answers(workshop: &Workshop, root: &Path) -> Vec<(String, String)> {
    let ask: [&[&str]; 14] = [
        &["-qa"],
        &["-qai"],
        &["-qal"],
        &["-qa", "--scripts"],
        &["-qa", "--triggers", "--filetriggers"],
        &["-qa", "--dump"],
        &["-qa", "--state"],
        &[
            "-qa",
            "--qf",
            "%{nevra} %{installtime} %{installtid} %{sigpgp:pgpsig} %{rsaheader:pgpsig} %{dsaheader:pgpsig}\n",
        ],
        &["-q", "--whatprovides", "virtual", "other(x)", "/opt/filled/d/c"],
        &["-q", "--whatrequires", "plain", "j", "preunthing"],
        &["-qf", "/usr/share/plain/hello", "/opt/filled/näme", "/"],
        &["-q", "--triggeredby", "plain"],
        &["-q", "--whatsupplements", "base1"],
        &["-Va", "--nodeps"],
    ];
    let mut answers = Vec::new();
    for question in ask {
        let output = workshop.rpm(root).args(question).output().unwrap();
        answers.push((question.join(" "), text(&output) + &String::from_utf8_lossy(&output.stderr)));
    }
    if tool("dnf") {
        let output = workshop.dnf(root).arg("check").output().unwrap();
        let problems = text(&output);
        assert!(problems.contains("relations-3:2.0~rc1-4^git.noarch has missing requires of"), "{output:?}");
        answers.push(("dnf check".into(), problems));
    }
    answers
}

#[test]
fn rpm_is_content_with_our_database() {
    let workshop = Workshop::new();
    let Some(packages) = packages(&workshop) else { return };
    if !is_root() {
        println!("skipped: files of other owners need root");
        return;
    }
    // The files as rpm lays them, with its own database, and then with ours.
    let root = workshop.path("root");
    let theirs = theirs(&workshop, &root, &packages, &["--noscripts", "--notriggers"]);
    let before = answers(&workshop, &root);
    for (question, answer) in &before {
        assert!(!answer.is_empty(), "rpm {question} tells nothing");
    }
    std::fs::remove_dir_all(theirs.parent().unwrap()).unwrap();
    std::fs::create_dir_all(theirs.parent().unwrap()).unwrap();
    ours(&packages).write(&theirs).unwrap();
    for (theirs, ours) in before.iter().zip(answers(&workshop, &root)) {
        assert_eq!(theirs, &ours);
    }
    run(std::process::Command::new("rpmdb").arg("--root").arg(&root).args([
        "--define",
        "_dbpath /var/lib/rpm",
        "--verifydb",
    ]));

    // rpm goes on from it: it erases a package, and installs it anew.
    run(workshop.rpm(&root).args(["-e", "--nodeps", "--noscripts", "empty"]));
    run(workshop.rpm(&root).args(["-U", "--nodeps", "--nosignature"]).arg(&packages[6]));
    let numbers: Vec<u32> = Database::read(&theirs).unwrap().packages().map(|(number, _)| number).collect();
    assert_eq!(numbers, [1, 2, 3, 4, 5, 6, 8, 9, 10]);
}
