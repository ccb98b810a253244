//! Users whose subordinate ids lie in pieces, or are too few. Only root can make such users; their
//! lines in /etc/subuid and /etc/subgid, and they themselves, go when the test ends.

#[allow(dead_code, reason = "shared with the other test")]
mod support;

use sandbox::{Command, Rung, Step};
use std::fs;
use std::os::unix::process::CommandExt;
use std::process::Command as Program;
use support::{Bench, entry, shell, stack};

const FILES: [&str; 2] = ["/etc/subuid", "/etc/subgid"];

/// Where the pieces begin: above the ranges that useradd(8) hands out first, below those that
/// the program takes for root.
const FIRST: u32 = 0x5000_0000;

/// A user with these pieces: first id and number of ids.
struct User {
    name: String,
    pieces: [Vec<(u32, u32)>; 2],
}

/// A program's success, with what it said if it has none.
fn must(program: &str, words: &[&str]) {
    let output = Program::new(program).args(words).output().unwrap_or_else(|error| panic!("{program}: {error}"));
    assert!(output.status.success(), "{program} {words:?}: {}", String::from_utf8_lossy(&output.stderr));
}

impl User {
    fn new(name: &str, uids: &[(u32, u32)], gids: &[(u32, u32)]) -> User {
        let user = User { name: name.to_owned(), pieces: [uids.to_vec(), gids.to_vec()] };
        user.remove();
        must("useradd", &["--system", "--shell", "/bin/sh", name]);
        // By usermod(8), which locks the files: others may change them at this moment.
        user.change("--add-sub", true);
        user
    }

    fn change(&self, option: &str, fails: bool) {
        for (kind, pieces) in ["uids", "gids"].into_iter().zip(&self.pieces) {
            for (first, count) in pieces {
                let range = format!("{first}-{}", first + count - 1);
                let option = format!("{option}{kind}");
                let words = [&option, &range, &self.name].map(String::as_str);
                if fails {
                    must("usermod", &words);
                } else {
                    let _ = Program::new("usermod").args(words).output();
                }
            }
        }
    }

    fn remove(&self) {
        self.change("--del-sub", false);
        let _ = Program::new("userdel").arg(&self.name).output();
    }

    /// What this program prints as that user.
    fn run(&self, words: &[&str]) -> String {
        let ids = ["-u", "-g"].map(|flag| {
            let output = Program::new("id").args([flag, &self.name]).output().expect("id");
            String::from_utf8_lossy(&output.stdout).trim().parse::<u32>().expect("a number")
        });
        let mut program = Program::new(std::env::current_exe().expect("own path"));
        program.args(words).uid(ids[0]).gid(ids[1]).env("HOME", "/nonexistent").current_dir("/");
        let output = program.output().expect("own binary");
        let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        println!("  {} {words:?}:\n    {}", self.name, text.trim_end().replace('\n', "\n    "));
        text
    }
}

impl Drop for User {
    fn drop(&mut self) {
        self.remove();
    }
}

fn main() {
    sandbox::intercept();
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["--choose", rung] => return choose(Rung::from_name(rung)),
        ["--owners"] => return owners(),
        ["--list", ..] => return,
        _ => {}
    }
    let tools = ["/usr/bin/newuidmap", "/usr/sbin/usermod"];
    if !rustix::process::geteuid().is_root() || !tools.iter().all(|tool| fs::exists(tool).unwrap_or(false)) {
        support::skip("only root can make users, with usermod and newuidmap");
        return;
    }
    let lines = |name: &str| FILES.map(|file| fs::read_to_string(file).unwrap_or_default().matches(name).count());
    split();
    too_small();
    for name in ["sandbox-test-split", "sandbox-test-small"] {
        assert_eq!(lines(name), [0, 0], "{name} left lines behind");
    }
    println!("ranges: ok");
}

/// Prints the rung that is chosen, or the error with its hint.
fn choose(rung: Option<Rung>) {
    match sandbox::choose(rung) {
        Ok(rung) => println!("chosen {rung}"),
        Err(error) => println!("failed to {error}\nhint: {}", error.hint().unwrap_or("none")),
    }
}

/// Owners on both sides of a seam at 32768, and at the end.
const OWNERS: [(u32, u32); 5] = [(1, 1), (32_768, 20_000), (32_769, 20_001), (40_000, 65_534), (65_534, 65_534)];

fn owners() {
    let bench = Bench::new(Rung::Userns);
    let mut text = String::new();
    for (uid, gid) in OWNERS {
        text += &format!("touch /etc/{uid}; chown {uid}:{gid} /etc/{uid}; stat -c %u:%g /etc/{uid}; ");
    }
    let command = Command { cwd: b"/".to_vec(), ..shell(&text) };
    let outcome = bench.run(vec![stack(&[bench.busybox()]), Step::Run(command)]);
    print!("{}", outcome.output);
    let captured = outcome.captured();
    for (uid, gid) in OWNERS {
        let found = entry(&captured, &format!("etc/{uid}"));
        assert_eq!((found.uid, found.gid), (uid, gid));
    }
    println!("captured");
}

/// Two lines for uids, three for gids, which together are just enough.
fn split() {
    let uids = [(FIRST, 32_768), (FIRST + 100_000, 32_768)];
    let gids = [(FIRST, 20_000), (FIRST + 200_000, 20_000), (FIRST + 100_000, 25_536)];
    let user = User::new("sandbox-test-split", &uids, &gids);
    assert!(user.run(&["--choose", "any"]).contains("chosen userns\n"));
    let expected: String = OWNERS.iter().map(|(uid, gid)| format!("{uid}:{gid}\n")).collect();
    assert_eq!(user.run(&["--owners"]), expected + "captured\n");
}

/// Enough uids but too few gids; the other rung is there all the same.
fn too_small() {
    let user = User::new("sandbox-test-small", &[(FIRST, 65_536)], &[(FIRST, 600), (FIRST + 1000, 400)]);
    let text = user.run(&["--choose", "userns"]);
    assert!(text.contains("use rung userns"), "{text}");
    assert!(text.contains("the ranges of sandbox-test-small in /etc/subgid hold 1000 ids, 65534 are needed"), "{text}");
    assert!(text.contains("usermod --add-subuids"), "{text}");
    assert!(user.run(&["--choose", "any"]).contains("chosen userns-single\n"));
}
