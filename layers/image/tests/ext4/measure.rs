//! Measures writing a directory of this machine, and a million files.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use image::Source;
use image::ext4;
use layers::{Entry, Meta, Tree, TreePath};

use super::options;
use super::referee::host::{meta, read};
use super::referee::{self, raw};

/// `EXT4_TREE=/usr EXT4_SIZE_MIB=8000 EXT4_OUT=/tmp/x.img cargo test --release -p image --test ext4 -- --ignored --nocapture measure`
#[test]
#[ignore = "measures; it is not a test"]
fn measure() {
    let top = PathBuf::from(std::env::var_os("EXT4_TREE").unwrap_or_else(|| "/usr/share".into()));
    let size: u64 = std::env::var("EXT4_SIZE_MIB").map_or(8000, |size| size.parse().unwrap());
    let (tree, contents) = read(&top);
    println!("{} entries, {} bytes", tree.len(), tree.content_bytes());
    for _ in 0..3 {
        let start = Instant::now();
        let plan = ext4::plan(&tree, &options(size << 20)).unwrap();
        let planned = start.elapsed();
        match std::env::var_os("EXT4_OUT") {
            Some(out) => {
                let file = fs::File::options().create(true).truncate(true).write(true).open(&out).unwrap();
                let mut sink = image::raw::RawFile::new(file, &out, plan.size()).unwrap();
                plan.write_to(&contents, &mut sink).unwrap();
                sink.finish().unwrap();
            }
            None => drop(raw(&plan, &contents)),
        }
        println!("plan {planned:?}, all {:?}", start.elapsed());
    }
}

/// `cargo test --release -p image --test ext4 -- --ignored --nocapture million`
#[test]
#[ignore = "measures; it is not a test"]
fn million() {
    let peak = || {
        let status = fs::read_to_string("/proc/self/status").unwrap();
        status.lines().find(|line| line.starts_with("VmHWM")).unwrap().to_owned()
    };
    let mut contents = layers::MemoryContents::default();
    let content = contents.add("small");
    let meta = Meta { mode: 0o644, ..meta(Path::new("/")) };
    let mut tree = Tree::default();
    for index in 0..1_000_000u32 {
        let path = TreePath::new(format!("d{:04}/file-{index}", index / 250)).unwrap();
        tree.create_directories(&path.parent().unwrap(), &meta).unwrap();
        tree.insert(path, Entry::file(content, meta.clone())).unwrap();
    }
    println!("tree: {}", peak());
    let start = Instant::now();
    let plan = ext4::plan(&tree, &options(20 << 30)).unwrap();
    println!("plan: {:?}, {}", start.elapsed(), peak());
    let file = raw(&plan, &contents);
    println!("all: {:?}, {}", start.elapsed(), peak());
    super::assert_clean(referee::text(&file));
}
