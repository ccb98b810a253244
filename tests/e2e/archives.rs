//! The tree itself as an output: it runs from memory, and it is a tar archive.

use std::process::Command;

use crate::machine::Machine;
use crate::support::{User, composer, have, is_root, must, must_as, workplace};

const USER: User = User::WithoutRange;

#[test]
fn a_system_runs_from_memory_and_is_a_tar_archive() {
    if !is_root() || !have(&["ssh-keygen", "setpriv", "qemu-system-x86_64", "ssh", "tar", "dpkg", "cpio", "zstd"]) {
        println!("skipped: the suite must run as root to be other users");
        assert!(!crate::support::strict(), "with CI set the suite must run as root");
        return;
    }
    let home = workplace(USER, "archives");
    let key = home.join("key");
    must_as(USER, Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-C", "test", "-f"]).arg(&key));
    let public = std::fs::read_to_string(home.join("key.pub")).unwrap();
    let spec = format!(
        "image: {{name: memory, base: {{os: debian, version: 13, type: minimal}}}}\n\
         kernel: {{package: linux-image-cloud-amd64}}\n\
         customizations:\n  users:\n    - {{name: tester, groups: [sudo], \
         shell: /bin/bash, sudo: nopasswd, ssh_keys: [\"{}\"]}}\noutput: {{format: [initrd, tar], compression: zstd}}\n",
        public.trim()
    );
    std::fs::write(home.join("spec.yml"), spec).unwrap();
    let words = ["build", "spec.yml", "--output-dir", "output", "--progress", "plain"];
    let output = composer(USER, &home, &words).output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{told}");
    // What the format cannot hold is said.
    assert!(told.contains("an initial RAM disk has no extended attributes (capabilities, access control lists): lost at /var/log/journal"), "{told}");
    let outputs = home.join("output");
    must(Command::new("sha256sum").args(["-c", "memory.SHA256SUMS"]).current_dir(&outputs));

    let tree = home.join("tree");
    std::fs::create_dir(&tree).unwrap();
    let options = ["--numeric-owner", "--xattrs", "--xattrs-include=*", "--delay-directory-restore"];
    must(Command::new("tar").arg("-xpf").arg(outputs.join("memory.tar.zst")).arg("-C").arg(&tree).args(options));
    // dpkg knows the digest of every file of its packages: it names none that differs.
    let verify = Command::new("dpkg").arg("--root").arg(&tree).arg("--verify").output().unwrap();
    let changed = String::from_utf8_lossy(&verify.stdout).into_owned();
    assert!(verify.status.success() && changed.lines().all(|line| line.contains(" c /etc/")), "{changed}");
    std::fs::write(tree.join("usr/bin/env"), "broken").unwrap();
    let verify = Command::new("dpkg").arg("--root").arg(&tree).arg("--verify").output().unwrap();
    assert!(String::from_utf8_lossy(&verify.stdout).contains("/usr/bin/env"));
    std::fs::remove_dir_all(&tree).unwrap();

    let root_key = home.join("root-key");
    std::fs::copy(&key, &root_key).unwrap();
    must(Command::new("chmod").arg("600").arg(&root_key));
    let (kernel, initrd) = (outputs.join("memory.vmlinuz"), outputs.join("memory.cpio.zst"));
    let mut machine = Machine::boot_kernel(&kernel, &initrd, "console=ttyS0", &home);
    machine.wait_for("login:");
    let asked = "systemctl is-system-running --wait; systemctl --failed --no-legend; findmnt -no FSTYPE /; id -un";
    assert_eq!(machine.ssh(&root_key, "tester", asked), "running\nrootfs\ntester\n");
}
