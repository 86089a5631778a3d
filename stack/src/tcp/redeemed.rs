//! Cookies that were used: none is good for a second connection, although the first may be over before the cookie is.
//!
//! Two ticks are remembered, as long as a cookie lives. The memory is bounded; beyond it a cookie could be used twice.

use std::collections::HashSet;
use std::mem;

use super::cookies::TICK_MS;
use crate::keyed::Keyed;
use crate::time::Instant;

/// Most cookies remembered of one tick.
const MOST: usize = 65_536;

/// The cookies used in this tick and in the one before.
#[derive(Debug)]
pub(super) struct Redeemed {
    tick: u64,
    now: HashSet<u64, Keyed>,
    before: HashSet<u64, Keyed>,
}

impl Redeemed {
    pub(super) fn new(keyed: &Keyed) -> Self {
        let empty = || HashSet::with_hasher(keyed.clone());
        Self {
            tick: 0,
            now: empty(),
            before: empty(),
        }
    }

    /// True if the cookie of that fingerprint was not used yet.
    pub(super) fn first_use(&mut self, clock: Instant, fingerprint: u64) -> bool {
        let tick = clock.as_millis() / TICK_MS;
        // Two ticks on, what was used in the last one has expired.
        for _ in 0..tick.saturating_sub(self.tick).min(2) {
            let empty = HashSet::with_hasher(self.now.hasher().clone());
            self.before = mem::replace(&mut self.now, empty);
        }
        self.tick = self.tick.max(tick);
        if self.before.contains(&fingerprint) || self.now.contains(&fingerprint) {
            return false;
        }
        if self.now.len() < MOST {
            self.now.insert(fingerprint);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cookie_is_used_once_as_long_as_it_lives() {
        let mut redeemed = Redeemed::new(&Keyed::new([1; 16]));
        let at = |tick: u64| Instant::from_millis(tick * TICK_MS);
        assert!(redeemed.first_use(at(5), 1));
        assert!(!redeemed.first_use(at(5), 1) && !redeemed.first_use(at(6), 1));
        assert!(redeemed.first_use(at(6), 2));
        // The first has expired meanwhile, the second not.
        assert!(!redeemed.first_use(at(7), 2));
        assert!(redeemed.now.len() + redeemed.before.len() <= 2);
        redeemed.first_use(at(100), 3);
        assert_eq!((redeemed.now.len(), redeemed.before.len()), (1, 0));
    }

    #[test]
    fn memory_is_bounded() {
        let mut redeemed = Redeemed::new(&Keyed::new([1; 16]));
        for tick in 1..4 {
            for fingerprint in 0..100_000 {
                redeemed.first_use(Instant::from_millis(tick * TICK_MS), fingerprint);
            }
            assert!(redeemed.now.len() + redeemed.before.len() <= 2 * MOST);
        }
    }
}
