//! Extended attributes, in the inode and in a block of their own (ext4 docs, "Extended Attributes").

use std::collections::BTreeMap;

use layers::TreePath;

use super::bytes::{get16, get32, put16, put32};
use super::inode::{CLASSIC_BYTES, EXTRA_BYTES};
use super::unsupported;
use crate::Error;

/// Marks attributes, in the inode and in a block.
pub(super) const MAGIC: u32 = 0xea02_0000;
/// Bytes of a block's header.
pub(super) const BLOCK_HEADER: usize = 32;
/// Place of the checksum in a block, bytes.
pub(super) const BLOCK_CHECKSUM: usize = 0x10;
/// Bytes of an entry before its name.
pub(super) const ENTRY: usize = 16;
/// Bytes of the end of a list of entries.
const END: usize = 4;

const ACL_ACCESS: u8 = 2;
const ACL_DEFAULT: u8 = 3;
/// Prefixes that are numbers on disk; the longest match comes first.
const PREFIXES: [(&[u8], u8); 5] = [
    (b"system.posix_acl_access", ACL_ACCESS),
    (b"system.posix_acl_default", ACL_DEFAULT),
    (b"security.", 6),
    (b"trusted.", 4),
    (b"user.", 1),
];

/// One attribute as it will lie on disk; the order is that of a block's entries.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Attribute {
    prefix: u8,
    length: usize,
    name: Vec<u8>,
    value: Vec<u8>,
}

impl Attribute {
    fn bytes(&self) -> usize {
        (ENTRY + self.name.len()).next_multiple_of(4) + self.value.len().next_multiple_of(4)
    }
}

/// Attributes of one file, encoded.
#[derive(Default)]
pub(super) struct Encoded {
    /// What lies in the inode, from its magic number on; empty if there is nothing.
    pub inline: Box<[u8]>,
    /// What lies in a block, its checksum still zero.
    pub block: Option<Vec<u8>>,
}

/// Encodes the attributes of a file: those that fit into the inode lie there, in order, the
/// others in a block.
pub(super) fn encode(
    xattrs: &BTreeMap<Box<[u8]>, Box<[u8]>>,
    inode_size: u32,
    block_size: u32,
    path: &TreePath,
) -> Result<Encoded, Error> {
    if xattrs.is_empty() {
        return Ok(Encoded::default());
    }
    let mut attributes = Vec::with_capacity(xattrs.len());
    for (name, value) in xattrs {
        attributes.push(attribute(name, value, path)?);
    }
    attributes.sort();
    let inline_bytes = inode_size as usize - CLASSIC_BYTES - usize::from(EXTRA_BYTES);
    let mut room = inline_bytes.saturating_sub(4 + END);
    let mut inside = Vec::new();
    let mut outside = Vec::new();
    for attribute in attributes {
        match room.checked_sub(attribute.bytes()) {
            Some(left) => {
                room = left;
                inside.push(attribute);
            }
            None => outside.push(attribute),
        }
    }
    let mut encoded = Encoded::default();
    if !inside.is_empty() {
        let mut bytes = vec![0; inline_bytes];
        put32(&mut bytes, 0, MAGIC);
        // Values are counted from the first entry; hashes are for blocks alone.
        place(&inside, &mut bytes, 4, 4, false);
        encoded.inline = bytes.into();
    }
    if !outside.is_empty() {
        let needed: usize = outside.iter().map(Attribute::bytes).sum();
        let block = block_size as usize;
        if needed + BLOCK_HEADER + END > block {
            return Err(unsupported(
                format!("the extended attributes of {path}"),
                format!("they need {needed} bytes and a block of {block} bytes holds all that an inode does not"),
            ));
        }
        let mut bytes = vec![0; block];
        put32(&mut bytes, 0x00, MAGIC);
        // One inode refers to it; it is one block.
        put32(&mut bytes, 0x04, 1);
        put32(&mut bytes, 0x08, 1);
        let hash = place(&outside, &mut bytes, BLOCK_HEADER, 0, true);
        put32(&mut bytes, 0x0c, hash);
        encoded.block = Some(bytes);
    }
    Ok(encoded)
}

/// Places entries from `first` on upwards and values from the end downwards; gives the hash of all.
fn place(attributes: &[Attribute], bytes: &mut [u8], first: usize, base: usize, hashed: bool) -> u32 {
    let mut at = first;
    let mut end = bytes.len();
    let mut all = 0u32;
    for attribute in attributes {
        let length = attribute.value.len();
        let mut offset = 0;
        if length > 0 {
            end -= length.next_multiple_of(4);
            bytes[end..end + length].copy_from_slice(&attribute.value);
            offset = end - base;
        }
        // A block has at most 4096 bytes and a name 255, so that all these fit.
        bytes[at] = attribute.name.len() as u8;
        bytes[at + 1] = attribute.prefix;
        put16(bytes, at + 2, offset as u16);
        put32(bytes, at + 8, length as u32);
        if hashed {
            let hash = hash(&attribute.name, &attribute.value);
            put32(bytes, at + 12, hash);
            all = all.rotate_left(16) ^ hash;
        }
        bytes[at + ENTRY..at + ENTRY + attribute.name.len()].copy_from_slice(&attribute.name);
        at += (ENTRY + attribute.name.len()).next_multiple_of(4);
    }
    all
}

/// The hash of an attribute of a block (Linux, `ext4_xattr_hash_entry`).
fn hash(name: &[u8], value: &[u8]) -> u32 {
    let hash = name.iter().fold(0u32, |hash, &byte| hash.rotate_left(5) ^ u32::from(byte));
    value.chunks(4).fold(hash, |hash, chunk| {
        let mut word = [0; 4];
        word[..chunk.len()].copy_from_slice(chunk);
        hash.rotate_left(16) ^ u32::from_le_bytes(word)
    })
}

fn attribute(name: &[u8], value: &[u8], path: &TreePath) -> Result<Attribute, Error> {
    let refuse =
        |reason: &str| unsupported(format!("the extended attribute {} of {path}", name.escape_ascii()), reason);
    let (prefix, rest) = PREFIXES
        .iter()
        .find_map(|(text, number)| Some((*number, name.strip_prefix(*text)?)))
        .ok_or_else(|| refuse("its name begins with none of user., trusted., security. and system.posix_acl_"))?;
    let is_acl = prefix == ACL_ACCESS || prefix == ACL_DEFAULT;
    if is_acl != rest.is_empty() || rest.len() > 255 {
        return Err(refuse("its name is not one that Linux accepts"));
    }
    let value = if is_acl {
        pack_acl(value).ok_or_else(|| refuse("its value is not an access control list of version 2"))?
    } else {
        value.to_vec()
    };
    Ok(Attribute { prefix, length: rest.len(), name: rest.to_vec(), value })
}

/// The name of an attribute as Linux shows it.
pub(super) fn full_name(prefix: u8, rest: &[u8]) -> Option<Vec<u8>> {
    let (text, _) = PREFIXES.iter().find(|(_, number)| *number == prefix)?;
    Some([text, rest].concat())
}

/// The value of an attribute as Linux shows it.
pub(super) fn shown_value(prefix: u8, value: &[u8]) -> Option<Vec<u8>> {
    if prefix == ACL_ACCESS || prefix == ACL_DEFAULT { unpack_acl(value) } else { Some(value.to_vec()) }
}

/// A named user or group: only these have an id in ext4's form (POSIX 1003.1e, `ACL_USER`, `ACL_GROUP`).
fn has_id(tag: u16) -> bool {
    tag == 0x02 || tag == 0x08
}

fn known_tag(tag: u16) -> bool {
    matches!(tag, 0x01 | 0x02 | 0x04 | 0x08 | 0x10 | 0x20)
}

/// From the form that system calls use (version 2, eight bytes an entry) to ext4's (version 1).
fn pack_acl(value: &[u8]) -> Option<Vec<u8>> {
    if value.len() < 4 || get32(value, 0) != 2 || value.len() % 8 != 4 {
        return None;
    }
    let mut packed = 1u32.to_le_bytes().to_vec();
    for entry in value[4..].chunks_exact(8) {
        let tag = get16(entry, 0);
        if !known_tag(tag) {
            return None;
        }
        packed.extend_from_slice(&entry[..if has_id(tag) { 8 } else { 4 }]);
    }
    Some(packed)
}

fn unpack_acl(value: &[u8]) -> Option<Vec<u8>> {
    if value.len() < 4 || get32(value, 0) != 1 {
        return None;
    }
    let mut shown = 2u32.to_le_bytes().to_vec();
    let mut rest = &value[4..];
    while !rest.is_empty() {
        let tag = get16(rest, 0);
        let length = if has_id(tag) { 8 } else { 4 };
        if rest.len() < length || !known_tag(tag) {
            return None;
        }
        shown.extend_from_slice(&rest[..length]);
        if length == 4 {
            // ACL_UNDEFINED_ID.
            shown.extend_from_slice(&[0xff; 4]);
        }
        rest = &rest[length..];
    }
    Some(shown)
}
