use super::*;
use crate::repository::Repository;

#[test]
fn every_embedded_file_is_good() {
    let catalogue = Catalogue::embedded().unwrap();
    let name = |distro: &Distro| format!("{} {}", distro.os, distro.version);
    let (rpm, deb): (Vec<_>, Vec<_>) = catalogue.distros().partition(|distro| distro.family == Family::Rpm);
    let names = |distros: &[&Distro]| distros.iter().map(|distro| name(distro)).collect::<Vec<_>>();
    assert_eq!(names(&deb), ["debian 12", "debian 13", "elxr 12", "elxr 13", "ubuntu 22.04", "ubuntu 24.04"]);
    assert_eq!(names(&rpm), ["azurelinux 3.0", "emt 3.0", "redhat 10"]);
    for distro in catalogue.described() {
        assert!(distro.variants.contains_key(&Variant::Minimal) && distro.variants.contains_key(&Variant::Server));
        assert!(distro.default_packages(Variant::Server).is_superset(&distro.default_packages(Variant::Minimal)));
        for (architecture, facts) in &distro.architectures {
            assert!(distro.kernel.matches(&facts.kernel), "{} {architecture}", distro.title);
            assert!(distro.loader_path(architecture).unwrap().ends_with(&format!("{}.efi", facts.efi_suffix)));
        }
        // A comma is YAML's, too.
        assert!(distro.boot.cmdline.iter().any(|word| word == "console=ttyS0,115200"), "{}", distro.title);
        for cloud in distro.kernel.cloud.values() {
            assert!(distro.kernel.matches(cloud));
        }
    }
}

#[test]
fn the_pinned_keys_are_in_the_key_files() {
    let catalogue = Catalogue::embedded().unwrap();
    for distro in catalogue.described() {
        for facts in &distro.repositories {
            match catalogue.keyring(distro, facts) {
                Ok(keyring) => {
                    assert_eq!(keyring.fingerprints().count(), facts.fingerprints.len());
                    assert_eq!(distro.family, Family::Deb);
                    let repository = Repository::from_facts(facts, keyring).unwrap();
                    assert_eq!(repository.sources().len(), 1);
                }
                Err(error) => {
                    assert!(["azurelinux", "elxr", "emt", "redhat"].contains(&distro.os.as_str()), "{error}");
                    let hint = error.hint().unwrap();
                    let published = facts.key_url.as_deref().unwrap();
                    assert!(published.starts_with("https://") && hint.contains(published), "{hint}");
                    assert!(hint.contains(&format!("providers.{}", distro.os)), "{hint}");
                }
            }
        }
    }
}

#[test]
fn a_key_file_without_the_pinned_key_is_refused() {
    let catalogue = Catalogue::embedded().unwrap();
    let distro = catalogue.find("debian", "13").unwrap();
    let mut facts = distro.repositories[0].clone();
    facts.fingerprints = ["F6ECB3762474EDA9D21B7022871920D1991BC93C".to_owned()].into();
    assert!(matches!(catalogue.keyring(distro, &facts), Err(Error::Key { .. })));
}

#[test]
fn releases_are_found_by_each_of_their_names() {
    let catalogue = Catalogue::embedded().unwrap();
    assert_eq!(catalogue.find("debian", "trixie").unwrap().version, "13");
    assert_eq!(catalogue.find("ubuntu", "22.04").unwrap().title, "Ubuntu 22.04 (jammy)");
    let error = catalogue.find("debian", "11").unwrap_err();
    assert_eq!(error.to_string(), "find version '11' of the provider 'debian'");
    assert_eq!(error.hint().unwrap(), "known versions of debian: 12, 13");
    let error = catalogue.find("arch", "1").unwrap_err();
    assert_eq!(error.hint().unwrap(), "known providers: azurelinux, debian, elxr, emt, redhat, ubuntu");
    let error = catalogue.find("debian", "13").unwrap().architecture(&"riscv64".parse().unwrap()).unwrap_err();
    assert_eq!(error.hint().unwrap(), "it exists for amd64, arm64");
}

#[test]
fn releases_of_rpm_packages_are_found_too() {
    let catalogue = Catalogue::embedded().unwrap();
    assert_eq!(catalogue.find("azurelinux", "3").unwrap().version, "3.0");
    // Its GRUB is found as the packages lay it, and reads its configuration where the signed image looks.
    let grub = &catalogue.find("azurelinux", "3.0").unwrap().boot.grub[&"x86_64".parse().unwrap()];
    assert_eq!((grub.configuration().as_str(), grub.home().as_str()), ("boot/grub2/grub.cfg", "boot/grub2"));
    let grub = &catalogue.find("redhat", "10").unwrap().boot.grub[&"aarch64".parse().unwrap()];
    assert_eq!((grub.configuration().as_str(), grub.below_boot()), ("EFI/centos/grub.cfg", "grub2"));
    let grub = &catalogue.find("debian", "13").unwrap().boot.grub[&"amd64".parse().unwrap()];
    assert_eq!((grub.configuration().as_str(), grub.home().as_str()), ("EFI/debian/grub.cfg", "boot/grub"));
    assert!(matches!(catalogue.find("azurelinux", "4.0"), Err(Error::UnknownVersion { .. })));
}

#[test]
fn rpm_repositories_are_of_one_architecture() {
    use crate::rpm::repository::{Error, Repository};
    let catalogue = Catalogue::embedded().unwrap();
    let distro = catalogue.described().find(|distro| distro.os == "azurelinux").unwrap();
    let debian = catalogue.find("debian", "13").unwrap();
    let keys = || catalogue.keyring(debian, &debian.repositories[0]).unwrap();
    let mut facts = distro.repositories[0].clone();
    facts.mirrorlist = Some("https://example.org/list?arch={arch}".into());
    let repository = Repository::from_facts(&facts, &"aarch64".parse().unwrap(), keys()).unwrap();
    assert_eq!(repository.describe(), "https://packages.microsoft.com/azurelinux/3.0/prod/base/aarch64");
    assert!(format!("{:?}", repository.list).contains("arch=aarch64"));
    assert!(repository.metadata_keys().unwrap().is_some() && repository.package_keys().is_some());
    let emt = catalogue.described().find(|distro| distro.os == "emt").unwrap();
    let mut repository = Repository::from_facts(&emt.repositories[0], &"x86_64".parse().unwrap(), keys()).unwrap();
    assert!(repository.metadata_keys().unwrap().is_none() && repository.package_keys().is_some());
    assert!(repository.describe().ends_with(" (metadata unsigned)"));
    repository.gpgcheck = false;
    assert!(matches!(repository.metadata_keys(), Err(Error::Unprotected { .. })));
    assert_eq!(distro.network_match, "e*");
    assert_eq!(debian.network_match, "en*");
}

#[test]
fn repositories_are_described_as_their_family_has_them() {
    let deb = include_str!("../../data/debian-13.yaml");
    let rpm = include_str!("../../data/azurelinux-3.0.yaml");
    for (text, from, to) in [
        (deb, "    components: [main", "    gpgcheck: false\n    components: [main"),
        (deb, "    components: [main", "    metalink: https://example.org/m\n    components: [main"),
        (deb, "net/debian\n", "net/debian/{arch}\n"),
        (rpm, "    keys:", "    suites: [x]\n    keys:"),
        (rpm, "    keys:", "    components: [x]\n    keys:"),
        (rpm, "    keys:", "    metalink: ftp://example.org/m\n    keys:"),
        (rpm, "    keys:", "    gpgcheck: false\n    repo_gpgcheck: false\n    keys:"),
        (rpm, "    keys:", "    mirror: { os: x, releases: [x], suffixes: [''] }\n    keys:"),
    ] {
        assert!(text.contains(from), "{from}");
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("x.yaml"), text.replacen(from, to, 1)).unwrap();
        let mut catalogue = Catalogue::embedded().unwrap();
        assert!(catalogue.add_directory(directory.path()).is_err(), "{to}");
    }
}

#[test]
fn arm64_ubuntu_comes_from_the_ports() {
    let catalogue = Catalogue::embedded().unwrap();
    let distro = catalogue.find("ubuntu", "noble").unwrap();
    let ids = |name: &str| -> Vec<String> {
        let architecture: Architecture = name.parse().unwrap();
        distro.repositories_for(&architecture).map(|facts| facts.id.to_string()).collect()
    };
    assert_eq!(ids("amd64"), ["ubuntu", "ubuntu-security"]);
    assert_eq!(ids("arm64"), ["ubuntu-ports"]);
}

#[test]
fn a_directory_adds_and_replaces() {
    let directory = tempfile::tempdir().unwrap();
    let text = include_str!("../../data/debian-13.yaml");
    let mine = text
        .replace("os: debian\nversion: \"13\"", "os: mine\nversion: \"7\"")
        .replace("keys: debian.asc", "keys: mine.asc");
    std::fs::write(directory.path().join("mine.yaml"), mine).unwrap();
    std::fs::write(directory.path().join("debian.yml"), text.replace("title: Debian 13", "title: Our Debian 13"))
        .unwrap();
    std::fs::write(directory.path().join("notes.txt"), "not a provider").unwrap();
    let mut catalogue = Catalogue::embedded().unwrap();
    catalogue.add_directory(directory.path()).unwrap();
    catalogue.add_directory(&directory.path().join("nothing")).unwrap();
    assert!(catalogue.find("debian", "13").unwrap().title.starts_with("Our"));
    let mine = catalogue.find("mine", "7").unwrap().clone();
    assert!(matches!(catalogue.keyring(&mine, &mine.repositories[0]), Err(Error::NoKey { .. })));
    std::fs::create_dir(directory.path().join("keys")).unwrap();
    std::fs::write(directory.path().join("keys/mine.asc"), include_str!("../../data/keys/debian.asc")).unwrap();
    assert!(catalogue.keyring(&mine, &mine.repositories[0]).is_ok());
}

#[test]
fn files_with_faults_are_refused() {
    let text = include_str!("../../data/debian-13.yaml");
    for (from, to) in [
        ("format: 1", "format: 2"),
        ("family: deb", "family: pacman"),
        ("title:", "titel:"),
        ("keys: debian.asc", "keys: ../debian.asc"),
        ("https://cloudfront", "ftp://cloudfront"),
        ("suites: [trixie, trixie-updates]", "suites: []"),
        ("rule: empty", "rule: forget"),
        ("path: /etc/machine-id", "path: etc/machine-id"),
        ("path: /etc/machine-id", "path: /etc/../machine-id"),
        ("path: /etc/machine-id", "path: /*/machine-id"),
        ("path: /etc/postgresql-common", "path: etc/postgresql-common"),
        ("path: /etc/postgresql-common", "path: /etc/../postgresql-common"),
        ("package: postgresql-common", "package: ''"),
        ("os: debian\n", "os: debian\nos: other\n"),
    ] {
        assert!(text.contains(from), "{from}");
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("x.yaml"), text.replacen(from, to, 1)).unwrap();
        let mut catalogue = Catalogue::embedded().unwrap();
        assert!(catalogue.add_directory(directory.path()).is_err(), "{to}");
    }
}

#[test]
fn path_patterns() {
    let pattern = |text: &str| PathPattern::try_from(text.to_owned()).unwrap();
    let keys = pattern("/etc/ssh/ssh_host_*");
    assert!(keys.matches(b"etc/ssh/ssh_host_rsa_key") && keys.matches(b"etc/ssh/ssh_host_"));
    assert!(!keys.matches(b"etc/ssh/ssh_host_x/y") && !keys.matches(b"etc/ssh/sshd_config"));
    assert_eq!(keys.directory(), "etc/ssh");
    assert!(pattern("/etc/machine-id").matches(b"etc/machine-id"));
    assert!(!pattern("/etc/machine-id").matches(b"etc/machine-id2"));
    let old = pattern("/var/lib/dpkg/*-old");
    assert!(old.matches(b"var/lib/dpkg/status-old") && !old.matches(b"var/lib/dpkg/old"));
    assert!(!pattern("/a/aba*aba").matches(b"a/aba"));
    assert_eq!(pattern("/x").directory(), "");
}

/// The ext4 facts are those of the machine's own mke2fs.conf where the machine is that release.
#[test]
fn ext4_facts_agree_with_the_machines_mke2fs() {
    let (Ok(release), Ok(conf)) =
        (std::fs::read_to_string("/etc/os-release"), std::fs::read_to_string("/etc/mke2fs.conf"))
    else {
        eprintln!("skipped: no mke2fs.conf here");
        return;
    };
    let field = |name: &str| {
        let line = release.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
        line.trim_matches('"').to_owned()
    };
    let catalogue = Catalogue::embedded().unwrap();
    let Ok(distro) = catalogue.find(&field("ID="), &field("VERSION_ID=")) else {
        eprintln!("skipped: no facts about this machine's release");
        return;
    };
    let mut features: Vec<&str> = Vec::new();
    let mut section = "";
    for line in conf.lines().map(str::trim) {
        if let Some(name) = line.strip_suffix("= {") {
            section = name.trim();
        }
        if let Some(list) = line.strip_prefix("base_features = ") {
            features.extend(list.split(','));
        }
        if section == "ext4"
            && let Some(list) = line.strip_prefix("features = ")
        {
            features.extend(list.split(','));
        }
    }
    features.sort();
    assert_eq!(features, distro.ext4.features.iter().map(String::as_str).collect::<Vec<_>>());
}
