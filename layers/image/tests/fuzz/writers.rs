//! Bytes as the description of a tree, which every writer writes. What comes of it is what the reader of the
//! format finds; an archive is as long as was planned.

use std::collections::BTreeMap;
use std::io::Read;

use image::volume::{self, FileKind, Volume};
use image::{Error, Source, archive, ext4, fat, iso, squashfs};
use layers::{Contents, Entry, Kind, MemoryContents, Meta, Time, Tree, TreePath};
use tempfile::NamedTempFile;

use crate::referee::{TIME, raw};

/// Entries that one input describes.
const ENTRIES_MAX: usize = 40;
/// Largest file, in bytes.
const FILE_MAX: usize = 300_000;
/// What a volume shows at each path, in words.
type Shown = BTreeMap<Vec<u8>, String>;

/// A tree whose names, owners, times and kinds are what the bytes say. What a tree refuses is left out.
fn tree(bytes: &[u8]) -> (Tree, MemoryContents) {
    let mut rest = bytes.iter().copied();
    let mut tree = Tree::new(Meta::root_owned(0o755, TIME));
    let mut contents = MemoryContents::default();
    let (mut directories, mut files) = (vec![TreePath::root()], Vec::<TreePath>::new());
    for _ in 0..ENTRIES_MAX {
        let Some(what) = rest.next() else { break };
        let number = |rest: &mut dyn Iterator<Item = u8>, count: usize| -> u64 {
            rest.take(count).fold(0, |number, byte| number << 8 | u64::from(byte))
        };
        let (parent, length) = (number(&mut rest, 1) as usize, number(&mut rest, 1) as usize);
        let name: Vec<u8> = (&mut rest).take(if what & 0x80 == 0 { length % 24 } else { length }).collect();
        let meta = Meta {
            mode: number(&mut rest, 2) as u32 & 0o7777,
            uid: number(&mut rest, 4) as u32,
            gid: number(&mut rest, 2) as u32,
            mtime: Time {
                seconds: number(&mut rest, 5) as i64 - (1 << 33),
                nanoseconds: number(&mut rest, 4) as u32 % 1_000_000_000,
            },
            xattrs: BTreeMap::new(),
        };
        let Ok(path) = directories[parent % directories.len()].join(&name) else { continue };
        let kind = match what % 8 {
            0 => Kind::Directory,
            1 => Kind::Symlink((&mut rest).take(length).collect()),
            2 => Kind::CharDevice { major: number(&mut rest, 2) as u32, minor: number(&mut rest, 3) as u32 },
            3 => Kind::Fifo,
            4 if !files.is_empty() => Kind::HardLink(files[parent % files.len()].clone()),
            _ => {
                let byte = rest.next().unwrap_or_default();
                Kind::File(contents.add(vec![byte; number(&mut rest, 3) as usize % FILE_MAX]))
            }
        };
        let mut entry = Entry { kind, meta };
        if what & 0x40 != 0 {
            let value: Box<[u8]> = (&mut rest).take(20).collect();
            entry.meta.xattrs.insert((*b"user.note").into(), value);
        }
        if matches!(&entry.kind, Kind::HardLink(home) if *home >= path) {
            // The first name in the order of paths is the file's own (`Kind::HardLink`).
            continue;
        }
        let (is_directory, is_file) = (entry.is_directory(), matches!(entry.kind, Kind::File(_)));
        if tree.get(&path).is_none() && tree.insert(path.clone(), entry).is_ok() {
            if is_directory {
                directories.push(path);
            } else if is_file {
                files.push(path);
            }
        }
    }
    (tree, contents)
}

/// What each path of a tree is, in words that a volume can say too.
fn expected(tree: &Tree, contents: &MemoryContents) -> Shown {
    let told = |entry: &Entry| match &entry.kind {
        Kind::Directory => "directory".into(),
        Kind::Symlink(target) => format!("link {}", target.escape_ascii()),
        Kind::File(content) => {
            let mut bytes = Vec::new();
            contents.open(content).unwrap().read_to_end(&mut bytes).unwrap();
            format!("file {} {}", bytes.len(), blake3::hash(&bytes))
        }
        _ => "other".into(),
    };
    tree.iter()
        .filter(|(path, _)| !path.is_root())
        .map(|(path, entry)| match &entry.kind {
            Kind::HardLink(home) => (path.as_bytes().to_vec(), told(tree.get(home).unwrap())),
            _ => (path.as_bytes().to_vec(), told(entry)),
        })
        .collect()
}

fn shown(volume: &dyn Volume) -> Result<Shown, Error> {
    let (mut found, mut pending) = (Shown::new(), vec![(Vec::new(), volume.root())]);
    while let Some((path, id)) = pending.pop() {
        for (name, id) in volume.names(id)? {
            let mut path = if path.is_empty() { Vec::new() } else { [&path[..], b"/"].concat() };
            path.extend_from_slice(&name);
            let file = volume.file(id)?;
            let told = match file.kind {
                FileKind::Directory => "directory".into(),
                FileKind::Symlink => format!("link {}", volume.target(id)?.escape_ascii()),
                FileKind::File => {
                    let mut bytes = vec![0; file.size as usize];
                    assert_eq!(volume.read(id, 0, &mut bytes)? as u64, file.size);
                    format!("file {} {}", bytes.len(), blake3::hash(&bytes))
                }
                _ => "other".into(),
            };
            if file.kind == FileKind::Directory {
                pending.push((path.clone(), id));
            }
            found.insert(path, told);
        }
    }
    found.remove(b"lost+found".as_slice());
    Ok(found)
}

/// Writes what an input describes in the way that its first byte says: refused with a reason, or read again.
pub fn written(bytes: &[u8]) -> String {
    let Some((how, bytes)) = bytes.split_first() else { return "nothing".into() };
    let (tree, contents) = tree(bytes);
    let image = match how % 6 {
        0 => {
            let size = 2 << (20 + how / 6 % 4);
            ext4::plan(&tree, &ext4::Options::new(size, [1; 16], [2; 16], TIME)).map(|plan| raw(&plan, &contents))
        }
        1 => fat::plan(&tree, &fat::Options::new(16 << 20)).map(|plan| raw(&plan, &contents)),
        2 => iso::plan(&tree, &iso::Options { joliet: how / 6 % 2 == 0, ..iso::Options::new("FUZZ", TIME) })
            .map(|plan| raw(&plan, &contents)),
        3 => {
            let file = NamedTempFile::new().unwrap();
            let options = squashfs::Options { block_size: 4096, level: 1, ..squashfs::Options::new(TIME, 1) };
            squashfs::write(&tree, &contents, &options, file.as_file(), file.path()).map(|_| file)
        }
        4 | 5 => {
            let format = if how % 6 == 4 { archive::Format::Tar } else { archive::Format::Cpio };
            return match archive::plan(&tree, format) {
                // Nothing here reads archives: tar(1) and cpio(1) do, in tests of their own.
                Ok(plan) => {
                    assert_eq!(raw(&plan, &contents).as_file().metadata().unwrap().len(), plan.size());
                    format!("{format:?}")
                }
                Err(error) => error.to_string(),
            };
        }
        _ => unreachable!(),
    };
    let file = match image {
        Ok(file) => file,
        Err(error) => return error.to_string(),
    };
    let bytes = std::fs::read(file.path()).unwrap();
    let volume = volume::open(&bytes).unwrap().expect("what was written is a volume");
    let (found, wanted) = (shown(volume.as_ref()).unwrap(), expected(&tree, &contents));
    assert_eq!(found, wanted);
    let name = ["ext4", "FAT", "ISO", "squashfs"][usize::from(how % 6)];
    let kinds: std::collections::BTreeSet<&str> = wanted.values().map(|told| &told[..4]).collect();
    format!("{name} {kinds:?}")
}

/// Descriptions of small trees, one for each writer.
pub fn seeds() -> Vec<Vec<u8>> {
    (0..12u8)
        .map(|how| {
            let mut seed = vec![how];
            for what in [0, 5, 1, 2, 3, 4, 0x46, 0, 0x45] {
                // Where it is, and its name; mode, owner, group, time; then what it holds.
                let name = format!("name{what}");
                seed.extend([what, what / 2, name.len() as u8]);
                seed.extend(name.bytes());
                seed.extend([1, 0xed, 0, 0, 3, 232, 0, 100, 2, 100, 0, 0, 0, 0, 0, 0, 1]);
                seed.extend(match what % 8 {
                    0 | 3 | 4 => Vec::new(),
                    1 => b"target"[..name.len().min(6)].to_vec(),
                    2 => vec![0, 8, 0, 0, 1],
                    _ => vec![what, 0, 100, what],
                });
                seed.extend(std::iter::repeat_n(b'x', if what & 0x40 == 0 { 0 } else { 20 }));
            }
            seed
        })
        .collect()
}
