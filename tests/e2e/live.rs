//! A live image comes to a login from a disc and from a USB stick.

use std::path::PathBuf;
use std::process::Command;

use crate::machine::{Firmware, Machine, Medium, PATIENT};
use crate::support::{User, composer, have, is_root, must, must_as, workplace};

const USER: User = User::WithoutRange;

fn built(bootloader: &str) -> Option<PathBuf> {
    if !is_root() || !have(&["ssh-keygen", "setpriv", "qemu-system-x86_64", "ssh", "xorriso", "sgdisk"]) {
        println!("skipped: the suite must run as root to be other users");
        assert!(!crate::support::strict(), "with CI set the suite must run as root");
        return None;
    }
    let home = workplace(USER, &format!("live-{bootloader}"));
    let key = home.join("key");
    must_as(USER, Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-C", "test", "-f"]).arg(&key));
    let public = std::fs::read_to_string(home.join("key.pub")).unwrap();
    // The kernel for clouds has no driver for USB.
    let spec = format!(
        "image: {{name: live, base: {{os: debian, version: 13, type: minimal}}}}\n\
         kernel: {{package: linux-image-amd64, cmdline: {PATIENT}}}\nbootloader: {bootloader}\n\
         customizations:\n  users:\n    - {{name: tester, groups: [sudo], shell: /bin/bash, sudo: nopasswd, \
         ssh_keys: [\"{}\"]}}\noutput: {{format: iso}}\n",
        public.trim()
    );
    std::fs::write(home.join("spec.yml"), spec).unwrap();
    let words = ["build", "spec.yml", "--output-dir", "output", "--progress", "plain"];
    println!("{}", must(&mut composer(USER, &home, &words)));
    let root_key = home.join("root-key");
    std::fs::copy(&key, &root_key).unwrap();
    must(Command::new("chmod").arg("600").arg(&root_key));
    let table = must(Command::new("sgdisk").arg("-v").arg(home.join("output/live.iso")));
    assert!(table.contains("No problems found"), "{table}");
    let seen = must(&mut composer(USER, &home, &["inspect", "output/live.iso"]));
    assert!(seen.contains("live/filesystem.squashfs") && seen.contains("Debian GNU/Linux 13 (trixie)"), "{seen}");
    Some(home)
}

fn comes_up(home: &std::path::Path, how: Medium, by: Firmware) {
    let mut machine = Machine::boot_medium(&home.join("output/live.iso"), how, by, home);
    machine.wait_for("login:");
    let asked = "test -d /sys/firmware/efi && echo uefi || echo bios; systemctl is-system-running --wait; \
                 systemctl --failed --no-legend; findmnt -no FSTYPE /; sudo touch /etc/written && echo written";
    let firmware = if matches!(by, Firmware::Uefi) { "uefi" } else { "bios" };
    let told = machine.ssh(&home.join("root-key"), "tester", asked);
    assert_eq!(told, format!("{firmware}\nrunning\noverlay\nwritten\n"), "{how:?} under {by:?}");
}

/// As far as what differs between media: firmware and boot loader have found the kernel.
fn starts(home: &std::path::Path, how: Medium, by: Firmware) {
    Machine::boot_medium(&home.join("output/live.iso"), how, by, home).wait_for("Linux version");
}

#[test]
fn with_grub_it_starts_everywhere() {
    let Some(home) = built("grub") else { return };
    comes_up(&home, Medium::Disc, Firmware::Bios);
    starts(&home, Medium::UsbStick, Firmware::Bios);
    starts(&home, Medium::Disc, Firmware::Uefi);
    starts(&home, Medium::UsbStick, Firmware::Uefi);
}

#[test]
fn with_systemd_boot_it_starts_under_uefi() {
    let Some(home) = built("systemd-boot") else { return };
    comes_up(&home, Medium::UsbStick, Firmware::Uefi);
    starts(&home, Medium::Disc, Firmware::Uefi);
}
