//! umoci, which unpacks images, also without root.

use layers::Kind;

use super::samples::images;
use super::{as_unpacked, flip, is_root, says, written};
use crate::images::{GZIP, Home};
use crate::referee::kernel::differences;
use crate::referee::tool;

#[test]
fn umoci_unpacks_the_tree() {
    let (Some(umoci), true) = (tool("umoci"), is_root()) else { return };
    for (layers, contents, tree) in images() {
        let home = Home::new();
        let tree = as_unpacked(&tree);
        let image = written(&home, "image", &layers, &contents, GZIP);
        let bundle = home.path("bundle");
        let from = format!("{}:test", image.display());
        assert!(says(&umoci, &["unpack", "--image", &from, bundle.to_str().unwrap()]).success);
        let rootfs = bundle.join("rootfs");
        let found = differences(&tree, &contents, &rootfs);
        assert!(found.is_empty(), "{:.2000}", found.join("\n"));
        // The referee sees what is wrong.
        let mut other = tree.clone();
        other.iter_mut().for_each(|(_, entry)| entry.meta.uid ^= 1);
        assert!(differences(&other, &contents, &rootfs).len() > 5);
        flip(&image);
        let again = home.path("again");
        assert!(!says(&umoci, &["unpack", "--image", &from, again.to_str().unwrap()]).success);
    }
}

#[test]
fn umoci_without_root_unpacks_what_it_can() {
    let Some(umoci) = tool("umoci") else { return };
    for (layers, contents, tree) in images() {
        let home = Home::new();
        let image = written(&home, "image", &layers, &contents, GZIP);
        let bundle = home.path("bundle");
        let from = format!("{}:test", image.display());
        assert!(says(&umoci, &["unpack", "--rootless", "--image", &from, bundle.to_str().unwrap()]).success);
        let (shown, _) = crate::referee::host::read(&bundle.join("rootfs"));
        for (path, entry) in tree.iter() {
            let other = shown.get(path).unwrap_or_else(|| panic!("{path} is missing"));
            // Devices become files, owners an attribute.
            match (&entry.kind, &other.kind) {
                (Kind::File(_), Kind::File(_)) | (Kind::HardLink(_), Kind::HardLink(_)) => {}
                (Kind::CharDevice { .. } | Kind::BlockDevice { .. }, _) => {}
                (planned, shown) => assert_eq!(planned, shown, "{path}"),
            }
            let first = if let Kind::HardLink(first) = &entry.kind { tree.get(first).unwrap() } else { entry };
            let owned = other.meta.xattrs.contains_key(&b"user.rootlesscontainers"[..]);
            assert_eq!(owned, (first.meta.uid, first.meta.gid) != (0, 0), "{path}");
        }
        assert_eq!(shown.len(), tree.len());
    }
}
