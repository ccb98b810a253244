//! The structures of a hosted sparse extent (VMware Virtual Disk Format 1.1, "Hosted Sparse
//! Extents" and "Stream-Optimized Compressed Sparse Extents"; numbers are little-endian, places
//! are in sectors).

use crate::Error;
use crate::bytes::{Fields, put};

pub(crate) const FORMAT: &str = "VMDK";
/// "KDMV", the header's `magicNumber`.
pub(crate) const MAGIC: &[u8; 4] = b"KDMV";
pub(crate) const SECTOR: u64 = 512;
/// Length of the header and of a marker, in bytes.
pub(crate) const HEADER_BYTES: usize = 512;
/// Entries of a grain table (`numGTEsPerGT`).
pub(crate) const TABLE_ENTRIES: u64 = 512;
/// The header says so where only the footer knows the grain directory (`GD_AT_END`).
pub(crate) const DIRECTORY_AT_END: u64 = u64::MAX;
/// `compressAlgorithm`: RFC 1951 deflate in an RFC 1950 stream.
pub(crate) const COMPRESS_DEFLATE: u16 = 1;
/// Largest disk, in bytes: 62 TiB, where vSphere ends.
pub(crate) const SIZE_MAX: u64 = 62 << 40;
/// Largest grain that we read, in bytes; 64 KiB is usual.
pub(crate) const GRAIN_BYTES_MAX: u64 = 4 << 20;
/// Length of a grain's marker before its data, in bytes: sector and size.
pub(crate) const GRAIN_MARKER_BYTES: u64 = 12;

/// Bits of `flags`.
pub(crate) mod flag {
    /// The line ends in the header are meant to be checked.
    pub(crate) const NEW_LINE_TEST: u32 = 1 << 0;
    /// A table entry of 1 stands for a grain of zeros.
    pub(crate) const ZERO_GRAINS: u32 = 1 << 2;
    /// Grains are compressed.
    pub(crate) const COMPRESSED: u32 = 1 << 16;
    /// Markers say what comes next.
    pub(crate) const MARKERS: u32 = 1 << 17;
}

/// Types of markers.
pub(crate) mod marker {
    pub(crate) const GRAIN_TABLE: u32 = 1;
    pub(crate) const GRAIN_DIRECTORY: u32 = 2;
    pub(crate) const FOOTER: u32 = 3;
}

/// `SparseExtentHeader`, as far as we use it.
#[derive(Clone, Debug)]
pub(crate) struct Header {
    pub version: u32,
    pub flags: u32,
    pub capacity: u64,
    pub grain_sectors: u64,
    pub descriptor_at: u64,
    pub descriptor_sectors: u64,
    pub table_entries: u32,
    pub directory_at: u64,
    pub overhead: u64,
    pub compression: u16,
}

impl Header {
    pub(crate) fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        put(&mut bytes, 0, MAGIC);
        put(&mut bytes, 4, &self.version.to_le_bytes());
        put(&mut bytes, 8, &self.flags.to_le_bytes());
        put(&mut bytes, 12, &self.capacity.to_le_bytes());
        put(&mut bytes, 20, &self.grain_sectors.to_le_bytes());
        put(&mut bytes, 28, &self.descriptor_at.to_le_bytes());
        put(&mut bytes, 36, &self.descriptor_sectors.to_le_bytes());
        put(&mut bytes, 44, &self.table_entries.to_le_bytes());
        put(&mut bytes, 56, &self.directory_at.to_le_bytes());
        put(&mut bytes, 64, &self.overhead.to_le_bytes());
        // Tells whether somebody changed line ends on the way.
        put(&mut bytes, 73, b"\n \r\n");
        put(&mut bytes, 77, &self.compression.to_le_bytes());
        bytes
    }

    /// Reads a header or footer that lies at byte `at`.
    pub(crate) fn decode(bytes: &[u8; HEADER_BYTES], at: u64) -> Result<Self, Error> {
        let damaged = |offset, reason: String| Error::Damaged { format: FORMAT, offset: at + offset, reason };
        let unsupported = |what: String| Error::Unsupported {
            format: FORMAT,
            what,
            reason: "it is not supported; convert the image with qemu-img first".into(),
        };
        let fields = Fields(bytes);
        if fields.bytes::<4>(0) != *MAGIC {
            return Err(damaged(0, "there is no header of a sparse extent".into()));
        }
        let header = Self {
            version: fields.u32_le(4),
            flags: fields.u32_le(8),
            capacity: fields.u64_le(12),
            grain_sectors: fields.u64_le(20),
            descriptor_at: fields.u64_le(28),
            descriptor_sectors: fields.u64_le(36),
            table_entries: fields.u32_le(44),
            directory_at: fields.u64_le(56),
            overhead: fields.u64_le(64),
            compression: u16::from_le_bytes(fields.bytes(77)),
        };
        if !(1..=3).contains(&header.version) {
            return Err(unsupported(format!("version {}", header.version)));
        }
        if header.flags & flag::NEW_LINE_TEST != 0 && fields.bytes::<4>(73) != *b"\n \r\n" {
            return Err(damaged(73, "line ends were changed: the file was copied as text".into()));
        }
        if header.flags & flag::COMPRESSED != 0 && header.compression != COMPRESS_DEFLATE {
            return Err(unsupported(format!("the compression {}", header.compression)));
        }
        if !header.grain_sectors.is_power_of_two() || header.grain_sectors > GRAIN_BYTES_MAX / SECTOR {
            return Err(damaged(20, format!("grains of {} sectors are not possible", header.grain_sectors)));
        }
        if u64::from(header.table_entries) != TABLE_ENTRIES {
            return Err(damaged(44, format!("grain tables of {} entries are not possible", header.table_entries)));
        }
        if header.capacity > SIZE_MAX / SECTOR {
            return Err(damaged(12, format!("a disk of {} sectors is not possible", header.capacity)));
        }
        Ok(header)
    }
}
