//! How bytes flow from a plan to one or more outputs: in ascending order, holes left out.

use std::fs::File;

use layers::Contents;

use crate::Error;

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
