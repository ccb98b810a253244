//! mmdebstrap as the referee: the system that apt and dpkg make of a lock's packages.

use std::path::{Path, PathBuf};
use std::process::Command;

use image_composer::machine::Machine;
use providers::deb::preseed::{Answer, selections};
use providers::distro::{Catalogue, Distro};
use providers::lock::Lock;
use providers::mirror;

use crate::support::must;

/// Grows whenever the same lock may become another tree.
const VERSION: u32 = 4;

/// Makes the tree of a lock as a tar, once per lock.
///
/// The variant `essential` is unpacked and configured by dpkg, everything else by apt. apt is told
/// only the packages that were asked for; that no others but the lock's come in, and these in
/// exactly their versions, is done by pins, so that apt makes its own marks.
pub fn tree_of(lock: &Lock) -> PathBuf {
    let catalogue = Catalogue::embedded().unwrap();
    let distro = catalogue.find(&lock.os, &lock.os_version).unwrap();
    let preferences = preferences(lock);
    let answers: Vec<Answer> = distro.debconf.iter().map(answer).collect();
    let answers = selections(&answers).unwrap();
    let sources = sources(lock, distro);
    let asked: Vec<String> = lock
        .packages
        .iter()
        .filter(|package| !package.automatic)
        .map(|package| format!("{}={}", package.name, package.version))
        .collect();
    let (scaffold, rubble) = scaffold(lock, distro);
    let described = format!("{VERSION} {preferences} {answers} {scaffold} {asked:?} {}", lock.epoch);
    let place =
        Path::new("/var/tmp/image-composer-referee").join(&layers::Blake3::of(described.as_bytes()).to_hex()[..16]);
    let tar = place.join("tree.tar");
    if tar.exists() {
        return tar;
    }
    std::fs::create_dir_all(&place).unwrap();
    std::fs::write(place.join("lock.pref"), preferences).unwrap();
    std::fs::write(place.join("answers"), answers).unwrap();
    std::fs::write(place.join("sources.list"), sources).unwrap();
    std::fs::write(place.join("scaffold.sh"), scaffold).unwrap();
    std::fs::write(place.join("rubble.sh"), rubble).unwrap();
    let (unfinished, directory) = (place.join("unfinished.tar"), place.display());
    let codename = distro.repositories[0].suites[0].as_str();
    println!(
        "{}",
        must(
            Command::new("mmdebstrap")
                .args(["--quiet", "--mode=root", "--variant=essential", "--aptopt=APT::Install-Recommends \"false\""])
                .arg(format!("--architectures={}", lock.architecture))
                .arg(format!("--include={}", asked.join(",")))
                .arg(format!("--setup-hook=cp {directory}/lock.pref \"$1\"/etc/apt/preferences.d/lock.pref"))
                .arg(format!("--setup-hook={}", merged_usr(lock)))
                .arg(format!("--essential-hook=chroot \"$1\" debconf-set-selections < {directory}/answers"))
                .arg(format!("--essential-hook=sh -e {directory}/scaffold.sh \"$1\""))
                .arg(format!("--customize-hook=sh -e {directory}/rubble.sh \"$1\""))
                .arg(
                    "--customize-hook=rm \"$1\"/etc/apt/preferences.d/lock.pref \"$1\"/etc/apt/apt.conf.d/99mmdebstrap"
                )
                .arg(codename)
                .arg(&unfinished)
                .arg(place.join("sources.list"))
                // Maintainer scripts see what the caller's environment says (PYTHONDONTWRITEBYTECODE, for one).
                .env_clear()
                .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
                .env("SOURCE_DATE_EPOCH", lock.epoch.to_string())
                .env("LC_ALL", "C.UTF-8")
        )
    );
    std::fs::rename(&unfinished, &tar).unwrap();
    tar
}

/// Up to Debian 12 no package ships the links of a merged /usr: debootstrap lays them before
/// anything is unpacked, mmdebstrap leaves it to whoever calls it.
fn merged_usr(lock: &Lock) -> &'static str {
    match lock.os_version.as_str() {
        "12" => "for name in bin sbin lib lib64; do mkdir -p \"$1/usr/$name\"; ln -s \"usr/$name\" \"$1/$name\"; done",
        _ => "true",
    }
}

/// The provider's scaffold is an answer, too: scripts that lay its files before the packages that
/// read them are configured, and take them away with the directories that are theirs alone.
fn scaffold(lock: &Lock, distro: &Distro) -> (String, String) {
    let (mut laid, mut gone) = (String::new(), String::new());
    for file in &distro.scaffold {
        if !lock.packages.iter().any(|package| package.name == file.package) {
            continue;
        }
        let (path, text) = (&file.path, &file.text);
        assert!(!path.contains(['\'', '"']) && !text.contains('\''), "{file:?} wants more quotes");
        laid.push_str(&format!("mkdir -p \"$1$(dirname '{path}')\"\nprintf %s '{text}' >\"$1{path}\"\n"));
        gone.push_str(&format!("rm \"$1{path}\"\nrmdir --ignore-fail-on-non-empty \"$1$(dirname '{path}')\"\n"));
    }
    (laid, gone)
}

fn answer(answer: &providers::distro::DebconfAnswer) -> Answer {
    Answer {
        package: answer.package.clone(),
        question: answer.question.clone(),
        kind: answer.kind.clone(),
        value: answer.value.clone(),
    }
}

/// Pins (apt_preferences(5)): the lock's versions, and nothing else.
fn preferences(lock: &Lock) -> String {
    let mut text = "Package: *\nPin: release *\nPin-Priority: -1\n".to_owned();
    for package in &lock.packages {
        text.push_str(&format!("\nPackage: {}\nPin: version {}\nPin-Priority: 1001\n", package.name, package.version));
    }
    text
}

/// The repositories of the lock from the machine's own mirror, with the keys that we ship.
pub fn sources(lock: &Lock, distro: &Distro) -> String {
    let machine = Machine::read();
    let configured = mirror::read(&machine.apt_sources).unwrap();
    let mut text = String::new();
    for repository in &lock.repositories {
        let facts = distro.repositories.iter().find(|facts| facts.id == repository.id).unwrap();
        let url = match mirror::mirrors_of(facts, &machine.os, &configured).first() {
            Some(mirror) => mirror.without_credentials(),
            None => repository.url.clone(),
        };
        let keys = facts.keys.as_deref().expect("a repository with a key file");
        let keys = Path::new(env!("CARGO_MANIFEST_DIR")).join("providers/data/keys").join(keys);
        text.push_str(&format!(
            "deb [signed-by={}] {url} {} {}\n",
            keys.display(),
            repository.suite,
            repository.component
        ));
    }
    text
}
