//! The images that referees are shown.

use std::path::{Path, PathBuf};

use image::compress::Compression;
use layers::{Entry, Kind, Layer, MemoryContents, Meta, Tree};
use oci::image::{Platform, find, write_index};
use oci::{Form, Layout, Writer};

use crate::images::{GZIP, Home, ZSTD, changes, description, meta, named, path, plant, system, whole, write};

/// What the sample of all kinds of entries is called.
pub const ALL: &str = "every kind of entry";
const CHANGED: &str = "everything that layers do to each other";
const CUT: &str = "a tree that was cut";
const BASED: &str = "layers on an image with others";
const PLATFORM: &str = "one platform of two";

/// An image in an archive, and what it is the image of.
pub struct Sample {
    pub what: &'static str,
    pub archive: PathBuf,
    pub architecture: &'static str,
    pub tree: Tree,
    pub contents: MemoryContents,
    /// The tree of the lowest layers, of which upper ones hide something.
    pub hidden: Option<Tree>,
}

impl Sample {
    pub fn has_whiteouts(&self) -> bool {
        self.hidden.is_some()
    }
}

/// Layers, their contents and their tree: every kind of entry, everything that layers do to each other,
/// and a tree that was cut.
pub fn images() -> [(Vec<Layer>, MemoryContents, Tree); 3] {
    let plant = plant();
    let mut contents = MemoryContents::default();
    let (layers, tree) = changes(&mut contents);
    let mut parts = MemoryContents::default();
    let (cut, system) = system(&mut parts);
    [(vec![whole(&plant.tree)], plant.contents, plant.tree), (layers, contents, tree), (cut, parts, system)]
}

/// Every sample, as archives in a home.
pub fn samples(home: &Home) -> Vec<Sample> {
    let mut samples: Vec<Sample> = images()
        .into_iter()
        .zip([(ALL, ZSTD, "all.tar"), (CHANGED, GZIP, "changed.tar"), (CUT, ZSTD, "cut.tar")])
        .map(|((layers, contents, tree), (what, how, name))| {
            let archive = home.path(name);
            write(&archive, Form::Archive, &layers, &contents, how, 2);
            let mut lowest = Tree::default();
            lowest.apply(&layers[0]).unwrap();
            let hidden = (what == CHANGED).then_some(lowest);
            Sample { what, archive, architecture: "amd64", tree, contents, hidden }
        })
        .collect();
    samples.push(based(home));
    samples.extend(platforms(home));
    samples
}

/// An image put on another, as one with a base is: gzip below, zstd above.
fn based(home: &Home) -> Sample {
    let mut contents = MemoryContents::default();
    let (below, mut tree) = changes(&mut contents);
    let base_at = home.path("base");
    write(&base_at, Form::Directory, &below, &contents, GZIP, 1);
    let lower = tree.clone();
    tree.remove(&path("keep/linked"));
    tree.remove(&path("file/below"));
    tree.remove(&path("file"));
    tree.insert(path("file"), Entry::file(contents.add("a file again"), meta(0o4711))).unwrap();
    tree.remove(&path("turns"));
    tree.create_directories(&path("turns/deep"), &Meta { uid: 7, gid: 8, ..meta(0o2750) }).unwrap();
    tree.insert(path("turns/linked"), Entry { kind: Kind::HardLink(path("keep/a")), meta: Meta::default() }).unwrap();
    tree.insert(path("keep/b"), Entry::file(contents.add("there again"), meta(0o600))).unwrap();
    tree.get_mut(&path("")).unwrap().meta.mode = 0o711;
    let base_layout = Layout::open(&base_at).unwrap();
    let base = find(&base_layout, base_layout.index(), &named()).unwrap();
    let parts = oci::split(&tree, Some(&lower), &[], 10).unwrap();
    let archive = home.path("based.tar");
    let mut writer = Writer::create(&archive, Form::Archive).unwrap();
    for layer in base.manifest.layers() {
        writer.copy(&base_layout, layer).unwrap();
    }
    let packed: Vec<_> =
        parts.iter().map(|part| (writer.layer(&part.layer, &contents, ZSTD, 1).unwrap(), part.names.clone())).collect();
    let manifest = oci::image::write(&writer, Some(&base), &packed, &description()).unwrap();
    writer.add(manifest, Some("test"));
    writer.finish().unwrap();
    Sample { what: BASED, archive, architecture: "amd64", tree, contents, hidden: Some(lower) }
}

/// Two images of one index, each with a tree of its own.
fn platforms(home: &Home) -> Vec<Sample> {
    let archive = home.path("platforms.tar");
    let mut samples = Vec::new();
    for architecture in ["amd64", "arm64"] {
        let mut contents = MemoryContents::default();
        let mut tree = Tree::default();
        tree.create_directories(&path("etc"), &meta(0o755)).unwrap();
        tree.insert(path("etc/arch"), Entry::file(contents.add(architecture), meta(0o644))).unwrap();
        samples.push(Sample { what: PLATFORM, archive: archive.clone(), architecture, tree, contents, hidden: None });
    }
    index(&archive, &samples, ZSTD);
    samples
}

fn index(archive: &Path, samples: &[Sample], how: Compression) {
    let mut writer = Writer::create(archive, Form::Archive).unwrap();
    let mut images = Vec::new();
    for sample in samples {
        let packed = vec![(writer.layer(&whole(&sample.tree), &sample.contents, how, 1).unwrap(), vec![])];
        let mut description = description();
        description.platform = Platform::linux(sample.architecture);
        images.push(oci::image::write(&writer, None, &packed, &description).unwrap());
    }
    let index = write_index(&writer, images, &Default::default()).unwrap();
    writer.add(index, Some("test"));
    writer.finish().unwrap();
}
