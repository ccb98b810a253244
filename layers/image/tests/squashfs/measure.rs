//! Measures writing a directory of this machine, to be compared with mksquashfs.

use std::fs;
use std::path::PathBuf;
use std::time::Instant;

use image::squashfs::{Options, write};

use super::referee::{TIME, host};

/// `SQUASHFS_TREE=/usr/share SQUASHFS_LEVEL=15 cargo test --release -p image --test squashfs -- --ignored --nocapture measure`
#[test]
#[ignore = "measures; it is not a test"]
fn measure() {
    let variable = |name: &str, default: &str| std::env::var(name).unwrap_or_else(|_| default.into());
    let top = PathBuf::from(variable("SQUASHFS_TREE", "/usr/share"));
    let level = variable("SQUASHFS_LEVEL", "15").parse().unwrap();
    let threads = variable("SQUASHFS_THREADS", "2").parse().unwrap();
    let out = variable("SQUASHFS_OUT", "/tmp/measured.squashfs");
    let start = Instant::now();
    let (tree, contents) = host::read(&top);
    println!("{} entries, {} bytes, listed in {:?}", tree.len(), tree.content_bytes(), start.elapsed());
    let file = fs::File::options().create(true).truncate(true).read(true).write(true).open(&out).unwrap();
    let start = Instant::now();
    let size = write(&tree, &contents, &Options { level, ..Options::new(TIME, threads) }, &file, &out).unwrap();
    println!("{size} bytes in {:?}", start.elapsed());
    let status = fs::read_to_string("/proc/self/status").unwrap();
    println!("{}", status.lines().find(|line| line.starts_with("VmHWM")).unwrap());
}
