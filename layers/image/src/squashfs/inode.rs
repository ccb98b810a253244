//! Inodes: the basic form where it will do, else the extended one (binary format, "Inode Table").

use super::data::Located;
use super::directory::Listing;
use super::format::{DOTS, EXTENDED, NONE};
use super::inventory::{Node, What};
use crate::Error;

/// What is known of a node besides itself when its inode is written.
pub(super) enum Known<'a> {
    /// Nothing more.
    Node,
    /// Where the bytes of a file lie, and how many there are.
    File(&'a Located, u64),
    /// The names of a directory, and the number of the directory it is in.
    Directory(&'a Listing<'a>, u32),
}

/// The bytes of an inode.
pub(super) fn encode(node: &Node<'_>, number: u32, known: &Known<'_>) -> Result<Vec<u8>, Error> {
    let attributes = node.attributes.unwrap_or(NONE);
    let mut body = Vec::with_capacity(64);
    let extended = match known {
        Known::File(located, size) => put_file(&mut body, node, attributes, located, *size),
        Known::Directory(listing, parent) => put_directory(&mut body, node, attributes, listing, *parent)?,
        Known::Node => {
            body.extend(node.links.to_le_bytes());
            match &node.what {
                What::Symlink(target) => {
                    // At most 4095.
                    body.extend((target.len() as u32).to_le_bytes());
                    body.extend(*target);
                }
                What::Device { numbers, .. } => body.extend(numbers.to_le_bytes()),
                What::Fifo | What::Socket | What::File(_) | What::Directory => {}
            }
            if node.attributes.is_some() {
                body.extend(attributes.to_le_bytes());
            }
            node.attributes.is_some()
        }
    };
    let kind = node.what.number() + if extended { EXTENDED } else { 0 };
    let mut bytes = Vec::with_capacity(16 + body.len());
    for half in [kind, node.mode, node.owners.0, node.owners.1] {
        bytes.extend(half.to_le_bytes());
    }
    bytes.extend(node.mtime.to_le_bytes());
    bytes.extend(number.to_le_bytes());
    bytes.extend(body);
    Ok(bytes)
}

/// Gives whether it needed the extended form.
fn put_file(body: &mut Vec<u8>, node: &Node<'_>, attributes: u32, located: &Located, size: u64) -> bool {
    let (fragment, offset) = located.fragment.unwrap_or((NONE, 0));
    let short = u32::try_from(located.start).ok().zip(u32::try_from(size).ok());
    let basic = short.filter(|_| node.links == 1 && node.attributes.is_none() && located.sparse == 0);
    match basic {
        Some((start, size)) => {
            for word in [start, fragment, offset, size] {
                body.extend(word.to_le_bytes());
            }
        }
        None => {
            // The kernel counts blocks from what is left; mksquashfs leaves one byte as well.
            for long in [located.start, size, located.sparse.min(size.saturating_sub(1))] {
                body.extend(long.to_le_bytes());
            }
            for word in [node.links, fragment, offset, attributes] {
                body.extend(word.to_le_bytes());
            }
        }
    }
    body.extend(located.blocks.iter().flat_map(|word| word.to_le_bytes()));
    basic.is_none()
}

/// Gives whether it needed the extended form.
fn put_directory(
    body: &mut Vec<u8>,
    node: &Node<'_>,
    attributes: u32,
    listing: &Listing<'_>,
    parent: u32,
) -> Result<bool, Error> {
    let block = listing.place.short_block()?;
    let length = listing.length.checked_add(DOTS).ok_or(Error::Overflow("the length of a directory"))?;
    let offset = listing.place.offset.to_le_bytes();
    let basic = u16::try_from(length).ok().filter(|_| node.attributes.is_none() && listing.index.is_empty());
    if let Some(length) = basic {
        body.extend(block.to_le_bytes());
        body.extend(node.links.to_le_bytes());
        body.extend(length.to_le_bytes());
        body.extend(offset);
        body.extend(parent.to_le_bytes());
        return Ok(false);
    }
    for word in [node.links, length, block, parent] {
        body.extend(word.to_le_bytes());
    }
    // Thinned out to 16 bits when it was made.
    body.extend((listing.index.len() as u16).to_le_bytes());
    body.extend(offset);
    body.extend(attributes.to_le_bytes());
    for landmark in &listing.index {
        body.extend(landmark.before.to_le_bytes());
        body.extend(landmark.block.to_le_bytes());
        // Names have 1 to 255 bytes.
        body.extend((landmark.name.len() as u32 - 1).to_le_bytes());
        body.extend(landmark.name);
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_extended_where_32_bits_do_not_hold_it() {
        let node =
            Node { mode: 0o644, owners: (0, 0), mtime: 0, links: 1, attributes: None, what: What::File(Some(0)) };
        let kind = |start, size| {
            let located = Located { start, ..Located::default() };
            let bytes = encode(&node, 1, &Known::File(&located, size)).unwrap();
            (bytes[0], bytes.len())
        };
        assert_eq!(kind(u32::MAX.into(), u32::MAX.into()), (2, 32));
        assert_eq!(kind(1 << 32, 1), (9, 56));
        assert_eq!(kind(1, 1 << 32), (9, 56));
    }
}
