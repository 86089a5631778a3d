//! Which counters of a session have been seen: a sliding window, so that each datagram counts once (the
//! method of RFC 6479: blocks of bits in a ring, so that sliding never shifts them).

const BLOCK_BITS: u64 = 64;
const BLOCKS: u64 = 32;
/// How far behind the newest counter one may arrive. The slower of two paths may be this many datagrams late.
pub(crate) const WINDOW: u64 = (BLOCKS - 1) * BLOCK_BITS;

/// The counters seen in one session.
#[derive(Debug, Default)]
pub(crate) struct ReplayWindow {
    /// One more than the newest counter seen; 0 at first.
    next: u64,
    seen: [u64; BLOCKS as usize],
}

impl ReplayWindow {
    /// Whether `counter` is new. Ask before the costly check of the seal; record with [`Self::record`] after.
    pub(crate) fn is_new(&self, counter: u64) -> bool {
        if counter >= self.next {
            return counter != u64::MAX;
        }
        self.next - counter <= WINDOW && self.seen[Self::index(counter)] & Self::bit(counter) == 0
    }

    /// Takes note of a counter whose datagram was genuine; false if it is not new.
    pub(crate) fn record(&mut self, counter: u64) -> bool {
        if !self.is_new(counter) {
            return false;
        }
        if counter >= self.next {
            self.slide_to(counter);
        }
        self.seen[Self::index(counter)] |= Self::bit(counter);
        true
    }

    /// Empties the blocks that the window now covers for the first time.
    fn slide_to(&mut self, counter: u64) {
        let newest = counter / BLOCK_BITS;
        let first_new = match self.next {
            0 => 0,
            next => (next - 1) / BLOCK_BITS + 1,
        };
        for block in first_new.max((newest + 1).saturating_sub(BLOCKS))..=newest {
            self.seen[(block % BLOCKS) as usize] = 0;
        }
        self.next = counter + 1;
    }

    const fn index(counter: u64) -> usize {
        (counter / BLOCK_BITS % BLOCKS) as usize
    }

    const fn bit(counter: u64) -> u64 {
        1 << (counter % BLOCK_BITS)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_late_datagram_counts_once_and_an_ancient_one_never() {
        let mut window = ReplayWindow::default();
        assert!(window.record(0) && !window.record(0));
        assert!(window.record(5000));
        assert!(window.record(5000 - WINDOW + 1) && !window.record(5000 - WINDOW + 1));
        assert!(!window.record(5000 - WINDOW - 1));
        assert!(!window.record(1));
    }

    #[test]
    fn the_end_of_the_numbers_does_not_overflow() {
        let mut window = ReplayWindow::default();
        assert!(!window.record(u64::MAX));
        assert!(window.record(u64::MAX - 1) && !window.record(u64::MAX - 1));
    }

    proptest! {
        #[test]
        fn agrees_with_a_set_that_forgets_nothing(jumps in prop::collection::vec(-300i64..400, 1..500)) {
            let (mut window, mut seen, mut newest, mut at) = (ReplayWindow::default(), HashSet::new(), 0u64, 0u64);
            for jump in jumps {
                at = at.saturating_add_signed(jump);
                let in_window = at + WINDOW > newest;
                let expected = in_window && seen.insert(at);
                prop_assert_eq!(window.record(at), expected);
                newest = newest.max(at);
            }
        }
    }
}
