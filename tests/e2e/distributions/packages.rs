//! The packages of a distribution: Debian's, as they are where that does; taken apart and made
//! again where the distribution's own differ; and empty ones that are only asked for.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use providers::lock::Lock;

use super::publish::Publisher;
use super::shape::{KERNEL, Shape, StandIn};
use crate::support::{User, composer, must};

/// No file in a package is younger: the same package is made each time (2024-01-01).
const EPOCH: &str = "1704067200";

/// One of Debian's packages, in the cache of the user that fetched it.
struct Deb {
    name: String,
    version: String,
    /// Below `pool/COMPONENT/`.
    below: String,
    file: PathBuf,
}

/// Lays every package of a distribution in its archive.
pub fn lay(user: User, shape: &Shape, directory: &Path, publisher: &mut Publisher) {
    let debs = of_debian(user, shape, directory);
    let kernel = debs.iter().find(|deb| is_kernel(&deb.name)).expect("a kernel").name.clone();
    for deb in &debs {
        let (suite, component) = place(shape, &deb.name);
        let made = match deb.name.as_str() {
            name if shape.debian.unknown.contains(&name) => continue,
            "apt" | "base-files" | "dracut-core" => remake(shape, deb, &publisher.work(), &debs),
            "systemd" if shape.codename == "jammy" => remake(shape, deb, &publisher.work(), &debs),
            name if is_kernel(name) && shape.os == "ubuntu" => {
                let modules = split(shape, deb, &publisher.work());
                let below = deb.below.replace("linux-image", "linux-modules");
                publisher.add(suite, component, &below, &modules);
                remake(shape, deb, &publisher.work(), &debs)
            }
            _ => deb.file.clone(),
        };
        publisher.add(suite, component, &deb.below, &made);
    }
    for stand_in in shape.stand_ins {
        let made = stand(shape, stand_in, &kernel, publisher);
        let version = stand_in.version.rsplit(':').next().unwrap();
        let below = format!("{}/{1}/{1}_{version}_all.deb", &stand_in.name[..1], stand_in.name);
        publisher.add(stand_in.suite, stand_in.component, &below, &made);
    }
}

fn is_kernel(name: &str) -> bool {
    name.strip_prefix("linux-image-").is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
}

/// The suite and component of a package.
pub fn place(shape: &Shape, name: &str) -> (&'static str, &'static str) {
    let found = shape.elsewhere.iter().find(|(known, ..)| *known == name);
    found.map_or((shape.suites[0].name, "main"), |(_, suite, component)| (*suite, *component))
}

/// Debian's packages for a bootable system, from the machine's own mirror or the cache.
fn of_debian(user: User, shape: &Shape, directory: &Path) -> Vec<Deb> {
    let debian = &shape.debian;
    let spec = format!(
        "image: {{name: lent, base: {{os: debian, version: {}, type: minimal}}}}\n\
         kernel: {{package: linux-image-cloud-amd64}}\n\
         customizations: {{packages: {{install: [{}], remove: [{}]}}}}\n",
        debian.version,
        debian.install.join(", "),
        debian.remove.join(", ")
    );
    fs::write(directory.join("lent.yml"), spec).unwrap();
    let words = "build lent.yml --stage packages --output-dir lent --progress plain";
    println!("{}", must(&mut composer(user, directory, &words.split(' ').collect::<Vec<_>>())));
    let lock = Lock::read(&fs::read(directory.join("lent/lent.lock")).unwrap()).unwrap();
    let cache = user.home().join(".cache/image-composer/cache/packages/sha256");
    let debs = lock.packages.into_iter().map(|package| Deb {
        file: cache.join(package.sha256.to_string()),
        below: package.path.splitn(3, '/').nth(2).expect("pool/COMPONENT/…").to_owned(),
        name: package.name,
        version: package.version,
    });
    debs.collect()
}

/// Makes one of Debian's packages again as the distribution has it.
fn remake(shape: &Shape, deb: &Deb, work: &Path, debs: &[Deb]) -> PathBuf {
    let tree = unpack(&deb.file, work, &deb.name);
    match deb.name.as_str() {
        "apt" => {
            let keyring = format!("{}-keyring", if shape.os == "ubuntu" { "ubuntu" } else { "elxr-archive" });
            edit(&tree, |control| control.replace("debian-archive-keyring", &keyring));
        }
        "base-files" => {
            let text = format!(
                "PRETTY_NAME=\"{}\"\nNAME=\"{}\"\nVERSION_ID=\"{}\"\nVERSION_CODENAME={}\nID={}\nID_LIKE=debian\n",
                shape.title, shape.origin, shape.version, shape.codename, shape.os
            );
            fs::write(tree.join("usr/lib/os-release"), text).unwrap();
            let suffix = if shape.os == "ubuntu" { "ubuntu1" } else { "elxr1" };
            let version = format!("Version: {}", deb.version);
            edit(&tree, |control| control.replacen(&version, &format!("{version}{suffix}"), 1));
        }
        // Three quarters of the time that it takes go into the last per cents of the compression.
        "dracut-core" => {
            fs::write(tree.join("etc/dracut.conf.d/10-compression.conf"), "compress=\"gzip -n -1\"\n").unwrap();
        }
        // Up to 22.04 the boot loader is in it.
        "systemd" => {
            let loader = debs.iter().find(|deb| deb.name == "systemd-boot-efi").expect("a boot loader");
            must(Command::new("dpkg-deb").arg("-x").arg(&loader.file).arg(&tree));
        }
        _ => {
            let modules = deb.name.replace("linux-image", "linux-modules");
            modules_in(&tree).iter().for_each(|path| fs::remove_dir_all(path).unwrap());
            edit(&tree, |control| control.replacen("\nDepends: ", &format!("\nDepends: {modules}, "), 1));
        }
    }
    pack(shape, &tree)
}

/// The package with a kernel's modules, which Ubuntu has apart.
fn split(shape: &Shape, deb: &Deb, work: &Path) -> PathBuf {
    let name = deb.name.replace("linux-image", "linux-modules");
    let tree = unpack(&deb.file, work, &name);
    for entry in fs::read_dir(tree.join("DEBIAN")).unwrap() {
        fs::remove_file(entry.unwrap().path()).unwrap();
    }
    fs::remove_dir_all(tree.join("boot")).unwrap();
    let _ = fs::remove_dir_all(tree.join("usr/share"));
    control(&tree, &name, &deb.version, "Architecture: amd64\n");
    pack(shape, &tree)
}

fn modules_in(tree: &Path) -> Vec<PathBuf> {
    ["lib/modules", "usr/lib/modules"].map(|path| tree.join(path)).into_iter().filter(|path| path.is_dir()).collect()
}

/// A package that has nothing, or the keyring.
fn stand(shape: &Shape, stand_in: &StandIn, kernel: &str, publisher: &Publisher) -> PathBuf {
    let tree = publisher.work().join(format!("{}_{}", stand_in.name, stand_in.version));
    fs::create_dir_all(tree.join("DEBIAN")).unwrap();
    let depends = match stand_in.depends {
        "" => String::new(),
        KERNEL => format!("Depends: {kernel}\n"),
        names => format!("Depends: {names}\n"),
    };
    control(&tree, stand_in.name, stand_in.version, &format!("Architecture: all\n{depends}"));
    if stand_in.name.ends_with("-keyring") {
        let keyring = tree.join(format!("usr/share/keyrings/{}-archive-keyring.gpg", shape.os));
        fs::create_dir_all(keyring.parent().unwrap()).unwrap();
        fs::write(keyring, publisher.keyring()).unwrap();
    }
    must(Command::new("chmod").args(["-R", "u=rwX,go=rX"]).arg(&tree));
    pack(shape, &tree)
}

fn control(tree: &Path, name: &str, version: &str, more: &str) {
    let text = format!(
        "Package: {name}\nVersion: {version}\nMaintainer: A <a@b.c>\nSection: misc\nPriority: optional\n{more}\
         Description: of a test\n"
    );
    fs::write(tree.join("DEBIAN/control"), text).unwrap();
}

fn edit(tree: &Path, change: impl FnOnce(&str) -> String) {
    let path = tree.join("DEBIAN/control");
    let old = fs::read_to_string(&path).unwrap();
    let new = change(&old);
    assert_ne!(old, new, "nothing to change in {}", path.display());
    fs::write(path, new).unwrap();
}

fn unpack(deb: &Path, work: &Path, name: &str) -> PathBuf {
    let tree = work.join(name);
    must(Command::new("dpkg-deb").arg("-R").arg(deb).arg(&tree));
    let _ = fs::remove_file(tree.join("DEBIAN/md5sums"));
    tree
}

fn pack(shape: &Shape, tree: &Path) -> PathBuf {
    let deb = PathBuf::from(format!("{}.deb", tree.display()));
    must(
        Command::new("dpkg-deb")
            .arg(format!("-Z{}", shape.compression))
            .args(["-z1", "--build"])
            .arg(tree)
            .arg(&deb)
            .env("SOURCE_DATE_EPOCH", EPOCH),
    );
    fs::remove_dir_all(tree).unwrap();
    deb
}
