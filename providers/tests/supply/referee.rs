//! The outside tools that tests need: gpg keys that exist for one test.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Whether a tool is there; without it a test is skipped at home and fails under CI.
pub fn have(tool: &str) -> bool {
    let there = Command::new(tool)
        .arg("--version")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    if !there {
        assert!(std::env::var_os("CI").is_none(), "{tool} is needed under CI");
        eprintln!("skipped: {tool} is not installed");
    }
    there
}

/// A directory of gpg's with secret keys, gone with the test.
pub struct Gpg {
    home: tempfile::TempDir,
}

impl Gpg {
    pub fn new() -> Self {
        Self { home: tempfile::Builder::new().prefix("gpg").tempdir().unwrap() }
    }

    fn command(&self) -> Command {
        let mut command = Command::new("gpg");
        command.env("GNUPGHOME", self.home.path()).env("LC_ALL", "C");
        command.args(["--batch", "--quiet", "--yes", "--no-permission-warning"]);
        command.args(["--pinentry-mode", "loopback", "--passphrase", "", "--trust-model", "always"]);
        command
    }

    /// Runs gpg and gives what it wrote.
    pub fn run(&self, args: &[&str], input: &[u8]) -> Vec<u8> {
        use std::io::Write as _;
        let mut child = self
            .command()
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(input).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "gpg {args:?}: {}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    }

    /// Makes a key and gives its fingerprint. `extra` may hold `--faked-system-time`.
    pub fn key(&self, name: &str, algorithm: &str, expire: &str, extra: &[&str]) -> String {
        let mut args = extra.to_vec();
        let user = format!("{name} <{name}@example.org>");
        args.extend(["--quick-gen-key", &user, algorithm, "sign", expire]);
        self.run(&args, b"");
        self.fingerprint(name)
    }

    pub fn fingerprint(&self, name: &str) -> String {
        let listing = self.run(&["--with-colons", "--list-keys", &format!("{name}@example.org")], b"");
        let listing = String::from_utf8(listing).unwrap();
        let line = listing.lines().find(|line| line.starts_with("fpr:")).unwrap();
        line.split(':').nth(9).unwrap().to_owned()
    }

    /// The public keys named, armored; all when none is named.
    pub fn export(&self, names: &[&str]) -> Vec<u8> {
        let mut args = vec!["--armor", "--export"];
        args.extend(names);
        self.run(&args, b"")
    }

    pub fn clearsign(&self, key: &str, text: &str, extra: &[&str]) -> Vec<u8> {
        let mut args = extra.to_vec();
        args.extend(["--local-user", key, "--clearsign"]);
        self.run(&args, text.as_bytes())
    }

    pub fn home(&self) -> &Path {
        self.home.path()
    }

    /// gpgv's opinion of a text signed inline.
    pub fn gpgv_accepts(&self, keyring: &[u8], signed: &[u8]) -> bool {
        let keys: PathBuf = self.home.path().join("gpgv-keys");
        std::fs::write(&keys, self.run(&["--dearmor"], keyring)).unwrap();
        let file = self.home.path().join("gpgv-text");
        std::fs::write(&file, signed).unwrap();
        Command::new("gpgv")
            .arg("--keyring")
            .args([&keys, &file])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .unwrap()
            .success()
    }
}

impl Drop for Gpg {
    fn drop(&mut self) {
        let _ = Command::new("gpgconf").env("GNUPGHOME", self.home.path()).args(["--kill", "all"]).status();
    }
}

/// The present, for tests: seconds since 1970.
pub fn now() -> providers::trust::UnixTime {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    providers::trust::UnixTime(since.as_secs() as i64)
}
