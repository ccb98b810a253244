//! The kernel as referee. Needs root, and a kernel with squashfs and zstd.

use std::os::unix::fs::MetadataExt;

use image::squashfs::Options;
use layers::MemoryContents;
use tempfile::NamedTempFile;

use super::referee::kernel::{Mounted, differences};
use super::referee::{flip, text};
use super::tools::many;
use super::{corners, options, path, written};

/// Mounts it, if this machine's kernel can.
fn mounted(file: &NamedTempFile) -> Option<Mounted> {
    let known = std::fs::read_to_string("/proc/filesystems").unwrap_or_default();
    // A module is loaded by mounting; where neither is there, mount says so.
    if !known.contains("squashfs") && !std::path::Path::new("/lib/modules").exists() {
        println!("skipped: this kernel does not know squashfs");
        return None;
    }
    Mounted::new(text(file), "loop,ro")
}

#[test]
fn the_kernel_shows_the_tree() {
    let plant = corners();
    for block_size in [4096, 128 << 10, 1 << 20] {
        let file = written(&plant.tree, &plant.contents, &Options { block_size, ..options() });
        let Some(mounted) = mounted(&file) else { return };
        let top = mounted.0.path();
        assert_eq!(differences(&plant.tree, &plant.contents, top), Vec::<String>::new(), "{block_size}");
        assert_eq!(std::fs::metadata(top.join("zz")).unwrap().nlink(), 3);
        assert_eq!(std::fs::metadata(top.join("usr")).unwrap().nlink(), 3);
        // A hole takes no room.
        let holes = std::fs::metadata(top.join("holes")).unwrap();
        assert!(holes.blocks() * 512 < holes.len() - (2 << 20), "{}", holes.blocks());
        // The referee sees what is wrong.
        let mut other = plant.tree.clone();
        other.get_mut(&path("etc/hostname")).unwrap().meta.mode ^= 1;
        assert_eq!(differences(&other, &plant.contents, top).len(), 1);
    }
}

#[test]
fn the_kernel_objects_to_a_changed_byte() {
    let mut plant = super::referee::Planter::default();
    plant.file("file", super::referee::noise(1, 100_000, 60));
    let file = written(&plant.tree, &plant.contents, &options());
    // The magic number of the first frame.
    flip(&file, 96 + 6 + 1);
    let Some(mounted) = mounted(&file) else { return };
    assert!(std::fs::read(mounted.0.path().join("file")).is_err());
}

#[test]
fn the_kernel_finds_every_name_in_a_large_directory() {
    let plant = many();
    let file = written(&plant.tree, &plant.contents, &options());
    let Some(mounted) = mounted(&file) else { return };
    let top = mounted.0.path();
    for (path, entry) in plant.tree.iter() {
        let found = std::fs::symlink_metadata(path.under(top)).unwrap_or_else(|error| panic!("{path}: {error}"));
        assert_eq!(found.is_dir(), entry.is_directory());
    }
    for name in ["many", "long"] {
        let expected = plant.tree.children(&path(name)).count();
        assert_eq!(std::fs::read_dir(top.join(name)).unwrap().count(), expected);
        assert!(!top.join(name).join("none").exists());
    }
}

#[test]
fn the_kernel_mounts_what_holds_nothing() {
    let file = written(&layers::Tree::default(), &MemoryContents::default(), &options());
    let Some(mounted) = mounted(&file) else { return };
    assert_eq!(std::fs::read_dir(mounted.0.path()).unwrap().count(), 0);
}
