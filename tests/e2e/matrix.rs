//! The same bytes, whoever builds, on whatever rung, with the store on whatever file system.
//!
//! Two images stand for the packages that this has been tried with: the smallest system of Debian
//! 12, and one that has all the others as well, whose scripts make users, keys, databases and file
//! capabilities. Each row of the table starts with nothing but the locks and the packages. That the
//! second image's tree is the one that mmdebstrap makes of the same packages is a case of
//! `fidelity`, which takes [`PACKAGES`] from here.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::Instant;

use crate::machine::PATIENT;
use crate::support::{self, User, as_account, composer, have, is_root, must, must_as, program, strict, workplace};

/// What the second image has besides the first one's packages, some of which it names again.
pub const PACKAGES: &[&str] =
    &["dbus", "iputils-ping", "man-db", "openssh-server", "postgresql", "systemd", "systemd-resolved"];
/// The release of both images.
pub const VERSION: &str = "12";
/// The images, by the names of their specs.
const IMAGES: [&str; 2] = ["matrix-minimal", "matrix-all"];
/// What a build needs at its place, in bytes.
const ROOM: u64 = 3 << 30;

/// An account that builds.
#[derive(Clone, Copy)]
enum Who {
    Root,
    Plain(User),
}

impl Who {
    fn name(self) -> &'static str {
        match self {
            Self::Root => "root",
            Self::Plain(user) => user.name(),
        }
    }

    fn run(self, command: &Command) -> String {
        let home = match self {
            Self::Root => PathBuf::from("/root"),
            Self::Plain(user) => user.home(),
        };
        must(&mut as_account(self.name(), &home, command))
    }
}

/// One way to build.
struct Row {
    who: Who,
    rung: &'static str,
    /// The directory that the store, the work and the outputs lie in.
    place: &'static str,
    /// Words before the program's own, such as a jail that it runs in.
    prefix: fn() -> Vec<String>,
    /// Whether the larger image is built first, and the smaller one from what it left in the store.
    larger_first: bool,
}

const DISK: &str = "/var/tmp";
const MEMORY: &str = "/dev/shm";

/// The table; the other rows must have what the first one has.
const ROWS: &[Row] = &[
    Row {
        who: Who::Plain(User::WithoutRange),
        rung: "userns-single",
        place: DISK,
        prefix: Vec::new,
        larger_first: false,
    },
    Row {
        who: Who::Plain(User::WithoutRange),
        rung: "userns-single",
        place: MEMORY,
        prefix: Vec::new,
        larger_first: true,
    },
    Row { who: Who::Plain(User::WithRange), rung: "userns", place: DISK, prefix: Vec::new, larger_first: true },
    Row { who: Who::Root, rung: "userns", place: MEMORY, prefix: Vec::new, larger_first: false },
    Row { who: Who::Root, rung: "root", place: DISK, prefix: jail, larger_first: true },
    Row { who: Who::Root, rung: "root", place: MEMORY, prefix: jail, larger_first: false },
];

/// What a container of Docker's defaults takes away from its root: namespaces, mounts, capabilities.
fn jail() -> Vec<String> {
    vec![support::jail().display().to_string()]
}

/// Digests by the names of finished files.
type Digests = BTreeMap<String, String>;

fn spec(image: &str, public_key: &str, content: &str) -> String {
    let more = match image == IMAGES[1] {
        true => format!("packages: {{ install: [{}] }}", PACKAGES.join(", ")),
        false => "packages: {}".to_owned(),
    };
    format!(
        "image:
  name: {image}
  base: {{ os: debian, version: {VERSION}, type: minimal }}
kernel: {{ package: linux-image-cloud-amd64, cmdline: {PATIENT} }}
disk:
  size: 2GiB
  partitions: [{{ type: esp, size: 256MiB }}, {{ type: root, size: rest }}]
customizations:
  {more}
  users: [{{ name: tester, groups: [sudo], shell: /bin/bash, sudo: nopasswd, ssh_keys: [\"{public_key}\"] }}]
  files: [{{ destination: /etc/matrix, content: \"{content}\" }}]
  scripts: [{{ path: owner.sh }}]
output: {{ format: raw }}
"
    )
}

/// A directory with specs and locks, whose packages are in a cache that the next run finds again.
fn material() -> Option<&'static PathBuf> {
    static MATERIAL: OnceLock<PathBuf> = OnceLock::new();
    if !is_root() || !have(&["ssh-keygen", "setpriv", "newuidmap"]) {
        println!("skipped: the suite must run as root to be other users");
        assert!(!strict(), "with CI set the suite must run as root");
        return None;
    }
    Some(MATERIAL.get_or_init(|| {
        let user = User::WithoutRange;
        let directory = workplace(user, "matrix");
        let key = directory.join("key");
        must_as(user, Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-C", "test", "-f"]).arg(&key));
        let public = std::fs::read_to_string(directory.join("key.pub")).unwrap();
        std::fs::write(directory.join("owner.sh"), "#!/bin/sh\ninstall -o tester -g adm -m 2750 -d /srv/owned\n")
            .unwrap();
        for image in IMAGES {
            let file = format!("{image}.yml");
            std::fs::write(directory.join(&file), spec(image, public.trim(), "one")).unwrap();
            let cache = packages(user).display().to_string();
            must(&mut composer(user, &directory, &["lock", &file, "--cache-dir", &cache]));
            let fetch =
                ["build", &file, "--locked", "--stage", "packages", "--progress", "plain", "--cache-dir", &cache];
            println!("{}", must(&mut composer(user, &directory, &fetch)));
        }
        directory
    }))
}

/// The cache that packages are fetched into.
fn packages(user: User) -> PathBuf {
    user.home().join(".cache/image-composer-matrix")
}

impl Row {
    fn title(&self) -> String {
        let order = if self.larger_first { "larger image first" } else { "smaller image first" };
        format!("{} on {} in {}, {order}", self.who.name(), self.rung, self.place)
    }

    /// An empty place with specs, locks and packages; `None` where there is no room.
    fn prepare(&self, material: &Path) -> Option<PathBuf> {
        let free = rustix::fs::statvfs(self.place).ok().map_or(0, |fs| fs.f_bavail.saturating_mul(fs.f_frsize));
        if free < ROOM {
            println!("skipped: {}: no room in {}", self.title(), self.place);
            return None;
        }
        // Named after the suite's users, so that two suites do not meet.
        let place = Path::new(self.place).join(format!(
            "{}-matrix-{}-{}",
            User::WithoutRange.name(),
            self.who.name(),
            self.rung
        ));
        must(Command::new("rm").arg("-rf").arg(&place));
        must(Command::new("mkdir").args(["-p", "-m", "700"]).arg(place.join("cache")));
        must(Command::new("cp").arg("-r").arg(packages(User::WithoutRange).join("packages")).arg(place.join("cache")));
        for image in IMAGES {
            for end in ["yml", "lock"] {
                let name = format!("{image}.{end}");
                std::fs::copy(material.join(&name), place.join(&name)).unwrap();
            }
        }
        std::fs::copy(material.join("owner.sh"), place.join("owner.sh")).unwrap();
        must(Command::new("chown").arg("-R").arg(format!("{}:", self.who.name())).arg(&place));
        Some(place)
    }

    /// Builds an image at a place, with no network, and gives the digests of what it became.
    fn build(&self, place: &Path, cache: &str, image: &str) -> Digests {
        let begun = Instant::now();
        let mut words = (self.prefix)();
        words.push(program().display().to_string());
        words.extend(["build", &format!("{image}.yml"), "--rung", self.rung].map(String::from));
        words.extend("--locked --offline --no-image-cache --force --progress plain".split(' ').map(String::from));
        words.extend(["--cache-dir", cache, "--work-dir", "work", "--output-dir", "output"].map(String::from));
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).current_dir(place);
        println!("{}", self.who.run(&command));
        let output = place.join("output");
        let report = std::fs::read(output.join(format!("{image}.report.json"))).unwrap();
        let report: serde_json::Value = serde_json::from_slice(&report).unwrap();
        assert_eq!(report["rung"], self.rung, "{}", self.title());
        let took = begun.elapsed().as_secs_f64();
        let digests = digests(&output, image);
        println!("{image}: {}: {took:.1} s, {:.1} s with digests", self.title(), begun.elapsed().as_secs_f64());
        digests
    }

    /// Builds both images; what they became stays at the place.
    fn build_all(&self, place: &Path) -> Digests {
        let mut images = IMAGES;
        if self.larger_first {
            images.reverse();
        }
        images.into_iter().flat_map(|image| self.build(place, "cache", image)).collect()
    }
}

/// Digests of every finished file of an image: its bytes as they lie there, whatever the program
/// says of them. The report is none of them: it tells of the machine.
fn digests(output: &Path, image: &str) -> Digests {
    let mut found = Digests::new();
    for entry in std::fs::read_dir(output).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if name.starts_with(&format!("{image}.")) && !name.ends_with(".report.json") {
            // Not the program's own digest, and quick over the holes of a disk.
            let mut hasher = blake3::Hasher::new();
            hasher.update_reader(File::open(output.join(&name)).unwrap()).unwrap();
            found.insert(name, hasher.finalize().to_hex().to_string());
        }
    }
    found
}

/// The names whose files differ, or that only one side has.
fn apart(one: &Digests, other: &Digests) -> Vec<String> {
    let names: BTreeSet<&String> = one.keys().chain(other.keys()).collect();
    names.into_iter().filter(|name| one.get(*name) != other.get(*name)).cloned().collect()
}

/// Where the first row built, and what: once, for whoever looks at these images.
fn first() -> Option<&'static (PathBuf, Digests)> {
    static FIRST: OnceLock<(PathBuf, Digests)> = OnceLock::new();
    let material = material()?;
    Some(FIRST.get_or_init(|| {
        let place = ROWS[0].prepare(material).expect("room on the disk");
        let digests = ROWS[0].build_all(&place);
        (place, digests)
    }))
}

/// A finished image of the first row, and the key that its user `tester` lets in.
pub fn finished(larger: bool) -> Option<(PathBuf, PathBuf)> {
    let (place, _) = first()?;
    Some((place.join("output").join(format!("{}.raw", IMAGES[usize::from(larger)])), material()?.join("key")))
}

#[test]
fn every_row_of_the_matrix_gives_the_same_bytes() {
    let (Some(material), Some((place, digests))) = (material(), first()) else { return };
    for image in IMAGES {
        for end in ["SHA256SUMS", "lock", "manifest.json", "raw", "spdx.json"] {
            assert!(digests.contains_key(&format!("{image}.{end}")), "no {image}.{end} in {digests:?}");
        }
        let sums = format!("{image}.SHA256SUMS");
        must(Command::new("sha256sum").args(["--quiet", "-c", &sums]).current_dir(place.join("output")));
    }
    let device = |place: &str| std::fs::metadata(place).unwrap().dev();
    assert_ne!(device(DISK), device(MEMORY), "one file system is no test of two");
    for row in &ROWS[1..] {
        let Some(place) = row.prepare(material) else { continue };
        let found = row.build_all(&place);
        // Kept where it differs, so that one can look.
        assert_eq!(apart(digests, &found), Vec::<String>::new(), "{}: see {}", row.title(), place.display());
        must(Command::new("rm").arg("-rf").arg(&place));
    }
}

/// The comparison objects when there is something to object to: one file of the image, one bit of
/// an output, an output that is gone.
#[test]
fn a_difference_is_seen() {
    let Some((place, digests)) = first() else { return };
    let image = IMAGES[0];
    let directory = place.join("changed");
    must_as(User::WithoutRange, Command::new("mkdir").arg("-p").arg(&directory));
    for end in ["yml", "lock"] {
        let name = format!("{image}.{end}");
        let text = std::fs::read_to_string(place.join(&name)).unwrap();
        std::fs::write(directory.join(name), text.replace("content: \"one\"", "content: \"two\"")).unwrap();
    }
    std::fs::copy(place.join("owner.sh"), directory.join("owner.sh")).unwrap();
    let changed = ROWS[0].build(&directory, "../cache", image);
    let mut before = digests.clone();
    before.retain(|name, _| name.starts_with(&format!("{image}.")));
    let named = |ends: &[&str]| ends.iter().map(|end| format!("{image}.{end}")).collect::<Vec<_>>();
    assert_eq!(apart(&before, &changed), named(&["SHA256SUMS", "manifest.json", "raw"]));

    let output = directory.join("output");
    let sbom = output.join(format!("{image}.spdx.json"));
    let mut bytes = std::fs::read(&sbom).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(&sbom, bytes).unwrap();
    assert_eq!(apart(&changed, &self::digests(&output, image)), named(&["spdx.json"]));
    std::fs::remove_file(output.join(format!("{image}.manifest.json"))).unwrap();
    assert_eq!(apart(&changed, &self::digests(&output, image)), named(&["manifest.json", "spdx.json"]));
}
