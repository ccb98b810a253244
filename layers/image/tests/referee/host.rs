//! A directory of this machine as a tree, for comparisons and for measuring.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use layers::{Blake3, Content, Contents, Entry, Kind, Meta, Time, Tree, TreePath};

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
