//! What package files are compressed with, and the bounds within which that is undone.

use std::io::{self, BufRead, Read};

/// Memory that decompressing one archive may take, in bytes: `xz -9` and `zstd --long=27` need
/// 65 MiB and 128 MiB.
const DECODER_MEMORY_MAX: u64 = 160 * 1024 * 1024;
/// Largest zstd window accepted, as the logarithm of bytes (zstd's own default for decoders).
const ZSTD_WINDOW_LOG_MAX: u32 = 27;

/// How an archive is compressed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Compression {
    None,
    Gzip,
    Xz,
    Lzma,
    Zstd,
    Bzip2,
}

impl Compression {
    /// Reads what is compressed in `raw`, which may be several frames or members.
    pub fn decode<'r, R: BufRead + Send + 'r>(self, raw: R) -> io::Result<Box<dyn Read + Send + 'r>> {
        let lzma_error = |error: liblzma::stream::Error| io::Error::other(error);
        Ok(match self {
            Self::None => Box::new(raw),
            Self::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(raw)),
            Self::Xz => {
                let flags = liblzma::stream::CONCATENATED;
                let stream =
                    liblzma::stream::Stream::new_stream_decoder(DECODER_MEMORY_MAX, flags).map_err(lzma_error)?;
                Box::new(liblzma::bufread::XzDecoder::new_stream(raw, stream))
            }
            Self::Lzma => {
                let stream = liblzma::stream::Stream::new_lzma_decoder(DECODER_MEMORY_MAX).map_err(lzma_error)?;
                Box::new(liblzma::bufread::XzDecoder::new_stream(raw, stream))
            }
            Self::Zstd => {
                let mut decoder = zstd::Decoder::with_buffer(raw)?;
                decoder.window_log_max(ZSTD_WINDOW_LOG_MAX)?;
                Box::new(decoder)
            }
            Self::Bzip2 => Box::new(bzip2::bufread::MultiBzDecoder::new(raw)),
        })
    }
}
