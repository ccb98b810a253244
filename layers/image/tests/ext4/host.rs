//! A directory of this machine as a tree, for comparisons and for measuring.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::Instant;

use image::Source;
use image::ext4;
use layers::{Blake3, Content, Contents, Entry, Kind, Meta, Time, Tree, TreePath};

use super::options;
use super::referee::raw;

/// Contents that are host files; digests are of paths, since only equality matters here.
#[derive(Default)]
pub struct HostContents(BTreeMap<Blake3, PathBuf>);

impl Contents for HostContents {
    fn open(&self, content: &Content) -> Result<Box<dyn Read + Send>, layers::Error> {
        Ok(Box::new(self.host_file(content)?.unwrap()))
    }

    fn host_file(&self, content: &Content) -> Result<Option<File>, layers::Error> {
        Ok(Some(File::open(&self.0[&content.digest]).unwrap()))
    }
}

/// Reads a directory and all below it on the same file system.
pub fn read(top: &Path) -> (Tree, HostContents) {
    let device = fs::metadata(top).unwrap().dev();
    let mut contents = HostContents::default();
    let mut links: BTreeMap<u64, TreePath> = BTreeMap::new();
    let tree = RefCell::new(Tree::new(meta(top)));
    let mut pending = vec![(top.to_path_buf(), TreePath::root())];
    let mut found = Vec::new();
    while let Some((directory, path)) = pending.pop() {
        for entry in fs::read_dir(&directory).unwrap() {
            let entry = entry.unwrap();
            let path = path.join(entry.file_name().as_bytes()).unwrap();
            let metadata = entry.metadata().unwrap();
            if metadata.dev() != device {
                continue;
            }
            if metadata.is_dir() {
                pending.push((entry.path(), path.clone()));
            }
            found.push((path, entry.path()));
        }
    }
    found.sort();
    for (path, host) in found {
        let metadata = fs::symlink_metadata(&host).unwrap();
        let kind = metadata.file_type();
        let (major, minor) = (rustix::fs::major(metadata.rdev()), rustix::fs::minor(metadata.rdev()));
        let mut is = if kind.is_dir() {
            Kind::Directory
        } else if kind.is_symlink() {
            Kind::Symlink(fs::read_link(&host).unwrap().as_os_str().as_bytes().into())
        } else if kind.is_char_device() {
            Kind::CharDevice { major, minor }
        } else if kind.is_block_device() {
            Kind::BlockDevice { major, minor }
        } else if kind.is_fifo() {
            Kind::Fifo
        } else if kind.is_socket() {
            Kind::Socket
        } else {
            let digest = Blake3::of(path.as_bytes());
            contents.0.insert(digest, host.clone());
            Kind::File(Content { digest, size: metadata.len() })
        };
        if metadata.nlink() > 1 && !kind.is_dir() {
            if let Some(first) = links.get(&metadata.ino()) {
                is = Kind::HardLink(first.clone());
            } else {
                links.insert(metadata.ino(), path.clone());
            }
        }
        tree.borrow_mut().insert(path, Entry { kind: is, meta: meta(&host) }).unwrap();
    }
    (tree.into_inner(), contents)
}

/// What is said of a host's file, extended attributes included.
pub fn meta(host: &Path) -> Meta {
    let metadata = fs::symlink_metadata(host).unwrap();
    let mut meta = Meta {
        mode: metadata.mode() & 0o7777,
        uid: metadata.uid(),
        gid: metadata.gid(),
        mtime: Time { seconds: metadata.mtime(), nanoseconds: metadata.mtime_nsec() as u32 },
        xattrs: BTreeMap::new(),
    };
    let mut names = vec![0; 64 << 10];
    let length = rustix::fs::llistxattr(host, names.as_mut_slice()).unwrap_or(0);
    for name in names[..length].split(|&byte| byte == 0).filter(|name| !name.is_empty()) {
        let mut value = vec![0; 64 << 10];
        let length = rustix::fs::lgetxattr(host, name, value.as_mut_slice()).unwrap();
        meta.xattrs.insert(name.into(), value[..length].into());
    }
    meta
}

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
    super::assert_clean(super::referee::text(&file));
}
