//! Reads a VDI as the disk inside it. The file may be hostile: of its map one page is in memory.

use std::ops::Range;

use super::format::{self, FORMAT, HEADER_BYTES, field};
use crate::blocks::{BlockMap, Pages, Place};
use crate::bytes::Fields;
use crate::medium::{Medium, read_padded};
use crate::{Error, blocks};

/// The disk inside a VDI.
pub struct Reader<M> {
    file: M,
    size: u64,
    block_bytes: u64,
    /// Bytes before the data of each block.
    extra: u64,
    data_at: u64,
    map_at: u64,
    map: Pages,
}

fn damaged(offset: usize, reason: impl Into<String>) -> Error {
    Error::Damaged { format: FORMAT, offset: offset as u64, reason: reason.into() }
}

impl<M: Medium> Reader<M> {
    /// Reads the header.
    ///
    /// # Errors
    /// [`Error::Damaged`] for what contradicts the format, [`Error::Unsupported`] for
    /// differencing images and other versions.
    pub fn open(file: M) -> Result<Self, Error> {
        let mut header = [0; HEADER_BYTES];
        file.read_at(0, &mut header)?;
        let fields = Fields(&header);
        if fields.u32_le(format::SIGNATURE_AT) != format::SIGNATURE {
            return Err(damaged(format::SIGNATURE_AT, "there is no signature of a VDI"));
        }
        let unsupported = |what, reason: &str| Error::Unsupported { format: FORMAT, what, reason: reason.into() };
        let version = fields.u32_le(field::VERSION);
        if version != format::VERSION {
            return Err(unsupported(format!("version {version:#x}"), "only version 1.1 is supported"));
        }
        let kind = fields.u32_le(field::KIND);
        if kind != format::DYNAMIC && kind != format::STATIC {
            let reason = "only dynamic and static images are supported; clone it in VirtualBox first";
            return Err(unsupported(format!("an image of type {kind}"), reason));
        }
        let size = fields.u64_le(field::DISK_BYTES);
        let block_bytes = u64::from(fields.u32_le(field::BLOCK_BYTES));
        if !block_bytes.is_power_of_two() || block_bytes < 512 {
            return Err(damaged(field::BLOCK_BYTES, format!("blocks of {block_bytes} bytes are not possible")));
        }
        let count = u64::from(fields.u32_le(field::BLOCKS));
        if count > format::BLOCKS_MAX || count * block_bytes < size {
            return Err(damaged(field::BLOCKS, format!("{count} blocks for a disk of {size} bytes are not possible")));
        }
        let map_at = u64::from(fields.u32_le(field::MAP_AT));
        if map_at + size.div_ceil(block_bytes) * 4 > file.size() {
            return Err(damaged(field::MAP_AT, "the map goes past the end of the file"));
        }
        Ok(Self {
            file,
            size,
            block_bytes,
            extra: u64::from(fields.u32_le(field::BLOCK_EXTRA)),
            data_at: u64::from(fields.u32_le(field::DATA_AT)),
            map_at,
            map: Pages::default(),
        })
    }
}

impl<M: Medium> BlockMap for Reader<M> {
    const FORMAT: &'static str = FORMAT;

    fn disk_bytes(&self) -> u64 {
        self.size
    }

    fn block_bytes(&self) -> u64 {
        self.block_bytes
    }

    fn place(&self, number: u64) -> Result<Place, Error> {
        let entry = u32::from_le_bytes(self.map.read(&self.file, self.map_at + number * 4)?);
        if entry >= format::NO_BLOCK_FROM {
            return Ok(Place::Zeros(1));
        }
        let block =
            u128::from(entry) * u128::from(self.block_bytes + self.extra) + u128::from(self.data_at + self.extra);
        u64::try_from(block).map(Place::At).map_err(|_| Error::Overflow("the place of a block"))
    }

    fn read_block(&self, place: u64, within: u64, buffer: &mut [u8]) -> Result<(), Error> {
        read_padded(&self.file, FORMAT, place.saturating_add(within), buffer)
    }
}

impl<M: Medium> Medium for Reader<M> {
    fn size(&self) -> u64 {
        self.size
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), Error> {
        blocks::read_at(self, offset, buffer)
    }

    fn data_from(&self, offset: u64) -> Result<Option<Range<u64>>, Error> {
        blocks::data_from(self, offset)
    }
}
