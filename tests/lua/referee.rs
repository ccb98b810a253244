//! The same script by our runner and by rpm, in the same sandbox: their words must be the same.

use crate::bench::{Bench, Case, environment, lua, skip};
use sandbox::{Command, HOST_VIEW_IMAGE, Step};

pub const CASES: &[Case] = &[("rpm_says_the_same", same), ("rpm_notices_another_answer", noticed)];

const SCRIPT: &str = include_str!("referee.lua");

/// Runs the script by ours and by rpm; `None` if there is no rpm.
fn both(bench: &Bench, ours: &str) -> Option<(Vec<String>, Vec<String>)> {
    if !std::path::Path::new("/usr/bin/rpm").exists() {
        skip("rpm is not installed");
        return None;
    }
    let accounts = [("etc/passwd", "root:x:0:0:root:/root:/bin/sh\n"), ("etc/group", "root:x:0:\n")];
    let busybox = ["sh", "true", "false", "echo"];
    let tree = bench
        .tree(&[&[("ours/", ""), ("rpm/", ""), ("bin/", ""), ("rpm/referee.lua", SCRIPT)], &accounts[..]].concat());
    std::fs::write(tree.join("ours/referee.lua"), SCRIPT).unwrap();
    std::fs::copy("/bin/busybox", tree.join("bin/busybox")).unwrap();
    for name in busybox {
        std::os::unix::fs::symlink("busybox", tree.join("bin").join(name)).unwrap();
    }
    let rpm = Command {
        argv: ["rpm", "--eval", "%{lua: dofile('referee.lua')}"].map(|word| word.as_bytes().to_vec()).into(),
        env: environment(),
        cwd: format!("{HOST_VIEW_IMAGE}/rpm").into_bytes(),
        ..Command::default()
    };
    let cut = || Step::Run(lua("cut", "print('-- cut --')", &[]));
    let steps = vec![
        Step::Run(Command { cwd: b"/ours".to_vec(), ..lua("@referee.lua", ours, &[]) }),
        cut(),
        Step::RunOnHost { command: rpm, directory: tree.clone() },
    ];
    let outcome = bench.run(tree, steps);
    let output = outcome.output.clone();
    outcome.captured();
    let (ours, rpms) = output.split_once("-- cut --\n").expect("both ran");
    // What rpm says beside is not an answer.
    let is_answer = |line: &&str| line.starts_with(|first: char| first.is_ascii_digit());
    let lines = |text: &str| text.lines().filter(is_answer).map(str::to_owned).collect();
    Some((lines(ours), lines(rpms)))
}

fn same(bench: &Bench) {
    let Some((ours, rpms)) = both(bench, SCRIPT) else { return };
    let differing: Vec<_> = ours.iter().zip(&rpms).filter(|(ours, rpms)| ours != rpms).collect();
    assert!(differing.is_empty(), "ours and rpm's: {differing:#?}");
    assert_eq!(ours.len(), rpms.len());
    assert!(ours.len() > 150, "{} lines", ours.len());
}

/// The referee must notice a function that lies.
fn noticed(bench: &Bench) {
    // In one line, as places are compared too.
    let lie = "local chmod = posix.chmod posix.chmod = function(path, ...) \
               if ... == 'u+w' then return chmod(path, 'u+x') end return chmod(path, ...) end ";
    let lie = [lie, SCRIPT].concat();
    let Some((ours, rpms)) = both(bench, &lie) else { return };
    let differing = ours.iter().zip(&rpms).filter(|(ours, rpms)| ours != rpms).count();
    assert_eq!((differing, ours.len()), (1, rpms.len()));
}
