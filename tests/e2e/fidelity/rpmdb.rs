//! What is in rpm's database, row by row, read by sqlite's own library through Python.

use std::collections::BTreeMap;
use std::process::Command;

use crate::support::must;

const SCRIPT: &str = include_str!("rpmdb.py");

/// Every row of a database, and how its tables are made.
pub fn rows(database: &[u8]) -> BTreeMap<String, String> {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("rpmdb.sqlite");
    std::fs::write(&path, database).unwrap();
    let told = must(Command::new("python3").args(["-c", SCRIPT]).arg(&path));
    let rows = told.lines().map(|line| line.split_once('\t').expect("a value"));
    rows.map(|(what, value)| (what.to_owned(), value.to_owned())).collect()
}

/// The same database after a statement of SQL.
pub fn changed(database: &[u8], statement: &str) -> Vec<u8> {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("rpmdb.sqlite");
    std::fs::write(&path, database).unwrap();
    must(Command::new("python3").args(["-c", SCRIPT]).arg(&path).arg(statement));
    std::fs::read(path).unwrap()
}

/// The same database with its packages numbered by what they are, and without the times of their
/// installation: what one transaction and several have in common.
pub fn sorted(database: &[u8]) -> Vec<u8> {
    changed(database, "sorted")
}
