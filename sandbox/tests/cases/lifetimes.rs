//! Whoever dies, and however much a payload takes: limits say so, and nothing stays behind.

use super::Case;
use super::walls::{limited, marked};
use crate::support::{Bench, payload, run, shell, stack};
use sandbox::{Cancel, Error, Event, Limits, Step};
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

pub const CASES: &[Case] = &[
    ("every_process_of_a_session_may_be_killed", each_killed),
    ("the_program_itself_may_be_killed", program_killed),
    ("daemons_of_every_kind_end_with_their_step", daemons),
    ("output_in_flight_does_not_hold_the_session", flight),
    ("output_without_end_is_bounded_by_time", flood),
    ("trees_deeper_than_any_path_are_swept", deep),
    ("bytes_far_below_are_counted", buried),
    ("bytes_without_a_name_are_counted", unnamed),
    ("who_looks_dead_is_killed_too", headless),
    ("memory_that_no_process_has_mapped_is_counted", unmapped),
    ("entries_in_memory_are_bounded", entries),
    ("entries_on_a_disk_are_counted", entries_on_disk),
];

fn names(path: &Path) -> Vec<String> {
    let name = |entry: std::io::Result<fs::DirEntry>| entry.unwrap().file_name().to_string_lossy().into_owned();
    fs::read_dir(path).unwrap().map(name).collect()
}

/// All processes that descend from one, parents first.
fn descendants(pid: u32) -> Vec<u32> {
    let mut found = vec![pid];
    let mut at = 0;
    while let Some(pid) = found.get(at).copied() {
        let threads = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
        for thread in threads {
            let text = fs::read_to_string(thread.path().join("children")).unwrap_or_default();
            found.extend(text.split_whitespace().filter_map(|pid| pid.parse::<u32>().ok()));
        }
        at += 1;
    }
    found.remove(0);
    found
}

fn kill(pid: u32) {
    let _ = std::process::Command::new("kill").args(["-9", &pid.to_string()]).status();
}

/// Fails unless all is gone soon: processes with that mark, and mounts with that path.
fn gone(mark: &str, scratch: &Path) {
    let deadline = Instant::now() + Duration::from_secs(10);
    let mounted = || {
        let entries = fs::read_dir("/proc").unwrap().flatten();
        let scratch = scratch.display().to_string();
        let tables = entries.filter_map(|entry| fs::read_to_string(entry.path().join("mountinfo")).ok());
        tables.filter(|table| table.contains(&scratch)).count()
    };
    while marked(mark) > 0 || mounted() > 0 {
        assert!(Instant::now() < deadline, "{} processes, {} mount tables are left", marked(mark), mounted());
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn each_killed(bench: &Bench) {
    let me = std::process::id();
    let mut number = 0;
    loop {
        let mark = format!("{}.{number}5", 200_000 + me);
        let text = format!("touch /etc/x; chown 7 /etc/x; mkdir -m 0 /etc/d; echo up; sleep {mark}; echo not reached");
        let session = bench.session(vec![stack(&[bench.busybox()]), Step::Run(shell(&text))]);
        let mut killed = None;
        let mut observer = |event: Event<'_>| {
            if let Event::Line { text: b"up", .. } = event {
                // The shell has still to start its sleep.
                while marked(&mark) == 0 {
                    std::thread::sleep(Duration::from_millis(5));
                }
                killed = descendants(me).get(number).copied();
                killed.map_or_else(|| descendants(me).into_iter().for_each(kill), kill);
            }
        };
        let error = sandbox::run(&session, &mut observer, &Cancel::new()).expect_err("something was killed");
        assert!(matches!(error, Error::Helper { .. } | Error::Command { .. }), "{error:?}");
        let scratch = bench.path("scratch");
        gone(&mark, &scratch);
        sandbox::sweep(&scratch).unwrap();
        assert_eq!(names(&scratch), [""; 0]);
        if killed.is_none() {
            break;
        }
        number += 1;
    }
    // The helper, the shell and its sleep at least.
    assert!(number >= 3, "{number}");
}

/// A copy of this test's process runs the session, and is killed.
fn program_killed(bench: &Bench) {
    let mark = format!("{}.75", 200_000 + std::process::id());
    let (base, scratch) = (bench.busybox(), bench.path("scratch"));
    let mut program = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--sleep", bench.rung.name()])
        .args([&scratch, &base])
        .arg(&mark)
        .spawn()
        .unwrap();
    let deadline = Instant::now() + Duration::from_secs(20);
    while marked(&mark) < 2 || descendants(program.id()).len() < 2 {
        assert!(Instant::now() < deadline, "the session does not start");
        std::thread::sleep(Duration::from_millis(20));
    }
    std::thread::sleep(Duration::from_millis(200));
    program.kill().unwrap();
    program.wait().unwrap();
    gone(&mark, &scratch);
    sandbox::sweep(&scratch).unwrap();
    assert_eq!(names(&scratch), [""; 0]);
}

/// What [`program_killed`] starts.
pub fn sleep(rung: &str, scratch: &str, lower: &str, mark: &str) {
    let steps = vec![stack(&[lower.into()]), Step::Run(shell(&format!("touch /etc/x; chown 7 /etc/x; sleep {mark}")))];
    let session = sandbox::Session {
        rung: sandbox::Rung::from_name(rung).expect("a rung"),
        scratch: scratch.into(),
        steps,
        limits: Limits::default(),
        epoch: 0,
        assemble: false,
    };
    run(&session, &Cancel::new()).captured();
}

/// The payload in a directory of its own on the upper, with these limits.
fn take(bench: &Bench, words: &str, limits: Limits) -> Option<Error> {
    if !payload::put(bench, payload::LIMITS) {
        return None;
    }
    Some(limited(bench, &format!("mkdir -p /var/own; cd /var/own; payload {words}"), limits))
}

fn daemons(bench: &Bench) {
    if !payload::put(bench, payload::LIMITS) {
        return;
    }
    let mark = format!("{}.85", 200_000 + std::process::id());
    // Without a procfs nothing is listed.
    let bare = bench.rung == sandbox::Rung::Root;
    let count = if bare { "echo 4".to_owned() } else { format!("ps | grep -c '[s]leep {mark}'") };
    let text = format!("payload daemons {mark}; {count}");
    let outcome = bench.run(vec![
        stack(&[bench.busybox()]),
        Step::Run(shell(&text)),
        Step::Run(shell(&format!("ps | grep '[s]leep {mark}' || echo none"))),
    ]);
    assert_eq!(outcome.output, "4\nnone\n");
    outcome.captured();
    gone(&mark, &bench.path("scratch/root"));
}

/// A process whose first thread has ended is a zombie to whoever asks, and goes on.
fn headless(bench: &Bench) {
    if !payload::put(bench, payload::LIMITS) {
        return;
    }
    let outcome = bench.run(vec![stack(&[bench.busybox()]), Step::Run(shell("payload headless 3; echo ended"))]);
    assert_eq!(outcome.output, "ended\n");
    let written = outcome.captured().upper.join("var/alive");
    let before = fs::metadata(&written).unwrap().len();
    assert!(before > 0);
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(fs::metadata(&written).unwrap().len(), before, "somebody still writes");
}

fn flight(bench: &Bench) {
    if !payload::put(bench, payload::LIMITS) {
        return;
    }
    let begin = Instant::now();
    let outcome = bench.script("payload flight; echo sent");
    assert_eq!(outcome.output, "sent\n");
    outcome.captured();
    assert!(begin.elapsed() < Duration::from_secs(20), "{:?}", begin.elapsed());
}

fn flood(bench: &Bench) {
    let steps = vec![stack(&[bench.busybox()]), Step::Run(shell("yes & yes >&2 & cat /dev/zero"))];
    let mut session = bench.session(steps);
    session.limits = Limits { seconds: 2, ..Limits::default() };
    let begin = Instant::now();
    let error = sandbox::run(&session, &mut |_| {}, &Cancel::new()).expect_err("out of time");
    assert!(matches!(&error, Error::Limit { what, .. } if what == "time"), "{error:?}");
    assert!(begin.elapsed() < Duration::from_secs(20), "{:?}", begin.elapsed());
}

fn deep(bench: &Bench) {
    if !payload::put(bench, payload::LIMITS) {
        return;
    }
    // 1500 levels are a path of 3000 bytes, 3000 are more than any path has.
    bench.script("mkdir /var/own; cd /var/own; payload deep 1500").captured();
    let error = bench.script("mkdir /var/own; cd /var/own; payload deep 3000; chown -R 7 /var/own || true").error();
    assert!(error.to_string().contains("long"), "{error}");
    assert_eq!(names(&bench.path("scratch")), [""; 0]);
    sandbox::sweep(&bench.path("scratch")).unwrap();
}

fn says(error: &Error, name: &str) {
    assert!(matches!(error, Error::Limit { what, .. } if what == name), "{error:?}");
}

fn buried(bench: &Bench) {
    let limits = Limits { upper_bytes: 20 << 20, seconds: 50, ..Limits::default() };
    // Less than one file may have, and more than all may.
    let steps = "buried 15 & (mkdir b; cd b; payload buried 15) & wait";
    let Some(error) = take(bench, steps, limits) else { return };
    says(&error, "bytes written");
}

fn unnamed(bench: &Bench) {
    let limits = Limits { upper_bytes: 20 << 20, seconds: 50, ..Limits::default() };
    let Some(error) = take(bench, "unnamed 60", limits) else { return };
    says(&error, "bytes written");
}

fn unmapped(bench: &Bench) {
    let limits = Limits { memory: 100 << 20, seconds: 50, ..Limits::default() };
    for words in ["memfd 200", "shared 200"] {
        let Some(error) = take(bench, words, limits.clone()) else { return };
        says(&error, "memory");
    }
    // Either it may not have it, or it is noticed.
    let error = take(bench, "segment 200", limits.clone()).expect("built above");
    assert!(matches!(error, Error::Command { .. } | Error::Limit { .. }), "{error:?}");
    if bench.rung == sandbox::Rung::Root {
        // There these lie on the disk, and count as bytes written.
        return;
    }
    let text = "for d in /tmp /run /dev/shm; do dd if=/dev/zero of=$d/x bs=1M count=50 2>/dev/null; done; sleep 20";
    says(&limited(bench, text, limits), "memory");
}

fn entries(bench: &Bench) {
    // Without mounts /tmp lies on the disk, whose own bound is looked at.
    if bench.rung == sandbox::Rung::Root || !payload::put(bench, payload::LIMITS) {
        return;
    }
    let mut session = bench.session(vec![
        stack(&[bench.busybox()]),
        Step::Run(shell("cd /tmp; payload entries 2000; rm -r /tmp/*; payload entries 200000 2>&1 || echo refused")),
    ]);
    session.limits = Limits { tmpfs_bytes: 64 << 20, ..session.limits };
    let outcome = run(&session, &Cancel::new());
    let lines: BTreeSet<&str> = outcome.output.lines().collect();
    assert!(lines.contains("refused"), "{}", outcome.output);
    outcome.captured();
}

/// On the disk with few entries that root mounts before it becomes somebody else.
fn entries_on_disk(bench: &Bench) {
    let Some(disk) = std::env::var_os(crate::support::FEW_ENTRIES) else { return };
    if !payload::put(bench, payload::LIMITS) {
        return;
    }
    let own = tempfile::tempdir_in(disk).expect("a directory on the disk");
    let text = "mkdir /var/own; cd /var/own; payload entries 9000 2>&1 || true; sleep 20";
    let mut session = bench.session(vec![stack(&[bench.busybox()]), Step::Run(shell(text))]);
    session.scratch = own.path().join("scratch");
    session.limits.free_bytes = 0;
    let outcome = run(&session, &Cancel::new());
    says(&outcome.error(), "free space");
}
