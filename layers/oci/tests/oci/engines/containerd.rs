//! containerd, with a daemon of the test's own.

use layers::Tree;

use super::judge;

/// What containerd makes of a tree: attributes that are the administrator's of the machine are left to them.
fn as_unpacked(tree: &Tree) -> Tree {
    let mut tree = tree.clone();
    for (_, entry) in tree.iter_mut() {
        entry.meta.xattrs.retain(|name, _| !name.starts_with(b"trusted."));
    }
    tree
}

/// overlayfs keeps layers apart, native puts each on a copy of what is below.
#[test]
fn containerd_has_the_tree() {
    judge("containerd", "overlayfs", as_unpacked, |_| true);
}

#[test]
fn containerd_has_the_tree_without_overlay() {
    judge("containerd", "native", as_unpacked, |sample| sample.has_whiteouts());
}
