//! Extended attributes as they are found.

use std::collections::BTreeMap;

use super::super::format::{ATTRIBUTE_NAME_MAX, ELSEWHERE, NO_TABLE, PREFIXES, Place, VALUE_MAX};
use super::super::unsupported;
use super::metadata::Cursor;
use super::{Node, Volume, damaged};
use crate::Error;
use crate::bytes::Fields;

/// Most bytes of the names of a file's attributes (Linux, `XATTR_LIST_MAX`).
const NAMES_MAX: usize = 65536;
/// Most bytes of the values of a file's attributes that are read: a value can be referred to many
/// times.
const VALUES_MAX: usize = 256 << 10;

/// By full name.
type Attributes = BTreeMap<Box<[u8]>, Box<[u8]>>;

impl Volume<'_> {
    /// The extended attributes of an inode, by full name.
    ///
    /// # Errors
    /// [`Error::Damaged`] for tables that contradict themselves and for more than Linux lists;
    /// [`Error::Unsupported`] for prefixes other than `user.`, `trusted.` and `security.`; errors
    /// of the medium.
    pub fn attributes(&self, node: &Node) -> Result<Attributes, Error> {
        let mut found = BTreeMap::new();
        let table = self.superblock.attribute_table;
        let Some(number) = node.attributes.filter(|_| table != NO_TABLE) else { return Ok(found) };
        let mut head = [0; 16];
        self.check(table, 16)?;
        self.medium.read_at(table, &mut head)?;
        let (pairs, sets) = (Fields(&head).u64_le(0), Fields(&head).u32_le(8));
        if number >= sets {
            return Err(damaged(table, format!("attributes {number} are referred to but there are {sets} sets")));
        }
        let entry: [u8; 16] = self.entry(table.saturating_add(16), number.into())?;
        let (place, count) = (Place::of_reference(Fields(&entry).u64_le(0)), Fields(&entry).u32_le(8));
        let mut cursor = self.cursor(pairs, place, table)?;
        let (mut names, mut values) = (0, 0);
        for _ in 0..count {
            let at = cursor.place().0;
            let (name, value) = self.attribute(&mut cursor, pairs)?;
            names += name.len() + 1;
            values += value.len();
            if names > NAMES_MAX || values > VALUES_MAX {
                return Err(damaged(at, "a file has more extended attributes than there can be"));
            }
            if found.insert(name.clone().into(), value.into()).is_some() {
                return Err(damaged(at, format!("a file has two attributes {}", name.escape_ascii())));
            }
        }
        Ok(found)
    }

    /// The next attribute: its full name and its value.
    fn attribute(&self, cursor: &mut Cursor<'_, '_>, pairs: u64) -> Result<(Vec<u8>, Vec<u8>), Error> {
        let at = cursor.place().0;
        let head: [u8; 4] = cursor.array()?;
        let (kind, length) = (Fields(&head).u16_le(0), usize::from(Fields(&head).u16_le(2)));
        let Some(prefix) = PREFIXES.get(usize::from(kind & !ELSEWHERE)) else {
            return Err(unsupported(format!("an extended attribute of kind {kind}"), "this reader does not know it"));
        };
        if length == 0 || prefix.len() + length > ATTRIBUTE_NAME_MAX {
            return Err(damaged(at, format!("an extended attribute's name cannot have {length} bytes")));
        }
        let name = [prefix, cursor.bytes(length)?.as_slice()].concat();
        if name.contains(&0) {
            return Err(damaged(at, "an extended attribute's name contains a NUL byte"));
        }
        let value = value(cursor)?;
        if kind & ELSEWHERE == 0 {
            return Ok((name, value));
        }
        let Ok(reference) = value.try_into().map(u64::from_le_bytes) else {
            return Err(damaged(at, "an extended attribute does not say where its value is"));
        };
        let mut there = self.cursor(pairs, Place::of_reference(reference), self.superblock.attribute_table)?;
        self::value(&mut there).map(|value| (name, value))
    }
}

fn value(cursor: &mut Cursor<'_, '_>) -> Result<Vec<u8>, Error> {
    let at = cursor.place().0;
    let length = u32::from_le_bytes(cursor.array()?) as usize;
    if length > VALUE_MAX {
        return Err(damaged(at, format!("an extended attribute's value cannot have {length} bytes")));
    }
    cursor.bytes(length)
}
