//! Reads a virtual hard disk as the disk inside it. The file may be hostile: memory is bounded by
//! the block map, whose length the file's own bounds.

use std::ops::Range;

use super::format::{
    DYNAMIC, DYNAMIC_COOKIE, DYNAMIC_HEADER_BYTES, FIXED, FOOTER_BYTES, FOOTER_COOKIE, FORMAT, NO_BLOCK, SECTOR,
    SIZE_MAX, checksum,
};
use crate::Error;
use crate::bytes::Fields;
use crate::medium::Medium;

/// Most blocks that we map: those of the largest disk with blocks of 128 KiB, a quarter of the
/// smallest in use. 64 MiB of memory.
const BLOCKS_MAX: u64 = 16 << 20;

/// The disk inside a VHD file.
pub struct Reader<M> {
    file: M,
    size: u64,
    /// The map of a dynamic disk.
    blocks: Option<Blocks>,
}

struct Blocks {
    bytes: u64,
    bitmap_bytes: u64,
    table: Vec<u32>,
}

impl Blocks {
    /// The first sector of a block in the file.
    fn entry(&self, number: u64) -> u32 {
        usize::try_from(number).ok().and_then(|at| self.table.get(at)).copied().unwrap_or(NO_BLOCK)
    }
}

fn damaged(offset: u64, reason: impl Into<String>) -> Error {
    Error::Damaged { format: FORMAT, offset, reason: reason.into() }
}

/// Whether the structure's checksum, in the four bytes at `at`, is right.
fn is_sound(bytes: &[u8], at: usize) -> bool {
    let mut zeroed = bytes.to_vec();
    zeroed[at..at + 4].fill(0);
    checksum(&zeroed) == Fields(bytes).u32_be(at)
}

impl<M: Medium> Reader<M> {
    /// Reads the footer and, of a dynamic disk, the map.
    ///
    /// # Errors
    /// [`Error::Damaged`] for what contradicts the format, [`Error::Unsupported`] for
    /// differencing disks.
    pub fn open(file: M) -> Result<Self, Error> {
        let at = file.size().saturating_sub(FOOTER_BYTES as u64);
        let mut footer = [0; FOOTER_BYTES];
        file.read_at(at, &mut footer)?;
        let fields = Fields(&footer);
        if fields.bytes::<8>(0) != *FOOTER_COOKIE || !is_sound(&footer, 64) {
            return Err(damaged(at, "there is no sound footer"));
        }
        let size = fields.u64_be(48);
        if size > SIZE_MAX {
            return Err(damaged(at + 48, format!("a disk of {size} bytes is not possible")));
        }
        match fields.u32_be(60) {
            FIXED if size > at => Err(damaged(at + 48, format!("the disk of {size} bytes is longer than the file"))),
            FIXED => Ok(Self { file, size, blocks: None }),
            DYNAMIC => {
                let blocks = read_map(&file, fields.u64_be(16), size)?;
                Ok(Self { file, size, blocks: Some(blocks) })
            }
            kind => Err(Error::Unsupported {
                format: FORMAT,
                what: format!("disk type {kind}"),
                reason: "only fixed and dynamic disks are supported".into(),
            }),
        }
    }
}

fn read_map(file: &dyn Medium, at: u64, size: u64) -> Result<Blocks, Error> {
    let mut header = [0; DYNAMIC_HEADER_BYTES];
    file.read_at(at, &mut header)?;
    let fields = Fields(&header);
    if fields.bytes::<8>(0) != *DYNAMIC_COOKIE || !is_sound(&header, 36) {
        return Err(damaged(at, "there is no sound header of a dynamic disk"));
    }
    let (table_at, count, bytes) = (fields.u64_be(16), fields.u32_be(28), u64::from(fields.u32_be(32)));
    if !bytes.is_power_of_two() || bytes < SECTOR || u64::from(count).saturating_mul(bytes) < size {
        return Err(damaged(at, format!("{count} blocks of {bytes} bytes do not hold the disk")));
    }
    // Only the blocks of the disk are read; the file must hold them before memory is taken.
    let used = size.div_ceil(bytes);
    if used > BLOCKS_MAX {
        return Err(damaged(at, format!("blocks of {bytes} bytes are too small for the disk")));
    }
    if table_at.checked_add(used * 4).is_none_or(|end| end > file.size()) {
        return Err(damaged(table_at, "the block map goes past the end of the file"));
    }
    let mut table = vec![0; used as usize * 4];
    file.read_at(table_at, &mut table)?;
    let table = table.chunks_exact(4).map(|entry| Fields(entry).u32_be(0)).collect();
    Ok(Blocks { bytes, bitmap_bytes: (bytes / SECTOR).div_ceil(8).next_multiple_of(SECTOR), table })
}

impl<M: Medium> Reader<M> {
    /// Fills `buffer` with bytes of one block that is there.
    fn read_block(&self, blocks: &Blocks, entry: u32, within: u64, buffer: &mut [u8]) -> Result<(), Error> {
        let block = u64::from(entry) * SECTOR;
        let first = within / SECTOR;
        let last = (within + buffer.len() as u64 - 1) / SECTOR;
        let mut bits = vec![0; (last / 8 - first / 8 + 1) as usize];
        self.file.read_at(block + first / 8, &mut bits)?;
        let is_there = |sector: u64| bits[(sector / 8 - first / 8) as usize] & (0x80 >> (sector % 8)) != 0;
        let (mut within, mut rest) = (within, buffer);
        while !rest.is_empty() {
            // Sectors that are there, or are not, at once.
            let sector = within / SECTOR;
            let end = (sector + 1..=last).find(|&next| is_there(next) != is_there(sector)).unwrap_or(last + 1);
            let (head, tail) = rest.split_at_mut(rest.len().min((end * SECTOR - within) as usize));
            if is_there(sector) {
                self.file.read_at(block + blocks.bitmap_bytes + within, head)?;
            } else {
                head.fill(0);
            }
            (within, rest) = (within + head.len() as u64, tail);
        }
        Ok(())
    }
}

impl<M: Medium> Medium for Reader<M> {
    fn size(&self) -> u64 {
        self.size
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), Error> {
        if offset.checked_add(buffer.len() as u64).is_none_or(|end| end > self.size) {
            return Err(damaged(offset, "the disk inside ends before the bytes asked for"));
        }
        let Some(blocks) = &self.blocks else {
            return self.file.read_at(offset, buffer);
        };
        let (mut offset, mut rest) = (offset, buffer);
        while !rest.is_empty() {
            let within = offset % blocks.bytes;
            let (head, tail) = rest.split_at_mut(rest.len().min((blocks.bytes - within) as usize));
            match blocks.entry(offset / blocks.bytes) {
                NO_BLOCK => head.fill(0),
                entry => self.read_block(blocks, entry, within, head)?,
            }
            (offset, rest) = (offset + head.len() as u64, tail);
        }
        Ok(())
    }

    fn data_from(&self, offset: u64) -> Result<Option<Range<u64>>, Error> {
        let Some(blocks) = &self.blocks else {
            let found = self.file.data_from(offset)?;
            let within = found.map(|range| range.start..range.end.min(self.size));
            return Ok(within.filter(|range| range.start < range.end));
        };
        let end = self.size.div_ceil(blocks.bytes);
        let first = (offset / blocks.bytes..end).find(|&number| blocks.entry(number) != NO_BLOCK);
        let found = first.map(|first| (first * blocks.bytes).max(offset)..((first + 1) * blocks.bytes).min(self.size));
        // The disk may end within its last block.
        Ok(found.filter(|range| range.start < range.end))
    }
}
