//! Small signed repositories, made with the real tools, with whatever is wrong with them.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use layers::Sha256;
use providers::repository::{Repository, Trust};
use providers::{Architecture, CacheDir, Keyring};

use crate::referee::Gpg;
use crate::server::Server;

/// What the release of an archive says about itself.
#[derive(Clone)]
pub struct Says {
    pub suite: String,
    pub date: String,
    pub valid_until: Option<String>,
    pub by_hash: bool,
    pub extra: String,
    /// Whether the plain index is listed beside its compressed forms.
    pub list_plain: bool,
}

impl Default for Says {
    fn default() -> Self {
        Self {
            suite: "test".into(),
            date: "Sat, 21 Nov 2026 10:00:00 UTC".into(),
            valid_until: None,
            by_hash: true,
            extra: String::new(),
            list_plain: true,
        }
    }
}

/// When the keys are made, and when releases are signed: the tests choose the present themselves.
const BORN: [&str; 2] = ["--faked-system-time", "20261101T000000"];
const SIGNED: [&str; 2] = ["--faked-system-time", "20261121T100000"];

/// An archive on disk and the keys that sign it.
pub struct Archive {
    pub gpg: Gpg,
    pub directory: tempfile::TempDir,
    pub cache: CacheDir,
    _cache: tempfile::TempDir,
    /// What gpg is told about the present.
    signed: &'static [&'static str],
}

pub fn amd64() -> Architecture {
    "amd64".parse().unwrap()
}

impl Archive {
    /// An archive with one package, not yet released.
    pub fn new() -> Self {
        Self::with(&BORN, &SIGNED)
    }

    /// The same, for tools that cannot be told another time.
    pub fn signing_now() -> Self {
        Self::with(&[], &[])
    }

    fn with(born: &[&str], signed: &'static [&'static str]) -> Self {
        let gpg = Gpg::new();
        gpg.key("archive", "ed25519", "2y", born);
        let cache = tempfile::tempdir().unwrap();
        let archive = Self {
            gpg,
            directory: tempfile::tempdir().unwrap(),
            cache: CacheDir::new(cache.path()),
            _cache: cache,
            signed,
        };
        archive.package("hello", "1.0");
        archive
    }

    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Builds a package into the pool.
    pub fn package(&self, name: &str, version: &str) -> PathBuf {
        let tree = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(tree.path().join("DEBIAN")).unwrap();
        std::fs::create_dir_all(tree.path().join("usr/share").join(name)).unwrap();
        std::fs::write(tree.path().join("usr/share").join(name).join("words"), b"hello").unwrap();
        let control = format!(
            "Package: {name}\nVersion: {version}\nArchitecture: amd64\nMaintainer: Test <test@example.org>\nDescription: test\n"
        );
        std::fs::write(tree.path().join("DEBIAN/control"), control).unwrap();
        let target = self.path().join(format!("pool/main/{name}_{version}_amd64.deb"));
        std::fs::create_dir_all(target.parent().unwrap()).unwrap();
        let status = Command::new("dpkg-deb")
            .args(["--root-owner-group", "--build"])
            .args([tree.path(), &target])
            .stdout(std::process::Stdio::null())
            .status()
            .unwrap();
        assert!(status.success());
        target
    }

    /// The index of what is in the pool.
    pub fn index(&self) -> Vec<u8> {
        let mut text = Vec::new();
        let pool = self.path().join("pool/main");
        let mut files: Vec<_> = std::fs::read_dir(&pool).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.sort();
        for file in files {
            let control = Command::new("dpkg-deb").arg("--field").arg(&file).output().unwrap();
            assert!(control.status.success());
            let bytes = std::fs::read(&file).unwrap();
            text.extend_from_slice(&control.stdout);
            let name = file.strip_prefix(self.path()).unwrap().display();
            writeln!(text, "Filename: {name}\nSize: {}\nSHA256: {}\n", bytes.len(), Sha256::of(&bytes)).unwrap();
        }
        text
    }

    /// Writes index and signed release; `forms` are suffixes such as `.xz`.
    pub fn release(&self, says: &Says, forms: &[&str]) {
        let index = self.index();
        self.release_index(says, forms, &index, &index);
    }

    /// As [`Archive::release`], but the release states `stated` where `served` is to be had.
    pub fn release_index(&self, says: &Says, forms: &[&str], stated: &[u8], served: &[u8]) {
        let suite = self.path().join("dists/test");
        let binary = suite.join("main/binary-amd64");
        let _ = std::fs::remove_dir_all(&suite);
        std::fs::create_dir_all(binary.join("by-hash/SHA256")).unwrap();
        let mut list = String::new();
        let mut entry = |name: &str, bytes: &[u8]| {
            writeln!(list, " {} {} main/binary-amd64/{name}", Sha256::of(bytes), bytes.len()).unwrap();
        };
        if says.list_plain {
            entry("Packages", stated);
        }
        for form in forms {
            let bytes = compress(form, served);
            let name = format!("Packages{form}");
            entry(&name, &bytes);
            std::fs::write(binary.join(&name), &bytes).unwrap();
            let by_hash = binary.join("by-hash/SHA256").join(Sha256::of(&bytes).to_hex());
            std::fs::write(by_hash, &bytes).unwrap();
        }
        let by_hash = if says.by_hash { "yes" } else { "no" };
        let until = says.valid_until.as_ref().map_or(String::new(), |until| format!("Valid-Until: {until}\n"));
        let text = format!(
            "Origin: Test\nSuite: {0}\nCodename: {0}\nDate: {1}\n{until}Acquire-By-Hash: {by_hash}\nArchitectures: amd64\nComponents: main\n{2}SHA256:\n{list}",
            says.suite, says.date, says.extra
        );
        self.sign("dists/test/", &text, "archive");
    }

    /// Writes `InRelease`, `Release` and `Release.gpg`.
    pub fn sign(&self, directory: &str, text: &str, key: &str) {
        let directory = self.path().join(directory);
        std::fs::create_dir_all(&directory).unwrap();
        std::fs::write(directory.join("Release"), text).unwrap();
        let mut args = self.signed.to_vec();
        args.extend(["--armor", "--local-user", key, "--detach-sign"]);
        let signature = self.gpg.run(&args, text.as_bytes());
        std::fs::write(directory.join("Release.gpg"), signature).unwrap();
        std::fs::write(directory.join("InRelease"), self.gpg.clearsign(key, text, self.signed)).unwrap();
    }

    pub fn keyring(&self) -> Keyring {
        Keyring::parse(&self.gpg.export(&["archive"])).unwrap()
    }

    /// The archive as a repository at a URL.
    pub fn repository(&self, url: &str) -> Repository {
        Repository {
            id: "test".parse().unwrap(),
            url: providers::fetch::BaseUrl::parse(url).unwrap(),
            mirrors: Vec::new(),
            suites: vec!["test".into()],
            components: vec!["main".into()],
            trust: Trust::Keys(self.keyring()),
            check_valid_until: true,
        }
    }

    /// A server that has the archive as it is now.
    pub fn serve(&self) -> Server {
        let server = Server::start();
        server.put_tree(self.path());
        server
    }

    pub fn file_url(&self) -> String {
        format!("file://{}", self.path().display())
    }
}

/// Compresses with the real tools.
pub fn compress(form: &str, bytes: &[u8]) -> Vec<u8> {
    let program = match form {
        "" => return bytes.to_vec(),
        ".gz" => "gzip",
        ".xz" => "xz",
        ".zst" => "zstd",
        other => panic!("no tool for {other}"),
    };
    let mut child = Command::new(program)
        .args(["-c", "-q"])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    let bytes = bytes.to_vec();
    let writer = std::thread::spawn(move || input.write_all(&bytes).unwrap());
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    assert!(output.status.success());
    output.stdout
}
