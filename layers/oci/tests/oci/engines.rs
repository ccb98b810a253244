//! skopeo, umoci, podman and buildah as referees.

use std::path::{Path, PathBuf};

use image::compress::Compression;
use layers::{Entry, Kind, Layer, MemoryContents, Time, Tree, TreePath};
use oci::{Form, Layout};

use crate::images::{
    GZIP, Home, ZSTD, assert_same, assert_whole, changes, description, meta, path, plant, system, whole, write,
};
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

/// The images that referees are shown: every kind of entry, everything that layers do to each other,
/// and a tree that was cut.
fn images() -> [(Vec<Layer>, MemoryContents, Tree); 3] {
    let plant = plant();
    let mut contents = MemoryContents::default();
    let (layers, tree) = changes(&mut contents);
    let mut parts = MemoryContents::default();
    let (cut, system) = system(&mut parts);
    [(vec![whole(&plant.tree)], plant.contents, plant.tree), (layers, contents, tree), (cut, parts, system)]
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
            let first = if let Kind::HardLink(first) = &entry.kind { tree.get(first).unwrap() } else { entry };
            let owned = other.meta.xattrs.contains_key(&b"user.rootlesscontainers"[..]);
            assert_eq!(owned, (first.meta.uid, first.meta.gid) != (0, 0), "{path}");
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
    // overlay keeps layers apart, vfs puts each on a copy of what is below; the one with whiteouts sees both.
    let [all, changes, cut] = images();
    for (driver, how, (layers, contents, tree)) in
        [("overlay", ZSTD, &all), ("overlay", ZSTD, &changes), ("vfs", GZIP, &changes), ("overlay", GZIP, &cut)]
    {
        let home = Home::new();
        let Some(podman) = Engine::new("podman", driver, &home) else { return };
        let mut tree = as_unpacked(tree);
        // Times before the epoch are the epoch to podman.
        let before = tree.iter_mut().filter(|(_, entry)| entry.meta.mtime < Time::default());
        before.for_each(|(_, entry)| entry.meta.mtime = Time::default());
        let image = written(&home, "image", layers, contents, how);
        let pulled = podman.run(&["pull", "--quiet", &format!("oci:{}:test", image.display())]);
        assert!(pulled.success);
        let id = last_line(&pulled.text);
        let mounted = podman.run(&["image", "mount", &id]);
        assert!(mounted.success);
        let mut found = differences(&tree, contents, Path::new(&last_line(&mounted.text)));
        // The root is podman's own, 0555, whatever an image says of it.
        found.retain(|line| !line.starts_with("/ has "));
        assert!(podman.run(&["image", "umount", &id]).success);
        assert!(found.is_empty(), "{driver} {how:?}: {:.2000}", found.join("\n"));
    }
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
    if !is_root() {
        return;
    }
    let home = Home::new();
    let Some(podman) = Engine::new("podman", "overlay", &home) else { return };
    let (tree, contents) = shell();
    let image = written(&home, "image", &[whole(&tree)], &contents, ZSTD);
    let pulled = podman.run(&["pull", "--quiet", &format!("oci:{}:test", image.display())]);
    assert!(pulled.success);
    let id = last_line(&pulled.text);
    // A machine may have control groups of both versions, which crun does not take, and limits that
    // a container may not go beyond.
    let apart = "if [ -d /sys/fs/cgroup/unified ]; then umount -l /sys/fs/cgroup && mount -t cgroup2 none /sys/fs/cgroup; fi; exec \"$@\"";
    let limits = ["--ulimit=nofile=1024:1024", "--ulimit=nproc=1000:1000"];
    let options = ["run", "--rm", "--network=none", "--cgroups=disabled", "--log-driver=none"];
    let inside = [&id, "/bin/sh", "-c", "echo $((6 * 7)) in $PATH"];
    let storage: Vec<&str> = podman.storage.iter().map(String::as_str).collect();
    let program = ["--mount", "sh", "-c", apart, "sh", podman.tool.to_str().unwrap()];
    let Some(unshare) = tool("unshare") else { return };
    let ran = says(&unshare, &[&program, storage.as_slice(), &options, &limits, &inside].concat());
    if !ran.success {
        println!("skipped: podman runs no containers on this machine");
        assert!(std::env::var_os("CI").is_none(), "{}", ran.text);
        return;
    }
    assert_eq!(last_line(&ran.text), "42 in /usr/bin:/bin");
}

#[test]
fn buildah_builds_on_it() {
    if !is_root() {
        return;
    }
    let home = Home::new();
    let Some(buildah) = Engine::new("buildah", "vfs", &home) else { return };
    let plant = plant();
    let image = written(&home, "image", &[whole(&plant.tree)], &plant.contents, ZSTD);
    let from = buildah.run(&["from", "--quiet", &format!("oci:{}:test", image.display())]);
    assert!(from.success);
    let container = last_line(&from.text);
    let added = home.path("added");
    std::fs::write(&added, "added").unwrap();
    assert!(buildah.run(&["copy", "--quiet", &container, added.to_str().unwrap(), "/etc/added"]).success);
    let to = home.path("built");
    let name = format!("oci:{}:test", to.display());
    assert!(buildah.run(&["commit", "--quiet", "--disable-compression=false", &container, &name]).success);
    // What buildah made of ours comes in again: our layer, and one of its own.
    let stack = home.import(&to).unwrap();
    assert_eq!(stack.layers().len(), 2);
    let mut tree = stack.tree().clone();
    assert!(tree.remove(&path("etc/added")).is_some());
    let names = |tree: &Tree| -> Vec<TreePath> { tree.iter().map(|(path, _)| path.clone()).collect() };
    assert_eq!(names(&tree), names(&plant.tree));
    assert_whole(&stack);
}

#[test]
fn skopeo_takes_one_platform_of_several_and_artifacts_along() {
    let Some(skopeo) = tool("skopeo") else { return };
    let home = Home::new();
    let plant = plant();
    let at = home.path("image");
    let mut writer = oci::Writer::create(&at, Form::Directory).unwrap();
    let request = oci::Export {
        tree: &plant.tree,
        contents: &plant.contents,
        origins: &[],
        base: None,
        layers: 64,
        compression: ZSTD,
        threads: 2,
        memory: None,
        has: None,
    };
    let images = ["amd64", "arm64"].map(|architecture| {
        let mut description = description();
        description.platform = oci::image::Platform::linux(architecture);
        oci::export(&writer, &request, &description).unwrap().descriptor
    });
    let index = oci::image::write_index(&writer, images.to_vec(), &Default::default()).unwrap();
    let sbom = oci::artifact::Attachment {
        media_type: "application/spdx+json".into(),
        title: "sbom.json".into(),
        reader: &mut &b"{}"[..],
    };
    let kind = "application/spdx+json";
    let sbom = oci::artifact::write(&writer, kind, Some(&index), vec![sbom], &Default::default()).unwrap();
    writer.add(index, Some("test"));
    writer.add(sbom, Some("sbom"));
    writer.finish().unwrap();
    let copy = |name: &str, options: &[&str]| {
        let (from, to) =
            (format!("oci:{}:{name}", at.display()), format!("oci:{}:{name}", home.path("copy").display()));
        assert!(
            says(&skopeo, &[&["--insecure-policy"], options, &["copy", "--quiet", "--all", &from, &to]].concat())
                .success
        );
    };
    copy("test", &[]);
    let stack = home.import(&home.path("copy")).unwrap();
    assert_same(stack.tree(), &plant.tree);
    let image = written(&home, "alone", &[whole(&plant.tree)], &plant.contents, ZSTD);
    let raw = |at: &Path, name: &str| {
        says(&skopeo, &["--insecure-policy", "inspect", "--raw", &format!("oci:{}:{name}", at.display())]).text
    };
    assert!(raw(&at, "sbom").contains("\"subject\""));
    assert!(raw(&image, "test").contains("manifest.v1+json"));
}
