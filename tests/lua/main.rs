//! rpm's Lua in the sandbox, and rpm as its referee.
//!
//! A program that the sandbox starts again needs a main function of its own, so this suite is not
//! part of the end-to-end tests. It runs on each rung with namespaces that the machine allows; the
//! sandbox's own tests hold builtins to the same walls on every rung.

mod bench;
mod referee;
mod scriptlets;

use sandbox::Rung;
use std::os::unix::process::CommandExt;
use std::process::Command;

/// Who runs the rung of those without a range, if the suite is started by root: nobody.
const NOBODY: u32 = 65534;

fn main() {
    sandbox::intercept_with(&[image_composer::lua::BUILTIN]);
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [flag, rung] = &arguments[..]
        && flag == "--rung"
    {
        let rung = Rung::from_name(rung).expect("a rung");
        std::process::exit(i32::from(!all(rung)));
    }
    if arguments.iter().any(|argument| argument == "--list") {
        return;
    }
    let is_root = rustix::process::getuid().is_root();
    let mut passed = true;
    for rung in [Rung::Userns, Rung::UsernsSingle] {
        if !is_root && let Err(error) = sandbox::choose(Some(rung)) {
            bench::skip(&format!("{rung}: {error}"));
            continue;
        }
        println!("on {rung}");
        let mut command = Command::new(std::env::current_exe().expect("own path"));
        command.args(["--rung", rung.name()]).current_dir("/");
        if is_root && rung == Rung::UsernsSingle {
            command.uid(NOBODY).gid(NOBODY);
        }
        passed &= command.status().expect("own program").success();
    }
    std::process::exit(i32::from(!passed));
}

/// Runs every case; says whether all passed.
fn all(rung: Rung) -> bool {
    let mut passed = true;
    for (name, case) in [scriptlets::CASES, referee::CASES].concat() {
        let begin = std::time::Instant::now();
        let result = std::panic::catch_unwind(|| case(&bench::Bench::new(rung)));
        let verdict = if result.is_ok() { "ok" } else { "FAILED" };
        println!("  {name} ... {verdict} ({:.2} s)", begin.elapsed().as_secs_f64());
        passed &= result.is_ok();
    }
    passed
}
