//! A signed rpm distribution of Azure Linux's shape, made out of Debian's own packages with the
//! real tools, because no such repository can be reached from everywhere that the suite runs.
//!
//! `docs/decisions/rpm-distribution.md` says what it is made of and why.

mod changes;
mod convert;
mod corners;
mod debian;
mod dependencies;
mod filesystem;
pub mod publish;
pub mod referee;
mod relations;
mod release;
mod sound;
mod spec;
pub mod triggers;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, OnceLock};

use crate::support::must;
use debian::{Closure, Deb};
use relations::Names;
use spec::Spec;

/// The tools that make it and judge by it.
pub const TOOLS: &[&str] = &[
    "apt-get",
    "createrepo_c",
    "dnf",
    "dpkg-deb",
    "gpg",
    "modifyrepo_c",
    "rpm",
    "rpmbuild",
    "rpmkeys",
    "rpmsign",
    "tar",
];

/// What is asked for to have a system that boots, answers ssh and can look after itself.
pub const SYSTEM: &[&str] = &[
    "ca-certificates",
    "core-packages-base-image",
    "cronie-anacron",
    "dnf",
    "dracut-hyperv",
    "dracut-virtio",
    "efibootmgr",
    "filesystem",
    "initramfs",
    "kernel",
    "logrotate",
    "openssh-server",
    "rsyslog",
    "shadow-utils",
    "sudo",
    "systemd-boot",
    "systemd-resolved",
    "systemd-timesyncd",
    "veritysetup",
    "vim-minimal",
];

/// Packages with one corner of the format each, which go in together.
pub const CORNERS: &[&str] = &[
    "corner-caps",
    "corner-config",
    "corner-digest-md5",
    "corner-digest-sha512",
    "corner-directories",
    "corner-empty",
    "corner-epoch",
    "corner-file-needs",
    "corner-ghosts",
    "corner-hardlinks",
    "corner-interpreters",
    "corner-large",
    "corner-late",
    "corner-literal",
    "corner-lua",
    "corner-needs",
    "corner-owned",
    "corner-payload-bzip2",
    "corner-payload-gzip",
    "corner-payload-lzma",
    "corner-payload-none",
    "corner-payload-xz",
    "corner-payload-zstd",
    "corner-replaced",
    "corner-rich",
    "corner-scripts",
    "corner-self",
    "corner-setuid",
    "corner-sysusers",
    "corner-triggers",
    "corner-unicode",
    "corner-users",
    "corner-verify",
    "corner-versions",
    "corner-weak",
];

/// Grows with what the sources below do not show.
const VERSION: u32 = 1;

/// What makes the distribution: another text of these makes another distribution.
const SOURCES: &[&str] = &[
    include_str!("changes.rs"),
    include_str!("convert.rs"),
    include_str!("corners.rs"),
    include_str!("debian.rs"),
    include_str!("dependencies.rs"),
    include_str!("filesystem.rs"),
    include_str!("publish.rs"),
    include_str!("relations.rs"),
    include_str!("release.rs"),
    include_str!("spec.rs"),
    include_str!("triggers.rs"),
];

/// A distribution on disk.
pub struct Distribution {
    home: PathBuf,
    repository: PathBuf,
}

impl Distribution {
    /// The repository: `repodata/` and `Packages/`.
    pub fn repository(&self) -> &Path {
        &self.repository
    }

    /// The same distribution with a repository of a test's own, in a directory that is not there
    /// yet: what is changed in it has to be another file, because packages are shared.
    pub fn copied(&self, repository: &Path) -> Self {
        must(Command::new("cp").arg("-al").arg(&self.repository).arg(repository));
        // createrepo_c and gpg write these in place.
        let repodata = repository.join("repodata");
        fs::remove_dir_all(&repodata).unwrap();
        must(Command::new("cp").arg("-a").arg(self.repository.join("repodata")).arg(&repodata));
        Self { home: self.home.clone(), repository: repository.to_owned() }
    }

    /// The public key of packages and metadata, in armor.
    pub fn key(&self) -> PathBuf {
        self.home.join("key.asc")
    }

    /// A home directory for rpm's tools: macros, and the private keys.
    pub fn home(&self) -> &Path {
        &self.home
    }

    /// Every package file, sorted.
    pub fn packages(&self) -> Vec<PathBuf> {
        let mut packages = Vec::new();
        for letter in fs::read_dir(self.repository().join("Packages")).unwrap() {
            for entry in fs::read_dir(letter.unwrap().path()).unwrap() {
                packages.push(entry.unwrap().path());
            }
        }
        packages.sort();
        packages
    }

    /// Package files by `name-epoch:version-release.arch`, as the referees give them.
    pub fn files_of(&self, names: &[String]) -> Vec<PathBuf> {
        let all = self.packages();
        let files = names.iter().map(|name| {
            let (name, rest) = name.split_once(':').expect("an epoch");
            let name = &name[..name.rfind('-').unwrap()];
            let file = format!("{name}-{rest}.rpm");
            let found = all.iter().find(|path| path.ends_with(&file));
            found.unwrap_or_else(|| panic!("no {file}")).clone()
        });
        files.collect()
    }
}

/// The distribution, made where there is none yet of these sources and these packages of Debian's.
pub fn get() -> &'static Distribution {
    static MADE: OnceLock<Distribution> = OnceLock::new();
    MADE.get_or_init(|| {
        let user = rustix::process::geteuid().as_raw();
        let above = PathBuf::from(format!("/var/tmp/image-composer-rpm-distribution-{user}"));
        fs::create_dir_all(&above).unwrap();
        // Two suites at once make one distribution.
        let lock = fs::File::create(above.join("lock")).unwrap();
        lock.lock().unwrap();
        let work = above.join("work");
        let _ = fs::remove_dir_all(&work);
        fs::create_dir_all(&work).unwrap();
        let closure = Closure::resolve(&work);
        let described = format!("{VERSION} {SOURCES:?} {:?}", closure.listed);
        let key = layers::Sha256::of(described.as_bytes()).to_string();
        let home = above.join(&key[..16]);
        if !home.join("key.asc").exists() {
            for entry in fs::read_dir(&above).unwrap().filter_map(Result::ok) {
                // Of other sources, or one that was not finished.
                if entry.path() != work && entry.path().is_dir() {
                    fs::remove_dir_all(entry.path()).unwrap();
                }
            }
            make(&work, &home, &closure);
        }
        let _ = fs::remove_dir_all(&work);
        Distribution { repository: home.join("repository"), home }
    })
}

fn make(work: &Path, home: &Path, closure: &Closure) {
    let started = std::time::Instant::now();
    let (packages, repository) = (home.join("packages"), home.join("repository"));
    fs::create_dir_all(&packages).unwrap();
    spec::configure(home);
    let key = publish::make_keys(home);
    let files = closure.download(work);
    let number = build(work, home, &files, &key, &packages);
    println!("{number} packages built after {:.0?}", started.elapsed());
    publish::sign_packages(home, &packages);
    publish::publish(home, &packages, &repository);
    fs::remove_dir(packages).unwrap();
    publish::stop_agent(home);
    // Other users serve and read it; the keys are the suite's own.
    must(Command::new("chmod").arg("-R").arg("a+rX").arg(&repository));
    must(Command::new("chmod").arg("755").arg(home));
    // What says that all is done.
    fs::write(home.join("key.asc"), key).unwrap();
    println!("the rpm distribution was made in {:.0?}", started.elapsed());
}

/// Builds every package and says how many they are.
fn build(work: &Path, home: &Path, files: &[PathBuf], key: &str, into: &Path) -> usize {
    let debs: Vec<Deb> = in_parallel(files.to_vec(), |file| Deb::read(&file));
    let mut names = Names::default();
    let dropped = |deb: &&Deb| changes::DROPPED.contains(&deb.name());
    for deb in debs.iter().filter(|deb| !dropped(deb)) {
        names.packages.insert(convert::place(deb).0);
        names.provided.extend(
            relations::provided(deb.field("Provides")).filter(|name| !changes::DROPPED.contains(&name.as_str())),
        );
    }
    let base_passwd = debs.iter().find(|deb| deb.name() == "base-passwd").expect("base-passwd");
    let boxes = work.join("boxes");
    let mut specs = vec![filesystem::make(&boxes, base_passwd)];
    specs.extend(release::make(&boxes, &debs, key));
    specs.extend(corners::make(&boxes));
    specs.extend(dependencies::make(&boxes));
    specs.extend(triggers::make(&boxes));
    let mut members: BTreeMap<String, Vec<(usize, Deb)>> = BTreeMap::new();
    for deb in debs {
        if changes::DROPPED.contains(&deb.name())
            || deb.name() == "shim-signed"
            || deb.name() == "grub-efi-amd64-signed"
        {
            continue;
        }
        let (name, number) = convert::place(&deb);
        members.entry(name).or_default().push((number, deb));
    }
    let number = specs.len() + members.len();
    in_parallel(specs, |spec: Spec| spec.build(home, into));
    // The largest first: no core waits for it in the end.
    let mut members: Vec<(String, Vec<(usize, Deb)>)> = members.into_iter().collect();
    members.sort_by_key(|(_, debs)| std::cmp::Reverse(debs.iter().map(|(_, deb)| deb.size()).sum::<usize>()));
    in_parallel(members, |(name, mut debs)| {
        debs.sort_by_key(|(number, _)| *number);
        let debs: Vec<Deb> = debs.into_iter().map(|(_, deb)| deb).collect();
        convert::convert(&boxes, &name, &debs, &names).build(home, into);
    });
    number
}

/// Does something with each, in order, on every core.
fn in_parallel<T: Send, R: Send>(items: Vec<T>, work: impl Fn(T) -> R + Sync) -> Vec<R> {
    let results: Vec<Mutex<Option<R>>> = items.iter().map(|_| Mutex::new(None)).collect();
    let queue = Mutex::new(items.into_iter().enumerate());
    let workers = std::thread::available_parallelism().map_or(2, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                loop {
                    let next = queue.lock().unwrap().next();
                    let Some((number, item)) = next else { break };
                    *results[number].lock().unwrap() = Some(work(item));
                }
            });
        }
    });
    results.into_iter().map(|result| result.into_inner().unwrap().expect("done")).collect()
}
