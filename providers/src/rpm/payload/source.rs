//! The payload's bytes: read from the file that was verified, hashed on the way, decompressed.

use std::io::{self, BufReader, Read};
use std::sync::{Arc, Mutex, PoisonError};

use layers::Sha256;
use sha2::Digest as _;

use crate::rpm::file::{BUFFER_BYTES, Error, Failure, Part, Verified};
use crate::rpm::header::tag;
use crate::unpack::Compression;

/// What gzip data begin with (RFC 1952, section 2.3.1).
const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];

/// A payload that is read once.
pub(super) struct Source<'v> {
    expected: Sha256,
    hash: Arc<Mutex<Hash<'v>>>,
    compression: Compression,
    failure: Failure<'v>,
}

/// How far the payload was read.
struct Hash<'v> {
    part: Part<'v>,
    sha256: sha2::Sha256,
}

/// Reads on, and hashes what it reads.
struct Hashing<'v>(Arc<Mutex<Hash<'v>>>);

impl Read for Hashing<'_> {
    fn read(&mut self, target: &mut [u8]) -> io::Result<usize> {
        let mut hash = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let got = hash.part.read(target)?;
        hash.sha256.update(target.get(..got).unwrap_or_default());
        Ok(got)
    }
}

impl<'v> Source<'v> {
    /// The payload of a package.
    pub fn of(package: &'v Verified) -> Result<Self, Error> {
        let failure = package.failure();
        let header = package.header();
        if let Some(format) = header.string(tag::PAYLOADFORMAT).filter(|format| *format != "cpio") {
            return Err(failure.damaged(format!("its payload is {format:?}, not cpio")));
        }
        let (part, expected) = package.payload();
        let compression = match header.string(tag::PAYLOADCOMPRESSOR) {
            Some("gzip") => Compression::Gzip,
            Some("bzip2") => Compression::Bzip2,
            Some("xz") => Compression::Xz,
            Some("lzma") => Compression::Lzma,
            Some("zstd") => Compression::Zstd,
            // Without the tag rpm reads through gzip, which passes on what is not compressed.
            None if begins(&part, &GZIP_MAGIC).map_err(failure.io("read"))? => Compression::Gzip,
            None => Compression::None,
            Some(other) => {
                return Err(failure.damaged(format!("its payload is compressed by {other:?}, which is not known")));
            }
        };
        let hash = Arc::new(Mutex::new(Hash { part, sha256: sha2::Sha256::new() }));
        Ok(Self { expected, hash, compression, failure })
    }

    /// The payload decompressed. To be asked for once.
    pub fn decoded(&self) -> Box<dyn Read + Send + 'v> {
        let raw = BufReader::with_capacity(BUFFER_BYTES, Hashing(Arc::clone(&self.hash)));
        match self.compression.decode(raw) {
            Ok(decoded) => decoded,
            Err(error) => Box::new(Broken(Some(error))),
        }
    }

    /// Reads what the decompressor left, and checks that the payload is the one that was verified.
    pub fn check(self) -> Result<(), Error> {
        let mut rest = Hashing(Arc::clone(&self.hash));
        io::copy(&mut rest, &mut io::sink()).map_err(self.failure.io("read"))?;
        let hash = self.hash.lock().unwrap_or_else(PoisonError::into_inner);
        match Sha256(hash.sha256.clone().finalize().into()) == self.expected {
            true => Ok(()),
            false => Err(self.failure.altered("its payload changed after it was verified")),
        }
    }
}

/// A decompressor that could not be set up.
struct Broken(Option<io::Error>);

impl Read for Broken {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        Err(self.0.take().unwrap_or_else(|| io::ErrorKind::Other.into()))
    }
}

fn begins(part: &Part<'_>, magic: &[u8]) -> io::Result<bool> {
    let mut start = Vec::new();
    part.clone().take(u64::try_from(magic.len()).unwrap_or(0)).read_to_end(&mut start)?;
    Ok(start == magic)
}
