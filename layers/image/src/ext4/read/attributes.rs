//! Extended attributes as they are found.

use super::super::attribute::{BLOCK_CHECKSUM, BLOCK_HEADER, ENTRY, MAGIC, full_name, shown_value};
use super::super::bytes::{get16, get32};
use super::super::unsupported;
use super::{Node, Volume, damaged};
use crate::Error;

impl Volume<'_> {
    /// Reads the attributes in an inode, given the bytes behind its fields, and those in its block.
    pub(super) fn read_attributes(&self, node: &mut Node, inline: &[u8], offset: u64) -> Result<(), Error> {
        if get32(inline, 0) == MAGIC {
            read_list(node, inline, 4, 4, offset)?;
        }
        if node.attribute_block == 0 {
            return Ok(());
        }
        let place = self.offset(node.attribute_block)?;
        let mut bytes = self.block(node.attribute_block)?;
        if get32(&bytes, 0) != MAGIC || get32(&bytes, 8) != 1 {
            return Err(damaged(place, format!("the attributes of inode {} are not here", node.number)));
        }
        let found = get32(&bytes, BLOCK_CHECKSUM);
        bytes[BLOCK_CHECKSUM..BLOCK_CHECKSUM + 4].fill(0);
        let checksum = self.checksums.then(&node.attribute_block.to_le_bytes()).then(&bytes);
        if checksum.on() && checksum.value() != found {
            return Err(damaged(place, format!("the checksum of the attributes of inode {} is wrong", node.number)));
        }
        read_list(node, &bytes, BLOCK_HEADER, 0, place)
    }
}

/// Reads entries from `first` on; their values are counted from `base`.
fn read_list(node: &mut Node, bytes: &[u8], first: usize, base: usize, offset: u64) -> Result<(), Error> {
    let mut at = first;
    // Four zero bytes end the list, as does the end of its room.
    while at + 4 <= bytes.len() && get32(bytes, at) != 0 {
        let refuse = || damaged(offset, format!("inode {} has an extended attribute that cannot be", node.number));
        let entry = bytes.get(at..at + ENTRY).ok_or_else(refuse)?;
        let name_length = usize::from(entry[0]);
        let rest = bytes.get(at + ENTRY..at + ENTRY + name_length).ok_or_else(refuse)?;
        if get32(entry, 4) != 0 {
            return Err(unsupported(
                format!("an extended attribute of inode {}", node.number),
                "its value lies in an inode of its own",
            ));
        }
        let start = base + usize::from(get16(entry, 2));
        let length = usize::try_from(get32(entry, 8)).map_err(|_| refuse())?;
        let end = start.checked_add(length).ok_or_else(refuse)?;
        let value = if length == 0 { &[][..] } else { bytes.get(start..end).ok_or_else(refuse)? };
        let (Some(name), Some(value)) = (full_name(entry[1], rest), shown_value(entry[1], value)) else {
            return Err(unsupported(
                format!("the extended attribute {} of inode {}", rest.escape_ascii(), node.number),
                format!("its kind {} or its value is not known here", entry[1]),
            ));
        };
        node.meta.xattrs.insert(name.into(), value.into());
        at += (ENTRY + name_length).next_multiple_of(4);
    }
    Ok(())
}
