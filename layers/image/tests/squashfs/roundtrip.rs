//! Our own reader: what was written comes back.

use std::io::{self, Read};

use image::squashfs::{Options, OtherAttributes, write};
use image::volume::{self, Format};
use layers::{Blake3, Content, Contents, Entry, Kind, MemoryContents, Meta, Time, Tree, TreePath};
use proptest::prelude::*;
use tempfile::NamedTempFile;

use super::referee::{Planter, TIME, noise};
use super::{corners, medium, options, path, read, set, shown, written};

#[test]
fn everything_comes_back() {
    let plant = corners();
    for block_size in [4096, 128 << 10, 1 << 20] {
        let file = written(&plant.tree, &plant.contents, &Options { block_size, ..options() });
        let medium = medium(&file);
        assert_eq!(volume::identify(&medium).unwrap(), Some(Format::Squashfs));
        assert!(read(&medium).unwrap() == shown(&plant.tree), "{block_size}");
    }
}

#[test]
fn any_part_of_a_file_can_be_read() {
    let plant = corners();
    let file = written(&plant.tree, &plant.contents, &Options { block_size: 8192, ..options() });
    let medium = medium(&file);
    let volume = volume::open(&medium).unwrap().unwrap();
    for name in ["holes", "big", "random", "etc/hostname"] {
        let mut id = volume.root();
        for part in path(name).components() {
            id = volume.names(id).unwrap().into_iter().find(|(name, _)| **name == *part).unwrap().1;
        }
        let Some(Entry { kind: Kind::File(content), .. }) = plant.tree.get(&path(name)) else { panic!("{name}") };
        let mut expected = Vec::new();
        plant.contents.open(content).unwrap().read_to_end(&mut expected).unwrap();
        // Backwards and across blocks, up to and past the end.
        for at in [0, 1, 8191, 8192, 100_001, 399_000, 3 << 20, 5 << 20, 5, 0].into_iter().chain(0..300).rev() {
            let at = at * 17 % (expected.len() + 10);
            let mut found = vec![1; 9000];
            let count = volume.read(id, at as u64, &mut found).unwrap();
            let part = expected.get(at..expected.len().min(at + 9000)).unwrap_or(&[]);
            assert!(found[..count] == *part, "{name} at {at}");
        }
    }
}

#[test]
fn the_bytes_are_those_of_any_number_of_threads() {
    let plant = corners();
    let digest = |threads| {
        let file = written(&plant.tree, &plant.contents, &Options { threads, block_size: 16384, ..options() });
        blake3::hash(&std::fs::read(file.path()).unwrap())
    };
    let expected = digest(1);
    for threads in [0, 2, 4, 7] {
        assert_eq!(digest(threads), expected, "{threads}");
    }
}

#[test]
fn the_bytes_are_pinned() {
    let mut plant = Planter::default();
    plant.file("etc/hostname", "image\n").file("usr/bin/tool", noise(7, 300_000, 90));
    let content = plant.contents.add("set\n");
    let mut meta = Meta { uid: 1000, gid: 100, ..Meta::root_owned(0o755, TIME) };
    set(&mut meta, "security.capability", b"\x01\0\0\x02\0\x20\0\0\0\0\0\0\0\0\0\0\0\0\0\0");
    plant.tree.insert(path("usr/bin/ping"), Entry::file(content, meta)).unwrap();
    plant.tree.insert(path("bin"), Entry::symlink(b"usr/bin", TIME)).unwrap();
    let file = written(&plant.tree, &plant.contents, &Options::new(TIME, 2));
    let digest = blake3::hash(&std::fs::read(file.path()).unwrap()).to_hex();
    assert_eq!(&digest[..16], "d51f21ebcdb77eb8");
}

#[test]
fn equal_contents_are_stored_once() {
    let mut plant = Planter::default();
    plant.file("a", noise(1, 1 << 20, 255));
    let once = written(&plant.tree, &plant.contents, &options()).as_file().metadata().unwrap().len();
    for number in 0..9 {
        plant.file(&format!("copy{number}"), noise(1, 1 << 20, 255));
    }
    let ten = written(&plant.tree, &plant.contents, &options());
    assert!(ten.as_file().metadata().unwrap().len() <= once + 4096);
    assert_eq!(read(&medium(&ten)).unwrap(), shown(&plant.tree));
}

/// Noise at both ends and zeros in between, of any length.
struct Long(u64);

impl Long {
    const END: usize = 100_000;

    fn content(&self) -> Content {
        // The digest is only a name here.
        Content { digest: Blake3::of(b"long"), size: self.0 }
    }
}

impl Contents for Long {
    fn open(&self, _: &Content) -> Result<Box<dyn Read + Send>, layers::Error> {
        let end = || io::Cursor::new(noise(5, Self::END, 255));
        Ok(Box::new(end().chain(io::repeat(0).take(self.0 - 2 * Self::END as u64)).chain(end())))
    }
}

#[test]
fn files_above_4_gib() {
    let long = Long((4 << 30) + 12345);
    let mut tree = Tree::new(Meta::root_owned(0o755, TIME));
    tree.insert(path("long"), Entry::file(long.content(), Meta::root_owned(0o644, TIME))).unwrap();
    let file = written(&tree, &long, &options());
    assert!(file.as_file().metadata().unwrap().len() < 300_000);
    let medium = medium(&file);
    let volume = volume::open(&medium).unwrap().unwrap();
    let id = volume.names(volume.root()).unwrap()[0].1;
    assert_eq!(volume.file(id).unwrap().size, long.0);
    let expected = noise(5, Long::END, 255);
    let mut found = vec![1; Long::END + 10];
    assert_eq!(volume.read(id, long.0 - Long::END as u64 - 5, &mut found).unwrap(), Long::END + 5);
    assert!(found[..5] == [0; 5] && found[5..Long::END + 5] == expected);
    assert_eq!(volume.read(id, 0, &mut found).unwrap(), Long::END + 10);
    assert!(found[..Long::END] == expected && found[Long::END..] == [0; 10]);
}

/// A content of another length than the tree says.
struct Wrong(i64);

impl Contents for Wrong {
    fn open(&self, content: &Content) -> Result<Box<dyn Read + Send>, layers::Error> {
        Ok(Box::new(io::repeat(1).take(content.size.saturating_add_signed(self.0))))
    }
}

fn refused(tree: &Tree, contents: &dyn Contents, options: &Options) -> String {
    let file = NamedTempFile::new().unwrap();
    write(tree, contents, options, file.as_file(), file.path()).expect_err("it is refused").to_string()
}

#[test]
fn what_cannot_be_kept_is_refused_with_its_path() {
    let refused_entry = |change: &dyn Fn(&mut Tree, Content)| {
        let mut plant = corners();
        let content = plant.contents.add("x");
        change(&mut plant.tree, content);
        refused(&plant.tree, &plant.contents, &options())
    };
    let meta = || Meta::root_owned(0o644, TIME);
    let text = refused_entry(&|tree, content| {
        let mut meta = meta();
        set(&mut meta, "system.posix_acl_access", b"\x02\0\0\0");
        tree.insert(path("etc/acl"), Entry::file(content, meta)).unwrap();
    });
    assert!(text.contains("system.posix_acl_access of /etc/acl"), "{text}");
    let text = refused_entry(&|tree, _| {
        let kind = Kind::CharDevice { major: 4096, minor: 0 };
        tree.insert(path("dev/far"), Entry { kind, meta: meta() }).unwrap();
    });
    assert!(text.contains("/dev/far") && text.contains("4095"), "{text}");
    let text = refused_entry(&|tree, _| {
        tree.insert(path("far"), Entry::symlink(&[b'x'; 4096], TIME)).unwrap();
    });
    assert!(text.contains("/far") && text.contains("4095"), "{text}");
    let text = refused_entry(&|tree, _| {
        tree.insert(path("a/0"), Entry { kind: Kind::HardLink(path("b")), meta: meta() }).unwrap();
    });
    assert!(text.contains("/a/0 to /b"), "{text}");
    let text = refused_entry(&|tree, content| {
        let mut meta = meta();
        set(&mut meta, "user.large", &[0; 65537]);
        tree.insert(path("large"), Entry::file(content, meta)).unwrap();
    });
    assert!(text.contains("user.large of /large") && text.contains("65537"), "{text}");
    let empty = MemoryContents::default();
    for (change, part) in [
        (Options { block_size: 5000, ..options() }, "5000"),
        (Options { block_size: 2 << 20, ..options() }, "1048576"),
        (Options { level: 23, ..options() }, "1 to 22"),
        (Options { created: Time::seconds(-1), ..options() }, "1970"),
        (Options { created: Time::seconds(1 << 32), ..options() }, "2106"),
    ] {
        let text = refused(&Tree::default(), &empty, &change);
        assert!(text.contains(part), "{text}");
    }
}

#[test]
fn attributes_that_cannot_be_kept_are_left_out_when_asked() {
    let mut tree = Tree::default();
    let mut meta = Meta::root_owned(0o755, TIME);
    set(&mut meta, "user.kept", b"1");
    let kept = meta.clone();
    set(&mut meta, "system.posix_acl_access", b"\x02\0\0\0");
    tree.insert(path("d"), Entry::directory(meta)).unwrap();
    let leave_out = Options { other_attributes: OtherAttributes::LeaveOut, ..options() };
    let file = written(&tree, &MemoryContents::default(), &leave_out);
    assert_eq!(read(&medium(&file)).unwrap().get(&path("d")).unwrap().meta, kept);
}

#[test]
fn contents_of_another_length_are_refused() {
    let mut tree = Tree::default();
    for size in [5u64, 300_000] {
        let content = Content { digest: Blake3::of(&size.to_le_bytes()), size };
        tree.insert(path("wrong"), Entry::file(content, Meta::root_owned(0o644, TIME))).unwrap();
        for by in [-1, 1] {
            let text = refused(&tree, &Wrong(by), &options());
            assert_eq!(text, "read the content of /wrong");
        }
        written(&tree, &Wrong(0), &options());
    }
}

#[test]
fn as_many_owners_as_there_can_be() {
    let mut tree = Tree::default();
    for uid in 1..65535u32 {
        let meta = Meta { uid: uid * 60_000, ..Meta::root_owned(0o644, TIME) };
        tree.insert(path(&format!("d{uid}")), Entry { kind: Kind::Fifo, meta }).unwrap();
    }
    let file = written(&tree, &MemoryContents::default(), &options());
    assert!(read(&medium(&file)).unwrap() == shown(&tree));
    let meta = Meta { gid: 7, ..Meta::root_owned(0o644, TIME) };
    tree.insert(path("one more"), Entry { kind: Kind::Fifo, meta }).unwrap();
    let text = refused(&tree, &MemoryContents::default(), &options());
    assert!(text.contains("more than 65535 different owners"), "{text}");
}

#[derive(Clone, Debug)]
enum Plant {
    File(Vec<u8>),
    Directory,
    Link(Vec<u8>),
    Device(u32, u32),
    Pipe,
    HardLink(prop::sample::Index),
}

fn entry() -> impl Strategy<Value = (Vec<Vec<u8>>, Plant, Meta)> {
    let name = prop::collection::vec(any::<u8>().prop_filter("a name", |byte| *byte != 0 && *byte != b'/'), 1..40)
        .prop_filter("no dots", |name| name != b"." && name != b"..");
    let plant = prop_oneof![
        4 => prop::collection::vec(any::<u8>(), 0..9000).prop_map(Plant::File),
        1 => (0usize..40_000, 0usize..20_000).prop_map(|(zeros, ones)| {
            Plant::File([vec![0; zeros], vec![1; ones], vec![0; zeros / 2]].concat())
        }),
        3 => Just(Plant::Directory),
        1 => prop::collection::vec(1u8.., 1..900).prop_map(Plant::Link),
        1 => (0u32..4096, 0u32..1 << 20).prop_map(|(major, minor)| Plant::Device(major, minor)),
        1 => Just(Plant::Pipe),
        1 => any::<prop::sample::Index>().prop_map(Plant::HardLink),
    ];
    let xattrs = prop::collection::btree_map(
        "(user|trusted|security)\\.[a-z.]{1,30}",
        prop_oneof![prop::collection::vec(any::<u8>(), 0..90), Just(vec![7; 9000])],
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
        if path.ancestors().any(|above| tree.get(&above).is_some_and(|entry| !entry.is_directory())) {
            continue;
        }
        tree.create_directories(&path.parent().unwrap(), &meta).unwrap();
        let kind = match plant {
            Plant::File(bytes) => Kind::File(contents.add(bytes)),
            Plant::Directory => Kind::Directory,
            Plant::Link(target) => Kind::Symlink(target.into()),
            Plant::Device(major, minor) => Kind::BlockDevice { major, minor },
            Plant::Pipe => Kind::Fifo,
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
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(60) })]

    #[test]
    fn any_tree_comes_back(entries in prop::collection::vec(entry(), 0..80), log in 12u32..18, threads in 0usize..3) {
        let (tree, contents) = plant(entries);
        let file = written(&tree, &contents, &Options { block_size: 1 << log, threads, ..options() });
        prop_assert_eq!(read(&medium(&file)).unwrap(), shown(&tree));
    }
}
