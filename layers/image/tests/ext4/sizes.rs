//! How large a file system is, and must be.

use std::os::unix::fs::FileExt;

use image::ext4::{self, BlockSize, Features, Options};
use image::{Error, Sink, Source};
use layers::{Content, Contents, Entry, MemoryContents, Meta, Tree};
use tempfile::NamedTempFile;

use super::referee::{Planter, TIME, raw, text};
use super::{MIB, assert_clean, corners, feature_sets, options, path};

#[test]
fn the_least_size_holds_the_tree_and_a_block_less_does_not() {
    let small = corners();
    let mut large = Planter::default();
    for index in 0..300 {
        large.file(&format!("d{}/f{index}", index % 7), super::referee::noise(index, 40_000 + index as usize * 100, 9));
    }
    let mut inodes = Planter::default();
    for index in 0..9000 {
        inodes.file(&format!("e{}/f{index}", index % 7), "");
    }
    for plant in [small, large, inodes] {
        for features in feature_sets() {
            for block_size in [BlockSize::BySize, BlockSize::Bytes4096] {
                let any = Options { features, block_size, ..options(0) };
                let least = ext4::minimum_size(&plant.tree, &any).unwrap();
                let fits = Options { size: least, ..any.clone() };
                let file = raw(&ext4::plan(&plant.tree, &fits).unwrap(), &plant.contents);
                assert_clean(text(&file));
                let block = if block_size == BlockSize::BySize { 1024 } else { 4096 };
                match ext4::plan(&plant.tree, &Options { size: least - block, ..any }) {
                    Err(Error::TooSmall { needed, available, .. }) => {
                        assert_eq!((needed, available), (least, least - block));
                    }
                    other => panic!("{:?}", other.map(|_| ())),
                }
            }
        }
    }
}

#[test]
fn any_size_in_a_row_is_clean() {
    let mut plant = Planter::default();
    plant.file("a", "a").file("b/c", vec![1; 100_000]);
    for features in [Features::default(), Features::parse("extent,flex_bg,metadata_csum,64bit").unwrap()] {
        for step in 0..60u64 {
            // Around the places where a group, and then another, begins.
            let size = 8 * MIB - 20 * 1024 + step * 37 * 1024 + step / 20 * 8 * MIB;
            let plan = ext4::plan(&plant.tree, &Options { features, ..options(size) }).unwrap();
            assert_eq!(plan.size(), size);
            assert_clean(text(&raw(&plan, &plant.contents)));
        }
    }
}

/// Content that says what it is told to and holds zeros.
struct Zeros;

impl Contents for Zeros {
    fn open(&self, content: &Content) -> Result<Box<dyn std::io::Read + Send>, layers::Error> {
        Ok(Box::new(std::io::Read::take(std::io::repeat(0), content.size)))
    }
}

/// Counts, and keeps that offsets ascend.
#[derive(Default)]
struct Counting {
    end: u64,
    bytes: u64,
    calls: u64,
}

impl Sink for Counting {
    fn data(&mut self, offset: u64, bytes: &[u8]) -> Result<(), Error> {
        assert!(offset >= self.end, "{offset} after {}", self.end);
        self.end = offset + bytes.len() as u64;
        self.bytes += bytes.len() as u64;
        self.calls += 1;
        Ok(())
    }
}

#[test]
fn sixteen_tebibytes_cost_little() {
    for size in [16 << 40, (16 << 40) - 4096, 20 << 40] {
        let plan = ext4::plan(&corners().tree, &options(size)).unwrap();
        let mut sink = Counting::default();
        plan.write_to(&Zeros, &mut sink).unwrap();
        assert!(sink.end <= size && sink.bytes < 1 << 30, "{} bytes", sink.bytes);
    }
}

/// Writes what is not zero.
struct Sparse<'f>(&'f std::fs::File, Vec<u8>);

impl Sink for Sparse<'_> {
    fn data(&mut self, offset: u64, bytes: &[u8]) -> Result<(), Error> {
        if bytes != &self.1[..bytes.len()] {
            self.0.write_all_at(bytes, offset).unwrap();
        }
        Ok(())
    }
}

#[test]
fn a_file_of_many_extents_is_clean() {
    let mut tree = Tree::new(Meta::root_owned(0o755, TIME));
    let meta = Meta::root_owned(0o644, TIME);
    let content = Content { size: 5 << 30, ..Content::of(b"five gibibytes") };
    tree.insert(path("large"), Entry::file(content, meta.clone())).unwrap();
    tree.insert(path("small"), Entry::file(Content { size: 5, ..content }, meta)).unwrap();
    for block_size in [BlockSize::Bytes1024, BlockSize::Bytes4096] {
        let plan = ext4::plan(&tree, &Options { block_size, ..options(6 << 30) }).unwrap();
        let file = NamedTempFile::new().unwrap();
        file.as_file().set_len(plan.size()).unwrap();
        plan.write_to(&Zeros, &mut Sparse(file.as_file(), vec![0; 4 << 20])).unwrap();
        assert_clean(text(&file));
    }
}

#[test]
fn what_does_not_fit_says_how_much_is_missing() {
    let mut plant = Planter::default();
    plant.file("a", vec![1; 5 << 20]);
    let error = ext4::plan(&plant.tree, &options(4 * MIB)).err().unwrap();
    let text = error.to_string();
    assert!(text.starts_with("fit the tree into ext4: ") && text.contains("4194304 are there"), "{text}");
}

#[test]
fn content_that_is_shorter_or_longer_is_named() {
    struct Wrong(u64);
    impl Contents for Wrong {
        fn open(&self, _: &Content) -> Result<Box<dyn std::io::Read + Send>, layers::Error> {
            Ok(Box::new(std::io::Read::take(std::io::repeat(1), self.0)))
        }
    }
    let mut plant = Planter::default();
    plant.file("a/b/c", vec![1; 100]);
    let plan = ext4::plan(&plant.tree, &options(4 * MIB)).unwrap();
    for length in [99, 101] {
        let error = plan.write_to(&Wrong(length), &mut Counting::default()).unwrap_err();
        assert_eq!(error.to_string(), "read the content of /a/b/c");
    }
    plan.write_to(&Wrong(100), &mut Counting::default()).unwrap();
}

#[test]
fn the_bytes_stay_the_same() {
    let plant = corners();
    let bytes = |contents: &MemoryContents| {
        let file = raw(&ext4::plan(&plant.tree, &options(32 * MIB)).unwrap(), contents);
        blake3::hash(&std::fs::read(file.path()).unwrap()).to_hex().to_string()
    };
    let first = bytes(&plant.contents);
    assert_eq!(first, bytes(&corners().contents));
    // Pinned: when this changes, every image changes, and caches must not mix the two.
    assert_eq!(first, "08654c4c2c449b035eb6ee8ad96465ee86d67642e7a4799676a65555c55fd7ce");
}
