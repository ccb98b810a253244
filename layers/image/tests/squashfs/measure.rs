//! Measures writing a directory of this machine, to be compared with mksquashfs.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Read;
use std::path::PathBuf;
use std::time::Instant;

use image::squashfs::{Options, write};
use layers::{Blake3, Content, Contents, Kind};

use super::referee::{TIME, host};

/// Host files by the digests of their bytes, so that equal ones are found.
struct Hashed(BTreeMap<Blake3, PathBuf>);

impl Contents for Hashed {
    fn open(&self, content: &Content) -> Result<Box<dyn Read + Send>, layers::Error> {
        Ok(Box::new(File::open(&self.0[&content.digest]).unwrap()))
    }
}

/// `SQUASHFS_TREE=/usr/share SQUASHFS_LEVEL=15 cargo test --release -p image --test squashfs -- --ignored --nocapture measure`
#[test]
#[ignore = "measures; it is not a test"]
fn measure() {
    let variable = |name: &str, default: &str| std::env::var(name).unwrap_or_else(|_| default.into());
    let top = PathBuf::from(variable("SQUASHFS_TREE", "/usr/share"));
    let level = variable("SQUASHFS_LEVEL", "15").parse().unwrap();
    let threads = variable("SQUASHFS_THREADS", "2").parse().unwrap();
    let out = variable("SQUASHFS_OUT", "/tmp/measured.squashfs");
    let (mut tree, _) = host::read(&top);
    let mut contents = Hashed(BTreeMap::new());
    for (path, entry) in tree.iter_mut() {
        if let Kind::File(content) = &mut entry.kind {
            let host = path.under(&top);
            *content = Content::of(&fs::read(&host).unwrap());
            contents.0.insert(content.digest, host);
        }
    }
    println!("{} entries, {} bytes", tree.len(), tree.content_bytes());
    let file = File::options().create(true).truncate(true).read(true).write(true).open(&out).unwrap();
    let start = Instant::now();
    let size = write(&tree, &contents, &Options { level, ..Options::new(TIME, threads) }, &file, &out).unwrap();
    println!("{size} bytes in {:?}", start.elapsed());
    let status = fs::read_to_string("/proc/self/status").unwrap();
    println!("{}", status.lines().find(|line| line.starts_with("VmHWM")).unwrap());
}
