//! Checksums (ext4 docs, "Checksums"): CRC-32C as a running value, without the usual inversions.

use super::bytes::low16;
use super::{Feature, Features};

/// The running CRC-32C of `bytes` from `seed` on. The library inverts before and after; the
/// format does not.
pub(super) fn crc32c(seed: u32, bytes: &[u8]) -> u32 {
    !crc32c::crc32c_append(!seed, bytes)
}

/// CRC-16 (polynomial 0x8005 reflected), which `uninit_bg` uses for group descriptors.
pub(super) fn crc16(seed: u16, bytes: &[u8]) -> u16 {
    bytes.iter().fold(seed, |crc, &byte| {
        (0..8).fold(crc ^ u16::from(byte), |crc, _| if crc & 1 == 1 { crc >> 1 ^ 0xa001 } else { crc >> 1 })
    })
}

/// The start of every checksum of a file system, if it has checksums of metadata.
#[derive(Clone, Copy, Debug)]
pub(super) struct Checksums {
    seed: Option<u32>,
}

impl Checksums {
    pub fn new(features: Features, uuid: &[u8; 16]) -> Self {
        Self { seed: features.has(Feature::METADATA_CSUM).then(|| crc32c(!0, uuid)) }
    }

    pub fn with_seed(seed: Option<u32>) -> Self {
        Self { seed }
    }

    /// Whether metadata has checksums.
    pub fn on(self) -> bool {
        self.seed.is_some()
    }

    /// The file system's seed, as `metadata_csum_seed` keeps it.
    pub fn seed(self) -> Option<u32> {
        self.seed
    }

    /// The checksum of bytes that belong to the file system as a whole; 0 without checksums.
    pub fn of(self, bytes: &[u8]) -> u32 {
        self.seed.map_or(0, |seed| crc32c(seed, bytes))
    }

    /// Checksums of what belongs to an inode. Generations are 0 in what we write.
    pub fn of_inode(self, number: u32, generation: u32) -> Self {
        let seed = self.seed.map(|seed| crc32c(crc32c(seed, &number.to_le_bytes()), &generation.to_le_bytes()));
        Self { seed }
    }

    /// These with more bytes taken in.
    pub fn then(self, bytes: &[u8]) -> Self {
        Self { seed: self.seed.map(|seed| crc32c(seed, bytes)) }
    }

    /// The value so far; 0 without checksums.
    pub fn value(self) -> u32 {
        self.seed.unwrap_or(0)
    }
}

/// The checksum of a group descriptor whose checksum field is zero.
pub(super) fn of_descriptor(
    features: Features,
    checksums: Checksums,
    uuid: &[u8; 16],
    group: u32,
    descriptor: &[u8],
) -> u16 {
    /// Place of the checksum in a group descriptor, bytes.
    const FIELD: usize = 0x1e;
    let (before, after) = descriptor.split_at(FIELD);
    if checksums.on() {
        return low16(checksums.then(&group.to_le_bytes()).then(before).then(&[0; 2]).then(&after[2..]).value());
    }
    if features.has(Feature::UNINIT_BG) {
        let crc = crc16(crc16(crc16(!0, uuid), &group.to_le_bytes()), before);
        // Unlike CRC-32C's, this one leaves the field out, and the upper half only counts when
        // descriptors are wider than 32 bytes.
        return crc16(crc, &after[2..]);
    }
    0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn check_values_of_the_catalogue() {
        assert_eq!(!crc32c(!0, b"123456789"), 0xe306_9283, "CRC-32C's check value");
        assert_eq!(crc16(0, b"123456789"), 0xbb3d, "CRC-16/ARC's check value");
    }
}
