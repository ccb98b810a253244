//! Decompresses what others made, of which nothing is known but its first bytes.

use std::io::{self, Read};

use flate2::read::MultiGzDecoder;
use liblzma::read::XzDecoder;
use liblzma::stream::Stream;

use crate::Error;
use crate::medium::Medium;

/// Memory that an xz file may ask for, in bytes: `xz -9` asks for 65 MiB.
const XZ_MEMORY_MAX: u64 = 256 << 20;
/// Largest window that a zstd file may ask for, as a power of two: 128 MiB, zstd's own limit.
const ZSTD_WINDOW_LOG_MAX: u32 = 27;

/// A compressed format that is known by its first bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Compressed {
    /// RFC 1952.
    Gzip,
    /// The .xz File Format 1.2.
    Xz,
    /// RFC 8878.
    Zstd,
}

impl Compressed {
    /// The format of a file; `None`: none of these.
    ///
    /// # Errors
    /// Those of the file.
    pub fn detect(file: &dyn Medium) -> Result<Option<Self>, Error> {
        let mut head = [0; 6];
        let length = file.size().min(head.len() as u64) as usize;
        file.read_at(0, &mut head[..length])?;
        Ok(match head {
            // Method 8 is deflate, the only one that there is.
            [0x1f, 0x8b, 8, ..] => Some(Self::Gzip),
            [0xfd, b'7', b'z', b'X', b'Z', 0] => Some(Self::Xz),
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Some(Self::Zstd),
            _ => None,
        })
    }
}

/// Reads the bytes inside a compressed stream, all of its members or frames.
pub struct Decoder<'a>(Box<dyn Read + 'a>);

impl<'a> Decoder<'a> {
    /// Starts at the stream's first byte. Memory is bounded, whatever the stream asks for.
    ///
    /// # Errors
    /// No memory.
    pub fn new(reader: impl Read + 'a, format: Compressed) -> io::Result<Self> {
        Ok(Self(match format {
            Compressed::Gzip => Box::new(MultiGzDecoder::new(reader)),
            Compressed::Xz => {
                let stream = Stream::new_stream_decoder(XZ_MEMORY_MAX, liblzma::stream::CONCATENATED)?;
                Box::new(XzDecoder::new_stream(reader, stream))
            }
            Compressed::Zstd => {
                let mut decoder = zstd::stream::read::Decoder::new(reader)?;
                decoder.window_log_max(ZSTD_WINDOW_LOG_MAX)?;
                Box::new(decoder)
            }
        }))
    }
}

impl Read for Decoder<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;
    use crate::compress::{Compression, Encoder};

    #[test]
    fn what_was_compressed_comes_back_and_a_cut_is_seen() {
        let bytes: Vec<u8> = (0..400_000u32).flat_map(|number| (number / 3).to_le_bytes()).collect();
        for (how, format) in [
            (Compression::Gzip(6), Compressed::Gzip),
            (Compression::Xz(1), Compressed::Xz),
            (Compression::Zstd(3), Compressed::Zstd),
        ] {
            let mut encoder = Encoder::new(Vec::new(), how, bytes.len() as u64, 0).unwrap();
            encoder.write_all(&bytes).unwrap();
            let packed = encoder.finish().unwrap();
            assert_eq!(Compressed::detect(&packed).unwrap(), Some(format));
            let read = |packed: &[u8]| {
                let mut found = Vec::new();
                Decoder::new(packed, format).unwrap().read_to_end(&mut found).map(|_| found)
            };
            assert!(read(&packed).unwrap() == bytes);
            assert!(read(&packed[..packed.len() / 2]).is_err(), "{format:?}");
        }
        assert_eq!(Compressed::detect(&bytes).unwrap(), None);
    }
}
