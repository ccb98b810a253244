//! Members of a tar archive (POSIX.1-2017, pax, "pax Interchange Format" and "ustar Interchange
//! Format"). What a ustar header cannot hold stands in records before it. There is one encoding for
//! one entry, so an archive whose order is settled has one digest.

use crate::{Entry, Error, Kind, Meta, Time, TreePath};

/// Everything is in blocks of so many bytes.
pub const BLOCK_BYTES: u64 = 512;
const BLOCK: usize = BLOCK_BYTES as usize;
/// Two empty blocks end an archive.
pub const END: [u8; 2 * BLOCK] = [0; 2 * BLOCK];
/// Longest name or target of a link that a header holds, in bytes. The field `prefix` is not
/// used: readers differ in where they cut names.
const NAME_BYTES_MAX: usize = 100;
/// Largest numbers of seven and eleven octal digits.
const OCTAL_7_MAX: u64 = 0o777_7777;
const OCTAL_11_MAX: u64 = 0o777_7777_7777;

/// What goes before the bytes of an entry; `None` for a socket, which tar does not know.
///
/// Names begin with `prefix`, and the root is `./` whatever it is. `meta` is what is said of the
/// entry: for a [`Kind::HardLink`] its target's, since readers differ in whether they take it from
/// here. The bytes of a file follow, filled up to whole blocks.
///
/// # Errors
/// [`Error::Inexpressible`] for extended attributes whose names tar cannot hold.
pub fn head(prefix: &[u8], path: &TreePath, entry: &Entry, meta: &Meta) -> Result<Option<Vec<u8>>, Error> {
    let mut name = if path.is_root() { b"./".to_vec() } else { [prefix, path.as_bytes()].concat() };
    let (flag, target) = match &entry.kind {
        Kind::File(_) => (b'0', Vec::new()),
        Kind::HardLink(target) => (b'1', [prefix, target.as_bytes()].concat()),
        Kind::Symlink(target) => (b'2', target.to_vec()),
        Kind::CharDevice { .. } => (b'3', Vec::new()),
        Kind::BlockDevice { .. } => (b'4', Vec::new()),
        Kind::Directory => {
            if !path.is_root() {
                name.push(b'/');
            }
            (b'5', Vec::new())
        }
        Kind::Fifo => (b'6', Vec::new()),
        Kind::Socket => return Ok(None),
    };
    let size = if let Kind::File(content) = &entry.kind { content.size } else { 0 };
    let device = match entry.kind {
        Kind::CharDevice { major, minor } | Kind::BlockDevice { major, minor } => [major, minor],
        _ => [0, 0],
    };
    member(&Member { name: &name, flag, target: &target, meta, size, device }).map(Some)
}

/// What goes before the bytes of a regular file that is no entry of a tree, under a name of
/// normal components.
///
/// # Errors
/// As [`head`].
pub fn file_head(name: &[u8], size: u64, meta: &Meta) -> Result<Vec<u8>, Error> {
    member(&Member { name, flag: b'0', target: b"", meta, size, device: [0, 0] })
}

struct Member<'a> {
    name: &'a [u8],
    flag: u8,
    target: &'a [u8],
    meta: &'a Meta,
    size: u64,
    device: [u32; 2],
}

fn member(member: &Member<'_>) -> Result<Vec<u8>, Error> {
    let &Member { name, flag, target, meta, size, device: [major, minor] } = member;
    let mut header = Header { name, target, flag, mode: meta.mode, ..Header::default() };
    let mut records = Records::default();
    if name.len() > NAME_BYTES_MAX {
        records.add(b"path", name);
    }
    if target.len() > NAME_BYTES_MAX {
        records.add(b"linkpath", target);
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
            return Err(Error::Inexpressible {
                format: "tar",
                what: format!("/{}", name.strip_prefix(b"./").unwrap_or(name).escape_ascii()),
                reason: "the name of an extended attribute holds '='",
            });
        }
        records.add(&[b"SCHILY.xattr.", key.as_ref()].concat(), value);
    }
    header.size = records.number(b"size", size, OCTAL_11_MAX);
    // Linux has 12 and 20 bits: they always fit.
    (header.major, header.minor) = (major.into(), minor.into());
    let mut head = records.head(name);
    head.extend(header.encode());
    Ok(head)
}

/// Seconds with a fraction, as pax has them.
fn decimal(time: Time) -> String {
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
    fn head(&self, member: &[u8]) -> Vec<u8> {
        if self.0.is_empty() {
            return Vec::new();
        }
        // A name that nobody needs: readers that know no records show it as a file.
        let last = member.split(|&byte| byte == b'/').rfind(|name| !matches!(*name, b"" | b"."));
        let mut name = [b"./PaxHeaders/", last.unwrap_or_default()].concat();
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fractions_of_seconds_are_decimal_on_both_sides_of_the_epoch() {
        assert_eq!(decimal(Time { seconds: 3, nanoseconds: 5 }), "3.000000005");
        assert_eq!(decimal(Time { seconds: -1, nanoseconds: 500_000_000 }), "-0.500000000");
        assert_eq!(decimal(Time::seconds(-2)), "-2");
    }

    #[test]
    fn a_record_counts_its_own_length() {
        let mut records = Records::default();
        records.add(b"path", &[b'x'; 91]);
        assert!(records.0.starts_with(b"101 path=xxx") && records.0.len() == 101, "{}", records.0.len());
    }

    #[test]
    fn the_root_has_a_name_with_any_prefix() {
        let entry = Entry::directory(Meta::default());
        for prefix in [&b""[..], b"./"] {
            let head = head(prefix, &TreePath::root(), &entry, &entry.meta).unwrap().unwrap();
            assert!(head.starts_with(b"./\0"));
        }
        let path = TreePath::new("a").unwrap();
        assert!(head(b"", &path, &entry, &entry.meta).unwrap().unwrap().starts_with(b"a/\0"));
        let socket = Entry { kind: Kind::Socket, meta: Meta::default() };
        assert!(head(b"", &path, &socket, &socket.meta).unwrap().is_none());
    }
}
