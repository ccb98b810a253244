//! Writes virtual hard disks in one pass.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use layers::Time;
use uuid::Uuid;

use super::format::{self, BLOCK_BYTES, DYNAMIC, DYNAMIC_HEADER_BYTES, FIXED, FOOTER_BYTES, FORMAT, NO_BLOCK, SECTOR};
use crate::bytes::is_zero;
use crate::raw::RawFile;
use crate::stream::empty;
use crate::{Error, Sink};

/// What a virtual hard disk is made with.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Size of the disk in bytes; a multiple of [`super::SIZE_UNIT_BYTES`], up to 2040 GiB.
    pub size: u64,
    /// When it was made; times outside 2000 to 2136 are moved to the nearest.
    pub created: Time,
}

/// Writes a fixed disk, the kind that Azure takes: the bytes as they are, and a footer.
pub struct Fixed {
    raw: RawFile,
    options: Options,
}

impl Fixed {
    /// Takes an open, writable file and empties it. `path` is for messages.
    ///
    /// # Errors
    /// A size that the format or Azure refuses; the file cannot be emptied.
    pub fn new(file: File, path: impl Into<PathBuf>, options: &Options) -> Result<Self, Error> {
        format::check_size(options.size)?;
        let raw = RawFile::new(file, path, options.size + FOOTER_BYTES as u64)?;
        Ok(Self { raw, options: *options })
    }

    /// Writes what is left and the footer; `id` is the disk's identity.
    ///
    /// # Errors
    /// Those of the file.
    pub fn finish(mut self, id: Uuid) -> Result<File, Error> {
        let Options { size, created } = self.options;
        self.raw.data(size, &format::footer(size, FIXED, id, created))?;
        self.raw.finish()
    }

    fn check_end(&self, offset: u64, length: u64) -> Result<(), Error> {
        match offset.checked_add(length) {
            Some(end) if end <= self.options.size => Ok(()),
            end => Err(Error::TooSmall {
                what: "the data into the virtual hard disk".into(),
                needed: end.unwrap_or(u64::MAX),
                available: self.options.size,
            }),
        }
    }
}

impl Sink for Fixed {
    fn data(&mut self, offset: u64, bytes: &[u8]) -> Result<(), Error> {
        self.check_end(offset, bytes.len() as u64)?;
        self.raw.data(offset, bytes)
    }

    fn file(&mut self, offset: u64, file: &File, length: u64) -> Result<bool, Error> {
        self.check_end(offset, length)?;
        self.raw.file(offset, file, length)
    }
}

/// The footer of a fixed disk, for a stream that it ends.
///
/// # Errors
/// A size that the format or Azure refuses.
pub fn fixed_footer(options: &Options, id: Uuid) -> Result<[u8; FOOTER_BYTES], Error> {
    format::check_size(options.size)?;
    Ok(format::footer(options.size, FIXED, id, options.created))
}

/// Writes a dynamic disk: only the blocks of 2 MiB that hold something.
pub struct Dynamic {
    file: File,
    path: PathBuf,
    options: Options,
    /// First sector of each block in the file.
    table: Vec<u32>,
    /// Where the next block goes, in bytes.
    end: u64,
}

/// Bytes before the sectors of a block: a bit for each, made up to a sector.
const BITMAP_BYTES: u64 = (BLOCK_BYTES / SECTOR / 8).next_multiple_of(SECTOR);
const TABLE_AT: u64 = (FOOTER_BYTES + DYNAMIC_HEADER_BYTES) as u64;

impl Dynamic {
    /// Takes an open, writable file and empties it. `path` is for messages.
    ///
    /// # Errors
    /// A size that the format refuses; the file cannot be emptied.
    pub fn new(file: File, path: impl Into<PathBuf>, options: &Options) -> Result<Self, Error> {
        format::check_size(options.size)?;
        let path = path.into();
        empty(&file, &path)?;
        // At most 1,044,480 blocks, by the largest size.
        let table = vec![NO_BLOCK; options.size.div_ceil(BLOCK_BYTES) as usize];
        let end = TABLE_AT + (table.len() as u64 * 4).next_multiple_of(SECTOR);
        Ok(Self { file, path, options: *options, table, end })
    }

    /// Writes the tables and the footer; `id` is the disk's identity.
    ///
    /// # Errors
    /// Those of the file.
    pub fn finish(self, id: Uuid) -> Result<File, Error> {
        let Options { size, created } = self.options;
        let footer = format::footer(size, DYNAMIC, id, created);
        let blocks = u32::try_from(self.table.len()).map_err(|_| Error::Overflow("the number of blocks"))?;
        let mut table: Vec<u8> = self.table.iter().flat_map(|sector| sector.to_be_bytes()).collect();
        // What fills the table's last sector says that there are no blocks either.
        table.resize(table.len().next_multiple_of(SECTOR as usize), 0xff);
        self.write(0, &footer)?;
        self.write(FOOTER_BYTES as u64, &format::dynamic_header(TABLE_AT, blocks))?;
        self.write(TABLE_AT, &table)?;
        self.write(self.end, &footer)?;
        Ok(self.file)
    }

    fn write(&self, offset: u64, bytes: &[u8]) -> Result<(), Error> {
        let failed = |source: io::Error| Error::Io { action: "write", path: self.path.clone(), source };
        self.file.write_all_at(bytes, offset).map_err(failed)
    }

    /// The first byte of a block's sectors in the file; makes the block when it is not there.
    fn block(&mut self, number: u64) -> Result<u64, Error> {
        let at = usize::try_from(number).map_err(|_| Error::Overflow("the number of a block"))?;
        if self.table[at] == NO_BLOCK {
            let sector = u32::try_from(self.end / SECTOR).map_err(|_| Error::Overflow("the place of a block"))?;
            self.table[at] = sector;
            // Every sector of a block counts as written; what is not given reads as zeros.
            self.write(self.end, &[0xff; BITMAP_BYTES as usize])?;
            self.end += BITMAP_BYTES + BLOCK_BYTES;
        }
        Ok(u64::from(self.table[at]) * SECTOR + BITMAP_BYTES)
    }
}

impl Sink for Dynamic {
    fn data(&mut self, offset: u64, bytes: &[u8]) -> Result<(), Error> {
        let end = offset.checked_add(bytes.len() as u64).ok_or(Error::Overflow("the end of a write"))?;
        if end > self.options.size {
            return Err(Error::TooSmall {
                what: format!("the data into the {FORMAT} {}", self.path.display()),
                needed: end,
                available: self.options.size,
            });
        }
        let (mut offset, mut bytes) = (offset, bytes);
        while !bytes.is_empty() {
            let within = offset % BLOCK_BYTES;
            let (head, rest) = bytes.split_at(bytes.len().min((BLOCK_BYTES - within) as usize));
            if !is_zero(head) {
                let block = self.block(offset / BLOCK_BYTES)?;
                self.write(block + within, head)?;
            }
            (offset, bytes) = (offset + head.len() as u64, rest);
        }
        Ok(())
    }
}
