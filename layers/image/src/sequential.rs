//! Turns bytes at places into a stream: what compressors and pipes take.

use std::io::{self, Write};
use std::path::PathBuf;

use crate::bytes::ZEROS;
use crate::{Error, Sink};

/// Gives everything to a writer from the first byte to the last, holes as zeros.
pub struct Sequential<W> {
    writer: W,
    path: PathBuf,
    position: u64,
}

impl<W: Write> Sequential<W> {
    /// Writes from the writer's present place on. `path` is for messages.
    pub fn new(writer: W, path: impl Into<PathBuf>) -> Self {
        Self { writer, path: path.into(), position: 0 }
    }

    /// Fills up with zeros to `size` bytes and gives the writer back.
    ///
    /// # Errors
    /// Those of the writer; more than `size` bytes were written.
    pub fn finish(mut self, size: u64) -> Result<W, Error> {
        self.fill_to(size)?;
        Ok(self.writer)
    }

    fn error(&self, source: io::Error) -> Error {
        Error::Io { action: "write", path: self.path.clone(), source }
    }

    fn fill_to(&mut self, offset: u64) -> Result<(), Error> {
        if offset < self.position {
            return Err(Error::Unsupported {
                format: "a stream",
                what: format!("byte {offset} after byte {}", self.position),
                reason: "data must come in ascending order".into(),
            });
        }
        while self.position < offset {
            let count = (offset - self.position).min(ZEROS.len() as u64);
            self.writer.write_all(&ZEROS[..count as usize]).map_err(|source| self.error(source))?;
            self.position += count;
        }
        Ok(())
    }
}

impl<W: Write> Sink for Sequential<W> {
    fn data(&mut self, offset: u64, bytes: &[u8]) -> Result<(), Error> {
        let end = offset.checked_add(bytes.len() as u64).ok_or(Error::Overflow("the end of a write"))?;
        self.fill_to(offset)?;
        self.writer.write_all(bytes).map_err(|source| self.error(source))?;
        self.position = end;
        Ok(())
    }
}
