//! Archives in the eyes of tar(1) and cpio(1).

mod referee;

use std::path::Path;
use std::process::{Command, Stdio};

use image::Source;
use image::archive::{Format, plan};
use layers::{Entry, Kind, Meta, Time, Tree, TreePath};
use referee::corners::corners;
use referee::kernel::differences;
use referee::{Planter, TIME, raw, run, text, tool};

fn path(text: &str) -> TreePath {
    TreePath::new(text).unwrap()
}

/// Every kind of entry; what only the format of ext4 can hold is left out.
fn plant() -> Planter {
    let mut plant = corners();
    plant.tree.remove(&path("dev/socket"));
    plant.file(&format!("long/{}/{}", "d".repeat(120), "f".repeat(200)), "far down");
    let before = Time { seconds: -2, nanoseconds: 250_000_000 };
    let meta = Meta { mtime: before, ..Meta::root_owned(0o640, TIME) };
    // The last second that ext4 knows has no fraction there.
    plant.tree.get_mut(&path("usr/bin/new")).unwrap().meta.mtime.seconds -= 1;
    plant.tree.insert(path("usr/bin/before"), Entry { kind: Kind::Fifo, meta }).unwrap();
    plant
}

fn is_root() -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        println!("skipped: only root gives files away");
    }
    root
}

fn unpacked_by_tar(tar: &Path, file: &str) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let into = directory.path().to_str().unwrap();
    let options = ["--numeric-owner", "--xattrs", "--xattrs-include=*", "--delay-directory-restore"];
    let seen = run(tar, &[&["-xpf", file, "-C", into], options.as_slice()].concat());
    assert!(seen.success, "{}", seen.text);
    // Every pax record is one that tar knows.
    assert!(!seen.text.contains("unknown"), "{}", seen.text);
    directory
}

#[test]
fn tar_unpacks_the_tree() {
    let (Some(tar), true) = (tool("tar"), is_root()) else { return };
    let plant = plant();
    let archive = plan(&plant.tree, Format::Tar).unwrap();
    assert!(archive.lost().is_empty());
    let file = raw(&archive, &plant.contents);
    assert_eq!(file.as_file().metadata().unwrap().len(), archive.size());
    let directory = unpacked_by_tar(&tar, text(&file));
    assert_eq!(differences(&plant.tree, &plant.contents, directory.path()), Vec::<String>::new());
    // Readers that take what is said of a hard link find there what is said of the file.
    let listed = run(&tar, &["-tvf", text(&file), "--numeric-owner"]).text;
    let links: Vec<&str> = listed.lines().filter(|line| line.starts_with('h')).collect();
    assert_eq!(links.len(), 2, "{listed}");
    assert!(links.iter().all(|line| line.starts_with("hrw-r--r-- 0/0 ") && line.contains(" 2024-02-29 ")), "{links:?}");
    // The referee sees what is wrong.
    let mut other = plant.tree.clone();
    other.get_mut(&path("usr/bin/ping")).unwrap().meta.xattrs.clear();
    assert_eq!(differences(&other, &plant.contents, directory.path()).len(), 1);
    referee::flip(&file, 2);
    let seen = run(&tar, &["-tf", text(&file)]);
    assert!(!seen.success, "{}", seen.text);
}

#[test]
fn a_size_past_eight_gibibytes_is_told_in_a_record() {
    let mut tree = Tree::default();
    let content = layers::Content { digest: layers::Blake3::of(b""), size: 9 << 30 };
    tree.insert(path("large"), Entry::file(content, Meta::root_owned(0o644, TIME))).unwrap();
    assert!(plan(&tree, Format::Tar).unwrap().size() > 9 << 30);
    let Err(error) = plan(&tree, Format::Cpio) else { panic!("cpio has 32 bits") };
    assert!(error.to_string().contains("/large"), "{error}");
}

/// What cpio can hold of a tree.
fn plain(tree: &Tree) -> Tree {
    let mut tree = tree.clone();
    for (_, entry) in tree.iter_mut() {
        entry.meta.xattrs.clear();
        let seconds = entry.meta.mtime.seconds.clamp(0, u32::MAX.into());
        entry.meta.mtime = Time::seconds(seconds);
    }
    tree
}

#[test]
fn cpio_unpacks_the_tree() {
    let (Some(cpio), true) = (tool("cpio"), is_root()) else { return };
    let mut plant = plant();
    plant.tree.remove(&path("dev/big"));
    let archive = plan(&plant.tree, Format::Cpio).unwrap();
    let lost: Vec<String> = archive.lost().iter().map(ToString::to_string).collect();
    assert_eq!(lost.len(), 3, "{lost:?}");
    let file = raw(&archive, &plant.contents);
    let unpack = || {
        let directory = tempfile::tempdir().unwrap();
        let status = Command::new(&cpio)
            .args(["-idmu", "--quiet", "--no-absolute-filenames"])
            .current_dir(directory.path())
            .stdin(file.reopen().unwrap())
            .stderr(Stdio::inherit())
            .status()
            .unwrap();
        (status.success(), directory)
    };
    let (success, directory) = unpack();
    assert!(success);
    let planned = plain(&plant.tree);
    let found = differences(&planned, &plant.contents, directory.path());
    // cpio(1) takes times for signed and sets those of directories before it fills them.
    let found: Vec<&String> = found.iter().filter(|line| !line.contains("mtime")).collect();
    assert_eq!(found, Vec::<&String>::new());
    let mut other = planned.clone();
    other.get_mut(&path("etc/hostname")).unwrap().meta.mode ^= 1;
    assert!(differences(&other, &plant.contents, directory.path()).iter().any(|line| line.contains("etc/hostname")));
    // A changed head it passes over with a warning; an end that is missing it does not.
    file.as_file().set_len(archive.size() / 2).unwrap();
    assert!(!unpack().0);
}

#[test]
fn the_bytes_are_these() {
    let plant = plant();
    let digest = |format| {
        let file = raw(&plan(&plant.tree, format).unwrap(), &plant.contents);
        layers::Blake3::of(&std::fs::read(file.path()).unwrap()).to_hex()
    };
    assert_eq!(
        [digest(Format::Tar), digest(Format::Cpio)],
        [
            "f9c0b3653d0e6571949d3a49bf8a912081960a09c596493a276c9b71f8701088",
            "32bc03e9842f940b30a445b992709b04ec6ac9fc3335cc94b26f38f01ed72298",
        ]
    );
}
