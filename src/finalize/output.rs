//! One pass over the data of a disk or an archive feeds every file that the spec asks for.

use std::path::PathBuf;

use image::container::{self, Writer};
use image::{Sink, Source, compress};
use layers::{Contents, Sha256, Time};
use sandbox::Cancel;

use super::follow::Followed;
use super::target::{Pending, Target};
use crate::boot::Identity;
use crate::context::Context;
use crate::error::Error;
use crate::spec::ResolvedSpec;
use crate::spec::resolved::{Compression, Format};

/// A finished output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Artifact {
    /// Where it is.
    pub path: PathBuf,
    /// What it is: `raw`, `qcow2`, `sbom`, `manifest`, …
    pub kind: String,
    /// Its digest.
    pub sha256: Sha256,
    /// Its size in bytes.
    pub size: u64,
}

/// File names of the images that a spec asks for.
pub fn image_names(spec: &ResolvedSpec) -> Vec<(Format, String)> {
    spec.formats
        .iter()
        .map(|format| {
            let name = format!("{}.{}", spec.name, format.extension());
            let outside = match (format, spec.compression) {
                // These are compressed inside.
                (Format::Qcow2 | Format::Oci, _) | (_, Compression::None) => name,
                (_, compression) => format!("{name}.{}", compression.extension()),
            };
            (*format, outside)
        })
        .collect()
}

/// The name of the kernel beside an initial RAM disk.
pub fn kernel_name(spec: &ResolvedSpec) -> Option<String> {
    spec.formats.contains(&Format::Initrd).then(|| format!("{}.vmlinuz", spec.name))
}

/// The names of all images.
pub fn names(spec: &ResolvedSpec) -> Vec<String> {
    image_names(spec).into_iter().map(|(_, name)| name).chain(kernel_name(spec)).collect()
}

/// A sink that ends when the build is told to end.
struct Watched<'a> {
    sink: &'a mut dyn Sink,
    cancel: &'a Cancel,
}

/// A source that ends when the build is told to end.
struct WatchedSource<'a> {
    source: &'a dyn Source,
    cancel: &'a Cancel,
}

impl Watched<'_> {
    fn check(&self) -> Result<(), image::Error> {
        match self.cancel.is_cancelled() {
            true => Err(image::Error::Io {
                action: "finish",
                path: PathBuf::from("the image"),
                source: std::io::ErrorKind::Interrupted.into(),
            }),
            false => Ok(()),
        }
    }
}

impl Sink for Watched<'_> {
    fn data(&mut self, offset: u64, bytes: &[u8]) -> Result<(), image::Error> {
        self.check()?;
        self.sink.data(offset, bytes)
    }

    fn file(&mut self, offset: u64, file: &std::fs::File, length: u64) -> Result<bool, image::Error> {
        self.check()?;
        self.sink.file(offset, file, length)
    }
}

impl Source for WatchedSource<'_> {
    fn size(&self) -> u64 {
        self.source.size()
    }

    fn write_to(&self, contents: &dyn Contents, sink: &mut dyn Sink) -> Result<(), image::Error> {
        self.source.write_to(contents, &mut Watched { sink, cancel: self.cancel })
    }
}

/// A file that is written and has no name yet.
pub struct Written {
    /// See [`Artifact::kind`].
    pub kind: &'static str,
    /// The file.
    pub file: Pending,
    /// Its digest and its size in bytes, if they were taken on the way.
    digest: Option<(Sha256, u64)>,
}

impl Written {
    /// One of which nobody has taken the digest.
    pub fn new(kind: &'static str, file: Pending) -> Self {
        Self { kind, file, digest: None }
    }

    /// Digest and size in bytes.
    ///
    /// # Errors
    /// I/O errors; an interruption.
    pub fn digest(&self, cx: &Context) -> Result<(Sha256, u64), Error> {
        match self.digest {
            Some(digest) => Ok(digest),
            None => super::copy::digest(self.file.handle()?, self.file.path(), &|| cx.check()),
        }
    }
}

/// Writes the images of a spec for which `wanted` says so, all of one source; nothing has its name
/// yet.
///
/// # Errors
/// Content that is missing; a full disk.
pub fn write(
    spec: &ResolvedSpec,
    wanted: impl Fn(Format) -> bool,
    source: &dyn Source,
    contents: &dyn Contents,
    target: &Target,
    cx: &Context,
) -> Result<Vec<Written>, Error> {
    let source = WatchedSource { source, cancel: &cx.cancel };
    let mut pending = Vec::new();
    let mut writers = Vec::new();
    for (format, name) in image_names(spec).into_iter().filter(|(format, _)| wanted(*format)) {
        let file = target.begin(&name)?;
        let writer = open(spec, format, &file, &source, cx)?;
        writers.push(Followed::new(writer, file.handle()?, file.path(), &cx.cancel));
        pending.push(Written::new(format.as_str(), file));
    }
    let written = match writers.as_mut_slice() {
        [] => Ok(()),
        [one] => source.write_to(contents, one),
        several => {
            let mut sinks = image::stream::Tee(several.iter_mut().map(|writer| writer as &mut dyn Sink).collect());
            source.write_to(contents, &mut sinks)
        }
    };
    let id = Identity::of(spec).uuid("container");
    let finish = |()| writers.into_iter().map(|writer| writer.finish(id)).collect::<Result<Vec<_>, _>>();
    let digests = written.and_then(finish).map_err(explain)?;
    for (written, digest) in pending.iter_mut().zip(digests) {
        written.digest = digest().transpose()?;
    }
    Ok(pending)
}

fn open(
    spec: &ResolvedSpec,
    format: Format,
    file: &Pending,
    source: &dyn Source,
    cx: &Context,
) -> Result<Writer, Error> {
    let compression = match spec.compression {
        Compression::None => None,
        Compression::Gzip => Some(compress::Compression::Gzip(6)),
        Compression::Xz if format == Format::Initrd => Some(compress::Compression::KernelXz(6)),
        Compression::Xz => Some(compress::Compression::Xz(6)),
        Compression::Zstd => Some(compress::Compression::Zstd(3)),
    };
    let format = match format {
        Format::Raw | Format::Iso | Format::Initrd | Format::Tar => container::Format::Raw,
        Format::Qcow2 => container::Format::Qcow2,
        Format::Vhd => container::Format::Vhd,
        // No stream of bytes: it has a writer of its own.
        Format::Oci => {
            return Err(Error::build(format!("failed to write '{format}' as a disk")));
        }
    };
    let created = Time::seconds(cx.epoch());
    let options = container::Options { format, size: source.size(), compression, created, threads: cx.parallel };
    Writer::of(source, file.handle()?, file.path(), &options).map_err(explain)
}

fn explain(error: image::Error) -> Error {
    let no_room = matches!(&error, image::Error::Io { source, .. } if source.kind() == std::io::ErrorKind::StorageFull);
    if no_room {
        return Error::build("Insufficient disk space for the image")
            .caused_by(error)
            .hint("free some space, or name another directory with --output-dir");
    }
    Error::build("failed to write the image").caused_by(error)
}
