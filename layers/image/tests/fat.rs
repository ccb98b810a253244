//! FAT: fsck.fat and mtools as referees, round trips, hostile input.

mod referee;

use std::collections::BTreeMap;

use image::fat::{Kind, Options, Volume, Wish, plan};
use image::{Error, HostFile, Medium};
use layers::{Entry, Meta, Time, Tree, TreePath};
use proptest::prelude::*;
use referee::{Planter, TIME, flip, noise, raw, run, text, tool};

const MIB: u64 = 1 << 20;

fn esp() -> Planter {
    let mut planter = Planter::default();
    planter
        .file("EFI/BOOT/BOOTX64.EFI", noise(1, 150_000, 200))
        .file("EFI/systemd/systemd-bootx64.efi", noise(2, 120_001, 200))
        .file("loader/loader.conf", "timeout 0\n")
        .file("loader/entries/0123456789abcdef-6.12.0-1-amd64.conf", "title Linux\n")
        .file("0123456789abcdef0123456789abcdef/6.12.0-1-amd64/linux", noise(3, 1_000_000, 255))
        .file("empty", "")
        .file("Grüße aus München.txt", "Umlaute")
        .file("exactly-13-u.x", "one slot and a bit")
        .directory("EFI/Linux");
    planter
}

fn options(size: u64, kind: Wish) -> Options {
    Options {
        kind,
        volume_id: 0x1234_abcd,
        label: "ESP".into(),
        created: TIME,
        hidden_sectors: 2048,
        ..Options::new(size)
    }
}

/// What a volume holds: directories as `None`.
fn listed(volume: &Volume<'_>) -> BTreeMap<TreePath, Option<Vec<u8>>> {
    let read = |item: image::fat::Item| {
        let bytes = (!item.directory).then(|| {
            let file = volume.file(&item).unwrap();
            let mut bytes = vec![0; file.size() as usize];
            file.read_at(0, &mut bytes).unwrap();
            bytes
        });
        (item.path, bytes)
    };
    volume.items().unwrap().into_iter().map(read).collect()
}

fn expected(planter: &Planter) -> BTreeMap<TreePath, Option<Vec<u8>>> {
    use layers::{Contents, Kind};
    let read = |(path, entry): (&TreePath, &Entry)| {
        let bytes = match &entry.kind {
            Kind::File(content) => {
                let mut bytes = Vec::new();
                planter.contents.open(content).unwrap().read_to_end(&mut bytes).unwrap();
                Some(bytes)
            }
            _ => None,
        };
        (path.clone(), bytes)
    };
    planter.tree.iter().filter(|(path, _)| !path.is_root()).map(read).collect()
}

const CASES: [(u64, Wish, Kind); 5] = [
    (3 * MIB, Wish::Auto, Kind::Fat12),
    (40 * MIB, Wish::Auto, Kind::Fat16),
    (40 * MIB, Wish::Kind(Kind::Fat32), Kind::Fat32),
    (300 * MIB, Wish::Kind(Kind::Fat32), Kind::Fat32),
    (600 * MIB, Wish::Auto, Kind::Fat32),
];

#[test]
fn what_is_written_is_read() {
    for (size, wish, kind) in CASES {
        let planter = esp();
        let plan = plan(&planter.tree, &options(size, wish)).unwrap();
        assert_eq!(plan.kind(), kind);
        let file = raw(&plan, &planter.contents);
        let medium = HostFile::new(file.reopen().unwrap(), file.path()).unwrap();
        let volume = Volume::open(&medium).unwrap();
        assert_eq!((volume.kind(), volume.volume_id(), volume.label()), (kind, 0x1234_abcd, Some("ESP")));
        assert_eq!(listed(&volume), expected(&planter));
        for item in volume.items().unwrap() {
            assert_eq!(item.mtime, TIME, "{}", item.path);
        }
    }
}

#[test]
fn fsck_fat_finds_nothing() {
    let Some(fsck) = tool("fsck.fat") else { return };
    for (size, wish, _) in CASES {
        let planter = esp();
        let file = raw(&plan(&planter.tree, &options(size, wish)).unwrap(), &planter.contents);
        let verdict = run(&fsck, &["-n", "-v", text(&file)]);
        assert!(verdict.success, "{}", verdict.text);
        for complaint in ["differences", "Dirty", "Wrong", "Free cluster summary", "Bad", "Orphan", "don't match"] {
            assert!(!verdict.text.contains(complaint), "{}", verdict.text);
        }
    }
}

#[test]
fn fsck_fat_would_have_found_something() {
    let Some(fsck) = tool("fsck.fat") else { return };
    let planter = esp();
    let file = raw(&plan(&planter.tree, &options(40 * MIB, Wish::Kind(Kind::Fat32))).unwrap(), &planter.contents);
    // An entry in the middle of the first FAT: sector 32 is where it begins.
    flip(&file, 32 * 512 + 4 * 30);
    let verdict = run(&fsck, &["-n", text(&file)]);
    assert!(!verdict.success, "{}", verdict.text);
}

#[test]
fn mtools_read_names_and_bytes() {
    let (Some(mdir), Some(mcopy)) = (tool("mdir"), tool("mcopy")) else { return };
    let planter = esp();
    for (size, wish, _) in CASES {
        let file = raw(&plan(&planter.tree, &options(size, wish)).unwrap(), &planter.contents);
        let listing = run(&mdir, &["-i", text(&file), "-/", "-b", "::"]);
        assert!(listing.success, "{}", listing.text);
        let target = tempfile::tempdir().unwrap();
        for (path, bytes) in expected(&planter) {
            let Some(bytes) = bytes else { continue };
            let name = String::from_utf8(path.as_bytes().to_vec()).unwrap();
            assert!(listing.text.lines().any(|line| line == format!("::/{name}")), "{name} in {}", listing.text);
            let copy = target.path().join("copy");
            let verdict = run(&mcopy, &["-n", "-i", text(&file), &format!("::/{name}"), copy.to_str().unwrap()]);
            assert!(verdict.success, "{}", verdict.text);
            assert!(std::fs::read(&copy).unwrap() == bytes, "{name}");
            std::fs::remove_file(copy).unwrap();
        }
        let long = run(&mdir, &["-i", text(&file), "::/loader"]);
        assert!(long.text.contains("Volume in drive : is ESP"), "{}", long.text);
        assert!(long.text.contains("Serial Number is 1234-ABCD"), "{}", long.text);
        assert!(long.text.contains("2024-02-29  13:37"), "{}", long.text);
    }
}

#[test]
fn mtools_would_have_missed_a_name() {
    let Some(mdir) = tool("mdir") else { return };
    let planter = esp();
    let plan = plan(&planter.tree, &options(40 * MIB, Wish::Auto)).unwrap();
    let file = raw(&plan, &planter.contents);
    let bytes = std::fs::read(file.path()).unwrap();
    // The second unit of the long name "loader": the name is another then.
    let at = bytes.windows(12).position(|window| window == b"l\0o\0a\0d\0e\0\x0f\0").unwrap();
    flip(&file, at as u64 + 2);
    let listing = run(&mdir, &["-i", text(&file), "-/", "-b", "::"]);
    assert!(!listing.text.contains("::/loader/"), "{}", listing.text);
}

#[test]
fn the_bytes_are_pinned() {
    let planter = esp();
    let digest = |size, wish| {
        let file = raw(&plan(&planter.tree, &options(size, wish)).unwrap(), &planter.contents);
        blake3::hash(&std::fs::read(file.path()).unwrap()).to_hex()[..16].to_owned()
    };
    let found = [digest(3 * MIB, Wish::Auto), digest(40 * MIB, Wish::Auto), digest(40 * MIB, Wish::Kind(Kind::Fat32))];
    assert_eq!(found, ["f7863a5c02e1e0e8", "d8ca9bfca4d2d0b3", "ae9e86d8c8a8544b"]);
}

#[test]
fn the_shortfall_is_exact() {
    for (wish, size) in [(Wish::Auto, MIB), (Wish::Kind(Kind::Fat32), 34 * MIB), (Wish::Kind(Kind::Fat32), 259 * MIB)] {
        let mut planter = Planter::default();
        for number in 0..3000u64 {
            planter.file(&format!("d{}/file-{number}", number % 7), noise(number, 700, 9));
        }
        // The last case crosses from clusters of 512 bytes to those of 4096.
        planter.file("large", vec![1; size as usize]);
        match plan(&planter.tree, &options(size, wish)) {
            Err(Error::TooSmall { needed, available, .. }) => {
                assert_eq!(available, size);
                assert!(plan(&planter.tree, &options(needed, wish)).is_ok(), "{needed} for {wish:?}");
                assert!(plan(&planter.tree, &options(needed - 512, wish)).is_err(), "{needed} for {wish:?}");
            }
            other => panic!("{wish:?} {:?}", other.map(|_| ())),
        }
    }
}

#[test]
fn a_full_root_of_fat16_and_many_names_alike() {
    let (Some(fsck), Some(mdir)) = (tool("fsck.fat"), tool("mdir")) else { return };
    let mut planter = Planter::default();
    for number in 0..3000 {
        planter.file(&format!("a long name that begins alike {number}.config"), format!("{number}"));
    }
    for wish in [Kind::Fat16, Kind::Fat32] {
        let plan = plan(&planter.tree, &options(64 * MIB, Wish::Kind(wish))).unwrap();
        let file = raw(&plan, &planter.contents);
        let verdict = run(&fsck, &["-n", text(&file)]);
        assert!(verdict.success, "{}", verdict.text);
        let listing = run(&mdir, &["-i", text(&file), "-b", "::"]);
        assert_eq!(listing.text.lines().filter(|line| line.ends_with(".config")).count(), 3000);
    }
}

#[test]
fn what_fat_cannot_keep_is_refused_with_its_path() {
    let refused = |change: &dyn Fn(&mut Tree)| {
        let mut tree = esp().tree;
        change(&mut tree);
        match plan(&tree, &options(40 * MIB, Wish::Auto)) {
            Err(error @ Error::Unsupported { .. }) => error.to_string(),
            other => panic!("{:?}", other.map(|_| ())),
        }
    };
    let path = |text: &[u8]| TreePath::new(text).unwrap();
    let message = refused(&|tree| tree.insert(path(b"EFI/link"), Entry::symlink(b"BOOT", TIME)).unwrap());
    assert_eq!(message, "express /EFI/link in FAT: a symbolic link cannot be kept there");
    let message = refused(&|tree| tree.insert(path(b"b\xff"), Entry::directory(Meta::default())).unwrap());
    assert_eq!(message, "express /b\\xff in FAT: its name is not UTF-8");
    let message = refused(&|tree| tree.insert(path(b"efi"), Entry::directory(Meta::default())).unwrap());
    assert_eq!(message, "express /efi in FAT: its name and that of /EFI differ in case only");
}

#[test]
fn a_cycle_of_directories_is_found() {
    let mut planter = Planter::default();
    planter.directory("a/b/c");
    let file = raw(&plan(&planter.tree, &options(40 * MIB, Wish::Auto)).unwrap(), &planter.contents);
    let mut bytes = std::fs::read(file.path()).unwrap();
    // "c" in "b" is made to lead back to "a".
    let find = |bytes: &[u8], name: &[u8]| bytes.windows(11).position(|window| window == name).unwrap();
    let (a, c) = (find(&bytes, b"A          "), find(&bytes, b"C          "));
    let cluster = [bytes[a + 26], bytes[a + 27]];
    bytes[c + 26..c + 28].copy_from_slice(&cluster);
    let volume = Volume::open(&bytes).unwrap();
    assert!(volume.items().unwrap_err().to_string().contains("share a cluster"));
}

fn small_image() -> Vec<u8> {
    let planter = esp();
    let plan = plan(&planter.tree, &options(3 * MIB, Wish::Auto)).unwrap();
    std::fs::read(raw(&plan, &planter.contents).path()).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(48) })]

    #[test]
    fn any_names_come_back(
        names in proptest::collection::btree_map("[a-zA-Z0-9 ._+äß漢-]{1,30}[a-z]", 0usize..5000, 1..60),
        deep in 0usize..6,
        fat32 in any::<bool>(),
    ) {
        let mut planter = Planter::default();
        let mut seen = std::collections::BTreeSet::new();
        for (name, size) in &names {
            // Names that differ in case only are refused; that has its own test.
            if seen.insert(name.to_uppercase()) && !name.trim_start_matches('.').is_empty() {
                let directory = "some directory/".repeat(deep);
                planter.file(&format!("{directory}{name}"), noise(*size as u64, *size, 100));
            }
        }
        let kind = if fat32 { Wish::Kind(Kind::Fat32) } else { Wish::Auto };
        let plan = plan(&planter.tree, &options(40 * MIB, kind)).unwrap();
        let file = raw(&plan, &planter.contents);
        let medium = HostFile::new(file.reopen().unwrap(), file.path()).unwrap();
        prop_assert_eq!(listed(&Volume::open(&medium).unwrap()), expected(&planter));
        if let Some(fsck) = tool("fsck.fat") {
            let verdict = run(&fsck, &["-n", text(&file)]);
            prop_assert!(verdict.success, "{}", verdict.text);
        }
    }

    #[test]
    fn a_damaged_image_never_hangs_or_panics(
        changes in proptest::collection::vec((0usize..40_000, any::<u8>()), 1..40),
    ) {
        let mut bytes = small_image();
        for (at, value) in changes {
            bytes[at] = value;
        }
        if let Ok(volume) = Volume::open(&bytes) {
            for item in volume.items().unwrap_or_default() {
                if let Ok(file) = volume.file(&item) {
                    let mut start = vec![0; file.size().min(4096) as usize];
                    let _ = file.read_at(0, &mut start);
                }
            }
        }
    }
}

#[test]
fn times_outside_the_years_of_fat_are_moved_into_them() {
    let mut planter = Planter::default();
    planter.file("old", "x");
    let meta = Meta::root_owned(0o444, Time::seconds(-1));
    let content = planter.contents.add("x");
    planter.tree.insert(TreePath::new("old").unwrap(), Entry::file(content, meta)).unwrap();
    let file = raw(&plan(&planter.tree, &options(40 * MIB, Wish::Auto)).unwrap(), &planter.contents);
    let bytes = std::fs::read(file.path()).unwrap();
    let items = Volume::open(&bytes).unwrap().items().unwrap();
    assert_eq!(items[0].mtime, Time::seconds(315_532_800));
    assert!(items[0].read_only);
}
