//! Notes that stay beside layers: byte strings preceded by their lengths (u32, little-endian), lists
//! preceded by their counts.

/// Writes a note.
#[derive(Default)]
pub struct Writer(Vec<u8>);

impl Writer {
    /// A count or another number.
    pub fn count(&mut self, count: usize) {
        self.0.extend_from_slice(&u32::try_from(count).unwrap_or(u32::MAX).to_le_bytes());
    }

    /// A byte string.
    pub fn bytes(&mut self, bytes: &[u8]) {
        self.count(bytes.len());
        self.0.extend_from_slice(bytes);
    }

    /// The note.
    pub fn finish(self) -> Vec<u8> {
        self.0
    }
}

/// Reads a note; `None` at the first thing that cannot be.
pub struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// Reads from the beginning.
    pub fn new(note: &'a [u8]) -> Self {
        Self(note)
    }

    /// A count or another number.
    pub fn count(&mut self) -> Option<u32> {
        let (count, rest) = self.0.split_first_chunk::<4>()?;
        self.0 = rest;
        Some(u32::from_le_bytes(*count))
    }

    /// A byte string.
    pub fn bytes(&mut self) -> Option<&'a [u8]> {
        let length = self.count()? as usize;
        let (bytes, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(bytes)
    }

    /// Whether there is nothing left.
    pub fn is_at_end(&self) -> bool {
        self.0.is_empty()
    }
}
