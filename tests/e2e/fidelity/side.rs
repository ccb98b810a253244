//! One of the two trees that are compared, from where it lies: a partition of a disk, a tar.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use image::disk::Table;
use image::ext4::{Limits, Volume};
use image::{HostFile, Window};
use layers::{Content, Contents, Entry, Kind, Meta, Time, Tree, TreePath};

/// A tree, and the bytes of those files that are compared by what they mean.
#[derive(Clone)]
pub struct Side {
    pub tree: Tree,
    pub texts: BTreeMap<TreePath, Vec<u8>>,
}

/// Where files may lie that are compared by what they mean, or shown when they differ.
fn is_kept(path: &TreePath) -> bool {
    [&b"etc/"[..], b"var/lib/", b"var/log/corner-", b"boot/initr"]
        .iter()
        .any(|start| path.as_bytes().starts_with(start))
}

impl Side {
    /// The last partition of a raw disk, through our own readers.
    pub fn of_disk(disk: &Path) -> Self {
        let file = HostFile::new(File::open(disk).unwrap(), disk).unwrap();
        let table = Table::read(&file).unwrap();
        let root = table.partitions.last().expect("a partition");
        let window = Window::new(&file, root.start, root.size).unwrap();
        let volume = Volume::open(&window).unwrap();
        let found = volume.tree(&Limits::default()).unwrap();
        let contents = volume.contents(&found);
        let mut texts = BTreeMap::new();
        for (path, entry) in found.tree.iter().filter(|(path, _)| is_kept(path)) {
            if let Kind::File(content) = &entry.kind {
                let mut bytes = Vec::new();
                contents.open(content).unwrap().read_to_end(&mut bytes).unwrap();
                texts.insert(path.clone(), bytes);
            }
        }
        Self { tree: found.tree, texts }
    }

    /// A tar in pax format with numeric owners, parents before children.
    pub fn of_tar(tar: &Path) -> Self {
        let mut side = Self { tree: Tree::default(), texts: BTreeMap::new() };
        for entry in tar::Archive::new(File::open(tar).unwrap()).entries().unwrap() {
            let mut entry = entry.unwrap();
            let path = TreePath::new(entry.path_bytes()).unwrap();
            let mut meta = Meta {
                mode: entry.header().mode().unwrap() & 0o7777,
                uid: u32::try_from(entry.header().uid().unwrap()).unwrap(),
                gid: u32::try_from(entry.header().gid().unwrap()).unwrap(),
                mtime: Time::seconds(i64::try_from(entry.header().mtime().unwrap()).unwrap()),
                xattrs: BTreeMap::new(),
            };
            for pair in entry.pax_extensions().unwrap().into_iter().flatten() {
                let pair = pair.unwrap();
                if let Some(name) = pair.key_bytes().strip_prefix(b"SCHILY.xattr.") {
                    meta.xattrs.insert(name.into(), pair.value_bytes().into());
                }
            }
            let link = || TreePath::new(entry.link_name_bytes().expect("a link has a target")).unwrap();
            let device = || {
                let header = entry.header();
                (header.device_major().unwrap().unwrap_or(0), header.device_minor().unwrap().unwrap_or(0))
            };
            let kind = match entry.header().entry_type() {
                tar::EntryType::Directory => Kind::Directory,
                tar::EntryType::Symlink => Kind::Symlink(entry.link_name_bytes().unwrap().into()),
                tar::EntryType::Link => Kind::HardLink(link()),
                tar::EntryType::Char => Kind::CharDevice { major: device().0, minor: device().1 },
                tar::EntryType::Block => Kind::BlockDevice { major: device().0, minor: device().1 },
                tar::EntryType::Fifo => Kind::Fifo,
                tar::EntryType::Regular => {
                    let mut bytes = Vec::new();
                    entry.read_to_end(&mut bytes).unwrap();
                    let content = Content::of(&bytes);
                    if is_kept(&path) {
                        side.texts.insert(path.clone(), bytes);
                    }
                    Kind::File(content)
                }
                other => panic!("{path} is of a kind that no system has: {other:?}"),
            };
            side.tree.insert(path, Entry { kind, meta }).unwrap();
        }
        side
    }

    /// The bytes of a file, empty where there is none.
    pub fn text(&self, path: &TreePath) -> &[u8] {
        self.texts.get(path).map_or(&[], Vec::as_slice)
    }

    /// Names by id, of passwd(5) or group(5).
    pub fn names(&self, database: &str) -> BTreeMap<u32, String> {
        let text = String::from_utf8_lossy(self.text(&TreePath::new(database).unwrap())).into_owned();
        let mut names = BTreeMap::new();
        for line in text.lines() {
            let fields: Vec<&str> = line.split(':').collect();
            if let [name, _, id, ..] = fields[..] {
                names.entry(id.parse().unwrap()).or_insert_with(|| name.to_owned());
            }
        }
        names
    }

    /// For every name of a file that has several: all of them.
    pub fn links(&self) -> BTreeMap<TreePath, Vec<TreePath>> {
        let mut groups: BTreeMap<TreePath, Vec<TreePath>> = BTreeMap::new();
        for (path, entry) in self.tree.iter() {
            if let Kind::HardLink(target) = &entry.kind {
                groups.entry(target.clone()).or_insert_with(|| vec![target.clone()]).push(path.clone());
            }
        }
        let mut links = BTreeMap::new();
        for mut names in groups.into_values() {
            names.sort();
            for name in &names {
                links.insert(name.clone(), names.clone());
            }
        }
        links
    }

    /// An entry, through its hard link where it is one.
    pub fn entry(&self, path: &TreePath) -> Option<&Entry> {
        match self.tree.get(path)? {
            Entry { kind: Kind::HardLink(target), .. } => self.tree.get(target),
            entry => Some(entry),
        }
    }
}
