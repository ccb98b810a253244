//! The machine's own rpm as a referee, with packages that it builds, in roots of their own.

#![allow(dead_code, reason = "each test binary uses its own part")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use providers::rpm::Header;

/// The time that everything is built and installed at.
pub const EPOCH: u32 = 1_700_000_000;

/// Whether a tool is there. Without it a test is skipped with a line, or fails where CI is set.
pub fn tool(name: &str) -> bool {
    let found =
        std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()).any(|path| path.join(name).exists());
    if !found {
        assert!(std::env::var_os("CI").is_none(), "{name} is needed for this test");
        println!("skipped: {name} is not installed");
    }
    found
}

pub fn run(command: &mut Command) -> Output {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    output
}

pub fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Whether the test may change root and owners.
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// A place to build packages in.
pub struct Workshop {
    directory: tempfile::TempDir,
}

impl Workshop {
    pub fn new() -> Self {
        // rpm has each transaction written to the disk, which in memory costs nothing.
        let directory = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir());
        Self { directory: directory.unwrap() }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn command(&self, program: &str) -> Command {
        // A referee that waits for something would hold up the suite.
        let mut command = Command::new("timeout");
        command
            .args(["60", program])
            .env("LC_ALL", "C.UTF-8")
            .env("TZ", "UTC")
            .env("HOME", self.directory.path())
            .env("GNUPGHOME", self.directory.path().join("gnupg"))
            .env("SOURCE_DATE_EPOCH", EPOCH.to_string())
            .current_dir(self.directory.path());
        command
    }

    /// Builds all packages of a spec file. Gives their files by name, in the order of the names.
    pub fn build(&self, name: &str, spec: &str) -> Vec<(String, PathBuf)> {
        let file = self.path(&format!("{name}.spec"));
        std::fs::write(&file, spec).unwrap();
        let top = self.path(&format!("top-{name}"));
        let mut command = self.command("rpmbuild");
        for define in [
            "debug_package %{nil}",
            "__os_install_post %{nil}",
            "_buildshell /bin/bash",
            "_buildhost referee",
            "_binary_payload w3.zstdio",
            "use_source_date_epoch_as_buildtime 1",
            "_build_name_fmt %%{NAME}.rpm",
        ] {
            command.args(["--define", define]);
        }
        run(command.args(["--quiet", "-bb", "--define"]).arg(format!("_topdir {}", top.display())).arg(&file));
        let mut found: Vec<(String, PathBuf)> = std::fs::read_dir(top.join("RPMS"))
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .map(|path| (path.file_stem().unwrap().to_string_lossy().into_owned(), path))
            .collect();
        found.sort();
        found
    }

    /// Signs a package with a new key.
    pub fn sign(&self, package: &Path, algorithm: &str, arguments: &[&str]) {
        let home = self.path("gnupg");
        if !home.exists() {
            std::fs::create_dir(&home).unwrap();
            std::fs::set_permissions(&home, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
        }
        let name = format!("{algorithm}@referee.test");
        run(self
            .command("gpg")
            .args(["--batch", "--quiet", "--passphrase", "", "--faked-system-time", "1690000000", "--quick-gen-key"])
            .args([&name, algorithm, "sign", "never"]));
        run(self
            .command("rpmsign")
            .args(["--define", "__gpg /usr/bin/gpg", "--define", &format!("_gpg_name {name}"), "--addsign"])
            .args(arguments)
            .arg(package));
    }

    /// The public key of an algorithm that signed.
    pub fn key(&self, algorithm: &str) -> PathBuf {
        let path = self.path(&format!("{algorithm}.asc"));
        run(self.command("gpg").args(["--batch", "--export", "--armor", "--output"]).arg(&path).arg(algorithm));
        path
    }

    /// An rpm that keeps to a root. Without privileges it is its own root in a user namespace.
    pub fn rpm(&self, root: &Path) -> Command {
        let mut command = self.within("rpm", root);
        // Debian's rpm is not meant to install packages.
        command.arg("--force-debian");
        command
    }

    /// Another of rpm's programs, in a root likewise.
    pub fn within(&self, program: &str, root: &Path) -> Command {
        let mut command = match is_root() {
            true => self.command(program),
            false => {
                let mut command = self.command("unshare");
                command.args(["--map-root-user", program]);
                command
            }
        };
        command.arg("--root").arg(root).args(["--define", "_dbpath /var/lib/rpm"]);
        command
    }

    /// A dnf that knows what is installed in a root, and no repository.
    pub fn dnf(&self, root: &Path) -> Command {
        // dnf asks rpm's configuration where the database is, which on Debian is elsewhere.
        std::fs::write(self.path(".rpmmacros"), "%_dbpath /var/lib/rpm\n").unwrap();
        let mut command = self.command("dnf");
        command.arg("--installroot").arg(root).args(["--releasever", "1", "--disablerepo", "*"]);
        for (option, directory) in [("reposdir", "repos"), ("cachedir", "cache"), ("logdir", "log")] {
            std::fs::create_dir_all(self.path(directory)).unwrap();
            command.arg(format!("--setopt={option}={}", self.path(directory).display()));
        }
        command
    }
}

impl Drop for Workshop {
    fn drop(&mut self) {
        if self.path("gnupg").exists() {
            // The agent would outlive the directory.
            let _ = self.command("gpgconf").args(["--kill", "all"]).output();
        }
    }
}

/// The signature header and the main header of a package file (format_v4.md: a lead of 96 bytes,
/// the signature header padded to eight bytes, the main header, the payload).
pub fn headers(package: &Path) -> (Header, Header) {
    let bytes = std::fs::read(package).unwrap();
    let length = |at: usize| {
        let word = |at: usize| u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap()) as usize;
        16 + 16 * word(at + 8) + word(at + 12)
    };
    let signature = 96..96 + length(96);
    let main = signature.end.next_multiple_of(8);
    let main = main..main + length(main);
    (Header::parse_signature(&bytes[signature]).unwrap(), Header::parse(&bytes[main]).unwrap())
}
