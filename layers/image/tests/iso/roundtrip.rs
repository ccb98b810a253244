//! Our own reader: what was written comes back.

use image::iso::{self, Extensions, Options, Volume};
use image::volume::{self, FileKind, Format};
use image::{Error, Medium, Source};
use layers::{Contents, Entry, Kind, MemoryContents, Meta, Time, Tree, TreePath};
use proptest::prelude::*;

use super::referee::{Planter, TIME, noise, raw};
use super::{CORE, MIB, bytes_of, corners, everything, medium, options, path};

/// What a volume shows, as a tree; contents are checked on the way.
pub fn read(medium: &dyn Medium) -> Result<Tree, Error> {
    let volume = volume::open(medium)?.expect("a format that is known");
    let mut tree = Tree::default();
    let mut firsts = std::collections::BTreeMap::new();
    let mut pending = vec![(TreePath::root(), volume.root())];
    let mut entries = Vec::new();
    while let Some((path, id)) = pending.pop() {
        let file = volume.file(id)?;
        if file.kind == FileKind::Directory {
            for (name, id) in volume.names(id)? {
                pending.push((path.join(&name)?, id));
            }
        }
        entries.push((path, id, file));
    }
    entries.sort_by(|a, b| a.0.cmp(&b.0));
    for (path, id, file) in entries {
        let kind = match file.kind {
            FileKind::Directory => Kind::Directory,
            FileKind::Symlink => Kind::Symlink(volume.target(id)?.into()),
            FileKind::CharDevice(major, minor) => Kind::CharDevice { major, minor },
            FileKind::BlockDevice(major, minor) => Kind::BlockDevice { major, minor },
            FileKind::Fifo => Kind::Fifo,
            FileKind::Socket => Kind::Socket,
            FileKind::File => {
                // A lie about the size must not cost memory.
                let mut bytes = Vec::new();
                let mut chunk = vec![0; 100_000];
                while bytes.len() < 64 << 20 {
                    let count = volume.read(id, bytes.len() as u64, &mut chunk)?;
                    bytes.extend_from_slice(&chunk[..count]);
                    if count < chunk.len() {
                        break;
                    }
                }
                Kind::File(layers::Content::of(&bytes))
            }
        };
        let entry = match firsts.get(&id) {
            Some(first) if file.links > 1 && kind != Kind::Directory => {
                Entry { kind: Kind::HardLink(TreePath::clone(first)), meta: Meta::default() }
            }
            _ => Entry { kind, meta: file.meta },
        };
        firsts.entry(id).or_insert_with(|| path.clone());
        // Two names of a file that lies can come in another order, which a tree does not hold.
        tree.insert(path, entry)?;
    }
    Ok(tree)
}

/// The tree as an image shows it: whole seconds within 1900 to 2155.
pub fn shown(tree: &Tree) -> Tree {
    let mut tree = tree.clone();
    for (_, entry) in tree.iter_mut() {
        if matches!(entry.kind, Kind::HardLink(_)) {
            entry.meta = Meta::default();
        }
        let seconds = entry.meta.mtime.seconds.clamp(-2_208_988_800, 5_869_583_999);
        entry.meta.mtime = Time::seconds(if matches!(entry.kind, Kind::HardLink(_)) { 0 } else { seconds });
        entry.meta.xattrs.clear();
    }
    tree
}

#[test]
fn everything_comes_back() {
    let mut plant = corners();
    let name = [b'm'; 255];
    let content = plant.contents.add("longest");
    plant.tree.insert(TreePath::new(name).unwrap(), Entry::file(content, Meta::root_owned(0o600, TIME))).unwrap();
    let plan = iso::plan(&plant.tree, &options()).unwrap();
    let file = raw(&plan, &plant.contents);
    let medium = medium(&file);
    assert_eq!(medium.size(), plan.size());
    assert_eq!(volume::identify(&medium).unwrap(), Some(Format::Iso9660));
    assert_eq!(read(&medium).unwrap(), shown(&plant.tree));
    let inner = Volume::open(&medium).unwrap();
    assert_eq!((inner.extensions(), inner.volume_id()), (Extensions::RockRidge, "Test 1"));
    assert_eq!((inner.modified(), inner.size()), (Some(TIME), plan.size()));
    assert_eq!(inner.uuid(), "2024-02-29-13-37-42-00");
    assert_eq!(inner.boot_entries().unwrap(), []);
}

#[test]
fn identical_contents_lie_once() {
    let mut plant = Planter::default();
    plant.file("a", noise(1, 500_000, 255)).file("b", noise(1, 500_000, 255)).file("c/d", noise(1, 500_000, 255));
    assert!(iso::plan(&plant.tree, &options()).unwrap().size() < 600_000);
}

#[test]
fn joliet_and_plain_names_are_read_without_rock_ridge() {
    let plant = corners();
    for joliet in [true, false] {
        let options = Options { joliet, ..options() };
        let file = raw(&iso::plan(&plant.tree, &options).unwrap(), &plant.contents);
        let mut bytes = std::fs::read(file.path()).unwrap();
        let at = bytes.windows(6).position(|bytes| bytes == b"SP\x07\x01\xbe\xef").unwrap();
        bytes[at] = b'X';
        let found = read(&bytes).unwrap();
        let expected = if joliet {
            assert_eq!(Volume::open(&bytes).unwrap().extensions(), Extensions::Joliet);
            ["usr/bin/tool", "Case.txt", "case_1.txt", "grüße _.txt", "a_b_c_.conf", "x_1"]
        } else {
            assert_eq!(Volume::open(&bytes).unwrap().extensions(), Extensions::None);
            ["usr/bin/tool", "case.txt", "case_1.txt", "gr__e__.txt", "a_b_c_.con", "x_1"]
        };
        for name in expected {
            let name = if name == "a_b_c_.con" { "a_b_c_.conf" } else { name };
            assert!(found.get(&path(name)).is_some(), "{name} in {found:#?}");
        }
        let Some(Entry { kind: Kind::File(content), .. }) = found.get(&path("usr/bin/tool")) else { panic!() };
        assert_eq!(*content, layers::Content::of(&bytes_of(&plant, "usr/bin/tool")));
        assert!(found.get(&path("1/2/3/4/5/6/7/8/9/10/11/12/deep.file.name")).is_some() || !joliet);
    }
}

#[test]
fn the_bytes_are_pinned() {
    let mut plant = corners();
    let file = everything(&mut plant, 2 * MIB);
    let digest = blake3::hash(&std::fs::read(file.path()).unwrap());
    assert_eq!(&digest.to_hex()[..16], "1b0c0f40ace603d0");
    // Whatever the order in which the tree was made.
    let mut again = Tree::new(plant.tree.get(&TreePath::root()).unwrap().meta.clone());
    let mut entries: Vec<_> = plant.tree.iter().skip(1).collect();
    entries.sort_by_key(|(path, _)| (path.components().count(), std::cmp::Reverse((*path).clone())));
    for (path, entry) in entries {
        again.insert(path.clone(), entry.clone()).unwrap();
    }
    let mut again = Planter { tree: again, contents: plant.contents };
    assert!(std::fs::read(everything(&mut again, 2 * MIB).path()).unwrap() == std::fs::read(file.path()).unwrap());
}

/// Contents that are made while they are read.
struct Made;

impl Contents for Made {
    fn open(&self, content: &layers::Content) -> Result<Box<dyn std::io::Read + Send>, layers::Error> {
        use std::io::Read;
        let end = std::io::Cursor::new(b"the end".to_vec());
        let sparse = std::io::repeat(0).take(content.size - 7);
        Ok(Box::new(sparse.chain(end)))
    }
}

/// A tree with one file of so many bytes, and contents for it.
pub fn huge(size: u64) -> (Tree, impl Contents) {
    let mut tree = Tree::default();
    let content = layers::Content { digest: layers::Blake3([1; 32]), size };
    tree.insert(path("huge"), Entry::file(content, Meta::root_owned(0o644, TIME))).unwrap();
    (tree, Made)
}

#[test]
fn a_file_of_more_than_four_gib_comes_back() {
    let size = (9 << 30) + 12_345;
    let (tree, contents) = huge(size);
    let file = raw(&iso::plan(&tree, &options()).unwrap(), &contents);
    let medium = medium(&file);
    let volume = volume::open(&medium).unwrap().unwrap();
    let names = volume.names(volume.root()).unwrap();
    let found = volume.file(names[0].1).unwrap();
    assert_eq!((names.len(), found.size, found.links), (1, size, 1));
    let mut end = [0; 100];
    assert_eq!(volume.read(found.id, size - 9, &mut end).unwrap(), 9);
    assert_eq!(&end[..9], b"\0\0the end");
    // Across the end of the first section.
    assert_eq!(volume.read(found.id, u64::from(u32::MAX) - 2100, &mut end).unwrap(), 100);
}

#[test]
fn a_directory_of_a_hundred_thousand_comes_back() {
    let mut plant = Planter::default();
    plant.directory("many");
    let content = plant.contents.add("x");
    for number in 0..100_000 {
        let path = path(&format!("many/a file with a rather long name, number {number}"));
        plant.tree.insert(path, Entry::file(content, Meta::root_owned(0o644, TIME))).unwrap();
    }
    let plan = iso::plan(&plant.tree, &options()).unwrap();
    let file = raw(&plan, &plant.contents);
    assert_eq!(read(&medium(&file)).unwrap(), shown(&plant.tree));
}

#[test]
fn what_cannot_be_expressed_is_refused_with_its_path() {
    let refused = |kind: Kind| {
        let mut tree = Tree::default();
        tree.insert(path("bad"), Entry { kind, meta: Meta::default() }).unwrap();
        let error = iso::plan(&tree, &options()).err().expect("it is refused");
        assert!(matches!(error, Error::Unsupported { .. }) && error.to_string().contains("/bad"), "{error}");
    };
    refused(Kind::Symlink(vec![b'x'; 4096].into()));
    refused(Kind::Symlink(Box::default()));
    refused(Kind::CharDevice { major: 0, minor: 256 });
    refused(Kind::HardLink(path("none")));
    let large = layers::Content { digest: layers::Blake3([1; 32]), size: 9 << 40 };
    let mut tree = Tree::default();
    tree.insert(path("bad"), Entry::file(large, Meta::default())).unwrap();
    assert!(iso::plan(&tree, &options()).err().unwrap().to_string().contains("8 TiB"));
    let long = Options { volume_id: "x".repeat(33), ..options() };
    assert!(iso::plan(&Tree::default(), &long).is_err());
    let mut plant = Planter::default();
    plant.file(CORE, vec![0; (1 << 20) + 1]);
    let error = iso::plan(&plant.tree, &Options { bios: super::bios(), ..options() }).err().unwrap();
    assert!(error.to_string().contains("1 MiB"), "{error}");
    assert!(iso::plan(&Tree::default(), &Options { bios: super::bios(), ..options() }).is_err());
}

#[test]
fn more_directories_than_the_path_table_numbers() {
    let mut tree = Tree::default();
    for number in 0..65_535 {
        tree.insert(path(&format!("d{number}")), Entry::directory(Meta::default())).unwrap();
    }
    assert!(iso::plan(&tree, &options()).is_ok());
    // The last one would be a parent that has no number.
    tree.insert(path("d9999/x"), Entry::directory(Meta::default())).unwrap();
    let found = iso::plan(&tree, &options());
    assert!(found.is_err_and(|error| error.to_string().contains("65,535")));
}

#[derive(Clone, Debug)]
enum Plant {
    File(Vec<u8>),
    Directory,
    Link(Vec<u8>),
    Device(u32, u32),
    HardLink(prop::sample::Index),
}

fn entry() -> impl Strategy<Value = (Vec<Vec<u8>>, Plant, Meta)> {
    let byte = any::<u8>().prop_filter("a name", |byte| *byte != 0 && *byte != b'/');
    let name = prop_oneof![prop::collection::vec(byte, 1..60), prop::collection::vec(b'a'..b'c', 1..255)]
        .prop_filter("no dots", |name| name != b"." && name != b"..");
    let target = prop_oneof![
        prop::collection::vec(1u8.., 1..900),
        prop::collection::vec(prop_oneof![Just(b'/'), Just(b'.'), Just(b'a')], 1..1500),
    ];
    let plant = prop_oneof![
        4 => prop::collection::vec(any::<u8>(), 0..9000).prop_map(Plant::File),
        3 => Just(Plant::Directory),
        2 => target.prop_map(Plant::Link),
        1 => (1u32..4096, 0u32..1 << 20).prop_map(|(major, minor)| Plant::Device(major, minor)),
        1 => any::<prop::sample::Index>().prop_map(Plant::HardLink),
    ];
    let meta = (0u32..0o10000, any::<u32>(), any::<u32>(), -0x1_0000_0000i64..0x2_0000_0000);
    let meta = meta.prop_map(|(mode, uid, gid, seconds)| Meta {
        mode,
        uid,
        gid,
        mtime: Time::seconds(seconds),
        ..Meta::default()
    });
    (prop::collection::vec(name, 1..4), plant, meta)
}

fn plant(entries: Vec<(Vec<Vec<u8>>, Plant, Meta)>) -> (Tree, MemoryContents) {
    let (mut tree, mut contents) = (Tree::default(), MemoryContents::default());
    let mut links = Vec::new();
    for (names, plant, meta) in entries {
        let path = TreePath::new(names.join(&b'/')).unwrap();
        if path.ancestors().any(|above| tree.get(&above).is_some_and(|entry| !entry.is_directory())) {
            continue;
        }
        tree.create_directories(&path.parent().unwrap(), &meta).unwrap();
        let kind = match plant {
            Plant::File(bytes) => Kind::File(contents.add(bytes)),
            Plant::Directory => Kind::Directory,
            Plant::Link(target) => Kind::Symlink(target.into()),
            Plant::Device(major, minor) => Kind::CharDevice { major, minor },
            Plant::HardLink(index) => {
                links.push((path, index));
                continue;
            }
        };
        tree.insert(path, Entry { kind, meta }).unwrap();
    }
    let files: Vec<TreePath> =
        tree.iter().filter(|(_, entry)| !entry.is_directory()).map(|(path, _)| path.clone()).collect();
    for (path, index) in links {
        if !files.is_empty() && tree.get(&path).is_none() {
            let target = index.get(&files);
            if *target < path && tree.get(target).is_some_and(|entry| !entry.is_directory()) {
                let _ = tree.insert(path, Entry { kind: Kind::HardLink(target.clone()), meta: Meta::default() });
            }
        }
    }
    (tree, contents)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(80) })]

    #[test]
    fn any_tree_comes_back(entries in prop::collection::vec(entry(), 0..80), joliet: bool) {
        let (tree, contents) = plant(entries);
        let plan = iso::plan(&tree, &Options { joliet, ..options() }).unwrap();
        let file = raw(&plan, &contents);
        prop_assert_eq!(read(&medium(&file)).unwrap(), shown(&tree));
    }
}
