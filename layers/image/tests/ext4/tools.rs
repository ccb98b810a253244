//! e2fsprogs as referee.

use image::ext4::{self, BlockSize, Features, Options};
use layers::{Entry, Meta, Tree};

use super::referee::{self, TIME, flip, raw, run, text, tool};
use super::{MIB, assert_clean, check, corners, feature_sets, options, path};

#[test]
fn every_feature_set_and_block_size_is_clean() {
    let plant = corners();
    for features in feature_sets() {
        for block_size in [BlockSize::Bytes1024, BlockSize::Bytes2048, BlockSize::Bytes4096] {
            for size in [12 * MIB, 200 * MIB] {
                let options = Options { features, block_size, ..options(size) };
                let plan = ext4::plan(&plant.tree, &options).unwrap();
                let file = raw(&plan, &plant.contents);
                if let Some(text) = check(referee::text(&file)) {
                    panic!("{block_size:?} {size} {:?}: e2fsck objects:\n{text}", features.names());
                }
            }
        }
    }
}

/// The lines that `dumpe2fs -h` prints for a file, times left out.
fn header(file: &str) -> Option<Vec<String>> {
    let verdict = run(&tool("dumpe2fs")?, &["-h", file]);
    assert!(verdict.success, "{}", verdict.text);
    let differs = ["dumpe2fs", "Lifetime writes", "Checksum:", "Free", "Journal checksum", "Filesystem created"];
    let times = ["Last write time", "Last checked"];
    let lines = verdict.text.lines().filter(|line| !differs.iter().chain(&times).any(|start| line.starts_with(start)));
    Some(lines.map(String::from).collect())
}

#[test]
fn the_superblock_says_what_mke2fs_would() {
    let Some(mke2fs) = tool("mke2fs") else { return };
    let lists = [
        "has_journal,extent,huge_file,flex_bg,metadata_csum,64bit,dir_nlink,extra_isize",
        "has_journal,extent,huge_file,flex_bg,metadata_csum,metadata_csum_seed,64bit,dir_nlink,extra_isize,orphan_file",
    ];
    for list in lists {
        for size in [2 * MIB, 3 * MIB, 8 * MIB, 100 * MIB, 513 * MIB, 800 * MIB, 3 << 30, 40 << 30, 1 << 40, 5 << 40] {
            let theirs = tempfile::NamedTempFile::new().unwrap();
            theirs.as_file().set_len(size).unwrap();
            let features = format!("none,sparse_super,large_file,filetype,resize_inode,dir_index,ext_attr,{list}");
            let file = text(&theirs).to_owned();
            let arguments = [
                "-q",
                "-F",
                "-t",
                "ext4",
                "-O",
                &features,
                "-L",
                "root",
                "-U",
                "6f0d4a6e-5c3b-4f6a-9d1e-2f3a4b5c6d7e",
                "-E",
                "hash_seed=11223344-5566-4788-99aa-bbccddeeff01,lazy_itable_init=1,lazy_journal_init=1",
                &file,
            ];
            let verdict = run(&mke2fs, &arguments);
            assert!(verdict.success, "{}", verdict.text);
            let options = Options { features: Features::parse(list).unwrap(), ..options(size) };
            let plan = ext4::plan(&Tree::new(Meta::root_owned(0o755, TIME)), &options).unwrap();
            let ours = raw(&plan, &layers::MemoryContents::default());
            assert_eq!(header(text(&ours)), header(text(&theirs)), "{size} bytes with {list}");
            if size < 1 << 40 {
                assert_clean(text(&ours));
            }
        }
    }
}

#[test]
fn e2fsck_objects_to_one_changed_byte() {
    let plant = corners();
    let plan = ext4::plan(&plant.tree, &options(64 * MIB)).unwrap();
    // A superblock, a descriptor, a bitmap of blocks, an inode, a directory.
    let file = raw(&plan, &plant.contents);
    let Some(debugfs) = tool("debugfs") else { return };
    let number = |request: &str| -> u64 {
        let said = run(&debugfs, &["-R", request, text(&file)]).text;
        said.split_whitespace().next().unwrap().parse().unwrap_or_else(|_| panic!("{said}"))
    };
    let directory = number("bmap /etc 0") * 1024;
    let root = number("bmap / 0") * 1024;
    for (what, offset) in [
        ("superblock", 1024 + 0x78),
        ("descriptor", 2048 + 0x0c),
        ("directory", directory + 40),
        ("root directory", root + 100),
    ] {
        let Some(text) = ({
            let file = raw(&plan, &plant.contents);
            flip(&file, offset);
            check(referee::text(&file))
        }) else {
            panic!("e2fsck does not see a changed byte in the {what}");
        };
        assert!(!text.is_empty());
    }
}

#[test]
fn debugfs_reads_what_the_tree_says() {
    let (Some(debugfs), plant) = (tool("debugfs"), corners()) else { return };
    let file = raw(&ext4::plan(&plant.tree, &options(64 * MIB)).unwrap(), &plant.contents);
    let ask = |request: &str| run(&debugfs, &["-R", request, text(&file)]).text;
    let owned = ask("stat /usr/bin/owned");
    assert!(owned.contains("User: 70000   Group: -294967296"), "{owned}");
    let su = ask("stat /usr/bin/su");
    assert!(su.contains("Mode:  06755") && su.contains("Type: regular"), "{su}");
    let tool = ask("stat /zz");
    assert!(tool.contains("Links: 3") && tool.contains("Size: 70000"), "{tool}");
    assert!(ask("stat /dev/nvme0n1p260").contains("259:260"), "{}", ask("stat /dev/nvme0n1p260"));
    assert!(ask("ea_get /usr/bin/labelled security.selinux").contains("bin_t"));
    assert!(ask("ea_list /usr/bin/labelled").contains("user.long (700)"));
    assert!(!ask("stat /a/link61").contains("Fast link dest"));
    assert!(ask("stat /a/link59").contains("Fast link dest"));
    let into = tempfile::tempdir().unwrap();
    ask(&format!("dump /big {}", into.path().join("big").display()));
    assert_eq!(std::fs::read(into.path().join("big")).unwrap(), referee::noise(9, 3 << 20, 20));
}

#[test]
fn resize2fs_grows_it() {
    let Some(resize2fs) = tool("resize2fs") else { return };
    let plant = corners();
    for (features, block_size) in
        feature_sets().into_iter().flat_map(|f| [(f, BlockSize::Bytes1024), (f, BlockSize::Bytes4096)])
    {
        let options = Options { features, block_size, ..options(40 * MIB) };
        let file = raw(&ext4::plan(&plant.tree, &options).unwrap(), &plant.contents);
        file.as_file().set_len(900 * MIB).unwrap();
        let verdict = run(&resize2fs, &["-f", text(&file)]);
        assert!(verdict.success, "{}", verdict.text);
        assert_clean(text(&file));
    }
}

#[test]
fn large_directories_are_hashed_and_clean() {
    let mut plant = referee::Planter::default();
    plant.directory("many").directory("long");
    let content = plant.contents.add("x");
    let meta = Meta::root_owned(0o644, TIME);
    for index in 0..100_000u32 {
        plant.tree.insert(path(&format!("many/file{index}")), Entry::file(content, meta.clone())).unwrap();
    }
    for index in 0..3000u32 {
        let name = format!("long/{index:0>250}");
        plant.tree.insert(path(&name), Entry::directory(Meta::root_owned(0o755, TIME))).unwrap();
    }
    for features in feature_sets().into_iter().take(4).step_by(3) {
        for block_size in [BlockSize::Bytes1024, BlockSize::Bytes4096] {
            let options = Options { features, block_size, ..options(800 * MIB) };
            let file = raw(&ext4::plan(&plant.tree, &options).unwrap(), &plant.contents);
            assert_clean(text(&file));
            if features.has(ext4::Feature::DIR_INDEX) {
                let said = run(&tool("debugfs").unwrap(), &["-R", "htree_dump /many", text(&file)]).text;
                assert!(said.contains("Indirect levels: 1") || said.contains("Indirect Levels: 1"), "{}", &said[..600]);
            }
        }
    }
}
