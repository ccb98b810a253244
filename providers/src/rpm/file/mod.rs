//! A package file (rpm, docs/manual/format.md): a lead, a signature header, the main header and a
//! payload. It is opened once, and what was verified is what is unpacked: [`Verified`] owns the open
//! file, and only [`Unverified::verify`] and [`Unverified::accept`] make one.

mod digests;
mod error;
mod statement;

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use layers::Sha256;

pub use digests::PayloadDigests;
pub(in crate::rpm) use digests::algorithm;
pub use error::Error;
pub(in crate::rpm) use error::Failure;
pub use statement::Statement;
pub(in crate::rpm) use statement::{comparison, evr, relations};

use super::header::{Header, MAGIC, Role, tag};
use crate::trust::Fingerprint;

/// Bytes of the lead (rpm, docs/manual/format_lead.md).
const LEAD_BYTES: usize = 96;
/// What a package begins with (format_lead.md).
const LEAD_MAGIC: [u8; 4] = [0xed, 0xab, 0xee, 0xdb];
/// Bytes of a header's introduction: magic, reserved, number of entries, size of the data.
const INTRODUCTION_BYTES: usize = 16;
/// Bytes read at once from a payload.
pub(in crate::rpm) const BUFFER_BYTES: usize = 256 * 1024;

/// A package file that was opened and whose headers were read, and of which nobody knows whose it
/// is.
#[derive(Debug)]
pub struct Unverified {
    path: PathBuf,
    file: File,
    length: u64,
    signature: Header,
    header: Header,
    header_start: u64,
    payload_start: u64,
}

/// Why a package is believed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Grounds {
    /// Keys of the repository's keyring signed it; their fingerprints, sorted.
    Signed(Vec<Fingerprint>),
    /// It has the digest that trusted metadata gave.
    Digest(Sha256),
}

/// A package file that was verified, still open.
#[derive(Debug)]
pub struct Verified {
    package: Unverified,
    grounds: Grounds,
    /// Of the payload as it was when it was verified.
    payload: PayloadDigests,
}

impl Unverified {
    /// Opens a package file and reads its headers, at most some hundred MiB.
    ///
    /// # Errors
    /// I/O errors; [`Error::Damaged`] for what is no binary package, or is cut short.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let failure = Failure { package: path };
        let file = File::open(path).map_err(failure.io("open"))?;
        let meta = file.metadata().map_err(failure.io("look at"))?;
        if !meta.is_file() {
            return Err(failure.damaged("it is not a file"));
        }
        let mut cursor = Cursor { file: &file, at: 0, length: meta.len(), failure };
        let lead = cursor.take(LEAD_BYTES)?;
        if !lead.starts_with(&LEAD_MAGIC) {
            return Err(failure.damaged("it is not an rpm package"));
        }
        // The lead says nothing else that counts but that this is no source package; everything is
        // said again, and signed, in the header (format_lead.md).
        if lead.get(6..8) != Some(&[0, 0]) {
            return Err(failure.damaged("it is a source package"));
        }
        let signature = cursor.header(Role::Signature)?;
        cursor.at = cursor.at.next_multiple_of(8);
        let header_start = cursor.at;
        let header = cursor.header(Role::Main)?;
        let payload_start = cursor.at;
        if header.has(tag::SOURCEPACKAGE) {
            return Err(failure.damaged("it is a source package"));
        }
        for (tag, what) in
            [(tag::NAME, "name"), (tag::VERSION, "version"), (tag::RELEASE, "release"), (tag::ARCH, "architecture")]
        {
            if header.string(tag).is_none_or(str::is_empty) {
                return Err(failure.damaged(format!("its header has no {what}")));
            }
        }
        let package =
            Self { path: path.into(), length: meta.len(), signature, header, header_start, payload_start, file };
        package.check_size()?;
        Ok(package)
    }

    /// Whether the file is as long as it says that it is.
    fn check_size(&self) -> Result<(), Error> {
        use tag::signature as signed;
        let both = self.length.saturating_sub(self.header_start);
        let payload = self.length.saturating_sub(self.payload_start);
        let word = |header: &Header, tag| header.u32(tag).map(u64::from);
        let long = |header: &Header, tag| header.u64_list(tag).and_then(|mut numbers| numbers.next());
        let stated = [
            (word(&self.signature, signed::SIZE), both),
            (long(&self.signature, tag::LONGSIGSIZE), both),
            (long(&self.header, tag::PAYLOADSIZE), payload),
        ];
        for (stated, is) in stated {
            if let Some(stated) = stated.filter(|stated| *stated != is) {
                let cut = if is < stated { "it is cut short" } else { "something follows it" };
                return Err(self.failure().damaged(format!("{cut}: {is} bytes are where it states {stated}")));
            }
        }
        Ok(())
    }

    pub(in crate::rpm) fn failure(&self) -> Failure<'_> {
        Failure { package: &self.path }
    }

    /// The main header, which anybody may have written.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// Where the file is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    pub(in crate::rpm) fn signature_header(&self) -> &Header {
        &self.signature
    }

    /// The main header's bytes with its magic: what digests and signatures of the header are over.
    pub(in crate::rpm) fn header_bytes(&self) -> impl Read + '_ {
        MAGIC.as_slice().chain(self.header.raw())
    }

    /// The main header and the payload.
    pub(in crate::rpm) fn whole(&self) -> impl Read + '_ {
        // The header is the one in memory: what is checked is what is used.
        let payload = io::BufReader::with_capacity(BUFFER_BYTES, self.part(self.payload_start));
        self.header_bytes().chain(payload)
    }

    fn part(&self, start: u64) -> Part<'_> {
        Part { file: &self.file, at: start, end: self.length }
    }

    pub(in crate::rpm) fn verified(self, grounds: Grounds, payload: PayloadDigests) -> Verified {
        Verified { package: self, grounds, payload }
    }
}

impl Verified {
    /// The main header.
    pub fn header(&self) -> &Header {
        &self.package.header
    }

    /// The signature header. Nothing signs it, but its digests are right; the database keeps some of
    /// its values.
    pub fn signature_header(&self) -> &Header {
        &self.package.signature
    }

    /// Why it is believed.
    pub fn grounds(&self) -> &Grounds {
        &self.grounds
    }

    /// Where the file was when it was opened.
    pub fn path(&self) -> &Path {
        &self.package.path
    }

    pub(in crate::rpm) fn failure(&self) -> Failure<'_> {
        self.package.failure()
    }

    /// The payload, and the SHA-256 that it had when it was verified.
    pub(in crate::rpm) fn payload(&self) -> (Part<'_>, Sha256) {
        (self.package.part(self.package.payload_start), self.payload.sha256)
    }

    /// What its verification found out of its payload, for [`Unverified::verify_known`].
    pub fn payload_digests(&self) -> PayloadDigests {
        self.payload
    }
}

/// A part of the open file, read by position: the file's own position is nobody's.
#[derive(Clone, Debug)]
pub(in crate::rpm) struct Part<'f> {
    file: &'f File,
    at: u64,
    end: u64,
}

impl Read for Part<'_> {
    fn read(&mut self, target: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.end.saturating_sub(self.at)).unwrap_or(usize::MAX);
        let length = target.len().min(left);
        let Some(target) = target.get_mut(..length) else { return Ok(0) };
        let got = self.file.read_at(target, self.at)?;
        self.at = self.at.saturating_add(u64::try_from(got).unwrap_or(0));
        Ok(got)
    }
}

/// Reads the parts of a file one after the other.
struct Cursor<'f> {
    file: &'f File,
    at: u64,
    length: u64,
    failure: Failure<'f>,
}

impl Cursor<'_> {
    fn take(&mut self, bytes: usize) -> Result<Vec<u8>, Error> {
        let wanted = u64::try_from(bytes).unwrap_or(u64::MAX);
        let end = self.at.checked_add(wanted).filter(|end| *end <= self.length);
        let end = end.ok_or_else(|| self.failure.damaged("it is cut short"))?;
        // No more than the file has, so a size that lies takes no memory.
        let mut taken = vec![0; bytes];
        self.file.read_exact_at(&mut taken, self.at).map_err(self.failure.io("read"))?;
        self.at = end;
        Ok(taken)
    }

    fn header(&mut self, role: Role) -> Result<Header, Error> {
        let introduction = self.take(INTRODUCTION_BYTES)?;
        let word = |at: usize| introduction.get(at..)?.first_chunk().map(|bytes| u32::from_be_bytes(*bytes));
        let (Some(entries), Some(data), true) = (word(8), word(12), introduction.starts_with(&MAGIC)) else {
            return Err(self.failure.damaged("a header is missing"));
        };
        let body = role.body_bytes(entries, data).map_err(|error| self.failure.damaged(error))?;
        let mut raw = introduction.get(8..).unwrap_or_default().to_vec();
        raw.extend_from_slice(&self.take(body)?);
        Header::read(raw, role).map_err(|error| self.failure.damaged(error))
    }
}
