//! buildah: its storage, and images that it makes of ours.

use layers::{Tree, TreePath};
use oci::Form;

use super::{as_unpacked, is_root, judge, start};
use crate::images::{Home, ZSTD, assert_whole, path, plant, whole, write};

/// Of a working container, which buildah puts on the image.
#[test]
fn buildah_has_the_tree() {
    judge("buildah", "overlay", as_unpacked, |_| true);
}

#[test]
fn buildah_has_the_tree_without_overlay() {
    judge("buildah", "vfs", as_unpacked, |sample| sample.has_whiteouts());
}

#[test]
fn buildah_builds_on_it() {
    if !is_root() {
        return;
    }
    let home = Home::new();
    let Some(buildah) = start("buildah", "vfs", &home) else { return };
    let plant = plant();
    let archive = home.path("image.tar");
    write(&archive, Form::Archive, &[whole(&plant.tree)], &plant.contents, ZSTD, 2);
    let container = buildah.load(&archive, "amd64").unwrap();
    let added = home.path("added");
    std::fs::write(&added, "added").unwrap();
    buildah.run(&["copy", "--quiet", &container, added.to_str().unwrap(), "/etc/added"]).unwrap();
    let to = home.path("built");
    let name = format!("oci:{}:test", to.display());
    buildah.run(&["commit", "--quiet", "--disable-compression=false", &container, &name]).unwrap();
    // What buildah made of ours comes in again: our layer, and one of its own.
    let stack = home.import(&to).unwrap();
    assert_eq!(stack.layers().len(), 2);
    let mut tree = stack.tree().clone();
    assert!(tree.remove(&path("etc/added")).is_some());
    let names = |tree: &Tree| -> Vec<TreePath> { tree.iter().map(|(path, _)| path.clone()).collect() };
    assert_eq!(names(&tree), names(&plant.tree));
    assert_whole(&stack);
}
