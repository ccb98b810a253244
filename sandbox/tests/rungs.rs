//! Every test of this file runs on each rung: as root (which takes `userns`), as a user with
//! a subordinate range, as a user without one, and as root in what a container of Docker's
//! defaults allows. The users are made when the suite is started by root.

mod cases;
mod support;

use sandbox::Rung;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::process::Command;

/// Users that the suite makes.
const WITH_RANGE: &str = "sandbox-test-range";
const WITHOUT_RANGE: &str = "sandbox-test-single";

/// A variable of the builder's that no payload may see; its value is made for each run.
pub const SECRET: &str = "SANDBOX_TEST_SECRET";

fn main() {
    sandbox::intercept_with(cases::builtins::BUILTINS);
    let args: Vec<String> = std::env::args().skip(1).collect();
    if let Some(at) = args.iter().position(|arg| arg == "--rung") {
        let rung = Rung::from_name(&args[at + 1]).expect("a rung");
        std::process::exit(i32::from(!cases::run_all(rung, args.get(at + 2).map(String::as_str))));
    }
    if let [flag, scratch, lower] = &args[..]
        && flag == "--in-memory"
    {
        return cases::owners::in_memory(scratch, lower);
    }
    if let [flag, rung, scratch, lower, mark] = &args[..]
        && flag == "--sleep"
    {
        return cases::lifetimes::sleep(rung, scratch, lower, mark);
    }
    if args.iter().any(|arg| arg == "--list") {
        return;
    }
    let filter: Vec<String> = args.into_iter().filter(|arg| !arg.starts_with('-')).collect();
    let mut ok = true;
    let few = few_entries();
    let runs = matrix().into_iter().map(|(user, rung)| (user, rung, false));
    let copied = matrix().into_iter().filter(|(_, rung)| *rung == Rung::UsernsSingle).map(|(u, r)| (u, r, true));
    for (user, rung, assembles) in runs.chain(copied) {
        let me = std::env::current_exe().expect("own path");
        let mut command = match rung {
            Rung::Root => Command::new(jail()),
            _ => Command::new(&me),
        };
        if rung == Rung::Root {
            command.arg(&me);
        }
        command.args(["--rung", rung.name()]).args(&filter);
        command.env("HOME", "/nonexistent").current_dir("/");
        command.env(SECRET, format!("secret-{}", std::process::id()));
        command.env("SSH_AUTH_SOCK", format!("/tmp/sandbox-test-agent.{}", std::process::id()));
        if assembles {
            command.env(support::ASSEMBLE, "1");
        }
        if let Some(few) = &few {
            command.env(support::FEW_ENTRIES, few.path());
        }
        if let Some(user) = &user {
            let ids = id(user);
            command.uid(ids.0).gid(ids.1);
        }
        let how = if assembles { ", layers copied" } else { "" };
        println!("as {} on {rung}{how}", user.as_deref().unwrap_or("this user"));
        ok &= command.status().expect("own binary").success();
    }
    if let Some(few) = few {
        let _ = Command::new("umount").arg("-l").arg(few.path()).status();
    }
    std::process::exit(i32::from(!ok));
}

/// A disk on which few files can be made, for everybody to write to; only root can mount one.
fn few_entries() -> Option<tempfile::TempDir> {
    if !is_root() {
        return None;
    }
    let disk = tempfile::Builder::new().permissions(PermissionsExt::from_mode(0o755)).tempdir().ok()?;
    let mount = ["-t", "tmpfs", "-o", "nr_inodes=5000,mode=1777", "few"];
    let mounted = Command::new("mount").args(mount).arg(disk.path()).status();
    (mounted.is_ok_and(|status| status.success()) || support::skip("nothing can be mounted here")).then_some(disk)
}

fn id(user: &str) -> (u32, u32) {
    let number = |flag: &str| {
        let output = Command::new("id").args([flag, user]).output().expect("id");
        String::from_utf8_lossy(&output.stdout).trim().parse().expect("a number")
    };
    (number("-u"), number("-g"))
}

/// The example that takes away what a container does not have.
fn jail() -> std::path::PathBuf {
    let me = std::env::current_exe().expect("own path");
    let target = me.ancestors().nth(2).expect("a target directory");
    let jail = target.join("examples/jail");
    if !jail.exists() {
        let made = Command::new(env!("CARGO")).args(["build", "-q", "-p", "sandbox", "--example", "jail"]).status();
        assert!(made.is_ok_and(|status| status.success()), "the jail is not built");
    }
    jail
}

fn is_root() -> bool {
    Command::new("id").arg("-u").output().is_ok_and(|output| output.stdout == b"0\n")
}

/// Who runs the tests on which rung.
fn matrix() -> Vec<(Option<String>, Rung)> {
    if !is_root() {
        return [Rung::Userns, Rung::UsernsSingle]
            .into_iter()
            .filter(|rung| match sandbox::choose(Some(*rung)) {
                Ok(_) => true,
                Err(error) => support::skip(&format!("{rung}: {error}")),
            })
            .map(|rung| (None, rung))
            .collect();
    }
    for user in [WITH_RANGE, WITHOUT_RANGE] {
        // Without -m: a home that does not exist cannot be relied on.
        let _ = Command::new("useradd").args(["--system", "--shell", "/bin/sh", user]).output();
    }
    let range = ["--add-subuids", "200000-265535", "--add-subgids", "200000-265535", WITH_RANGE];
    let known = std::fs::read_to_string("/etc/subuid").unwrap_or_default();
    if !known.contains(WITH_RANGE) {
        let _ = Command::new("usermod").args(range).output();
    }
    let mut matrix = vec![(None, Rung::Userns)];
    if std::path::Path::new("/usr/bin/newuidmap").exists() {
        matrix.push((Some(WITH_RANGE.to_owned()), Rung::Userns));
    } else {
        support::skip("newuidmap is not installed");
    }
    matrix.push((Some(WITHOUT_RANGE.to_owned()), Rung::UsernsSingle));
    matrix.push((None, Rung::Root));
    matrix
}
