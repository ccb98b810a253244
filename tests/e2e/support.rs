//! What the tests stand on: tools that must be there, unprivileged users, the built command.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;

/// Whether a missing tool fails a test instead of skipping it.
pub fn strict() -> bool {
    std::env::var_os("CI").is_some()
}

/// Whether every tool is there. With `CI` set a missing one is a failure.
pub fn have(tools: &[&str]) -> bool {
    for tool in tools {
        let found = std::env::var("PATH")
            .unwrap_or_default()
            .split(':')
            .chain(["/usr/sbin", "/sbin"])
            .any(|directory| Path::new(directory).join(tool).is_file());
        if !found {
            assert!(!strict(), "{tool} is missing: install what README.md lists");
            println!("skipped: {tool} is missing");
            return false;
        }
    }
    true
}

/// Whether the suite runs as root, which it needs to be other users.
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// An unprivileged user that the suite runs the program as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum User {
    /// With a range of subordinate ids: the rung `userns`.
    WithRange,
    /// Without: the rung `userns-single`.
    WithoutRange,
}

impl User {
    /// The account's name. `IMAGE_COMPOSER_TEST_USERS` gives two suites on one machine users of their own.
    pub fn name(self) -> &'static str {
        static NAMES: OnceLock<[String; 2]> = OnceLock::new();
        let [range, plain] = NAMES.get_or_init(|| {
            let prefix = std::env::var("IMAGE_COMPOSER_TEST_USERS").unwrap_or_else(|_| "ic".into());
            [format!("{prefix}-range"), format!("{prefix}-plain")]
        });
        match self {
            Self::WithRange => range,
            Self::WithoutRange => plain,
        }
    }

    pub fn rung(self) -> &'static str {
        match self {
            Self::WithRange => "userns",
            Self::WithoutRange => "userns-single",
        }
    }

    /// Makes the user where there is none.
    pub fn ensure(self) {
        static MADE: OnceLock<()> = OnceLock::new();
        MADE.get_or_init(|| {
            for user in [Self::WithRange, Self::WithoutRange] {
                if run(Command::new("id").arg(user.name())).is_none() {
                    must(Command::new("useradd").args(["-m", "-s", "/bin/bash", user.name()]));
                }
            }
            // What an earlier program made must not answer for this one; packages may stay.
            for user in [Self::WithRange, Self::WithoutRange] {
                for kept in ["store", "images", "resolutions"] {
                    let _ = std::fs::remove_dir_all(user.home().join(".cache/image-composer/cache").join(kept));
                }
            }
            // useradd gives everybody a range where the machine's settings say so.
            for file in ["/etc/subuid", "/etc/subgid"] {
                let text = std::fs::read_to_string(file).unwrap_or_default();
                let ours = [Self::WithRange, Self::WithoutRange].map(|user| format!("{}:", user.name()));
                let mut lines: Vec<&str> =
                    text.lines().filter(|line| !ours.iter().any(|name| line.starts_with(name))).collect();
                let range = format!("{}1879048192:65536", ours[0]);
                lines.push(&range);
                std::fs::write(file, lines.join("\n") + "\n").unwrap();
            }
        });
    }

    pub fn home(self) -> PathBuf {
        PathBuf::from("/home").join(self.name())
    }
}

/// A directory of a user's own for one test, empty.
pub fn workplace(user: User, name: &str) -> PathBuf {
    user.ensure();
    let path = user.home().join(name);
    // As root: a test may have left directories of root's there.
    must(Command::new("rm").arg("-rf").arg(&path));
    let _ = must_as(user, Command::new("mkdir").arg("-p").arg(&path));
    path
}

/// The sandbox's example that runs a command as in a container of Docker's defaults.
pub fn jail() -> PathBuf {
    example_of("jail")
}

/// An example program of the sandbox's.
pub fn example_of(name: &str) -> PathBuf {
    let me = std::env::current_exe().unwrap();
    let example = me.ancestors().nth(2).unwrap().join("examples").join(name);
    if !example.exists() {
        // Tests of the whole workspace have made it; tests of this package alone have not.
        must(Command::new(env!("CARGO")).args(["build", "--quiet", "-p", "sandbox", "--example", name]));
    }
    example
}

/// The command under test, where every user can run it.
pub fn program() -> PathBuf {
    static PLACE: OnceLock<PathBuf> = OnceLock::new();
    PLACE
        .get_or_init(|| {
            // One per process, so that two suites do not swap each other's program.
            let stem = "image-composer-under-test.";
            for entry in std::fs::read_dir("/var/tmp").unwrap().filter_map(Result::ok) {
                let name = entry.file_name().to_string_lossy().into_owned();
                if let Some(owner) = name.strip_prefix(stem)
                    && !Path::new("/proc").join(owner).exists()
                {
                    let _ = std::fs::remove_dir_all(entry.path());
                }
            }
            let place = PathBuf::from(format!("/var/tmp/{stem}{}", std::process::id()));
            std::fs::create_dir_all(&place).unwrap();
            let path = place.join("image-composer");
            std::fs::copy(env!("CARGO_BIN_EXE_image-composer"), &path).unwrap();
            must(Command::new("chmod").arg("755").arg(&place).arg(&path));
            path
        })
        .clone()
}

/// Runs a command as a user with a clean environment.
pub fn as_user(user: User, command: &Command) -> Command {
    as_account(user.name(), &user.home(), command)
}

/// As [`as_user`], for any account of the machine.
pub fn as_account(name: &str, home: &Path, command: &Command) -> Command {
    let mut wrapped = Command::new("setpriv");
    let id = |flag: &str| {
        let output = Command::new("id").arg(flag).arg(name).output().unwrap();
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    wrapped.args(["--reuid", &id("-u"), "--regid", &id("-g"), "--clear-groups", "--reset-env", "--"]);
    wrapped.arg("env").arg(format!("HOME={}", home.display()));
    for (name, value) in command.get_envs() {
        if let Some(value) = value {
            let mut pair = name.to_owned();
            pair.push("=");
            pair.push(value);
            wrapped.arg(pair);
        }
    }
    wrapped.arg(command.get_program()).args(command.get_args());
    wrapped.current_dir(command.get_current_dir().unwrap_or(home));
    wrapped.stdin(Stdio::null());
    wrapped
}

pub fn run(command: &mut Command) -> Option<Output> {
    let output = command.stdin(Stdio::null()).output().ok()?;
    output.status.success().then_some(output)
}

/// Runs a command that has to succeed and gives what it printed.
pub fn must(command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(
        output.status.success(),
        "{command:?} ended with {}\n{}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

pub fn must_as(user: User, command: &mut Command) -> String {
    must(&mut as_user(user, command))
}

/// `image-composer` with these words, as a user, in a directory.
pub fn composer(user: User, directory: &Path, words: &[&str]) -> Command {
    let mut command = Command::new(program());
    command.args(words).current_dir(directory);
    as_user(user, &command)
}
