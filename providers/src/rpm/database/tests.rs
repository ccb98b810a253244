use std::path::{Path, PathBuf};

use rusqlite::Connection;

use super::*;
use crate::rpm::header::tests::sound;

/// A main header and a signature header.
fn headers() -> (Header, Header) {
    let main = Header::parse(&sound()).unwrap();
    // One value: the size of header and payload.
    let words = [2u32, 20, 62, 7, 4, 16, 1000, 4, 0, 1, 77, 62, 7, 0u32.wrapping_sub(32), 16];
    let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_be_bytes()).collect();
    let magic = [0x8e, 0xad, 0xe8, 1, 0, 0, 0, 0];
    (main, Header::parse_signature(&[&magic[..], &bytes].concat()).unwrap())
}

fn database() -> Database {
    let (main, signature) = headers();
    let mut database = Database::new();
    for time in 0..3 {
        let package = Installed {
            header: &main,
            signature: &signature,
            time,
            transaction: 7,
            color: 0,
            states: &[FileState::Normal; 2],
        };
        database.install(&package).unwrap();
    }
    database
}

fn written(directory: &tempfile::TempDir) -> PathBuf {
    let path = directory.path().join("rpmdb.sqlite");
    database().write(&path).unwrap();
    path
}

fn change(path: &Path, statements: &str) {
    Connection::open(path).unwrap().execute_batch(statements).unwrap();
}

fn refusal(path: &Path) -> String {
    let error = Database::read(path).unwrap_err();
    assert!(error.hint().is_some(), "{error}");
    format!("{error}: {}", std::error::Error::source(&error).map_or_else(String::new, ToString::to_string))
}

#[test]
fn numbers_are_not_used_twice() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a");
    let mut database = database();
    assert!(database.remove(3).is_some() && database.remove(3).is_none());
    database.write(&path).unwrap();
    let mut read = Database::read(&path).unwrap();
    assert_eq!(read, database);
    let (main, signature) = headers();
    let package = Installed { header: &main, signature: &signature, time: 0, transaction: 7, color: 0, states: &[] };
    assert_eq!(read.install(&package).unwrap(), 4);
}

#[test]
fn what_is_installed_or_miscounted_is_refused() {
    let (main, signature) = headers();
    let package = Installed { header: &main, signature: &signature, time: 0, transaction: 7, color: 0, states: &[] };
    let mut database = Database::new();
    database.install(&package).unwrap();
    let (_, installed) = database.packages().next().unwrap();
    let installed = installed.clone();
    assert!(database.install(&Installed { header: &installed, ..package }).is_err());
    let error = database.install(&Installed { states: &[FileState::Normal], ..package }).unwrap_err();
    assert_eq!(
        error.to_string(),
        "enter package bash into the package database: it has 2 files, and 1 states of files"
    );
}

#[test]
fn a_log_that_rpm_left_counts() {
    let directory = tempfile::tempdir().unwrap();
    let path = written(&directory);
    let connection = Connection::open(&path).unwrap();
    connection
        .execute_batch("PRAGMA foreign_keys = OFF; PRAGMA journal_mode = WAL; DELETE FROM Packages WHERE hnum = 2;")
        .unwrap();
    // As after a crash: the log is there, and nobody has the database open.
    let other = tempfile::tempdir().unwrap();
    let copy = other.path().join("rpmdb.sqlite");
    std::fs::copy(&path, &copy).unwrap();
    std::fs::copy(directory.path().join("rpmdb.sqlite-wal"), other.path().join("rpmdb.sqlite-wal")).unwrap();
    let bytes = std::fs::read(&copy).unwrap();
    let numbers: Vec<u32> = Database::read(&copy).unwrap().packages().map(|(number, _)| number).collect();
    assert_eq!(numbers, [1, 3]);
    assert!(std::fs::read(&copy).unwrap() == bytes, "reading wrote into the database");
}

#[test]
fn what_is_no_database_is_refused_with_a_hint() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("rpmdb.sqlite");
    assert!(refusal(&path).starts_with("read "));
    std::fs::write(&path, b"SQLite format 3\0and then nothing of the kind").unwrap();
    assert!(refusal(&path).contains("read the package database"));
    std::fs::write(&path, b"").unwrap();
    assert!(refusal(&path).contains("no table of packages"));
    std::fs::remove_file(&path).unwrap();
    std::os::unix::fs::symlink("/dev/zero", &path).unwrap();
    assert!(Database::read(&path).is_err());
}

#[test]
fn a_schema_that_runs_something_is_refused() {
    for schema in [
        "CREATE VIEW Packages AS WITH RECURSIVE n(hnum) AS (SELECT 1 UNION ALL SELECT hnum FROM n) \
         SELECT hnum, zeroblob(9) AS blob FROM n;",
        "CREATE TABLE Packages (hnum INTEGER PRIMARY KEY, blob BLOB GENERATED ALWAYS AS (zeroblob(900000000)));",
        "CREATE TABLE Packages (hnum, blob);",
        "CREATE TABLE Other (hnum INTEGER PRIMARY KEY, blob BLOB);",
    ] {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("rpmdb.sqlite");
        change(&path, schema);
        assert!(refusal(&path).contains("no table of packages as rpm makes it"), "{schema}");
    }
    let directory = tempfile::tempdir().unwrap();
    let path = written(&directory);
    for row in ["(-1, x'00')", "(0, x'00')", "(4294967296, x'00')", "(9, 'text')", "(9, x'0000')", "(9, zeroblob(9))"] {
        change(&path, &format!("INSERT INTO Packages VALUES {row}"));
        refusal(&path);
        change(&path, "DELETE FROM Packages WHERE hnum NOT IN (1, 2, 3); UPDATE sqlite_sequence SET seq = 3");
    }
    Database::read(&path).unwrap();
}

#[test]
fn damage_anywhere_is_an_error_or_harmless() {
    let directory = tempfile::tempdir().unwrap();
    let sound = std::fs::read(written(&directory)).unwrap();
    let path = directory.path().join("damaged");
    let mut refused = 0;
    for at in (0..sound.len()).step_by(sound.len() / 150) {
        for value in [0, 0xff, sound[at] ^ 0x41] {
            let mut bytes = sound.clone();
            bytes[at] = value;
            std::fs::write(&path, &bytes).unwrap();
            refused += usize::from(Database::read(&path).is_err());
        }
    }
    assert!(refused > 0);
    for length in (0..sound.len()).step_by(sound.len() / 40) {
        std::fs::write(&path, &sound[..length]).unwrap();
        refusal(&path);
    }
}
