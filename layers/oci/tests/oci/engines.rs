//! skopeo, umoci, podman and buildah as referees.

use std::path::{Path, PathBuf};

use image::compress::Compression;
use layers::{Kind, Layer, MemoryContents, Time, Tree};
use oci::{Form, Layout};

use crate::images::{GZIP, Home, ZSTD, assert_same, changes, description, plant, whole, write};
use crate::referee::kernel::differences;
use crate::referee::{Verdict, run, tool};

fn is_root() -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        println!("skipped: only root gives files away");
    }
    root
}

fn says(tool: &Path, arguments: &[&str]) -> Verdict {
    let verdict = run(tool, arguments);
    if !verdict.success {
        println!("{} {}: {}", tool.display(), arguments.join(" "), verdict.text);
    }
    verdict
}

/// The images that referees are shown: every kind of entry, and everything that layers do to each
/// other.
fn images() -> Vec<(Vec<Layer>, MemoryContents, Tree)> {
    let plant = plant();
    let mut contents = MemoryContents::default();
    let (layers, tree) = changes(&mut contents);
    vec![(vec![whole(&plant.tree)], plant.contents, plant.tree), (layers, contents, tree)]
}

/// What engines make of a tree: Go's tar reader takes records without a value for none, and labels are
/// left to the machine that the image runs on.
fn as_unpacked(tree: &Tree) -> Tree {
    let mut tree = tree.clone();
    for (_, entry) in tree.iter_mut() {
        entry.meta.xattrs.retain(|name, value| !value.is_empty() && &**name != b"security.selinux");
    }
    tree
}

fn written(home: &Home, name: &str, layers: &[Layer], contents: &MemoryContents, how: Compression) -> PathBuf {
    let at = home.path(name);
    write(&at, Form::Directory, layers, contents, how, 2);
    at
}

fn flip(layout: &Path) {
    let image = Layout::open(layout).unwrap();
    let found = oci::image::find(&image, image.index(), &crate::images::named()).unwrap();
    let path = layout.join("blobs/sha256").join(found.manifest.layers()[0].digest().digest());
    let mut bytes = std::fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(path, bytes).unwrap();
}

#[test]
fn skopeo_copies_both_forms_and_sees_damage() {
    let Some(skopeo) = tool("skopeo") else { return };
    for how in [ZSTD, GZIP] {
        let home = Home::new();
        let plant = plant();
        let to = home.path("copy");
        let copy = |from: &str| {
            let _ = std::fs::remove_dir_all(&to);
            let to = format!("oci:{}:test", to.display());
            says(&skopeo, &["--insecure-policy", "copy", "--quiet", from, &to])
        };
        let directory = written(&home, "image", &[whole(&plant.tree)], &plant.contents, how);
        let archive = home.path("image.tar");
        write(&archive, Form::Archive, &[whole(&plant.tree)], &plant.contents, how, 2);
        for from in [format!("oci:{}:test", directory.display()), format!("oci-archive:{}:test", archive.display())] {
            assert!(copy(&from).success);
            let stack = home.import(&to).unwrap();
            assert_same(stack.tree(), &plant.tree);
        }
        let shown =
            says(&skopeo, &["--insecure-policy", "inspect", "--config", &format!("oci:{}:test", directory.display())]);
        let config: serde_json::Value = serde_json::from_str(&shown.text).unwrap();
        assert_eq!(config["created"], "2024-02-29T13:37:42Z");
        assert_eq!(config["history"][0]["created_by"], description().tool);
        flip(&directory);
        assert!(!copy(&format!("oci:{}:test", directory.display())).success);
        assert!(Home::new().import(&directory).is_err());
    }
}

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
            let owned = other.meta.xattrs.contains_key(&b"user.rootlesscontainers"[..]);
            assert_eq!(
                owned,
                (entry.meta.uid, entry.meta.gid) != (0, 0) && !matches!(entry.kind, Kind::HardLink(_)),
                "{path}"
            );
        }
        assert_eq!(shown.len(), tree.len());
    }
}

/// An engine with a storage of its own.
struct Engine<'h> {
    tool: PathBuf,
    storage: Vec<String>,
    home: &'h Home,
}

impl<'h> Engine<'h> {
    fn new(name: &str, driver: &str, home: &'h Home) -> Option<Self> {
        let tool = tool(name)?;
        let at = |name: &str| home.path(name).display().to_string();
        let storage =
            vec!["--root".into(), at("root"), "--runroot".into(), at("run"), "--storage-driver".into(), driver.into()];
        let engine = Self { tool, storage, home };
        let verdict = engine.run(&["info"]);
        if !verdict.success {
            println!("skipped: {name} does not run on this machine with {driver}");
            assert!(std::env::var_os("CI").is_none(), "{}", verdict.text);
            return None;
        }
        Some(engine)
    }

    fn run(&self, arguments: &[&str]) -> Verdict {
        let storage: Vec<&str> = self.storage.iter().map(String::as_str).collect();
        says(&self.tool, &[storage.as_slice(), arguments].concat())
    }
}

impl Drop for Engine<'_> {
    fn drop(&mut self) {
        // What is mounted below cannot be removed with the directory.
        let root = self.home.path("root").join("overlay");
        let _ = std::process::Command::new("umount").arg("--lazy").arg(root).output();
    }
}

fn last_line(text: &str) -> String {
    text.trim().lines().last().unwrap_or_default().to_owned()
}

#[test]
fn podman_has_the_tree() {
    if !is_root() {
        return;
    }
    for driver in ["overlay", "vfs"] {
        for (layers, contents, tree) in images() {
            let home = Home::new();
            let Some(podman) = Engine::new("podman", driver, &home) else { return };
            let mut tree = as_unpacked(&tree);
            // Times before the epoch are the epoch to podman.
            let before = tree.iter_mut().filter(|(_, entry)| entry.meta.mtime < Time::default());
            before.for_each(|(_, entry)| entry.meta.mtime = Time::default());
            for how in [ZSTD, GZIP] {
                let name = format!("{how:?}").replace(['(', ')'], "").to_lowercase();
                let image = written(&home, &name, &layers, &contents, how);
                let pulled = podman.run(&["pull", "--quiet", &format!("oci:{}:test", image.display())]);
                assert!(pulled.success);
                let id = last_line(&pulled.text);
                let mounted = podman.run(&["image", "mount", &id]);
                assert!(mounted.success);
                let mut found = differences(&tree, &contents, Path::new(&last_line(&mounted.text)));
                // The root is podman's own, 0555, whatever an image says of it.
                found.retain(|line| !line.starts_with("/ has "));
                assert!(podman.run(&["image", "umount", &id]).success);
                assert!(found.is_empty(), "{driver} {how:?}: {:.2000}", found.join("\n"));
                assert!(podman.run(&["rmi", "--force", &id]).success);
            }
        }
    }
}
