//! A disk of many partitions: judged by tools, then booted.

use std::collections::BTreeMap;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::machine::{Machine, PATIENT};
use crate::support::{User, composer, have, is_root, must, must_as, run, strict, workplace};

const USER: User = User::WithoutRange;
/// Kernels and their entries lie on XBOOTLDR, and where Debian's packages put them, on an ext4 /boot.
const DISK: &str = "
disk:
  size: 3GiB
  partitions:
    - { type: esp, size: 64MiB }
    - { type: xbootldr, size: fit }
    - { type: boot, size: fit, label: kernels }
    - { type: root, size: 50% }
    - { type: var, size: 400MiB, options: [noatime, nodev] }
    - { type: swap, size: 128MiB, name: spare }
    - { type: home, size: rest }
";

fn spec(key: &str) -> String {
    format!(
        "image: {{ name: several, base: {{ os: debian, version: 13 }} }}
kernel: {{ package: linux-image-cloud-amd64, cmdline: {PATIENT} }}{DISK}customizations:
  packages: {{ install: [openssh-server] }}
  users: [{{ name: debian, groups: [sudo], shell: /bin/bash, sudo: nopasswd, ssh_keys: [\"{key}\"] }}]
output: {{ format: [raw, vhd] }}
"
    )
}

/// The partitions of a disk in files of their own, by name.
fn taken_apart(disk: &Path, directory: &Path) -> BTreeMap<String, PathBuf> {
    let table: serde_json::Value = serde_json::from_str(&must(Command::new("sfdisk").arg("-J").arg(disk))).unwrap();
    let partitions = table["partitiontable"]["partitions"].as_array().unwrap();
    let take = |partition: &serde_json::Value| {
        let name = partition["name"].as_str().unwrap().to_owned();
        let file = directory.join(format!("{name}.part"));
        must(
            Command::new("dd")
                .arg(format!("if={}", disk.display()))
                .arg(format!("of={}", file.display()))
                .args(["bs=512", "conv=sparse", "status=none"])
                .arg(format!("skip={}", partition["start"]))
                .arg(format!("count={}", partition["size"])),
        );
        (name, file)
    };
    partitions.iter().map(take).collect()
}

/// Changes bytes of a file.
fn spoil(file: &Path, offset: u64) {
    let file = std::fs::OpenOptions::new().read(true).write(true).open(file).unwrap();
    let mut bytes = [0; 4];
    file.read_exact_at(&mut bytes, offset).unwrap();
    file.write_all_at(&bytes.map(|byte| byte ^ 0xff), offset).unwrap();
}

fn field(file: &Path, name: &str) -> String {
    let words = ["-p", "-o", "value", "-s", name];
    let output = run(Command::new("blkid").args(words).arg(file));
    output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned()).unwrap_or_default()
}

/// Whether a referee finds nothing wrong, and whether it objects once a byte is another.
fn judged(program: &str, words: &[&str], file: &Path, spoiled_at: u64) {
    must(Command::new(program).args(words).arg(file));
    spoil(file, spoiled_at);
    let objects = !Command::new(program).args(words).arg(file).output().unwrap().status.success();
    assert!(objects, "{program} says nothing of a spoiled {}", file.display());
    spoil(file, spoiled_at);
}

fn tools_find_nothing_wrong(disk: &Path, parts: &BTreeMap<String, PathBuf>) {
    let verdicts = || {
        let gdisk = must(Command::new("sgdisk").arg("-v").arg(disk));
        let fdisk = Command::new("sfdisk").arg("--verify").arg(disk).output().unwrap();
        let fdisk = String::from_utf8_lossy(&[fdisk.stdout, fdisk.stderr].concat()).into_owned();
        // sfdisk takes the backup, says so, and finds no errors in it.
        let fdisk_is_content = fdisk.contains("No errors detected") && !fdisk.contains("corrupt");
        (gdisk.contains("No problems found"), fdisk_is_content, gdisk + &fdisk)
    };
    let (gdisk, fdisk, text) = verdicts();
    assert!(gdisk && fdisk, "{text}");
    // An entry of the table: the type of the second partition.
    spoil(disk, 1024 + 128);
    let (gdisk, fdisk, text) = verdicts();
    assert!(!gdisk && !fdisk, "the referees say nothing of a spoiled table: {text}");
    spoil(disk, 1024 + 128);
    for (name, label, filesystem) in [
        ("esp", "ESP", "vfat"),
        ("xbootldr", "XBOOTLDR", "vfat"),
        ("boot", "kernels", "ext4"),
        ("root", "root", "ext4"),
        ("var", "var", "ext4"),
        ("spare", "swap", "swap"),
        ("home", "home", "ext4"),
    ] {
        let file = &parts[name];
        assert_eq!((field(file, "LABEL").as_str(), field(file, "TYPE").as_str()), (label, filesystem), "{name}");
        match filesystem {
            // The superblock's checksum does not hold; the backup of FAT32's boot sector is another.
            "ext4" => judged("e2fsck", &["-fn"], file, 1024 + 8),
            "vfat" => judged("fsck.fat", &["-n"], file, 0x47),
            _ => {
                spoil(file, 4090);
                assert_eq!(field(file, "TYPE"), "", "blkid takes anything for swap space");
                spoil(file, 4090);
            }
        }
    }
}

/// Every partition is in the table by the identifier that blkid reads.
fn table_names_what_is_there(parts: &BTreeMap<String, PathBuf>) {
    let table = must(Command::new("debugfs").args(["-R", "cat /etc/fstab"]).arg(&parts["root"]));
    let expected = [
        ("root", "/ ext4 errors=remount-ro 0 1"),
        ("boot", "/boot ext4 defaults 0 2"),
        ("esp", "/boot/efi vfat umask=0077 0 2"),
        ("xbootldr", "/boot/xbootldr vfat umask=0077 0 2"),
        ("home", "/home ext4 defaults,x-systemd.growfs 0 2"),
        ("var", "/var ext4 noatime,nodev 0 2"),
        ("spare", "none swap sw 0 0"),
    ];
    let lines: Vec<&str> = table.lines().filter(|line| !line.starts_with('#')).collect();
    let expected: Vec<String> =
        expected.iter().map(|(name, rest)| format!("UUID={} {rest}", field(&parts[*name], "UUID"))).collect();
    assert_eq!(lines, expected);
}

#[test]
fn many_partitions_are_whole_and_boot() {
    let tools = ["setpriv", "ssh-keygen", "sgdisk", "sfdisk", "e2fsck", "debugfs", "fsck.fat", "blkid", "qemu-img"];
    if !is_root() || !have(&tools) {
        println!("skipped: the suite must run as root to be other users");
        assert!(!strict(), "with CI set the suite must run as root");
        return;
    }
    let directory = workplace(USER, "partitions");
    let key = directory.join("key");
    must_as(USER, Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-C", "test", "-f"]).arg(&key));
    let public = std::fs::read_to_string(directory.join("key.pub")).unwrap();
    std::fs::write(directory.join("spec.yml"), spec(public.trim())).unwrap();
    let words = ["build", "spec.yml", "--output-dir", "output", "--rung", USER.rung(), "--progress", "plain"];
    println!("{}", must(&mut composer(USER, &directory, &words)));
    let disk = directory.join("output/several.raw");
    let parts = taken_apart(&disk, &directory);
    tools_find_nothing_wrong(&disk, &parts);
    table_names_what_is_there(&parts);
    // What is mounted over is empty below. (A booted system makes /var/tmp before it mounts /var.)
    for (part, directory) in [("root", "home"), ("root", "var"), ("root", "boot"), ("boot", "efi")] {
        let command = format!("ls -p /{directory}");
        let listed = must(Command::new("debugfs").args(["-R", &command]).arg(&parts[part]));
        let names = listed.lines().filter_map(|line| line.split('/').nth(5)).filter(|name| !name.is_empty());
        assert_eq!(names.collect::<Vec<_>>(), [".", ".."], "/{directory} of {part}");
    }
    for part in parts.values() {
        std::fs::remove_file(part).unwrap();
    }
    must(Command::new("sha256sum").args(["--quiet", "-c", "several.SHA256SUMS"]).current_dir(directory.join("output")));
    boots(&directory, &disk);
    // The same disk in the other file: the firmware and systemd-boot find the kernel there too.
    Machine::boot(&directory.join("output/several.vhd"), "vpc", &directory).wait_for("Linux version");
}

fn boots(directory: &Path, disk: &Path) {
    if !have(&["qemu-system-x86_64", "ssh"]) {
        return;
    }
    let overlay = directory.join("boot.qcow2");
    let create = ["create", "-q", "-f", "qcow2", "-F", "raw", "-b"];
    must(Command::new("qemu-img").args(create).arg(disk).arg(&overlay).arg("5G"));
    let key = directory.join("root-key");
    std::fs::copy(directory.join("key"), &key).unwrap();
    must(Command::new("chmod").arg("600").arg(&key));
    let mut machine = Machine::boot(&overlay, "qcow2", directory);
    machine.wait_for("login:");
    let mut ask = |command: &str| {
        let told = machine.ssh(&key, "debian", command);
        println!("$ {command}\n{told}");
        told
    };
    // The exit code of is-system-running is not 0 where a unit failed.
    let state = ask("systemctl is-system-running --wait; systemctl --failed --no-legend --plain");
    assert_eq!(state.trim(), "running", "units failed");
    let mounts = ask("findmnt --real -rn -o TARGET,FSTYPE,SOURCE");
    for (mount, filesystem, number) in [
        ("/", "ext4", 4),
        ("/boot", "ext4", 3),
        ("/boot/efi", "vfat", 1),
        ("/boot/xbootldr", "vfat", 2),
        ("/var", "ext4", 5),
        ("/home", "ext4", 7),
    ] {
        let line = format!("{mount} {filesystem} /dev/vda{number}");
        // The ESP and XBOOTLDR may be mounted by automount units too.
        assert!(mounts.lines().any(|known| known == line), "no {line:?} in:\n{mounts}");
    }
    let swaps = ask("/usr/sbin/swapon --show=NAME,TYPE,SIZE --noheadings --bytes");
    assert_eq!(swaps.split_whitespace().collect::<Vec<_>>(), ["/dev/vda6", "partition", "134213632"]);
    assert!(ask("findmnt -n -o OPTIONS /var").contains("nodev"));
    let size: u64 = ask("df --output=size -B1 /home | tail -1").trim().parse().unwrap();
    assert!(size > 2_500_000_000, "/home did not grow: {size}");
    assert!(ask("stat -c '%U %a' /home/debian /var/tmp").starts_with("debian 700\nroot 1777"));
    // Kernels to come are found by the loader: filed where the entry of this one was.
    let release = ask("uname -r").trim().to_owned();
    let remove = "sudo -n rm -r /boot/xbootldr/debian /boot/xbootldr/loader/entries";
    let add = format!("sudo -n kernel-install add {release} /boot/vmlinuz-{release} /boot/initrd.img-{release}");
    ask(&format!("{remove} && {add}"));
    let files = ask("sudo -n sh -c 'cd /boot/xbootldr && find . -type f | sort'");
    for file in [
        format!("./debian/{release}/initrd.img-{release}"),
        format!("./debian/{release}/linux"),
        format!("./loader/entries/debian-{release}.conf"),
        "./loader/entries.srel".to_owned(),
    ] {
        assert!(files.lines().any(|known| known == file), "no {file} in:\n{files}");
    }
    machine.ssh(&key, "debian", "sudo -n systemctl poweroff --no-block; true");
    machine.wait_for_end();
}
