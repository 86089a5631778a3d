//! A set of stream positions as disjoint ranges, for the oracles.

use std::collections::BTreeMap;

/// Disjoint half-open ranges of positions.
#[derive(Clone, Debug, Default)]
pub struct Ranges {
    by_start: BTreeMap<i64, i64>,
}

impl Ranges {
    /// Adds `start..end`.
    pub fn insert(&mut self, mut start: i64, mut end: i64) {
        if start >= end {
            return;
        }
        while let Some((&before, &until)) = self.by_start.range(..=end).next_back() {
            if until < start {
                break;
            }
            self.by_start.remove(&before);
            start = start.min(before);
            end = end.max(until);
        }
        self.by_start.insert(start, end);
    }

    /// True when all of `start..end` is in the set.
    #[must_use]
    pub fn contains(&self, start: i64, end: i64) -> bool {
        start >= end
            || self
                .by_start
                .range(..=start)
                .next_back()
                .is_some_and(|(_, &until)| until >= end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn touching_ranges_become_one() {
        let mut ranges = Ranges::default();
        ranges.insert(10, 20);
        ranges.insert(30, 40);
        assert!(!ranges.contains(10, 40));
        ranges.insert(20, 30);
        assert!(ranges.contains(10, 40));
        ranges.insert(5, 50);
        assert!(ranges.contains(5, 50) && !ranges.contains(4, 6));
    }
}
