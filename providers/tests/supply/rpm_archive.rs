//! Small signed rpm repositories, made with the real tools, with whatever is wrong with them.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use layers::Sha256;
use providers::fetch::BaseUrl;
use providers::repository::Trust;
use providers::rpm::repository::Repository;
use providers::{CacheDir, Keyring};

use crate::referee::{Gpg, have};
use crate::server::Server;

/// Eight in the morning of 21 November 2026, when the repositories of these tests are made.
pub const MADE: i64 = 1_795_248_000;

/// When keys are made and metadata is signed: the tests choose the present themselves.
const BORN: [&str; 2] = ["--faked-system-time", "20261101T000000"];
const SIGNED: [&str; 2] = ["--faked-system-time", "20261121T081000"];

pub fn tools() -> bool {
    ["gpg", "rpmbuild", "createrepo_c", "modifyrepo_c", "gzip", "xz", "zstd", "bzip2"].iter().all(|tool| have(tool))
}

/// Packages that all tests share: name, version, release.
const PACKAGES: [(&str, &str, &str); 2] = [("hello", "1.0", "1"), ("lib++x", "2.0~rc1^git", "3")];

fn packages() -> &'static Path {
    static PACKAGES_DIRECTORY: OnceLock<tempfile::TempDir> = OnceLock::new();
    let directory = PACKAGES_DIRECTORY.get_or_init(|| {
        let directory = tempfile::tempdir().unwrap();
        for (name, version, release) in PACKAGES {
            build(directory.path(), name, version, release);
        }
        directory
    });
    directory.path()
}

/// Builds one package below `directory`/noarch.
pub fn build(directory: &Path, name: &str, version: &str, release: &str) {
    let work = tempfile::tempdir().unwrap();
    let spec = work.path().join("x.spec");
    let text = format!(
        "Name: {name}\nVersion: {version}\nRelease: {release}\nEpoch: 1\nSummary: test\nLicense: MIT\nBuildArch: noarch\nRequires: (bash if zsh)\n%description\nx\n%install\nmkdir -p %{{buildroot}}/usr/share/{name} %{{buildroot}}/usr/bin\necho hi > %{{buildroot}}/usr/share/{name}/words\necho hi > %{{buildroot}}/usr/bin/{name}\n%files\n%defattr(-,root,root)\n/usr/share/{name}\n/usr/bin/{name}\n"
    );
    std::fs::write(&spec, text).unwrap();
    let define = |name: &str, path: &Path| ["--define".to_owned(), format!("{name} {}", path.display())];
    let status = Command::new("rpmbuild")
        .args(["-bb", "--quiet"])
        .args(define("_topdir", &work.path().join("top")))
        .args(define("_rpmdir", directory))
        .args(define("_buildshell", Path::new("/bin/bash")))
        .args(define("_dbpath", &work.path().join("db")))
        .arg("--buildroot")
        .args([work.path().join("root"), spec])
        .stderr(Stdio::null())
        .status()
        .unwrap();
    assert!(status.success());
}

/// A repository on disk and the keys that sign it.
pub struct RpmArchive {
    pub gpg: Gpg,
    pub directory: tempfile::TempDir,
    pub cache: CacheDir,
    _cache: tempfile::TempDir,
    signed: &'static [&'static str],
}

/// What a hand-made repomd.xml says of one document.
pub struct Document {
    pub kind: &'static str,
    pub path: String,
    pub bytes: Vec<u8>,
    /// What it holds, decompressed, as repomd.xml is to say; nothing when absent.
    pub open: Option<Vec<u8>>,
}

impl RpmArchive {
    /// A repository that is made and signed.
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
        let target = archive.path().join("noarch");
        std::fs::create_dir(&target).unwrap();
        for entry in std::fs::read_dir(packages().join("noarch")).unwrap() {
            let path = entry.unwrap().path();
            std::fs::copy(&path, target.join(path.file_name().unwrap())).unwrap();
        }
        archive.release(MADE, &[]);
        archive
    }

    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    pub fn repodata(&self, name: &str) -> PathBuf {
        self.path().join("repodata").join(name)
    }

    /// Makes the metadata, dated `made`, and signs it.
    pub fn release(&self, made: i64, args: &[&str]) {
        self.createrepo(made, args);
        self.sign("archive", self.signed);
    }

    /// Makes the metadata with the real tool.
    pub fn createrepo(&self, made: i64, args: &[&str]) {
        let _ = std::fs::remove_dir_all(self.path().join("repodata"));
        let status = Command::new("createrepo_c")
            .args(["-q", "--no-database", "--set-timestamp-to-revision", "--revision", &made.to_string()])
            .args(args)
            .arg(self.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .unwrap();
        assert!(status.success(), "{args:?}");
    }

    /// Signs repomd.xml as it is.
    pub fn sign(&self, key: &str, extra: &[&str]) {
        let text = std::fs::read(self.repodata("repomd.xml")).unwrap();
        let mut args = extra.to_vec();
        args.extend(["--armor", "--local-user", key, "--detach-sign"]);
        std::fs::write(self.repodata("repomd.xml.asc"), self.gpg.run(&args, &text)).unwrap();
    }

    /// Alters repomd.xml, and signs it again as its owner.
    pub fn edit(&self, from: &str, to: &str) {
        let text = std::fs::read_to_string(self.repodata("repomd.xml")).unwrap();
        assert!(text.contains(from), "{from}");
        std::fs::write(self.repodata("repomd.xml"), text.replacen(from, to, 1)).unwrap();
        self.sign("archive", self.signed);
    }

    /// Writes documents and a signed repomd.xml by hand.
    pub fn hand(&self, made: i64, documents: &[Document]) {
        let mut text = format!("<repomd xmlns=\"http://linux.duke.edu/metadata/repo\"><revision>{made}</revision>\n");
        for Document { kind, path, bytes, open } in documents {
            let target = self.path().join(path);
            std::fs::create_dir_all(target.parent().unwrap()).unwrap();
            std::fs::write(target, bytes).unwrap();
            let open = open.as_ref().map_or_else(String::new, |open| {
                let (digest, size) = (Sha256::of(open), open.len());
                format!("<open-checksum type=\"sha256\">{digest}</open-checksum><open-size>{size}</open-size>")
            });
            write!(
                text,
                "<data type=\"{kind}\"><checksum type=\"sha256\">{}</checksum>{open}<location href=\"{path}\"/><timestamp>{made}</timestamp><size>{}</size></data>\n",
                Sha256::of(bytes),
                bytes.len()
            )
            .unwrap();
        }
        text.push_str("</repomd>\n");
        std::fs::write(self.repodata("repomd.xml"), text).unwrap();
        self.sign("archive", self.signed);
    }

    /// The primary.xml that the real tool made.
    pub fn primary(&self) -> Vec<u8> {
        let output = Command::new("gzip").args(["-d", "-c"]).arg(self.file("primary.xml.gz")).output().unwrap();
        assert!(output.status.success());
        output.stdout
    }

    /// The document whose name ends so.
    pub fn file(&self, ends: &str) -> PathBuf {
        let entries = std::fs::read_dir(self.path().join("repodata")).unwrap();
        let mut paths = entries.map(|entry| entry.unwrap().path());
        paths.find(|path| path.to_string_lossy().ends_with(ends)).unwrap_or_else(|| panic!("no {ends}"))
    }

    /// The same, as a path below the repository.
    pub fn href(&self, ends: &str) -> String {
        self.file(ends).strip_prefix(self.path()).unwrap().to_str().unwrap().to_owned()
    }

    pub fn keyring(&self) -> Keyring {
        Keyring::parse(&self.gpg.export(&["archive"])).unwrap()
    }

    /// The repository at a URL.
    pub fn repository(&self, url: &str) -> Repository {
        Repository {
            id: "test".parse().unwrap(),
            url: BaseUrl::parse(url).unwrap(),
            mirrors: Vec::new(),
            list: None,
            trust: Trust::Keys(self.keyring()),
            repo_gpgcheck: true,
            gpgcheck: true,
        }
    }

    /// A server that has the repository as it is now.
    pub fn serve(&self) -> Server {
        let server = Server::start();
        server.put_tree(self.path());
        server
    }

    pub fn file_url(&self) -> String {
        format!("file://{}", self.path().display())
    }
}

/// Compresses with the real tools, bzip2 among them.
pub fn compress(form: &str, bytes: &[u8]) -> Vec<u8> {
    if form != ".bz2" {
        return crate::archive::compress(form, bytes);
    }
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), bytes).unwrap();
    let output = Command::new("bzip2").arg("-c").arg(file.path()).output().unwrap();
    assert!(output.status.success());
    output.stdout
}
