//! How partitions share a disk, in units of 1 MiB.

use super::partition::PartitionSize;

/// What partitions are aligned to, in bytes; as every partitioning tool does it.
pub const ALIGNMENT_BYTES: u64 = image::disk::ALIGNMENT_BYTES;
/// Units of the partition table before the partitions, and of its copy behind them.
pub const TABLE_UNITS: u64 = 2;
/// Steps after which a disk is looked for no longer: each brings it nearer by a hundredth at least.
const STEPS_MAX: u32 = 10_000;

/// The share of a disk of so many units that a percentage means: of what the partition table
/// leaves, so that shares of 100% together fit.
pub fn share(disk: u64, percent: u8) -> u64 {
    let usable = disk.saturating_sub(TABLE_UNITS);
    // By parts, for the product may not fit.
    usable / 100 * u64::from(percent) + usable % 100 * u64::from(percent) / 100
}

/// The least disk, in units, on which each partition has the units that it needs; `None` where
/// there is none, because shares leave nothing for the others.
pub fn least_disk(needs: &[(PartitionSize, u64)]) -> Option<u64> {
    let mut disk = TABLE_UNITS;
    for _ in 0..STEPS_MAX {
        let mut sum = TABLE_UNITS;
        let mut next = disk;
        for (size, need) in needs {
            match size {
                PartitionSize::Percent(percent) => {
                    sum = sum.checked_add(share(disk, *percent))?;
                    if share(disk, *percent) < *need {
                        let usable = u64::try_from((u128::from(*need) * 100).div_ceil(u128::from((*percent).max(1))));
                        next = next.max(usable.ok()?.checked_add(TABLE_UNITS)?);
                    }
                }
                _ => sum = sum.checked_add(*need)?,
            }
        }
        next = next.max(sum);
        if next == disk {
            return Some(disk);
        }
        disk = next;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::super::scalar::ByteSize;
    use super::*;

    #[test]
    fn shares_are_of_what_the_table_leaves() {
        assert_eq!(share(102, 25), 25);
        assert_eq!(share(102, 25) + share(102, 75), 100);
        assert_eq!(share(u64::MAX, 100), u64::MAX - 2);
        assert_eq!(share(0, 50), 0);
    }

    #[test]
    fn the_least_disk_has_room_for_all_and_one_unit_less_has_not() {
        let bytes = PartitionSize::Bytes(ByteSize(0));
        for needs in [
            vec![(bytes, 100), (PartitionSize::Rest, 7)],
            vec![(PartitionSize::Percent(25), 10), (bytes, 100), (PartitionSize::Fit, 3)],
            vec![(PartitionSize::Percent(1), 10), (bytes, 100)],
            vec![(PartitionSize::Percent(33), 1), (PartitionSize::Percent(60), 90), (PartitionSize::Rest, 1)],
            vec![(PartitionSize::Percent(50), 9), (PartitionSize::Percent(50), 9)],
        ] {
            let fits = |disk: u64| {
                let of = |(size, need): &(PartitionSize, u64)| match size {
                    PartitionSize::Percent(percent) => Some(share(disk, *percent)).filter(|units| units >= need),
                    _ => Some(*need),
                };
                needs.iter().map(of).sum::<Option<u64>>().is_some_and(|sum| sum + TABLE_UNITS <= disk)
            };
            let least = least_disk(&needs).unwrap();
            assert!(fits(least), "{needs:?}: {least}");
            assert!(!fits(least - 1), "{needs:?}: {least}");
        }
        assert_eq!(least_disk(&[(PartitionSize::Percent(100), 1), (bytes, 1)]), None);
        assert_eq!(least_disk(&[(bytes, u64::MAX)]), None);
    }
}
