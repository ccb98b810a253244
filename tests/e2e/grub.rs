//! GRUB: one disk that starts under UEFI with Secure Boot, behind shim, and under a BIOS.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::machine::{Machine, PATIENT};
use crate::support::{User, composer, have, is_root, must, must_as, workplace};

const USER: User = User::WithoutRange;

/// An image with a /boot of its own or without, and the key for its user.
fn built(name: &str, disk: &str) -> Option<PathBuf> {
    if !is_root()
        || !have(&["ssh-keygen", "setpriv", "qemu-system-x86_64", "qemu-img", "ssh", "sgdisk", "sfdisk", "mcopy"])
    {
        println!("skipped: the suite must run as root to be other users");
        assert!(!crate::support::strict(), "with CI set the suite must run as root");
        return None;
    }
    let home = workplace(USER, name);
    let key = home.join("key");
    must_as(USER, Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-C", "test", "-f"]).arg(&key));
    let public = std::fs::read_to_string(home.join("key.pub")).unwrap();
    let spec = format!(
        "image: {{name: grub, base: {{os: debian, version: 13, type: minimal}}}}\n\
         kernel: {{package: linux-image-cloud-amd64, cmdline: {PATIENT}}}\nbootloader: grub\n{disk}\n\
         customizations:\n  hostname: grub\n  users:\n    - {{name: tester, groups: [sudo], shell: /bin/bash, \
         sudo: nopasswd, ssh_keys: [\"{}\"]}}\noutput: {{format: [raw, qcow2, vhd]}}\n",
        public.trim()
    );
    std::fs::write(home.join("spec.yml"), spec).unwrap();
    let words = ["build", "spec.yml", "--output-dir", "output", "--progress", "plain"];
    println!("{}", must(&mut composer(USER, &home, &words)));
    let root_key = home.join("root-key");
    std::fs::copy(&key, &root_key).unwrap();
    must(Command::new("chmod").arg("600").arg(&root_key));
    Some(home)
}

/// A disk over the finished file, which stays as it is.
fn over(home: &Path, format: &str, file: &str) -> PathBuf {
    let disk = home.join(format!("boot-{format}.qcow2"));
    must(
        Command::new("qemu-img")
            .args(["create", "-q", "-f", "qcow2", "-F", format, "-b"])
            .arg(home.join("output").join(file))
            .arg(&disk),
    );
    disk
}

/// The firmware refuses a shim of which one bit is another.
fn a_changed_shim_is_refused(home: &Path) {
    let disk = home.join("changed.raw");
    must(Command::new("cp").arg("--sparse=always").arg(home.join("output/grub.raw")).arg(&disk));
    let table: serde_json::Value = serde_json::from_str(&must(Command::new("sfdisk").arg("-J").arg(&disk))).unwrap();
    let start = table["partitiontable"]["partitions"][0]["start"].as_u64().unwrap() * 512;
    let (esp, shim) = (format!("{}@@{start}", disk.display()), home.join("shim.efi"));
    must(Command::new("mcopy").args(["-i", &esp, "::/EFI/BOOT/BOOTX64.EFI"]).arg(&shim));
    let mut bytes = std::fs::read(&shim).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&shim, bytes).unwrap();
    must(Command::new("mcopy").args(["-o", "-i", &esp]).arg(&shim).arg("::/EFI/BOOT/BOOTX64.EFI"));
    Machine::boot_secured(&disk, "raw", home).wait_for("Access Denied");
}

#[test]
fn a_disk_boots_under_uefi_and_under_a_bios() {
    let Some(home) = built("grub", "disk: {size: 2GiB}") else { return };
    must(Command::new("sgdisk").arg("-v").arg(home.join("output/grub.raw")));
    a_changed_shim_is_refused(&home);
    let key = home.join("root-key");
    let asked = "test -d /sys/firmware/efi && echo uefi || echo bios; systemctl is-system-running --wait; \
                 findmnt -no FSTYPE /boot/efi; systemctl --failed --no-legend";
    let mut machine = Machine::boot_secured(&over(&home, "qcow2", "grub.qcow2"), "qcow2", &home);
    assert_eq!(machine.ssh(&key, "tester", asked), "uefi\nrunning\nvfat\n");
    // Firmware, shim and GRUB have each asked for a signature: the variable's value behind its attributes.
    assert_eq!(machine.ssh(&key, "tester", "od -An -tu1 -j4 /sys/firmware/efi/efivars/SecureBoot-*").trim(), "1");
    // GRUB's own tools take over from us, and what they make boots too.
    let told = machine.ssh(
        &key,
        "tester",
        "sudo update-grub 2>&1; sudo grub-install --target=i386-pc /dev/vda 2>&1; sudo grub-install 2>&1; \
         grep -c menuentry /boot/grub/grub.cfg",
    );
    println!("{told}");
    assert_eq!(told.matches("No error reported").count(), 2, "{told}");
    machine.ssh(&key, "tester", "sudo systemctl poweroff --no-block; true");
    machine.wait_for_end();
    let mut machine = Machine::boot_by_bios(&home.join("boot-qcow2.qcow2"), "qcow2", &home);
    assert_eq!(machine.ssh(&key, "tester", asked), "bios\nrunning\nvfat\n");
    drop(machine);
    // The same disk in another file, as it was built: as far as GRUB finds the kernel.
    Machine::boot_by_bios(&over(&home, "vpc", "grub.vhd"), "qcow2", &home).wait_for("Linux version");
    Machine::boot(&over(&home, "vpc", "grub.vhd"), "qcow2", &home).wait_for("Linux version");
}

#[test]
fn grub_finds_a_boot_partition_of_its_own() {
    let disk = "disk: {partitions: [{type: esp, size: 64MiB}, {type: bios}, {type: boot, size: 256MiB}, {type: root, size: 2GiB}]}";
    let Some(home) = built("grub-boot", disk) else { return };
    Machine::boot_by_bios(&over(&home, "raw", "grub.raw"), "qcow2", &home).wait_for("Linux version");
    Machine::boot(&over(&home, "raw", "grub.raw"), "qcow2", &home).wait_for("Linux version");
}
