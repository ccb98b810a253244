//! gzip, xz and zstd, on several threads, with bytes that do not depend on their number: the
//! input is cut at fixed places, and each part is compressed by rules that know nothing of threads.

mod decode;
mod gzip;
mod xz;
mod zst;

use std::io::{self, Write};

use liblzma::stream::Check;

use crate::Error;

pub use decode::{Compressed, Decoder};

/// A compressed format and how hard to try.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Compression {
    /// gzip (RFC 1952), levels 1 to 9.
    Gzip(u32),
    /// xz (The .xz File Format 1.2), levels 0 to 9. A thread takes about 120 MB at level 6.
    Xz(u32),
    /// xz as the kernel's decompressor takes it (Linux, Documentation/staging/xz.rst): levels 0 to
    /// 9, CRC32 in place of CRC64.
    KernelXz(u32),
    /// Zstandard (RFC 8878), levels 1 to 19.
    Zstd(i32),
}

impl Compression {
    /// What file names end with, without the dot.
    pub fn extension(self) -> &'static str {
        match self {
            Self::Gzip(_) => "gz",
            Self::Xz(_) | Self::KernelXz(_) => "xz",
            Self::Zstd(_) => "zst",
        }
    }

    /// The format at its usual level, by the name that a spec gives it: `gz`, `xz` or `zst`.
    pub fn by_name(name: &str) -> Option<Self> {
        match name {
            "gz" => Some(Self::Gzip(6)),
            "xz" => Some(Self::Xz(6)),
            "zst" => Some(Self::Zstd(3)),
            _ => None,
        }
    }
}

/// Compresses what is written to it.
pub struct Encoder<W: Write>(Format<W>);

enum Format<W: Write> {
    Gzip(gzip::Encoder<W>),
    Xz(xz::Encoder<W>),
    Zstd(zst::Encoder<W>),
}

impl<W: Write> Encoder<W> {
    /// Starts. `size` is how many bytes will be written; `threads` never changes the bytes.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for levels that the format has not.
    pub fn new(writer: W, compression: Compression, size: u64, threads: usize) -> Result<Self, Error> {
        let refuse = |format, level: i64, levels: &str| {
            Err(Error::Unsupported { format, what: format!("level {level}"), reason: format!("levels are {levels}") })
        };
        match compression {
            Compression::Gzip(level @ 1..=9) => Ok(Self(Format::Gzip(gzip::Encoder::new(writer, level, threads)))),
            Compression::Gzip(level) => refuse("gzip", level.into(), "1 to 9"),
            Compression::Xz(level @ 0..=9) => {
                Ok(Self(Format::Xz(xz::Encoder::new(writer, level, Check::Crc64, threads))))
            }
            Compression::KernelXz(level @ 0..=9) => {
                Ok(Self(Format::Xz(xz::Encoder::new(writer, level, Check::Crc32, threads))))
            }
            Compression::Xz(level) | Compression::KernelXz(level) => refuse("xz", level.into(), "0 to 9"),
            Compression::Zstd(level @ 1..=19) => match zst::encoder(writer, level, size, threads) {
                Ok(encoder) => Ok(Self(Format::Zstd(encoder))),
                Err(error) => Err(Error::Unsupported {
                    format: "zstd",
                    what: format!("level {level}"),
                    reason: error.to_string(),
                }),
            },
            Compression::Zstd(level) => refuse("zstd", level.into(), "1 to 19"),
        }
    }

    /// Writes what is left and gives the writer back.
    ///
    /// # Errors
    /// Those of the writer; another number of bytes was written than had been said.
    pub fn finish(self) -> io::Result<W> {
        match self.0 {
            Format::Gzip(encoder) => encoder.finish(),
            Format::Xz(encoder) => encoder.finish(),
            Format::Zstd(encoder) => encoder.finish(),
        }
    }
}

impl<W: Write> Write for Encoder<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.0 {
            Format::Gzip(encoder) => encoder.write(bytes),
            Format::Xz(encoder) => encoder.write(bytes),
            Format::Zstd(encoder) => encoder.write(bytes),
        }
    }

    /// Does nothing: where the parts end must not depend on who calls.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
