//! Compressed indexes and metadata: what the forms are called, and how much may come out.

use std::fs::File;
use std::io::{BufReader, Read};

/// Memory that the xz decoder may take, in bytes: level 9 needs 65 MiB.
const XZ_MEMORY: u64 = 128 * 1024 * 1024;

/// Bytes read from a file at once.
const BLOCK: usize = 128 * 1024;

/// Compressed forms that are understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// As it is.
    Plain,
    /// gzip, perhaps of several members.
    Gzip,
    /// bzip2, perhaps of several streams.
    Bzip2,
    /// xz, perhaps of several streams.
    Xz,
    /// zstd, perhaps of several frames.
    Zstd,
}

impl Form {
    /// The form of a file by its name; plain when no form is known that ends so.
    pub(crate) fn of(name: &str) -> Self {
        match name.rsplit_once('.').map_or("", |(_, suffix)| suffix) {
            "gz" => Self::Gzip,
            "bz2" => Self::Bzip2,
            "xz" => Self::Xz,
            "zst" => Self::Zstd,
            _ => Self::Plain,
        }
    }

    /// What comes out of a file; without end, for all that is known.
    pub(crate) fn open(self, file: File) -> std::io::Result<Box<dyn Read + Send>> {
        let file = BufReader::with_capacity(BLOCK, file);
        Ok(match self {
            Self::Plain => Box::new(file),
            Self::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(file)),
            Self::Bzip2 => Box::new(bzip2::bufread::MultiBzDecoder::new(file)),
            Self::Xz => {
                let stream = liblzma::stream::Stream::new_stream_decoder(XZ_MEMORY, liblzma::stream::CONCATENATED)?;
                Box::new(liblzma::bufread::XzDecoder::new_stream(file, stream))
            }
            Self::Zstd => Box::new(zstd::stream::read::Decoder::with_buffer(file)?),
        })
    }

    /// Decompresses at most `limit` bytes, of which `expected` are likely.
    ///
    /// # Errors
    /// Of kind `FileTooLarge` when there are more.
    pub(crate) fn decompress(self, file: File, limit: u64, expected: usize) -> std::io::Result<Vec<u8>> {
        let mut text = Vec::with_capacity(expected);
        self.open(file)?.take(limit.saturating_add(1)).read_to_end(&mut text)?;
        if text.len() as u64 > limit { Err(std::io::ErrorKind::FileTooLarge.into()) } else { Ok(text) }
    }
}
