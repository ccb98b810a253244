//! How large clusters and tables are: the classes of mkfs.fat(8), so that our file systems are
//! like those that every firmware has met.

use super::format::{FATS, Geometry, Kind, SECTOR, SLOT};
use crate::Error;

/// Which FAT is wished for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Wish {
    /// By size: FAT32 from 512 MiB on, below that FAT16 or FAT12.
    Auto,
    /// This one: [`Kind::Fat32`] is what UEFI asks of an ESP on a fixed disk.
    Kind(Kind),
}

const MIB: u64 = 1 << 20;
/// From here on `Auto` means FAT32, in bytes.
const FAT32_FROM: u64 = 512 * MIB;
/// Sectors before the first FAT (fatgen103, "BPB_RsvdSecCnt").
const RESERVED_FAT32: u64 = 32;
const RESERVED_SMALL: u64 = 1;
/// Sizes from which FAT32 takes clusters of so many sectors (mkfs.fat, and Microsoft's format
/// before it): exclusive lower bounds, in MiB, largest first; 260 MiB itself belongs to its class.
const FAT32_CLASSES: [(u64, u64); 5] = [(32 * 1024, 64), (16 * 1024, 32), (8 * 1024, 16), (259, 8), (0, 1)];
/// Sectors per cluster that are tried in turn for FAT12 and FAT16.
const SMALL_CLASSES: [u64; 8] = [4, 8, 16, 32, 64, 2, 1, 128];
/// The number of sectors is kept in 32 bits.
pub(crate) const SECTORS_MAX: u64 = u32::MAX as u64;

/// The geometry of exactly these sectors, if that many clusters make this kind.
fn geometry(kind: Kind, sectors: u64, cluster_sectors: u64, root_slots: u64) -> Option<Geometry> {
    let (least_reserved, root_slots) = match kind {
        Kind::Fat32 => (RESERVED_FAT32, 0),
        _ => (RESERVED_SMALL, root_slots),
    };
    let root_sectors = (root_slots * SLOT as u64).div_ceil(SECTOR);
    let with_fat = |fat_sectors: u64| {
        let before = least_reserved + FATS * fat_sectors + root_sectors;
        // Clusters begin at multiples of their size: flash and page cache like it so.
        let data_at = before.next_multiple_of(cluster_sectors);
        let clusters = sectors.checked_sub(data_at)? / cluster_sectors;
        let reserved = least_reserved + (data_at - before);
        Some(Geometry { kind, sectors, cluster_sectors, reserved, fats: FATS, fat_sectors, root_slots, clusters })
    };
    let fat_sectors_for = |clusters: u64| ((clusters + 2) * kind.entry_bits()).div_ceil(8 * SECTOR);
    let covers = |found: &Geometry| fat_sectors_for(found.clusters) <= found.fat_sectors;
    // A FAT for all sectors is large enough; then it shrinks, for it takes room from the clusters.
    let mut found = with_fat(fat_sectors_for(with_fat(1)?.clusters))?;
    while found.fat_sectors > 1 {
        match with_fat(found.fat_sectors - 1) {
            Some(smaller) if covers(&smaller) => found = smaller,
            _ => break,
        }
    }
    kind.clusters().contains(&found.clusters).then_some(found)
}

/// The geometry that a size and a wish mean; `None` when the size is too small or large for it.
pub(crate) fn choose(wish: Wish, size: u64, root_slots: u64) -> Option<Geometry> {
    let sectors = size / SECTOR;
    if sectors > SECTORS_MAX {
        return None;
    }
    let small = |kinds: &[Kind]| {
        let tries = SMALL_CLASSES.iter().flat_map(|&class| kinds.iter().map(move |&kind| (kind, class)));
        tries.filter_map(|(kind, class)| geometry(kind, sectors, class, root_slots)).next()
    };
    match wish {
        Wish::Kind(Kind::Fat32) => {
            let class = FAT32_CLASSES.iter().find(|(above, _)| size.div_ceil(MIB) > *above)?;
            geometry(Kind::Fat32, sectors, class.1, 0)
        }
        Wish::Kind(kind) => small(&[kind]),
        Wish::Auto if size >= FAT32_FROM => choose(Wish::Kind(Kind::Fat32), size, root_slots),
        Wish::Auto => small(&[Kind::Fat12, Kind::Fat16]),
    }
}

/// The least size, at least `from`, whose clusters suffice: `fits` says whether they do. Larger
/// sizes have larger clusters, which may hold less; so each class is searched on its own.
///
/// # Errors
/// No size would do.
pub(crate) fn smallest(wish: Wish, from: u64, root_slots: u64, fits: impl Fn(&Geometry) -> bool) -> Result<u64, Error> {
    let good = |sectors: u64| choose(wish, sectors * SECTOR, root_slots).is_some_and(|found| fits(&found));
    // Sizes at which the class changes: known ones, and each doubling between them.
    let mut borders: Vec<u64> = FAT32_CLASSES.iter().map(|(above, _)| above * MIB / SECTOR + 1).collect();
    borders.extend((0..32).map(|bit| 1 << bit));
    borders.extend([FAT32_FROM / SECTOR, from.div_ceil(SECTOR), SECTORS_MAX]);
    borders.retain(|&sectors| sectors >= from.div_ceil(SECTOR) && sectors <= SECTORS_MAX);
    borders.sort_unstable();
    borders.dedup();
    let mut below = from.div_ceil(SECTOR);
    for border in borders {
        if good(border) {
            let (mut bad, mut enough) = (below.min(border), border);
            if good(bad) {
                return Ok(bad * SECTOR);
            }
            while enough - bad > 1 {
                let middle = bad + (enough - bad) / 2;
                if good(middle) { enough = middle } else { bad = middle }
            }
            return Ok(enough * SECTOR);
        }
        below = border;
    }
    Err(Error::Overflow("the size of a FAT file system that holds everything"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_classes_of_mkfs_fat() {
        let of = |wish, mib| choose(wish, mib * MIB, 512).map(|found| (found.kind, found.cluster_sectors));
        let fat32 = Wish::Kind(Kind::Fat32);
        assert_eq!(of(fat32, 32), None);
        assert_eq!(of(fat32, 64), Some((Kind::Fat32, 1)));
        assert_eq!(of(fat32, 259), Some((Kind::Fat32, 1)));
        assert_eq!(of(fat32, 260), Some((Kind::Fat32, 8)));
        assert_eq!(of(fat32, 8 * 1024), Some((Kind::Fat32, 8)));
        assert_eq!(of(fat32, 20 * 1024), Some((Kind::Fat32, 32)));
        assert_eq!(of(Wish::Auto, 4), Some((Kind::Fat12, 4)));
        assert_eq!(of(Wish::Auto, 100), Some((Kind::Fat16, 4)));
        assert_eq!(of(Wish::Auto, 400), Some((Kind::Fat16, 16)));
        assert_eq!(of(Wish::Auto, 512), Some((Kind::Fat32, 8)));
    }

    #[test]
    fn parts_do_not_overlap_and_tables_cover_their_clusters() {
        for wish in [Wish::Auto, Wish::Kind(Kind::Fat32), Wish::Kind(Kind::Fat16), Wish::Kind(Kind::Fat12)] {
            for sectors in (64..3_000_000).step_by(7_919) {
                let Some(found) = choose(wish, sectors * SECTOR, 512) else { continue };
                let end = found.cluster_at(2) / SECTOR + found.clusters * found.cluster_sectors;
                assert!(end <= sectors && sectors - end < found.cluster_sectors + 1, "{found:?}");
                assert!(found.fat_sectors * SECTOR * 8 >= (found.clusters + 2) * found.kind.entry_bits());
                assert_eq!(Kind::of_clusters(found.clusters), found.kind);
                assert_eq!(found.cluster_at(2) % found.cluster_bytes(), 0);
            }
        }
    }
}
