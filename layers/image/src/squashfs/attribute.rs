//! Extended attributes (binary format, "Extended Attribute Table").

use std::collections::BTreeMap;
use std::io;

use layers::TreePath;

use super::format::{ATTRIBUTE_NAME_MAX, ELSEWHERE, NO_TABLE, PREFIXES, Place, VALUE_MAX};
use super::metadata::{Table, put_lookup};
use super::output::Output;
use super::{OtherAttributes, unsupported};
use crate::Error;

/// A value of at most so many bytes is written again rather than referred to.
const SHORT: usize = 16;

/// The attributes of a file: the number of the prefix, the rest of the name, the value.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(super) struct Attributes<'t>(Vec<(u16, &'t [u8], &'t [u8])>);

impl<'t> Attributes<'t> {
    pub fn of(
        xattrs: &'t BTreeMap<Box<[u8]>, Box<[u8]>>,
        others: OtherAttributes,
        path: &TreePath,
    ) -> Result<Self, Error> {
        let mut found = Vec::with_capacity(xattrs.len());
        for (name, value) in xattrs {
            let refuse = |reason: String| {
                Err(unsupported(format!("the extended attribute {} of {path}", name.escape_ascii()), reason))
            };
            let split = (0u16..).zip(PREFIXES).find_map(|(number, text)| Some((number, name.strip_prefix(text)?)));
            let Some((prefix, rest)) = split else {
                match others {
                    OtherAttributes::LeaveOut => continue,
                    OtherAttributes::Refuse => {
                        return refuse("its name begins with none of user., trusted. and security.".into());
                    }
                }
            };
            if rest.is_empty() || rest.contains(&0) || name.len() > ATTRIBUTE_NAME_MAX {
                return refuse("its name is not one that Linux accepts".into());
            }
            if value.len() > VALUE_MAX {
                return refuse(format!("its value of {} bytes is longer than {VALUE_MAX}", value.len()));
            }
            found.push((prefix, rest, &**value));
        }
        Ok(Self(found))
    }
}

/// All different sets of attributes, in the order in which they are met.
#[derive(Default)]
pub(super) struct Sets<'t> {
    numbers: BTreeMap<Attributes<'t>, u32>,
}

impl<'t> Sets<'t> {
    /// The number of a set; `None` for the empty one.
    pub fn number(&mut self, attributes: Attributes<'t>) -> Result<Option<u32>, Error> {
        if attributes.0.is_empty() {
            return Ok(None);
        }
        let next = u32::try_from(self.numbers.len()).map_err(|_| Error::Overflow("the sets of attributes"))?;
        Ok(Some(*self.numbers.entry(attributes).or_insert(next)))
    }

    /// Writes the tables; gives where they are found.
    pub fn put(&self, out: &mut Output<'_>, level: i32) -> Result<u64, Error> {
        if self.numbers.is_empty() {
            return Ok(NO_TABLE);
        }
        let mut sets: Vec<(&Attributes<'_>, u32)> = self.numbers.iter().map(|(set, number)| (set, *number)).collect();
        sets.sort_unstable_by_key(|(_, number)| *number);
        let mut pairs = Table::new(level).map_err(|source| out.failed(source))?;
        let mut values = BTreeMap::new();
        let mut entries = Vec::with_capacity(sets.len());
        for (set, _) in sets {
            let place = pairs.place();
            let bytes = put_set(&mut pairs, &mut values, set).map_err(|source| out.failed(source))?;
            let count = u32::try_from(set.0.len()).map_err(|_| Error::Overflow("the attributes of a file"))?;
            let bytes = u32::try_from(bytes).map_err(|_| Error::Overflow("the attributes of a file"))?;
            let mut entry = place.reference().to_le_bytes().to_vec();
            entry.extend(count.to_le_bytes());
            entry.extend(bytes.to_le_bytes());
            entries.push(entry);
        }
        let start = out.position();
        pairs.finish(out)?;
        let mut head = start.to_le_bytes().to_vec();
        // The map cannot hold more: its numbers have 32 bits.
        head.extend((entries.len() as u32).to_le_bytes());
        head.extend([0; 4]);
        put_lookup(out, level, &head, &entries)
    }
}

/// Writes the attributes of one set; gives how many bytes they took. A long value that was
/// written before is referred to.
fn put_set<'t>(pairs: &mut Table, values: &mut BTreeMap<&'t [u8], Place>, set: &Attributes<'t>) -> io::Result<usize> {
    let mut bytes = 0;
    for (prefix, name, value) in &set.0 {
        let before = values.get(value).copied();
        let flag = if before.is_some() { ELSEWHERE } else { 0 };
        pairs.put(&(prefix | flag).to_le_bytes())?;
        // At most 255.
        pairs.put(&(name.len() as u16).to_le_bytes())?;
        pairs.put(name)?;
        let place = pairs.place();
        let reference = before.map(|place| place.reference().to_le_bytes());
        let stored = reference.as_ref().map_or(*value, |reference| reference);
        // At most 65536.
        pairs.put(&(stored.len() as u32).to_le_bytes())?;
        pairs.put(stored)?;
        if before.is_none() && value.len() > SHORT {
            values.insert(value, place);
        }
        bytes += 8 + name.len() + stored.len();
    }
    Ok(bytes)
}
