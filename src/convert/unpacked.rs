//! A compressed source, unpacked into a file without a name: containers are read at any place.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::sync::atomic::Ordering;

use image::HostFile;
use image::compress::{Compressed, Decoder};

use super::{BLOCK_BYTES, Request, begin};
use crate::error::{Error, Kind};
use crate::progress::{Task, Unit};

/// Unpacks the source if it is compressed; otherwise gives it as it is. The unpacked bytes lie in
/// the target's file system, which has to hold the disk anyhow, for as long as they are open.
pub(super) fn unpack(source: HostFile, request: &Request) -> Result<HostFile, Error> {
    let unreadable =
        |error: image::Error| Error::other(format!("failed to read {}", request.source.display())).caused_by(error);
    let Some(format) = Compressed::detect(&source).map_err(unreadable)? else { return Ok(source) };
    let io = |source| Error::io(Kind::Other, "unpack", &request.source, source);
    let file = File::open(&request.source).map_err(io)?;
    let mut decoder = Decoder::new(file, format).map_err(io)?;
    let pending = begin(&request.target, request.force)?;
    let task = Task::start(&request.reporter, "unpacking", Unit::Bytes, None);
    let mut buffer = vec![0; BLOCK_BYTES as usize];
    let mut offset = 0u64;
    loop {
        if request.interrupted.load(Ordering::Relaxed) {
            return Err(Error::interrupted());
        }
        let count = fill(&mut decoder, &mut buffer).map_err(io)?;
        if count == 0 {
            break;
        }
        // Zeros stay holes.
        if buffer[..count].iter().any(|&byte| byte != 0) {
            let unwritable = |source| crate::finalize::full(&request.target, source).of_kind(Kind::Other);
            pending.file().write_all_at(&buffer[..count], offset).map_err(unwritable)?;
        }
        offset = offset.saturating_add(count as u64);
        task.set(offset);
    }
    pending.file().set_len(offset).map_err(io)?;
    let file = pending.handle().map_err(|error| error.of_kind(Kind::Other))?;
    HostFile::new(file, &request.source).map_err(unreadable)
}

/// Reads until the buffer is full or the end is reached.
fn fill(reader: &mut impl Read, buffer: &mut [u8]) -> std::io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match reader.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}
