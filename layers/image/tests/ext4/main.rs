//! ext4 before its referees: e2fsprogs, the kernel, and our own reader.

mod kernel;
mod measure;
#[path = "../referee/mod.rs"]
mod referee;
mod roundtrip;
mod sizes;
mod tools;

use image::ext4::{Features, Options};
use layers::TreePath;
use referee::corners::corners;
use referee::{TIME, run, tool};

const UUID: [u8; 16] = *b"\x6f\x0d\x4a\x6e\x5c\x3b\x4f\x6a\x9d\x1e\x2f\x3a\x4b\x5c\x6d\x7e";
const SEED: [u8; 16] = *b"\x11\x22\x33\x44\x55\x66\x47\x88\x99\xaa\xbb\xcc\xdd\xee\xff\x01";
const MIB: u64 = 1 << 20;

fn options(size: u64) -> Options {
    Options { label: b"root".to_vec(), ..Options::new(size, UUID, SEED, TIME) }
}

fn path(text: &str) -> TreePath {
    TreePath::new(text).unwrap()
}

/// What e2fsck says when it is told to change nothing.
fn check(file: &str) -> Option<String> {
    let tool = tool("e2fsck")?;
    let verdict = run(&tool, &["-fn", file]);
    (!verdict.success).then_some(verdict.text)
}

fn assert_clean(file: &str) {
    if let Some(text) = check(file) {
        panic!("e2fsck objects:\n{}", text.chars().take(4000).collect::<String>());
    }
}

fn feature_sets() -> Vec<Features> {
    [
        "has_journal,extent,huge_file,flex_bg,metadata_csum,64bit,dir_nlink,extra_isize",
        "has_journal,extent,huge_file,flex_bg,metadata_csum,metadata_csum_seed,64bit,dir_nlink,extra_isize,orphan_file",
        "has_journal,extent,huge_file,flex_bg,uninit_bg,dir_nlink,extra_isize",
        "extent,^resize_inode,^dir_index",
        "extent,64bit,metadata_csum",
        "extent,flex_bg,64bit",
    ]
    .into_iter()
    .map(|list| Features::parse(list).unwrap())
    .collect()
}
