//! `convert`: the disk inside one container file, written into another.

mod unpacked;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use image::compress;
use image::container::{self, Format, Writer};
use image::{Medium, Sink};
use layers::Time;
use uuid::Uuid;

use crate::error::{Error, Kind};
use crate::finalize::{Pending, Target};
use crate::images::host_file;
use crate::progress::{Reporter, Task, Unit};
use crate::spec::choice::Compression;

/// Bytes that are read at once.
const CHUNK_BYTES: u64 = 1 << 20;
/// Unit in which zeros are looked for, in bytes: the cluster of qcow2. Where they lie in it does
/// not depend on how the source tells its holes, and so neither does the target.
const BLOCK_BYTES: u64 = 64 * 1024;

/// A conversion and the means that the command gives it.
pub struct Request {
    /// The file to read, absolute.
    pub source: PathBuf,
    /// The file to write, absolute.
    pub target: PathBuf,
    /// Its container; `None`: what its name says.
    pub format: Option<Format>,
    /// Its compression; `None`: what its name says.
    pub compression: Option<Compression>,
    /// Whether a file of the same name may be replaced.
    pub force: bool,
    /// Threads that compress.
    pub threads: usize,
    /// Who shows what happens.
    pub reporter: Arc<dyn Reporter>,
    /// Raised when somebody wants this to end.
    pub interrupted: Arc<AtomicBool>,
}

/// The container of this name.
///
/// # Errors
/// The names that there are.
pub fn format_by_name(name: &str) -> Result<Format, String> {
    let found = Format::ALL.iter().copied().find(|format| format.as_str() == name);
    found.or((name == "img").then_some(Format::Raw)).ok_or_else(|| {
        let names: Vec<&str> = Format::ALL.iter().map(|format| format.as_str()).collect();
        format!("expected a format ({})", names.join(", "))
    })
}

/// Container and outer compression by the name of a file.
fn by_name(path: &Path) -> (Option<Format>, Option<Compression>) {
    let name = path.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
    let outer = [Compression::Gzip, Compression::Xz, Compression::Zstd];
    let found = outer.into_iter().find_map(|compression| {
        let rest = name.strip_suffix(compression.extension())?.strip_suffix('.')?;
        Some((rest.to_owned(), compression))
    });
    let (rest, compression) = match found {
        Some((rest, compression)) => (rest, Some(compression)),
        None => (name, None),
    };
    (rest.rsplit_once('.').and_then(|(_, ending)| format_by_name(ending).ok()), compression)
}

impl Request {
    /// What the target becomes.
    fn settle(&self) -> Result<(Format, Option<compress::Compression>), Error> {
        let (named, outer) = by_name(&self.target);
        let Some(format) = self.format.or(named) else {
            let endings: Vec<String> = Format::ALL.iter().map(|format| format!(".{format}")).collect();
            return Err(Error::usage(format!("the name of {} does not say its format", self.target.display()))
                .hint(format!("name it with --format, or end the name with one of {}", endings.join(", "))));
        };
        if let (Some(outer), Some(typed)) = (outer, self.compression)
            && outer != typed
        {
            let message = format!("--compression {typed} contradicts the name of {}", self.target.display());
            return Err(Error::usage(message).hint("leave out the option, or change the name"));
        }
        let compression = self.compression.or(outer).unwrap_or(Compression::None);
        let wraps = matches!(format, Format::Raw | Format::Vhd);
        let fits = match (format, compression) {
            (_, Compression::None) => true,
            // As the name of the file promises it: the container itself is compressed.
            _ if outer.is_some() => wraps,
            (Format::Qcow2, compression) => compression != Compression::Xz,
            (Format::Vmdk, compression) => compression == Compression::Gzip,
            _ => wraps,
        };
        if !fits {
            let message = format!("Invalid combination of compression '{compression}' with format '{format}'");
            return Err(Error::usage(message).hint(match format {
                Format::Qcow2 => {
                    "qcow2 is compressed inside: --compression gzip or zstd, and a name that ends with .qcow2"
                }
                _ => "raw and vhd can be compressed as a whole, qcow2 inside with gzip or zstd; vmdk always is, with gzip",
            }));
        }
        let how = match compression {
            Compression::None => None,
            Compression::Gzip => Some(compress::Compression::Gzip(6)),
            Compression::Xz => Some(compress::Compression::Xz(6)),
            Compression::Zstd => Some(compress::Compression::Zstd(3)),
        };
        Ok((format, how))
    }
}

/// A converted file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Converted {
    /// Where it is.
    pub path: PathBuf,
    /// Its size in bytes.
    pub bytes: u64,
}

/// Converts. The data of the source is read once, its holes not at all (a compressed one is unpacked
/// first); nothing has the target's name before all of it is there. The bytes are a function of the disk inside the source.
///
/// # Errors
/// A command line that makes no sense (exit code 2); a source that cannot be read, a target that
/// cannot be written or is there already (1); an interruption.
pub fn run(request: &Request) -> Result<Converted, Error> {
    let (format, compression) = request.settle()?;
    if !request.force && request.target.symlink_metadata().is_ok() {
        return Err(Error::other(format!("failed to write {}: it exists already", request.target.display()))
            .hint("--force overwrites it"));
    }
    let unreadable =
        |error: image::Error| Error::other(format!("failed to read {}", request.source.display())).caused_by(error);
    let source = unpacked::unpack(host_file(&request.source)?, request)?;
    let (found, disk) = container::open(source).map_err(unreadable)?;
    let size = disk.size().checked_next_multiple_of(format.size_unit()).unwrap_or(u64::MAX);
    request.reporter.debug(&format!("{} is {found} with a disk of {} bytes", request.source.display(), disk.size()));
    if size != disk.size() {
        let more = size - disk.size();
        request.reporter.warn(&format!("the disk grows by {more} bytes: {format} counts in {}", format.size_unit()));
    }
    let pending = begin(&request.target, request.force)?;
    let options = container::Options {
        format,
        size,
        compression,
        // The same disk gives the same file: nothing of now is in it.
        created: Time::default(),
        threads: request.threads,
    };
    let unwritable = |error: image::Error| unwritable(&request.target, error);
    let mut writer = pending
        .handle()
        .map_err(|error| error.of_kind(Kind::Other))
        .and_then(|file| Writer::new(file, &request.target, &options).map_err(unwritable))?;
    let id = copy(&*disk, &mut writer, request)?;
    let file = writer.finish(id).map_err(unwritable)?;
    let length = file.metadata().map_err(|source| Error::io(Kind::Other, "look at", &request.target, source))?.len();
    if request.interrupted.load(Ordering::Relaxed) {
        return Err(Error::interrupted());
    }
    let path = pending.publish().map_err(|error| error.of_kind(Kind::Other))?;
    Ok(Converted { path, bytes: length })
}

fn begin(path: &Path, force: bool) -> Result<Pending, Error> {
    let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(Error::usage(format!("{} is no name of a file", path.display())));
    };
    let target = Target { directory: directory.to_path_buf(), force };
    target.begin_at(name).map_err(|error| {
        error.of_kind(Kind::Other).hint("name a file in a directory that is there and that you can write to")
    })
}

fn unwritable(path: &Path, error: image::Error) -> Error {
    let no_room = matches!(&error, image::Error::Io { source, .. } if source.kind() == std::io::ErrorKind::StorageFull);
    let failed = Error::other(format!("failed to write {}", path.display())).caused_by(error);
    if no_room { failed.hint("free some space, or name a file on another disk") } else { failed }
}

/// Gives the disk to the writer, and gives an identity made of all that it gave.
fn copy(disk: &dyn Medium, writer: &mut Writer, request: &Request) -> Result<Uuid, Error> {
    let unreadable =
        |error: image::Error| Error::other(format!("failed to read {}", request.source.display())).caused_by(error);
    let size = disk.size();
    let task = Task::start(&request.reporter, "converting", Unit::Bytes, Some(size));
    let mut hasher = blake3::Hasher::new();
    hasher.update(&size.to_le_bytes());
    let mut buffer = vec![0; CHUNK_BYTES as usize];
    let mut done = 0;
    while let Some(range) = disk.data_from(done).map_err(unreadable)? {
        // Whole blocks, and none twice.
        let mut at = (range.start - range.start % BLOCK_BYTES).max(done);
        let end = range.end.checked_next_multiple_of(BLOCK_BYTES).unwrap_or(size).min(size);
        while at < end {
            if request.interrupted.load(Ordering::Relaxed) {
                return Err(Error::interrupted());
            }
            let chunk = &mut buffer[..(end - at).min(CHUNK_BYTES) as usize];
            disk.read_at(at, chunk).map_err(unreadable)?;
            for (block, offset) in chunk.chunks(BLOCK_BYTES as usize).zip((at..).step_by(BLOCK_BYTES as usize)) {
                if block.iter().any(|&byte| byte != 0) {
                    hasher.update(&offset.to_le_bytes());
                    hasher.update(block);
                    writer.data(offset, block).map_err(|error| unwritable(&request.target, error))?;
                }
            }
            at += chunk.len() as u64;
            task.set(at);
        }
        done = end.max(done);
        if done >= size {
            break;
        }
    }
    let mut id = [0; 16];
    id.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
    Ok(uuid::Builder::from_custom_bytes(id).into_uuid())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_say_what_a_file_is() {
        let settled = |target: &str, format, compression| {
            let request = Request {
                source: PathBuf::new(),
                target: target.into(),
                format,
                compression,
                force: false,
                threads: 0,
                reporter: Arc::new(crate::progress::Silent),
                interrupted: Arc::default(),
            };
            request.settle().map_err(|error| (error.exit_code(), error.to_string()))
        };
        let gzip = Some(compress::Compression::Gzip(6));
        assert_eq!(settled("a.img", None, None), Ok((Format::Raw, None)));
        assert_eq!(settled("A.VHD.GZ", None, None), Ok((Format::Vhd, gzip)));
        assert_eq!(settled("a.qcow2", None, Some(Compression::Gzip)), Ok((Format::Qcow2, gzip)));
        assert_eq!(settled("a.vmdk", None, Some(Compression::Gzip)), Ok((Format::Vmdk, gzip)));
        assert_eq!(settled("a.bin", Some(Format::Raw), None), Ok((Format::Raw, None)));
        assert_eq!(settled("raw", None, None).unwrap_err().0, 2);
        for (target, compression) in [
            ("a.qcow2.zst", None),
            ("a.qcow2", Some(Compression::Xz)),
            ("a.vmdk", Some(Compression::Zstd)),
            ("a.vmdk.gz", None),
            ("a.vhdx.gz", None),
            ("a.vdi", Some(Compression::Gzip)),
            ("a.raw.gz", Some(Compression::Xz)),
            ("a.raw.gz", Some(Compression::None)),
        ] {
            assert_eq!(settled(target, None, compression).unwrap_err().0, 2, "{target}");
        }
    }
}
