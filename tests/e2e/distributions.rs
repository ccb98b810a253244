//! Ubuntu and eLxr, whose archives are not to be reached from everywhere, on archives of their
//! shape: made here of Debian's packages, signed with a key of the suite's own. The provider's file
//! is used as it is; only the key, and where the archive is, are told in the configuration.

mod image;
mod packages;
mod publish;
mod shape;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use providers::lock::Lock;

use crate::support::{User, as_user, have, is_root, must_as, program, strict, workplace};
use crate::wrong::server::Server;
use image::Image;
use publish::{Publisher, Signature};
use shape::{Reach, Shape};

/// What the archives are made with, and what judges the images.
const TOOLS: [&str; 11] = [
    "apt-ftparchive",
    "debugfs",
    "dpkg-deb",
    "e2fsck",
    "gpg",
    "mdir",
    "mtype",
    "qemu-img",
    "setpriv",
    "sfdisk",
    "sgdisk",
];

/// An archive, served, and somebody who builds from it.
struct Site {
    shape: &'static Shape,
    publisher: Publisher,
    server: Server,
    user: User,
    directory: PathBuf,
}

impl Site {
    fn open(shape: &'static Shape) -> Option<Self> {
        if !is_root() {
            assert!(!strict(), "with CI set the suite must run as root");
            println!("skipped: the suite must run as root to be other users");
            return None;
        }
        if !have(&TOOLS) {
            return None;
        }
        let user = User::WithoutRange;
        let directory = workplace(user, &format!("distribution-{}-{}", shape.os, shape.version));
        let mut publisher = Publisher::new(shape, user);
        packages::lay(user, shape, &directory, &mut publisher);
        publisher.publish();
        let server = Server::start(&publisher.root());
        let site = Self { shape, publisher, server, user, directory };
        must_as(user, Command::new("mkdir").arg("-p").arg(site.directory.join("config/image-composer")));
        fs::write(site.directory.join("key.asc"), site.publisher.key()).unwrap();
        let spec = format!(
            "image: {{name: small, base: {{os: {}, version: {}}}}}\noutput: {{format: {}}}\n\
             disk: {{size: 1280MiB, partitions: [{{type: esp, size: 160MiB}}, {{type: root, size: rest}}]}}\n",
            shape.os, shape.version, shape.format
        );
        fs::write(site.directory.join("small.yml"), spec).unwrap();
        site.configure(true);
        Some(site)
    }

    /// Writes the configuration as somebody would who has this archive.
    fn configure(&self, with_key: bool) {
        let name = self.publisher.place(&self.shape.suites[0]);
        let mirror = match self.shape.reach {
            Reach::Mirror => format!("mirror: \"{}/{name}\"", self.server.url),
            Reach::Directory => format!("mirror: \"file:{}/{name}\"", self.publisher.root().display()),
            Reach::Proxy => String::new(),
        };
        let key = if with_key { format!("key: {}/key.asc", self.directory.display()) } else { String::new() };
        let settings: Vec<String> = [mirror, key].into_iter().filter(|line| !line.is_empty()).collect();
        let text = format!("providers:\n  {}: {{{}}}\n", self.shape.os, settings.join(", "));
        fs::write(self.directory.join("config/image-composer/config.yaml"), text).unwrap();
    }

    /// Runs the program; its exit code and what it said.
    fn run(&self, words: &str) -> (Option<i32>, String) {
        let mut command = Command::new(program());
        command.args(words.split(' ')).args(["--progress", "plain"]).current_dir(&self.directory);
        command.env("XDG_CONFIG_HOME", self.directory.join("config"));
        if self.shape.reach == Reach::Proxy {
            command.env("http_proxy", &self.server.url);
        }
        let output = as_user(self.user, &command).output().unwrap();
        let text = String::from_utf8_lossy(&[output.stderr, output.stdout].concat()).into_owned();
        println!("$ image-composer {words}\n{text}");
        (output.status.code(), text)
    }

    #[track_caller]
    fn refused(&self, words: &[&str]) {
        let (code, text) = self.run("build small.yml --stage packages");
        assert_eq!(code, Some(4), "{text}");
        for word in words {
            assert!(text.contains(word), "no {word:?} in:\n{text}");
        }
        assert!(!self.directory.join("output/small.lock").exists());
    }

    /// Nobody is believed but the archive's own key.
    fn refuses_what_the_archive_did_not_sign(&self) {
        let trust = format!("trust the release of '{}'", self.shape.codename);
        self.publisher.sign(Signature::AnotherKey);
        self.refused(&[&trust]);
        self.publisher.sign(Signature::Forged);
        self.refused(&[&trust]);
        self.publisher.sign(Signature::Missing);
        self.refused(&[&format!("find a signature for the release of '{}'", self.shape.codename)]);
        self.publisher.sign(Signature::Good);
        // Without a word about its key it is the distribution's own that counts, or none.
        self.configure(false);
        match self.shape.os {
            "ubuntu" => self.refused(&[&trust]),
            _ => self.refused(&["find the signing key of the repository 'elxr'", "providers.elxr.key"]),
        }
        self.configure(true);
    }

    fn build(&self) -> (Lock, Image) {
        let words = format!("build small.yml --no-image-cache --output-dir output --rung {}", self.user.rung());
        let (code, text) = self.run(&words);
        assert_eq!(code, Some(0), "{text}");
        let output = self.directory.join("output");
        let lock = Lock::read(&fs::read(output.join("small.lock")).unwrap()).unwrap();
        (lock, Image::judged(&output.join(format!("small.{}", self.shape.format)), self.shape.format))
    }

    /// Every package is from the repository that has it, by the names that the repository has for
    /// everybody.
    fn comes_from_the_right_places(&self, lock: &Lock) {
        let shape = self.shape;
        let suites: BTreeMap<&str, _> = shape.suites.iter().map(|suite| (suite.name, suite)).collect();
        for package in &lock.packages {
            let name = package.name.as_str();
            let expected = match shape.expected.iter().find(|(known, ..)| *known == name) {
                Some((_, repository, version)) => {
                    assert_eq!(package.version, *version, "{name}");
                    repository
                }
                None if shape.stand_ins.iter().any(|known| known.name == name) => shape.suites[0].repository,
                None => suites[packages::place(shape, name).0].repository,
            };
            assert_eq!(package.repository.as_str(), expected, "{name}");
        }
        let scheme = if shape.os == "ubuntu" { "http" } else { "https" };
        let expected: BTreeSet<[String; 4]> = shape
            .suites
            .iter()
            .flat_map(|suite| {
                let url = format!("{scheme}://{}", suite.at);
                let of = move |component: &&str| {
                    [suite.repository.into(), url.clone(), suite.name.into(), (*component).into()]
                };
                shape.components.iter().map(of)
            })
            .collect();
        let locked: BTreeSet<[String; 4]> = lock
            .repositories
            .iter()
            .map(|entry| [entry.id.to_string(), entry.url.clone(), entry.suite.clone(), entry.component.clone()])
            .collect();
        assert_eq!(locked, expected);
    }

    /// The archive was asked for what only it can have.
    fn was_asked(&self) {
        let asked = self.server.asked();
        let any = |test: &dyn Fn(&str) -> bool| asked.iter().any(|path| test(path));
        if self.shape.reach == Reach::Directory {
            assert_eq!(asked, Vec::<String>::new());
            return;
        }
        // Its key is new each time, and nothing else has it.
        assert!(any(&|path| path.contains("-keyring_")), "{asked:?}");
        assert_eq!(any(&|path| path.contains("/by-hash/SHA256/")), self.shape.by_hash, "{asked:?}");
        for suite in self.shape.suites {
            let release = format!("{}/dists/{}/InRelease", self.publisher.place(suite), suite.name);
            assert!(any(&|path| path == release), "{asked:?}");
        }
    }

    /// The image is the distribution's, and will be updated from where its packages come from.
    fn is_the_distribution(&self, lock: &Lock, image: &Image) {
        let shape = self.shape;
        let release = image.text("/usr/lib/os-release").unwrap();
        for line in [format!("ID={}", shape.os), format!("VERSION_ID=\"{}\"", shape.version)] {
            assert!(release.lines().any(|known| known == line), "{release}");
        }
        let locked: BTreeMap<String, String> =
            lock.packages.iter().map(|package| (package.name.clone(), package.version.clone())).collect();
        assert_eq!(image.packages(), locked);
        let keyring = format!("/usr/share/keyrings/{}-archive-keyring.gpg", shape.os);
        assert!(image.text(&keyring).is_some_and(|text| !text.is_empty()), "no {keyring}");
        let mut ids: Vec<&str> = shape.suites.iter().map(|suite| suite.repository).collect();
        ids.dedup();
        for id in ids {
            let of_id: Vec<_> = shape.suites.iter().filter(|suite| suite.repository == id).collect();
            let names: Vec<&str> = of_id.iter().map(|suite| suite.name).collect();
            let scheme = if shape.os == "ubuntu" { "http" } else { "https" };
            let expected = format!(
                "Types: deb\nURIs: {scheme}://{}\nSuites: {}\nComponents: {}\nSigned-By: {keyring}\n",
                of_id[0].at,
                names.join(" "),
                shape.components.join(" ")
            );
            let sources = image.text(&format!("/etc/apt/sources.list.d/{id}.sources"));
            assert_eq!(sources.as_deref(), Some(expected.as_str()));
        }
        assert_eq!(image.text("/etc/apt/sources.list"), None);
        let entries = image.entries();
        assert_eq!(entries.len(), 1, "{entries:?}");
        let options = format!("{}console=ttyS0,115200 console=tty0 loglevel=7", shape.cmdline);
        for text in [format!("title      {}\n", shape.title), format!("sort-key   {}\n", shape.os), options] {
            assert!(entries[0].contains(&text), "no {text:?} in:\n{}", entries[0]);
        }
    }
}

fn builds(shape: &'static Shape) {
    let Some(site) = Site::open(shape) else { return };
    site.refuses_what_the_archive_did_not_sign();
    let (lock, image) = site.build();
    site.comes_from_the_right_places(&lock);
    site.was_asked();
    site.is_the_distribution(&lock, &image);
}

#[test]
fn ubuntu_22_04_builds_from_one_mirror_of_all_its_pockets() {
    builds(&shape::JAMMY);
}

#[test]
fn ubuntu_24_04_builds_from_its_own_hosts_through_a_proxy() {
    builds(&shape::NOBLE);
}

#[test]
fn elxr_12_builds_from_a_directory() {
    builds(&shape::ARIA);
}

#[test]
fn elxr_13_builds_from_a_mirror() {
    builds(&shape::BIANCA);
}
