//! Users, trees and sessions for the tests.

pub mod payload;

use sandbox::{Cancel, Captured, Change, Command, Error, Event, Limits, Meta, Rung, Session, Step};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// Set where layers are to be copied into one tree on a rung that could mount them.
pub const ASSEMBLE: &str = "SANDBOX_TEST_ASSEMBLE";

/// Names a disk on which only a few thousand files can be made.
pub const FEW_ENTRIES: &str = "SANDBOX_TEST_FEW_ENTRIES";

pub fn assembles() -> bool {
    std::env::var_os(ASSEMBLE).is_some()
}

/// What one run of a test has at hand.
pub struct Bench {
    pub rung: Rung,
    directory: tempfile::TempDir,
}

/// Result of a session together with what it printed.
pub struct Outcome {
    pub result: Result<Captured, Error>,
    pub output: String,
}

impl Outcome {
    /// The captured tree; the test fails with the output if there is none.
    pub fn captured(self) -> Captured {
        match self.result {
            Ok(captured) => captured,
            Err(error) => panic!("{error}\nhint: {:?}\n{}", error.hint(), self.output),
        }
    }

    pub fn error(self) -> Error {
        match self.result {
            Err(error) => error,
            Ok(_) => panic!("the session succeeded\n{}", self.output),
        }
    }
}

const BUSYBOX: &str = "/bin/busybox";

impl Bench {
    pub fn new(rung: Rung) -> Bench {
        let directory = tempfile::tempdir().expect("a temporary directory");
        Bench { rung, directory }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// A lower directory with busybox, its commands, and a passwd file.
    pub fn busybox(&self) -> PathBuf {
        let root = self.path("busybox");
        if root.exists() {
            return root;
        }
        for name in ["bin", "etc", "home", "root", "usr/bin", "var/lib"] {
            fs::create_dir_all(root.join(name)).expect("mkdir");
        }
        fs::copy(BUSYBOX, root.join("bin/busybox")).expect("busybox");
        let list = std::process::Command::new(BUSYBOX).arg("--list").output().expect("busybox");
        for name in String::from_utf8_lossy(&list.stdout).lines() {
            let _ = std::os::unix::fs::symlink("busybox", root.join("bin").join(name));
        }
        let passwd = "root:x:0:0:root:/root:/bin/sh\nann:x:1234:1235:Ann:/home:/bin/sh\n";
        fs::write(root.join("etc/passwd"), passwd).expect("passwd");
        fs::write(root.join("etc/group"), "root:x:0:\nann:x:1235:\nmail:x:8:ann\n").expect("group");
        root
    }

    pub fn session(&self, steps: Vec<Step>) -> Session {
        Session {
            rung: self.rung,
            scratch: self.path("scratch"),
            steps,
            limits: Limits { seconds: 60, ..Limits::default() },
            epoch: 1_700_000_000,
            assemble: assembles(),
        }
    }

    pub fn run(&self, steps: Vec<Step>) -> Outcome {
        run(&self.session(steps), &Cancel::new())
    }

    /// A shell script over the busybox tree.
    pub fn script(&self, text: &str) -> Outcome {
        self.run(vec![stack(&[self.busybox()]), Step::Run(shell(text))])
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        let _ = sandbox::sweep(&self.path("scratch"));
        open_up(self.directory.path());
    }
}

/// Lets the owner remove what a test made.
fn open_up(path: &Path) {
    let Ok(metadata) = fs::symlink_metadata(path) else { return };
    if metadata.is_dir() {
        let _ = fs::set_permissions(path, fs::Permissions::from_mode(0o700));
        for entry in fs::read_dir(path).into_iter().flatten().flatten() {
            open_up(&entry.path());
        }
    }
}

pub fn run(session: &Session, cancel: &Cancel) -> Outcome {
    let mut output = String::new();
    let mut observer = |event: Event<'_>| {
        if let Event::Line { text, .. } = event {
            output.push_str(&String::from_utf8_lossy(text));
            output.push('\n');
        }
    };
    let result = sandbox::run(session, &mut observer, cancel);
    Outcome { result, output }
}

pub fn stack(lowers: &[PathBuf]) -> Step {
    Step::Stack { lowers: lowers.to_vec(), keep: Vec::new() }
}

/// A lower directory with these files.
pub fn layer(bench: &Bench, name: &str, files: &[(&str, &str)]) -> PathBuf {
    let root = bench.path(name);
    for (path, text) in files {
        let file = root.join(path);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, text).unwrap();
    }
    root
}

pub fn shell(text: &str) -> Command {
    let env = [("PATH", "/usr/sbin:/usr/bin:/sbin:/bin"), ("HOME", "/root"), ("LC_ALL", "C.UTF-8")];
    Command {
        argv: vec![b"sh".to_vec(), b"-ec".to_vec(), text.as_bytes().to_vec()],
        env: env.iter().map(|(k, v)| (k.as_bytes().to_vec(), v.as_bytes().to_vec())).collect(),
        ..Command::default()
    }
}

/// A test that cannot run here: said in a line at home, a failure in CI.
pub fn skip(reason: &str) -> bool {
    assert!(std::env::var_os("CI").is_none(), "in CI nothing is skipped: {reason}");
    println!("skipped: {reason}");
    false
}

/// The captured entry of that path.
pub fn entry<'a>(captured: &'a Captured, path: &str) -> &'a Meta {
    let found = captured.changes.iter().find_map(|change| match change {
        Change::Changed { path: p, entry, .. } if p == path.as_bytes() => Some(entry),
        _ => None,
    });
    found.unwrap_or_else(|| panic!("{path} is not captured: {:#?}", paths(captured)))
}

/// All captured paths, in their order.
pub fn paths(captured: &Captured) -> Vec<String> {
    let text = |change: &Change| String::from_utf8_lossy(change.path()).into_owned();
    captured.changes.iter().map(text).collect()
}
