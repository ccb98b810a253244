//! A tar stream as dpkg reads it (tar(5): ustar, GNU long names; also PAX), with bounds. The
//! headers are decoded by the `tar` crate; what they mean and what is allowed is decided here.

use std::io::{self, Read};

use super::Failure;
use crate::deb::Error;

/// Size of a block (tar(5)), in bytes.
const BLOCK_BYTES: u64 = 512;
/// Longest name or PAX header accepted, in bytes: more than any path that we accept.
const LONG_BYTES_MAX: u64 = 64 * 1024;

/// What a header announces.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(in crate::deb) enum Form {
    File,
    Directory,
    Symlink,
    HardLink,
    CharDevice(u32, u32),
    BlockDevice(u32, u32),
    Fifo,
}

/// One entry's header with the long names before it worked in.
#[derive(Clone, Debug)]
pub(in crate::deb) struct Head {
    pub path: Vec<u8>,
    pub link: Vec<u8>,
    pub form: Form,
    pub mode: u32,
    pub uid: u64,
    pub gid: u64,
    pub user: Vec<u8>,
    pub group: Vec<u8>,
    pub seconds: i64,
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

/// What long-name and PAX headers say of the entry that follows them.
#[derive(Default)]
struct Override {
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    size: Option<u64>,
    uid: Option<u64>,
    gid: Option<u64>,
    user: Option<Vec<u8>>,
    group: Option<Vec<u8>>,
    seconds: Option<i64>,
    xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

/// A tar stream that is read entry by entry.
pub(in crate::deb) struct Tarball<'p> {
    source: Box<dyn Read + Send>,
    /// Bytes that may still come.
    budget: u64,
    limit: u64,
    /// Bytes of the current entry's body, with its padding, that were not read yet.
    body: u64,
    padding: u64,
    buffer: Vec<u8>,
    failure: Failure<'p>,
}

impl<'p> Tarball<'p> {
    pub(in crate::deb) fn new(source: Box<dyn Read + Send>, limit: u64, failure: Failure<'p>) -> Self {
        Self { source, budget: limit, limit, body: 0, padding: 0, buffer: vec![0; 64 * 1024], failure }
    }

    /// The next entry; what was not read of the last one is passed over.
    pub(in crate::deb) fn next(&mut self) -> Result<Option<Head>, Error> {
        self.body(|_| Ok(()))?;
        let mut changed = Override::default();
        loop {
            let mut block = [0u8; BLOCK_BYTES as usize];
            if !self.read_block(&mut block)? {
                return Ok(None);
            }
            if block.iter().all(|&byte| byte == 0) {
                // One block of zeros ends the archive (dpkg does not look for the second one); the
                // rest is read so that damage in the compressed stream is noticed.
                self.drain()?;
                return Ok(None);
            }
            let header = tar::Header::from_byte_slice(&block);
            self.check_sum(header, &block)?;
            let size = header.entry_size().map_err(|_| self.failure.refuse("a tar header has no usable size"))?;
            match header.entry_type().as_byte() {
                b'L' => changed.path = Some(self.long_name(size)?),
                b'K' => changed.link = Some(self.long_name(size)?),
                b'x' => {
                    let text = self.long(size)?;
                    read_pax(&text, &mut changed).ok_or_else(|| self.failure.refuse("a PAX header is damaged"))?;
                }
                b'g' => {
                    self.long(size)?;
                }
                _ => return self.head(header, size, changed).map(Some),
            }
        }
    }

    fn head(&mut self, header: &tar::Header, size: u64, changed: Override) -> Result<Head, Error> {
        let refuse = |what: &str| self.failure.refuse(format!("a tar header has no usable {what}"));
        let device = || -> Result<(u32, u32), Error> {
            let major = header.device_major().ok().flatten().ok_or_else(|| refuse("device number"))?;
            let minor = header.device_minor().ok().flatten().ok_or_else(|| refuse("device number"))?;
            Ok((major, minor))
        };
        let path = changed.path.unwrap_or_else(|| header.path_bytes().into_owned());
        let form = match header.entry_type().as_byte() {
            // Old archives mark directories by a slash at the end of the name.
            b'0' | 0 | b'7' if path.ends_with(b"/") => Form::Directory,
            b'0' | 0 | b'7' => Form::File,
            b'1' => Form::HardLink,
            b'2' => Form::Symlink,
            b'3' => device().map(|(major, minor)| Form::CharDevice(major, minor))?,
            b'4' => device().map(|(major, minor)| Form::BlockDevice(major, minor))?,
            b'5' => Form::Directory,
            b'6' => Form::Fifo,
            other => {
                let kind = other.escape_ascii();
                return Err(self.failure.refuse(format!("{} has the unknown tar type {kind}", path.escape_ascii())));
            }
        };
        let size = changed.size.unwrap_or(size);
        if form == Form::File {
            self.body = size;
            self.padding = (BLOCK_BYTES - size % BLOCK_BYTES) % BLOCK_BYTES;
        } else if size != 0 && !matches!(form, Form::Directory | Form::HardLink | Form::Symlink) {
            return Err(self.failure.refuse(format!("{} has a body that its type cannot have", path.escape_ascii())));
        }
        let link = changed.link.or_else(|| header.link_name_bytes().map(|name| name.into_owned())).unwrap_or_default();
        Ok(Head {
            path,
            link,
            form,
            mode: header.mode().map_err(|_| refuse("mode"))? & layers::entry::MODE_MASK,
            uid: changed.uid.map_or_else(|| header.uid(), Ok).map_err(|_| refuse("owner"))?,
            gid: changed.gid.map_or_else(|| header.gid(), Ok).map_err(|_| refuse("group"))?,
            user: changed.user.unwrap_or_else(|| header.username_bytes().unwrap_or_default().to_vec()),
            group: changed.group.unwrap_or_else(|| header.groupname_bytes().unwrap_or_default().to_vec()),
            // A negative time is written in base 256 as two's complement, which the cast undoes.
            seconds: changed
                .seconds
                .map_or_else(|| header.mtime().map(|seconds| seconds as i64), Ok)
                .map_err(|_| refuse("time"))?,
            xattrs: changed.xattrs,
        })
    }

    /// Hands the body of the current entry over in parts.
    pub(in crate::deb) fn body(&mut self, mut take: impl FnMut(&[u8]) -> Result<(), Error>) -> Result<(), Error> {
        while self.body > 0 {
            let want = self.buffer.len().min(usize::try_from(self.body).unwrap_or(usize::MAX));
            let got = read_some(&mut self.source, &mut self.buffer[..want])
                .map_err(|error| self.failure.io("decompress", error))?;
            if got == 0 {
                return Err(self.failure.refuse("its archive ends in the middle of a file"));
            }
            self.body -= got as u64;
            self.spend(got as u64)?;
            take(&self.buffer[..got])?;
        }
        if self.padding > 0 {
            let mut block = [0u8; BLOCK_BYTES as usize];
            let padding = std::mem::take(&mut self.padding);
            self.read_full(&mut block[..padding as usize])?;
        }
        Ok(())
    }

    fn long_name(&mut self, size: u64) -> Result<Vec<u8>, Error> {
        let mut name = self.long(size)?;
        if let Some(end) = name.iter().position(|&byte| byte == 0) {
            name.truncate(end);
        }
        Ok(name)
    }

    fn long(&mut self, size: u64) -> Result<Vec<u8>, Error> {
        if size > LONG_BYTES_MAX {
            return Err(self.failure.refuse(format!("a name or PAX header has {size} bytes")));
        }
        self.body = size;
        self.padding = (BLOCK_BYTES - size % BLOCK_BYTES) % BLOCK_BYTES;
        let mut text = Vec::new();
        self.body(|part| {
            text.extend_from_slice(part);
            Ok(())
        })?;
        Ok(text)
    }

    fn check_sum(&self, header: &tar::Header, block: &[u8; 512]) -> Result<(), Error> {
        let sum = block.iter().enumerate().fold(0u32, |sum, (at, &byte)| {
            // The checksum's own field counts as blanks (tar(5)).
            sum + u32::from(if (148..156).contains(&at) { b' ' } else { byte })
        });
        match header.cksum() {
            Ok(stated) if stated == sum => Ok(()),
            _ => Err(self.failure.refuse("a tar header's checksum is wrong")),
        }
    }

    fn spend(&mut self, bytes: u64) -> Result<(), Error> {
        self.budget = self.budget.checked_sub(bytes).ok_or_else(|| {
            self.failure.refuse(format!("it unpacks to more than {} bytes, far more than it states", self.limit))
        })?;
        Ok(())
    }

    fn read_full(&mut self, target: &mut [u8]) -> Result<(), Error> {
        self.spend(target.len() as u64)?;
        let mut done = 0;
        while done < target.len() {
            match read_some(&mut self.source, &mut target[done..])
                .map_err(|error| self.failure.io("decompress", error))?
            {
                0 => return Err(self.failure.refuse("its archive is cut short")),
                got => done += got,
            }
        }
        Ok(())
    }

    /// Reads one block; false at the end of the stream.
    fn read_block(&mut self, block: &mut [u8; BLOCK_BYTES as usize]) -> Result<bool, Error> {
        let got = read_some(&mut self.source, &mut block[..]).map_err(|error| self.failure.io("decompress", error))?;
        if got == 0 {
            return Ok(false);
        }
        self.spend(got as u64)?;
        self.read_full(&mut block[got..])?;
        Ok(true)
    }

    fn drain(&mut self) -> Result<(), Error> {
        loop {
            match read_some(&mut self.source, &mut self.buffer).map_err(|error| self.failure.io("decompress", error))? {
                0 => return Ok(()),
                got => self.spend(got as u64)?,
            }
        }
    }
}

fn read_some(source: &mut dyn Read, target: &mut [u8]) -> io::Result<usize> {
    loop {
        match source.read(target) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            result => return result,
        }
    }
}

/// Works PAX records ("length key=value\n", POSIX pax, "pax Extended Header") into an override.
fn read_pax(mut text: &[u8], changed: &mut Override) -> Option<()> {
    while !text.is_empty() {
        let blank = text.iter().position(|&byte| byte == b' ')?;
        let length: usize = std::str::from_utf8(&text[..blank]).ok()?.parse().ok()?;
        let record = text.get(blank + 1..length)?.strip_suffix(b"\n")?;
        text = &text[length..];
        let equals = record.iter().position(|&byte| byte == b'=')?;
        let (key, value) = (&record[..equals], &record[equals + 1..]);
        let number = || std::str::from_utf8(value).ok()?.parse::<u64>().ok();
        match key {
            b"path" => changed.path = Some(value.to_vec()),
            b"linkpath" => changed.link = Some(value.to_vec()),
            b"size" => changed.size = Some(number()?),
            b"uid" => changed.uid = Some(number()?),
            b"gid" => changed.gid = Some(number()?),
            b"uname" => changed.user = Some(value.to_vec()),
            b"gname" => changed.group = Some(value.to_vec()),
            b"mtime" => {
                // dpkg sets whole seconds, so a fraction is dropped.
                let text = std::str::from_utf8(value).ok()?;
                changed.seconds = Some(text.split('.').next()?.parse().ok()?);
            }
            key => {
                if let Some(name) = key.strip_prefix(b"SCHILY.xattr.") {
                    changed.xattrs.push((name.to_vec(), value.to_vec()));
                }
            }
        }
    }
    Some(())
}
