//! How far a disk's data reaches into a qcow2 file, known before any of it is written.

use std::io::{self, Read};

use layers::{Content, Contents};

use crate::{Error, Sink, Source};

/// The clusters that a disk's data fills at most, and those of their tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reach {
    /// Bytes of a cluster: a power of two.
    pub(super) cluster_size: u64,
    /// Clusters with data; those that turn out to be all zero are left out of the file's.
    pub(super) clusters: u64,
    /// L2 tables.
    pub(super) tables: u64,
}

impl Reach {
    /// Of what a source will give. Its files are not read: where bytes lie depends on none of them. Clusters
    /// have `cluster_size` bytes, a power of two.
    ///
    /// # Errors
    /// Those of the source.
    pub fn of(source: &dyn Source, cluster_size: u32) -> Result<Self, Error> {
        let cluster_size = u64::from(cluster_size).max(1);
        let reach = Self { cluster_size, clusters: 0, tables: 0 };
        let mut counting = Counting { reach, cluster: None, table: None };
        source.write_to(&Blank, &mut counting)?;
        Ok(counting.reach)
    }
}

/// Counts what it is given.
struct Counting {
    reach: Reach,
    /// The last ones that were counted.
    cluster: Option<u64>,
    table: Option<u64>,
}

/// How many numbers of a range, which ends with `last`, come after those that were counted.
fn fresh(counted: &mut Option<u64>, first: u64, last: u64) -> u64 {
    let first = counted.map_or(first, |counted| first.max(counted.saturating_add(1)));
    *counted = Some(counted.map_or(last, |counted| last.max(counted)));
    last.saturating_add(1).saturating_sub(first)
}

impl Sink for Counting {
    fn data(&mut self, offset: u64, bytes: &[u8]) -> Result<(), Error> {
        let Some(more) = (bytes.len() as u64).checked_sub(1) else { return Ok(()) };
        let size = self.reach.cluster_size;
        // An L2 table has entries of 8 bytes.
        let entries = (size / 8).max(1);
        let (first, last) = (offset / size, offset.saturating_add(more) / size);
        self.reach.clusters += fresh(&mut self.cluster, first, last);
        self.reach.tables += fresh(&mut self.table, first / entries, last / entries);
        Ok(())
    }
}

/// Content of the right size, whatever is asked for.
struct Blank;

impl Contents for Blank {
    fn open(&self, content: &Content) -> Result<Box<dyn Read + Send>, layers::Error> {
        Ok(Box::new(io::repeat(0).take(content.size)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Given(Vec<(u64, usize)>);

    impl Source for Given {
        fn size(&self) -> u64 {
            1 << 40
        }

        fn write_to(&self, _: &dyn Contents, sink: &mut dyn Sink) -> Result<(), Error> {
            self.0.iter().try_for_each(|&(offset, length)| sink.data(offset, &vec![0; length]))
        }
    }

    #[test]
    fn each_cluster_and_each_table_counts_once() {
        let of = |pieces: &[(u64, usize)]| {
            let Reach { clusters, tables, .. } = Reach::of(&Given(pieces.to_vec()), 512).unwrap();
            (clusters, tables)
        };
        assert_eq!(of(&[]), (0, 0));
        assert_eq!(of(&[(7, 0)]), (0, 0));
        assert_eq!(of(&[(0, 1), (1, 511), (512, 1)]), (2, 1));
        assert_eq!(of(&[(511, 2), (600, 1), (1024, 512 * 3)]), (5, 1));
        // A table maps 64 clusters.
        assert_eq!(of(&[(512 * 63, 1024), (512 * 200, 1)]), (3, 3));
    }
}
