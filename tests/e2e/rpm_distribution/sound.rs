//! Whether the distribution is one: rpm and dnf make the same system of it, are content with that,
//! and refuse what is forged.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::publish::{self, EXPIRED, THEIRS};
use super::{CORNERS, Distribution, SYSTEM, TOOLS, get, referee};
use crate::support::{have, is_root, must, strict};

/// The distribution, where it can be made and judged.
fn ready() -> Option<&'static Distribution> {
    if !is_root() {
        println!("skipped: rpm and dnf must run as root");
        assert!(!strict(), "with CI set the suite must run as root");
        return None;
    }
    have(TOOLS).then(get)
}

/// An empty directory for a system.
fn place(name: &str) -> PathBuf {
    let place = PathBuf::from("/var/tmp/image-composer-rpm-sound").join(name);
    must(Command::new("rm").arg("-rf").arg(&place));
    fs::create_dir_all(&place).unwrap();
    place
}

fn lines(root: &Path) -> Vec<String> {
    let text = fs::read_to_string(root.join(&super::triggers::LOG[1..])).unwrap();
    text.lines().map(str::to_owned).collect()
}

#[test]
fn rpm_and_dnf_make_the_same_system_and_are_content_with_it() {
    let Some(distribution) = ready() else { return };
    let wanted: Vec<&str> = SYSTEM.iter().chain(CORNERS).copied().collect();
    let (by_dnf, by_rpm) = (place("dnf"), place("rpm"));
    referee::dnf_install(distribution, &by_dnf, &wanted);
    let installed = referee::installed(distribution, &by_dnf);
    assert!(installed.len() > 240, "{} packages", installed.len());
    referee::rpm_install(distribution, &by_rpm, &distribution.files_of(&installed));
    assert_eq!(installed, referee::installed(distribution, &by_rpm));
    assert_eq!(installed, referee::dnf_choice(distribution, &place("choice"), &wanted));
    assert_eq!(lines(&by_dnf), lines(&by_rpm));
    assert!(lines(&by_dnf).len() > 20, "{:?}", lines(&by_dnf));
    for root in [&by_dnf, &by_rpm] {
        assert_eq!(referee::verified(distribution, root), [] as [&str; 0]);
        must(Command::new("chroot").arg(root).args(["dnf", "--quiet", "check"]));
    }
    // It objects when there is something to object to.
    fs::write(by_rpm.join("usr/bin/env"), "another").unwrap();
    assert_eq!(referee::verified(distribution, &by_rpm), ["S.5....T.    /usr/bin/env"]);
    must(Command::new("rm").arg("-rf").arg("/var/tmp/image-composer-rpm-sound"));
}

#[test]
fn dnf_refuses_what_is_forged() {
    let Some(distribution) = ready() else { return };
    let above = place("forged");
    let refuses = |name: &str, forge: &dyn Fn(&Distribution), said: &str| {
        let forged = distribution.copied(&above.join(name));
        forge(&forged);
        let output = referee::dnf(&forged, &place(&format!("forged-{name}-root")))
            .args(["install", "corner-empty", "--setopt=install_weak_deps=0"])
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.success(), said.is_empty(), "{name}: {text}");
        assert!(text.contains(said), "{name}: {text}");
    };
    let package = |forged: &Distribution| forged.repository().join("Packages/c/corner-empty-1.0-1.azl3.noarch.rpm");
    refuses("good", &|_| (), "");
    refuses(
        "metadata-of-strangers",
        &|forged| publish::sign_metadata(forged.home(), forged.repository(), THEIRS),
        "Bad GPG signature",
    );
    refuses(
        "metadata-of-expired",
        &|forged| publish::sign_metadata(forged.home(), forged.repository(), EXPIRED),
        "Bad GPG signature",
    );
    refuses(
        "package-of-strangers",
        &|forged| {
            publish::resign(forged.home(), &package(forged), THEIRS);
            publish::index(forged.home(), forged.repository(), "xz");
        },
        "GPG check FAILED",
    );
    refuses(
        "package-swapped",
        &|forged| {
            fs::remove_file(package(forged)).unwrap();
            let other = package(forged).with_file_name("corner-large-1.0-1.azl3.x86_64.rpm");
            fs::copy(other, package(forged)).unwrap();
        },
        "Error",
    );
    must(Command::new("rm").arg("-rf").arg(above));
}
