//! Debian's packages: which ones, from where the machine's own apt has them, and what is in one.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::support::must;

/// What is asked of apt for; the rest follows.
const WANTED: &str = "base-passwd bash coreutils libc-bin diffutils findutils grep gzip hostname login ncurses-base \
    ncurses-bin sed tar util-linux util-linux-extra mount bsdutils fdisk systemd systemd-sysv systemd-boot udev dbus \
    openssh-server openssh-client sudo dracut linux-image-cloud-amd64 iproute2 iputils-ping procps kmod e2fsprogs \
    dosfstools less vim-tiny rpm dnf systemd-resolved systemd-timesyncd ca-certificates libpam-runtime \
    libpam-systemd libnss-systemd passwd debianutils mawk cpio logrotate cron tzdata netbase readline-common \
    cryptsetup-bin efibootmgr shim-signed grub-efi-amd64-signed curl wget file xz-utils zstd bzip2 gnupg rsyslog \
    polkitd cloud-guest-utils tpm2-tools strace psmisc libcap2-bin tmux lsof nftables gdisk perl-base";

/// The packages of the machine's own release that a system needs.
pub struct Closure {
    /// One line for each: the file's name, its size and its digest.
    pub listed: Vec<String>,
}

impl Closure {
    /// Asks apt, as on a machine where nothing is installed.
    pub fn resolve(work: &Path) -> Self {
        let text = must(apt(work).arg("--print-uris").args(WANTED.split_whitespace()));
        let mut listed: Vec<String> =
            text.lines().filter_map(|line| Some(line.split_once(' ')?.1.to_owned())).collect();
        listed.sort();
        assert!(listed.len() > 140, "apt knows no more than {} packages: run apt-get update", listed.len());
        Self { listed }
    }

    /// Downloads them.
    pub fn download(&self, work: &Path) -> Vec<PathBuf> {
        must(apt(work).arg("--download-only").args(WANTED.split_whitespace()));
        let name = |line: &String| line.split(' ').next().unwrap().to_owned();
        self.listed.iter().map(|line| work.join("archives").join(name(line))).collect()
    }
}

fn apt(work: &Path) -> Command {
    fs::create_dir_all(work.join("archives/partial")).unwrap();
    fs::write(work.join("status"), "").unwrap();
    let mut apt = Command::new("apt-get");
    let mut option = |name: &str, value: &str| {
        apt.arg("-o").arg(format!("{name}={value}"));
    };
    option("Dir::State::status", &work.join("status").display().to_string());
    option("Dir::Cache::archives", &work.join("archives").display().to_string());
    option("APT::Install-Recommends", "false");
    option("APT::Sandbox::User", "");
    option("Debug::NoLocking", "true");
    apt.args(["--yes", "-qq", "install"]);
    apt
}

/// One file of a package.
pub struct Entry {
    /// With a leading slash, as the package has it.
    pub path: String,
    pub kind: tar::EntryType,
    pub mode: u32,
    pub owner: String,
    pub group: String,
}

/// A package that has been read.
pub struct Deb {
    pub fields: BTreeMap<String, String>,
    pub conffiles: Vec<String>,
    tar: Vec<u8>,
}

impl Deb {
    pub fn read(file: &Path) -> Self {
        let control = must(Command::new("dpkg-deb").arg("-f").arg(file));
        let mut fields = BTreeMap::new();
        let mut last = String::new();
        for line in control.lines() {
            match line.split_once(':') {
                Some((name, value)) if !line.starts_with(' ') => {
                    last = name.to_owned();
                    fields.insert(last.clone(), value.trim().to_owned());
                }
                _ => fields.get_mut(&last).unwrap().push_str(line),
            }
        }
        let conffiles = Command::new("dpkg-deb").arg("-I").arg(file).arg("conffiles").output().unwrap();
        let conffiles = String::from_utf8_lossy(&conffiles.stdout);
        let tar = Command::new("dpkg-deb").arg("--fsys-tarfile").arg(file).output().unwrap();
        assert!(tar.status.success(), "{}", file.display());
        Self { fields, conffiles: conffiles.lines().map(|line| line.trim().to_owned()).collect(), tar: tar.stdout }
    }

    pub fn field(&self, name: &str) -> &str {
        self.fields.get(name).map_or("", String::as_str)
    }

    pub fn name(&self) -> &str {
        self.field("Package")
    }

    /// In bytes, unpacked.
    pub fn size(&self) -> usize {
        self.tar.len()
    }

    /// What the package's tree holds.
    pub fn entries(&self) -> Vec<Entry> {
        let mut archive = tar::Archive::new(self.tar.as_slice());
        let entries = archive.entries().unwrap().map(|entry| {
            let entry = entry.unwrap();
            let header = entry.header();
            let path = entry.path().unwrap().to_string_lossy().into_owned();
            Entry {
                path: path.strip_prefix('.').unwrap_or(&path).trim_end_matches('/').to_owned(),
                kind: header.entry_type(),
                mode: header.mode().unwrap() & 0o7777,
                owner: header.username().unwrap().unwrap_or("root").to_owned(),
                group: header.groupname().unwrap().unwrap_or("root").to_owned(),
            }
        });
        entries.filter(|entry| !entry.path.is_empty()).collect()
    }

    /// Unpacks the tree, owners apart, which a spec says.
    pub fn unpack(&self, root: &Path) {
        let mut child = Command::new("tar")
            .args(["-x", "--no-same-owner", "--delay-directory-restore", "-C"])
            .arg(root)
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(&self.tar).unwrap();
        assert!(child.wait().unwrap().success(), "{}", self.name());
    }

    /// One file's content.
    pub fn content(&self, path: &str) -> Vec<u8> {
        let mut archive = tar::Archive::new(self.tar.as_slice());
        for entry in archive.entries().unwrap() {
            let mut entry = entry.unwrap();
            if entry.path().unwrap().to_string_lossy().trim_start_matches('.') == path {
                let mut content = Vec::new();
                entry.read_to_end(&mut content).unwrap();
                return content;
            }
        }
        panic!("{} has no {path}", self.name());
    }
}
