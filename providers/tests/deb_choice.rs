//! The choice of packages against apt's own, on the live indexes of Debian. `DEB_CHOICE=nginx`
//! compares only the sets that have that package.

mod deb_support;

use deb_support::Apt;
use providers::deb::solve::{Index, Options, Origin, solve};
use providers::deb::{RepositoryRef, Request, Universe, Variant, Wish};

fn universe(apt: &Apt) -> Universe {
    let indexes = apt.indexes().into_iter().map(|text| Index { repository: RepositoryRef::new("debian"), text });
    Universe::from_indexes(indexes.collect(), "amd64", &Options::default()).unwrap()
}

fn request(variant: Variant, names: &[&str], recommends: bool) -> Request {
    let install = names.iter().map(|name| Wish::parse(name, Origin::Requested).unwrap()).collect();
    Request { variant, install, remove: Vec::new(), recommends }
}

/// Ours as sorted `name=version`, and the wishes in the order in which apt has to be told.
fn ours(universe: &Universe, request: &Request) -> Vec<String> {
    let solution = solve(universe, request).unwrap_or_else(|error| panic!("{request:?}: {error}"));
    let shown = solution
        .packages
        .iter()
        .map(|chosen| format!("{}={}", universe.name(chosen.package), universe.version(chosen.package)));
    let mut shown: Vec<String> = shown.collect();
    shown.sort();
    shown
}

/// The roots of a variant by name, as apt would have to be told of them.
fn told(universe: &Universe, variant: Variant, names: &[&str]) -> Vec<String> {
    let mut essential = Vec::new();
    let mut others = Vec::new();
    let limit: &[&str] = match variant {
        Variant::Minbase => &["required"],
        Variant::Important => &["required", "important"],
        Variant::Standard => &["required", "important", "standard"],
        _ => &[],
    };
    let mut known: Vec<&str> = universe.package_names().collect();
    known.sort();
    if variant != Variant::Custom {
        for name in known {
            let package = universe.package(universe.candidate(name).unwrap()).unwrap();
            if package.essential {
                essential.push(name.to_owned());
            } else if limit.contains(&package.priority) || (name == "apt" && variant != Variant::Essential) {
                others.push(name.to_owned());
            }
        }
    }
    essential.into_iter().chain(others).chain(names.iter().map(|&name| name.to_owned())).collect()
}

const MINIMAL: &[&str] = &[
    "apt",
    "base-files",
    "bash",
    "dbus",
    "init",
    "iproute2",
    "iputils-ping",
    "less",
    "locales",
    "openssh-server",
    "procps",
    "sudo",
    "systemd-boot",
    "systemd-resolved",
    "systemd-timesyncd",
    "udev",
    "vim-tiny",
    "linux-image-cloud-amd64",
];

const SETS: &[&[&str]] = &[
    &[],
    MINIMAL,
    &["build-essential", "git", "python3-dev", "curl"],
    &["nginx", "ufw", "fail2ban", "unattended-upgrades"],
    &["postgresql", "postgresql-contrib"],
    &["exim4", "mailutils"],
    &["mutt"],
    &["emacs", "apache2", "php", "wordpress"],
    &["gnome-core"],
    &["task-kde-desktop", "libreoffice", "texlive-full"],
    &["xfce4", "lightdm", "network-manager-gnome", "firefox-esr"],
    &["default-jdk", "maven", "docker.io", "podman"],
    &["linux-image-amd64", "dracut", "grub-efi-amd64", "cryptsetup-initramfs"],
    &["sysvinit-core", "orphan-sysvinit-scripts"],
    &["systemd-cron", "rsyslog"],
    &["r-base", "octave", "jupyter-notebook"],
    &["qemu-system-x86", "libvirt-daemon-system", "virt-manager"],
    &["ubuntu-keyring", "debootstrap", "mmdebstrap", "live-build"],
    &["asterisk", "bind9", "dovecot-imapd", "postfix", "spamassassin"],
    &["games-arcade", "education-desktop-lxqt"],
];

fn compare(suite: &str) {
    let Some(apt) = Apt::of(suite) else { return };
    let universe = universe(&apt);
    let mut wrong = Vec::new();
    let mut compared = 0u32;
    let only = std::env::var("DEB_CHOICE").ok();
    for (at, set) in SETS.iter().enumerate() {
        // A release does not have every package of the list.
        let set: Vec<&str> = set.iter().copied().filter(|name| universe.candidate(name).is_some()).collect();
        if only.as_ref().is_some_and(|name| !set.contains(&name.as_str())) {
            continue;
        }
        // The variant matters little beside large sets, and each question takes apt seconds.
        let variants = if at < 3 { &[Variant::Minbase, Variant::Important][..] } else { &[Variant::Minbase] };
        for &variant in variants {
            for recommends in [false, true] {
                let theirs = match apt.choose(recommends, &told(&universe, variant, &set)) {
                    Ok(theirs) => theirs,
                    Err(complaint) => {
                        println!(
                            "{suite} {set:?} {variant:?}: apt finds nothing: {}",
                            complaint.lines().last().unwrap_or("")
                        );
                        continue;
                    }
                };
                let ours = ours(&universe, &request(variant, &set, recommends));
                let more: Vec<_> = ours.iter().filter(|name| !theirs.contains(name)).collect();
                let less: Vec<_> = theirs.iter().filter(|name| !ours.contains(name)).collect();
                compared += 1;
                if !more.is_empty() || !less.is_empty() {
                    let line = format!(
                        "{set:?} {variant:?} recommends={recommends} ({}): only ours {more:?}, only apt's {less:?}",
                        theirs.len()
                    );
                    println!("{suite}: {line}");
                    wrong.push(line);
                }
            }
        }
    }
    assert!(compared > 30 || only.is_some(), "only {compared} sets could be compared");
    println!("{suite}: {compared} sets compared");
    assert!(wrong.is_empty(), "{suite}: {} of {compared} differ:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn the_choice_on_debian_12_is_apts() {
    compare("bookworm");
}

#[test]
fn the_choice_on_debian_13_is_apts() {
    compare("trixie");
}

#[test]
fn the_referee_objects_to_another_choice() {
    let Some(apt) = Apt::of("bookworm") else { return };
    let universe = universe(&apt);
    let theirs = apt.choose(false, &told(&universe, Variant::Minbase, &["nginx"])).unwrap();
    assert_ne!(ours(&universe, &request(Variant::Minbase, &["nginx-full"], false)), theirs);
}

#[test]
#[ignore = "a measurement: run it in release with --nocapture"]
fn how_long_a_thousand_packages_take() {
    let Some(apt) = Apt::of("trixie") else { return };
    let texts = apt.indexes();
    let bytes: usize = texts.iter().map(Vec::len).sum();
    let start = std::time::Instant::now();
    let indexes = texts.into_iter().map(|text| Index { repository: RepositoryRef::new("debian"), text });
    let universe = Universe::from_indexes(indexes.collect(), "amd64", &Options::default()).unwrap();
    let indexed = start.elapsed();
    let start = std::time::Instant::now();
    let solution = solve(&universe, &request(Variant::Minbase, &["gnome-core", "linux-image-amd64"], true)).unwrap();
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let peak = status.lines().find(|line| line.starts_with("VmHWM")).unwrap();
    println!(
        "{bytes} bytes, {} packages: read in {indexed:?}, {} chosen in {:?}; {peak}",
        universe.len(),
        solution.packages.len(),
        start.elapsed(),
    );
}
