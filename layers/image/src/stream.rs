//! How bytes flow from a plan to one or more outputs: in ascending order, holes left out.

use std::fs::File;
use std::io::{self, Read};

use layers::{Content, Contents, TreePath};

use crate::Error;

/// Bytes of a file read at once.
const COPY_BYTES: usize = 256 * 1024;

/// Something with a size whose bytes are settled: a file system, a disk.
pub trait Source: Sync {
    /// Size in bytes.
    fn size(&self) -> u64;

    /// Gives every byte that is not zero by nature, at strictly ascending offsets below
    /// [`Source::size`]; what is left out reads as zero.
    ///
    /// # Errors
    /// Content that is missing or has another size than the plan says; errors of the sink.
    fn write_to(&self, contents: &dyn Contents, sink: &mut dyn Sink) -> Result<(), Error>;
}

/// Takes bytes at strictly ascending offsets.
pub trait Sink {
    /// Takes bytes that lie at `offset`. Never overlaps or precedes what was given before.
    ///
    /// # Errors
    /// Those of the output.
    fn data(&mut self, offset: u64, bytes: &[u8]) -> Result<(), Error>;

    /// Takes `length` bytes of a host file from its start, for outputs that can share blocks or
    /// copy inside the kernel. Gives `false` when it did nothing and the caller must use
    /// [`Sink::data`].
    ///
    /// # Errors
    /// Those of the output.
    fn file(&mut self, offset: u64, file: &File, length: u64) -> Result<bool, Error> {
        let _ = (offset, file, length);
        Ok(false)
    }
}

/// A sink that moves everything up by a fixed distance: a partition inside a disk.
pub struct Shifted<'a> {
    /// What takes the moved bytes.
    pub sink: &'a mut dyn Sink,
    /// The distance in bytes.
    pub by: u64,
}

impl Sink for Shifted<'_> {
    fn data(&mut self, offset: u64, bytes: &[u8]) -> Result<(), Error> {
        let offset = offset.checked_add(self.by).ok_or(Error::Overflow("the offset of a partition"))?;
        self.sink.data(offset, bytes)
    }

    fn file(&mut self, offset: u64, file: &File, length: u64) -> Result<bool, Error> {
        let offset = offset.checked_add(self.by).ok_or(Error::Overflow("the offset of a partition"))?;
        self.sink.file(offset, file, length)
    }
}

/// Several sinks fed by one pass over the data.
pub struct Tee<'a>(pub Vec<&'a mut dyn Sink>);

impl Sink for Tee<'_> {
    fn data(&mut self, offset: u64, bytes: &[u8]) -> Result<(), Error> {
        self.0.iter_mut().try_for_each(|sink| sink.data(offset, bytes))
    }
}

/// Gives a file's bytes; exactly as many as its content says.
pub(crate) fn copy_file(
    contents: &dyn Contents,
    content: &Content,
    path: &TreePath,
    offset: u64,
    buffer: &mut Vec<u8>,
    sink: &mut dyn Sink,
) -> Result<(), Error> {
    if let Some(file) = contents.host_file(content)?
        && sink.file(offset, &file, content.size)?
    {
        return Ok(());
    }
    buffer.resize(COPY_BYTES, 0);
    let failed = |source| Error::Content { path: path.to_string(), source };
    let mut reader = contents.open(content)?;
    let mut done = 0;
    while done < content.size {
        let count = (content.size - done).min(COPY_BYTES as u64) as usize;
        reader.read_exact(&mut buffer[..count]).map_err(failed)?;
        sink.data(offset + done, &buffer[..count])?;
        done += count as u64;
    }
    match reader.read(&mut buffer[..1]) {
        Ok(0) => Ok(()),
        Ok(_) => Err(failed(io::Error::other("it is longer than the tree says"))),
        Err(source) => Err(failed(source)),
    }
}
