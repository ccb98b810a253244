//! Blobs: where they come from, and how they are held to their descriptors.

use std::io::{self, Read};
use std::str::FromStr;

use layers::Sha256;
use oci_spec::image::{Descriptor, Digest, DigestAlgorithm, Sha256Digest};
use sha2::Digest as _;

use crate::Error;

/// Gives blobs by descriptor: a layout, a registry. Nothing that it gives is trusted.
pub trait Blobs: Sync {
    /// Opens a blob for reading from its start.
    ///
    /// # Errors
    /// The blob is not there or cannot be read.
    fn open(&self, descriptor: &Descriptor) -> Result<Box<dyn Read + Send + '_>, Error>;
}

/// A digest as OCI documents have it.
///
/// # Errors
/// Never for a digest of ours; the signature is that of the parser.
pub fn digest(sha256: &Sha256) -> Result<Digest, Error> {
    let parsed = Sha256Digest::from_str(&sha256.to_hex());
    parsed.map(Digest::from).map_err(|error| Error::document("a digest", error.to_string()))
}

/// The SHA-256 that a descriptor names.
///
/// # Errors
/// [`Error::Document`]: it names another kind of digest.
pub fn sha256(digest: &Digest) -> Result<Sha256, Error> {
    let unusable = || Error::document(format!("digest {}", shown(digest.as_ref())), "only sha256 is supported");
    match digest.algorithm() {
        DigestAlgorithm::Sha256 => Sha256::from_str(digest.digest()).map_err(|_| unusable()),
        _ => Err(unusable()),
    }
}

/// A text of others, fit for a message.
pub(crate) fn shown(text: &str) -> String {
    text.chars().take(200).flat_map(char::escape_default).collect()
}

/// A blob that is held to its descriptor while it is read.
pub struct Verified<'b> {
    reader: Box<dyn Read + Send + 'b>,
    hasher: sha2::Sha256,
    expected: Sha256,
    left: u64,
}

impl<'b> Verified<'b> {
    /// Opens a blob.
    ///
    /// # Errors
    /// Those of the source; a digest that is not a SHA-256.
    pub fn open(blobs: &'b dyn Blobs, descriptor: &Descriptor) -> Result<Self, Error> {
        let expected = sha256(descriptor.digest())?;
        let reader = blobs.open(descriptor)?;
        Ok(Self { reader, hasher: sha2::Sha256::new(), expected, left: descriptor.size() })
    }

    /// Bytes that its descriptor says are still to come.
    pub fn left(&self) -> u64 {
        self.left
    }

    /// Reads what is left and says whether the blob is what its descriptor says. What was read
    /// before this was called is not to be relied on.
    ///
    /// # Errors
    /// [`Error::Blob`] for another size or digest; [`Error::Fetch`].
    pub fn finish(mut self) -> Result<(), Error> {
        let digest = format!("sha256:{}", self.expected);
        io::copy(&mut self, &mut io::sink()).map_err(|error| self.failure(error))?;
        if self.left > 0 {
            return Err(Error::Blob { digest, reason: format!("it is {} bytes short", self.left) });
        }
        let mut beyond = [0];
        match self.reader.read(&mut beyond) {
            Ok(0) => {}
            Ok(_) => return Err(Error::Blob { digest, reason: "it is longer than its descriptor says".into() }),
            Err(source) => return Err(self.failure(source)),
        }
        let found = Sha256(self.hasher.finalize().into());
        match found == self.expected {
            true => Ok(()),
            false => Err(Error::Blob { digest, reason: format!("its digest is sha256:{found}") }),
        }
    }

    fn failure(&self, source: io::Error) -> Error {
        Error::Fetch { digest: format!("sha256:{}", self.expected), source: Box::new(source) }
    }
}

impl Read for Verified<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        // No more than the descriptor says is ever handed on.
        let room = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        let Some(part) = buffer.get_mut(..room) else { return Ok(0) };
        if part.is_empty() {
            return Ok(0);
        }
        let count = self.reader.read(part)?;
        let read = part.get(..count).ok_or_else(|| io::Error::other("a reader gave more than was asked for"))?;
        self.hasher.update(read);
        self.left = self.left.saturating_sub(count as u64);
        Ok(count)
    }
}

/// A whole blob in memory.
///
/// # Errors
/// One that is larger than `limit` bytes; those of [`Verified`].
pub fn read(blobs: &dyn Blobs, descriptor: &Descriptor, limit: u64) -> Result<Vec<u8>, Error> {
    if descriptor.size() > limit {
        let reason = format!("it has {} bytes, and {limit} are the most that is read", descriptor.size());
        return Err(Error::Blob { digest: descriptor.digest().to_string(), reason });
    }
    let mut blob = Verified::open(blobs, descriptor)?;
    let mut bytes = Vec::new();
    if let Err(error) = blob.read_to_end(&mut bytes) {
        return Err(blob.failure(error));
    }
    blob.finish()?;
    Ok(bytes)
}
