//! The structures of qcow2 (QEMU, docs/interop/qcow2.txt; numbers are big-endian).

use crate::Error;
use crate::bytes::{Fields, put};

pub(crate) const FORMAT: &str = "qcow2";
/// "QFI\xfb" (section "Header", bytes 0-3).
pub(crate) const MAGIC: u32 = 0x5146_49fb;
/// Length of the version 3 header with the compression type and its padding, in bytes (bytes
/// 100-103: it is a multiple of 8).
pub(crate) const HEADER_BYTES: usize = 112;
/// Length of a version 2 header, in bytes.
pub(crate) const HEADER_V2_BYTES: usize = 72;
/// Refcounts are 1 << 4 = 16 bits wide: the width of version 2, which every reader knows.
pub(crate) const REFCOUNT_ORDER: u32 = 4;
/// Cluster sizes are 1 << 9 to 1 << 21 bytes: what the text asks for, and QEMU's own limit.
pub(crate) const CLUSTER_BITS: std::ops::RangeInclusive<u32> = 9..=21;
/// QEMU refuses an L1 table above 32 MiB (block/qcow2.h, `QCOW_MAX_L1_SIZE`): 4 Mi entries.
pub(crate) const L1_ENTRIES_MAX: u64 = (32 << 20) / 8;

/// Incompatible features (bytes 72-79): bits that a reader must know.
pub(crate) mod incompatible {
    /// Refcounts may be wrong; readers need not care.
    pub(crate) const DIRTY: u64 = 1 << 0;
    /// QEMU has found the metadata to be damaged.
    pub(crate) const CORRUPT: u64 = 1 << 1;
    /// The data lies in another file.
    pub(crate) const EXTERNAL_DATA: u64 = 1 << 2;
    /// Another compression than zlib is used.
    pub(crate) const COMPRESSION: u64 = 1 << 3;
    /// L2 entries are twice as long and count parts of clusters.
    pub(crate) const EXTENDED_L2: u64 = 1 << 4;
}

/// Compression type (byte 104).
pub(crate) const COMPRESSION_ZLIB: u8 = 0;
pub(crate) const COMPRESSION_ZSTD: u8 = 1;

/// L1 and L2 entries: the cluster has refcount 1 ("copied").
pub(crate) const COPIED: u64 = 1 << 63;
/// L2 entries: the rest is a compressed cluster's descriptor.
pub(crate) const COMPRESSED: u64 = 1 << 62;
/// L2 entries: reads as zero, whatever the offset says.
pub(crate) const ZERO: u64 = 1;
/// Bits of L1 and standard L2 entries that hold a host offset (bits 9-55).
pub(crate) const OFFSET_MASK: u64 = 0x00ff_ffff_ffff_fe00;

/// What the header says, as far as we use it.
#[derive(Clone, Debug)]
pub(crate) struct Header {
    pub cluster_bits: u32,
    pub size: u64,
    pub l1_entries: u32,
    pub l1_offset: u64,
    pub refcount_table_offset: u64,
    pub refcount_table_clusters: u32,
    pub compression: u8,
}

impl Header {
    /// The header's bytes; the end of the header extensions (eight zero bytes) follows in a
    /// cluster that is zero.
    pub(crate) fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        let features = if self.compression == COMPRESSION_ZLIB { 0 } else { incompatible::COMPRESSION };
        put(&mut bytes, 0, &MAGIC.to_be_bytes());
        put(&mut bytes, 4, &3u32.to_be_bytes());
        put(&mut bytes, 20, &self.cluster_bits.to_be_bytes());
        put(&mut bytes, 24, &self.size.to_be_bytes());
        put(&mut bytes, 36, &self.l1_entries.to_be_bytes());
        put(&mut bytes, 40, &self.l1_offset.to_be_bytes());
        put(&mut bytes, 48, &self.refcount_table_offset.to_be_bytes());
        put(&mut bytes, 56, &self.refcount_table_clusters.to_be_bytes());
        put(&mut bytes, 72, &features.to_be_bytes());
        put(&mut bytes, 96, &REFCOUNT_ORDER.to_be_bytes());
        put(&mut bytes, 100, &(HEADER_BYTES as u32).to_be_bytes());
        put(&mut bytes, 104, &[self.compression]);
        bytes
    }

    /// Reads a header of version 2 or 3 out of the file's first [`HEADER_BYTES`] bytes.
    ///
    /// # Errors
    /// [`Error::Damaged`] for what contradicts the format, [`Error::Unsupported`] for what an
    /// image of ours cannot mean (backing files, encryption, external data, extended L2).
    pub(crate) fn decode(bytes: &[u8; HEADER_BYTES]) -> Result<Self, Error> {
        let damaged = |offset, reason: String| Error::Damaged { format: FORMAT, offset, reason };
        let refused =
            |what: &str, reason: &str| Error::Unsupported { format: FORMAT, what: what.into(), reason: reason.into() };
        let unsupported = |what: &str| refused(what, "it is not supported; convert the image with qemu-img first");
        let fields = Fields(bytes);
        if fields.u32_be(0) != MAGIC {
            return Err(damaged(0, "the file does not begin with QFI\\xfb".into()));
        }
        let version = fields.u32_be(4);
        if version != 2 && version != 3 {
            return Err(unsupported(&format!("version {version}")));
        }
        if fields.u64_be(8) != 0 {
            let reason = "a part of the disk lies in another file; `qemu-img rebase -b \"\" FILE` makes it whole";
            return Err(refused("a backing file", reason));
        }
        if fields.u32_be(32) != 0 {
            return Err(refused("encryption", "it is not supported; decrypt the image with qemu-img first"));
        }
        let cluster_bits = fields.u32_be(20);
        if !CLUSTER_BITS.contains(&cluster_bits) {
            return Err(damaged(20, format!("clusters of 1 << {cluster_bits} bytes are not allowed")));
        }
        let mut compression = COMPRESSION_ZLIB;
        if version == 3 {
            let features = fields.u64_be(72);
            if features & incompatible::CORRUPT != 0 {
                let reason = "QEMU has found it to be damaged; `qemu-img check -r all FILE` may repair it";
                return Err(refused("an image that is marked corrupt", reason));
            }
            if features & incompatible::EXTERNAL_DATA != 0 {
                return Err(unsupported("an external data file"));
            }
            if features & incompatible::EXTENDED_L2 != 0 {
                return Err(unsupported("extended L2 entries (subclusters)"));
            }
            if features & !(incompatible::DIRTY | incompatible::COMPRESSION) != 0 {
                return Err(unsupported(&format!("the incompatible feature set {features:#x}")));
            }
            if features & incompatible::COMPRESSION != 0 && fields.u32_be(100) as usize >= HEADER_BYTES {
                compression = fields.u8(104);
            }
            if compression > COMPRESSION_ZSTD {
                return Err(unsupported(&format!("the compression type {compression}")));
            }
        }
        let header = Self {
            cluster_bits,
            size: fields.u64_be(24),
            l1_entries: fields.u32_be(36),
            l1_offset: fields.u64_be(40),
            refcount_table_offset: fields.u64_be(48),
            refcount_table_clusters: fields.u32_be(56),
            compression,
        };
        let covered = u128::from(header.l1_entries) << (2 * cluster_bits - 3);
        if u64::from(header.l1_entries) > L1_ENTRIES_MAX {
            return Err(damaged(36, format!("an L1 table of {} entries is too large", header.l1_entries)));
        }
        if covered < u128::from(header.size) {
            return Err(damaged(36, format!("the L1 table covers {covered} bytes of {}", header.size)));
        }
        Ok(header)
    }
}

/// Where a compressed cluster's number of sectors begins in its descriptor (section "Compressed
/// Clusters Descriptor": x = 62 - (cluster_bits - 8)).
pub(crate) fn sectors_shift(cluster_bits: u32) -> u32 {
    62 - (cluster_bits - 8)
}

/// The descriptor of `length` compressed bytes at a host offset.
pub(crate) fn descriptor(cluster_bits: u32, offset: u64, length: u64) -> u64 {
    let additional = (offset + length - 1) / 512 - offset / 512;
    COMPRESSED | additional << sectors_shift(cluster_bits) | offset
}

/// The host offset of a compressed cluster and how many bytes may belong to it: to the end of
/// its last sector.
pub(crate) fn extent(cluster_bits: u32, descriptor: u64) -> (u64, u64) {
    let shift = sectors_shift(cluster_bits);
    let offset = descriptor & ((1 << shift) - 1);
    let additional = (descriptor & !(COPIED | COMPRESSED)) >> shift;
    (offset, (additional + 1) * 512 - offset % 512)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptors_count_the_sectors_after_the_first() {
        // 1000 bytes at 64 KiB + 500: sectors 128 (12 bytes), 129, 130 (476 bytes).
        let entry = descriptor(16, 65536 + 500, 1000);
        assert_eq!(entry, COMPRESSED | 2 << 54 | (65536 + 500));
        assert_eq!(extent(16, entry), (65536 + 500, 12 + 512 + 512));
        assert_eq!(extent(16, descriptor(16, 65536, 512)), (65536, 512));
    }
}
