//! Any container behind one type.

use std::fs::File;
use std::path::PathBuf;

use layers::Time;
use uuid::Uuid;

use super::Format;
use crate::compress::{self, Compression};
use crate::raw::RawFile;
use crate::sequential::Sequential;
use crate::stream::empty;
use crate::{Error, Sink, Source, qcow2, vdi, vhd, vhdx, vmdk};

/// Level of deflate in a VMDK where nobody says another: qemu-img's and VMware's own.
const VMDK_LEVEL: u32 = 6;
/// zlib's level for the clusters of qcow2, whatever that of gzip files: level 6 takes a third longer
/// for 2.5 % less.
const CLUSTER_LEVEL: u32 = 3;

fn refuse(format: Format, reason: &str) -> Error {
    Error::Unsupported { format: format.as_str(), what: "the compression".into(), reason: reason.into() }
}

/// How a container is made.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Which.
    pub format: Format,
    /// Size of the disk inside, in bytes; a multiple of [`Format::size_unit`].
    pub size: u64,
    /// How it is compressed: raw and VHD as a whole, qcow2 cluster by cluster inside. VMDK always
    /// is, by deflate.
    pub compression: Option<Compression>,
    /// When it was made, for formats that say so.
    pub created: Time,
    /// Threads that compress; 0 leaves it to the caller's. Never changes the bytes.
    pub threads: usize,
}

/// Writes one container; a [`Sink`].
pub struct Writer {
    kind: Kind,
    options: Options,
    path: PathBuf,
}

enum Kind {
    Raw(RawFile),
    Compressed(Sequential<compress::Encoder<File>>),
    Qcow2(Box<qcow2::Writer>),
    Vhd(vhd::Fixed),
    Vhdx(vhdx::Writer),
    Vmdk(Box<vmdk::Writer>),
    Vdi(vdi::Writer),
}

impl Options {
    fn vhd(&self) -> vhd::Options {
        vhd::Options { size: self.size, created: self.created }
    }

    /// Bytes behind the disk's own.
    fn trailer(&self) -> u64 {
        if self.format == Format::Vhd { vhd::FOOTER_BYTES as u64 } else { 0 }
    }
}

impl Writer {
    /// Takes an open, writable file and empties it. `path` is for messages.
    ///
    /// # Errors
    /// What the format cannot express: the size, the compression; the file cannot be emptied.
    pub fn new(file: File, path: impl Into<PathBuf>, options: &Options) -> Result<Self, Error> {
        Self::begin(file, path.into(), options, None)
    }

    /// As [`Writer::new`], for what this source will give. A qcow2 that is not compressed has its header at
    /// once then, and other bytes: see [`Writer::settled`].
    ///
    /// # Errors
    /// As [`Writer::new`]; those of the source.
    pub fn of(source: &dyn Source, file: File, path: impl Into<PathBuf>, options: &Options) -> Result<Self, Error> {
        Self::begin(file, path.into(), options, Some(source))
    }

    fn begin(file: File, path: PathBuf, options: &Options, source: Option<&dyn Source>) -> Result<Self, Error> {
        let kind = match (options.format, options.compression) {
            (Format::Raw, None) => Kind::Raw(RawFile::new(file, &path, options.size)?),
            (Format::Vhd, None) => Kind::Vhd(vhd::Fixed::new(file, &path, &options.vhd())?),
            (Format::Raw | Format::Vhd, Some(compression)) => {
                if options.format == Format::Vhd {
                    // Said before the work, not after it.
                    vhd::fixed_footer(&options.vhd(), Uuid::nil())?;
                }
                empty(&file, &path)?;
                let size = options.size.saturating_add(options.trailer());
                let encoder = compress::Encoder::new(file, compression, size, options.threads)?;
                Kind::Compressed(Sequential::new(encoder, &path))
            }
            (Format::Qcow2, compression) => {
                let compression = match compression {
                    None => qcow2::Compression::None,
                    Some(Compression::Gzip(_)) => qcow2::Compression::Zlib(CLUSTER_LEVEL),
                    Some(Compression::Zstd(level)) => qcow2::Compression::Zstd(level),
                    Some(Compression::Xz(_) | Compression::KernelXz(_)) => {
                        return Err(refuse(options.format, "its clusters know gzip and zstd"));
                    }
                };
                let plain = qcow2::Options::new(options.size);
                let reach = source.filter(|_| compression == qcow2::Compression::None);
                let reach = reach.map(|source| qcow2::Reach::of(source, plain.cluster_size)).transpose()?;
                let options = qcow2::Options { compression, threads: options.threads, reach, ..plain };
                Kind::Qcow2(Box::new(qcow2::Writer::new(file, &path, &options)?))
            }
            (Format::Vmdk, None | Some(Compression::Gzip(_))) => {
                let level = if let Some(Compression::Gzip(level)) = options.compression { level } else { VMDK_LEVEL };
                let options = vmdk::Options { size: options.size, level, threads: options.threads };
                Kind::Vmdk(Box::new(vmdk::Writer::new(file, &path, &options)?))
            }
            (Format::Vhdx, None) => Kind::Vhdx(vhdx::Writer::new(file, &path, &vhdx::Options { size: options.size })?),
            (Format::Vdi, None) => Kind::Vdi(vdi::Writer::new(file, &path, &vdi::Options { size: options.size })?),
            (Format::Vmdk, Some(_)) => return Err(refuse(options.format, "its grains know gzip (deflate) only")),
            (Format::Vhdx | Format::Vdi, Some(_)) => return Err(refuse(options.format, "it is never compressed")),
        };
        Ok(Self { kind, options: *options, path })
    }

    /// Writes what is left. `id` is the disk's identity, for formats that have one; where they
    /// have several, the others are made of it.
    ///
    /// # Errors
    /// Those of the file and of compression.
    pub fn finish(self, id: Uuid) -> Result<File, Error> {
        match self.kind {
            Kind::Raw(writer) => writer.finish(),
            Kind::Compressed(mut writer) => {
                let Options { size, .. } = self.options;
                if self.options.format == Format::Vhd {
                    writer.data(size, &vhd::fixed_footer(&self.options.vhd(), id)?)?;
                }
                let encoder = writer.finish(size.saturating_add(self.options.trailer()))?;
                encoder.finish().map_err(|source| Error::Io { action: "write", path: self.path, source })
            }
            Kind::Qcow2(writer) => writer.finish(),
            Kind::Vhd(writer) => writer.finish(id),
            Kind::Vhdx(writer) => writer.finish(id),
            Kind::Vmdk(writer) => writer.finish(id),
            Kind::Vdi(writer) => writer.finish(id),
        }
    }

    /// Bytes from the beginning of the file that stay as they are, whatever is still given; `None` for formats
    /// that end with their beginning, and those that nobody has asked for it yet.
    pub fn settled(&self) -> Option<u64> {
        match &self.kind {
            Kind::Raw(writer) => Some(writer.settled()),
            Kind::Qcow2(writer) => writer.settled(),
            _ => None,
        }
    }

    fn sink(&mut self) -> &mut dyn Sink {
        match &mut self.kind {
            Kind::Raw(writer) => writer,
            Kind::Compressed(writer) => writer,
            Kind::Qcow2(writer) => writer.as_mut(),
            Kind::Vhd(writer) => writer,
            Kind::Vhdx(writer) => writer,
            Kind::Vmdk(writer) => writer.as_mut(),
            Kind::Vdi(writer) => writer,
        }
    }
}

impl Sink for Writer {
    fn data(&mut self, offset: u64, bytes: &[u8]) -> Result<(), Error> {
        self.sink().data(offset, bytes)
    }

    fn file(&mut self, offset: u64, file: &File, length: u64) -> Result<bool, Error> {
        self.sink().file(offset, file, length)
    }
}
