//! Stacking, adding layers, deleting, and what is left of it all.

use super::Case;
use crate::support::{Bench, layer, paths, shell, stack};
use sandbox::{Change, Step};
use std::fs;
use std::path::PathBuf;

pub const CASES: &[Case] = &[
    ("added_layers_win_over_deletions_and_files", added),
    ("an_opaque_directory_does_not_hide_an_added_layer", opaque),
    ("owners_outlive_a_new_stack", outlive),
    ("six_hundred_layers", many),
    ("a_layer_that_is_there_twice_counts_where_it_is_uppermost", twice),
    ("mount_points_do_not_leak", mount_points),
    ("nothing_but_the_upper_stays", leftovers),
    ("names_are_bytes", bytes),
];

fn added(bench: &Bench) {
    let base = bench.busybox();
    let old = layer(bench, "old", &[("etc/gone", "old"), ("etc/conf", "old"), ("etc/stays", "old")]);
    let new = layer(bench, "new", &[("etc/gone", "new"), ("etc/conf", "new"), ("etc/over", "new")]);
    let steps = vec![
        stack(&[base.clone(), old.clone()]),
        Step::Run(shell("rm /etc/gone /etc/stays; echo mine > /etc/conf; echo mine > /etc/over")),
        Step::Stack { lowers: vec![base, old, new], keep: vec![b"/etc/conf".to_vec()] },
        Step::Run(shell("cat /etc/gone; echo; cat /etc/conf /etc/over; test ! -e /etc/stays")),
    ];
    let outcome = bench.run(steps);
    assert_eq!(outcome.output, "new\nmine\nnew\n");
    let captured = outcome.captured();
    assert_eq!(paths(&captured), ["etc", "etc/conf", "etc/stays"]);
}

fn opaque(bench: &Bench) {
    let base = bench.busybox();
    let old = layer(bench, "old", &[("var/lib/x/a", "old"), ("var/lib/x/b", "old")]);
    let new = layer(bench, "new", &[("var/lib/x/b", "new")]);
    let steps = vec![
        stack(&[base.clone(), old.clone()]),
        Step::Run(shell("rm -r /var/lib/x; mkdir /var/lib/x; touch /var/lib/x/c; ls /var/lib/x")),
        stack(&[base, old, new]),
        Step::Run(shell("ls /var/lib/x; cat /var/lib/x/b")),
    ];
    let outcome = bench.run(steps);
    assert_eq!(outcome.output, "c\nb\nc\nnew\n");
    outcome.captured();
    let again = bench.script("rm -r /var/lib; mkdir /var/lib");
    let captured = again.captured();
    assert!(
        captured
            .changes
            .iter()
            .any(|change| { matches!(change, Change::Changed { path, opaque: true, .. } if path == b"var/lib") })
    );
}

fn twice(bench: &Bench) {
    let base = bench.busybox();
    let one = layer(bench, "one", &[("etc/a", "one\n"), ("etc/b", "one\n")]);
    let two = layer(bench, "two", &[("etc/a", "two\n"), ("etc/c", "two\n")]);
    let steps = vec![
        stack(&[base.clone(), one.clone(), two.clone()]),
        Step::Run(shell("cat /etc/a; echo mine > /etc/b")),
        stack(&[base, one.clone(), two, one]),
        Step::Run(shell("cat /etc/a; cat /etc/c; cat /etc/b")),
    ];
    assert_eq!(bench.run(steps).output, "two\none\ntwo\nmine\n");
}

fn outlive(bench: &Bench) {
    let base = bench.busybox();
    let more = layer(bench, "more", &[("etc/more", "x")]);
    let steps = vec![
        stack(std::slice::from_ref(&base)),
        Step::Run(shell(
            "touch /etc/f; chown 1:2 /etc/f; ln -s f /etc/l; chown -h 3:4 /etc/l
             mkfifo /etc/p; chown 5:6 /etc/p; mknod /etc/c c 5 1",
        )),
        stack(&[base, more]),
        Step::Run(shell("stat -c '%u:%g' /etc/f /etc/l /etc/p; test -c /etc/c; cat /etc/more")),
    ];
    let outcome = bench.run(steps);
    assert_eq!(outcome.output, "1:2\n3:4\n5:6\nx\n");
    outcome.captured();
}

fn many(bench: &Bench) {
    let mut lowers = vec![bench.busybox()];
    for number in 0..600 {
        lowers.push(layer(bench, &format!("l{number}"), &[(&format!("etc/many/{number}"), "x")]));
    }
    let steps = vec![stack(&lowers), Step::Run(shell("ls /etc/many | wc -l; rm /etc/many/7"))];
    let outcome = bench.run(steps);
    assert_eq!(outcome.output, "600\n");
    assert_eq!(paths(&outcome.captured()), ["etc", "etc/many", "etc/many/7"]);
}

fn mount_points(bench: &Bench) {
    let outcome = bench.script(
        "echo x > /tmp/x; echo x > /run/x; echo x > /dev/shm/x; touch /dev/x; touch /etc/x
         ls -d /dev /proc /sys /run /tmp /run/lock; test ! -e /sys/kernel",
    );
    assert_eq!(outcome.output, "/dev\n/proc\n/run\n/run/lock\n/sys\n/tmp\n");
    assert_eq!(paths(&outcome.captured()), ["etc", "etc/x"]);
}

fn leftovers(bench: &Bench) {
    let captured = bench.script("touch /etc/x; chown 77 /etc/x; mkdir -m 0 /etc/d").captured();
    let names =
        |path: PathBuf| -> Vec<_> { fs::read_dir(path).unwrap().map(|entry| entry.unwrap().file_name()).collect() };
    assert_eq!(names(bench.path("scratch")), ["upper"]);
    assert!(names(captured.upper.join("etc/d")).is_empty());
    fs::remove_dir_all(captured.upper).unwrap();
}

fn bytes(bench: &Bench) {
    use std::os::unix::ffi::OsStrExt;
    let outcome = bench.script("touch \"$(printf '/etc/a\\nb\\377')\"; chown 9 /etc/a*");
    let captured = outcome.captured();
    let name = captured.changes[1].path().to_vec();
    assert_eq!(name, b"etc/a\nb\xff");
    assert!(captured.upper.join(std::ffi::OsStr::from_bytes(&name)).exists());
}
