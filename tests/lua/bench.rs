//! Trees and sessions for scripts.

use sandbox::{Cancel, Captured, Command, Error, Event, Limits, Rung, Session, Step};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

/// A named case.
pub type Case = (&'static str, fn(&Bench));

/// What one case has at hand.
pub struct Bench {
    rung: Rung,
    directory: tempfile::TempDir,
}

/// How a session ended, and what it printed.
pub struct Outcome {
    pub result: Result<Captured, Error>,
    pub output: String,
}

impl Bench {
    pub fn new(rung: Rung) -> Bench {
        Bench { rung, directory: tempfile::tempdir().expect("a temporary directory") }
    }

    /// A lower directory with these files; a path that ends with a slash is a directory.
    pub fn tree(&self, files: &[(&str, &str)]) -> PathBuf {
        let root = self.directory.path().join("tree");
        fs::create_dir(&root).expect("mkdir");
        for (path, text) in files {
            let path = root.join(path);
            let directory = if text.is_empty() { path.as_path() } else { path.parent().expect("a parent") };
            fs::create_dir_all(directory).expect("mkdir");
            if !text.is_empty() {
                fs::write(&path, text).expect("write");
            }
        }
        root
    }

    pub fn run(&self, tree: PathBuf, steps: Vec<Step>) -> Outcome {
        let stack = Step::Stack { lowers: vec![tree], keep: Vec::new() };
        let session = Session {
            rung: self.rung,
            scratch: self.directory.path().join("scratch"),
            steps: [vec![stack], steps].concat(),
            limits: Limits { seconds: 60, ..Limits::default() },
            epoch: 1_700_000_000,
            assemble: false,
        };
        let mut output = String::new();
        let mut observer = |event: Event<'_>| {
            if let Event::Line { text, .. } = event {
                output.push_str(&String::from_utf8_lossy(text));
                output.push('\n');
            }
        };
        let result = sandbox::run(&session, &mut observer, &Cancel::new());
        Outcome { result, output }
    }

    /// Runs one script in a tree.
    pub fn script(&self, tree: PathBuf, name: &str, text: &str) -> Outcome {
        self.run(tree, vec![Step::Run(lua(name, text, &["1"]))])
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        let _ = sandbox::sweep(&self.directory.path().join("scratch"));
        let _ = fs::set_permissions(self.directory.path(), fs::Permissions::from_mode(0o700));
    }
}

impl Outcome {
    /// What was captured; the test fails with the output if nothing was.
    pub fn captured(self) -> Captured {
        self.result.unwrap_or_else(|error| panic!("{error}\n{}", self.output))
    }
}

/// A script as compose runs one.
pub fn lua(name: &str, text: &str, arguments: &[&str]) -> Command {
    let words = ["lua", name, text].into_iter().chain(arguments.iter().copied());
    Command {
        argv: words.map(|word| word.as_bytes().to_vec()).collect(),
        env: environment(),
        builtin: true,
        ..Command::default()
    }
}

/// The variables of every command here.
pub fn environment() -> Vec<(Vec<u8>, Vec<u8>)> {
    [("PATH", "/usr/sbin:/usr/bin:/sbin:/bin"), ("A", "b"), ("LC_ALL", "C")].map(|(k, v)| (k.into(), v.into())).into()
}

/// Something that cannot be tested here: said in a line at home, a failure in CI.
pub fn skip(reason: &str) {
    assert!(std::env::var_os("CI").is_none(), "in CI nothing is skipped: {reason}");
    println!("skipped: {reason}");
}
