//! The supervisor is asked for nonsense, raced, left alone and crowded. The cases hold where
//! nobody supervises too: what they ask for is what the kernel promises.

use super::Case;
use crate::support::{Bench, payload, run, shell, stack};
use sandbox::{Cancel, Limits, Step};
use std::fs;
use std::time::{Duration, Instant};

pub const CASES: &[Case] = &[
    ("nonsense_is_answered", nonsense),
    ("races_do_not_lead_out", race),
    ("callers_may_leave", leave),
    ("thousands_may_ask_at_once", crowd),
    ("full_tables_refuse_and_recover", tables),
    ("a_filter_of_its_own_allows_nothing_more", filters),
];

/// Runs the payload with these words in a directory of its own, where everybody may write.
fn abuse(bench: &Bench, words: &str) -> Option<String> {
    if !payload::put(bench, payload::SUPERVISOR) {
        return None;
    }
    let text = format!("mkdir /var/abuse; cd /var/abuse; payload {words}");
    let mut session = bench.session(vec![stack(&[bench.busybox()]), Step::Run(shell(&text))]);
    session.limits = Limits { seconds: 90, ..Limits::default() };
    let begin = Instant::now();
    let outcome = run(&session, &Cancel::new());
    assert!(begin.elapsed() < Duration::from_secs(100), "{}", outcome.output);
    let output = outcome.output.clone();
    outcome.captured();
    Some(output)
}

fn nonsense(bench: &Bench) {
    let Some(output) = abuse(bench, "nonsense 3") else { return };
    assert_eq!(output, "sane\n");
}

/// What a race could reach: beside the scratch directory, above the tree.
fn race(bench: &Bench) {
    let outside = bench.path("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("file"), "mine").unwrap();
    let before = fs::metadata(&outside).unwrap();
    let Some(output) = abuse(bench, &format!("race {} 3", outside.display())) else { return };
    assert_eq!(output, "done after many tries\n");
    let names: Vec<_> = fs::read_dir(&outside).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["file"]);
    let after = fs::metadata(&outside).unwrap();
    use std::os::unix::fs::MetadataExt;
    let facts =
        |stat: &fs::Metadata| (stat.uid(), stat.gid(), stat.mode(), stat.mtime(), stat.mtime_nsec(), stat.ctime());
    assert_eq!(facts(&before), facts(&after));
}

fn leave(bench: &Bench) {
    let Some(output) = abuse(bench, "leave 300") else { return };
    assert_eq!(output, "sane\n");
}

fn crowd(bench: &Bench) {
    let Some(output) = abuse(bench, "crowd 2000") else { return };
    assert_eq!(output, "a crowd, failed 0\n");
}

fn tables(bench: &Bench) {
    let Some(output) = abuse(bench, "tables") else { return };
    assert_eq!(output, "sane\n");
}

fn filters(bench: &Bench) {
    let Some(output) = abuse(bench, "filters") else { return };
    assert_eq!(output, "sane\n");
}
