//! Directory records as they are found.

use layers::Time;

use super::super::format::{RECORD_BYTES, get_both32};
use super::super::{damaged, time};
use crate::Error;

/// A directory record (ECMA-119, 9.1).
#[derive(Clone, Copy, Debug)]
pub(super) struct Record<'b> {
    /// Where it lies in the image, in bytes.
    pub at: u64,
    /// First block.
    pub start: u32,
    /// Blocks of an extended attribute record, which lie before the data.
    pub attribute_blocks: u8,
    pub length: u32,
    pub time: Time,
    pub flags: u8,
    /// Whether the bytes lie in turns with those of another file.
    pub interleaved: bool,
    pub identifier: &'b [u8],
    pub system_use: &'b [u8],
}

impl<'b> Record<'b> {
    /// Reads the record at the start of these bytes, and gives its length.
    ///
    /// # Errors
    /// [`Error::Damaged`] when it does not fit into itself or into the bytes.
    pub(super) fn parse(bytes: &'b [u8], at: u64) -> Result<(Self, usize), Error> {
        let length = usize::from(bytes.first().copied().unwrap_or(0));
        let record = bytes.get(..length).filter(|record| record.len() > RECORD_BYTES);
        let Some(record) = record else {
            return Err(damaged(at, format!("a directory record of {length} bytes does not fit into its sector")));
        };
        let identifier_end = RECORD_BYTES + usize::from(record[32]);
        let Some(identifier) = record.get(RECORD_BYTES..identifier_end).filter(|identifier| !identifier.is_empty())
        else {
            return Err(damaged(at, "the identifier in a directory record is longer than the record, or empty"));
        };
        Ok((
            Self {
                at,
                start: get_both32(record, 2),
                attribute_blocks: record[1],
                length: get_both32(record, 10),
                time: time::from_short(&record[18..25]).unwrap_or_default(),
                flags: record[25],
                interleaved: record[26] != 0 || record[27] != 0,
                identifier,
                // Behind the identifier lies padding to an even place: its field begins at an odd one.
                system_use: record.get(identifier_end.next_multiple_of(2)..).unwrap_or(&[]),
            },
            length,
        ))
    }

    /// Whether it stands for the directory itself or the one above.
    pub(super) fn is_dot(&self) -> bool {
        matches!(self.identifier, [0] | [1])
    }
}
