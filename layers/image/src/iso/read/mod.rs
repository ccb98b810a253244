//! Reads an image. It may be hostile: each directory is entered once, all that is read of directories
//! and continuations together is no more than the image has, and what is kept is bounded.

mod boot;
mod list;
mod record;
mod rock;

pub use boot::BootEntry;
pub use list::Item;

use layers::Time;

use super::format::{DESCRIPTORS_AT, EL_TORITO, SECTOR, STANDARD_ID, descriptor_type};
use super::{damaged, time};
use crate::Error;
use crate::bytes::Fields;
use crate::medium::Medium;
use record::Record;

/// Most descriptors that are looked at, as in Linux (isofs_fill_super).
const DESCRIPTORS_MAX: u32 = 100;

/// Where names and what is said of files come from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Extensions {
    /// Rock Ridge: as in POSIX.
    RockRidge,
    /// Joliet: long names.
    Joliet,
    /// Nothing but the standard.
    None,
}

/// A run of bytes of a file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Extent {
    start: u64,
    length: u64,
}

/// An image that is there.
pub struct Volume<'a> {
    medium: &'a dyn Medium,
    /// Bytes of a logical block.
    block: u64,
    extensions: Extensions,
    /// Bytes to skip before system use entries (SUSP 5.3).
    skip: usize,
    root: Extent,
    root_time: Time,
    volume_id: String,
    modified: Option<Time>,
    size: u64,
    catalog_at: Option<u64>,
}

impl<'a> Volume<'a> {
    /// Reads the descriptors.
    ///
    /// # Errors
    /// [`Error::Damaged`] when they are not there or contradict the standard; [`Error::Unsupported`]
    /// for blocks that are no power of two from 512 to 2048 bytes.
    pub fn open(medium: &'a dyn Medium) -> Result<Self, Error> {
        let (mut primary, mut joliet, mut catalog_at) = (None, None, None);
        for sector in DESCRIPTORS_AT..DESCRIPTORS_AT + DESCRIPTORS_MAX {
            let at = u64::from(sector) * SECTOR;
            let mut bytes = [0; SECTOR as usize];
            medium.read_at(at, &mut bytes)?;
            if bytes[1..6] != *STANDARD_ID {
                return Err(damaged(at, "there is no volume descriptor (CD001)"));
            }
            match bytes[0] {
                descriptor_type::PRIMARY if primary.is_none() => primary = Some((at, bytes)),
                descriptor_type::SUPPLEMENTARY if is_joliet(&bytes) && joliet.is_none() => joliet = Some((at, bytes)),
                descriptor_type::BOOT if bytes[7..].starts_with(EL_TORITO) && catalog_at.is_none() => {
                    catalog_at = Some(u64::from(Fields(&bytes).u32_le(71)) * SECTOR);
                }
                descriptor_type::END => break,
                _ => {}
            }
        }
        let start = u64::from(DESCRIPTORS_AT) * SECTOR;
        let (at, bytes) = primary.ok_or_else(|| damaged(start, "there is no primary volume descriptor"))?;
        let fields = Fields(&bytes);
        let block = u64::from(fields.u16_le(128));
        if ![512, 1024, 2048].contains(&block) {
            return Err(damaged(at + 128, format!("logical blocks of {block} bytes are not possible")));
        }
        let mut volume = Self {
            medium,
            block,
            extensions: Extensions::None,
            skip: 0,
            root: Extent { start: 0, length: 0 },
            root_time: Time::default(),
            volume_id: String::from_utf8_lossy(bytes[40..72].trim_ascii_end()).into_owned(),
            modified: time::from_long(&bytes[830..847]).or_else(|| time::from_long(&bytes[813..830])),
            size: u64::from(fields.u32_le(80)) * block,
            catalog_at,
        };
        volume.take_root(at, &bytes)?;
        if let Some(skip) = volume.find_rock_ridge()? {
            (volume.extensions, volume.skip) = (Extensions::RockRidge, skip);
        } else if let Some((at, bytes)) = joliet {
            volume.take_root(at, &bytes)?;
            volume.extensions = Extensions::Joliet;
        }
        Ok(volume)
    }

    fn take_root(&mut self, at: u64, descriptor: &[u8]) -> Result<(), Error> {
        let (record, _) = Record::parse(&descriptor[156..190], at + 156)?;
        self.root = self.extent(&record)?;
        self.root_time = record.time;
        Ok(())
    }

    /// Where the bytes of a record lie.
    fn extent(&self, record: &Record<'_>) -> Result<Extent, Error> {
        // Numbers of 32 and 8 bits, times at most 2048.
        let start = (u64::from(record.start) + u64::from(record.attribute_blocks)) * self.block;
        Ok(Extent { start, length: u64::from(record.length) })
    }

    /// What names and metadata come from.
    pub fn extensions(&self) -> Extensions {
        self.extensions
    }

    /// The name of the volume, without padding.
    pub fn volume_id(&self) -> &str {
        &self.volume_id
    }

    /// Time of last modification, or else of creation; `None` when the image tells neither. `UUID=`
    /// finds it by this.
    pub fn modified(&self) -> Option<Time> {
        self.modified
    }

    /// The identity that blkid(8) makes of [`Volume::modified`]; empty without it.
    pub fn uuid(&self) -> String {
        let Some(modified) = self.modified else { return String::new() };
        let digits = time::long(modified);
        let part = |from: usize, to: usize| String::from_utf8_lossy(&digits[from..to]).into_owned();
        [part(0, 4), part(4, 6), part(6, 8), part(8, 10), part(10, 12), part(12, 14), part(14, 16)].join("-")
    }

    /// The size that the image says it has, in bytes.
    pub fn size(&self) -> u64 {
        self.size
    }
}

/// Whether a descriptor has one of Joliet's three escape sequences.
fn is_joliet(descriptor: &[u8]) -> bool {
    matches!(&descriptor[88..91], b"%/@" | b"%/C" | b"%/E")
}
