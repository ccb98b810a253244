//! The cases, and a runner that tells which failed.

pub mod builtins;
mod hostile;
mod layers;
pub mod lifetimes;
pub mod owners;
mod planted;
mod scale;
mod supervisor_abuse;
mod terminal;
mod walls;

use crate::support::Bench;
use sandbox::Rung;
use std::panic::{AssertUnwindSafe, catch_unwind};

type Case = (&'static str, fn(&Bench));

/// Runs the cases whose names contain the filter; says whether all passed.
pub fn run_all(rung: Rung, filter: Option<&str>) -> bool {
    // How the tree is made concerns these.
    let of_trees = [owners::CASES, layers::CASES, planted::CASES];
    let all = [
        owners::CASES,
        layers::CASES,
        walls::CASES,
        terminal::CASES,
        builtins::CASES,
        hostile::CASES,
        planted::CASES,
        lifetimes::CASES,
        supervisor_abuse::CASES,
        scale::CASES,
    ];
    let lists = if crate::support::assembles() { of_trees.concat() } else { all.concat() };
    let mut failed = Vec::new();
    let mut passed = 0;
    for (name, case) in lists {
        if filter.is_some_and(|filter| !name.contains(filter)) {
            continue;
        }
        let begin = std::time::Instant::now();
        let result = catch_unwind(AssertUnwindSafe(|| case(&Bench::new(rung))));
        let verdict = if result.is_ok() { "ok" } else { "FAILED" };
        println!("  {name} ... {verdict} ({:.2} s)", begin.elapsed().as_secs_f64());
        if result.is_ok() {
            passed += 1;
        } else {
            failed.push(name);
        }
    }
    println!("  {passed} passed, {} failed {failed:?}", failed.len());
    failed.is_empty()
}
