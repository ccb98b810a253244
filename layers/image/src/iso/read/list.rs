//! Every file of an image, in one walk.

use std::collections::{BTreeMap, BTreeSet};

use layers::Meta;

use super::super::format::{SECTOR, file_type, flag};
use super::super::{damaged, unsupported};
use super::record::Record;
use super::rock::{Budget, Rock};
use super::{Extensions, Extent, Volume};
use crate::Error;
use crate::volume::FileKind;

/// Most records that are listed, and most bytes of names and targets: bounds on memory, far above
/// what discs hold.
const ITEMS_MAX: usize = 1_000_000;
const TEXT_MAX: usize = 256 << 20;

/// A file, of whatever kind.
#[derive(Clone, Debug)]
pub struct Item {
    /// Index of the directory that holds it; the root holds itself.
    pub parent: usize,
    /// Its name; empty for the root.
    pub name: Box<[u8]>,
    /// What it is.
    pub kind: FileKind,
    /// Owner, mode and time; without Rock Ridge those that Linux shows.
    pub meta: Meta,
    /// Length in bytes.
    pub size: u64,
    /// Number of names.
    pub links: u32,
    /// Where a symbolic link points.
    pub target: Box<[u8]>,
    /// Index of the first item that is the same file; its own if there is no other.
    pub same: usize,
    extents: Vec<Extent>,
    /// Why the bytes cannot be read.
    refused: Option<&'static str>,
}

/// Most bytes of directories that are read: far more than a million files take. How large a file says
/// that it is bounds nothing, since most of it may be a hole.
const DIRECTORIES_MAX: u64 = 512 << 20;

/// The walk.
struct Listing<'v, 'a> {
    volume: &'v Volume<'a>,
    items: Vec<Item>,
    entered: BTreeSet<u64>,
    budget: Budget,
    records: usize,
    text: usize,
    /// By the number that names of one file share.
    files: BTreeMap<u32, usize>,
}

impl Volume<'_> {
    /// Every file and directory, the root first, each directory before what it holds.
    ///
    /// # Errors
    /// [`Error::Damaged`] for records that do not fit, directories that hold themselves or share
    /// their bytes, names that no tree may hold, and more than a million files.
    pub fn items(&self) -> Result<Vec<Item>, Error> {
        let mut listing = Listing {
            volume: self,
            items: Vec::new(),
            entered: BTreeSet::new(),
            budget: Budget(self.medium.size().min(DIRECTORIES_MAX)),
            records: 0,
            text: 0,
            files: BTreeMap::new(),
        };
        let root = listing.own_record(self.root)?;
        let mut meta = Meta::root_owned(0o555, self.root_time);
        let mut links = 2;
        if let Some([mode, count, uid, gid, _]) = root.attributes {
            meta = Meta { mode: mode & 0o7777, uid, gid, ..meta };
            links = count;
        }
        meta.mtime = root.modified.unwrap_or(meta.mtime);
        listing.items.push(Item {
            parent: 0,
            name: Box::default(),
            kind: FileKind::Directory,
            meta,
            size: self.root.length,
            links,
            target: Box::default(),
            same: 0,
            extents: vec![self.root],
            refused: None,
        });
        let mut at = 0;
        while at < listing.items.len() {
            if listing.items[at].kind == FileKind::Directory {
                listing.enter(at)?;
            }
            at += 1;
        }
        Ok(listing.items)
    }

    /// Reads bytes of a file; fewer than asked for only at its end.
    ///
    /// # Errors
    /// The image ends before; [`Error::Unsupported`] for bytes that are compressed or interleaved.
    pub fn read(&self, item: &Item, offset: u64, buffer: &mut [u8]) -> Result<usize, Error> {
        if let Some(reason) = item.refused {
            return Err(unsupported(String::from_utf8_lossy(&item.name), reason));
        }
        let count = (buffer.len() as u64).min(item.size.saturating_sub(offset)) as usize;
        let (mut offset, mut rest) = (offset, &mut buffer[..count]);
        for extent in &item.extents {
            if rest.is_empty() {
                break;
            }
            if offset >= extent.length {
                offset -= extent.length;
                continue;
            }
            let here = (rest.len() as u64).min(extent.length - offset) as usize;
            let (head, tail) = rest.split_at_mut(here);
            self.medium.read_at(extent.start.saturating_add(offset), head)?;
            (offset, rest) = (0, tail);
        }
        Ok(count)
    }
}

impl Listing<'_, '_> {
    /// What a directory says of itself: of the root, and of one that was moved, nothing else does.
    fn own_record(&mut self, directory: Extent) -> Result<Rock, Error> {
        if self.volume.extensions != Extensions::RockRidge {
            return Ok(Rock::default());
        }
        let mut sector = [0; SECTOR as usize];
        let length = directory.length.min(SECTOR) as usize;
        self.volume.medium.read_at(directory.start, &mut sector[..length])?;
        let (record, _) = Record::parse(&sector[..length], directory.start)?;
        self.volume.rock(&record, directory == self.volume.root, &mut self.budget)
    }

    /// Lists what a directory holds.
    fn enter(&mut self, directory: usize) -> Result<(), Error> {
        let Extent { start, length } = self.items[directory].extents.first().copied().unwrap_or(self.volume.root);
        if !self.entered.insert(start) {
            return Err(damaged(start, "a directory is held by two directories, or by itself"));
        }
        self.budget.spend(start, length)?;
        let mut sector = [0; SECTOR as usize];
        // The file whose last section has not come yet.
        let mut open = None;
        for at in (0..length).step_by(SECTOR as usize) {
            let here = start.saturating_add(at);
            let bytes = &mut sector[..(length - at).min(SECTOR) as usize];
            self.volume.medium.read_at(here, bytes)?;
            let mut within = 0;
            while bytes.get(within).is_some_and(|&length| length > 0) {
                let (record, length) = Record::parse(&bytes[within..], here + within as u64)?;
                within += length;
                self.records += 1;
                if self.records > ITEMS_MAX {
                    return Err(damaged(here, format!("there are more than {ITEMS_MAX} files")));
                }
                if !record.is_dot() && record.flags & flag::ASSOCIATED == 0 {
                    open = self.add(directory, &record, open)?;
                }
            }
        }
        match open {
            Some(_) => Err(damaged(start, "the last section of a file is missing")),
            None => Ok(()),
        }
    }

    /// Takes a record; gives the item that the next one continues.
    fn add(&mut self, parent: usize, record: &Record<'_>, open: Option<usize>) -> Result<Option<usize>, Error> {
        let extent = self.volume.extent(record)?;
        let more = record.flags & flag::MORE_SECTIONS != 0;
        if let Some(index) = open {
            let item = &mut self.items[index];
            // Records of 32 bits each, at most a million of them.
            item.size += extent.length;
            item.extents.push(extent);
            return Ok(more.then_some(index));
        }
        let rock = match self.volume.extensions {
            Extensions::RockRidge => self.volume.rock(record, false, &mut self.budget)?,
            Extensions::Joliet | Extensions::None => Rock::default(),
        };
        if rock.moved_here {
            // It is shown where it was moved from.
            return Ok(None);
        }
        let item = self.item(parent, record, extent, rock)?;
        if more && item.kind != FileKind::File {
            return Err(damaged(record.at, "something other than a file has sections"));
        }
        self.items.push(item);
        Ok(more.then(|| self.items.len() - 1))
    }

    fn item(&mut self, parent: usize, record: &Record<'_>, extent: Extent, rock: Rock) -> Result<Item, Error> {
        let own = rock.name.filter(|name| !name.is_empty());
        let name = own.unwrap_or_else(|| name_of(record.identifier, self.volume.extensions));
        self.text += name.len() + rock.target.len();
        if self.text > TEXT_MAX {
            return Err(damaged(record.at, "the names and targets of links are longer than 256 MiB together"));
        }
        if name.is_empty() || matches!(&name[..], b"." | b"..") || name.iter().any(|byte| matches!(byte, 0 | b'/')) {
            let shown = name.escape_ascii().to_string();
            return Err(damaged(record.at, format!("a file cannot have the name {shown:?}")));
        }
        let mut item = Item {
            parent,
            name: name.into(),
            kind: if record.flags & flag::DIRECTORY != 0 { FileKind::Directory } else { FileKind::File },
            // As Linux shows what has no attributes.
            meta: Meta::root_owned(0o555, record.time),
            size: extent.length,
            links: 1,
            target: rock.target.into(),
            same: self.items.len(),
            extents: vec![extent],
            refused: None,
        };
        let (mut attributes, mut serial) = (rock.attributes, 0);
        item.meta.mtime = rock.modified.unwrap_or(record.time);
        if let Some(block) = rock.moved_to {
            let start = u64::from(block) * self.volume.block;
            let own = self.moved(start, record.at)?;
            item.kind = FileKind::Directory;
            (item.size, item.extents) = (own.0.length, vec![own.0]);
            attributes = own.1.attributes.or(attributes);
            item.meta.mtime = own.1.modified.unwrap_or(item.meta.mtime);
        }
        if let Some([mode, links, uid, gid, number]) = attributes {
            item.meta = Meta { mode: mode & 0o7777, uid, gid, ..item.meta };
            item.links = links.max(1);
            let kind = kind(mode, rock.device, record.at)?;
            if (kind == FileKind::Directory) != (item.kind == FileKind::Directory) {
                return Err(damaged(record.at, "the standard and Rock Ridge differ on what is a directory"));
            }
            (item.kind, serial) = (kind, number);
        }
        if rock.compressed {
            item.refused = Some("its bytes are compressed (zisofs)");
        } else if record.interleaved {
            item.refused = Some("its bytes are interleaved with those of another file");
        }
        if item.kind == FileKind::Symlink {
            item.size = item.target.len() as u64;
        } else if !matches!(item.kind, FileKind::File | FileKind::Directory) {
            item.size = 0;
        }
        self.find_same(&mut item, serial);
        Ok(item)
    }

    /// A directory that another one stands for: what its own record says.
    fn moved(&mut self, start: u64, at: u64) -> Result<(Extent, Rock), Error> {
        let mut sector = [0; SECTOR as usize];
        let there = self.volume.medium.size().saturating_sub(start).min(SECTOR) as usize;
        self.volume.medium.read_at(start, &mut sector[..there])?;
        let (record, _) = Record::parse(&sector[..there], start)?;
        let extent = self.volume.extent(&record)?;
        if extent.start != start || record.flags & flag::DIRECTORY == 0 {
            return Err(damaged(at, "a directory is said to be moved to where there is none"));
        }
        let rock = self.volume.rock(&record, false, &mut self.budget)?;
        Ok((extent, rock))
    }

    /// Finds the first name of the file whose number this is.
    fn find_same(&mut self, item: &mut Item, serial: u32) {
        if serial == 0 || item.links < 2 || item.kind == FileKind::Directory {
            return;
        }
        let first = *self.files.entry(serial).or_insert(item.same);
        // A number that lies does not make one file of two.
        let same = self.items.get(first).is_some_and(|first| {
            (first.kind, first.size, &first.extents, &first.target)
                == (item.kind, item.size, &item.extents, &item.target)
        });
        if same {
            item.same = first;
        }
    }
}

/// What a mode says a file is.
fn kind(mode: u32, device: Option<(u32, u32)>, at: u64) -> Result<FileKind, Error> {
    let (major, minor) = device.unwrap_or_default();
    Ok(match mode & file_type::MASK {
        file_type::REGULAR => FileKind::File,
        file_type::DIRECTORY => FileKind::Directory,
        file_type::SYMLINK => FileKind::Symlink,
        file_type::CHARACTER => FileKind::CharDevice(major, minor),
        file_type::BLOCK => FileKind::BlockDevice(major, minor),
        file_type::FIFO => FileKind::Fifo,
        file_type::SOCKET => FileKind::Socket,
        _ => return Err(damaged(at, format!("the mode {mode:o} is of no kind of file"))),
    })
}

/// The name that Linux makes of an identifier: without version and empty extension, in lower case
/// where there is upper case only.
fn name_of(identifier: &[u8], extensions: Extensions) -> Vec<u8> {
    let mut name = if extensions == Extensions::Joliet {
        let units = identifier.chunks_exact(2).map(|unit| u16::from_be_bytes([unit[0], unit[1]]));
        let decoded = char::decode_utf16(units).map(|unit| unit.unwrap_or(char::REPLACEMENT_CHARACTER));
        decoded.collect::<String>().into_bytes()
    } else {
        identifier.to_ascii_lowercase()
    };
    if let Some(at) = name.iter().rposition(|&byte| byte == b';')
        && name[at + 1..].iter().all(u8::is_ascii_digit)
    {
        name.truncate(at);
    }
    while name.len() > 1 && name.ends_with(b".") {
        name.pop();
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_as_linux_shows_them() {
        assert_eq!(name_of(b"README.;1", Extensions::None), b"readme");
        assert_eq!(name_of(b"BOOT.CFG;12", Extensions::None), b"boot.cfg");
        assert_eq!(name_of(b"DIR", Extensions::None), b"dir");
        assert_eq!(name_of(b"\0A\0b\0;\x001", Extensions::Joliet), b"Ab");
    }
}
