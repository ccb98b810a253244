//! Our own reader: what was written comes back, and damage is an error.

use std::time::{Duration, Instant};

use image::ext4::{self, BlockSize, Features, Limits, Options, Volume};
use image::{Error, HostFile, Medium, Source};
use layers::{Entry, Kind, MemoryContents, Meta, Time, Tree, TreePath};
use proptest::prelude::*;

use super::referee::{Planter, TIME, raw, run, text, tool};
use super::{MIB, assert_clean, corners, feature_sets, options, path};

/// The tree as a file system shows it: with lost+found.
fn shown(tree: &Tree) -> Tree {
    let mut tree = tree.clone();
    if tree.get(&path("lost+found")).is_none() {
        tree.insert(path("lost+found"), Entry::directory(Meta::root_owned(0o700, TIME))).unwrap();
    }
    for (_, entry) in tree.iter_mut() {
        // What a hard link's entry says of itself does not count.
        if matches!(entry.kind, Kind::HardLink(_)) {
            entry.meta = Meta::default();
        }
    }
    tree
}

fn read(medium: &dyn Medium) -> Result<Tree, Error> {
    let limits = Limits { entries: 200_000, content_bytes: 1 << 30 };
    Ok(shown(&Volume::open(medium)?.tree(&limits)?.tree))
}

#[test]
fn everything_comes_back() {
    let plant = corners();
    for features in feature_sets() {
        for block_size in [BlockSize::Bytes1024, BlockSize::Bytes2048, BlockSize::Bytes4096] {
            let options = Options { features, block_size, ..options(64 * MIB) };
            let plan = ext4::plan(&plant.tree, &options).unwrap();
            let file = raw(&plan, &plant.contents);
            let medium = HostFile::new(file.reopen().unwrap(), file.path()).unwrap();
            assert_eq!(read(&medium).unwrap(), shown(&plant.tree));
            let volume = Volume::open(&medium).unwrap();
            assert_eq!((volume.label(), volume.size()), (b"root".as_slice(), 64 * MIB));
            assert_eq!(volume.free_bytes(), plan.free_bytes());
            // Written again from what was read, the bytes are the same.
            let found = volume.tree(&Limits::default()).unwrap();
            let again = raw(&ext4::plan(&found.tree, &options).unwrap(), &volume.contents(&found));
            assert!(std::fs::read(file.path()).unwrap() == std::fs::read(again.path()).unwrap());
        }
    }
}

#[test]
fn file_systems_of_mke2fs_are_read() {
    let Some(mke2fs) = tool("mke2fs") else { return };
    let from = tempfile::tempdir().unwrap();
    std::fs::create_dir(from.path().join("d")).unwrap();
    let large: Vec<u8> = super::referee::noise(3, 9 << 20, 99);
    std::fs::write(from.path().join("d/large"), &large).unwrap();
    for index in 0..3000 {
        std::fs::write(from.path().join(format!("d/f{index}")), index.to_string()).unwrap();
    }
    let sparse = std::fs::File::create(from.path().join("sparse")).unwrap();
    sparse.set_len(40 << 20).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&sparse, b"end", (40 << 20) - 3).unwrap();
    std::os::unix::fs::symlink("t".repeat(300), from.path().join("link")).unwrap();
    for kind in [
        &["-t", "ext4"][..],
        &["-t", "ext2"],
        &["-t", "ext3", "-b", "4096"],
        &["-t", "ext4", "-O", "meta_bg,^resize_inode"],
    ] {
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().set_len(100 * MIB).unwrap();
        let source = from.path().to_str().unwrap();
        let arguments = [&["-q", "-F", "-d", source], kind, &[text(&file)]].concat();
        let verdict = run(&mke2fs, &arguments);
        assert!(verdict.success, "{}", verdict.text);
        let medium = HostFile::new(file.reopen().unwrap(), file.path()).unwrap();
        let volume = Volume::open(&medium).unwrap();
        let found = volume.tree(&Limits::default()).unwrap();
        assert_eq!(found.tree.len(), 3006, "{kind:?}");
        let node = volume.find(&path("d/large")).unwrap().unwrap();
        let mut bytes = Vec::new();
        std::io::Read::read_to_end(&mut volume.reader(&node), &mut bytes).unwrap();
        assert!(bytes == large, "{kind:?}");
        let node = volume.find(&path("sparse")).unwrap().unwrap();
        let mut end = [9; 8];
        assert_eq!(volume.read(&node, (40 << 20) - 5, &mut end).unwrap(), 5);
        assert_eq!(end, *b"\0\0end\x09\x09\x09");
        assert_eq!(volume.target(&volume.find(&path("link")).unwrap().unwrap()).unwrap(), [b't'; 300]);
        assert!(volume.find(&path("d/none")).unwrap().is_none());
    }
}

#[test]
fn damage_is_an_error_and_ends_soon() {
    let mut plant = Planter::default();
    for index in 0..400 {
        plant.file(&format!("d/f{index}"), vec![index as u8; 10 * index as usize]);
    }
    plant.file("large", vec![7; 300_000]);
    for features in [Features::default(), Features::parse("extent,flex_bg").unwrap()] {
        let plan = ext4::plan(&plant.tree, &Options { features, ..options(3 * MIB) }).unwrap();
        let file = raw(&plan, &plant.contents);
        let bytes = std::fs::read(file.path()).unwrap();
        let start = Instant::now();
        let mut state = 1u64;
        let mut errors = 0;
        for _ in 0..400 {
            let mut bytes = bytes.clone();
            for _ in 0..20 {
                state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
                // Most of the metadata lies in the first 300 KiB.
                let at = (state >> 33) as usize % (300 << 10);
                bytes[at] = (state >> 24) as u8;
            }
            errors += u32::from(read(&bytes).is_err());
        }
        assert!(errors > 50, "{errors}");
        assert!(read(&bytes[..bytes.len() - 1024].to_vec()).is_err(), "cut short");
        assert!(start.elapsed() < Duration::from_secs(120));
    }
    assert!(Volume::open(&vec![0xff; 4096]).is_err());
    assert!(Volume::open(&vec![0; 100]).is_err());
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
    let name = prop::collection::vec(any::<u8>().prop_filter("a name", |byte| *byte != 0 && *byte != b'/'), 1..40)
        .prop_filter("no dots", |name| name != b"." && name != b"..");
    let plant = prop_oneof![
        4 => prop::collection::vec(any::<u8>(), 0..9000).prop_map(Plant::File),
        3 => Just(Plant::Directory),
        1 => prop::collection::vec(1u8.., 1..900).prop_map(Plant::Link),
        1 => (0u32..4096, 0u32..1 << 20).prop_map(|(major, minor)| Plant::Device(major, minor)),
        1 => any::<prop::sample::Index>().prop_map(Plant::HardLink),
    ];
    let xattrs = prop::collection::btree_map(
        "(user|trusted|security)\\.[a-z.]{1,30}",
        prop::collection::vec(any::<u8>(), 0..90),
        0..4,
    );
    let meta = (0u32..0o10000, any::<u32>(), any::<u32>(), -0x8000_0000i64..0x3_8000_0000, 0u32..1_000_000_000, xattrs);
    let meta = meta.prop_map(|(mode, uid, gid, seconds, nanoseconds, xattrs)| Meta {
        mode,
        uid,
        gid,
        mtime: Time { seconds, nanoseconds },
        xattrs: xattrs.into_iter().map(|(name, value)| (name.into_bytes().into(), value.into())).collect(),
    });
    (prop::collection::vec(name, 1..4), plant, meta)
}

fn plant(entries: Vec<(Vec<Vec<u8>>, Plant, Meta)>) -> (Tree, MemoryContents) {
    let (mut tree, mut contents) = (Tree::default(), MemoryContents::default());
    let mut links = Vec::new();
    for (names, plant, meta) in entries {
        let path = TreePath::new(names.join(&b'/')).unwrap();
        if path.components().next() == Some(b"lost+found")
            || path.ancestors().any(|above| tree.get(&above).is_some_and(|entry| !entry.is_directory()))
        {
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
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    #[test]
    fn any_tree_comes_back_and_is_clean(
        entries in prop::collection::vec(entry(), 0..80),
        set in 0usize..6,
        size in 0u64..20_000,
    ) {
        let (tree, contents) = plant(entries);
        let block_size = [BlockSize::BySize, BlockSize::Bytes2048, BlockSize::Bytes4096][set % 3];
        let any = Options { features: feature_sets()[set], block_size, ..options(0) };
        let least = ext4::minimum_size(&tree, &any).unwrap();
        let plan = ext4::plan(&tree, &Options { size: least + size * 4096, ..any.clone() }).or_else(|_| {
            // What fits need not fit into a little more, where a journal comes in.
            ext4::plan(&tree, &Options { size: least, ..any.clone() })
        }).unwrap();
        let file = raw(&plan, &contents);
        assert_clean(text(&file));
        let medium = HostFile::new(file.reopen().unwrap(), file.path()).unwrap();
        prop_assert_eq!(read(&medium).unwrap(), shown(&tree));
        prop_assert_eq!(medium.size(), plan.size());
    }
}
