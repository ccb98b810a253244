//! The kernel as referee: what it shows of a mounted file system is the tree. Needs root.

use image::ext4::{self, BlockSize, Options};

use super::referee::kernel::{Mounted, differences};
use super::referee::{raw, text};
use super::{MIB, assert_clean, corners, feature_sets, options, path};

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
