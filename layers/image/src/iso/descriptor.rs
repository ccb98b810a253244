//! Volume descriptors (ECMA-119, chapter 8; Joliet, "Supplementary Volume Descriptor").

use super::format::{SECTOR, STANDARD_ID, both16, both32, descriptor_type};
use super::name::Alphabet;
use super::time::{self, NO_TIME};
use super::{Options, format};
use crate::bytes::put;

pub(super) type Sector = [u8; SECTOR as usize];

/// What a descriptor says about one hierarchy.
pub(super) struct Tables {
    pub alphabet: Alphabet,
    pub path_table_bytes: u32,
    /// Where the path tables lie, with numbers little- and big-endian, in sectors.
    pub little_at: u32,
    pub big_at: u32,
    /// The record of the root.
    pub root: Vec<u8>,
}

fn start(kind: u8) -> Sector {
    let mut sector = [0; SECTOR as usize];
    sector[0] = kind;
    put(&mut sector, 1, STANDARD_ID);
    sector[6] = 1;
    sector
}

/// The descriptor of a hierarchy, and of an image of so many sectors.
pub(super) fn volume(options: &Options<'_>, sectors: u32, tables: &Tables) -> Sector {
    let joliet = tables.alphabet == Alphabet::Joliet;
    let mut sector = start(if joliet { descriptor_type::SUPPLEMENTARY } else { descriptor_type::PRIMARY });
    let texts: [(usize, usize, &str); 9] = [
        (8, 32, &options.system_id),
        (40, 32, &options.volume_id),
        (190, 128, ""),
        (318, 128, &options.publisher_id),
        (446, 128, ""),
        (574, 128, &options.application_id),
        (702, 37, ""),
        (739, 37, ""),
        (776, 37, ""),
    ];
    for (at, length, value) in texts {
        put(&mut sector, at, &text(joliet, length, value));
    }
    put(&mut sector, 80, &both32(sectors));
    if joliet {
        // UCS-2, level 3.
        put(&mut sector, 88, b"%/E");
    }
    put(&mut sector, 120, &both16(1));
    put(&mut sector, 124, &both16(1));
    put(&mut sector, 128, &both16(SECTOR as u16));
    put(&mut sector, 132, &both32(tables.path_table_bytes));
    put(&mut sector, 140, &tables.little_at.to_le_bytes());
    put(&mut sector, 148, &tables.big_at.to_be_bytes());
    put(&mut sector, 156, &tables.root);
    let created = time::long(options.created);
    for (at, when) in [(813, created), (830, created), (847, NO_TIME), (864, NO_TIME)] {
        put(&mut sector, at, &when);
    }
    sector[881] = 1;
    sector
}

/// A text, filled with spaces.
fn text(joliet: bool, length: usize, value: &str) -> Vec<u8> {
    let mut bytes: Vec<u8> =
        if joliet { value.encode_utf16().flat_map(u16::to_be_bytes).collect() } else { value.as_bytes().to_vec() };
    let space: &[u8] = if joliet { &[0, b' '] } else { b" " };
    while bytes.len() + space.len() <= length {
        bytes.extend_from_slice(space);
    }
    bytes.truncate(length);
    // A field of an odd length has half a character left.
    bytes.resize(length, 0);
    bytes
}

/// The boot record, which leads to the boot catalog (El Torito, figure 7).
pub(super) fn boot(catalog_at: u32) -> Sector {
    let mut sector = start(descriptor_type::BOOT);
    put(&mut sector, 7, format::EL_TORITO);
    put(&mut sector, 71, &catalog_at.to_le_bytes());
    sector
}

/// Ends the descriptors (8.3).
pub(super) fn end() -> Sector {
    start(descriptor_type::END)
}
