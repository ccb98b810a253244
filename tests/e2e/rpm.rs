//! Images of rpm packages, from the suite's own distribution of Azure Linux's shape: built by an
//! ordinary user, the same on both rungs, booted; and what is forged, refused.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use providers::distro::{Catalogue, Variant};

use crate::machine::{Machine, PATIENT};
use crate::rpm_distribution::publish::{self, EXPIRED, THEIRS};
use crate::rpm_distribution::{CORNERS, Distribution, TOOLS, get};
use crate::support::{User, as_user, composer, have, is_root, must, must_as, program, strict, workplace};

/// What a small system has beside the provider's defaults that the suite's distribution lacks.
pub const REMOVED: &str = "cloud-init, cloud-utils-growpart, dracut-hostonly, hyperv-daemons, shim, systemd-ukify";

/// The distribution, where it can be made and other users be told to use it.
pub fn ready() -> Option<&'static Distribution> {
    if !is_root() {
        println!("skipped: the suite must run as root to be other users");
        assert!(!strict(), "with CI set the suite must run as root");
        return None;
    }
    let tools = ["setpriv", "ssh-keygen", "ssh", "qemu-system-x86_64", "qemu-img"];
    (have(&tools) && have(TOOLS)).then(get)
}

/// A user's directory with the configuration that names a repository and the key of its owner.
pub fn site(user: User, name: &str, provider: &str, repository: &Path, key: &str, more: &str) -> PathBuf {
    let home = workplace(user, name);
    must_as(user, Command::new("mkdir").arg("-p").arg(home.join("config/image-composer")));
    fs::write(home.join("key.asc"), key).unwrap();
    let text = format!(
        "providers:\n  {provider}:\n    repositories:\n      - {{name: test, url: \"file:{}\", key: {}/key.asc{more}}}\n",
        repository.display(),
        home.display()
    );
    fs::write(home.join("config/image-composer/config.yaml"), text).unwrap();
    home
}

/// Runs the program; its exit code and what it said.
pub fn run(user: User, home: &Path, words: &[&str]) -> (Option<i32>, String) {
    let mut command = Command::new(program());
    command.args(words).args(["--progress", "plain"]).current_dir(home);
    command.env("XDG_CONFIG_HOME", home.join("config"));
    let output = as_user(user, &command).output().unwrap();
    let text = String::from_utf8_lossy(&[output.stderr, output.stdout].concat()).into_owned();
    println!("$ image-composer {}\n{text}", words.join(" "));
    (output.status.code(), text)
}

pub fn key_of(distribution: &Distribution) -> String {
    fs::read_to_string(distribution.key()).unwrap()
}

#[test]
fn an_azure_linux_is_the_same_on_both_rungs_and_boots() {
    let Some(distribution) = ready() else { return };
    let corners = CORNERS.join(", ");
    let mut images = Vec::new();
    let mut key = PathBuf::new();
    for user in [User::WithRange, User::WithoutRange] {
        let home = site(user, "rpm", "azurelinux", distribution.repository(), &key_of(distribution), "");
        if key.as_os_str().is_empty() {
            key = home.join("key");
            let words = ["-q", "-t", "ed25519", "-N", "", "-C", "test", "-f"];
            must_as(user, Command::new("ssh-keygen").args(words).arg(&key));
        }
        let public = fs::read_to_string(key.with_extension("pub")).unwrap();
        let spec = format!(
            "image: {{name: azl, base: {{os: azurelinux, version: \"3.0\", type: minimal}}}}\n\
             kernel: {{cmdline: {PATIENT}}}\n\
             disk: {{size: 2GiB, partitions: [{{type: esp, size: 128MiB}}, {{type: root, size: rest}}]}}\n\
             customizations:\n  hostname: azl\n  packages:\n    remove: [{REMOVED}]\n    \
             install: [dnf, rsyslog, sudo, systemd-timesyncd, vim-minimal, {corners}]\n  users:\n    \
             - {{name: tester, groups: [wheel], sudo: nopasswd, ssh_keys: [\"{}\"]}}\noutput: {{format: raw}}\n",
            public.trim()
        );
        fs::write(home.join("spec.yml"), spec).unwrap();
        let (code, text) = run(user, &home, &["build", "spec.yml", "--output-dir", "output"]);
        assert_eq!(code, Some(0), "{text}");
        images.push(home.join("output/azl.raw"));
    }
    must(Command::new("cmp").args(&images));
    boots(&images[1], &key);
}

/// With Secure Boot on, behind shim and GRUB as the packages put them onto the EFI system partition.
#[test]
fn an_azure_linux_starts_behind_shim_and_grub() {
    let Some(distribution) = ready() else { return };
    let user = User::WithoutRange;
    let home = site(user, "rpm-grub", "azurelinux", distribution.repository(), &key_of(distribution), "");
    // The suite's GRUB is Debian's, signed with what it has for a prefix; all else is as in our file.
    let ours = include_str!("../../providers/data/azurelinux-3.0.yaml");
    let theirs = ours.replace("prefix: /boot/grub2,", "prefix: /EFI/debian,");
    assert_ne!(ours, theirs);
    must_as(user, Command::new("mkdir").arg("-p").arg(home.join("config/image-composer/providers")));
    fs::write(home.join("config/image-composer/providers/azurelinux-3.0.yaml"), theirs).unwrap();
    let key = home.join("key");
    must_as(user, Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-C", "test", "-f"]).arg(&key));
    let public = fs::read_to_string(home.join("key.pub")).unwrap();
    let removed = REMOVED.replace("shim, ", "");
    let spec = format!(
        "image: {{name: azl, base: {{os: azurelinux, version: \"3.0\", type: minimal}}}}\n\
         kernel: {{cmdline: {PATIENT}}}\nbootloader: grub\n\
         disk: {{size: 2GiB, partitions: [{{type: esp, size: 128MiB}}, {{type: root, size: rest}}]}}\n\
         customizations:\n  hostname: azl\n  packages:\n    remove: [{removed}]\n    \
         install: [sudo, systemd-timesyncd]\n  users:\n    \
         - {{name: tester, groups: [wheel], sudo: nopasswd, ssh_keys: [\"{}\"]}}\noutput: {{format: raw}}\n",
        public.trim()
    );
    fs::write(home.join("spec.yml"), spec).unwrap();
    let (code, text) = run(user, &home, &["build", "spec.yml", "--output-dir", "output"]);
    assert_eq!(code, Some(0), "{text}");
    assert!(!text.contains("warning"), "{text}");
    let (image, root_key) = (home.join("output/azl.raw"), home.join("root-key"));
    fs::copy(&key, &root_key).unwrap();
    must(Command::new("chmod").arg("600").arg(&root_key));
    let disk = home.join("boot.qcow2");
    must(Command::new("qemu-img").args(["create", "-q", "-f", "qcow2", "-F", "raw", "-b"]).arg(&image).arg(&disk));
    let mut machine = Machine::boot_secured(&disk, "qcow2", &home);
    let told = machine.ssh(
        &root_key,
        "tester",
        "systemctl is-system-running --wait || systemctl --failed; \
         od -An -tu1 -j4 /sys/firmware/efi/efivars/SecureBoot-*; sudo -n ls /boot/grub2 /boot/efi/EFI/BOOT; \
         sudo -n rpm -V --nomtime shim grub2-efi-binary && echo as packaged",
    );
    let words: Vec<&str> = told.split_whitespace().collect();
    let expected = "running 1 /boot/efi/EFI/BOOT: BOOTX64.EFI grubx64.efi /boot/grub2: grub.cfg as packaged";
    assert_eq!(words.join(" "), expected, "{told}");
}

/// The image starts, answers, and its own package managers are content with it.
pub fn boots(image: &Path, key: &Path) {
    let work = image.parent().unwrap().parent().unwrap();
    let root_key = work.join("root-key");
    fs::copy(key, &root_key).unwrap();
    must(Command::new("chmod").arg("600").arg(&root_key));
    let disk = work.join("boot.qcow2");
    must(Command::new("qemu-img").args(["create", "-q", "-f", "qcow2", "-F", "raw", "-b"]).arg(image).arg(&disk));
    let mut machine = Machine::boot(&disk, "qcow2", work);
    machine.wait_for("azl login:");
    let state = machine.ssh(&root_key, "tester", "systemctl is-system-running --wait || systemctl --failed");
    assert_eq!(state.trim(), "running");
    let told = machine.ssh(
        &root_key,
        "tester",
        "rpm -qa | wc -l; rpm -q kernel openssh-server; sudo -n id -u; ls /etc/ssh/ssh_host_ed25519_key; \
         sudo dnf --quiet check && echo content; sudo rpm -V bash openssh-server sudo corner-caps corner-setuid corner-owned",
    );
    println!("{told}");
    let lines: Vec<&str> = told.lines().collect();
    assert!(lines[0].parse::<usize>().unwrap() > 200, "{told}");
    assert!(lines[1].starts_with("kernel-") && lines[2].starts_with("openssh-server-"), "{told}");
    assert_eq!(lines[3], "0", "{told}");
    assert_eq!(lines.last(), Some(&"content"), "rpm -V says nothing: {told}");
}

/// Edge Microvisor Toolkit, whose metadata is not signed, and CentOS Stream, whose database is elsewhere:
/// as far as the suite's distribution has their packages.
#[test]
fn the_other_distributions_compose() {
    let Some(distribution) = ready() else { return };
    let user = User::WithoutRange;
    let files = distribution.packages();
    let exists = |name: &str| {
        let is = |file: &PathBuf| {
            let file = file.file_name().unwrap().to_string_lossy().into_owned();
            file.rsplitn(3, '-').nth(2) == Some(name)
        };
        files.iter().any(is)
    };
    let catalogue = Catalogue::embedded().unwrap();
    for (os, version, database) in [("emt", "3.0", "./var/lib/rpm"), ("redhat", "10", "./usr/lib/sysimage/rpm")] {
        let home = workplace(user, "rpm-other");
        must_as(user, Command::new("mkdir").arg("-p").arg(home.join("config/image-composer")));
        fs::write(home.join("key.asc"), key_of(distribution)).unwrap();
        let mirror = distribution.repository().display();
        let text = format!("providers: {{{os}: {{mirror: \"file:{mirror}\", key: {}/key.asc}}}}\n", home.display());
        fs::write(home.join("config/image-composer/config.yaml"), text).unwrap();
        let wanted = catalogue.find(os, version).unwrap().default_packages(Variant::Minimal);
        let missing: Vec<String> = wanted.into_iter().filter(|name| !exists(name)).collect();
        let spec = format!(
            "image: {{name: other, base: {{os: {os}, version: \"{version}\"}}}}\nbootloader: none\n\
             customizations: {{packages: {{install: [filesystem, systemd, rpm], remove: [{}]}}}}\noutput: {{format: tar}}\n",
            missing.join(", ")
        );
        fs::write(home.join("spec.yml"), spec).unwrap();
        let (code, text) = run(user, &home, &["build", "spec.yml", "--output-dir", "output"]);
        assert_eq!(code, Some(0), "{os}: {text}");
        let listed = must(Command::new("tar").arg("-tf").arg(home.join("output/other.tar")));
        assert!(listed.lines().any(|line| line == format!("{database}/rpmdb.sqlite")), "{os}");
    }
}

/// A distribution of a test's own below a directory of a [`site`]: ours, under another name and with other
/// defaults, what somebody would write for their own.
pub fn acme(user: User, home: &Path) {
    let ours = include_str!("../../providers/data/azurelinux-3.0.yaml");
    let mut theirs = ours
        .replace("os: azurelinux", "os: acme")
        .replace("version: \"3.0\"", "version: \"1\"")
        .replace("aliases: [\"3\"]", "aliases: [roadrunner]")
        .replace("title: Azure Linux 3.0", "title: Acme Linux 1 (roadrunner)");
    let packages = theirs.find("    packages: [azurelinux-release").unwrap();
    let end = theirs[packages..].find('\n').unwrap() + packages;
    theirs.replace_range(packages..end, "    packages: [azurelinux-release, bash, coreutils, filesystem, rpm]");
    must_as(user, Command::new("mkdir").arg("-p").arg(home.join("config/image-composer/providers")));
    fs::write(home.join("config/image-composer/providers/acme-1.yaml"), theirs).unwrap();
}

#[test]
fn a_fourth_distribution_is_a_file() {
    let Some(distribution) = ready() else { return };
    let user = User::WithoutRange;
    let home = site(user, "rpm-fourth", "acme", distribution.repository(), &key_of(distribution), "");
    acme(user, &home);
    fs::write(
        home.join("spec.json"),
        "{\"distro\": \"Acme\", \"version\": \"roadrunner\", \"arch\": \"x86_64\", \"packages\": [\"vim-minimal\"], \
         \"output\": \"tar\"}",
    )
    .unwrap();
    let (code, text) = run(user, &home, &["build", "spec.json", "--output-dir", "output"]);
    assert_eq!(code, Some(0), "{text}");
    let tar = home.join("output/acme-roadrunner.tar");
    let listed = must(Command::new("tar").arg("-tf").arg(&tar));
    for path in ["./usr/bin/bash", "./usr/bin/vi", "./var/lib/rpm/rpmdb.sqlite"] {
        assert!(listed.lines().any(|line| line == path), "no {path}");
    }
    let (code, text) = run(user, &home, &["why", "filesystem", "spec.json"]);
    assert!(code == Some(0) && text.contains("default packages"), "{text}");
}

#[test]
fn what_is_forged_is_refused() {
    let Some(distribution) = ready() else { return };
    let user = User::WithoutRange;
    let above = PathBuf::from("/var/tmp/image-composer-rpm-forged");
    must(Command::new("rm").arg("-rf").arg(&above));
    fs::create_dir_all(&above).unwrap();
    let tried = |name: &str, forge: &dyn Fn(&Distribution), key: &str, more: &str| {
        let forged = distribution.copied(&above.join(name));
        forge(&forged);
        must(Command::new("chmod").args(["-R", "a+rX"]).arg(forged.repository()));
        let home = site(user, "rpm-forged", "azurelinux", forged.repository(), key, more);
        let spec = format!(
            "image: {{name: small, base: {{os: azurelinux, version: \"3.0\"}}}}\nbootloader: none\n\
             customizations: {{packages: {{install: [corner-empty], remove: [{REMOVED}]}}}}\noutput: {{format: tar}}\n"
        );
        fs::write(home.join("spec.yml"), spec).unwrap();
        // What is in the cache is not asked for again.
        let _ = fs::remove_dir_all(user.home().join(".cache/image-composer/cache/packages"));
        let answer = run(user, &home, &["build", "spec.yml", "--stage", "packages", "--output-dir", "output"]);
        assert_eq!(home.join("output/small.lock").exists(), answer.0 == Some(0), "{}", answer.1);
        answer
    };
    let own = key_of(distribution);
    let refused = |name: &str, forge: &dyn Fn(&Distribution), key: &str, more: &str, said: &[&str]| {
        let (code, text) = tried(name, forge, key, more);
        assert_eq!(code, Some(4), "{name}: {text}");
        for words in said {
            assert!(text.contains(words), "{name}: no {words:?} in:\n{text}");
        }
    };
    let package = |forged: &Distribution| forged.repository().join("Packages/c/corner-empty-1.0-1.azl3.noarch.rpm");
    let reindex = |forged: &Distribution| {
        publish::index(forged.home(), forged.repository(), "gz");
        publish::sign_metadata(forged.home(), forged.repository(), publish::OURS);
    };
    let (code, text) = tried("good", &|_| (), &own, "");
    assert_eq!(code, Some(0), "the control: {text}");
    let strangers = |forged: &Distribution| publish::sign_metadata(forged.home(), forged.repository(), THEIRS);
    refused("strangers", &strangers, &own, "", &["test", "key"]);
    let unsigned =
        |forged: &Distribution| fs::remove_file(forged.repository().join("repodata/repomd.xml.asc")).unwrap();
    refused("unsigned", &unsigned, &own, "", &["signature"]);
    // The user may say that only packages are signed, which is then enough.
    let (code, text) = tried("packages-alone", &unsigned, &own, ", repo_gpgcheck: false");
    assert_eq!(code, Some(0), "{text}");
    // Such metadata may say that nothing requires anything, but the packages are asked too.
    let lying = |forged: &Distribution| {
        let script = "cd \"$1/repodata\"; zcat *-primary.xml.gz | sed '/<rpm:requires>/,/<.rpm:requires>/d' > primary.xml; \
                      modifyrepo_c --mdtype primary primary.xml . > modified; rm primary.xml modified repomd.xml.asc";
        must(Command::new("sh").args(["-ec", script, "sh"]).arg(forged.repository()));
    };
    let said = ["which nothing among the packages provides", "do not use the repository"];
    refused("lying", &lying, &own, ", repo_gpgcheck: false", &said);
    let resigned = |forged: &Distribution| {
        publish::resign(forged.home(), &package(forged), THEIRS);
        reindex(forged);
    };
    refused("resigned", &resigned, &own, "", &["corner-empty", "verify"]);
    let expired = |forged: &Distribution| {
        publish::resign(forged.home(), &package(forged), EXPIRED);
        reindex(forged);
    };
    let both = own.clone() + &publish::key(distribution.home(), EXPIRED);
    refused("expired", &expired, &both, "", &["corner-empty", "expired"]);
    // Another package of the same signer under this one's name, and metadata that hides it.
    let swapped = |forged: &Distribution| {
        let other = fs::read_dir(forged.repository().join("Packages/c")).unwrap().filter_map(Result::ok);
        let other = other
            .map(|entry| entry.path())
            .find(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("corner-config-")));
        let bytes = fs::read(other.unwrap()).unwrap();
        fs::remove_file(package(forged)).unwrap();
        fs::write(package(forged), bytes).unwrap();
    };
    refused("swapped", &swapped, &own, "", &["corner-empty"]);
    let cut = |forged: &Distribution| {
        let bytes = fs::read(package(forged)).unwrap();
        fs::remove_file(package(forged)).unwrap();
        fs::write(package(forged), &bytes[..bytes.len() - 7]).unwrap();
    };
    refused("cut", &cut, &own, "", &["corner-empty"]);
    must(Command::new("rm").arg("-rf").arg(&above));
}

#[test]
fn what_the_image_cannot_have_is_explained() {
    let Some(distribution) = ready() else { return };
    let user = User::WithoutRange;
    let home = site(user, "rpm-wrong", "azurelinux", distribution.repository(), &key_of(distribution), "");
    let spec = |install: &str| {
        format!(
            "image: {{name: small, base: {{os: azurelinux, version: \"3.0\"}}}}\nbootloader: none\n\
             customizations: {{packages: {{install: [{install}], remove: [{REMOVED}]}}}}\noutput: {{format: tar}}\n"
        )
    };
    fs::write(home.join("spec.yml"), spec("vim-minimla")).unwrap();
    let (code, text) = run(user, &home, &["build", "spec.yml", "--stage", "packages"]);
    assert_eq!(code, Some(4), "{text}");
    assert!(text.contains("Package not found: 'vim-minimla'; did you mean 'vim-minimal'"), "{text}");
    let mut command = composer(user, &home, &["validate", "spec.yml"]);
    must(command.env("XDG_CONFIG_HOME", home.join("config")));
}
