//! Finds places for partitions: one after the other, each at a multiple of 1 MiB.

use super::format::{AFTER_USABLE, ENTRIES, FORMAT, SECTOR_BYTES};
use crate::Error;

/// Where partitions begin: at multiples of this many bytes. 1 MiB suits every erase block and
/// RAID stripe in use, is what every current partitioning tool does, and leaves room before the
/// first partition for the table.
pub const ALIGNMENT_BYTES: u64 = 1 << 20;

/// How large a partition is wished to be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PartitionSize {
    /// This many bytes, made up to a multiple of [`ALIGNMENT_BYTES`].
    Bytes(u64),
    /// What the others leave over, shared evenly when several say so; at least this many bytes.
    Rest {
        /// Least size, in bytes.
        at_least: u64,
    },
}

/// A place on a disk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Extent {
    /// First byte.
    pub start: u64,
    /// Length in bytes.
    pub size: u64,
}

/// Places for the partitions of a disk.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Layout {
    /// Size of the disk in bytes; a multiple of [`ALIGNMENT_BYTES`].
    pub size: u64,
    /// One place per wish, in the same order.
    pub partitions: Vec<Extent>,
}

/// Places partitions in the order given.
///
/// With a size the disk is exactly that large, rounded down to [`ALIGNMENT_BYTES`]; without one
/// it is as small as fits, and a partition that asks for the rest gets its least size.
///
/// # Errors
/// [`Error::TooSmall`] with the exact size that would do; more than 128 partitions.
pub fn layout(disk_size: Option<u64>, wishes: &[PartitionSize]) -> Result<Layout, Error> {
    if wishes.len() > ENTRIES {
        return Err(Error::Unsupported {
            format: FORMAT,
            what: format!("{} partitions", wishes.len()),
            reason: format!("the table holds {ENTRIES}"),
        });
    }
    let overflow = Error::Overflow("the size of the disk");
    let units = |bytes: u64| bytes.div_ceil(ALIGNMENT_BYTES).max(1);
    let least: Vec<u64> = wishes
        .iter()
        .map(|wish| match *wish {
            PartitionSize::Bytes(bytes) => units(bytes),
            PartitionSize::Rest { at_least } => units(at_least),
        })
        .collect();
    // One unit before the first partition for the table, one behind the last for its backup,
    // which also keeps the end aligned.
    const { assert!(AFTER_USABLE * SECTOR_BYTES <= ALIGNMENT_BYTES) };
    // Each of at most 128 numbers is below 1 << 44.
    let needed = least.iter().sum::<u64>() + 2;
    let needed_bytes = needed.checked_mul(ALIGNMENT_BYTES).ok_or(overflow)?;
    let total = disk_size.map_or(needed, |bytes| bytes / ALIGNMENT_BYTES);
    let spare = total.checked_sub(needed).ok_or(Error::TooSmall {
        what: "the partitions and their table on the disk".into(),
        needed: needed_bytes,
        available: disk_size.unwrap_or(0),
    })?;
    let is_rest = |wish: &PartitionSize| matches!(wish, PartitionSize::Rest { .. });
    let sharers = wishes.iter().filter(|wish| is_rest(wish)).count() as u64;
    let (share, mut odd) = (spare.checked_div(sharers).unwrap_or(0), spare.checked_rem(sharers).unwrap_or(0));
    let mut start = 1;
    let mut partitions = Vec::with_capacity(wishes.len());
    for (wish, least) in wishes.iter().zip(least) {
        let mut length = least;
        if is_rest(wish) {
            length += share + u64::from(odd > 0);
            odd = odd.saturating_sub(1);
        }
        partitions.push(Extent { start: start * ALIGNMENT_BYTES, size: length * ALIGNMENT_BYTES });
        start += length;
    }
    Ok(Layout { size: total * ALIGNMENT_BYTES, partitions })
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    #[test]
    fn as_small_as_fits() {
        let wishes = [PartitionSize::Bytes(5 * MIB - 1), PartitionSize::Rest { at_least: MIB + 1 }];
        let found = layout(None, &wishes).unwrap();
        assert_eq!(found.size, 9 * MIB);
        assert_eq!(found.partitions[0], Extent { start: MIB, size: 5 * MIB });
        assert_eq!(found.partitions[1], Extent { start: 6 * MIB, size: 2 * MIB });
    }

    #[test]
    fn the_rest_is_shared_to_the_last_unit() {
        let rest = PartitionSize::Rest { at_least: 0 };
        let found = layout(Some(20 * MIB + 5), &[rest, PartitionSize::Bytes(3 * MIB), rest]).unwrap();
        let sizes: Vec<u64> = found.partitions.iter().map(|extent| extent.size / MIB).collect();
        assert_eq!((found.size, sizes), (20 * MIB, vec![8, 3, 7]));
    }

    #[test]
    fn the_shortfall_is_exact() {
        let wishes = [PartitionSize::Bytes(100 * MIB)];
        match layout(Some(101 * MIB), &wishes) {
            Err(Error::TooSmall { needed, available, .. }) => {
                assert_eq!((needed, available), (102 * MIB, 101 * MIB));
                assert!(layout(Some(needed), &wishes).is_ok());
                assert!(layout(Some(needed - 1), &wishes).is_err());
            }
            other => panic!("{other:?}"),
        }
        assert!(layout(None, &[PartitionSize::Bytes(u64::MAX)]).is_err());
    }
}
