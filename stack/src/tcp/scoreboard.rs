//! What the peer has selectively acknowledged, and what follows from it (RFC 6675; RFC 2018).
//!
//! Positions are those of the stream. Left out: RACK (RFC 8985), which would also find retransmissions
//! that were lost again; here those wait for the time-out.

/// Ranges remembered; more than a peer that reports honestly produces with any window in use. Further
/// ones count as not received, which costs a retransmission and nothing else.
const MAX_RANGES: usize = 1024;
/// RFC 6675 §2: as many discontiguous SACKed ranges above make a byte lost.
const DUP_THRESH: usize = 3;

/// The SACKed ranges above `snd.una`: sorted, disjoint, not adjacent. No heap while there are none.
#[derive(Clone, Debug, Default)]
pub struct Scoreboard {
    ranges: Option<Box<Ranges>>,
}

#[derive(Clone, Debug, Default)]
struct Ranges {
    ranges: Vec<(u64, u64)>,
    sacked: u64,
}

/// Where loss begins: everything not SACKed before `edge` is lost (RFC 6675 §4, IsLost).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct LossEdge {
    edge: u64,
    /// Bytes SACKed from there on.
    sacked_above: u64,
}

impl Scoreboard {
    /// Nothing SACKed.
    #[must_use]
    pub const fn new() -> Self {
        Self { ranges: None }
    }

    /// Takes an ACK's news: `una` as it is now, and its SACK blocks, which must lie within `una` and
    /// `snd.nxt` (what does not is to be left out by the caller, DSACK included). Returns how many bytes
    /// were SACKed that were not before.
    pub fn update(&mut self, una: u64, blocks: &[(u64, u64)]) -> u64 {
        if self.ranges.is_none() && blocks.is_empty() {
            return 0;
        }
        let mut ranges = self.ranges.take().unwrap_or_default();
        ranges.release_to(una);
        let new = blocks
            .iter()
            .map(|&(start, end)| ranges.insert(start.max(una), end))
            .sum();
        if !ranges.ranges.is_empty() {
            self.ranges = Some(ranges);
        }
        new
    }

    /// Forgets everything, as after a time-out, since the receiver may have reneged (RFC 2018 §8).
    pub fn clear(&mut self) {
        self.ranges = None;
    }

    /// The ranges, ascending.
    #[must_use]
    pub fn ranges(&self) -> &[(u64, u64)] {
        self.ranges.as_ref().map_or(&[], |ranges| &ranges.ranges)
    }

    /// True when nothing is SACKed.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.ranges.is_none()
    }

    /// Bytes SACKed.
    #[must_use]
    pub fn sacked_bytes(&self) -> u64 {
        self.ranges.as_ref().map_or(0, |ranges| ranges.sacked)
    }

    /// Position after the highest byte SACKed.
    #[must_use]
    pub fn highest(&self) -> Option<u64> {
        self.ranges().last().map(|range| range.1)
    }

    /// True when the byte at `position` is SACKed.
    #[must_use]
    pub fn is_sacked(&self, position: u64) -> bool {
        let ranges = self.ranges();
        let index = ranges.partition_point(|range| range.1 <= position);
        ranges.get(index).is_some_and(|range| range.0 <= position)
    }

    /// IsLost of RFC 6675 §4 for a byte that is not SACKed: `DUP_THRESH` ranges, or more than
    /// (DupThresh - 1) * SMSS bytes, are SACKed above it.
    #[must_use]
    pub fn is_lost(&self, position: u64, mss: usize) -> bool {
        position < self.loss_edge(mss).edge
    }

    /// IsLost holds for all bytes below some range and for none above it, so a few steps down from the
    /// top find it.
    fn loss_edge(&self, mss: usize) -> LossEdge {
        let enough = ((DUP_THRESH - 1) * mss) as u64;
        let mut sacked_above = 0;
        for (count, &(start, end)) in (1..).zip(self.ranges().iter().rev()) {
            sacked_above += end - start;
            if count >= DUP_THRESH || sacked_above > enough {
                return LossEdge {
                    edge: start,
                    sacked_above,
                };
            }
        }
        LossEdge::default()
    }

    /// SetPipe of RFC 6675 §4: bytes that are thought to be in the network, where retransmission has
    /// gone up to `high_rxt`.
    #[must_use]
    pub fn pipe(&self, una: u64, nxt: u64, high_rxt: u64, mss: usize) -> u64 {
        let loss = self.loss_edge(mss);
        let in_flight = if loss.edge > una {
            (nxt - loss.edge) - loss.sacked_above
        } else {
            (nxt - una) - self.sacked_bytes()
        };
        let retransmitted = high_rxt.clamp(una, nxt) - una;
        in_flight + retransmitted - self.sacked_before(high_rxt)
    }

    fn sacked_before(&self, position: u64) -> u64 {
        let below = self.ranges().iter().take_while(|range| range.0 < position);
        below.map(|&(start, end)| end.min(position) - start).sum()
    }

    /// NextSeg rule (1): the first stretch from `high_rxt` on that is lost and not SACKed. The caller
    /// cuts it to a segment.
    #[must_use]
    pub fn next_lost(&self, una: u64, high_rxt: u64, mss: usize) -> Option<(u64, u64)> {
        let hole = self.next_hole(una, high_rxt)?;
        self.is_lost(hole.0, mss).then_some(hole)
    }

    /// NextSeg rule (3): the first stretch from `high_rxt` on, below the highest byte SACKed, that is
    /// not SACKed, whether it counts as lost or not.
    #[must_use]
    pub fn next_hole(&self, una: u64, high_rxt: u64) -> Option<(u64, u64)> {
        let from = una.max(high_rxt);
        let ranges = self.ranges();
        let index = ranges.partition_point(|range| range.1 <= from);
        let &(start, end) = ranges.get(index)?;
        if from < start {
            return Some((from, start));
        }
        ranges.get(index + 1).map(|next| (end, next.0))
    }

    /// NextSeg rule (4), the rescue retransmission: the last bytes sent that are not SACKed, a segment
    /// at most.
    #[must_use]
    pub fn last_unsacked(&self, una: u64, nxt: u64, mss: usize) -> Option<(u64, u64)> {
        let (mut start, mut end) = (una, nxt);
        for &(from, until) in self.ranges().iter().rev() {
            if until < end {
                start = until;
                break;
            }
            end = end.min(from);
        }
        (start < end).then(|| (start.max(end.saturating_sub(mss as u64)), end))
    }
}

impl Ranges {
    fn release_to(&mut self, una: u64) {
        let gone = self.ranges.partition_point(|range| range.1 <= una);
        for (start, end) in self.ranges.drain(..gone) {
            self.sacked -= end - start;
        }
        if let Some(first) = self.ranges.first_mut()
            && first.0 < una
        {
            self.sacked -= una - first.0;
            first.0 = una;
        }
    }

    /// Adds a range, merging it with those that it overlaps or touches; returns the bytes it adds.
    fn insert(&mut self, start: u64, end: u64) -> u64 {
        if start >= end {
            return 0;
        }
        let first = self.ranges.partition_point(|range| range.1 < start);
        let after = first + self.ranges[first..].partition_point(|range| range.0 <= end);
        let (mut merged, mut known) = ((start, end), 0);
        for &(from, until) in &self.ranges[first..after] {
            merged = (merged.0.min(from), merged.1.max(until));
            known += until - from;
        }
        if first == after && self.ranges.len() >= MAX_RANGES {
            return 0;
        }
        self.ranges.splice(first..after, [merged]);
        let new = merged.1 - merged.0 - known;
        self.sacked += new;
        new
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const BASE: u64 = 1 << 34;
    const SPAN: u64 = 400;

    /// One flag per byte from [`BASE`] on, and the definitions of RFC 6675 §4 word by word.
    struct Model {
        sacked: Vec<bool>,
        una: u64,
        nxt: u64,
    }

    impl Model {
        fn sacked(&self, at: u64) -> bool {
            at >= self.una && self.sacked[(at - BASE) as usize]
        }

        fn is_lost(&self, at: u64, mss: usize) -> bool {
            let above: Vec<u64> = (at..self.nxt).filter(|&at| self.sacked(at)).collect();
            let runs = above
                .iter()
                .filter(|&&at| at == self.una || !self.sacked(at - 1));
            runs.count() >= 3 || above.len() > 2 * mss
        }

        fn pipe(&self, high_rxt: u64, mss: usize) -> u64 {
            (self.una..self.nxt)
                .filter(|&at| !self.sacked(at))
                .map(|at| u64::from(!self.is_lost(at, mss)) + u64::from(at < high_rxt))
                .sum()
        }
    }

    proptest! {
        #[test]
        fn it_agrees_with_the_definitions(
            updates in prop::collection::vec(
                (0u64..20, prop::collection::vec((0u64..SPAN, 1u64..40), 0..4)), 1..20),
            high in 0u64..SPAN,
            mss in 1usize..30,
        ) {
            let nxt = BASE + SPAN;
            let mut model = Model { sacked: vec![false; SPAN as usize], una: BASE, nxt };
            let mut board = Scoreboard::new();
            for (advance, blocks) in updates {
                model.una = (model.una + advance).min(nxt);
                let blocks: Vec<(u64, u64)> = blocks
                    .into_iter()
                    .map(|(start, len)| (BASE + start, (BASE + start + len).min(nxt)))
                    .collect();
                let count = |model: &Model| {
                    (model.una..nxt).filter(|&at| model.sacked(at)).count() as u64
                };
                let before = count(&model);
                for &(start, end) in &blocks {
                    (start..end).for_each(|at| model.sacked[(at - BASE) as usize] = true);
                }
                let una = model.una;
                prop_assert_eq!(board.update(una, &blocks), count(&model) - before);
                prop_assert_eq!(board.sacked_bytes(), count(&model));
                for at in una..nxt {
                    prop_assert_eq!(board.is_sacked(at), model.sacked(at));
                    if !model.sacked(at) {
                        prop_assert_eq!(board.is_lost(at, mss), model.is_lost(at, mss));
                    }
                }
                let high_rxt = BASE + high;
                prop_assert_eq!(board.pipe(una, nxt, high_rxt, mss), model.pipe(high_rxt, mss));

                let top = board.highest().unwrap_or(una);
                let hole = (una.max(high_rxt)..top).find(|&at| !model.sacked(at));
                prop_assert_eq!(board.next_hole(una, high_rxt).map(|hole| hole.0), hole);
                if let Some((start, end)) = board.next_hole(una, high_rxt) {
                    prop_assert!((start..end).all(|at| !model.sacked(at)) && model.sacked(end));
                }
                let lost = hole.filter(|&at| model.is_lost(at, mss));
                prop_assert_eq!(board.next_lost(una, high_rxt, mss).map(|hole| hole.0), lost);

                let last = (una..nxt).rev().find(|&at| !model.sacked(at));
                let rescue = board.last_unsacked(una, nxt, mss);
                prop_assert_eq!(rescue.map(|rescue| rescue.1 - 1), last);
                if let Some((start, end)) = rescue {
                    prop_assert!(end - start <= mss as u64);
                    prop_assert!((start..end).all(|at| !model.sacked(at)));
                }
            }
        }
    }

    #[test]
    fn ranges_are_bounded_and_no_heap_remains() {
        let mut board = Scoreboard::new();
        for n in 0..10_000u64 {
            board.update(0, &[(10 * n + 5, 10 * n + 6)]);
        }
        assert_eq!(board.ranges().len(), MAX_RANGES);
        board.update(100_000, &[]);
        assert!(board.ranges.is_none());
    }
}
