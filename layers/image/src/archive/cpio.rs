//! Members of a "newc" archive (Linux, Documentation/driver-api/early-userspace/buffer-format.rst,
//! and init/initramfs.c, which reads it).

use std::collections::BTreeMap;

use layers::{Content, Entry, Kind, Tree, TreePath};

use super::Member;
use crate::Error;

/// Heads and bytes of files begin at multiples of so many bytes.
pub(super) const UNIT_BYTES: u64 = 4;
/// What the whole is filled up to, as cpio(1) does it.
const BLOCK_BYTES: u64 = 512;
/// Bytes of a head without its name.
const HEAD_BYTES: usize = 110;
const NAME_BYTES_MAX: usize = 4095;

/// The files with several names, by the path that comes first.
#[derive(Default)]
struct Shared<'t> {
    names: u32,
    /// Which of the names bears the bytes: the last, as cpio(1) does it.
    last: Option<&'t TreePath>,
    first: Option<&'t Entry>,
}

/// Knows which names are of one file.
pub(super) struct Encoder<'t> {
    shared: BTreeMap<&'t TreePath, Shared<'t>>,
    numbers: BTreeMap<&'t TreePath, u32>,
}

impl<'t> Encoder<'t> {
    pub(super) fn of(tree: &'t Tree) -> Result<Self, Error> {
        let mut shared: BTreeMap<&TreePath, Shared<'t>> = BTreeMap::new();
        for (path, entry) in tree.iter() {
            if let Kind::HardLink(target) = &entry.kind {
                let file = shared.entry(target).or_insert_with(|| Shared { names: 1, ..Shared::default() });
                file.names += 1;
                file.last = Some(path);
                file.first = tree.get(target);
            }
        }
        // The kernel tells files with one name apart by nothing: only those with several need a number.
        let numbers = shared.keys().zip(1..).map(|(path, number)| (*path, number)).collect();
        Ok(Self { shared, numbers })
    }

    pub(super) fn member(&self, path: &TreePath, entry: &'t Entry) -> Result<Member<'t>, Error> {
        let file = if let Kind::HardLink(target) = &entry.kind { target } else { path };
        let shared = self.shared.get(file);
        let entry = match (&entry.kind, shared.and_then(|shared| shared.first)) {
            (Kind::HardLink(target), None) => {
                return Err(unsupported(path, format!("it is a hard link to {target}, which is not there")));
            }
            (Kind::HardLink(_), Some(first)) => first,
            _ => entry,
        };
        let names = shared.map_or(1, |shared| shared.names);
        let bears_bytes = shared.is_none_or(|shared| shared.last == Some(path));
        let content = match &entry.kind {
            Kind::File(content) if bears_bytes => Some(content),
            _ => None,
        };
        let target: &[u8] = if let Kind::Symlink(target) = &entry.kind { target } else { &[] };
        let name: &[u8] = if path.is_root() { b"." } else { path.as_bytes() };
        if name.len() > NAME_BYTES_MAX {
            return Err(unsupported(path, format!("names have at most {NAME_BYTES_MAX} bytes")));
        }
        let size = size(path, content)?.max(target.len() as u32);
        let (major, minor) = match entry.kind {
            Kind::CharDevice { major, minor } | Kind::BlockDevice { major, minor } => (major, minor),
            _ => (0, 0),
        };
        let fields = Fields {
            number: self.numbers.get(file).copied().unwrap_or(0),
            mode: kind_bits(&entry.kind) | entry.meta.mode,
            owner: [entry.meta.uid, entry.meta.gid],
            // A directory's names are not counted by anybody who reads this.
            names: if entry.is_directory() { 2 } else { names },
            time: u32::try_from(entry.meta.mtime.seconds.max(0)).unwrap_or(u32::MAX),
            size,
            device: [major, minor],
        };
        let mut head = fields.head(name);
        head.extend_from_slice(target);
        head.resize(head.len().next_multiple_of(UNIT_BYTES as usize), 0);
        Ok(Member { head, content })
    }
}

fn size(path: &TreePath, content: Option<&Content>) -> Result<u32, Error> {
    let bytes = content.map_or(0, |content| content.size);
    u32::try_from(bytes).map_err(|_| unsupported(path, format!("it has {bytes} bytes, and the field has 32 bits")))
}

fn unsupported(path: &TreePath, reason: String) -> Error {
    Error::Unsupported { format: "cpio", what: path.to_string(), reason }
}

/// The type of a file in its mode (stat(2), "S_IFMT").
fn kind_bits(kind: &Kind) -> u32 {
    match kind {
        Kind::File(_) | Kind::HardLink(_) => 0o100_000,
        Kind::Directory => 0o040_000,
        Kind::Symlink(_) => 0o120_000,
        Kind::CharDevice { .. } => 0o020_000,
        Kind::BlockDevice { .. } => 0o060_000,
        Kind::Fifo => 0o010_000,
        Kind::Socket => 0o140_000,
    }
}

#[derive(Default)]
struct Fields {
    number: u32,
    mode: u32,
    owner: [u32; 2],
    names: u32,
    time: u32,
    size: u32,
    device: [u32; 2],
}

impl Fields {
    fn head(&self, name: &[u8]) -> Vec<u8> {
        let [uid, gid] = self.owner;
        let [major, minor] = self.device;
        // The end of the name counts too.
        let length = name.len() as u32 + 1;
        let fields =
            [self.number, self.mode, uid, gid, self.names, self.time, self.size, 0, 0, major, minor, length, 0];
        let mut head = b"070701".to_vec();
        for field in fields {
            head.extend_from_slice(format!("{field:08x}").as_bytes());
        }
        debug_assert_eq!(head.len(), HEAD_BYTES);
        head.extend_from_slice(name);
        head.push(0);
        head.resize(head.len().next_multiple_of(UNIT_BYTES as usize), 0);
        head
    }
}

/// The member that ends an archive, and zeros up to a whole block.
pub(super) fn trailer(at: u64) -> Vec<u8> {
    let mut bytes = Fields { names: 1, ..Fields::default() }.head(b"TRAILER!!!");
    let end = (at + bytes.len() as u64).next_multiple_of(BLOCK_BYTES);
    bytes.resize((end - at) as usize, 0);
    bytes
}
