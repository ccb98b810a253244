//! A small signed repository that the suite makes out of this machine's own shell and dpkg: large
//! enough that an image is composed of it, small enough that this takes seconds.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use crate::support::{User, have, must};

/// The suite of the repository.
pub const SUITE: &str = "tiny";
/// What the archive is made with, and what goes into its one essential package: dpkg looks for
/// the latter before it configures anything.
const TOOLS: [&str; 5] = ["dpkg-deb", "apt-ftparchive", "gpg", "ldd", "setpriv"];
const PROGRAMS: [&str; 33] = [
    "bash",
    "cat",
    "chmod",
    "chown",
    "cp",
    "dash",
    "diff",
    "dpkg",
    "dpkg-deb",
    "dpkg-divert",
    "dpkg-query",
    "dpkg-split",
    "dpkg-statoverride",
    "dpkg-trigger",
    "env",
    "false",
    "find",
    "grep",
    "ldconfig",
    "ln",
    "ls",
    "mkdir",
    "mknod",
    "mv",
    "rm",
    "sed",
    "sleep",
    "start-stop-daemon",
    "stat",
    "tar",
    "touch",
    "true",
    "update-alternatives",
];

/// A package of which every part is said.
pub struct Package {
    pub name: &'static str,
    pub fields: &'static str,
    /// By path; what is below `DEBIAN` is of the control archive.
    pub entries: Vec<(&'static str, Shipped)>,
}

/// What a package has at a path. Modes are as chmod(1) takes them.
pub enum Shipped {
    File(&'static str, &'static str),
    Directory(&'static str),
    Symlink(&'static str),
    /// To an earlier path of the package.
    HardLink(&'static str),
}

/// The repository: its directory, which every user can read.
pub struct Archive {
    pub root: PathBuf,
    home: PathBuf,
}

/// The repository of this run; `None` where a tool is missing.
pub fn archive() -> Option<&'static Archive> {
    static MADE: OnceLock<Archive> = OnceLock::new();
    if !have(&TOOLS) || !have(&PROGRAMS) {
        return None;
    }
    Some(MADE.get_or_init(Archive::make))
}

impl Archive {
    fn make() -> Self {
        // A fixed place: a run that was killed leaves one archive, not one more each time.
        // The users' name is in it, because a suite of other users may run at the same time.
        let home = PathBuf::from(format!("/var/tmp/image-composer-archive-{}", User::WithoutRange.name()));
        let _ = fs::remove_dir_all(&home);
        let archive = Self::at(home, "repository");
        for key in ["ours", "theirs"] {
            archive.make_key(key);
        }
        archive.make_system();
        archive.package("tiny-hello", "Depends: tiny-system (>= 1)\n", &[], b"hello\n");
        archive.package("tiny-hallo", "", &[], b"hallo\n");
        archive.package("tiny-upgrading", "Depends: tiny-system (>= 2)\n", &[], b"");
        archive.package("tiny-excluding", "Conflicts: tiny-hello\n", &[], b"");
        archive.package("tiny-ghostly", "Depends: tiny-ghost (>= 2)\n", &[], b"");
        let noise: Vec<u8> = (0u32..1 << 20).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
        archive.package("tiny-big", "", &[], &noise);
        let broken = "#!/bin/sh\nset -e\necho about to break\nfalse\n";
        archive.package("tiny-broken", "", &[("postinst", broken)], b"");
        archive.package("tiny-slow", "", &[("postinst", "#!/bin/sh\nsleep 1\necho slow is done\n")], b"");
        archive.package("tiny-sleepy", "", &[("postinst", "#!/bin/sh\necho asleep\nsleep 600\n")], b"");
        for package in crate::fidelity::odd::packages() {
            archive.odd(&package);
        }
        archive.index();
        archive
    }

    fn at(home: PathBuf, name: &str) -> Self {
        let root = home.join(name);
        fs::create_dir_all(root.join("pool")).unwrap();
        for directory in [&home, &root, &root.join("pool")] {
            must(Command::new("chmod").arg("755").arg(directory));
        }
        Self { root, home }
    }

    /// An empty repository beside this one, signed with the same keys.
    pub(super) fn beside(&self, name: &str) -> Self {
        Self::at(self.home.clone(), name)
    }

    fn gpg(&self, key: &str) -> Command {
        let mut command = Command::new("gpg");
        command.arg("--homedir").arg(self.home.join(key)).args(["--batch", "--quiet", "--yes", "--no-tty"]);
        command
    }

    fn make_key(&self, key: &str) {
        let home = self.home.join(key);
        fs::create_dir_all(&home).unwrap();
        must(Command::new("chmod").arg("700").arg(&home));
        must(self.gpg(key).args([
            "--passphrase",
            "",
            "--quick-gen-key",
            &format!("{key} <a@b.c>"),
            "ed25519",
            "sign",
            "never",
        ]));
    }

    /// The armored public key that the repository is signed with.
    pub fn key(&self) -> String {
        must(self.gpg("ours").args(["--armor", "--export"]))
    }

    pub(super) fn stage(&self, name: &str, fields: &str) -> PathBuf {
        let tree = self.home.join("trees").join(name);
        fs::create_dir_all(tree.join("DEBIAN")).unwrap();
        let architecture = must(Command::new("dpkg").arg("--print-architecture"));
        let control = format!(
            "Package: {name}\nVersion: 1.0\nArchitecture: {}\nMaintainer: A <a@b.c>\nDescription: of a test\n{fields}",
            architecture.trim()
        );
        fs::write(tree.join("DEBIAN/control"), control).unwrap();
        tree
    }

    pub(super) fn pack(&self, name: &str) {
        let tree = self.home.join("trees").join(name);
        let to = self.root.join("pool").join(format!("{name}.deb"));
        must(Command::new("dpkg-deb").args(["-Zgzip", "-z1", "--root-owner-group", "--build"]).arg(tree).arg(to));
    }

    pub(super) fn package(&self, name: &str, fields: &str, scripts: &[(&str, &str)], data: &[u8]) {
        let tree = self.stage(name, fields);
        for (script, text) in scripts {
            let path = tree.join("DEBIAN").join(script);
            fs::write(&path, text).unwrap();
            must(Command::new("chmod").arg("755").arg(&path));
        }
        fs::create_dir_all(tree.join("usr/share").join(name)).unwrap();
        fs::write(tree.join("usr/share").join(name).join("data"), data).unwrap();
        self.pack(name);
    }

    fn odd(&self, package: &Package) {
        let tree = self.stage(package.name, package.fields);
        for (path, what) in &package.entries {
            let place = tree.join(path);
            fs::create_dir_all(place.parent().unwrap()).unwrap();
            match what {
                Shipped::File(text, mode) => {
                    fs::write(&place, text).unwrap();
                    must(Command::new("chmod").arg(mode).arg(&place));
                }
                Shipped::Directory(mode) => {
                    fs::create_dir_all(&place).unwrap();
                    must(Command::new("chmod").arg(mode).arg(&place));
                }
                Shipped::Symlink(target) => std::os::unix::fs::symlink(target, &place).unwrap(),
                Shipped::HardLink(other) => fs::hard_link(tree.join(other), &place).unwrap(),
            }
        }
        self.pack(package.name);
    }

    /// The essential package: what dpkg needs, with its libraries, and a merged /usr.
    fn make_system(&self) {
        let tree = self.stage("tiny-system", "Essential: yes\nPriority: required\n");
        for directory in
            ["usr/bin", "usr/sbin", "usr/lib", "usr/lib64", "etc", "var", "root", "proc", "sys", "dev", "run", "tmp"]
        {
            fs::create_dir_all(tree.join(directory)).unwrap();
        }
        for (link, to) in [("bin", "usr/bin"), ("sbin", "usr/sbin"), ("lib", "usr/lib"), ("lib64", "usr/lib64")] {
            std::os::unix::fs::symlink(to, tree.join(link)).unwrap();
        }
        std::os::unix::fs::symlink("dash", tree.join("usr/bin/sh")).unwrap();
        let mut libraries = BTreeSet::new();
        for program in PROGRAMS {
            let path = find(program);
            let below = if path.to_string_lossy().contains("sbin/") { "usr/sbin" } else { "usr/bin" };
            fs::copy(&path, tree.join(below).join(program)).unwrap();
            // A static program has none, and ldd ends with 1.
            let text = Command::new("ldd").arg(&path).output().unwrap().stdout;
            let text = String::from_utf8(text).unwrap();
            libraries.extend(text.split_whitespace().filter(|word| word.starts_with('/')).map(PathBuf::from));
        }
        for library in libraries {
            let path = library.to_string_lossy();
            let path = path.strip_prefix("/usr").unwrap_or(&path);
            let to = tree.join(format!("usr{path}"));
            fs::create_dir_all(to.parent().unwrap()).unwrap();
            fs::copy(&library, to).unwrap();
        }
        let passwd = "root:x:0:0:root:/root:/bin/sh\ndaemon:x:1:1:daemon:/usr/sbin:/bin/sh\n";
        fs::write(tree.join("etc/passwd"), passwd).unwrap();
        fs::write(tree.join("etc/group"), "root:x:0:\ndaemon:x:1:\n").unwrap();
        fs::write(tree.join("etc/shadow"), "root:*:20000:0:99999:7:::\n").unwrap();
        self.pack("tiny-system");
    }

    /// Writes and signs the indexes.
    pub(super) fn index(&self) {
        let architecture = must(Command::new("dpkg").arg("--print-architecture"));
        let below = format!("dists/{SUITE}/main/binary-{}", architecture.trim());
        fs::create_dir_all(self.root.join(&below)).unwrap();
        let packages = must(Command::new("apt-ftparchive").args(["packages", "pool"]).current_dir(&self.root));
        fs::write(self.root.join(&below).join("Packages"), packages).unwrap();
        let mut release = Command::new("apt-ftparchive");
        for (name, value) in
            [("Suite", SUITE), ("Codename", SUITE), ("Components", "main"), ("Architectures", architecture.trim())]
        {
            release.arg("-o").arg(format!("APT::FTPArchive::Release::{name}={value}"));
        }
        release.arg("release").arg(format!("dists/{SUITE}")).current_dir(&self.root);
        let text = must(&mut release);
        self.sign(&self.root, "ours", &text);
        must(Command::new("chmod").args(["-R", "a+rX"]).arg(&self.root));
    }

    fn sign(&self, root: &Path, key: &str, release: &str) {
        let plain = root.join(format!("dists/{SUITE}/Release"));
        fs::write(&plain, release).unwrap();
        let signed = root.join(format!("dists/{SUITE}/InRelease"));
        must(self.gpg(key).arg("--clearsign").arg("--output").arg(&signed).arg(&plain));
        // gpg starts an agent of each home that would outlive the suite.
        let _ =
            Command::new("gpgconf").arg("--homedir").arg(self.home.join(key)).args(["--kill", "gpg-agent"]).output();
    }

    /// A copy of the repository whose release says something else, signed with this key.
    pub fn variant(&self, name: &str, key: &str, change: impl FnOnce(String) -> String) -> PathBuf {
        let root = self.home.join(name);
        must(Command::new("cp").arg("-r").arg(&self.root).arg(&root));
        let text = fs::read_to_string(root.join(format!("dists/{SUITE}/Release"))).unwrap();
        self.sign(&root, key, &change(text));
        must(Command::new("chmod").args(["-R", "a+rX"]).arg(&root));
        root
    }
}

fn find(program: &str) -> PathBuf {
    ["/usr/bin", "/usr/sbin", "/bin", "/sbin"]
        .iter()
        .map(|directory| Path::new(directory).join(program))
        .find(|path| path.is_file())
        .unwrap_or_else(|| panic!("{program} is not there"))
}
