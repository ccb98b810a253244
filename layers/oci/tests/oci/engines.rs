//! skopeo, umoci, podman, buildah and containerd as referees: what they make of an image is our tree, and
//! they object to one that is damaged.

mod buildah;
mod containerd;
mod engine;
mod podman;
mod samples;
mod skopeo;
mod umoci;

use std::path::{Path, PathBuf};

use image::compress::Compression;
use layers::{Kind, Layer, MemoryContents, Time, Tree};
use oci::{Form, Layout};

use crate::images::{Home, path, write};
use crate::referee::kernel::differences;
use crate::referee::{Verdict, run, tool};
use engine::Engine;
use samples::{Sample, samples};

fn is_root() -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        println!("skipped: only root gives files away");
        assert!(std::env::var_os("CI").is_none(), "with CI set the suite must run as root");
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

/// What Go's tar reader makes of a tree, which takes records without a value for none, where labels are
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
    flip_the_middle(&path);
}

fn flip_the_middle(path: &Path) {
    let mut bytes = std::fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(path, bytes).unwrap();
}

/// An engine where the machine has it and lets it work.
fn start(name: &'static str, driver: &'static str, home: &Home) -> Option<Engine> {
    tool(name)?;
    if name == "containerd" {
        tool("ctr")?;
    }
    match Engine::start(name, driver, home.directory.path()) {
        Ok(engine) => Some(engine),
        Err(said) => {
            println!("skipped: {name} does not run on this machine with {driver}");
            assert!(std::env::var_os("CI").is_none(), "{said}");
            None
        }
    }
}

type Change = (&'static str, fn(&mut Tree));

/// One change of everything that is said of a path.
const CHANGES: &[Change] = &[
    ("etc/hostname", |tree| tree.get_mut(&path("etc/hostname")).unwrap().meta.uid = 1),
    ("usr/bin/owned", |tree| tree.get_mut(&path("usr/bin/owned")).unwrap().meta.gid = 1),
    ("usr/bin/su", |tree| tree.get_mut(&path("usr/bin/su")).unwrap().meta.mode = 0o755),
    ("usr/bin/new", |tree| tree.get_mut(&path("usr/bin/new")).unwrap().meta.mtime.nanoseconds -= 1),
    ("empty", |tree| tree.get_mut(&path("empty")).unwrap().meta.mtime.seconds += 1),
    ("usr/bin/ping", |tree| tree.get_mut(&path("usr/bin/ping")).unwrap().meta.xattrs.clear()),
    ("acl", |tree| drop(tree.get_mut(&path("acl")).unwrap().meta.xattrs.pop_first())),
    ("a/link59", |tree| tree.get_mut(&path("a/link59")).unwrap().kind = Kind::Symlink(b"elsewhere"[..].into())),
    ("zz", |tree| *tree.get_mut(&path("zz")).unwrap() = tree.get(&path("usr/bin/tool")).unwrap().clone()),
    ("dev/null", |tree| tree.get_mut(&path("dev/null")).unwrap().kind = Kind::CharDevice { major: 1, minor: 5 }),
    ("etc/hostname", |tree| {
        tree.get_mut(&path("etc/hostname")).unwrap().kind = tree.get(&path("usr/bin/su")).unwrap().kind.clone();
    }),
    ("etc/more", |tree| tree.insert(path("etc/more"), tree.get(&path("dev/fifo")).unwrap().clone()).map(drop).unwrap()),
];

/// A root that is a tree's is not that of a tree with any one change.
fn assert_sees_changes(tree: &Tree, contents: &MemoryContents, root: &Path) {
    for (place, change) in CHANGES {
        let mut changed = tree.clone();
        change(&mut changed);
        let found = differences(&changed, contents, root);
        let name = format!("/{place} ");
        assert!(found.iter().any(|line| line.starts_with(&name)), "a change of {place} goes unnoticed: {found:?}");
    }
}

/// An engine makes of every sample the tree that is `expected` of it, and takes nothing that is damaged.
fn judge(name: &'static str, driver: &'static str, expected: fn(&Tree) -> Tree, wanted: fn(&Sample) -> bool) {
    if !is_root() {
        return;
    }
    let written = Home::new();
    for sample in samples(&written).iter().filter(|sample| wanted(sample)) {
        let home = Home::new();
        let Some(mut engine) = start(name, driver, &home) else { return };
        let mut tree = expected(&sample.tree);
        // To all three of them times before the epoch are the epoch.
        let before = tree.iter_mut().filter(|(_, entry)| entry.meta.mtime < Time::default());
        before.for_each(|(_, entry)| entry.meta.mtime = Time::default());
        let image = engine.load(&sample.archive, sample.architecture).unwrap();
        let root = engine.mount(&image, sample.architecture).unwrap();
        let mut found = differences(&tree, &sample.contents, &root);
        // The root is the engine's own, 0755 or 0555 and of now, whatever an image says of it.
        found.retain(|line| !line.starts_with("/ has "));
        assert!(found.is_empty(), "{name} {driver} {}: {:.2000}", sample.what, found.join("\n"));
        if let Some(hidden) = &sample.hidden {
            let found = differences(&expected(hidden), &sample.contents, &root);
            assert!(found.len() > 3, "{name} {driver} {}: what is hidden goes unnoticed", sample.what);
        }
        if sample.what != samples::ALL {
            continue;
        }
        assert_sees_changes(&tree, &sample.contents, &root);
        let other = Home::new();
        let Some(engine) = start(name, driver, &other) else { return };
        engine.load(&sample.archive, sample.architecture).unwrap();
        flip_the_middle(&sample.archive);
        let other = Home::new();
        let Some(mut engine) = start(name, driver, &other) else { return };
        let again = engine.load(&sample.archive, sample.architecture);
        let again = again.and_then(|image| engine.mount(&image, sample.architecture));
        println!("{name} of a damaged image: {}", again.expect_err("a damaged image is taken"));
    }
}
