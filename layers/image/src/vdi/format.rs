//! The structures of a VDI (VirtualBox, VDICore.h: `VDIPREHEADER`, `VDIHEADER1PLUS`; numbers are
//! little-endian).

pub(crate) const FORMAT: &str = "VDI";
/// Where the signature lies, in bytes, and what it is (`VDI_IMAGE_SIGNATURE`).
pub(crate) const SIGNATURE_AT: usize = 64;
pub(crate) const SIGNATURE: u32 = 0xbeda_107f;
/// Version 1.1.
pub(crate) const VERSION: u32 = 0x0001_0001;
/// Length of both headers, made up to a sector, in bytes.
pub(crate) const HEADER_BYTES: usize = 512;
/// Length of the second, as its first field says it (`sizeof(VDIHEADER1PLUS)`).
pub(crate) const HEADER1_PLUS_BYTES: u32 = 400;
/// Types of images.
pub(crate) const DYNAMIC: u32 = 1;
pub(crate) const STATIC: u32 = 2;
/// Blocks of 1 MiB, the only size that VirtualBox makes.
pub(crate) const BLOCK_BYTES: u64 = 1 << 20;
/// From here on entries of the map stand for no block: one that was never written, and one of
/// zeros (`VDI_IMAGE_BLOCK_FREE`, `VDI_IMAGE_BLOCK_ZERO`).
pub(crate) const NO_BLOCK_FROM: u32 = 0xffff_fffe;
pub(crate) const BLOCK_FREE: u32 = 0xffff_ffff;
/// Most blocks that we read: a disk of 64 TiB.
pub(crate) const BLOCKS_MAX: u64 = 64 << 20;
/// Largest disk that we write, in bytes: its map takes 64 MiB of memory.
pub(crate) const SIZE_MAX: u64 = 16 << 40;

/// Places of fields, in bytes from the beginning of the file.
pub(crate) mod field {
    pub(crate) const VERSION: usize = 68;
    pub(crate) const HEADER_SIZE: usize = 72;
    pub(crate) const KIND: usize = 76;
    pub(crate) const MAP_AT: usize = 340;
    pub(crate) const DATA_AT: usize = 344;
    pub(crate) const SECTOR_BYTES: usize = 360;
    pub(crate) const DISK_BYTES: usize = 368;
    pub(crate) const BLOCK_BYTES: usize = 376;
    /// Bytes before the data of each block.
    pub(crate) const BLOCK_EXTRA: usize = 380;
    pub(crate) const BLOCKS: usize = 384;
    pub(crate) const BLOCKS_ALLOCATED: usize = 388;
    pub(crate) const ID: usize = 392;
    pub(crate) const LAST_SNAPSHOT_ID: usize = 408;
}
