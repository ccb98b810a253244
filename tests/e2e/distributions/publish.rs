//! An archive in a distribution's shape: pools, suites, components, indexes, release files, and
//! the signature of a key that is made for it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::shape::{Reach, Shape, Suite};
use crate::support::{User, must};

/// What is wrong with the signatures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signature {
    /// Nothing.
    Good,
    /// They are of somebody else.
    AnotherKey,
    /// What is signed is not what was.
    Forged,
    /// There are none.
    Missing,
}

pub struct Publisher {
    shape: &'static Shape,
    home: PathBuf,
    /// Suites by the path of each package below its repository.
    placed: BTreeMap<(String, String), &'static str>,
    releases: Vec<(PathBuf, String)>,
}

impl Publisher {
    pub fn new(shape: &'static Shape, user: User) -> Self {
        // A fixed place: a run that was killed leaves one archive, not one more each time.
        let home =
            PathBuf::from(format!("/var/tmp/image-composer-archive-{}-{}-{}", user.name(), shape.os, shape.version));
        let _ = fs::remove_dir_all(&home);
        for directory in ["work", "archive"] {
            fs::create_dir_all(home.join(directory)).unwrap();
        }
        let publisher = Self { shape, home, placed: BTreeMap::new(), releases: Vec::new() };
        // The kind of key that Ubuntu has, and that of a newer archive.
        publisher.make_key("ours", if shape.os == "ubuntu" { "rsa3072" } else { "ed25519" });
        publisher.make_key("theirs", "ed25519");
        publisher
    }

    /// Where packages are made.
    pub fn work(&self) -> PathBuf {
        self.home.join("work")
    }

    /// What a server serves.
    pub fn root(&self) -> PathBuf {
        self.home.join("archive")
    }

    /// Where a suite's repository lies below the root: a mirror has all in one place.
    pub fn place(&self, suite: &Suite) -> &'static str {
        match self.shape.reach {
            Reach::Proxy => suite.at,
            Reach::Mirror | Reach::Directory => suite.at.rsplit('/').next().unwrap(),
        }
    }

    /// Lays a package in a pool.
    pub fn add(&mut self, suite: &'static str, component: &str, below: &str, deb: &Path) {
        let place = self.place(self.shape.suites.iter().find(|known| known.name == suite).unwrap());
        let path = format!("pool/{component}/{below}");
        let to = self.root().join(place).join(&path);
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::copy(deb, to).unwrap();
        self.placed.insert((place.to_owned(), path), suite);
    }

    /// Writes the indexes and signs them.
    pub fn publish(&mut self) {
        let suites = self.shape.suites;
        let mut places: Vec<&str> = suites.iter().map(|suite| self.place(suite)).collect();
        places.dedup();
        for place in places {
            let below = self.root().join(place);
            fs::create_dir_all(below.join("pool")).unwrap();
            let text = must(Command::new("apt-ftparchive").args(["packages", "pool"]).current_dir(&below));
            for suite in suites {
                if self.place(suite) == place {
                    self.write_suite(&below, place, suite, &text);
                }
            }
        }
        self.sign(Signature::Good);
    }

    fn write_suite(&mut self, below: &Path, place: &str, suite: &Suite, packages: &str) {
        let directory = below.join("dists").join(suite.name);
        let ubuntu = self.shape.os == "ubuntu";
        for component in self.shape.components {
            let pool = format!("pool/{component}/");
            let mut index = String::new();
            for paragraph in packages.split("\n\n").filter(|paragraph| !paragraph.trim().is_empty()) {
                let file = paragraph.lines().find_map(|line| line.strip_prefix("Filename: ")).unwrap();
                if !file.starts_with(&pool) || self.placed[&(place.to_owned(), file.to_owned())] != suite.name {
                    continue;
                }
                index.push_str(paragraph.trim());
                if ubuntu {
                    index.push_str("\nOrigin: Ubuntu\nBugs: https://bugs.launchpad.net/ubuntu/+filebug");
                }
                // For machines that are updated, one after the other; for new ones nothing (apt's
                // policy.cc: not where SOURCE_DATE_EPOCH is set or no machine-id is there).
                if ubuntu && suite.name.ends_with("-updates") {
                    index.push_str("\nPhased-Update-Percentage: 10");
                }
                index.push_str("\n\n");
            }
            self.write_index(&directory.join(component).join("binary-amd64"), &index);
            self.write_index(&directory.join(component).join("binary-arm64"), "");
        }
        let text = self.release(below, suite);
        self.settle_indexes(&directory);
        self.releases.push((directory, text));
    }

    fn write_index(&self, directory: &Path, text: &str) {
        fs::create_dir_all(directory).unwrap();
        fs::write(directory.join("Packages"), text).unwrap();
        for form in self.shape.forms {
            let command = match *form {
                "gz" => "gzip -9n",
                _ => "xz",
            };
            let script = format!("{command} < Packages > Packages.{form}");
            must(Command::new("sh").args(["-c", &script]).current_dir(directory));
        }
    }

    fn release(&self, below: &Path, suite: &Suite) -> String {
        let mut release = Command::new("apt-ftparchive");
        for (name, value) in [
            ("Origin", self.shape.origin),
            ("Label", self.shape.origin),
            ("Suite", suite.name),
            ("Version", self.shape.version),
            ("Codename", self.shape.codename),
            ("Architectures", "amd64 arm64"),
            ("Components", &self.shape.components.join(" ")),
            ("Description", self.shape.title),
        ] {
            release.arg("-o").arg(format!("APT::FTPArchive::Release::{name}={value}"));
        }
        release.arg("release").arg(format!("dists/{}", suite.name)).current_dir(below);
        let text = must(&mut release);
        match self.shape.by_hash {
            true => format!("Acquire-By-Hash: yes\n{text}"),
            false => text,
        }
    }

    /// The release lists the plain index, which no archive has. Where indexes are fetched by their
    /// digests, the ones under the usual names are already those of the next release.
    fn settle_indexes(&self, directory: &Path) {
        for component in self.shape.components {
            for architecture in ["binary-amd64", "binary-arm64"] {
                let directory = directory.join(component).join(architecture);
                fs::remove_file(directory.join("Packages")).unwrap();
                if !self.shape.by_hash {
                    continue;
                }
                let hashed = directory.join("by-hash/SHA256");
                fs::create_dir_all(&hashed).unwrap();
                for form in self.shape.forms {
                    let named = directory.join(format!("Packages.{form}"));
                    let digest = layers::Sha256::of(&fs::read(&named).unwrap());
                    fs::rename(&named, hashed.join(digest.to_string())).unwrap();
                    fs::write(named, "of the next release").unwrap();
                }
            }
        }
    }

    /// Signs every release anew.
    pub fn sign(&self, signature: Signature) {
        let key = if signature == Signature::AnotherKey { "theirs" } else { "ours" };
        let (plain, inline, apart) = ("Release", "InRelease", "Release.gpg");
        for (directory, text) in &self.releases {
            let path = |name: &str| directory.join(name);
            for name in [plain, inline, apart] {
                let _ = fs::remove_file(path(name));
            }
            fs::write(path(plain), text).unwrap();
            let mut gpg = self.gpg(key);
            // As archives do: a release and its signature, in text or in bytes.
            match self.shape.detached {
                true => gpg.args(["--detach-sign", "--armor", "--output"]).arg(path(apart)),
                false => gpg.args(["--clearsign", "--output"]).arg(path(inline)),
            };
            must(gpg.arg(path(plain)));
            match signature {
                Signature::Good | Signature::AnotherKey => {}
                Signature::Forged => {
                    let name = if self.shape.detached { plain } else { inline };
                    let text = fs::read_to_string(path(name)).unwrap();
                    let forged = text.replacen("Components: main", "Components: mine", 1);
                    assert_ne!(text, forged);
                    fs::write(path(name), forged).unwrap();
                }
                Signature::Missing => {
                    let _ = fs::remove_file(path(apart));
                    let _ = fs::remove_file(path(inline));
                }
            }
            // One of the two is all that there is.
            if !self.shape.detached && signature != Signature::Missing {
                fs::remove_file(path(plain)).unwrap();
            }
        }
        // gpg starts an agent of each home that would outlive the suite.
        let _ =
            Command::new("gpgconf").arg("--homedir").arg(self.home.join(key)).args(["--kill", "gpg-agent"]).output();
        must(Command::new("chmod").args(["-R", "a+rX"]).arg(self.root()));
    }

    fn gpg(&self, key: &str) -> Command {
        let mut command = Command::new("gpg");
        command.arg("--homedir").arg(self.home.join(key)).args(["--batch", "--quiet", "--yes", "--no-tty"]);
        command
    }

    fn make_key(&self, key: &str, kind: &str) {
        let home = self.home.join(key);
        fs::create_dir_all(&home).unwrap();
        must(Command::new("chmod").arg("700").arg(&home));
        let name = format!("{key} <a@b.c>");
        must(self.gpg(key).args(["--passphrase", "", "--quick-gen-key", &name, kind, "sign", "never"]));
    }

    /// The armored public key.
    pub fn key(&self) -> String {
        must(self.gpg("ours").args(["--armor", "--export"]))
    }

    /// The public key as distributions ship it.
    pub fn keyring(&self) -> Vec<u8> {
        self.gpg("ours").arg("--export").output().unwrap().stdout
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        // What failed can be looked at.
        if !std::thread::panicking() {
            let _ = fs::remove_dir_all(&self.home);
        }
    }
}
