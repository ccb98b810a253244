//! A tree is divided by mount points: what lies below one becomes a tree of its own.

use std::collections::BTreeMap;

use layers::{Entry, Kind, Meta, Tree, TreePath};

use crate::error::{Error, ResultExt};

/// The trees of the partitions of an image.
#[derive(Debug)]
pub struct Divided {
    /// By mount point, the root's among them; paths begin at the mount point.
    pub trees: BTreeMap<TreePath, Tree>,
}

/// Divides a tree. The directory at a mount point stays, empty, and the root of what is mounted over
/// it has the same owner, mode and times. A file with names on both sides of a border becomes a file
/// on each (docs/decisions/partitions.md).
///
/// # Errors
/// A mount point is no directory, or is reached through a symbolic link only.
pub fn divide(mut tree: Tree, mounts: &[TreePath]) -> Result<Divided, Error> {
    let mut mounts: Vec<&TreePath> = mounts.iter().filter(|mount| !mount.is_root()).collect();
    // The deepest first: what lies below it is gone when the one above it is taken.
    mounts.sort_by_key(|mount| std::cmp::Reverse(mount.components().count()));
    for mount in &mounts {
        check(&tree, mount)?;
    }
    cut_links(&mut tree, &mounts)?;
    let mut trees = BTreeMap::new();
    for mount in mounts {
        let taken = take(&mut tree, mount)?;
        trees.insert(mount.clone(), taken);
    }
    trees.insert(TreePath::root(), tree);
    Ok(Divided { trees })
}

fn check(tree: &Tree, mount: &TreePath) -> Result<(), Error> {
    let reached = tree.resolve(mount).to("follow links in the image")?;
    if reached != *mount {
        return Err(Error::build(format!("failed to mount a partition at {mount}: it is a link to {reached}"))
            .hint(format!("write mount: {reached}")));
    }
    for path in mount.ancestors().chain([mount.clone()]) {
        if tree.get(&path).is_some_and(|entry| !entry.is_directory()) {
            return Err(Error::build(format!("failed to mount a partition at {mount}: {path} is a file"))
                .hint("name another mount point in disk.partitions"));
        }
    }
    Ok(())
}

/// The mount point whose partition a path lies in; `mounts` has the deepest first.
fn home<'a>(path: &TreePath, mounts: &[&'a TreePath]) -> Option<&'a TreePath> {
    mounts.iter().copied().find(|mount| path.is_below(mount))
}

/// Makes hard links whose target is in another partition into files; several of one partition stay
/// links of one another.
fn cut_links(tree: &mut Tree, mounts: &[&TreePath]) -> Result<(), Error> {
    let mut firsts: BTreeMap<(Option<&TreePath>, TreePath), TreePath> = BTreeMap::new();
    let mut changes = Vec::new();
    for (path, entry) in tree.iter() {
        let Kind::HardLink(target) = &entry.kind else { continue };
        let place = home(path, mounts);
        if place == home(target, mounts) {
            continue;
        }
        // In the order of paths, so that the first comes before those that link to it.
        let changed = match firsts.get(&(place, target.clone())) {
            Some(first) => Entry { kind: Kind::HardLink(first.clone()), meta: entry.meta.clone() },
            None => {
                firsts.insert((place, target.clone()), path.clone());
                tree.get(target).cloned().ok_or_else(|| Error::build(format!("failed to find {target}")))?
            }
        };
        changes.push((path.clone(), changed));
    }
    for (path, entry) in changes {
        tree.insert(path, entry).to("divide the tree among the partitions")?;
    }
    Ok(())
}

/// Takes what lies below a mount point out of a tree.
fn take(tree: &mut Tree, mount: &TreePath) -> Result<Tree, Error> {
    const ACTION: &str = "divide the tree among the partitions";
    let inner = |path: &TreePath| {
        let rest = path.as_bytes().get(mount.as_bytes().len()..).unwrap_or_default();
        TreePath::new(rest).to(ACTION)
    };
    // Where configuration was left out, the mount point may be missing.
    let meta = tree.get(mount).map_or_else(|| Meta { mode: 0o755, ..Meta::default() }, |entry| entry.meta.clone());
    let mut taken = Tree::new(meta);
    for (path, entry) in tree.below(mount) {
        let kind = match &entry.kind {
            Kind::HardLink(target) => Kind::HardLink(inner(target)?),
            kind => kind.clone(),
        };
        taken.insert(inner(path)?, Entry { kind, meta: entry.meta.clone() }).to(ACTION)?;
    }
    tree.clear_below(mount);
    Ok(taken)
}

#[cfg(test)]
mod tests {
    use super::*;
    use layers::{Content, Time};

    fn path(text: &str) -> TreePath {
        TreePath::new(text).unwrap()
    }

    fn tree(entries: &[(&str, Kind)]) -> Tree {
        let mut tree = Tree::default();
        for (number, (name, kind)) in (1..).zip(entries) {
            let meta = Meta { uid: number, ..Meta::root_owned(0o750, Time::seconds(i64::from(number))) };
            tree.insert(path(name), Entry { kind: kind.clone(), meta }).unwrap();
        }
        tree
    }

    fn names(tree: &Tree) -> Vec<String> {
        tree.iter().map(|(path, _)| path.to_string()).collect()
    }

    #[test]
    fn what_lies_below_a_mount_point_is_taken_and_the_directory_stays() {
        let file = || Kind::File(Content::of(b"x"));
        let whole = tree(&[
            ("boot", Kind::Directory),
            ("boot/efi", Kind::Directory),
            ("boot/efi/a", file()),
            ("boot/vmlinuz", file()),
            // A name that only begins like a mount point.
            ("boots", file()),
            ("home", Kind::Directory),
            ("home/ann", Kind::Directory),
            ("home/ann/b", file()),
        ]);
        let meta = whole.get(&path("home")).unwrap().meta.clone();
        let divided = divide(whole, &[path("boot"), path("home"), TreePath::root(), path("boot/efi")]).unwrap();
        assert_eq!(names(&divided.trees[&TreePath::root()]), ["/", "/boot", "/boots", "/home"]);
        assert_eq!(names(&divided.trees[&path("boot")]), ["/", "/efi", "/vmlinuz"]);
        assert_eq!(names(&divided.trees[&path("boot/efi")]), ["/", "/a"]);
        assert_eq!(names(&divided.trees[&path("home")]), ["/", "/ann", "/ann/b"]);
        assert_eq!(divided.trees[&path("home")].get(&TreePath::root()).unwrap().meta, meta);
        assert_eq!(divided.trees[&TreePath::root()].get(&path("home")).unwrap().meta, meta);
    }

    #[test]
    fn a_file_with_names_in_two_partitions_becomes_a_file_in_each() {
        let link = || Kind::HardLink(path("a"));
        let whole = tree(&[
            ("a", Kind::File(Content::of(b"x"))),
            ("b", link()),
            ("var", Kind::Directory),
            ("var/c", link()),
            ("var/d", link()),
            ("var/lib", Kind::Directory),
            ("var/lib/e", link()),
        ]);
        let meta = whole.get(&path("a")).unwrap().meta.clone();
        let divided = divide(whole, &[path("var"), path("var/lib")]).unwrap();
        let [root, var, lib] = ["", "var", "var/lib"].map(|mount| &divided.trees[&path(mount)]);
        for tree in [root, var, lib] {
            tree.check().unwrap();
        }
        assert_eq!(root.get(&path("b")).unwrap().kind, link());
        assert_eq!(*var.get(&path("c")).unwrap(), Entry::file(Content::of(b"x"), meta.clone()));
        assert_eq!(var.get(&path("d")).unwrap().kind, Kind::HardLink(path("c")));
        assert_eq!(*lib.get(&path("e")).unwrap(), Entry::file(Content::of(b"x"), meta));
    }

    #[test]
    fn files_and_links_are_no_mount_points() {
        let whole = || {
            tree(&[
                ("data", Kind::Directory),
                ("file", Kind::File(Content::of(b"x"))),
                ("link", Kind::Symlink(b"data".as_slice().into())),
            ])
        };
        for bad in ["file", "file/below", "link", "link/below"] {
            assert!(divide(whole(), &[path(bad)]).is_err(), "{bad}");
        }
        let hint = divide(whole(), &[path("link/below")]).unwrap_err();
        assert!(format!("{hint:?}").contains("write mount: /data/below"), "{hint:?}");
        // What is not there has nothing in it.
        assert_eq!(divide(whole(), &[path("other")]).unwrap().trees[&path("other")].len(), 1);
    }
}
