//! A kernel that the image's own dpkg upgrades is the one that boots: what lies on the EFI system
//! partition is where the image's own kernel-install looks for it.
//!
//! The upgrade runs in the mounted disk, at the speed of this machine: inside an emulated one, the
//! initial ramdisk alone takes minutes.

use std::path::{Path, PathBuf};
use std::process::Command;

use providers::distro::Catalogue;
use providers::lock::Lock;

use crate::fidelity::referee::sources;
use crate::machine::{Machine, PATIENT};
use crate::support::{User, composer, have, is_root, must, must_as, strict, workplace};

/// The user that builds here.
const USER: User = User::WithoutRange;

/// Upgrades the kernel of a disk with the disk's own programs, as on the machine that it is of.
fn upgraded(disk: &Path, package: &Path, directory: &Path) -> String {
    let table: serde_json::Value = serde_json::from_str(&must(Command::new("sfdisk").arg("-J").arg(disk))).unwrap();
    let partitions = table["partitiontable"]["partitions"].as_array().unwrap();
    let place = |name: &str| {
        let partition = partitions.iter().find(|partition| partition["name"] == name).unwrap();
        ["start", "size"].map(|field| partition[field].as_u64().unwrap() * 512)
    };
    let ([root_start, root_size], [esp_start, _]) = (place("root"), place("esp"));
    let root = directory.join("root");
    let esp = directory.join("esp");
    must(Command::new("mkdir").args([&root, &esp]));
    let esp_in_disk = format!("{}@@{esp_start}", disk.display());
    // By mtools: not every kernel that tests run on has vfat.
    must(Command::new("mcopy").args(["-s", "-i", &esp_in_disk, "::/*"]).arg(&esp));
    // The mounts end with the namespace. A machine that runs has an identifier. What is bound is no
    // partition of type vfat, which bootctl(1) is told not to mind.
    let script = "set -e
        mount -o \"$2\" \"$1\" \"$4\"; mount --bind \"$3\" \"$4/boot/efi\"
        mount -t proc proc \"$4/proc\"; mount -t sysfs -o ro sys \"$4/sys\"; mount --rbind /dev \"$4/dev\"; mount -t tmpfs run \"$4/run\"
        cp \"$5\" \"$4/run/upgrade.deb\"
        chroot \"$4\" systemd-machine-id-setup
        chroot \"$4\" env PATH=/usr/sbin:/usr/bin:/sbin:/bin DEBIAN_FRONTEND=noninteractive SYSTEMD_RELAX_ESP_CHECKS=1 dpkg -i /run/upgrade.deb 2>&1
        sync";
    let mut command = Command::new("unshare");
    command.args(["--mount", "--pid", "--fork", "--kill-child", "sh", "-c", script, "sh"]).arg(disk);
    command.arg(format!("loop,offset={root_start},sizelimit={root_size}"));
    let told = must(command.arg(&esp).arg(&root).arg(package));
    for top in std::fs::read_dir(&esp).unwrap() {
        must(Command::new("mcopy").args(["-s", "-o", "-i", &esp_in_disk]).arg(top.unwrap().path()).arg("::/"));
    }
    told
}

/// A release and the names of its kernels for virtual machines.
struct Case {
    version: &'static str,
    kernels: &'static str,
}

impl Case {
    fn name(&self) -> String {
        format!("upgrade-{}", self.version)
    }

    fn spec(&self, kernel: &str, public_key: &str) -> String {
        format!(
            "image:
  name: {}
  base: {{ os: debian, version: {}, type: minimal }}
kernel: {{ package: {kernel}, cmdline: \"{PATIENT}\" }}
disk:
  size: 3GiB
  partitions: [{{ type: esp, size: 256MiB }}, {{ type: root, size: rest }}]
customizations:
  packages: {{ install: [openssh-server, ssl-cert] }}
  users:
    - {{ name: debian, groups: [sudo], shell: /bin/bash, sudo: nopasswd, ssh_keys: [\"{public_key}\"] }}
output: {{ format: raw }}
",
            self.name(),
            self.version
        )
    }

    /// Runs the program in the directory of this case.
    fn compose(&self, directory: &Path, words: &str) {
        println!("{}", must(&mut composer(USER, directory, &words.split(' ').collect::<Vec<_>>())));
    }

    fn holds(&self) {
        if !is_root() || !have(&["setpriv", "qemu-system-x86_64", "ssh", "apt-get", "sfdisk", "mcopy", "unshare"]) {
            println!("skipped: the suite must run as root to be other users");
            assert!(!strict(), "with CI set the suite must run as root");
            return;
        }
        let directory = workplace(USER, &self.name());
        let key = directory.join("key");
        must_as(USER, Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-C", "test", "-f"]).arg(&key));
        let public = std::fs::read_to_string(directory.join("key.pub")).unwrap();
        let write =
            |kernel: &str| std::fs::write(directory.join("spec.yml"), self.spec(kernel, public.trim())).unwrap();
        write("linux-image-cloud-amd64");
        self.compose(&directory, "lock spec.yml");
        let lock = Lock::read(&std::fs::read(directory.join("spec.lock")).unwrap()).unwrap();
        let kernels = self.kernels(&lock, &directory);
        let [.., (older, _), (newer, upgrade)] = kernels.as_slice() else { panic!("two kernels: {kernels:?}") };
        write(older);
        self.compose(&directory, "build spec.yml --no-image-cache --output-dir output --progress plain");

        let disk = directory.join("output").join(format!("{}.raw", self.name()));
        println!("{}", upgraded(&disk, upgrade, &directory));

        let root_key = directory.join("root-key");
        std::fs::copy(&key, &root_key).unwrap();
        must(Command::new("chmod").arg("600").arg(&root_key));
        let mut machine = Machine::boot(&disk, "raw", &directory);
        let release = machine.ssh(&root_key, "debian", "systemctl is-system-running --wait; uname -r");
        assert!(release.starts_with("running"), "the system is not whole: {release}");
        assert_eq!(format!("linux-image-{}", release.lines().last().unwrap()), *newer);
        // What the image must not have, this machine has made for itself.
        machine.ssh(&root_key, "debian", "sudo -n test -s /etc/ssl/private/ssl-cert-snakeoil.key");
        // Its own tools find both kernels where they file them.
        let entries = machine.ssh(&root_key, "debian", "sudo -n find /boot/efi/loader/entries -name '*.conf'");
        assert_eq!(entries.lines().count(), 2, "{entries}");
    }

    /// The release's kernels as apt sees them, oldest first, with the file of the newest.
    fn kernels(&self, lock: &Lock, directory: &Path) -> Vec<(String, PathBuf)> {
        let catalogue = Catalogue::embedded().unwrap();
        let distro = catalogue.find(&lock.os, &lock.os_version).unwrap();
        let apt = directory.join("apt");
        std::fs::create_dir_all(apt.join("lists/partial")).unwrap();
        std::fs::create_dir_all(apt.join("archives/partial")).unwrap();
        std::fs::write(apt.join("sources.list"), sources(lock, distro)).unwrap();
        std::fs::write(apt.join("status"), "").unwrap();
        let run = |program: &str, words: &[&str]| {
            let mut command = Command::new(program);
            command.current_dir(apt.join("archives"));
            for (name, value) in [
                ("Dir::Etc::sourcelist", "sources.list"),
                ("Dir::Etc::sourceparts", "none"),
                ("Dir::State::lists", "lists"),
                ("Dir::State::status", "status"),
                ("Dir::Cache", "."),
            ] {
                command.arg("-o").arg(format!("{name}={}", apt.join(value).display()));
            }
            must(command.args(["-o", "APT::Sandbox::User=root"]).args(words))
        };
        run("apt-get", &["-qq", "update"]);
        let names = run("apt-cache", &["pkgnames", self.kernels]);
        let mut versions = Command::new("sort");
        std::fs::write(apt.join("names"), names).unwrap();
        let names = must(versions.arg("-V").arg(apt.join("names")));
        let mut kernels: Vec<(String, PathBuf)> = names
            .lines()
            .filter(|name| name.ends_with("-cloud-amd64") && *name != "linux-image-6.12-cloud-amd64")
            .map(|name| (name.to_owned(), PathBuf::new()))
            .collect();
        let (newest, file) = kernels.last_mut().expect("a kernel");
        run("apt-get", &["-qq", "download", newest]);
        let found = std::fs::read_dir(apt.join("archives")).unwrap().filter_map(Result::ok).map(|entry| entry.path());
        let mut packages = found.filter(|path| path.extension().is_some_and(|kind| kind == "deb"));
        *file = packages.next().expect("a package file");
        kernels
    }
}

#[test]
fn a_kernel_upgraded_inside_debian_13_boots() {
    Case { version: "13", kernels: "linux-image-6.12." }.holds();
}

#[test]
fn a_kernel_upgraded_inside_debian_12_boots() {
    Case { version: "12", kernels: "linux-image-6.1.0-" }.holds();
}
