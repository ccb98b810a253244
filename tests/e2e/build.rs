//! The example from the live archive: built by ordinary users, judged by tools, booted.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use crate::bounds;
use crate::machine::Machine;
use crate::support::{User, composer, have, is_root, must, must_as, workplace};

/// The first example with a key that the suite makes, in a directory of the user's.
fn example(user: User, directory: &Path) -> PathBuf {
    let text = include_str!("../../examples/debian-minimal.yml");
    let key = directory.join("key");
    must_as(user, Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-C", "test", "-f"]).arg(&key));
    let public = std::fs::read_to_string(directory.join("key.pub")).unwrap();
    let with_key = text.replace("ssh_keys: []", &format!("ssh_keys: [\"{}\"]", public.trim()));
    assert_ne!(text, with_key, "the example has no place for keys");
    let spec = directory.join("debian-minimal.yml");
    std::fs::write(&spec, with_key).unwrap();
    spec
}

struct Built {
    directory: PathBuf,
    output: PathBuf,
}

/// Builds the example once per user.
fn built(user: User) -> Option<&'static Built> {
    static PLAIN: OnceLock<Built> = OnceLock::new();
    static RANGE: OnceLock<Built> = OnceLock::new();
    if !is_root() || !have(&["ssh-keygen", "setpriv", "newuidmap"]) {
        println!("skipped: the suite must run as root to be other users");
        assert!(!crate::support::strict(), "with CI set the suite must run as root");
        return None;
    }
    let place = match user {
        User::WithoutRange => &PLAIN,
        User::WithRange => &RANGE,
    };
    Some(place.get_or_init(|| {
        let directory = workplace(user, "example");
        let output = directory.join("output");
        // Both users build with the key of the first, so that their images can be compared.
        let spec = match user {
            User::WithoutRange => example(user, &directory),
            User::WithRange => {
                let first = built(User::WithoutRange).expect("the first user's build");
                let spec = directory.join("debian-minimal.yml");
                std::fs::copy(first.directory.join("debian-minimal.yml"), &spec).unwrap();
                let lock = first.output.join("debian-minimal.lock");
                std::fs::copy(lock, directory.join("debian-minimal.lock")).unwrap();
                spec
            }
        };
        let words =
            ["build", spec.to_str().unwrap(), "--output-dir", "output", "--rung", user.rung(), "--progress", "plain"];
        let mut words = words.to_vec();
        if user == User::WithRange {
            words.push("--locked");
        }
        println!("{}", must(&mut composer(user, &directory, &words)));
        Built { directory, output }
    }))
}

fn sums(output: &Path) -> BTreeMap<String, String> {
    let text = std::fs::read_to_string(output.join("debian-minimal.SHA256SUMS")).unwrap();
    text.lines().filter_map(|line| line.split_once("  ")).map(|(sum, name)| (name.into(), sum.into())).collect()
}

#[test]
fn both_rungs_give_the_same_bytes() {
    let (Some(plain), Some(range)) = (built(User::WithoutRange), built(User::WithRange)) else { return };
    assert_eq!(sums(&plain.output), sums(&range.output));
    must(Command::new("sha256sum").arg("-c").arg("debian-minimal.SHA256SUMS").current_dir(&plain.output));
}

#[test]
fn the_same_bytes_in_another_directory_time_zone_umask_and_thread_count() {
    let Some(plain) = built(User::WithoutRange) else { return };
    let user = User::WithoutRange;
    let directory = workplace(user, "elsewhere");
    let name = "debian-minimal.yml";
    std::fs::copy(plain.directory.join(name), directory.join(name)).unwrap();
    std::fs::copy(plain.output.join("debian-minimal.lock"), directory.join("debian-minimal.lock")).unwrap();
    let program = crate::support::program();
    let script = format!(
        "umask 077; export TZ=Pacific/Chatham LC_ALL=C; exec {} build debian-minimal.yml --locked --parallel 1 \
         --cache-dir {}/cache --output-dir out --progress plain{}",
        program.display(),
        directory.display(),
        elsewhere().map(|place| format!(" --work-dir {}", place.display())).unwrap_or_default()
    );
    let mut command = Command::new("sh");
    command.args(["-c", &script]).current_dir(&directory);
    println!("{}", must_as(user, &mut command));
    assert_eq!(sums(&plain.output), sums(&directory.join("out")));
}

/// A work directory on another file system than the store's, where the machine has one with room.
fn elsewhere() -> Option<PathBuf> {
    let memory = Path::new("/dev/shm");
    let room = rustix::fs::statvfs(memory).ok()?;
    if room.f_bavail.saturating_mul(room.f_frsize) < 2 << 30 {
        println!("the work directory is on the store's file system: {} has no room", memory.display());
        return None;
    }
    let place = memory.join(format!("image-composer-{}", User::WithoutRange.name()));
    // A user of the same name and another number may have left one.
    let _ = std::fs::remove_dir_all(&place);
    let _ = must_as(User::WithoutRange, Command::new("mkdir").arg("-p").arg(&place));
    Some(place)
}

/// The raw disk of the example and its partitions, as sfdisk sees them.
fn raw_disk(built: &Built) -> PathBuf {
    let raw = built.directory.join("disk.raw");
    if !raw.exists() {
        must(Command::new("qemu-img").args(["convert", "-O", "raw"]).arg(qcow2(built)).arg(&raw));
    }
    raw
}

fn qcow2(built: &Built) -> PathBuf {
    built.output.join("debian-minimal.qcow2")
}

#[test]
fn tools_find_nothing_wrong_with_the_disk() {
    let Some(built) = built(User::WithoutRange) else { return };
    if !have(&["sgdisk", "sfdisk", "e2fsck", "fsck.fat", "qemu-img"]) {
        return;
    }
    must(Command::new("qemu-img").args(["check", "-q"]).arg(qcow2(built)));
    let raw = raw_disk(built);
    let text = must(Command::new("sgdisk").arg("-v").arg(&raw));
    assert!(text.contains("No problems found"), "{text}");
    let table: serde_json::Value = serde_json::from_str(&must(Command::new("sfdisk").arg("-J").arg(&raw))).unwrap();
    let partitions = table["partitiontable"]["partitions"].as_array().unwrap();
    assert_eq!(partitions.len(), 2);
    for (number, name) in ["esp.img", "root.img"].iter().enumerate() {
        let part = built.directory.join(name);
        let field = |field: &str| partitions[number][field].as_u64().unwrap();
        must(
            Command::new("dd")
                .arg(format!("if={}", raw.display()))
                .arg(format!("of={}", part.display()))
                .args(["bs=512", "conv=sparse", "status=none"])
                .arg(format!("skip={}", field("start")))
                .arg(format!("count={}", field("size"))),
        );
    }
    must(Command::new("fsck.fat").arg("-n").arg(built.directory.join("esp.img")));
    must(Command::new("e2fsck").arg("-fn").arg(built.directory.join("root.img")));
    // The referee objects when there is something to object to: a byte of the superblock.
    let broken = built.directory.join("broken.img");
    std::fs::copy(built.directory.join("root.img"), &broken).unwrap();
    must(
        Command::new("dd")
            .args(["if=/dev/urandom", "bs=1", "count=4", "seek=1032", "conv=notrunc", "status=none"])
            .arg(format!("of={}", broken.display())),
    );
    assert!(!Command::new("e2fsck").arg("-fn").arg(&broken).output().unwrap().status.success());
}

#[test]
fn the_image_boots_to_a_login_and_answers_on_ssh() {
    let Some(built) = built(User::WithoutRange) else { return };
    if !have(&["qemu-system-x86_64", "qemu-img", "ssh"]) {
        return;
    }
    // Grown before the first boot, as people do with a small image.
    let disk = built.directory.join("boot.qcow2");
    let _ = std::fs::remove_file(&disk);
    must(
        Command::new("qemu-img")
            .args(["create", "-q", "-f", "qcow2", "-F", "qcow2", "-b"])
            .arg(qcow2(built))
            .arg(&disk)
            .arg("5G"),
    );
    let key = built.directory.join("root-key");
    std::fs::copy(built.directory.join("key"), &key).unwrap();
    must(Command::new("chmod").arg("600").arg(&key));
    let mut machine = Machine::boot(&disk, "qcow2", &built.directory);
    machine.wait_for("login:");
    let told = machine.ssh(
        &key,
        "debian",
        "id -un; hostname; systemctl is-system-running --wait; sudo -n true && echo sudo works",
    );
    println!("{told}");
    assert!(told.contains("debian") && told.contains("sudo works"));
    assert!(told.contains("running"), "the system is not whole: {told}");
    let size = machine.ssh(&key, "debian", "df --output=size -B1 / | tail -1");
    let size: u64 = size.trim().parse().unwrap();
    assert!(size > 4_000_000_000, "the root file system did not grow: {size}");
    let keys = machine.ssh(&key, "debian", "ls /etc/ssh/ssh_host_*_key.pub | wc -l; cat /etc/machine-id");
    assert!(keys.lines().next().unwrap().trim().parse::<u32>().unwrap() >= 1);
    bounds::are_held_by_control_groups(&mut machine, &key);
    machine.ssh(&key, "debian", "sudo -n systemctl poweroff --no-block; true");
    machine.wait_for_end();
}
