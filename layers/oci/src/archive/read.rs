//! Reads tars of others: ustar, GNU long names, pax. Headers are decoded by the `tar` crate; what
//! they mean and how much of it is taken is decided here.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};

use layers::Time;
use layers::tar::BLOCK_BYTES;

const BLOCK: usize = 512;
/// Largest extended header, in bytes: several attributes of the 64 KiB that Linux allows each
/// (limits.h, `XATTR_SIZE_MAX`).
const RECORDS_BYTES_MAX: u64 = 1 << 20;
/// Longest extended header of GNU tar, in bytes: more than any path that is accepted.
const LONG_BYTES_MAX: u64 = 16 << 10;

/// A stream of which parts can be passed over.
pub trait Source: Read {
    /// Passes over so many bytes.
    ///
    /// # Errors
    /// Those of the stream; that it ends before, where that can be seen.
    fn pass(&mut self, bytes: u64) -> io::Result<()> {
        match io::copy(&mut self.take(bytes), &mut io::sink())? == bytes {
            true => Ok(()),
            false => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
}

/// A file in which passing over is seeking.
pub struct Rewind(pub File);

impl Read for Rewind {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl Source for Rewind {
    fn pass(&mut self, bytes: u64) -> io::Result<()> {
        let distance = i64::try_from(bytes).map_err(|_| io::ErrorKind::InvalidInput)?;
        self.0.seek(SeekFrom::Current(distance)).map(drop)
    }
}

/// Why a tar is not read on.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// It is damaged or hostile.
    #[error("{0}")]
    Damaged(String),
    /// The stream that it comes in.
    #[error(transparent)]
    Io(#[from] io::Error),
}

fn refuse<T>(reason: impl Into<String>) -> Result<T, Refusal> {
    Err(Refusal::Damaged(reason.into()))
}

fn cut(error: io::Error) -> Result<(), Refusal> {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => refuse("it is cut short"),
        _ => Err(error.into()),
    }
}

/// What a member is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Form {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink,
    /// Another name of a file.
    HardLink,
    /// A character device: major and minor number.
    CharDevice(u32, u32),
    /// A block device: major and minor number.
    BlockDevice(u32, u32),
    /// A named pipe.
    Fifo,
}

/// A member's header, with the extended headers before it worked in.
#[derive(Clone, Debug)]
pub struct Head {
    /// Its name as it was written.
    pub name: Vec<u8>,
    /// Target of a link as it was written.
    pub link: Vec<u8>,
    /// What it is.
    pub form: Form,
    /// Bytes of its body.
    pub size: u64,
    /// Permission bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Time of last modification.
    pub mtime: Time,
    /// Extended attributes, by full name.
    pub xattrs: BTreeMap<Box<[u8]>, Box<[u8]>>,
}

#[derive(Default)]
struct Extended {
    name: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    size: Option<u64>,
    uid: Option<u64>,
    gid: Option<u64>,
    mtime: Option<Time>,
    xattrs: BTreeMap<Box<[u8]>, Box<[u8]>>,
}

/// A tar that is read member by member.
pub struct Members<R> {
    source: R,
    /// Bytes that may still come.
    budget: u64,
    offset: u64,
    body: u64,
    padding: u64,
}

impl<R: Source> Members<R> {
    /// Starts at the first member of a tar of at most `limit` bytes.
    pub fn new(source: R, limit: u64) -> Self {
        Self { source, budget: limit, offset: 0, body: 0, padding: 0 }
    }

    /// The stream behind it.
    pub fn into_inner(self) -> R {
        self.source
    }

    /// Where the body of the present member lies, in bytes from the start.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// The next member; what was not read of the last one is passed over.
    ///
    /// # Errors
    /// [`Refusal`].
    pub fn next_member(&mut self) -> Result<Option<Head>, Refusal> {
        self.leave()?;
        let mut extended = Extended::default();
        let mut extensions = 0u32;
        loop {
            let mut block = [0u8; BLOCK];
            // Two blocks of zeros end an archive; no reader of layers looks for the second one.
            if !self.block(&mut block)? || block.iter().all(|&byte| byte == 0) {
                return match extensions {
                    0 => Ok(None),
                    _ => refuse("it ends after an extended header"),
                };
            }
            let header = ::tar::Header::from_byte_slice(&block);
            check_sum(header, &block)?;
            let Ok(size) = header.entry_size() else { return refuse("a header has no usable size") };
            // One of each kind is all that writers put before a member.
            extensions = extensions.saturating_add(1);
            if extensions > 5 {
                return refuse("a member has too many extended headers");
            }
            match header.entry_type().as_byte() {
                b'L' => extended.name = Some(self.long(size)?),
                b'K' => extended.link = Some(self.long(size)?),
                b'x' => {
                    let text = self.text(size, RECORDS_BYTES_MAX)?;
                    match records(&text, &mut extended) {
                        Some(Ok(())) => {}
                        Some(Err(reason)) => return refuse(reason),
                        None => return refuse("an extended header is damaged"),
                    }
                }
                // Defaults for all members: git writes a comment. Nothing else is known to be used.
                b'g' => drop(self.text(size, RECORDS_BYTES_MAX)?),
                _ => return self.head(header, size, extended).map(Some),
            }
        }
    }

    fn head(&mut self, header: &::tar::Header, size: u64, extended: Extended) -> Result<Head, Refusal> {
        let name = extended.name.unwrap_or_else(|| header.path_bytes().into_owned());
        let unusable = |what: &str| Refusal::Damaged(format!("{} has no usable {what}", shown(&name)));
        let device = || -> Result<(u32, u32), Refusal> {
            let number = |found: io::Result<Option<u32>>| found.ok().flatten().ok_or_else(|| unusable("device number"));
            Ok((number(header.device_major())?, number(header.device_minor())?))
        };
        let form = match header.entry_type().as_byte() {
            // Old archives mark directories by a slash at the end of the name.
            b'0' | 0 | b'7' if name.ends_with(b"/") && extended.size.unwrap_or(size) > 0 => {
                return refuse(format!("{} is named like a directory and has a body", shown(&name)));
            }
            b'0' | 0 | b'7' if name.ends_with(b"/") => Form::Directory,
            b'0' | 0 | b'7' => Form::File,
            b'1' => Form::HardLink,
            b'2' => Form::Symlink,
            b'3' => device().map(|(major, minor)| Form::CharDevice(major, minor))?,
            b'4' => device().map(|(major, minor)| Form::BlockDevice(major, minor))?,
            b'5' => Form::Directory,
            b'6' => Form::Fifo,
            b'S' => return refuse(format!("{} is stored sparsely, which OCI layers are not", shown(&name))),
            other => return refuse(format!("{} has the unknown type {}", shown(&name), other.escape_ascii())),
        };
        // Some writers state the size of a hard link's file; no reader of layers takes a body there.
        let size = if form == Form::File { extended.size.unwrap_or(size) } else { 0 };
        self.body = size;
        self.padding = size.checked_next_multiple_of(BLOCK_BYTES).map_or(0, |end| end.saturating_sub(size));
        let link = extended.link.or_else(|| header.link_name_bytes().map(|name| name.into_owned()));
        let id = |extended: Option<u64>, plain: io::Result<u64>| -> Option<u32> {
            u32::try_from(extended.map_or_else(|| plain.ok(), Some)?).ok()
        };
        let mtime = match extended.mtime {
            Some(time) => time,
            // A negative time is written in base 256 as two's complement, which this undoes.
            None => Time::seconds(i64::from_ne_bytes(header.mtime().map_err(|_| unusable("time"))?.to_ne_bytes())),
        };
        Ok(Head {
            link: link.unwrap_or_default(),
            form,
            size,
            mode: header.mode().map_err(|_| unusable("mode"))? & layers::entry::MODE_MASK,
            uid: id(extended.uid, header.uid()).ok_or_else(|| unusable("owner"))?,
            gid: id(extended.gid, header.gid()).ok_or_else(|| unusable("group"))?,
            mtime,
            xattrs: extended.xattrs,
            name,
        })
    }

    /// Reads of the body of the present member; 0 at its end.
    ///
    /// # Errors
    /// [`Refusal`].
    pub fn read_body(&mut self, buffer: &mut [u8]) -> Result<usize, Refusal> {
        let room = usize::try_from(self.body).unwrap_or(usize::MAX).min(buffer.len());
        let part = buffer.get_mut(..room).unwrap_or_default();
        if part.is_empty() {
            return Ok(0);
        }
        self.fill(part)?;
        self.body = self.body.saturating_sub(room as u64);
        Ok(room)
    }

    fn leave(&mut self) -> Result<(), Refusal> {
        let rest = self.body.checked_add(self.padding).ok_or_else(|| Refusal::Damaged("a size is too large".into()))?;
        if rest > 0 {
            self.spend(rest)?;
            self.source.pass(rest).or_else(cut)?;
        }
        (self.body, self.padding) = (0, 0);
        Ok(())
    }

    fn text(&mut self, size: u64, limit: u64) -> Result<Vec<u8>, Refusal> {
        if size > limit {
            return refuse(format!("an extended header has {size} bytes"));
        }
        let mut text = vec![0; usize::try_from(size).unwrap_or_default()];
        self.fill(&mut text)?;
        self.body = 0;
        self.padding = size.next_multiple_of(BLOCK_BYTES).saturating_sub(size);
        self.leave()?;
        Ok(text)
    }

    fn long(&mut self, size: u64) -> Result<Vec<u8>, Refusal> {
        let mut name = self.text(size, LONG_BYTES_MAX)?;
        if let Some(end) = name.iter().position(|&byte| byte == 0) {
            name.truncate(end);
        }
        Ok(name)
    }

    fn spend(&mut self, bytes: u64) -> Result<(), Refusal> {
        let Some(left) = self.budget.checked_sub(bytes) else {
            return refuse("it unpacks to more bytes than are allowed");
        };
        self.budget = left;
        self.offset = self.offset.saturating_add(bytes);
        Ok(())
    }

    fn fill(&mut self, target: &mut [u8]) -> Result<(), Refusal> {
        self.spend(target.len() as u64)?;
        self.source.read_exact(target).or_else(cut)
    }

    /// Reads a block; false at the end of the stream.
    fn block(&mut self, block: &mut [u8; BLOCK]) -> Result<bool, Refusal> {
        let mut first = [0];
        let count = loop {
            match self.source.read(&mut first) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                other => break other?,
            }
        };
        if count == 0 {
            return Ok(false);
        }
        self.spend(1)?;
        let [start, rest @ ..] = block;
        [*start] = first;
        self.fill(rest)?;
        Ok(true)
    }
}

pub(crate) fn shown(name: &[u8]) -> String {
    name.get(..name.len().min(200)).unwrap_or_default().escape_ascii().to_string()
}

fn check_sum(header: &::tar::Header, block: &[u8; BLOCK]) -> Result<(), Refusal> {
    // The sum's own field counts as blanks (pax, "ustar Interchange Format").
    let sum = block.iter().enumerate().fold(0u32, |sum, (at, &byte)| {
        sum.saturating_add(u32::from(if (148..156).contains(&at) { b' ' } else { byte }))
    });
    match header.cksum() {
        Ok(stated) if stated == sum => Ok(()),
        _ => refuse("the checksum of a header is wrong"),
    }
}

/// Works records ("length key=value\n") in. `None`: damaged; an error: not to be taken.
fn records(mut text: &[u8], extended: &mut Extended) -> Option<Result<(), &'static str>> {
    while !text.is_empty() {
        let blank = text.iter().position(|&byte| byte == b' ')?;
        let length: usize = std::str::from_utf8(text.get(..blank)?).ok()?.parse().ok()?;
        let record = text.get(blank.checked_add(1)?..length)?.strip_suffix(b"\n")?;
        text = text.get(length..)?;
        let equals = record.iter().position(|&byte| byte == b'=')?;
        let (key, value) = (record.get(..equals)?, record.get(equals.checked_add(1)?..)?);
        let number = || std::str::from_utf8(value).ok()?.parse::<u64>().ok();
        match key {
            b"path" => extended.name = Some(value.to_vec()),
            b"linkpath" => extended.link = Some(value.to_vec()),
            b"size" => extended.size = Some(number()?),
            b"uid" => extended.uid = Some(number()?),
            b"gid" => extended.gid = Some(number()?),
            b"mtime" => extended.mtime = Some(time(std::str::from_utf8(value).ok()?)?),
            key if key.starts_with(b"GNU.sparse.") => {
                return Some(Err("a file is stored sparsely, which OCI layers are not"));
            }
            key => {
                if let Some(name) = key.strip_prefix(b"SCHILY.xattr.") {
                    extended.xattrs.insert(name.into(), value.into());
                }
            }
        }
    }
    Some(Ok(()))
}

/// Seconds with a fraction, rounded down to nanoseconds.
fn time(text: &str) -> Option<Time> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    if !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let seconds: i64 = whole.parse().ok()?;
    let digits: String = fraction.chars().chain("000000000".chars()).take(9).collect();
    let nanoseconds: u32 = digits.parse().ok()?;
    if whole.starts_with('-') && nanoseconds > 0 {
        // Half a second before the epoch is -1 second and 500,000,000 nanoseconds.
        return Some(Time { seconds: seconds.checked_sub(1)?, nanoseconds: 1_000_000_000 - nanoseconds });
    }
    Some(Time { seconds, nanoseconds })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_keep_their_fractions() {
        assert_eq!(time("3.000000005"), Some(Time { seconds: 3, nanoseconds: 5 }));
        assert_eq!(time("-0.5"), Some(Time { seconds: -1, nanoseconds: 500_000_000 }));
        assert_eq!(time("-2"), Some(Time::seconds(-2)));
        assert_eq!(time("1.-5"), None);
        assert_eq!(time(""), None);
    }

    #[test]
    fn records_that_lie_are_damage() {
        for text in ["", "5 a=b\n"] {
            assert!(matches!(records(text.as_bytes(), &mut Extended::default()), Some(Ok(())) | None), "{text}");
        }
        for text in ["99 a=b\n", "0 a=b\n", "x a=b\n", "6 a=b\n6", "7 size=\n", "-1 =\n", "18446744073709551616 a=b\n"]
        {
            assert!(records(text.as_bytes(), &mut Extended::default()).is_none(), "{text}");
        }
    }
}
