//! Rock Ridge as it is found.

use layers::Time;

use super::super::format::{SECTOR, get_both32};
use super::super::{damaged, time};
use super::Volume;
use super::record::Record;
use crate::Error;

/// Most continuations of one record, as in Linux (`RR_MAX_CE_ENTRIES`).
const CONTINUATIONS_MAX: usize = 32;
/// Longest name and target that Linux takes, in bytes.
const NAME_MAX: usize = 255;
const TARGET_MAX: usize = 4095;

/// What the entries of one record say.
#[derive(Default, Debug)]
pub(super) struct Rock {
    pub name: Option<Vec<u8>>,
    /// Mode with the type of the file, names, owner, group, number of the file.
    pub attributes: Option<[u32; 5]>,
    pub modified: Option<Time>,
    /// Major and minor number.
    pub device: Option<(u32, u32)>,
    pub target: Vec<u8>,
    /// The block of the directory for which this record stands.
    pub moved_to: Option<u32>,
    /// Whether this directory is shown elsewhere.
    pub moved_here: bool,
    /// Whether the bytes are compressed (zisofs).
    pub compressed: bool,
    /// Whether the next component of the target follows a slash.
    slash: bool,
}

/// How many bytes may still be read.
pub(super) struct Budget(pub u64);

impl Budget {
    pub(super) fn spend(&mut self, at: u64, bytes: u64) -> Result<(), Error> {
        let left = self.0.checked_sub(bytes);
        self.0 = left.ok_or_else(|| damaged(at, "directories share their bytes, or have more than 512 MiB"))?;
        Ok(())
    }
}

impl Volume<'_> {
    /// How many bytes to skip in every record, if the root's first record says that system use
    /// entries are there.
    pub(super) fn find_rock_ridge(&self) -> Result<Option<usize>, Error> {
        let mut sector = [0; SECTOR as usize];
        let length = self.root.length.min(SECTOR) as usize;
        self.medium.read_at(self.root.start, &mut sector[..length])?;
        let (record, _) = Record::parse(&sector[..length], self.root.start)?;
        // A disc of CD-ROM XA has 14 bytes of its own before them.
        let sharing = [0, 14].into_iter().find_map(|at| {
            let entry = record.system_use.get(at..at + 7)?;
            (entry[..6] == *b"SP\x07\x01\xbe\xef").then_some(entry[6])
        });
        Ok(sharing.map(usize::from))
    }

    /// Reads the entries of a record and of its continuations.
    ///
    /// # Errors
    /// [`Error::Damaged`] for entries that do not fit, names and targets that Linux refuses, and
    /// continuations without end.
    pub(super) fn rock(&self, record: &Record<'_>, first_of_all: bool, budget: &mut Budget) -> Result<Rock, Error> {
        let mut found = Rock::default();
        let skip = if first_of_all { 0 } else { self.skip };
        let mut continuation = found.take(record.system_use.get(skip..).unwrap_or(&[]), record.at)?;
        let mut bytes = [0; SECTOR as usize];
        for _ in 0..CONTINUATIONS_MAX {
            let Some((block, offset, length)) = continuation else { return Ok(found) };
            let at = u64::from(block) * self.block + u64::from(offset);
            if u64::from(offset) + u64::from(length) > SECTOR {
                return Err(damaged(record.at, format!("a continuation of {length} bytes leaves its sector")));
            }
            budget.spend(record.at, u64::from(length))?;
            let bytes = &mut bytes[..length as usize];
            self.medium.read_at(at, bytes)?;
            continuation = found.take(bytes, at)?;
        }
        Err(damaged(record.at, format!("a record has more than {CONTINUATIONS_MAX} continuations")))
    }
}

impl Rock {
    /// Takes entries, and gives block, offset and length of what continues them.
    fn take(&mut self, mut bytes: &[u8], at: u64) -> Result<Option<(u32, u32, u32)>, Error> {
        let mut continuation = None;
        // There may be padding behind the last one.
        while bytes.len() >= 4 && bytes[0] != 0 {
            let length = usize::from(bytes[2]);
            let Some((entry, rest)) = bytes.split_at_checked(length).filter(|_| length >= 4) else {
                return Err(damaged(at, format!("a system use entry of {length} bytes does not fit")));
            };
            bytes = rest;
            let data = &entry[4..];
            match &entry[..2] {
                b"CE" if data.len() >= 24 => {
                    continuation = Some((get_both32(data, 0), get_both32(data, 8), get_both32(data, 16)));
                }
                b"PX" if data.len() >= 32 => {
                    let serial = if data.len() >= 40 { get_both32(data, 32) } else { 0 };
                    let [mode, links, uid, gid] = [0, 8, 16, 24].map(|at| get_both32(data, at));
                    self.attributes = Some([mode, links, uid, gid, serial]);
                }
                b"TF" if !data.is_empty() => self.modified = modified(data).or(self.modified),
                b"PN" if data.len() >= 16 => self.device = Some(device(get_both32(data, 0), get_both32(data, 8))),
                b"NM" if !data.is_empty() => self.add_name(data, at)?,
                b"SL" if !data.is_empty() => self.add_target(&data[1..], at)?,
                b"CL" if data.len() >= 8 => self.moved_to = Some(get_both32(data, 0)),
                b"RE" => self.moved_here = true,
                b"ZF" => self.compressed = true,
                b"ST" => break,
                _ => {}
            }
        }
        Ok(continuation)
    }

    fn add_name(&mut self, data: &[u8], at: u64) -> Result<(), Error> {
        // Names of the directory itself and of the one above.
        if data[0] & 6 != 0 {
            return Ok(());
        }
        let name = self.name.get_or_insert_default();
        name.extend_from_slice(&data[1..]);
        if name.len() > NAME_MAX {
            return Err(damaged(at, "a name is longer than 255 bytes"));
        }
        Ok(())
    }

    fn add_target(&mut self, mut components: &[u8], at: u64) -> Result<(), Error> {
        while let [flags, length, rest @ ..] = components {
            let Some((text, rest)) = rest.split_at_checked(usize::from(*length)) else {
                return Err(damaged(at, "a component of a symbolic link's target does not fit"));
            };
            components = rest;
            if std::mem::take(&mut self.slash) {
                self.target.push(b'/');
            }
            let (text, root) = match flags & !1 {
                0 => (text, false),
                2 => (&b"."[..], false),
                4 => (&b".."[..], false),
                8 => (&b"/"[..], true),
                _ => return Err(damaged(at, format!("a component of a target has the flags {flags:#x}"))),
            };
            self.target.extend_from_slice(text);
            self.slash = flags & 1 == 0 && !root;
            if self.target.len() > TARGET_MAX {
                return Err(damaged(at, "the target of a symbolic link is longer than 4095 bytes"));
            }
        }
        Ok(())
    }
}

/// The time of last modification among those of an entry (RRIP 4.1.6).
fn modified(data: &[u8]) -> Option<Time> {
    let flags = data[0];
    let length = if flags & 0x80 != 0 { 17 } else { 7 };
    let at = 1 + if flags & 1 != 0 { length } else { 0 };
    let bytes = data.get(at..at + length).filter(|_| flags & 2 != 0)?;
    if length == 17 { time::from_long(bytes) } else { time::from_short(bytes) }
}

/// A device's number as Linux reads it: the whole of it may lie in the lower word.
fn device(high: u32, low: u32) -> (u32, u32) {
    if high == 0 && low & !0xff != 0 { (low >> 8, low & 0xff) } else { (high, low) }
}
