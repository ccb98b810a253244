//! Packages put together byte by byte, so that any of them may lie.

use std::path::{Path, PathBuf};

use providers::rpm::Header;
use sha2::Digest as _;

const MAGIC: [u8; 8] = [0x8e, 0xad, 0xe8, 0x01, 0, 0, 0, 0];

/// One value of a header: type, count, bytes.
#[derive(Clone)]
pub struct Value(pub u32, pub u32, pub Vec<u8>);

pub fn number(count: usize) -> u32 {
    u32::try_from(count).unwrap()
}

pub fn string(text: &str) -> Value {
    Value(6, 1, [text.as_bytes(), b"\0"].concat())
}

pub fn strings<T: AsRef<[u8]>>(texts: &[T]) -> Value {
    let joined = texts.iter().flat_map(|text| [text.as_ref(), b"\0"].concat()).collect();
    Value(8, number(texts.len()), joined)
}

pub fn words(numbers: &[u32]) -> Value {
    Value(4, number(numbers.len()), numbers.iter().flat_map(|number| number.to_be_bytes()).collect())
}

pub fn shorts(numbers: &[u16]) -> Value {
    Value(3, number(numbers.len()), numbers.iter().flat_map(|number| number.to_be_bytes()).collect())
}

pub fn longs(numbers: &[u64]) -> Value {
    Value(5, number(numbers.len()), numbers.iter().flat_map(|number| number.to_be_bytes()).collect())
}

pub fn bin(bytes: &[u8]) -> Value {
    Value(7, number(bytes.len()), bytes.to_vec())
}

/// A header that is being written.
#[derive(Clone, Default)]
pub struct Values(pub Vec<(u32, Value)>);

impl Values {
    /// What a header has.
    pub fn of(header: &Header) -> Self {
        let value = |(tag, kind, count): (providers::rpm::header::Tag, providers::rpm::header::Type, usize)| {
            (tag.0, Value(kind.number(), number(count), header.value(tag).unwrap().1.to_vec()))
        };
        Self(header.tags().map(value).collect())
    }

    pub fn set(mut self, tag: u32, value: Value) -> Self {
        self.0.retain(|(other, _)| *other != tag);
        self.0.push((tag, value));
        self.0.sort_by_key(|(tag, _)| *tag);
        self
    }

    pub fn without(mut self, tags: &[u32]) -> Self {
        self.0.retain(|(tag, _)| !tags.contains(tag));
        self
    }

    /// The header's bytes, with this region.
    pub fn bytes(&self, region: u32) -> Vec<u8> {
        let (mut index, mut data) = (Vec::new(), Vec::new());
        for (tag, Value(kind, count, bytes)) in &self.0 {
            let width = match kind {
                3 => 2,
                4 => 4,
                5 => 8,
                _ => 1,
            };
            data.resize(data.len().next_multiple_of(width), 0);
            for word in [*tag, *kind, number(data.len()), *count] {
                index.extend(word.to_be_bytes());
            }
            data.extend_from_slice(bytes);
        }
        let entries = number(self.0.len()) + 1;
        let trailer = number(data.len());
        for word in [region, 7, 0u32.wrapping_sub(entries * 16), 16] {
            data.extend(word.to_be_bytes());
        }
        let mut bytes = MAGIC.to_vec();
        for word in [entries, number(data.len()), region, 7, trailer, 16] {
            bytes.extend(word.to_be_bytes());
        }
        [bytes, index, data].concat()
    }
}

/// A file of a made-up package.
#[derive(Clone)]
pub struct Item {
    pub path: String,
    pub mode: u16,
    pub size: u64,
    pub digest: String,
    pub target: String,
    pub flags: u32,
    pub inode: u32,
    pub capabilities: String,
}

impl Item {
    pub fn file(path: &str, content: &[u8]) -> Self {
        Self {
            path: path.into(),
            mode: 0o100_644,
            size: content.len() as u64,
            digest: sha256(content),
            target: String::new(),
            flags: 0,
            inode: 0,
            capabilities: String::new(),
        }
    }

    pub fn directory(path: &str) -> Self {
        Self { mode: 0o040_755, digest: String::new(), ..Self::file(path, b"") }
    }

    pub fn symlink(path: &str, target: &str) -> Self {
        let size = target.len() as u64;
        Self { mode: 0o120_777, digest: String::new(), target: target.into(), size, ..Self::file(path, b"") }
    }
}

pub fn sha256(bytes: &[u8]) -> String {
    hex::encode(sha2::Sha256::digest(bytes))
}

/// The main header of a package with these files.
pub fn main_header(items: &[Item], payload: &[u8]) -> Values {
    let split = |item: &Item| {
        let (directory, name) = item.path.rsplit_once('/').unwrap_or(("", &item.path));
        (format!("{directory}/"), name.to_owned())
    };
    let each = |f: &dyn Fn(&Item) -> String| strings(&items.iter().map(f).collect::<Vec<_>>());
    let values = Values::default()
        .set(100, strings(&["C"]))
        .set(1000, string("made-up"))
        .set(1001, string("1"))
        .set(1002, string("2"))
        .set(1009, words(&[1]))
        .set(1022, string("noarch"))
        .set(1124, string("cpio"))
        .set(5092, strings(&[sha256(payload)]))
        .set(5093, words(&[8]));
    if items.is_empty() {
        return values;
    }
    values
        .set(1030, shorts(&items.iter().map(|item| item.mode).collect::<Vec<_>>()))
        .set(1033, shorts(&vec![0; items.len()]))
        .set(1034, words(&vec![1_700_000_000; items.len()]))
        .set(1035, each(&|item| item.digest.clone()))
        .set(1036, each(&|item| item.target.clone()))
        .set(1037, words(&items.iter().map(|item| item.flags).collect::<Vec<_>>()))
        .set(1039, each(&|_| "root".into()))
        .set(1040, each(&|_| "root".into()))
        .set(1095, words(&vec![1; items.len()]))
        .set(1096, words(&items.iter().map(|item| item.inode).collect::<Vec<_>>()))
        .set(1116, words(&(0..number(items.len())).collect::<Vec<_>>()))
        .set(1117, each(&|item| split(item).1))
        .set(1118, each(&|item| split(item).0))
        .set(5008, longs(&items.iter().map(|item| item.size).collect::<Vec<_>>()))
        .set(5010, each(&|item| item.capabilities.clone()))
        .set(5011, words(&[8]))
}

/// The signature header that goes with a main header.
pub fn signature_header(main: &[u8], payload: &[u8]) -> Values {
    Values::default().set(273, string(&sha256(main))).set(1000, words(&[number(main.len() + payload.len())]))
}

/// A package of two headers and a payload.
pub fn package(signature: &Values, main: &[u8], payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0xed, 0xab, 0xee, 0xdb, 3, 0, 0, 0];
    // A header-style signature: rpm refuses all others (format_lead.md).
    bytes.resize(78, 0);
    bytes.extend([0, 5]);
    bytes.resize(96, 0);
    bytes.extend(signature.bytes(62));
    bytes.resize(bytes.len().next_multiple_of(8), 0);
    [&bytes[..], main, payload].concat()
}

/// A package that is honest about its payload and its header.
pub fn honest(items: &[Item], payload: &[u8]) -> Vec<u8> {
    let main = main_header(items, payload).bytes(63);
    package(&signature_header(&main, payload), &main, payload)
}

/// A file in cpio.
pub fn cpio(name: &str, size: usize, body: &[u8]) -> Vec<u8> {
    let mut bytes = format!("070701{}", "00000000".repeat(6)).into_bytes();
    bytes.extend(format!("{size:08x}{}{:08x}00000000{name}\0", "00000000".repeat(4), name.len() + 1).as_bytes());
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes.extend_from_slice(body);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

/// A file in cpio by its number.
pub fn stripped(number: u32, body: &[u8]) -> Vec<u8> {
    let mut bytes = format!("07070X{number:08x}\0\0").into_bytes();
    bytes.extend_from_slice(body);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

/// The end of an archive.
pub fn end() -> Vec<u8> {
    cpio("TRAILER!!!", 0, b"")
}

pub fn write(directory: &Path, bytes: &[u8]) -> PathBuf {
    let path = directory.join("x.rpm");
    std::fs::write(&path, bytes).unwrap();
    path
}
