//! PostgreSQL: an image has no database cluster, and the machine makes itself one on its first boot.

use std::process::Command;

use layers::{Kind, TreePath};

use crate::fidelity::side::Side;
use crate::machine::Machine;
use crate::matrix::{VERSION, finished};
use crate::support::{User, have, must, workplace};

/// The version in [`VERSION`].
const POSTGRESQL: &str = "15";

fn entries_below(side: &Side, directory: &str) -> Vec<String> {
    let directory = TreePath::new(directory).unwrap();
    side.tree.below(&directory).map(|(path, _)| path.to_string()).collect()
}

/// That builds give the same bytes, `matrix` says of the same images.
#[test]
fn no_image_has_a_cluster() {
    let Some((with, _)) = finished(true) else { return };
    let side = Side::of_disk(&with);
    for directory in ["etc/postgresql", "var/lib/postgresql", "var/log/postgresql"] {
        assert!(side.tree.get(&TreePath::new(directory).unwrap()).is_some(), "no {directory}");
        assert_eq!(entries_below(&side, directory), Vec::<String>::new());
    }
    let left = |side: &Side, word: &str| -> Vec<String> {
        side.tree.iter().map(|(path, _)| path.to_string()).filter(|path| path.contains(word)).collect()
    };
    assert_eq!(left(&side, "createcluster.d"), Vec::<String>::new(), "the scaffold is in the image");
    assert_eq!(left(&side, "PG_VERSION"), Vec::<String>::new());
    let unit = "/etc/systemd/system/postgresql-main-cluster@.service";
    let wanted = format!("/etc/systemd/system/multi-user.target.wants/postgresql-main-cluster@{POSTGRESQL}.service");
    assert_eq!(left(&side, "postgresql-main-cluster"), [wanted.clone(), unit.to_owned()]);
    let wanted = side.tree.get(&TreePath::new(wanted).unwrap()).unwrap();
    assert_eq!(wanted.kind, Kind::Symlink(unit.as_bytes().into()));

    let (without, _) = finished(false).unwrap();
    assert_eq!(left(&Side::of_disk(&without), "postgresql"), Vec::<String>::new());
}

#[test]
fn the_first_boot_makes_the_cluster_and_starts_it() {
    let Some((image, key)) = finished(true) else { return };
    if !have(&["qemu-system-x86_64", "qemu-img", "ssh"]) {
        return;
    }
    let directory = workplace(User::WithoutRange, "postgresql");
    let root_key = directory.join("root-key");
    std::fs::copy(&key, &root_key).unwrap();
    must(Command::new("chmod").arg("600").arg(&root_key));
    let disk = directory.join("boot.qcow2");
    must(
        Command::new("qemu-img")
            .args(["create", "-q", "-f", "qcow2", "-F", "raw", "-b"])
            .arg(&image)
            .arg(&disk)
            .arg("3G"),
    );
    let mut machine = Machine::boot(&disk, "qcow2", &directory);
    let state = machine.ssh(
        &root_key,
        "tester",
        "systemctl is-system-running --wait; systemctl --failed --no-legend; pg_lsclusters --no-header",
    );
    println!("{state}");
    assert!(state.starts_with("running\n"), "the system is not whole: {state}");
    let cluster = state.lines().last().unwrap().split_whitespace().collect::<Vec<_>>();
    assert_eq!(cluster[..5], [POSTGRESQL, "main", "5432", "online", "postgres"], "Debian {VERSION}: {state}");
    let told = machine.ssh(
        &root_key,
        "tester",
        &format!(
            "cd /; sudo -u postgres psql -tAc 'show ssl'; sudo -u postgres psql -tAc 'show server_encoding'; \
             systemctl is-enabled postgresql-main-cluster@{POSTGRESQL}.service || true"
        ),
    );
    // With the certificate of this machine; and a cluster that is dropped stays away.
    assert_eq!(told, "on\nUTF8\ndisabled\n");
    machine.ssh(&root_key, "tester", "sudo systemctl poweroff --no-block; true");
    machine.wait_for_end();
}
