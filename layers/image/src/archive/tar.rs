//! Members of a tar archive (POSIX.1-2017, pax, "pax Interchange Format" and "ustar Interchange
//! Format"). What a ustar header cannot hold stands in records before it.

use layers::{Entry, Kind, Tree, TreePath};

use super::Member;
use crate::Error;

/// Everything is in blocks of so many bytes.
pub(super) const UNIT_BYTES: u64 = 512;
const BLOCK: usize = UNIT_BYTES as usize;
/// Longest name or target of a link that a header holds, in bytes. The field `prefix` is not
/// used: readers differ in where they cut names.
const NAME_BYTES_MAX: usize = 100;
/// Largest numbers of seven and eleven octal digits.
const OCTAL_7_MAX: u64 = 0o777_7777;
const OCTAL_11_MAX: u64 = 0o777_7777_7777;

pub(super) struct Encoder<'t>(pub &'t Tree);

impl Encoder<'_> {
    /// `None` for a socket, which tar does not know.
    pub(super) fn member<'t>(&self, path: &TreePath, entry: &'t Entry) -> Result<Option<Member<'t>>, Error> {
        let mut name = [b"./", path.as_bytes()].concat();
        let (flag, target, content) = match &entry.kind {
            Kind::File(content) => (b'0', Vec::new(), Some(content)),
            Kind::HardLink(target) => (b'1', [b"./", target.as_bytes()].concat(), None),
            Kind::Symlink(target) => (b'2', target.to_vec(), None),
            Kind::CharDevice { .. } => (b'3', Vec::new(), None),
            Kind::BlockDevice { .. } => (b'4', Vec::new(), None),
            Kind::Directory => {
                if !path.is_root() {
                    name.push(b'/');
                }
                (b'5', Vec::new(), None)
            }
            Kind::Fifo => (b'6', Vec::new(), None),
            Kind::Socket => return Ok(None),
        };
        let size = content.map_or(0, |content| content.size);
        // What is said of a link is its target's; readers differ in whether they take it from here.
        let meta = match &entry.kind {
            Kind::HardLink(first) => &self.0.get(first).ok_or_else(|| missing(path, first))?.meta,
            _ => &entry.meta,
        };
        let mut header = Header { name: &name, target: &target, flag, mode: meta.mode, ..Header::default() };
        let mut records = Records::default();
        if name.len() > NAME_BYTES_MAX {
            records.add(b"path", &name);
        }
        if target.len() > NAME_BYTES_MAX {
            records.add(b"linkpath", &target);
        }
        header.uid = records.number(b"uid", meta.uid.into(), OCTAL_7_MAX);
        header.gid = records.number(b"gid", meta.gid.into(), OCTAL_7_MAX);
        let time = meta.mtime;
        header.mtime = match u64::try_from(time.seconds) {
            Ok(seconds) if time.nanoseconds == 0 && seconds <= OCTAL_11_MAX => seconds,
            _ => {
                records.add(b"mtime", decimal(time).as_bytes());
                u64::try_from(time.seconds).unwrap_or(0).min(OCTAL_11_MAX)
            }
        };
        for (key, value) in &meta.xattrs {
            if key.contains(&b'=') || key.contains(&0) {
                let reason = "the name of an extended attribute holds '='".into();
                return Err(Error::Unsupported { format: "tar", what: path.to_string(), reason });
            }
            records.add(&[b"SCHILY.xattr.", key.as_ref()].concat(), value);
        }
        header.size = records.number(b"size", size, OCTAL_11_MAX);
        if let Kind::CharDevice { major, minor } | Kind::BlockDevice { major, minor } = entry.kind {
            // Linux has 12 and 20 bits: they always fit.
            (header.major, header.minor) = (major.into(), minor.into());
        }
        let mut head = records.head(path);
        head.extend(header.encode());
        Ok(Some(Member { head, content }))
    }
}

fn missing(path: &TreePath, first: &TreePath) -> Error {
    let reason = format!("it is a hard link to {first}, which is not there");
    Error::Unsupported { format: "tar", what: path.to_string(), reason }
}

/// Seconds with a fraction, as pax has them.
fn decimal(time: layers::Time) -> String {
    // Half a second before the epoch is -1 second and 500,000,000 nanoseconds.
    match (time.seconds, time.nanoseconds) {
        (seconds, 0) => seconds.to_string(),
        (seconds, nanoseconds) if seconds < 0 => {
            format!("-{}.{:09}", -(seconds + 1), 1_000_000_000 - nanoseconds)
        }
        (seconds, nanoseconds) => format!("{seconds}.{nanoseconds:09}"),
    }
}

/// Records of an extended header: length, keyword, value.
#[derive(Default)]
struct Records(Vec<u8>);

impl Records {
    fn add(&mut self, keyword: &[u8], value: &[u8]) {
        // Blank, equals sign, newline.
        let rest = keyword.len() + value.len() + 3;
        // The length counts its own digits.
        let mut length = rest + 1;
        while length != rest + length.to_string().len() {
            length = rest + length.to_string().len();
        }
        self.0.extend_from_slice(length.to_string().as_bytes());
        for part in [b" ", keyword, b"=", value, b"\n"] {
            self.0.extend_from_slice(part);
        }
    }

    /// The number for the header; one that does not fit stands in a record.
    fn number(&mut self, keyword: &[u8], number: u64, max: u64) -> u64 {
        if number > max {
            self.add(keyword, number.to_string().as_bytes());
        }
        number.min(max)
    }

    /// The member that holds the records; nothing where there are none.
    fn head(&self, path: &TreePath) -> Vec<u8> {
        if self.0.is_empty() {
            return Vec::new();
        }
        // A name that nobody needs: readers that know no records show it as a file.
        let mut name = [b"./PaxHeaders/", path.name()].concat();
        name.truncate(NAME_BYTES_MAX);
        let header = Header { name: &name, flag: b'x', mode: 0o644, size: self.0.len() as u64, ..Header::default() };
        let mut head = header.encode();
        head.extend_from_slice(&self.0);
        head.resize(head.len().next_multiple_of(BLOCK), 0);
        head
    }
}

#[derive(Default)]
struct Header<'a> {
    name: &'a [u8],
    target: &'a [u8],
    flag: u8,
    mode: u32,
    uid: u64,
    gid: u64,
    size: u64,
    mtime: u64,
    major: u64,
    minor: u64,
}

impl Header<'_> {
    fn encode(&self) -> Vec<u8> {
        let mut block = vec![0; BLOCK];
        let mut put = |at: usize, bytes: &[u8]| block[at..at + bytes.len()].copy_from_slice(bytes);
        put(0, &self.name[..self.name.len().min(NAME_BYTES_MAX)]);
        put(100, format!("{:07o}", self.mode).as_bytes());
        put(108, format!("{:07o}", self.uid).as_bytes());
        put(116, format!("{:07o}", self.gid).as_bytes());
        put(124, format!("{:011o}", self.size).as_bytes());
        put(136, format!("{:011o}", self.mtime).as_bytes());
        // The sum is made with blanks in its place.
        put(148, b"        ");
        put(156, &[self.flag]);
        put(157, &self.target[..self.target.len().min(NAME_BYTES_MAX)]);
        put(257, b"ustar\x0000");
        if matches!(self.flag, b'3' | b'4') {
            put(329, format!("{:07o}", self.major).as_bytes());
            put(337, format!("{:07o}", self.minor).as_bytes());
        }
        let sum: u32 = block.iter().map(|&byte| u32::from(byte)).sum();
        block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        block
    }
}

/// Two empty blocks end an archive.
pub(super) fn trailer() -> Vec<u8> {
    vec![0; 2 * BLOCK]
}
