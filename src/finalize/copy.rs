//! Copies of images: past their holes, with shared blocks where the file system can.

use std::fs::File;
use std::io::{Read, Seek};
use std::os::unix::fs::FileExt;
use std::path::Path;

use image::Sink;
use image::raw::RawFile;
use layers::Sha256;
use rustix::fs::{SeekFrom, seek};
use rustix::io::Errno;
use sha2::Digest;

use crate::error::{Error, Kind, ResultExt};

/// Copies a file with its holes; blocks are shared where the file system can.
///
/// # Errors
/// I/O errors; no room for the copy.
pub fn clone(source: &File, to: File, path: &Path) -> Result<File, Error> {
    let size = source.metadata().map_err(|e| Error::io(Kind::Build, "look at", path, e))?.len();
    let mut sink = RawFile::new(to, path, size).to("copy an image")?;
    if !sink.file(0, source, size).to("copy an image")? {
        // Another file system. By place, as the attempt has moved the file's own; past the holes, which a raw
        // disk mostly is.
        let mut offset = 0u64;
        let mut buffer = vec![0; 1 << 20];
        while offset < size {
            offset = match seek(source, SeekFrom::Data(offset)) {
                Ok(data) => data,
                Err(Errno::NXIO) => break,
                Err(_) => offset,
            };
            let count = source.read_at(&mut buffer, offset).map_err(|e| Error::io(Kind::Build, "read", path, e))?;
            if count == 0 {
                break;
            }
            sink.data(offset, &buffer[..count]).to("copy an image")?;
            offset = offset.saturating_add(count as u64);
        }
    }
    sink.finish().to("copy an image")
}

/// Whether to go on: an error ends what is being read.
pub type Check<'a> = &'a (dyn Fn() -> Result<(), Error> + Sync);

/// Copies a file and gives the digest and size of the copy.
///
/// # Errors
/// I/O errors; no room for the copy; those of `check`.
pub fn copy(source: &File, to: File, path: &Path, check: Check<'_>) -> Result<(Sha256, u64), Error> {
    digest(clone(source, to, path)?, path, check)
}

/// Digest and size of a file, from its beginning.
///
/// # Errors
/// I/O errors; those of `check`.
pub fn digest(mut file: File, path: &Path, check: Check<'_>) -> Result<(Sha256, u64), Error> {
    file.rewind().map_err(|e| Error::io(Kind::Build, "read", path, e))?;
    let mut hasher = sha2::Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    let mut size = 0u64;
    loop {
        check()?;
        let count = file.read(&mut buffer).map_err(|e| Error::io(Kind::Build, "read", path, e))?;
        if count == 0 {
            return Ok((Sha256(hasher.finalize().into()), size));
        }
        hasher.update(&buffer[..count]);
        size = size.saturating_add(count as u64);
    }
}
