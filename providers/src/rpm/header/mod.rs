//! The header: tags with typed values, of which a package file has two and the database one per
//! package (rpm, docs/manual/format_header.md, "Header format"). Everything is checked once, when it
//! is read; asking for a value cannot fail any more.

mod read;
pub mod tag;

use std::fmt;

pub use tag::Tag;

/// What a header begins with: magic and version (format_header.md).
pub const MAGIC: [u8; 8] = [0x8e, 0xad, 0xe8, 0x01, 0, 0, 0, 0];
/// Bytes of an entry of the index.
const ENTRY_BYTES: usize = 16;

/// What a header is for, which says what its region is and how large it may be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    /// The signature header of a package file.
    Signature,
    /// The main header of a package file.
    Main,
    /// A header as the database keeps it: the main header with more entries behind its region.
    Database,
}

/// A header that is not one.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{reason}")]
pub struct Malformed {
    /// What is wrong with it: a clause about the header.
    pub reason: String,
}

impl Malformed {
    pub(super) fn new(reason: impl Into<String>) -> Self {
        Self { reason: reason.into() }
    }
}

/// The type of a value (rpm, include/rpm/rpmtag.h, `rpmTagType_e`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Type {
    /// Nothing.
    Null,
    /// Characters.
    Char,
    /// Numbers of 8 bits.
    Int8,
    /// Numbers of 16 bits.
    Int16,
    /// Numbers of 32 bits.
    Int32,
    /// Numbers of 64 bits.
    Int64,
    /// One string, with a NUL at its end.
    String,
    /// Bytes.
    Bin,
    /// Strings, each with a NUL at its end.
    StringArray,
    /// One string in several languages.
    I18nString,
}

impl Type {
    fn of(number: u32) -> Option<Self> {
        use Type::*;
        let types = [Null, Char, Int8, Int16, Int32, Int64, String, Bin, StringArray, I18nString];
        usize::try_from(number).ok().and_then(|at| types.get(at)).copied()
    }

    /// The number that stands for it in an index.
    pub fn number(self) -> u32 {
        match self {
            Self::Null => 0,
            Self::Char => 1,
            Self::Int8 => 2,
            Self::Int16 => 3,
            Self::Int32 => 4,
            Self::Int64 => 5,
            Self::String => 6,
            Self::Bin => 7,
            Self::StringArray => 8,
            Self::I18nString => 9,
        }
    }

    /// Bytes of one number or character; `None` for strings.
    fn width(self) -> Option<usize> {
        match self {
            Self::Null => Some(0),
            Self::Char | Self::Int8 | Self::Bin => Some(1),
            Self::Int16 => Some(2),
            Self::Int32 => Some(4),
            Self::Int64 => Some(8),
            Self::String | Self::StringArray | Self::I18nString => None,
        }
    }
}

/// Where a value is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Place {
    tag: Tag,
    kind: Type,
    count: usize,
    /// The value's bytes within the data.
    start: usize,
    end: usize,
}

/// A header whose every value has been checked to lie within it.
#[derive(Clone, PartialEq, Eq)]
pub struct Header {
    /// Number of entries, size of the data, index and data, as they were.
    raw: Vec<u8>,
    entries: usize,
    /// All values but the region, sorted by tag.
    places: Vec<Place>,
}

impl fmt::Debug for Header {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Header({}, {} tags)", self.string(tag::NAME).unwrap_or("signatures"), self.places.len())
    }
}

impl Header {
    /// Reads the main header of a package, from its magic to its last byte.
    ///
    /// # Errors
    /// Anything but one sound header.
    pub fn parse(bytes: &[u8]) -> Result<Self, Malformed> {
        let rest = bytes.strip_prefix(&MAGIC).ok_or_else(|| Malformed::new("it does not begin as a header does"))?;
        Self::read(rest.to_vec(), Role::Main)
    }

    /// Reads the signature header of a package, from its magic to its last byte; the padding behind
    /// it is not part of it.
    ///
    /// # Errors
    /// Anything but one sound header.
    pub fn parse_signature(bytes: &[u8]) -> Result<Self, Malformed> {
        let rest = bytes.strip_prefix(&MAGIC).ok_or_else(|| Malformed::new("it does not begin as a header does"))?;
        Self::read(rest.to_vec(), Role::Signature)
    }

    /// Reads a header as the database keeps it: without magic, perhaps with entries behind the
    /// region.
    ///
    /// # Errors
    /// Anything but one sound header.
    pub fn parse_blob(bytes: &[u8]) -> Result<Self, Malformed> {
        Self::read(bytes.to_vec(), Role::Database)
    }

    /// The header as it is in the package file but for the eight bytes of magic: number of entries
    /// and size of the data (big-endian, 32 bits each), index, data.
    pub fn raw(&self) -> &[u8] {
        &self.raw
    }

    /// The index: 16 bytes for each entry, its region's first.
    pub fn index_bytes(&self) -> &[u8] {
        self.raw.get(8..self.data_start()).unwrap_or_default()
    }

    /// The data that the index points into; for a package's main header its end is the trailer of
    /// the region.
    pub fn data_bytes(&self) -> &[u8] {
        self.raw.get(self.data_start()..).unwrap_or_default()
    }

    /// Number of entries in the index, the region's own among them.
    pub fn entry_count(&self) -> usize {
        self.entries
    }

    fn data_start(&self) -> usize {
        self.entries.saturating_mul(ENTRY_BYTES).saturating_add(8)
    }

    /// Every tag but the region's, with type and number of values, sorted.
    pub fn tags(&self) -> impl Iterator<Item = (Tag, Type, usize)> + '_ {
        self.places.iter().map(|place| (place.tag, place.kind, place.count))
    }

    /// Whether there is a value.
    pub fn has(&self, tag: Tag) -> bool {
        self.place(tag).is_some()
    }

    /// Number of values of a tag; 0 where it is missing.
    pub fn count(&self, tag: Tag) -> usize {
        self.place(tag).map_or(0, |place| place.count)
    }

    /// The bytes of a value as they are in the header, numbers big-endian, strings with their NUL.
    pub fn value(&self, tag: Tag) -> Option<(Type, &[u8])> {
        let place = self.place(tag)?;
        Some((place.kind, self.bytes_at(place)))
    }

    fn place(&self, tag: Tag) -> Option<&Place> {
        let at = self.places.binary_search_by_key(&tag, |place| place.tag).ok()?;
        self.places.get(at)
    }

    fn bytes_at(&self, place: &Place) -> &[u8] {
        self.data_bytes().get(place.start..place.end).unwrap_or_default()
    }

    fn of_type(&self, tag: Tag, kinds: &[Type]) -> Option<(&[u8], usize)> {
        let place = self.place(tag).filter(|place| kinds.contains(&place.kind))?;
        Some((self.bytes_at(place), place.count))
    }

    /// The bytes of a string without its NUL: of one in several languages the first (language `C`),
    /// of an array its first.
    pub fn string_bytes(&self, tag: Tag) -> Option<&[u8]> {
        self.string_list(tag)?.next()
    }

    /// A string; `None` also where it is not UTF-8.
    pub fn string(&self, tag: Tag) -> Option<&str> {
        self.string_bytes(tag).and_then(|bytes| std::str::from_utf8(bytes).ok())
    }

    /// The bytes of each string of an array, without their NULs; a single string is an array of one.
    pub fn string_list(&self, tag: Tag) -> Option<Strings<'_>> {
        let (rest, count) = self.of_type(tag, &[Type::String, Type::StringArray, Type::I18nString])?;
        Some(Strings { rest, count })
    }

    /// The strings of an array; `None` also where one of them is not UTF-8.
    pub fn strings(&self, tag: Tag) -> Option<Vec<&str>> {
        self.string_list(tag)?.map(|bytes| std::str::from_utf8(bytes).ok()).collect()
    }

    /// Bytes.
    pub fn bin(&self, tag: Tag) -> Option<&[u8]> {
        self.of_type(tag, &[Type::Bin]).map(|(bytes, _)| bytes)
    }

    /// Characters or numbers of 8 bits.
    pub fn u8_list(&self, tag: Tag) -> Option<&[u8]> {
        self.of_type(tag, &[Type::Char, Type::Int8]).map(|(bytes, _)| bytes)
    }

    /// Numbers of 16 bits.
    pub fn u16_list(&self, tag: Tag) -> Option<impl ExactSizeIterator<Item = u16> + Clone + '_> {
        let (bytes, _) = self.of_type(tag, &[Type::Int16])?;
        Some(bytes.as_chunks().0.iter().map(|bytes| u16::from_be_bytes(*bytes)))
    }

    /// Numbers of 32 bits.
    pub fn u32_list(&self, tag: Tag) -> Option<impl ExactSizeIterator<Item = u32> + Clone + '_> {
        let (bytes, _) = self.of_type(tag, &[Type::Int32])?;
        Some(bytes.as_chunks().0.iter().map(|bytes| u32::from_be_bytes(*bytes)))
    }

    /// Numbers of 64 bits.
    pub fn u64_list(&self, tag: Tag) -> Option<impl ExactSizeIterator<Item = u64> + Clone + '_> {
        let (bytes, _) = self.of_type(tag, &[Type::Int64])?;
        Some(bytes.as_chunks().0.iter().map(|bytes| u64::from_be_bytes(*bytes)))
    }

    /// The first number of 32 bits.
    pub fn u32(&self, tag: Tag) -> Option<u32> {
        self.u32_list(tag)?.next()
    }

    /// A size that is under one tag where it fits 32 bits and under another where it does not.
    pub fn size(&self, short: Tag, long: Tag) -> Option<u64> {
        let long = self.u64_list(long).and_then(|mut numbers| numbers.next());
        long.or_else(|| self.u32(short).map(u64::from))
    }
}

/// The strings of an array, as bytes.
#[derive(Clone, Debug)]
pub struct Strings<'h> {
    rest: &'h [u8],
    count: usize,
}

impl<'h> Iterator for Strings<'h> {
    type Item = &'h [u8];

    fn next(&mut self) -> Option<&'h [u8]> {
        self.count = self.count.checked_sub(1)?;
        let end = self.rest.iter().position(|&byte| byte == 0)?;
        let (string, rest) = self.rest.split_at_checked(end)?;
        self.rest = rest.get(1..).unwrap_or_default();
        Some(string)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.count, Some(self.count))
    }
}

impl ExactSizeIterator for Strings<'_> {}

#[cfg(test)]
pub(in crate::rpm) mod tests;
