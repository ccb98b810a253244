//! podman: its storage, and containers that it runs.

use std::path::Path;

use layers::{Entry, MemoryContents, Tree, TreePath};
use oci::Form;

use super::{as_unpacked, is_root, judge, start};
use crate::images::{Home, ZSTD, meta, whole, write};
use crate::referee::{run, tool};

/// overlay keeps layers apart, vfs puts each on a copy of what is below.
#[test]
fn podman_has_the_tree() {
    judge("podman", "overlay", as_unpacked, |_| true);
}

#[test]
fn podman_has_the_tree_without_overlay() {
    judge("podman", "vfs", as_unpacked, |sample| sample.has_whiteouts());
}

/// Files of this machine that make a shell run.
fn shell() -> (Tree, MemoryContents) {
    let (mut tree, mut contents) = (Tree::default(), MemoryContents::default());
    let listed = run(Path::new("/usr/bin/ldd"), &["/bin/sh"]).text;
    let libraries = listed.split_whitespace().filter(|word| word.starts_with('/'));
    for file in ["/bin/sh"].into_iter().chain(libraries) {
        let path = TreePath::new(file).unwrap();
        tree.create_directories(&path.parent().unwrap(), &meta(0o755)).unwrap();
        let content = contents.add(std::fs::read(file).unwrap());
        tree.insert(path, Entry::file(content, meta(0o755))).unwrap();
    }
    for directory in ["proc", "sys", "dev", "etc", "run", "tmp"] {
        tree.create_directories(&TreePath::new(directory).unwrap(), &meta(0o755)).unwrap();
    }
    (tree, contents)
}

#[test]
fn podman_runs_it() {
    if !is_root() || tool("unshare").is_none() {
        return;
    }
    let home = Home::new();
    let Some(podman) = start("podman", "overlay", &home) else { return };
    let (tree, contents) = shell();
    let archive = home.path("image.tar");
    write(&archive, Form::Archive, &[whole(&tree)], &contents, ZSTD, 2);
    let image = podman.load(&archive, "amd64").unwrap();
    match podman.run_container(&image, &["/bin/sh", "-c", "echo $((6 * 7)) in $PATH"]) {
        Ok(said) => assert_eq!(said.trim(), "42 in /usr/bin:/bin"),
        Err(said) => {
            println!("skipped: podman runs no containers on this machine");
            assert!(std::env::var_os("CI").is_none(), "{said}");
        }
    }
}
