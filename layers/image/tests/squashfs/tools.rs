//! squashfs-tools as referee, in both directions.

use std::os::unix::fs::FileExt;
use std::path::Path;

use image::squashfs::Options;
use layers::{Contents, Entry, Kind, Meta, Tree, TreePath};
use tempfile::{NamedTempFile, TempDir};

use super::referee::kernel::differences;
use super::referee::{Planter, TIME, flip, host, noise, run, text, tool};
use super::{corners, medium, options, path, read, shown, written};

/// What unsquashfs makes of a file; an error is what it says.
fn extracted(file: &NamedTempFile) -> Option<Result<TempDir, String>> {
    let unsquashfs = tool("unsquashfs")?;
    let into = tempfile::tempdir().unwrap();
    let top = into.path().join("top");
    let verdict = run(&unsquashfs, &["-no-progress", "-d", top.to_str().unwrap(), text(file)]);
    // Some problems are told without being counted as failures.
    let fails = !verdict.success || verdict.text.contains("FATAL") || verdict.text.contains("rror");
    Some(if fails { Err(verdict.text) } else { Ok(into) })
}

fn is_root() -> bool {
    let is_root = rustix::process::geteuid().is_root();
    if !is_root {
        println!("skipped: only root can extract devices and owners");
    }
    is_root
}

#[test]
fn unsquashfs_extracts_the_tree() {
    if !is_root() {
        return;
    }
    let plant = corners();
    for block_size in [4096, 128 << 10, 1 << 20] {
        let file = written(&plant.tree, &plant.contents, &Options { block_size, ..options() });
        let Some(found) = extracted(&file) else { return };
        let found = found.unwrap();
        let top = found.path().join("top");
        assert_eq!(differences(&plant.tree, &plant.contents, &top), Vec::<String>::new(), "{block_size}");
        // The referee sees what is wrong.
        let mut other = plant.tree.clone();
        other.get_mut(&path("etc/hostname")).unwrap().meta.mode ^= 1;
        assert_eq!(differences(&other, &plant.contents, &top).len(), 1);
    }
}

#[test]
fn unsquashfs_lists_what_the_tree_says() {
    let Some(unsquashfs) = tool("unsquashfs") else { return };
    let plant = corners();
    let file = written(&plant.tree, &plant.contents, &options());
    let listing = run(&unsquashfs, &["-lln", text(&file)]).text;
    let has = |start: &str, end: &str| {
        let found = listing.lines().any(|line| line.starts_with(start) && line.ends_with(end));
        assert!(found, "no line {start} … {end} in\n{listing}");
    };
    has("drwxr-xr-t 0/0", " squashfs-root");
    has("-rw-r--r-- 70000/4000000000", " squashfs-root/usr/bin/owned");
    has("-rwsr-sr-x 0/0", " 4 2024-02-29 13:37 squashfs-root/usr/bin/su");
    has("-rw-r--r-- 0/0", " 2106-02-07 06:28 squashfs-root/usr/bin/new");
    has("crw-rw-rw- 0/0", " squashfs-root/dev/null");
    has("srw-r--r-- 0/0", " squashfs-root/dev/socket");
    let lines = listing.lines().filter(|line| line.contains(" squashfs-root")).count();
    assert_eq!(lines, plant.tree.len());
    let about = run(&unsquashfs, &["-s", text(&file)]).text;
    for said in ["Compression zstd", "compression-level 3", "Block size 131072", "Filesystem is exportable via NFS"] {
        assert!(about.contains(said), "{said} in\n{about}");
    }
    let inodes = plant.tree.iter().filter(|(_, entry)| !matches!(entry.kind, Kind::HardLink(_))).count();
    assert!(about.contains(&format!("Number of inodes {inodes}")), "{about}");
    assert!(about.contains("Thu Feb 29 13:37:42 2024"), "{about}");
}

/// Where parts of an image lie, by its superblock.
fn field(file: &NamedTempFile, at: u64) -> u64 {
    let mut bytes = [0; 8];
    file.as_file().read_exact_at(&mut bytes, at).unwrap();
    u64::from_le_bytes(bytes)
}

#[test]
fn unsquashfs_objects_to_one_changed_byte() {
    let mut plant = Planter::default();
    plant.file("file", noise(1, 100_000, 60));
    plant.directory("many");
    for number in 0..300 {
        plant.file(&format!("many/{number}"), format!("{number}"));
    }
    // What is changed: the first block of data, of inodes, of names, of fragments' places, of owners.
    // By the field of the superblock that says where the part is, and from there.
    let parts = [("inodes", 64, 3), ("names", 72, 3), ("fragments", 80, 6), ("owners", 48, 6), ("data", 0, 0)];
    for (part, pointer, within) in parts {
        let file = written(&plant.tree, &plant.contents, &options());
        match extracted(&file) {
            Some(found) => drop(found.unwrap()),
            None => return,
        }
        // The first frame begins behind the superblock and the compressor's options.
        let at = if part == "data" { 96 + 6 + 1 } else { field(&file, pointer) + within };
        flip(&file, at);
        let said = extracted(&file).unwrap().map(|_| ()).expect_err(part);
        println!("{part}: {said}");
        assert!(read(&medium(&file)).is_err(), "our reader believes a changed byte in the {part}");
    }
}

/// Something of every kind below a directory of this machine.
fn planted() -> TempDir {
    let from = tempfile::tempdir().unwrap();
    let top = from.path();
    std::fs::create_dir_all(top.join("d/e/f")).unwrap();
    std::fs::write(top.join("d/large"), noise(3, 3 << 20, 99)).unwrap();
    std::fs::write(top.join("d/random"), noise(4, 300_000, 255)).unwrap();
    std::fs::hard_link(top.join("d/large"), top.join("d/also large")).unwrap();
    std::fs::write(top.join("empty"), "").unwrap();
    for index in 0..3000 {
        std::fs::write(top.join(format!("d/e/file number {index}")), index.to_string()).unwrap();
    }
    let sparse = std::fs::File::create(top.join("sparse")).unwrap();
    sparse.set_len(10 << 20).unwrap();
    sparse.write_all_at(b"end", (10 << 20) - 3).unwrap();
    std::os::unix::fs::symlink("t".repeat(300), top.join("link")).unwrap();
    if rustix::process::geteuid().is_root() {
        let device = rustix::fs::makedev(259, 260);
        let kind = rustix::fs::FileType::BlockDevice;
        rustix::fs::mknodat(rustix::fs::CWD, top.join("block"), kind, 0o600.into(), device).unwrap();
        std::os::unix::fs::chown(top.join("empty"), Some(70_000), Some(5)).unwrap();
    }
    let flags = rustix::fs::XattrFlags::empty();
    for name in ["d/large", "d/random", "d/e"] {
        // Not every file system that tests run on keeps them.
        let _ = rustix::fs::setxattr(top.join(name), "user.long", &[b'v'; 3000], flags);
        let _ = rustix::fs::setxattr(top.join(name), "user.short", name.as_bytes(), flags);
    }
    from
}

/// What a tree on this machine should look like when it is read back, with real digests.
fn expected(top: &Path) -> Tree {
    let (mut tree, contents) = host::read(top);
    for (_, entry) in tree.iter_mut() {
        if let Kind::File(content) = &mut entry.kind {
            let mut bytes = Vec::new();
            contents.open(content).unwrap().read_to_end(&mut bytes).unwrap();
            *content = layers::Content::of(&bytes);
        }
        entry.meta.mtime.nanoseconds = 0;
    }
    shown(&tree)
}

#[test]
fn images_of_mksquashfs_are_read() {
    let Some(mksquashfs) = tool("mksquashfs") else { return };
    let from = planted();
    let expected = expected(from.path());
    for how in [
        "-comp gzip",
        "-comp gzip -b 1M -no-fragments",
        "-comp xz",
        "-comp xz -b 1M -Xbcj x86",
        "-comp zstd -Xcompression-level 5",
        "-comp zstd -b 4096 -always-use-fragments",
        "-comp zstd -noI -noD -noF -noX",
        "-comp zstd -no-fragments -no-exports -no-duplicates -no-xattrs",
    ] {
        let file = NamedTempFile::new().unwrap();
        let arguments = [from.path().to_str().unwrap(), text(&file), "-noappend", "-no-progress"];
        let arguments: Vec<&str> = arguments.into_iter().chain(how.split(' ')).collect();
        let verdict = run(&mksquashfs, &arguments);
        assert!(verdict.success, "{}", verdict.text);
        let mut expected = expected.clone();
        if how.contains("-no-xattrs") {
            expected.iter_mut().for_each(|(_, entry)| entry.meta.xattrs.clear());
        }
        assert!(read(&medium(&file)).unwrap() == expected, "{how}");
    }
}

#[test]
fn images_that_were_appended_to_are_read() {
    let Some(mksquashfs) = tool("mksquashfs") else { return };
    let (from, more) = (planted(), tempfile::tempdir().unwrap());
    std::fs::create_dir(more.path().join("new")).unwrap();
    std::fs::write(more.path().join("new/file"), noise(5, 500_000, 200)).unwrap();
    let file = NamedTempFile::new().unwrap();
    for (source, how) in [(from.path(), "-noappend"), (more.path(), "-no-progress")] {
        // Appending would keep a copy of what it overwrites in the home directory.
        let verdict = run(&mksquashfs, &[source.to_str().unwrap(), text(&file), how, "-no-recovery"]);
        assert!(verdict.success, "{}", verdict.text);
    }
    let found = read(&medium(&file)).unwrap();
    for (path, entry) in expected(from.path()).iter().chain(expected(more.path()).iter()) {
        assert!(path.is_root() || found.get(path) == Some(entry), "{path}");
    }
}

#[test]
fn compressors_that_are_not_known_are_named() {
    let Some(mksquashfs) = tool("mksquashfs") else { return };
    let from = tempfile::tempdir().unwrap();
    for compressor in ["lz4", "lzo"] {
        let file = NamedTempFile::new().unwrap();
        let arguments = [from.path().to_str().unwrap(), text(&file), "-noappend", "-comp", compressor];
        let verdict = run(&mksquashfs, &arguments);
        assert!(verdict.success, "{}", verdict.text);
        let error = read(&medium(&file)).unwrap_err().to_string();
        assert!(error.contains(compressor) && error.contains("knows gzip, xz and zstd"), "{error}");
    }
}

/// A directory of very many names, and one of long names.
pub fn many() -> Planter {
    let mut plant = Planter::default();
    plant.directory("many").directory("long");
    let content = plant.contents.add("x");
    let meta = Meta::root_owned(0o644, TIME);
    for index in 0..100_000u32 {
        plant.tree.insert(path(&format!("many/file{index}")), Entry::file(content, meta.clone())).unwrap();
    }
    for index in 0..3000u32 {
        let name = format!("long/{index:0>250}");
        plant.tree.insert(path(&name), Entry::directory(Meta::root_owned(0o755, TIME))).unwrap();
        let inside = format!("long/{index:0>250}/inside");
        plant.tree.insert(path(&inside), Entry::file(content, meta.clone())).unwrap();
    }
    plant
}

#[test]
fn large_directories_are_listed() {
    let plant = many();
    let file = written(&plant.tree, &plant.contents, &options());
    assert!(read(&medium(&file)).unwrap() == shown(&plant.tree));
    let Some(unsquashfs) = tool("unsquashfs") else { return };
    let listing = run(&unsquashfs, &["-l", text(&file)]).text;
    let listed: std::collections::BTreeSet<&str> = listing.lines().collect();
    let missing = |path: &TreePath| !listed.contains(&*format!("squashfs-root{path}")) && !path.is_root();
    assert_eq!(plant.tree.iter().filter(|(path, _)| missing(path)).count(), 0);
}
