//! Writes a dynamic VDI in one pass.

use std::fs::File;
use std::path::PathBuf;

use uuid::Uuid;

use super::format::{self, BLOCK_BYTES, FORMAT, HEADER_BYTES, field};
use crate::blocks::BlockFile;
use crate::bytes::put;
use crate::{Error, Sink};

/// What a VDI is made with.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Size of the disk in bytes; a multiple of 512, up to 16 TiB.
    pub size: u64,
}

/// Writes one VDI; a [`Sink`].
pub struct Writer {
    blocks: BlockFile,
    size: u64,
    data_at: u64,
}

impl Writer {
    /// Takes an open, writable file and empties it. `path` is for messages.
    ///
    /// # Errors
    /// A size that the format refuses; the file cannot be emptied.
    pub fn new(file: File, path: impl Into<PathBuf>, options: &Options) -> Result<Self, Error> {
        let size = options.size;
        if size == 0 || !size.is_multiple_of(512) || size > format::SIZE_MAX {
            return Err(Error::Unsupported {
                format: FORMAT,
                what: format!("a disk of {size} bytes"),
                reason: "the size must be a multiple of 512 bytes, up to 16 TiB".into(),
            });
        }
        // Blocks lie at whole MiB, as VirtualBox aligns them.
        let data_at = (HEADER_BYTES as u64 + size.div_ceil(BLOCK_BYTES) * 4).next_multiple_of(BLOCK_BYTES);
        let blocks = BlockFile::new(file, path.into(), size, BLOCK_BYTES, data_at)?;
        Ok(Self { blocks, size, data_at })
    }

    /// Writes header and map. `id` is the disk's identity; the other that a VDI has is made of it.
    ///
    /// # Errors
    /// Those of the file.
    pub fn finish(self, id: Uuid) -> Result<File, Error> {
        let count = self.blocks.places().len();
        let mut header = vec![0; HEADER_BYTES];
        put(&mut header, 0, b"<<< Oracle VM VirtualBox Disk Image >>>\n");
        let numbers = [
            (format::SIGNATURE_AT, format::SIGNATURE),
            (field::VERSION, format::VERSION),
            (field::HEADER_SIZE, format::HEADER1_PLUS_BYTES),
            (field::KIND, format::DYNAMIC),
            (field::MAP_AT, HEADER_BYTES as u32),
            // At most 65 MiB, by the largest disk.
            (field::DATA_AT, self.data_at as u32),
            (field::SECTOR_BYTES, 512),
            (field::BLOCK_BYTES, BLOCK_BYTES as u32),
            (field::BLOCKS, count as u32),
            (field::BLOCKS_ALLOCATED, self.blocks.count()),
        ];
        for (at, number) in numbers {
            put(&mut header, at, &number.to_le_bytes());
        }
        put(&mut header, field::DISK_BYTES, &self.size.to_le_bytes());
        put(&mut header, field::ID, &id.to_bytes_le());
        let snapshot = blake3::Hasher::new().update(id.as_bytes()).update(b"last snapshot").finalize();
        put(&mut header, field::LAST_SNAPSHOT_ID, &snapshot.as_bytes()[..16]);
        self.blocks.write(0, &header)?;
        let entry = |place: &Option<u32>| place.unwrap_or(format::BLOCK_FREE).to_le_bytes();
        let map: Vec<u8> = self.blocks.places().iter().flat_map(entry).collect();
        self.blocks.write(HEADER_BYTES as u64, &map)?;
        self.blocks.finish()
    }
}

impl Sink for Writer {
    fn data(&mut self, offset: u64, bytes: &[u8]) -> Result<(), Error> {
        self.blocks.data(offset, bytes)
    }
}
