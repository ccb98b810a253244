//! Writes a dynamic VHDX in one pass: headers, an empty log, metadata and the block map take
//! their places at the beginning, blocks follow in the order in which they come.

use std::fs::File;
use std::path::PathBuf;

use uuid::Uuid;

use super::format::{self, FORMAT, MIB};
use crate::blocks::BlockFile;
use crate::bytes::put;
use crate::{Error, Sink};

/// Entries of the block map that are not exceeded where larger blocks help: 32 MiB of memory.
const BLOCKS_MAX: u64 = 4 << 20;
/// Sectors that the disk shows, in bytes: what every system boots from.
const SECTOR_BYTES: u32 = 512;
/// Places in the file, in bytes.
const LOG_AT: u64 = MIB;
const METADATA_AT: u64 = 2 * MIB;
const BAT_AT: u64 = 3 * MIB;
/// Items begin behind the metadata table, which is 64 KiB long.
const ITEMS_AT: u32 = 64 << 10;

/// What a VHDX is made with.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Size of the disk in bytes; a multiple of 512, up to 64 TiB.
    pub size: u64,
}

/// Writes one VHDX; a [`Sink`].
pub struct Writer {
    blocks: BlockFile,
    size: u64,
    block_bytes: u64,
    bat_bytes: u64,
}

impl Writer {
    /// Takes an open, writable file and empties it. `path` is for messages.
    ///
    /// # Errors
    /// A size that the format refuses; the file cannot be emptied.
    pub fn new(file: File, path: impl Into<PathBuf>, options: &Options) -> Result<Self, Error> {
        let size = options.size;
        if size == 0 || !size.is_multiple_of(u64::from(SECTOR_BYTES)) || size > format::SIZE_MAX {
            return Err(Error::Unsupported {
                format: FORMAT,
                what: format!("a disk of {size} bytes"),
                reason: "the size must be a multiple of 512 bytes, up to 64 TiB".into(),
            });
        }
        // Small blocks, as Microsoft advises for the file systems of Linux.
        let mut block_bytes = MIB;
        while size.div_ceil(block_bytes) > BLOCKS_MAX {
            block_bytes *= 2;
        }
        let blocks = size.div_ceil(block_bytes);
        let entries = blocks + (blocks - 1) / format::chunk_ratio(u64::from(SECTOR_BYTES), block_bytes);
        let bat_bytes = (entries * 8).next_multiple_of(MIB);
        let blocks = BlockFile::new(file, path.into(), size, block_bytes, BAT_AT + bat_bytes)?;
        Ok(Self { blocks, size, block_bytes, bat_bytes })
    }

    /// Writes what comes before the blocks. `id` is the disk's identity; those of the file are
    /// made of it.
    ///
    /// # Errors
    /// Those of the file.
    pub fn finish(self, id: Uuid) -> Result<File, Error> {
        let mut identifier = [0; 4096];
        put(&mut identifier, 0, format::MAGIC);
        for (at, unit) in "image-composer".encode_utf16().enumerate() {
            put(&mut identifier, 8 + 2 * at, &unit.to_le_bytes());
        }
        self.blocks.write(0, &identifier)?;
        for (number, at) in (1u64..).zip(format::HEADERS_AT) {
            self.blocks.write(at, &header(number, id))?;
        }
        for at in format::REGION_TABLES_AT {
            self.blocks.write(at, &self.region_table()?)?;
        }
        self.blocks.write(METADATA_AT, &self.metadata(id))?;
        self.blocks.write(BAT_AT, &self.block_map())?;
        self.blocks.finish()
    }

    fn region_table(&self) -> Result<Vec<u8>, Error> {
        let bat_bytes = u32::try_from(self.bat_bytes).map_err(|_| Error::Overflow("the size of the block map"))?;
        let mut table = vec![0; format::TABLE_BYTES];
        put(&mut table, 0, b"regi");
        put(&mut table, 8, &2u32.to_le_bytes());
        let regions = [(format::BAT, BAT_AT, bat_bytes), (format::METADATA, METADATA_AT, MIB as u32)];
        for (number, (region, at, length)) in regions.into_iter().enumerate() {
            let entry = 16 + 32 * number;
            put(&mut table, entry, &region.to_bytes_le());
            put(&mut table, entry + 16, &at.to_le_bytes());
            put(&mut table, entry + 24, &length.to_le_bytes());
            // Required.
            put(&mut table, entry + 28, &1u32.to_le_bytes());
        }
        format::seal(&mut table);
        Ok(table)
    }

    /// The metadata region (section 2.6).
    fn metadata(&self, id: Uuid) -> Vec<u8> {
        // At most 256 MiB, and no flags: blocks may be freed, there is no parent.
        let parameters = self.block_bytes.to_le_bytes();
        let of_disk = format::IS_VIRTUAL_DISK | format::IS_REQUIRED;
        let items: [(Uuid, &[u8], u32); 5] = [
            (format::FILE_PARAMETERS, &parameters, format::IS_REQUIRED),
            (format::DISK_SIZE, &self.size.to_le_bytes(), of_disk),
            (format::DISK_ID, &id.to_bytes_le(), of_disk),
            (format::LOGICAL_SECTOR, &SECTOR_BYTES.to_le_bytes(), of_disk),
            // As most disks have it.
            (format::PHYSICAL_SECTOR, &4096u32.to_le_bytes(), of_disk),
        ];
        let mut region = vec![0; ITEMS_AT as usize + 4096];
        put(&mut region, 0, b"metadata");
        put(&mut region, 10, &(items.len() as u16).to_le_bytes());
        let mut at = ITEMS_AT;
        for (number, (item, bytes, flags)) in items.into_iter().enumerate() {
            let entry = 32 + 32 * number;
            put(&mut region, entry, &item.to_bytes_le());
            put(&mut region, entry + 16, &at.to_le_bytes());
            put(&mut region, entry + 20, &(bytes.len() as u32).to_le_bytes());
            put(&mut region, entry + 24, &flags.to_le_bytes());
            put(&mut region, at as usize, bytes);
            at += bytes.len() as u32;
        }
        region
    }

    fn block_map(&self) -> Vec<u8> {
        let ratio = format::chunk_ratio(u64::from(SECTOR_BYTES), self.block_bytes);
        let base = BAT_AT + self.bat_bytes;
        let mut map = Vec::with_capacity(self.blocks.places().len() * 8);
        for (number, place) in (0u64..).zip(self.blocks.places()) {
            // A disk without a parent has no sector bitmaps, but their entries.
            if number != 0 && number.is_multiple_of(ratio) {
                map.extend_from_slice(&[0; 8]);
            }
            // Bits 20 to 63 are the place in MiB: the place itself, as it is a whole number of them.
            let entry = place.map_or(0, |at| (base + u64::from(at) * self.block_bytes) | format::FULLY_PRESENT);
            map.extend_from_slice(&entry.to_le_bytes());
        }
        map
    }
}

/// A header (section 2.2.2); the one with the larger number counts.
fn header(number: u64, id: Uuid) -> Vec<u8> {
    let mut bytes = vec![0; format::HEADER_BYTES];
    put(&mut bytes, 0, b"head");
    put(&mut bytes, 8, &number.to_le_bytes());
    for (at, what) in [(16, "file write"), (32, "data write")] {
        let mut hasher = blake3::Hasher::new();
        hasher.update(id.as_bytes()).update(what.as_bytes());
        put(&mut bytes, at, &hasher.finalize().as_bytes()[..16]);
    }
    // No log is to be replayed: its GUID, at 48, is zero.
    put(&mut bytes, 66, &1u16.to_le_bytes());
    put(&mut bytes, 68, &(MIB as u32).to_le_bytes());
    put(&mut bytes, 72, &LOG_AT.to_le_bytes());
    format::seal(&mut bytes);
    bytes
}

impl Sink for Writer {
    fn data(&mut self, offset: u64, bytes: &[u8]) -> Result<(), Error> {
        self.blocks.data(offset, bytes)
    }
}
