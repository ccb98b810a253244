//! Builds that are ended from outside, at any moment, and builds beside each other.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::case::Case;
use crate::support::{User, must};

pub fn signal(child: &Child, signal: Signal) {
    let pid = Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
    // It may just have ended by itself.
    let _ = kill_process(pid, signal);
}

/// Numbers that differ from run to run; the seed is printed.
pub struct Random(u64);

impl Random {
    pub fn new() -> Self {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        println!("seed {}", since.as_nanos());
        Self(since.as_nanos() as u64 | 1)
    }

    pub fn part_of(&mut self, whole: Duration) -> Duration {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        whole.mul_f64((self.0 >> 11) as f64 / (1u64 << 53) as f64)
    }
}

fn forget(case: &Case, names: &[&str]) {
    for name in names {
        must(Command::new("rm").arg("-rf").arg(case.directory.join(name)));
    }
}

fn sums(case: &Case) -> String {
    std::fs::read_to_string(case.directory.join("output/small.SHA256SUMS")).unwrap()
}

#[test]
fn ctrl_c_in_a_maintainer_script_ends_all_at_once() {
    let Some(case) = Case::new("ctrl-c-script") else { return };
    case.spec(&["tiny-sleepy"], "");
    let mut child = case.start(&["-v"]);
    let lines = BufReader::new(child.stderr.take().unwrap());
    let mut seen = Vec::new();
    let mut interrupted = None;
    for line in lines.lines().map_while(Result::ok) {
        if line.contains("asleep") && interrupted.is_none() {
            signal(&child, Signal::INT);
            interrupted = Some(Instant::now());
        }
        seen.push(line);
    }
    let status = child.wait().unwrap();
    let text = seen.join("\n");
    assert_eq!(status.code(), Some(130), "{text}");
    assert!(text.contains("Error: interrupted"), "{text}");
    assert!(interrupted.unwrap().elapsed() < Duration::from_secs(10));
    case.nothing_is_there().nobody_is_alive();
    case.spec(&["tiny-hello"], "");
    case.build(&[]).with(0, &[]);
    case.all_is_there();
    case.nothing_is_left();
}

/// Ends builds at random moments; the next run succeeds and gives the bytes of one that nobody
/// disturbed.
fn ended_at_random(user: User, name: &str, with: Signal, rounds: u32) {
    let Some(first) = Case::new(name) else { return };
    // Again as the user who is meant.
    let root = &super::archive::archive().unwrap().root;
    drop(first);
    let Some(case) = Case::at(user, name, &format!("file:{}", root.display())) else { return };
    case.spec(&["tiny-slow", "tiny-hello"], "");
    let whole = case.build(&[]);
    whole.with(0, &[]);
    let undisturbed = sums(&case);
    let mut random = Random::new();
    for round in 0..rounds {
        forget(&case, &["output", "cache"]);
        let mut child = case.start(&[]);
        let wait = random.part_of(whole.took);
        std::thread::sleep(wait);
        signal(&child, with);
        let text = std::io::read_to_string(child.stderr.take().unwrap()).unwrap();
        let status = child.wait().unwrap();
        println!("round {round}: {with:?} after {wait:?}: {status}");
        if !status.success() {
            if with == Signal::INT {
                // Before the handlers are there the kernel ends it.
                use std::os::unix::process::ExitStatusExt;
                assert!(status.code() == Some(130) || status.signal() == Some(2), "{status}: {text}");
                assert!(!text.contains("panicked"), "{text}");
                case.nothing_is_there();
            }
            case.nobody_is_alive();
            case.build(&[]).with(0, &[]);
        }
        case.all_is_there();
        assert_eq!(sums(&case), undisturbed);
        case.nothing_is_left();
    }
}

#[test]
fn ctrl_c_at_random_moments() {
    ended_at_random(User::WithoutRange, "ctrl-c", Signal::INT, 4);
}

#[test]
fn kill_9_at_random_moments() {
    ended_at_random(User::WithoutRange, "kill-9", Signal::KILL, 5);
}

#[test]
fn kill_9_at_random_moments_with_a_range_of_ids() {
    ended_at_random(User::WithRange, "kill-9-range", Signal::KILL, 3);
}

#[test]
fn a_build_out_of_time_ends_and_the_next_goes_on() {
    let Some(case) = Case::new("out-of-time") else { return };
    case.spec(&["tiny-sleepy"], "");
    let ended = case.build(&["--timeout", "6s"]);
    ended.with(4, &["failed to finish in time: the limit of --timeout is reached"]);
    assert!(ended.took < Duration::from_secs(20), "{:?}", ended.took);
    case.nothing_is_there().nobody_is_alive();
    case.spec(&[], "");
    case.build(&["--timeout", "10m"]).with(0, &[]);
    case.nothing_is_left();
}

#[test]
fn two_builds_at_once_with_one_cache() {
    let Some(case) = Case::new("two") else { return };
    case.spec(&["tiny-slow", "tiny-hello"], "");
    let mut children = ["one", "two"].map(|output| case.start(&["-o", output]));
    for child in &mut children {
        let text = std::io::read_to_string(child.stderr.take().unwrap()).unwrap();
        assert!(child.wait().unwrap().success(), "{text}");
    }
    let read = |name: &str| std::fs::read_to_string(case.directory.join(name).join("small.SHA256SUMS")).unwrap();
    assert_eq!(read("one"), read("two"));
    case.build(&[]).with(0, &["the image was built before"]);
    case.all_is_there();
    assert_eq!(sums(&case), read("one"));
    case.nothing_is_left();
}
