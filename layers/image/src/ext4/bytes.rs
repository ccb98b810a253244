//! Little-endian numbers in fixed places (ext4 docs, "Layout": all but the journal is little-endian).

/// Writes a number at a place that the caller knows to lie inside.
pub(super) fn put16(bytes: &mut [u8], at: usize, value: u16) {
    bytes[at..at + 2].copy_from_slice(&value.to_le_bytes());
}

/// As [`put16`].
pub(super) fn put32(bytes: &mut [u8], at: usize, value: u32) {
    bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
}

/// As [`put16`], for the journal, which is big-endian.
pub(super) fn put32_big(bytes: &mut [u8], at: usize, value: u32) {
    bytes[at..at + 4].copy_from_slice(&value.to_be_bytes());
}

/// Writes the low half at one place and the high half at another.
pub(super) fn put32_split(bytes: &mut [u8], low: usize, high: usize, value: u32) {
    put16(bytes, low, low16(value));
    put16(bytes, high, low16(value >> 16));
}

/// Writes the low half at one place and the high half at another.
pub(super) fn put64_split(bytes: &mut [u8], low: usize, high: usize, value: u64) {
    put32(bytes, low, low32(value));
    put32(bytes, high, low32(value >> 32));
}

/// The low 16 bits.
pub(super) fn low16(value: u32) -> u16 {
    (value & 0xffff) as u16
}

/// The low 32 bits.
pub(super) fn low32(value: u64) -> u32 {
    (value & 0xffff_ffff) as u32
}

/// The number at a place; zero past the end, so that a short buffer cannot stop the program.
pub(super) fn get16(bytes: &[u8], at: usize) -> u16 {
    bytes.get(at..at + 2).and_then(|found| found.try_into().ok()).map_or(0, u16::from_le_bytes)
}

/// As [`get16`].
pub(super) fn get32(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..at + 4).and_then(|found| found.try_into().ok()).map_or(0, u32::from_le_bytes)
}

/// The number whose halves lie at two places.
pub(super) fn get64_split(bytes: &[u8], low: usize, high: usize) -> u64 {
    u64::from(get32(bytes, low)) | u64::from(get32(bytes, high)) << 32
}
