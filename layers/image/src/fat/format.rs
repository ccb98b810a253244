//! Structures and constants (fatgen103; numbers are little-endian).

pub(crate) const FORMAT: &str = "FAT";
/// Sector size in bytes: the only one that every firmware reads.
pub(crate) const SECTOR: u64 = 512;
/// Length of a directory entry in bytes.
pub(crate) const SLOT: usize = 32;
/// Most slots in a directory: 2 MiB of them (fatgen103, "FAT Directory Structure").
pub(crate) const SLOTS_MAX: u64 = 65_536;
/// Copies of the FAT.
pub(crate) const FATS: u64 = 2;
/// Fixed disk (fatgen103, "BPB_Media").
pub(crate) const MEDIA: u8 = 0xf8;
/// First cluster that holds data.
pub(crate) const FIRST_CLUSTER: u32 = 2;
/// Where FAT32 keeps its FSInfo and the copy of its boot sector (fatgen103, "BPB_FSInfo",
/// "BPB_BkBootSec"), in sectors.
pub(crate) const FS_INFO_SECTOR: u64 = 1;
pub(crate) const BACKUP_SECTOR: u64 = 6;
/// UTF-16 units of a long name per slot.
pub(crate) const LONG_UNITS: usize = 13;
/// Where they lie in a slot, in bytes.
pub(crate) const LONG_UNIT_AT: [usize; LONG_UNITS] = [1, 3, 5, 7, 9, 14, 16, 18, 20, 22, 24, 28, 30];
/// Longest long name in UTF-16 units.
pub(crate) const LONG_NAME_UNITS_MAX: usize = 255;
/// Marks the slot with the end of a long name, which comes first.
pub(crate) const LONG_LAST: u8 = 0x40;

/// Attributes of a directory entry.
pub(crate) mod attribute {
    pub(crate) const READ_ONLY: u8 = 0x01;
    pub(crate) const VOLUME_ID: u8 = 0x08;
    pub(crate) const DIRECTORY: u8 = 0x10;
    pub(crate) const ARCHIVE: u8 = 0x20;
    /// The four lowest bits together: a slot of a long name.
    pub(crate) const LONG_NAME: u8 = 0x0f;
}

/// The three sizes of FAT entries.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Kind {
    /// 12 bits.
    Fat12,
    /// 16 bits.
    Fat16,
    /// 28 bits in 32.
    Fat32,
}

impl Kind {
    /// Which one a number of clusters means (fatgen103, "FAT Type Determination").
    pub(crate) fn of_clusters(clusters: u64) -> Self {
        match clusters {
            0..4085 => Self::Fat12,
            4085..65_525 => Self::Fat16,
            _ => Self::Fat32,
        }
    }

    /// Numbers of clusters that we make it with. Readers disagree by a few at the borders, and
    /// fatgen103 asks to stay away from them: 16 clusters on each side.
    pub(crate) fn clusters(self) -> std::ops::RangeInclusive<u64> {
        match self {
            Self::Fat12 => 1..=4068,
            Self::Fat16 => 4101..=65_508,
            Self::Fat32 => 65_541..=0x0fff_fff0,
        }
    }

    /// Width of an entry in bits.
    pub(crate) fn entry_bits(self) -> u64 {
        match self {
            Self::Fat12 => 12,
            Self::Fat16 => 16,
            Self::Fat32 => 32,
        }
    }

    /// From this value on an entry ends a chain.
    pub(crate) fn end_of_chain(self) -> u32 {
        match self {
            Self::Fat12 => 0xff8,
            Self::Fat16 => 0xfff8,
            Self::Fat32 => 0x0fff_fff8,
        }
    }

    /// Name in the boot sector ("BS_FilSysType").
    pub(crate) fn name(self) -> &'static [u8; 8] {
        match self {
            Self::Fat12 => b"FAT12   ",
            Self::Fat16 => b"FAT16   ",
            Self::Fat32 => b"FAT32   ",
        }
    }
}

/// Where the parts of a file system lie, in sectors.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Geometry {
    pub kind: Kind,
    pub sectors: u64,
    pub cluster_sectors: u64,
    pub reserved: u64,
    pub fats: u64,
    pub fat_sectors: u64,
    /// Slots of the root directory; 0 with FAT32, whose root is made of clusters.
    pub root_slots: u64,
    pub clusters: u64,
}

impl Geometry {
    pub(crate) fn cluster_bytes(&self) -> u64 {
        self.cluster_sectors * SECTOR
    }

    pub(crate) fn root_sectors(&self) -> u64 {
        (self.root_slots * SLOT as u64).div_ceil(SECTOR)
    }

    /// First byte of FAT number `copy`.
    pub(crate) fn fat_at(&self, copy: u64) -> u64 {
        (self.reserved + copy * self.fat_sectors) * SECTOR
    }

    /// First byte of a fixed root directory.
    pub(crate) fn root_at(&self) -> u64 {
        self.fat_at(self.fats)
    }

    /// First byte of a cluster.
    pub(crate) fn cluster_at(&self, cluster: u32) -> u64 {
        let data = self.root_at() + self.root_sectors() * SECTOR;
        data + u64::from(cluster.saturating_sub(FIRST_CLUSTER)) * self.cluster_bytes()
    }
}

/// The checksum that ties a long name to its short one (fatgen103, "Generating 8.3 checksum").
pub(crate) fn checksum(short: &[u8; 11]) -> u8 {
    short.iter().fold(0u8, |sum, &byte| sum.rotate_right(1).wrapping_add(byte))
}
