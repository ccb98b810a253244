//! What a person or a provider decides about a file system.

use layers::Time;

use super::format::BLOCK_BYTES;
use super::unsupported;
use crate::Error;

/// What happens to extended attributes that squashfs has no prefix for: all but `user.`,
/// `trusted.` and `security.`, such as access control lists (`system.posix_acl_access`).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum OtherAttributes {
    /// An error names the first one.
    #[default]
    Refuse,
    /// They are left out, as mksquashfs does.
    LeaveOut,
}

/// Everything about a file system that the tree does not say.
#[derive(Clone, Debug)]
pub struct Options {
    /// Bytes of a data block: a power of two from 4 KiB to 1 MiB. A kernel mounts only blocks that
    /// are no smaller than its pages, which on some machines have 64 KiB.
    pub block_size: u32,
    /// Level of zstd, 1 to 22.
    pub level: i32,
    /// When the file system was made, to the second; from 1970 to 2106.
    pub created: Time,
    /// Extended attributes that cannot be kept.
    pub other_attributes: OtherAttributes,
    /// Threads that compress; 0 leaves it to the caller's. Never changes the bytes.
    pub threads: usize,
}

impl Options {
    /// Blocks of 128 KiB and level 15, as mksquashfs chooses.
    pub fn new(created: Time, threads: usize) -> Self {
        Self { block_size: 128 << 10, level: 15, created, other_attributes: OtherAttributes::default(), threads }
    }

    /// Checks them; gives the time as it is written.
    pub(super) fn check(&self) -> Result<u32, Error> {
        if !BLOCK_BYTES.contains(&self.block_size) || !self.block_size.is_power_of_two() {
            return Err(unsupported(
                format!("blocks of {} bytes", self.block_size),
                "take a power of two from 4096 to 1048576",
            ));
        }
        if !(1..=22).contains(&self.level) {
            return Err(unsupported(format!("zstd level {}", self.level), "levels are 1 to 22"));
        }
        u32::try_from(self.created.seconds)
            .map_err(|_| unsupported("the time of creation", "take one from 1970 to 2106"))
    }
}
