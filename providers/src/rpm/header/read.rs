//! Reading a header, whoever wrote it.

use super::tag::{self, Shape};
use super::{ENTRY_BYTES, Header, Malformed, Place, Role, Tag, Type};

/// Most entries in an index (rpm, lib/header.c, `HEADER_TAGS_MAX`).
const ENTRIES_MAX: usize = 0xffff;
/// Most bytes of data (rpm, lib/header.c, `HEADER_DATA_MAX`, is 0x0fffffff). A header has some 200
/// bytes for each file, so this allows half a million files in one package.
const DATA_BYTES_MAX: usize = 128 << 20;
/// Most entries in the index of a signature header (rpm, lib/header.c, `hdrblobRead`).
const SIGNATURE_ENTRIES_MAX: usize = 32;
/// Most bytes of data of a signature header. rpm takes 64 MiB; a dozen signatures take some KiB, and
/// signatures of each file some MiB.
const SIGNATURE_DATA_BYTES_MAX: usize = 64 << 20;
/// Bytes of the trailer that ends a region: an entry of the index.
const TRAILER_BYTES: usize = ENTRY_BYTES;
/// Tags below this one mark regions and tables (rpm, include/rpm/rpmtag.h, `HEADER_I18NTABLE`).
const FIRST_TAG: u32 = 100;

/// One entry as it stands in an index.
struct Stated {
    tag: Tag,
    kind: u32,
    offset: u32,
    count: u32,
}

impl Stated {
    fn read(bytes: &[u8]) -> Option<Self> {
        let word = |at: usize| bytes.get(at..)?.first_chunk().map(|bytes| u32::from_be_bytes(*bytes));
        Some(Self { tag: Tag(word(0)?), kind: word(4)?, offset: word(8)?, count: word(12)? })
    }

    /// Whether this is a region's entry or trailer, for this tag.
    fn is_region(&self, tag: Tag) -> bool {
        self.tag == tag && self.kind == Type::Bin.number() && usize::try_from(self.count) == Ok(TRAILER_BYTES)
    }
}

impl Role {
    fn region(self) -> Tag {
        match self {
            Self::Signature => tag::HEADERSIGNATURES,
            Self::Main | Self::Database => tag::HEADERIMMUTABLE,
        }
    }

    fn expected(self, tag: Tag) -> Option<Shape> {
        match self {
            Self::Signature => tag::signature::expected(tag),
            Self::Main | Self::Database => tag::expected(tag),
        }
    }

    /// How many bytes follow the introduction, once it is known to be sane.
    ///
    /// # Errors
    /// More than a header of this kind has.
    pub(in crate::rpm) fn body_bytes(self, entries: u32, data: u32) -> Result<usize, Malformed> {
        let (entries_max, data_max) = match self {
            Self::Signature => (SIGNATURE_ENTRIES_MAX, SIGNATURE_DATA_BYTES_MAX),
            Self::Main | Self::Database => (ENTRIES_MAX, DATA_BYTES_MAX),
        };
        let within = |number: u32, most: usize| usize::try_from(number).ok().filter(|number| *number <= most);
        let (Some(index), Some(data)) = (within(entries, entries_max), within(data, data_max)) else {
            return Err(Malformed::new(format!("a header states {entries} entries and {data} bytes, which none has")));
        };
        if index == 0 || data == 0 {
            return Err(Malformed::new("a header is empty"));
        }
        Ok(index * ENTRY_BYTES + data)
    }
}

impl Header {
    /// Reads a header from the number of its entries on.
    pub(in crate::rpm) fn read(raw: Vec<u8>, role: Role) -> Result<Self, Malformed> {
        let word = |at: usize| raw.get(at..)?.first_chunk().map(|bytes| u32::from_be_bytes(*bytes));
        let (Some(entries), Some(data)) = (word(0), word(4)) else {
            return Err(Malformed::new("a header is cut short"));
        };
        if role.body_bytes(entries, data)?.checked_add(8) != Some(raw.len()) {
            return Err(Malformed::new("a header's size is not the one that it states"));
        }
        let entries = usize::try_from(entries).unwrap_or(0);
        let mut header = Self { raw, entries, places: Vec::new() };
        let region = header.check_region(role)?;
        let data = header.data_bytes();
        let mut places = Vec::with_capacity(entries);
        let mut taken = 0usize;
        for bytes in header.index_bytes().chunks_exact(ENTRY_BYTES).skip(region) {
            let stated = Stated::read(bytes).ok_or_else(|| Malformed::new("a header's index is cut short"))?;
            let place = locate(&stated, data, role)?;
            // Values that lie on each other would be looked at as often as there are tags, whatever
            // the header's size.
            taken = taken.saturating_add(place.end.saturating_sub(place.start));
            if taken > data.len() {
                return Err(Malformed::new("a header's values lie on each other"));
            }
            places.push(place);
        }
        places.sort_by_key(|place| place.tag);
        // In the database an entry behind the region stands for the one within, and follows it.
        places.reverse();
        let before = places.len();
        places.dedup_by_key(|place| place.tag);
        places.reverse();
        if places.len() != before && role != Role::Database {
            return Err(Malformed::new("a header has a tag twice"));
        }
        header.places = places;
        Ok(header)
    }

    /// Checks the region, which says what of the header is signed, and gives how many entries
    /// describe it (rpm, lib/header.c, `hdrblobVerifyRegion`).
    fn check_region(&self, role: Role) -> Result<usize, Malformed> {
        let tag = role.region();
        let first = Stated::read(self.index_bytes()).ok_or_else(|| Malformed::new("a header's index is cut short"))?;
        if first.tag.0 >= FIRST_TAG {
            // Before rpm 4.0 there were none; what such a header's signature covers is anyone's guess.
            return match role {
                Role::Signature => Ok(0),
                Role::Main | Role::Database => Err(Malformed::new("a header has no immutable region, as before rpm 4")),
            };
        }
        let damaged = || Malformed::new("a header's region is damaged");
        let data = self.data_bytes();
        let offset = usize::try_from(first.offset).map_err(|_| damaged())?;
        let end = offset.checked_add(TRAILER_BYTES).filter(|end| *end <= data.len()).ok_or_else(damaged)?;
        let trailer = data.get(offset..end).and_then(Stated::read).ok_or_else(damaged)?;
        // Old rpm wrote the trailer of a signature header under the other tag (`hdrblobVerifyRegion`).
        let known = trailer.is_region(tag) || (role == Role::Signature && trailer.is_region(tag::HEADERIMMUTABLE));
        if !first.is_region(tag) || !known {
            return Err(damaged());
        }
        // The trailer's offset is the negative length of the region's part of the index.
        let index = usize::try_from(0u32.wrapping_sub(trailer.offset)).map_err(|_| damaged())?;
        if index == 0 || index % ENTRY_BYTES != 0 || index > self.index_bytes().len() {
            return Err(damaged());
        }
        // What lies beyond the region is not signed, so a package's main header has nothing there.
        if role == Role::Main && (index != self.index_bytes().len() || end != data.len()) {
            return Err(Malformed::new("a header has entries outside its immutable region"));
        }
        Ok(1)
    }
}

/// Finds a value in the data, and checks that it is of the type that its tag has.
fn locate(stated: &Stated, data: &[u8], role: Role) -> Result<Place, Malformed> {
    let Stated { tag, offset, count, .. } = *stated;
    let refuse = |reason: &str| Malformed::new(format!("the header's tag {} {reason}", tag.0));
    if tag.0 < FIRST_TAG {
        return Err(refuse("is a second region"));
    }
    let kind = Type::of(stated.kind).ok_or_else(|| refuse("has a type that does not exist"))?;
    let start = usize::try_from(offset).ok().filter(|start| *start <= data.len());
    let start = start.ok_or_else(|| refuse("lies outside the header"))?;
    let count = usize::try_from(count).map_err(|_| refuse("has too many values"))?;
    if count == 0 || kind == Type::Null {
        return Err(refuse("is empty"));
    }
    let rest = data.get(start..).unwrap_or_default();
    let length = match kind.width() {
        Some(width) => {
            if start % width.max(1) != 0 {
                return Err(refuse("is not aligned"));
            }
            count.checked_mul(width).filter(|length| *length <= rest.len())
        }
        None if kind == Type::String && count != 1 => None,
        None => strings_length(rest, count),
    };
    let length = length.ok_or_else(|| refuse("reaches beyond the header's end"))?;
    let value = rest.get(..length).unwrap_or_default();
    if let Some(shape) = role.expected(tag) {
        if !shape.holds(kind) {
            return Err(refuse(&format!("has type {}, which it never has", kind.number())));
        }
        let text = matches!(shape, Shape::Text | Shape::Texts) && !is_free(tag);
        if text && std::str::from_utf8(value).is_err() {
            return Err(refuse("is not UTF-8"));
        }
    }
    Ok(Place { tag, kind, count, start, end: start.saturating_add(length) })
}

/// Bytes of so many strings with their NULs.
fn strings_length(data: &[u8], count: usize) -> Option<usize> {
    // Each takes a byte at least, so a count that lies is found out at once.
    if count > data.len() {
        return None;
    }
    let mut at = 0usize;
    for _ in 0..count {
        let end = data.get(at..)?.iter().position(|&byte| byte == 0)?;
        at = at.checked_add(end)?.checked_add(1)?;
    }
    Some(at)
}

/// Text that may be in any encoding: what people wrote, names of files, and scripts.
fn is_free(tag: Tag) -> bool {
    matches!(
        tag,
        tag::LICENSE
            | tag::PACKAGER
            | tag::VENDOR
            | tag::DISTRIBUTION
            | tag::URL
            | tag::BASENAMES
            | tag::DIRNAMES
            | tag::OLDFILENAMES
            | tag::FILELINKTOS
            | tag::PREIN
            | tag::POSTIN
            | tag::PREUN
            | tag::POSTUN
            | tag::PRETRANS
            | tag::POSTTRANS
            | tag::PREUNTRANS
            | tag::POSTUNTRANS
            | tag::VERIFYSCRIPT
            | tag::TRIGGERSCRIPTS
            | tag::FILETRIGGERSCRIPTS
            | tag::TRANSFILETRIGGERSCRIPTS
            | tag::SYSUSERS
    )
}
