//! Which blocks are taken: ranges, so that a mostly empty file system costs nothing.

use std::collections::BTreeMap;
use std::ops::Range;

/// The taken blocks of a file system.
#[derive(Debug)]
pub(super) struct Space {
    /// Start to end; neighbours are merged.
    taken: BTreeMap<u64, u64>,
    end: u64,
}

impl Space {
    /// `end` blocks, none of them taken.
    pub fn new(end: u64) -> Self {
        Self { taken: BTreeMap::new(), end }
    }

    /// Takes a range that is known to be free.
    pub fn claim(&mut self, range: Range<u64>) {
        if range.is_empty() {
            return;
        }
        let mut start = range.start;
        let mut end = range.end;
        if let Some((&before, &touching)) = self.taken.range(..=start).next_back()
            && touching == start
        {
            start = before;
        }
        if let Some(after) = self.taken.remove(&end) {
            end = after;
        }
        self.taken.insert(start, end);
    }

    /// The first free range at or after a block.
    fn free_from(&self, from: u64) -> Option<Range<u64>> {
        let mut start = from;
        if let Some((_, &end)) = self.taken.range(..=start).next_back()
            && end > start
        {
            start = end;
        }
        // Neighbours are merged, so what follows a taken range is free.
        let end = self.taken.range(start..).next().map_or(self.end, |(&next, _)| next);
        (start < end).then_some(start..end)
    }

    /// Takes `count` blocks in one piece, the first that fits at or after `from`.
    pub fn take_whole(&mut self, from: u64, count: u64) -> Option<u64> {
        let mut at = from;
        loop {
            let free = self.free_from(at)?;
            if free.end - free.start >= count {
                self.claim(free.start..free.start + count);
                return Some(free.start);
            }
            at = free.end;
        }
    }

    /// Takes up to `count` blocks in one piece, the first free ones at or after `from`.
    pub fn take_some(&mut self, from: u64, count: u64) -> Option<Range<u64>> {
        let free = self.free_from(from)?;
        let range = free.start..free.end.min(free.start.saturating_add(count));
        self.claim(range.clone());
        Some(range)
    }

    /// The taken ranges in order.
    pub fn taken(&self) -> Vec<Range<u64>> {
        self.taken.iter().map(|(&start, &end)| start..end).collect()
    }

    /// Number of free blocks.
    pub fn free(&self) -> u64 {
        self.end - self.taken.iter().map(|(start, end)| end - start).sum::<u64>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn free_ranges_are_found_and_neighbours_merge() {
        let mut space = Space::new(100);
        space.claim(10..20);
        space.claim(30..40);
        assert_eq!(space.take_some(0, 50), Some(0..10));
        assert_eq!(space.take_whole(0, 11), Some(40));
        assert_eq!(space.take_some(12, 4), Some(20..24));
        assert_eq!(space.taken(), [0..24, 30..51]);
        assert_eq!(space.free(), 6 + 49);
        assert_eq!(space.take_whole(0, 50), None);
        assert_eq!(space.take_some(51, 500), Some(51..100));
        assert_eq!(space.take_some(51, 1), None);
    }
}
