//! Inodes (ext4 docs, "Index Nodes").

use layers::{Kind, Time};

use super::bytes::{low16, low32, put16, put32, put32_split};
use super::checksum::Checksums;
use super::extent::MAP_BYTES;
use super::unsupported;
use crate::Error;

/// Bytes that every inode has had from the start; what follows counts as extra.
pub(super) const CLASSIC_BYTES: usize = 128;
/// Extra bytes that we use, up to and with the project id (EXT4 `s_want_extra_isize` of mke2fs).
pub(super) const EXTRA_BYTES: u16 = 32;
/// The map holds extents.
pub(super) const EXTENTS_FLAG: u32 = 0x8_0000;
/// The directory is hashed.
pub(super) const INDEX_FLAG: u32 = 0x1000;
/// Most links to a file; directories beyond it count as 1 (`EXT4_LINK_MAX`).
pub(super) const LINKS_MAX: u32 = 65000;
/// The earliest and the first too late second: 32 bits with a sign, plus two bits of epoch.
const SECONDS: std::ops::Range<i64> = -0x8000_0000..0x3_8000_0000;

/// The bad blocks, the root, the resize inode, the journal, lost+found (ext4 docs, "Special inodes").
pub(super) const BAD_BLOCKS: u32 = 1;
pub(super) const ROOT: u32 = 2;
pub(super) const RESIZE: u32 = 7;
pub(super) const JOURNAL: u32 = 8;
pub(super) const LOST_AND_FOUND: u32 = 11;

/// The kind of a file, in the upper bits of its mode, and as directory entries say it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct FileType {
    /// `S_IFMT` bits.
    pub mode: u16,
    /// ext4 docs, "Directory Entries", file types.
    pub entry: u8,
}

pub(super) const REGULAR: FileType = FileType { mode: 0x8000, entry: 1 };
pub(super) const DIRECTORY: FileType = FileType { mode: 0x4000, entry: 2 };
pub(super) const CHARACTER: FileType = FileType { mode: 0x2000, entry: 3 };
pub(super) const BLOCK: FileType = FileType { mode: 0x6000, entry: 4 };
pub(super) const FIFO: FileType = FileType { mode: 0x1000, entry: 5 };
pub(super) const SOCKET: FileType = FileType { mode: 0xc000, entry: 6 };
pub(super) const SYMLINK: FileType = FileType { mode: 0xa000, entry: 7 };

/// The type of what is not a hard link.
pub(super) fn file_type(kind: &Kind) -> Option<FileType> {
    match kind {
        Kind::File(_) => Some(REGULAR),
        Kind::Directory => Some(DIRECTORY),
        Kind::Symlink(_) => Some(SYMLINK),
        Kind::CharDevice { .. } => Some(CHARACTER),
        Kind::BlockDevice { .. } => Some(BLOCK),
        Kind::Fifo => Some(FIFO),
        Kind::Socket => Some(SOCKET),
        Kind::HardLink(_) => None,
    }
}

/// One inode, everything settled but the numbers that the file system gives it.
#[derive(Clone, Debug)]
pub(super) struct Inode {
    pub mode: u16,
    pub links: u32,
    pub flags: u32,
    pub uid: u32,
    pub gid: u32,
    pub size: u64,
    pub mtime: Time,
    /// All blocks that it owns, attributes and nodes included, in 512-byte sectors.
    pub sectors: u64,
    pub map: [u8; MAP_BYTES],
    /// Extended attributes within the inode, magic number included.
    pub attributes: Box<[u8]>,
    /// The block that holds the other attributes; 0: none.
    pub attribute_block: u64,
}

impl Inode {
    /// An inode that is in use without being a file.
    pub fn reserved() -> Self {
        Self {
            mode: 0,
            links: 0,
            flags: 0,
            uid: 0,
            gid: 0,
            size: 0,
            mtime: Time::default(),
            sectors: 0,
            map: [0; MAP_BYTES],
            attributes: Box::default(),
            attribute_block: 0,
        }
    }

    /// One of the file system's own files.
    pub fn internal(size: u64, sectors: u64, created: Time, flags: u32, map: [u8; MAP_BYTES]) -> Self {
        Self { mode: 0x8180, links: 1, flags, size, mtime: created, sectors, map, ..Self::reserved() }
    }

    /// Encodes it as number `number` into zeroed bytes.
    pub fn encode(&self, number: u32, checksums: Checksums, created: Time, bytes: &mut [u8]) {
        put16(bytes, 0x00, self.mode);
        put32_split(bytes, 0x02, 0x78, self.uid);
        put32_split(bytes, 0x18, 0x7a, self.gid);
        put32(bytes, 0x04, low32(self.size));
        put32(bytes, 0x6c, low32(self.size >> 32));
        put16(bytes, 0x1a, low16(if self.links > LINKS_MAX { 1 } else { self.links }));
        put32(bytes, 0x1c, low32(self.sectors));
        put16(bytes, 0x74, low16(low32(self.sectors >> 32)));
        put32(bytes, 0x20, self.flags);
        bytes[0x28..0x28 + MAP_BYTES].copy_from_slice(&self.map);
        put32(bytes, 0x68, low32(self.attribute_block));
        put16(bytes, 0x76, low16(low32(self.attribute_block >> 32)));
        // Access and change are said to be when the content changed: a tree knows no more.
        let (seconds, extra) = encode_time(self.mtime);
        for at in [0x08, 0x0c, 0x10] {
            put32(bytes, at, seconds);
        }
        let used = self.mode != 0;
        if used {
            put16(bytes, 0x80, EXTRA_BYTES);
            for at in [0x84, 0x88, 0x8c] {
                put32(bytes, at, extra);
            }
            let (seconds, extra) = encode_time(created);
            put32(bytes, 0x90, seconds);
            put32(bytes, 0x94, extra);
            let room = CLASSIC_BYTES + usize::from(EXTRA_BYTES);
            if let Some(place) = bytes.get_mut(room..room + self.attributes.len()) {
                place.copy_from_slice(&self.attributes);
            }
        }
        let checksum = checksums.of_inode(number, 0).then(bytes).value();
        put16(bytes, 0x7c, low16(checksum));
        if used {
            put16(bytes, 0x82, low16(checksum >> 16));
        }
    }
}

/// Refuses times that an inode cannot hold.
pub(super) fn check_time(time: Time, path: &layers::TreePath) -> Result<(), Error> {
    if SECONDS.contains(&time.seconds) && time.nanoseconds < 1_000_000_000 {
        return Ok(());
    }
    Err(unsupported(
        format!("the time {} s of {path}", time.seconds),
        "inodes hold times from 1901 to 2446, set another modification time",
    ))
}

/// Seconds, and the word with nanoseconds and epoch (ext4 docs, "Inode Timestamps").
fn encode_time(time: Time) -> (u32, u32) {
    let seconds = low32(time.seconds.cast_unsigned());
    let epoch = (time.seconds - i64::from(seconds.cast_signed())) >> 32 & 3;
    (seconds, time.nanoseconds << 2 | low32(epoch.cast_unsigned()))
}

/// What [`encode_time`] made.
pub(super) fn decode_time(seconds: u32, extra: u32) -> Time {
    let epoch = i64::from(extra & 3) << 32;
    Time { seconds: i64::from(seconds.cast_signed()) + epoch, nanoseconds: (extra >> 2).min(999_999_999) }
}

/// The numbers of a device as an inode's map holds them: the old form in the first word where it
/// suffices, otherwise the new one in the second (Linux, `old_encode_dev`, `new_encode_dev`).
pub(super) fn encode_device(major: u32, minor: u32, path: &layers::TreePath) -> Result<[u8; MAP_BYTES], Error> {
    if major >= 1 << 12 || minor >= 1 << 20 {
        return Err(unsupported(
            format!("the device {major}:{minor} at {path}"),
            "Linux has 12 bits for the major and 20 for the minor number",
        ));
    }
    let mut map = [0; MAP_BYTES];
    if major < 256 && minor < 256 {
        put32(&mut map, 0, major << 8 | minor);
    } else {
        put32(&mut map, 4, minor & 0xff | major << 8 | (minor & !0xff) << 12);
    }
    Ok(map)
}

/// What [`encode_device`] made: major and minor number.
pub(super) fn decode_device(old: u32, new: u32) -> (u32, u32) {
    if old != 0 { (old >> 8 & 0xff, old & 0xff) } else { (new >> 8 & 0xfff, new & 0xff | new >> 12 & 0xfff00) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_devices_come_back() {
        for seconds in [0, -1, -0x8000_0000, 0x7fff_ffff, 0x8000_0000, 0x1_0000_0000, 0x3_7fff_ffff] {
            let time = Time { seconds, nanoseconds: 999_999_999 };
            let (low, extra) = encode_time(time);
            assert_eq!(decode_time(low, extra), time);
        }
        let path = layers::TreePath::root();
        for (major, minor) in [(0, 0), (1, 3), (255, 255), (259, 0), (4095, 0xf_ffff), (8, 256)] {
            let map = encode_device(major, minor, &path).unwrap();
            let words = (super::super::bytes::get32(&map, 0), super::super::bytes::get32(&map, 4));
            assert_eq!(decode_device(words.0, words.1), (major, minor));
        }
        assert!(encode_device(4096, 0, &path).is_err());
    }
}
