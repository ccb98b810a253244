//! The names in a directory: runs behind headers, and an index for directories that take more
//! than one block (binary format, "Directory Table").

use std::io;

use super::format::{METADATA_BYTES, Place, RUN_MAX};
use super::metadata::Table;
use crate::Error;

/// Length of the header of a run, and of an entry without its name, in bytes.
const HEADER: usize = 12;
const ENTRY: usize = 8;
/// Most entries in the index of a directory.
const INDEX_MAX: usize = u16::MAX as usize;

/// A name in a directory.
pub(super) struct Item<'a> {
    pub name: &'a [u8],
    /// The number of its inode.
    pub number: u32,
    /// The number of its basic type.
    pub kind: u16,
    /// Where its inode is.
    pub place: Place,
}

/// Where a block of a directory begins, for whoever looks for a name.
pub(super) struct Landmark<'a> {
    /// Bytes of the listing before it.
    pub before: u32,
    /// Its block, from the start of the table.
    pub block: u32,
    /// The first name behind it.
    pub name: &'a [u8],
}

/// A directory that was written.
pub(super) struct Listing<'a> {
    pub place: Place,
    /// Bytes.
    pub length: u32,
    pub index: Vec<Landmark<'a>>,
}

/// How many of the items share the header that comes next at `offset` of a block.
fn run(items: &[Item<'_>], offset: u16) -> usize {
    let Some(first) = items.first() else { return 0 };
    let mut at = usize::from(offset) + HEADER;
    let mut count = 0;
    for item in items.iter().take(RUN_MAX) {
        let distance = i64::from(item.number) - i64::from(first.number);
        let fits = item.place.block == first.place.block && i16::try_from(distance).is_ok();
        // A new block begins with a header, which the index can then name.
        if count > 0 && (!fits || at >= METADATA_BYTES) {
            break;
        }
        at += ENTRY + item.name.len();
        count += 1;
    }
    count
}

/// Writes the names of a directory, which are in order.
pub(super) fn put<'a>(
    table: &mut Table,
    mut items: &[Item<'a>],
    failed: impl Fn(io::Error) -> Error,
) -> Result<Listing<'a>, Error> {
    let start = table.place();
    let mut index = Vec::new();
    let (mut length, mut block) = (0usize, start.block);
    while let Some(first) = items.first() {
        let here = table.place();
        let before = u32::try_from(length).map_err(|_| Error::Overflow("the length of a directory"))?;
        if here.block != block {
            index.push(Landmark { before, block: here.short_block()?, name: first.name });
            block = here.block;
        }
        let (now, rest) = items.split_at(run(items, here.offset));
        let mut bytes = Vec::with_capacity(HEADER + now.len() * 32);
        // At most 256, written as one less.
        bytes.extend((now.len() as u32 - 1).to_le_bytes());
        bytes.extend(first.place.short_block()?.to_le_bytes());
        bytes.extend(first.number.to_le_bytes());
        for item in now {
            bytes.extend(item.place.offset.to_le_bytes());
            // A run holds what fits into 16 bits with a sign.
            bytes.extend((item.number.wrapping_sub(first.number) as u16).to_le_bytes());
            bytes.extend(item.kind.to_le_bytes());
            // Names have 1 to 255 bytes.
            bytes.extend((item.name.len() as u16 - 1).to_le_bytes());
            bytes.extend(item.name);
        }
        table.put(&bytes).map_err(&failed)?;
        length += bytes.len();
        items = rest;
    }
    let step = index.len().div_ceil(INDEX_MAX).max(1);
    let index = index.into_iter().step_by(step).collect();
    let length = u32::try_from(length).map_err(|_| Error::Overflow("the length of a directory"))?;
    Ok(Listing { place: start, length, index })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(number: u32, block: u64) -> Item<'static> {
        Item { name: b"name", number, kind: 2, place: Place { block, offset: 0 } }
    }

    #[test]
    fn a_run_ends_where_its_header_cannot_say_more() {
        assert_eq!(run(&[], 0), 0);
        let same: Vec<_> = (0..300).map(|_| item(1, 0)).collect();
        assert_eq!(run(&same, 0), 256);
        assert_eq!(run(&[item(1, 0), item(2, 0), item(3, 9)], 0), 2);
        assert_eq!(run(&[item(1, 0), item(32768, 0), item(32769, 0)], 0), 2);
        assert_eq!(run(&[item(1, 0), item(32770, 0)], 0), 1);
        assert_eq!(run(&[item(40000, 0), item(1, 0)], 0), 1);
        // Entries have 12 bytes: the second begins where the block does.
        assert_eq!(run(&same, 8192 - 12 - 12), 1);
        assert_eq!(run(&same, 8192 - 12 - 13), 2);
        assert_eq!(run(&same, 8191), 1);
    }
}
