//! SHA-256 of what passes by: of a whole image with its holes, or of what a compressor gives.

use std::io::{self, Write};

use layers::Sha256;
use sha2::Digest as _;

use crate::sequential::Sequential;
use crate::{Error, Sink};

/// A writer that computes the digest of what it passes on.
pub struct Hashed<W> {
    writer: W,
    hasher: sha2::Sha256,
    length: u64,
}

impl<W: Write> Hashed<W> {
    /// Passes on to `writer`.
    pub fn new(writer: W) -> Self {
        Self { writer, hasher: sha2::Sha256::new(), length: 0 }
    }

    /// The writer, and the digest and number of the bytes that it was given.
    pub fn finish(self) -> (W, Sha256, u64) {
        (self.writer, Sha256(self.hasher.finalize().into()), self.length)
    }
}

impl<W: Write> Write for Hashed<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.writer.write(bytes)?;
        self.hasher.update(&bytes[..count]);
        self.length = self.length.saturating_add(count as u64);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
    }
}

/// A sink that keeps nothing but the digest of the image, holes being zeros.
pub struct Digest(Sequential<Hashed<io::Sink>>);

impl Default for Digest {
    fn default() -> Self {
        Self(Sequential::new(Hashed::new(io::sink()), "the digest"))
    }
}

impl Digest {
    /// The digest of an image of `size` bytes.
    ///
    /// # Errors
    /// More than `size` bytes were given.
    pub fn finish(self, size: u64) -> Result<Sha256, Error> {
        let (_, digest, _) = self.0.finish(size)?.finish();
        Ok(digest)
    }
}

impl Sink for Digest {
    fn data(&mut self, offset: u64, bytes: &[u8]) -> Result<(), Error> {
        self.0.data(offset, bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holes_count_as_zeros() {
        let mut sink = Digest::default();
        sink.data(5, b"five").unwrap();
        sink.data(300_000, b"far").unwrap();
        let mut image = vec![0; 1_000_000];
        image[5..9].copy_from_slice(b"five");
        image[300_000..300_003].copy_from_slice(b"far");
        assert_eq!(sink.finish(1_000_000).unwrap(), Sha256::of(&image));
    }

    #[test]
    fn order_is_kept() {
        let mut sink = Digest::default();
        sink.data(5, b"five").unwrap();
        assert!(sink.data(8, b"x").is_err());
        assert!(sink.finish(8).is_err());
    }
}
