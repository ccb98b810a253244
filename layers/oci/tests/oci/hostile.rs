//! Tars that are damaged or mean harm.

use std::io::Write;

use layers::{Change, Entry, Kind, Sha256, Stack, tar as encode};
use oci::import::{Limits, import};
use oci::oci_spec::image::Descriptor;
use proptest::prelude::*;

use crate::images::{Home, Memory, meta, path, plant, whole};

/// A tar, member by member.
#[derive(Default, Clone)]
struct Tar(Vec<u8>);

impl Tar {
    fn file(mut self, name: &str, bytes: &[u8]) -> Self {
        self.0.extend(encode::file_head(name.as_bytes(), bytes.len() as u64, &meta(0o644)).unwrap());
        self.0.extend_from_slice(bytes);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    fn entry(mut self, name: &str, kind: Kind) -> Self {
        let entry = Entry { kind, meta: meta(0o755) };
        self.0.extend(encode::head(b"", &path(name), &entry, &entry.meta).unwrap().unwrap());
        self
    }

    fn directory(self, name: &str) -> Self {
        self.entry(name, Kind::Directory)
    }

    fn symlink(self, name: &str, target: &str) -> Self {
        self.entry(name, Kind::Symlink(target.as_bytes().into()))
    }

    fn link(mut self, name: &str, target: &[u8]) -> Self {
        let mut header = tar::Header::new_ustar();
        header.set_path(name).unwrap();
        header.set_entry_type(tar::EntryType::Link);
        header.as_mut_bytes()[157..][..target.len()].copy_from_slice(target);
        header.set_size(0);
        header.set_mode(0o644);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        header.set_cksum();
        self.0.extend_from_slice(header.as_bytes());
        self
    }

    fn records(mut self, records: &[u8], kind: u8) -> Self {
        let mut header = tar::Header::new_ustar();
        header.set_path("PaxHeaders/x").unwrap();
        header.set_entry_type(tar::EntryType::new(kind));
        header.set_size(records.len() as u64);
        header.set_cksum();
        self.0.extend_from_slice(header.as_bytes());
        self.0.extend_from_slice(records);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    fn end(mut self) -> Vec<u8> {
        self.0.extend_from_slice(&encode::END);
        self.0
    }
}

fn take(home: &Home, tars: &[Vec<u8>]) -> Result<Stack, oci::Error> {
    let mut memory = Memory::default();
    let image = memory.image(tars)?;
    import(&image, &memory, &home.store, &Limits::default())
}

#[track_caller]
fn refused(tars: &[Vec<u8>], says: &str) {
    let home = Home::new();
    std::fs::write(home.path("outside"), "untouched").unwrap();
    let error = match take(&home, tars) {
        Ok(stack) => panic!("taken: {:?}", stack.tree()),
        Err(error) => error,
    };
    assert!(error.to_string().contains(says), "{error}");
    assert_eq!((home.layers(), home.work()), (tars.len() - 1, 0));
    assert_eq!(std::fs::read(home.path("outside")).unwrap(), b"untouched");
    assert_eq!(std::fs::read_dir(home.directory.path()).unwrap().count(), 2);
}

#[test]
fn paths_that_lead_elsewhere() {
    refused(&[Tar::default().file("../outside", b"x").end()], "climbs out");
    refused(&[Tar::default().file("a/../../outside", b"x").end()], "climbs out");
    refused(&[Tar::default().symlink("a", "/tmp").file("a/x", b"x").end()], "not a directory");
    refused(&[Tar::default().symlink("a", "/tmp").directory("a").file("a/x", b"x").end()], "comes twice");
    refused(&[Tar::default().directory("a").symlink("a", "/tmp").end()], "comes twice");
    let below = Tar::default().symlink("lib", "usr/lib").end();
    refused(&[below.clone(), Tar::default().file("lib/x", b"x").end()], "layers below");
    refused(&[Tar::default().file("a", b"x").file("a/b", b"x").end()], "not a directory");
    refused(&[Tar::default().file("a", b"x").file("./a", b"y").end()], "comes twice");
    refused(&[Tar::default().file("/", b"").link("./", b"x").end()], "root");
    refused(&[Tar::default().file("a/", b"x").end()], "like a directory");
    // One that says itself that the link is gone is understood.
    let home = Home::new();
    let stack = take(&home, &[below, Tar::default().directory("lib").file("lib/x", b"x").end()]).unwrap();
    assert!(stack.tree().get(&path("lib/x")).is_some());
}

#[test]
fn absolute_names_are_names_inside() {
    let home = Home::new();
    let stack = take(&home, &[Tar::default().file("/etc//./x", b"x").end()]).unwrap();
    assert!(stack.tree().get(&path("etc/x")).is_some());
    assert_eq!(stack.tree().get(&path("etc")).unwrap().meta.mode, 0o755);
}

#[test]
fn whiteouts_of_nothing_and_of_oneself() {
    for name in [".wh.", ".wh..", "a/.wh...", "a/.wh./b", ".wh.x/y"] {
        refused(&[Tar::default().directory("a").file(name, b"").end()], "whiteout");
    }
    // What aufs keeps for itself, and what is gone from nothing, change nothing.
    let home = Home::new();
    let tar = Tar::default().file("a/.wh..wh.plnk", b"").file(".wh.nothing", b"").file(".wh..wh..opq", b"").end();
    let stack = take(&home, &[tar]).unwrap();
    assert_eq!(stack.tree().len(), 1);
}

#[test]
fn whiteouts_work_on_what_is_below_wherever_they_stand() {
    let below = Tar::default().directory("a").file("a/x", b"x").directory("b").file("b/y", b"y").file("c", b"c").end();
    // After what the layer itself brings; of a directory that it has no entry for.
    let above = Tar::default()
        .directory("a")
        .file("a/new", b"new")
        .file(".wh.a", b"")
        .file("b/sub/new", b"new")
        .file("b/.wh..wh..opq", b"")
        .file("c", b"changed")
        .file(".wh.c", b"")
        .end();
    let home = Home::new();
    let stack = take(&home, &[below, above]).unwrap();
    let names: Vec<String> = stack.tree().iter().map(|(path, _)| path.to_string()).collect();
    assert_eq!(names, ["/", "/a", "/a/new", "/b", "/b/sub", "/b/sub/new", "/c"]);
    let layer = &stack.layers()[1].layer;
    assert!(matches!(layer.changes[&path("a")], Change::Replace(_)));
    assert!(matches!(layer.changes[&path("b")], Change::Replace(_)));
    crate::images::assert_whole(&stack);
}

#[test]
fn links_of_all_kinds() {
    refused(&[Tar::default().link("a", b"missing").end()], "not there");
    refused(&[Tar::default().link("a", b"a").end()], "itself");
    refused(&[Tar::default().directory("d").link("a", b"d").end()], "directory");
    refused(&[Tar::default().link("a", b"../../etc/passwd").end()], "climbs out");
    refused(&[Tar::default().symlink("s", "/").link("a", b"s/etc/passwd").end()], "not there");
    // The file may come under any of its names; a name may be of a file below.
    let below =
        Tar::default().file("m", b"one").link("z", b"m").link("b", b"z").file("q", b"two").link("r", b"q").end();
    let above = Tar::default().link("a", b"r").end();
    let home = Home::new();
    let stack = take(&home, &[below, above]).unwrap();
    let kind = |name: &str| &stack.tree().get(&path(name)).unwrap().kind;
    assert!(matches!(kind("b"), Kind::File(_)));
    assert_eq!((kind("m"), kind("z")), (&Kind::HardLink(path("b")), &Kind::HardLink(path("b"))));
    assert!(matches!(kind("a"), Kind::File(_)));
    assert_eq!((kind("q"), kind("r")), (&Kind::HardLink(path("a")), &Kind::HardLink(path("a"))));
    crate::images::assert_whole(&stack);
    stack.tree().check().unwrap();
}

#[test]
fn what_would_work_on_the_kernel_and_not_in_the_tree() {
    refused(&[Tar::default().entry("a", Kind::CharDevice { major: 0, minor: 0 }).end()], "overlay");
    let record = b"36 SCHILY.xattr.user.overlay.x=abcd\n";
    refused(&[Tar::default().records(record, b'x').directory("a").end()], "overlay's own");
    let record = b"41 SCHILY.xattr.trusted.overlay.opaque=y\n";
    refused(&[Tar::default().records(record, b'x').directory("a").end()], "overlay's own");
}

#[test]
fn headers_that_lie() {
    refused(&[Tar::default().records(&vec![b'x'; 2 << 20], b'x').end()], "extended header has");
    refused(&[Tar::default().records(&vec![b'x'; 20 << 10], b'L').end()], "extended header has");
    refused(&[Tar::default().records(b"9 path=x\n", b'x').end()], "ends after");
    refused(&[Tar::default().records(b"99 path=x\n", b'x').file("a", b"").end()], "damaged");
    refused(&[Tar::default().records(b"22 GNU.sparse.major=1\n", b'x').file("a", b"").end()], "sparse");
    refused(&[Tar::default().records(b"26 size=99999999999999999\n", b'x').file("a", b"").end()], "");
    refused(&[Tar::default().records(b"18 uid=4294967296\n", b'x').file("a", b"").end()], "owner");
    let mut tar = Tar::default().file("abc", b"bytes").end();
    refused(&[tar[..700].to_vec()], "cut short");
    refused(&[tar[..100].to_vec()], "cut short");
    tar[0] ^= 1;
    refused(&[tar], "checksum");
    let mut many = Tar::default();
    for _ in 0..10 {
        many = many.records(b"9 path=x\n", b'x');
    }
    refused(&[many.file("a", b"").end()], "too many extended");
}

fn packed(memory: &mut Memory, media_type: &str, tar: &[u8]) -> Descriptor {
    let bytes = match media_type.rsplit('+').next() {
        Some("zstd") => zstd::encode_all(tar, 3).unwrap(),
        _ => {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
            encoder.write_all(tar).unwrap();
            encoder.finish().unwrap()
        }
    };
    memory.add(media_type, bytes)
}

#[test]
fn bombs_are_put_out() {
    let zeros = Tar::default().file("zeros", &vec![0; 20 << 20]).end();
    let name = format!("sha256:{}", Sha256::of(&zeros));
    for media_type in ["application/vnd.oci.image.layer.v1.tar+zstd", "application/vnd.oci.image.layer.v1.tar+gzip"] {
        let mut memory = Memory::default();
        let layer = packed(&mut memory, media_type, &zeros);
        let image = memory.image_of(&[layer], std::slice::from_ref(&name)).unwrap();
        let home = Home::new();
        for limits in [
            Limits { layer_bytes: 5 << 20, ..Limits::default() },
            Limits { spare_bytes: 5 << 20, ratio: 100, ..Limits::default() },
        ] {
            let error = import(&image, &memory, &home.store, &limits).unwrap_err();
            assert!(error.to_string().contains("more bytes than are allowed"), "{error}");
        }
        assert_eq!((home.layers(), home.work()), (0, 0));
        // The same one is welcome where there is room.
        import(&image, &memory, &home.store, &Limits::default()).unwrap();
    }
    let mut many = Tar::default();
    for number in 0..100 {
        many = many.file(&format!("{number}"), b"");
    }
    let tar = many.end();
    for limits in [Limits { entries: 99, ..Limits::default() }, Limits { metadata_bytes: 150, ..Limits::default() }] {
        let mut memory = Memory::default();
        let image = memory.image(std::slice::from_ref(&tar)).unwrap();
        let error = import(&image, &memory, &Home::new().store, &limits).unwrap_err();
        assert!(error.to_string().contains("more entries"), "{error}");
    }
}

/// After the last member there may be anything, as long as it is not much.
#[test]
fn what_follows_the_end_counts_for_the_digest() {
    let mut tar = Tar::default().file("a", b"x").end();
    tar.resize(tar.len() + 100_000, 0);
    let home = Home::new();
    take(&home, &[tar.clone()]).unwrap();
    let mut memory = Memory::default();
    let short = Sha256::of(&tar[..tar.len() - 1]);
    let layer = memory.add("application/vnd.oci.image.layer.v1.tar", tar);
    let image = memory.image_of(&[layer], &[format!("sha256:{short}")]).unwrap();
    let home = Home::new();
    let error = import(&image, &memory, &home.store, &Limits::default()).unwrap_err();
    assert!(error.to_string().contains("the digest of its tar"), "{error}");
    assert_eq!((home.layers(), home.work()), (0, 0));
}

fn sample() -> Vec<u8> {
    let mut plant = plant();
    plant.tree.remove(&path("big"));
    plant.tree.remove(&path("zz"));
    plant.tree.remove(&path("usr/bin/tool2"));
    plant.tree.remove(&path("usr/bin/tool"));
    let mut tar = Vec::new();
    oci::archive::Plan::new(&whole(&plant.tree)).unwrap().write(&plant.contents, &mut tar).unwrap();
    tar
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn no_change_of_a_tar_leads_out_or_stops_the_program(
        changes in prop::collection::vec((0usize..40_000, any::<u8>()), 1..6),
        repair: bool,
    ) {
        let mut tar = sample();
        let size = tar.len();
        for (at, byte) in changes {
            tar[at % size] = byte;
        }
        if repair {
            for block in tar.chunks_exact_mut(512).filter(|block| block[257..262] == *b"ustar") {
                let mut header = tar::Header::from_byte_slice(block).clone();
                header.set_cksum();
                block.copy_from_slice(header.as_bytes());
            }
        }
        let home = Home::new();
        if let Ok(stack) = take(&home, &[tar]) {
            stack.tree().check().unwrap();
            crate::images::assert_whole(&stack);
        }
        prop_assert_eq!(home.work(), 0);
        prop_assert_eq!(std::fs::read_dir(home.directory.path()).unwrap().count(), 1);
    }
}
