//! Numbers to choose from.

use super::text::id;

/// Numbers from one to another, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Range {
    first: u32,
    last: u32,
}

/// What system users have where nothing else is said.
const SYSTEM: Range = Range { first: 1, last: 999 };

impl Range {
    /// A number, or `FIRST-LAST`.
    pub(super) fn parse(text: &[u8]) -> Option<Self> {
        let dash = text.iter().position(|byte| *byte == b'-').unwrap_or(text.len());
        let (first, rest) = text.split_at_checked(dash)?;
        let first = id(first)?;
        let last = if rest.is_empty() { first } else { id(rest.get(1..)?)? };
        (first <= last).then_some(Self { first, last })
    }
}

/// Ranges, in order and apart from each other.
#[derive(Debug)]
pub(super) struct Ranges(Vec<Range>);

impl Ranges {
    /// The wanted ranges, or the usual one if there are none.
    pub(super) fn new(wanted: &[Range]) -> Self {
        let mut sorted = if wanted.is_empty() { vec![SYSTEM] } else { wanted.to_vec() };
        sorted.sort_unstable();
        let mut apart: Vec<Range> = Vec::with_capacity(sorted.len());
        for range in sorted {
            match apart.last_mut() {
                Some(last) if range.first <= last.last => last.last = last.last.max(range.last),
                _ => apart.push(range),
            }
        }
        Self(apart)
    }

    /// The largest number below this one, or of all.
    pub(super) fn below(&self, bound: Option<u32>) -> Option<u32> {
        let Some(bound) = bound else { return self.0.last().map(|range| range.last) };
        let candidate = bound.checked_sub(1)?;
        let count = self.0.partition_point(|range| range.first <= candidate);
        let range = self.0.get(count.checked_sub(1)?)?;
        Some(range.last.min(candidate))
    }

    /// Whether a number is in one of them.
    pub(super) fn contains(&self, number: u32) -> bool {
        number.checked_add(1).is_some_and(|next| self.below(Some(next)) == Some(number))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_taken_from_above() {
        let range = |text: &str| Range::parse(text.as_bytes());
        for text in ["", "-", "5-", "-5", "6-5", "5-6-7", "05", "+5", "65535", "4294967295", "1-4294967296"] {
            assert_eq!(range(text), None, "{text}");
        }
        let ranges = Ranges::new(&["500-502", "7", "501-503", "0"].map(|text| range(text).unwrap()));
        let mut taken = Vec::new();
        while let Some(number) = ranges.below(taken.last().copied()) {
            taken.push(number);
        }
        assert_eq!(taken, [503, 502, 501, 500, 7, 0]);
        assert!(ranges.contains(0) && ranges.contains(503) && !ranges.contains(504) && !ranges.contains(1));
        assert_eq!((Ranges::new(&[]).below(None), Ranges::new(&[]).below(Some(1))), (Some(999), None));
    }
}
