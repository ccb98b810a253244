//! squashfs before its referees: squashfs-tools, the kernel, and our own reader.

mod hostile;
mod kernel;
mod measure;
#[path = "../referee/mod.rs"]
mod referee;
mod roundtrip;
mod tools;

use std::collections::BTreeMap;

use image::squashfs::{Options, write};
use image::volume::{self, FileKind, Volume};
use image::{Error, HostFile, Medium};
use layers::{Blake3, Content, Contents, Entry, Kind, Meta, Time, Tree, TreePath};
use referee::{Planter, TIME};
use tempfile::NamedTempFile;

/// Most entries and bytes that a test reads: images may lie.
const ENTRIES_MAX: usize = 300_000;
const BYTES_MAX: u64 = 8 << 30;

fn path(text: &str) -> TreePath {
    TreePath::new(text).unwrap()
}

/// Level 3: most tests are about places, not sizes.
fn options() -> Options {
    Options { level: 3, ..Options::new(TIME, 2) }
}

fn written(tree: &Tree, contents: &dyn Contents, options: &Options) -> NamedTempFile {
    let file = NamedTempFile::new().unwrap();
    let size = write(tree, contents, options, file.as_file(), file.path()).unwrap();
    assert_eq!(file.as_file().metadata().unwrap().len(), size);
    assert_eq!(size % 4096, 0);
    file
}

fn medium(file: &NamedTempFile) -> HostFile {
    HostFile::new(file.reopen().unwrap(), file.path()).unwrap()
}

/// The tree as squashfs shows it: whole seconds of 32 bits.
fn shown(tree: &Tree) -> Tree {
    let mut tree = tree.clone();
    for (_, entry) in tree.iter_mut() {
        entry.meta.mtime = Time::seconds(entry.meta.mtime.seconds.clamp(0, u32::MAX.into()));
        // What a hard link's entry says of itself does not count.
        if matches!(entry.kind, Kind::HardLink(_)) {
            entry.meta = Meta::default();
        }
    }
    tree
}

fn content(volume: &dyn Volume, id: u64, size: u64) -> Result<Content, Error> {
    let (mut hasher, mut at, mut buffer) = (blake3::Hasher::new(), 0, vec![0; 300_000]);
    while at < size {
        let count = volume.read(id, at, &mut buffer)?;
        hasher.update(&buffer[..count]);
        at += count as u64;
    }
    Ok(Content { digest: Blake3(*hasher.finalize().as_bytes()), size })
}

/// All that a volume holds, as a tree.
fn read(medium: &dyn Medium) -> Result<Tree, Error> {
    let unknown = || Error::Damaged { format: "test", offset: 0, reason: "no file system is here".into() };
    let volume = volume::open(medium)?.ok_or_else(unknown)?;
    let too_much = || Error::Overflow("what a test reads");
    let mut tree = Tree::new(volume.file(volume.root())?.meta);
    let mut seen: BTreeMap<u64, TreePath> = BTreeMap::new();
    let mut left = BYTES_MAX;
    let mut pending = vec![(TreePath::root(), volume.root())];
    while let Some((directory, id)) = pending.pop() {
        for (name, id) in volume.names(id)? {
            let path = directory.join(&name)?;
            let file = volume.file(id)?;
            let kind = match file.kind {
                FileKind::File => {
                    left = left.checked_sub(file.size).ok_or_else(too_much)?;
                    Kind::File(content(&*volume, id, file.size)?)
                }
                FileKind::Directory => Kind::Directory,
                FileKind::Symlink => Kind::Symlink(volume.target(id)?.into()),
                FileKind::CharDevice(major, minor) => Kind::CharDevice { major, minor },
                FileKind::BlockDevice(major, minor) => Kind::BlockDevice { major, minor },
                FileKind::Fifo => Kind::Fifo,
                FileKind::Socket => Kind::Socket,
            };
            if kind == Kind::Directory {
                pending.push((path.clone(), id));
            } else if file.links > 1 {
                // The first in the order of paths has the inode; the walk has another order.
                let first = seen.entry(id).or_insert_with(|| path.clone());
                *first = path.clone().min(first.clone());
            }
            tree.insert(path, Entry { kind, meta: file.meta })?;
            if tree.len() > ENTRIES_MAX {
                return Err(too_much());
            }
        }
    }
    link(&mut tree, &*volume, &seen)?;
    Ok(tree)
}

/// Makes hard links of the other names of what has several.
fn link(tree: &mut Tree, volume: &dyn Volume, seen: &BTreeMap<u64, TreePath>) -> Result<(), Error> {
    let mut pending = vec![(TreePath::root(), volume.root())];
    while let Some((directory, id)) = pending.pop() {
        for (name, id) in volume.names(id)? {
            let path = directory.join(&name)?;
            match (seen.get(&id).filter(|first| **first != path), tree.get_mut(&path)) {
                (Some(first), Some(entry)) => {
                    *entry = Entry { kind: Kind::HardLink(first.clone()), meta: Meta::default() };
                }
                (None, Some(entry)) if entry.is_directory() => pending.push((path, id)),
                _ => {}
            }
        }
    }
    Ok(())
}

/// Every kind of entry, and the corners of each.
fn corners() -> Planter {
    let mut plant = Planter { tree: Tree::new(Meta::root_owned(0o1755, TIME)), ..Planter::default() };
    plant.directory("etc").directory("empty").directory("usr/bin").directory("dev").directory("a/deep/er/place");
    plant.file("etc/hostname", "image\n").file("usr/bin/tool", referee::noise(7, 70_000, 200));
    plant.file("usr/bin/twin", referee::noise(7, 70_000, 200));
    plant.file("etc/empty", "").file("big", referee::noise(9, 3 << 20, 20));
    plant.file("random", referee::noise(11, 400_000, 255)).file("exact", referee::noise(12, 2 << 20, 60));
    plant.file("zeros", vec![0; 5000]).file("zero blocks", vec![0; 1 << 21]);
    let holes = [referee::noise(13, 1 << 20, 100), vec![0; 3 << 20], referee::noise(14, 1 << 20, 3), vec![0; 1000]];
    plant.file("holes", holes.concat()).file("hole first", [vec![0; 1 << 20], b"end".to_vec()].concat());
    let mut add = |name: &[u8], kind: Kind, change: &dyn Fn(&mut Meta)| {
        let mut meta = Meta::root_owned(0o644, TIME);
        change(&mut meta);
        plant.tree.insert(TreePath::new(name).unwrap(), Entry { kind, meta }).unwrap();
    };
    let content = plant.contents.add("set\n");
    add(b"usr/bin/su", Kind::File(content), &|meta| meta.mode = 0o6755);
    add(b"usr/bin/owned", Kind::File(content), &|meta| (meta.uid, meta.gid) = (70_000, 4_000_000_000));
    add(b"usr/bin/old", Kind::File(content), &|meta| meta.mtime = Time::default());
    add(b"usr/bin/new", Kind::File(content), &|meta| meta.mtime = Time::seconds(u32::MAX.into()));
    add(b"usr/bin/tool2", Kind::HardLink(path("usr/bin/tool")), &|_| ());
    add(b"zz", Kind::HardLink(path("usr/bin/tool")), &|_| ());
    for length in [1, 60, 1000, 4095] {
        let name = format!("a/link{length}");
        add(name.as_bytes(), Kind::Symlink(vec![b't'; length].into()), &|meta| meta.mode = 0o777);
    }
    add(b"zlink", Kind::HardLink(path("a/link60")), &|_| ());
    add(b"a/\xff\xfe latin", Kind::Symlink(b"\x80\xff".as_slice().into()), &|meta| meta.mode = 0o777);
    add(&[b'n'; 255], Kind::File(content), &|_| ());
    add(b"dev/null", Kind::CharDevice { major: 1, minor: 3 }, &|meta| meta.mode = 0o666);
    add(b"dev/big", Kind::CharDevice { major: 4095, minor: 0xf_ffff }, &|_| ());
    add(b"dev/nvme0n1p260", Kind::BlockDevice { major: 259, minor: 260 }, &|_| ());
    add(b"dev/fifo", Kind::Fifo, &|_| ());
    add(b"dev/socket", Kind::Socket, &|_| ());
    let capability = b"\x01\0\0\x02\0\x20\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
    add(b"usr/bin/ping", Kind::File(content), &|meta| set(meta, "security.capability", capability));
    for name in [&b"usr/bin/labelled"[..], b"usr/bin/labelled too", b"labelled pipe"] {
        let kind = if name == b"labelled pipe" { Kind::Fifo } else { Kind::File(content) };
        add(name, kind, &|meta| {
            set(meta, "security.capability", capability);
            // Linux gives user attributes to files and directories alone.
            if name != b"labelled pipe" {
                set(meta, "user.long", &[b'v'; 2000]);
                set(meta, "user.empty", b"");
            }
            set(meta, "trusted.overlay", name);
        });
    }
    for name in [&b"labelled"[..], b"labelled too"] {
        add(name, Kind::Directory, &|meta| {
            meta.mode = 0o2775;
            set(meta, "user.long", &[b'v'; 2000]);
            set(meta, "trusted.overlay.opaque", b"y");
        });
    }
    plant
}

fn set(meta: &mut Meta, name: &str, value: &[u8]) {
    meta.xattrs.insert(name.as_bytes().into(), value.into());
}
