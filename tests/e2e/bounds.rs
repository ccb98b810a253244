//! Bounds that the kernel holds, in a machine whose systemd delegates control groups: the one that
//! runs the suite may not have any.

use std::path::Path;

use crate::machine::Machine;
use crate::support::example_of;

/// Starts more processes than a test allows.
const MANY: &str = "i=0; while [ $i -lt 60 ]; do busybox sleep 100 & i=$((i+1)); done; wait";

/// Fills memory, faster than somebody who looks four times a second could see.
const BIG: &str = "busybox dd if=/dev/zero of=/dev/shm/big bs=1M count=200; echo whole";

/// Puts itself into a leaf of the service's group, as a manager of its own would; `$@` is the session.
const IN_A_LEAF: &str = "cd /sys/fs/cgroup$(cut -d: -f3 /proc/self/cgroup)
mkdir leaf
echo 0 > leaf/cgroup.procs
echo +pids > cgroup.subtree_control
(cd; \"$@\")
ls
";

/// A session in a service of systemd's that is an ordinary user's; what it says.
fn session(machine: &mut Machine, key: &Path, bounds: &str, around: &str, script: &str) -> String {
    let file = key.with_file_name("script");
    std::fs::write(&file, script).unwrap();
    machine.send(key, "debian", &file, "script");
    let service = "sudo -n systemd-run --quiet --pipe --wait --uid=debian --working-directory=/home/debian";
    let command = format!(
        "{service} -p Delegate=yes {bounds} {around} /home/debian/session userns-single work \"$(cat script)\" lower 2>&1"
    );
    let told = machine.ssh(key, "debian", &command);
    println!("{told}");
    told
}

/// With the machine of `examples/debian-minimal.yml`.
pub fn are_held_by_control_groups(machine: &mut Machine, key: &Path) {
    let leaf = key.with_file_name("leaf");
    std::fs::write(&leaf, IN_A_LEAF).unwrap();
    let session_program = example_of("session");
    for (file, to) in [(&*session_program, "session"), (Path::new("/bin/busybox"), "busybox"), (&leaf, "leaf")] {
        machine.send(key, "debian", file, to);
    }
    machine.ssh(
        key,
        "debian",
        "mkdir -p lower/bin; mv busybox lower/bin; ln -s busybox lower/bin/sh; chmod 755 session lower/bin/busybox",
    );
    // A build that is alone in its group divides it.
    let told = session(machine, key, "-E PROCESSES=30", "", MANY);
    assert!(told.contains("30 allowed by the control group"), "{told}");
    let told = session(machine, key, "-E MEMORY=50000000", "", BIG);
    assert!(told.contains("bytes allowed by the control group"), "{told}");
    let told = session(machine, key, "-E MEMORY=500000000 -E PROCESSES=100", "", BIG);
    assert!(told.contains("whole") && !told.contains("failed"), "{told}");
    // One that is in a leaf makes its own beside it, and removes it.
    let told = session(machine, key, "-E PROCESSES=30", "sh /home/debian/leaf", MANY);
    assert!(told.contains("30 allowed by the control group"), "{told}");
    assert!(told.contains("\nleaf\n") && !told.contains("image-composer-"), "{told}");
}
