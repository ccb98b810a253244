//! The kernel as referee: what it shows of a mounted file system is the tree. Needs root.

use std::path::Path;
use std::process::Command;

use image::ext4::{self, BlockSize, Options};
use layers::{Contents, Kind, MemoryContents, Tree};

use super::referee::{raw, run, text, tool};
use super::{MIB, assert_clean, corners, feature_sets, host, options, path};

/// A mounted file system, unmounted when dropped.
struct Mounted(tempfile::TempDir);

impl Mounted {
    fn new(file: &str, how: &str) -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            println!("skipped: only root mounts");
            return None;
        }
        let directory = tempfile::tempdir().unwrap();
        let verdict = run(&tool("mount")?, &["-o", how, file, directory.path().to_str().unwrap()]);
        if !verdict.success {
            assert!(!verdict.text.contains("wrong fs type"), "{}", verdict.text);
            println!("skipped: {}", verdict.text);
            return None;
        }
        Some(Self(directory))
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.0.path()).status();
    }
}

/// The differences between what is planned and what the kernel shows.
fn differences(tree: &Tree, contents: &MemoryContents, top: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let (mut shown, _) = host::read(top);
    shown.remove(&path("lost+found"));
    for (path, entry) in tree.iter() {
        let Some(other) = shown.get(path) else {
            found.push(format!("{path} is missing"));
            continue;
        };
        match (&entry.kind, &other.kind) {
            (Kind::File(content), Kind::File(_)) => {
                let mut bytes = Vec::new();
                contents.open(content).unwrap().read_to_end(&mut bytes).unwrap();
                if std::fs::read(path.under(top)).unwrap() != bytes {
                    found.push(format!("{path} has another content"));
                }
            }
            (Kind::HardLink(_), Kind::HardLink(_)) => continue,
            (planned, shown) if planned == shown => {}
            (planned, shown) => found.push(format!("{path} is {shown:?} instead of {planned:?}")),
        }
        if entry.meta != other.meta {
            found.push(format!("{path} has {:?} instead of {:?}", other.meta, entry.meta));
        }
    }
    if shown.len() != tree.len() {
        found.push(format!("{} entries instead of {}", shown.len(), tree.len()));
    }
    found
}

#[test]
fn the_kernel_shows_the_tree() {
    let plant = corners();
    for features in feature_sets() {
        for block_size in [BlockSize::Bytes1024, BlockSize::Bytes4096] {
            let options = Options { features, block_size, ..options(64 * MIB) };
            let file = raw(&ext4::plan(&plant.tree, &options).unwrap(), &plant.contents);
            let Some(mounted) = Mounted::new(text(&file), "loop,ro") else { return };
            assert_eq!(differences(&plant.tree, &plant.contents, mounted.0.path()), Vec::<String>::new());
            // The referee sees what is wrong.
            let mut other = plant.tree.clone();
            other.get_mut(&path("etc/hostname")).unwrap().meta.mode ^= 1;
            assert_eq!(differences(&other, &plant.contents, mounted.0.path()).len(), 1);
        }
    }
}

#[test]
fn the_kernel_writes_to_it_and_it_stays_clean() {
    let plant = corners();
    for features in feature_sets() {
        for block_size in [BlockSize::Bytes1024, BlockSize::Bytes4096] {
            let options = Options { features, block_size, ..options(64 * MIB) };
            let file = raw(&ext4::plan(&plant.tree, &options).unwrap(), &plant.contents);
            let Some(mounted) = Mounted::new(text(&file), "loop") else { return };
            let top = mounted.0.path();
            for index in 0..500 {
                std::fs::write(top.join(format!("etc/new-{index}")), vec![1; index * 10]).unwrap();
                std::fs::create_dir(top.join(format!("empty/d{index}"))).unwrap();
            }
            std::fs::remove_file(top.join("big")).unwrap();
            drop(mounted);
            assert_clean(text(&file));
        }
    }
}
