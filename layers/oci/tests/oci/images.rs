//! Images to be tested.

use std::collections::BTreeMap;
use std::io::{Cursor, Read};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use image::compress::Compression;
use layers::{Change, Contents, Entry, Kind, Layer, MemoryContents, Meta, Sha256, Stack, Store, Tree, TreePath};
use oci::image::{Description, Image, Platform, Wanted, find};
use oci::import::{Limits, import};
use oci::oci_spec::image::{Descriptor, ImageIndex, MediaType};
use oci::{Blobs, Error, Form, Layout, Packed, Writer};

use crate::referee::corners::corners;
use crate::referee::{Planter, TIME};

pub const ZSTD: Compression = Compression::Zstd(3);
pub const GZIP: Compression = Compression::Gzip(6);

pub fn path(text: &str) -> TreePath {
    TreePath::new(text).unwrap()
}

pub fn meta(mode: u32) -> Meta {
    Meta::root_owned(mode, TIME)
}

/// Every kind of entry that tar knows.
pub fn plant() -> Planter {
    let mut plant = corners();
    plant.tree.remove(&path("dev/socket"));
    plant.file(&format!("long/{}/{}", "d".repeat(120), "f".repeat(200)), "far down");
    // What is said of a link is its file's.
    for (_, entry) in plant.tree.iter_mut().filter(|(_, entry)| matches!(entry.kind, Kind::HardLink(_))) {
        entry.meta = Meta::default();
    }
    // umoci counts nanoseconds in 64 bits, which end in 2262.
    plant.tree.get_mut(&path("usr/bin/new")).unwrap().meta.mtime.seconds = 9_000_000_000;
    plant
}

pub fn description() -> Description {
    let mut description = Description::new(Platform::linux("amd64"), TIME.seconds);
    description.env = vec!["PATH=/usr/bin:/bin".into()];
    description.cmd = vec!["/bin/sh".into()];
    description.labels = (0..9).map(|number| (format!("label{number}"), "x".to_owned())).collect();
    description.annotations.insert("org.opencontainers.image.title".into(), "test".into());
    description
}

/// Writes layers as they are as an image that is called `test`.
pub fn write(to: &Path, form: Form, layers: &[Layer], contents: &dyn Contents, how: Compression, threads: usize) {
    let mut writer = Writer::create(to, form).unwrap();
    let packed: Vec<(Packed, Vec<String>)> =
        layers.iter().map(|layer| (writer.layer(layer, contents, how, threads).unwrap(), vec![])).collect();
    let manifest = oci::image::write(&writer, None, &packed, &description()).unwrap();
    writer.add(manifest, Some("test"));
    writer.finish().unwrap();
}

/// The layer that makes a tree of nothing.
pub fn whole(tree: &Tree) -> Layer {
    Layer::of(tree.iter().map(|(path, entry)| (path.clone(), entry.clone())))
}

pub fn named() -> Wanted {
    Wanted { name: Some("test".into()), platform: Some(Platform::linux("amd64")) }
}

/// A store of one test.
pub struct Home {
    pub directory: tempfile::TempDir,
    pub store: Store,
}

impl Home {
    pub fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        // podman takes no paths with capital letters in them.
        let name = format!("oci-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let directory = tempfile::Builder::new().prefix(&name).rand_bytes(0).tempdir().unwrap();
        let store = Store::open(&directory.path().join("store"), "test").unwrap();
        Self { directory, store }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub fn layers(&self) -> usize {
        std::fs::read_dir(self.store.root().join("layers")).unwrap().count()
    }

    pub fn work(&self) -> usize {
        std::fs::read_dir(self.store.root().join("tmp")).unwrap().count()
    }

    pub fn import(&self, layout: &Path) -> Result<Stack, Error> {
        let layout = Layout::open(layout)?;
        let image = find(&layout, layout.index(), &named())?;
        import(&image, &layout, &self.store, &Limits::default())
    }
}

/// Trees are equal; told by the paths that differ, as trees are long.
#[track_caller]
pub fn assert_same(one: &Tree, two: &Tree) {
    let missing = |from: &Tree, other: &Tree| -> Vec<String> {
        let differs = from.iter().filter(|(path, entry)| other.get(path) != Some(*entry));
        differs.take(9).map(|(path, entry)| format!("{path} {entry:?}").chars().take(300).collect()).collect()
    };
    assert_eq!(missing(one, two), missing(two, one));
}

/// Every file of a tree is what its content says, as the stack gives it.
pub fn assert_whole(stack: &Stack) {
    for (path, entry) in stack.tree().iter() {
        if let Kind::File(content) = &entry.kind {
            let mut bytes = Vec::new();
            stack.open(content).unwrap().read_to_end(&mut bytes).unwrap();
            assert_eq!(layers::Content::of(&bytes), *content, "{path}");
        }
    }
    assert!(stack.layers().iter().all(layers::StoredLayer::is_whole));
}

/// Layers with all that layers can do to what is below them, and the tree that they make.
pub fn changes(contents: &mut MemoryContents) -> (Vec<Layer>, Tree) {
    let mut tree = Tree::default();
    for directory in ["keep", "gone/deep", "opaque/old", "turns", "again"] {
        tree.create_directories(&path(directory), &meta(0o755)).unwrap();
    }
    let file = |contents: &mut MemoryContents, text: &str| Entry::file(contents.add(text), meta(0o644));
    for name in ["keep/a", "keep/b", "gone/deep/file", "opaque/old/file", "opaque/same", "turns/x", "file", "again/y"] {
        let entry = file(contents, name);
        tree.insert(path(name), entry).unwrap();
    }
    tree.insert(path("keep/linked"), Entry { kind: Kind::HardLink(path("keep/a")), meta: Meta::default() }).unwrap();
    let bottom = whole(&tree);
    let mut changes = BTreeMap::new();
    let mut set = |name: &str, change: Change| changes.insert(path(name), change);
    set("keep", Change::Set(Entry::directory(meta(0o750))));
    set("keep/b", Change::Remove);
    set("keep/c", Change::Set(file(contents, "c")));
    set("gone", Change::Remove);
    set("opaque", Change::Replace(Entry::directory(meta(0o700))));
    set("opaque/same", Change::Set(file(contents, "new")));
    set("turns", Change::Set(Entry::symlink(b"keep", TIME)));
    set("file", Change::Set(Entry::directory(meta(0o755))));
    set("file/below", Change::Set(file(contents, "below")));
    set("", Change::Set(Entry::directory(meta(0o755))));
    let middle = Layer { changes };
    let mut changes = BTreeMap::new();
    changes.insert(path(""), Change::Set(Entry::directory(meta(0o755))));
    changes.insert(path("again"), Change::Replace(Entry::directory(meta(0o755))));
    changes.insert(path("again/z"), Change::Set(file(contents, "z")));
    changes.insert(path("opaque"), Change::Set(Entry::directory(meta(0o711))));
    let layers = vec![bottom, middle, Layer { changes }];
    let mut tree = Tree::default();
    for layer in &layers {
        tree.apply(layer).unwrap();
    }
    (layers, tree)
}

/// Blobs in memory, and an image of them.
#[derive(Default, Clone)]
pub struct Memory(pub BTreeMap<String, Vec<u8>>);

impl Memory {
    pub fn add(&mut self, media_type: &str, bytes: impl Into<Vec<u8>>) -> Descriptor {
        let bytes = bytes.into();
        let digest = oci::blob::digest(&Sha256::of(&bytes)).unwrap();
        let descriptor = Descriptor::new(MediaType::from(media_type), bytes.len() as u64, digest);
        self.0.insert(descriptor.digest().to_string(), bytes);
        descriptor
    }

    /// An image of one layer of plain tars each.
    pub fn image(&mut self, tars: &[Vec<u8>]) -> Result<Image, Error> {
        let layers: Vec<Descriptor> =
            tars.iter().map(|tar| self.add("application/vnd.oci.image.layer.v1.tar", tar.clone())).collect();
        let diff_ids: Vec<String> = tars.iter().map(|tar| format!("sha256:{}", Sha256::of(tar))).collect();
        self.image_of(&layers, &diff_ids)
    }

    pub fn image_of(&mut self, layers: &[Descriptor], diff_ids: &[String]) -> Result<Image, Error> {
        let config = serde_json::json!({
            "architecture": "amd64", "os": "linux", "rootfs": { "type": "layers", "diff_ids": diff_ids },
        });
        let config = self.add("application/vnd.oci.image.config.v1+json", config.to_string());
        let manifest = serde_json::json!({ "schemaVersion": 2, "config": config, "layers": layers });
        self.manifest(&manifest)
    }

    pub fn manifest(&mut self, manifest: &serde_json::Value) -> Result<Image, Error> {
        let descriptor = self.add("application/vnd.oci.image.manifest.v1+json", manifest.to_string());
        let index = serde_json::json!({ "schemaVersion": 2, "manifests": [descriptor] });
        let index: ImageIndex = serde_json::from_value(index).unwrap();
        find(self, &index, &Wanted::default())
    }
}

impl Blobs for Memory {
    fn open(&self, descriptor: &Descriptor) -> Result<Box<dyn Read + Send + '_>, Error> {
        match self.0.get(&descriptor.digest().to_string()) {
            Some(bytes) => Ok(Box::new(Cursor::new(bytes))),
            None => Err(Error::Blob { digest: descriptor.digest().to_string(), reason: "it is not there".into() }),
        }
    }
}

/// A system of packages, a step and what the step changed, cut into layers; and its tree.
pub fn system(contents: &mut MemoryContents) -> (Vec<Layer>, Tree) {
    let mut tree = Tree::default();
    let mut packages = Vec::new();
    for number in 0..12u32 {
        let mut layer = Layer::default();
        let time = layers::Time::seconds(1_600_000_000 + i64::from(number));
        for (name, mode) in [("", 0o755), ("usr", 0o755), ("usr/bin", 0o755), ("root", 0o700), ("tmp", 0o1777)] {
            let entry = Entry::directory(Meta { gid: number / 11 * 7, ..Meta::root_owned(mode, time) });
            layer.changes.insert(path(name), Change::Set(entry));
        }
        for name in [format!("usr/bin/tool{number}"), format!("root/.rc{number}"), format!("tmp/x{number}")] {
            let size = if number % 3 == 0 { 500_000 } else { 10 };
            let content = contents.add(crate::referee::noise(number.into(), size, 5));
            layer.changes.insert(path(&name), Change::Set(Entry::file(content, Meta::root_owned(0o755, time))));
        }
        let link = Entry { kind: Kind::HardLink(path(&format!("root/.rc{number}"))), meta: Meta::default() };
        layer.changes.insert(path(&format!("usr/bin/rc{number}")), Change::Set(link));
        tree.apply(&layer).unwrap();
        packages.push((format!("package{number}"), layer));
    }
    let before = tree.clone();
    tree.get_mut(&path("root/.rc3")).unwrap().meta.uid = 33;
    tree.remove(&path("usr/bin/rc4"));
    tree.insert(path("usr/bin/status"), Entry::file(contents.add("installed"), meta(0o600))).unwrap();
    let step = Layer::between(&before, &tree);
    let mut origins: Vec<oci::Origin<'_>> =
        packages.iter().map(|(name, layer)| oci::Origin { name, layer, is_package: true }).collect();
    origins.push(oci::Origin { name: "compose", layer: &step, is_package: false });
    let parts = oci::split(&tree, None, &origins, 9).unwrap();
    assert!(parts.len() > 4);
    (parts.into_iter().map(|part| part.layer).collect(), tree)
}
