//! A file on a volume as a medium of its own: an image inside an image.

use super::{FileId, Volume};
use crate::Error;
use crate::medium::Medium;

/// The bytes of one file.
pub struct Inside<'v> {
    volume: &'v dyn Volume,
    file: FileId,
    size: u64,
}

impl<'v> Inside<'v> {
    /// The file of a number.
    ///
    /// # Errors
    /// As [`Volume::file`].
    pub fn new(volume: &'v dyn Volume, file: FileId) -> Result<Self, Error> {
        Ok(Self { volume, file, size: volume.file(file)?.size })
    }
}

impl Medium for Inside<'_> {
    fn size(&self) -> u64 {
        self.size
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), Error> {
        let mut done = 0;
        while done < buffer.len() {
            let count = self.volume.read(self.file, offset.saturating_add(done as u64), &mut buffer[done..])?;
            if count == 0 {
                return Err(Error::Damaged {
                    format: "data",
                    offset,
                    reason: format!("{} bytes are expected here, but the file ends", buffer.len()),
                });
            }
            done += count;
        }
        Ok(())
    }
}
