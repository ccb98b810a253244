//! The payload's archive: cpio as rpm writes it (cpio(5), "New ASCII Format"; rpm, lib/cpio.c). Files
//! of 4 GiB and more have headers with nothing but their number in the package's list.

use std::io::{self, Read};

use crate::rpm::file::{Error, Failure};

/// Bytes of a header, its magic included (cpio(5)).
const HEADER_BYTES: usize = 110;
/// Bytes of a magic (cpio(5)).
const MAGIC_BYTES: usize = 6;
/// Magic of the format, without and with checksums (cpio(5)).
const PLAIN_MAGICS: [&[u8; MAGIC_BYTES]; 2] = [b"070701", b"070702"];
/// Magic of a header that is but a number (rpm, lib/cpio.c, `CPIO_STRIPPED_MAGIC`).
const NUMBER_MAGIC: &[u8; MAGIC_BYTES] = b"07070X";
/// The number that ends an archive of such headers (rpm, lib/cpio.c).
const NUMBER_END: u32 = u32::MAX;
/// The name that ends an archive (cpio(5)).
const END_NAME: &[u8] = b"TRAILER!!!";
/// Headers, names and bodies begin at multiples of it (cpio(5)).
const ALIGNMENT: u64 = 4;
/// Longest name, in bytes, with its NUL: a path, and the `./` before it.
const NAME_BYTES_MAX: usize = 4096 + 3;
/// What may follow the end, in bytes: cpio pads to its block.
const PADDING_BYTES_MAX: u64 = 64 * 1024;
/// Bytes read at once.
const BUFFER_BYTES: usize = 128 * 1024;

/// What a header is about.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Member {
    /// A file by its name, and the bytes that follow.
    Named(Vec<u8>, u64),
    /// A file by its number in the package's list; the list says how many bytes follow.
    Numbered(usize),
}

/// An archive that is read once.
pub(super) struct Archive<'a> {
    source: Box<dyn Read + Send + 'a>,
    failure: Failure<'a>,
    at: u64,
    buffer: Vec<u8>,
}

impl<'a> Archive<'a> {
    pub fn new(source: Box<dyn Read + Send + 'a>, failure: Failure<'a>) -> Self {
        Self { source, failure, at: 0, buffer: vec![0; BUFFER_BYTES] }
    }

    /// The next header; `None` at the archive's end. The body before it must have been read.
    pub fn next(&mut self) -> Result<Option<Member>, Error> {
        self.align()?;
        let mut magic = [0; MAGIC_BYTES];
        self.fill(&mut magic)?;
        if magic == *NUMBER_MAGIC {
            let mut digits = [0; 8];
            self.fill(&mut digits)?;
            let number = self.hexadecimal(&digits)?;
            self.align()?;
            return match number {
                NUMBER_END => Ok(None),
                number => Ok(Some(Member::Numbered(usize::try_from(number).unwrap_or(usize::MAX)))),
            };
        }
        if !PLAIN_MAGICS.contains(&&magic) {
            return Err(self.failure.damaged("its payload is no cpio archive, or a damaged one"));
        }
        let mut fields = [0; HEADER_BYTES - MAGIC_BYTES];
        self.fill(&mut fields)?;
        let (fields, _) = fields.as_chunks::<8>();
        // The seventh field is the file's size, the twelfth its name's (cpio(5)).
        let (Some(size), Some(name)) = (fields.get(6), fields.get(11)) else { return Ok(None) };
        let size = u64::from(self.hexadecimal(size)?);
        let length = usize::try_from(self.hexadecimal(name)?).unwrap_or(usize::MAX);
        if length == 0 || length > NAME_BYTES_MAX {
            return Err(self.failure.damaged(format!("its payload has a name of {length} bytes")));
        }
        let mut name = vec![0; length];
        self.fill(&mut name)?;
        self.align()?;
        if name.pop() != Some(0) || name.contains(&0) {
            return Err(self.failure.damaged("its payload has a name that is not one string"));
        }
        Ok((name != END_NAME).then_some(Member::Named(name, size)))
    }

    /// Reads the body after a header.
    pub fn body(&mut self, size: u64, mut sink: impl FnMut(&[u8]) -> Result<(), Error>) -> Result<(), Error> {
        let mut buffer = std::mem::take(&mut self.buffer);
        let result = self.pass(size, &mut buffer, &mut sink);
        self.buffer = buffer;
        result
    }

    fn pass(
        &mut self,
        size: u64,
        buffer: &mut [u8],
        sink: &mut impl FnMut(&[u8]) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let mut left = size;
        while left > 0 {
            let most = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
            let part = buffer.get_mut(..most).unwrap_or_default();
            let got = self.some(part)?;
            if got == 0 {
                return Err(self.short());
            }
            left = left.saturating_sub(u64::try_from(got).unwrap_or(0));
            sink(part.get(..got).unwrap_or_default())?;
        }
        Ok(())
    }

    /// Reads what follows the archive's end.
    pub fn finish(mut self) -> Result<(), Error> {
        let mut buffer = std::mem::take(&mut self.buffer);
        let end = self.at.saturating_add(PADDING_BYTES_MAX);
        while self.some(&mut buffer)? > 0 {
            if self.at > end {
                return Err(self.failure.damaged("something follows the end of its payload's archive"));
            }
        }
        Ok(())
    }

    fn short(&self) -> Error {
        self.failure.damaged("its payload is cut short")
    }

    fn some(&mut self, target: &mut [u8]) -> Result<usize, Error> {
        loop {
            match self.source.read(target) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(got) => {
                    self.at = self.at.saturating_add(u64::try_from(got).unwrap_or(0));
                    return Ok(got);
                }
                Err(error) => return Err(self.failure.io("decompress")(error)),
            }
        }
    }

    fn fill(&mut self, mut target: &mut [u8]) -> Result<(), Error> {
        while !target.is_empty() {
            let got = self.some(target)?;
            if got == 0 {
                return Err(self.short());
            }
            target = target.get_mut(got..).unwrap_or_default();
        }
        Ok(())
    }

    fn align(&mut self) -> Result<(), Error> {
        let missing = self.at.next_multiple_of(ALIGNMENT).saturating_sub(self.at);
        let mut padding = [0; 3];
        match padding.get_mut(..usize::try_from(missing).unwrap_or(0)) {
            Some(padding) => self.fill(padding),
            None => Ok(()),
        }
    }

    fn hexadecimal(&self, digits: &[u8; 8]) -> Result<u32, Error> {
        let plain = digits.iter().all(u8::is_ascii_hexdigit).then_some(digits);
        let text = plain.and_then(|digits| std::str::from_utf8(digits).ok());
        text.and_then(|text| u32::from_str_radix(text, 16).ok())
            .ok_or_else(|| self.failure.damaged("its payload has a header that is no number"))
    }
}
