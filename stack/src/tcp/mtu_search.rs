//! The search for the largest datagram that a path carries (RFC 4821 §7.3, §7.4, §7.8), apart from the connection that does it.
//!
//! Between what is known to pass and what may pass the next size is the middle, as in Linux. When a search is over its upper end
//! is opened again after a while, up to the link's own size, and that is tried first: it is the likeliest, having
//! passed once. What is between when less than a threshold is left is not worth another probe.
//!
//! Left out: sizes that are usual on links (§7.3), and verifying a smaller size that a router told (§7.7).

use super::config::MtuProbing;
use crate::time::Instant;

/// Probes of one size of which nothing can be said before it counts as too large.
const MAX_INCONCLUSIVE: u8 = 2;

/// Whether the upper end itself is to be tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Top {
    /// Before anything else.
    First,
    /// When nothing else is left.
    Last,
    /// It is only what follows from a failure.
    Never,
}

/// A probe on its way: the stretch of the stream that it is made of, and the size of the datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Probe {
    pub start: u64,
    pub end: u64,
    pub mtu: u32,
}

/// One search, in bytes of IP datagrams.
#[derive(Clone, Copy, Debug)]
pub(super) struct MtuSearch {
    /// What passes (search_low).
    low: u32,
    /// What may pass (search_high).
    high: u32,
    /// What the link carries: nothing larger is ever tried.
    link: u32,
    top: Top,
    /// When the upper end is opened again.
    again_at: Instant,
    inconclusive: u8,
    pub probe: Option<Probe>,
}

impl MtuSearch {
    /// Nothing is known but that `low` passes nearly everywhere, and that the path is said to carry `high`.
    pub(super) fn from_base(low: u32, high: u32, link: u32, again_at: Instant) -> Self {
        Self {
            low,
            high,
            link,
            top: Top::Last,
            again_at,
            inconclusive: 0,
            probe: None,
        }
    }

    /// A router said that the path carries `mtu`, or that was learned earlier: larger ones are tried later (RFC 1191 §6.3).
    pub(super) fn told(mtu: u32, link: u32, again_at: Instant) -> Self {
        Self::from_base(mtu, mtu, link, again_at)
    }

    /// Datagrams of `vanished` bytes do not arrive, and `mtu` is the next size that is thought to.
    pub(super) fn black_hole(mtu: u32, vanished: u32, link: u32, again_at: Instant) -> Self {
        Self {
            top: Top::Never,
            ..Self::from_base(mtu, (vanished - 1).max(mtu), link, again_at)
        }
    }

    /// The largest size in use.
    pub(super) const fn low(&self) -> u32 {
        self.low
    }

    /// Nothing larger is of any use to a connection that sends no more than `ceiling`.
    pub(super) fn is_over(&self, ceiling: u32) -> bool {
        self.low >= self.link.min(ceiling)
    }

    /// The size to probe next; none while there is none.
    pub(super) fn next(&mut self, now: Instant, ceiling: u32, choices: &MtuProbing) -> Option<u32> {
        let size = self.between(ceiling, choices.threshold_bytes);
        if size.is_some() || now < self.again_at {
            return size;
        }
        self.high = self.link;
        self.top = Top::First;
        self.again_at = now + choices.interval;
        self.inconclusive = 0;
        self.between(ceiling, choices.threshold_bytes)
    }

    fn between(&self, ceiling: u32, threshold_bytes: u32) -> Option<u32> {
        let high = self.high.min(ceiling);
        if high <= self.low {
            return None;
        }
        if self.top == Top::First {
            return Some(high);
        }
        if high - self.low >= threshold_bytes.max(2) {
            return Some(self.low.midpoint(high));
        }
        (self.top == Top::Last).then_some(high)
    }

    /// The probe arrived; returns its size.
    pub(super) fn on_arrived(&mut self) -> Option<u32> {
        let probe = self.probe.take()?;
        self.low = probe.mtu;
        self.inconclusive = 0;
        Some(probe.mtu)
    }

    /// The probe, and nothing else, was lost; or a router said that it is too large, and perhaps what is not.
    pub(super) fn on_lost(&mut self, told: Option<u32>) {
        let Some(probe) = self.probe.take() else {
            return;
        };
        let told = told.filter(|mtu| (self.low + 1..probe.mtu).contains(mtu));
        self.high = told.unwrap_or(probe.mtu - 1);
        self.top = told.map_or(Top::Never, |_| Top::First);
        self.inconclusive = 0;
    }

    /// What became of the probe cannot be told: parts of it are sent again. The size is tried again, but not for ever.
    pub(super) fn on_inconclusive(&mut self) {
        self.inconclusive += u8::from(self.probe.is_some());
        if self.inconclusive >= MAX_INCONCLUSIVE {
            self.on_lost(None);
        }
        self.probe = None;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    const START: Instant = Instant::from_millis(1000);
    const LINK: u32 = 1500;

    fn choices() -> MtuProbing {
        MtuProbing::default()
    }

    fn later() -> Instant {
        START + choices().interval
    }

    /// Probes until there is nothing left to probe; what was tried.
    fn run(search: &mut MtuSearch, now: Instant, truth: u32) -> Vec<u32> {
        let mut tried = Vec::new();
        while let Some(mtu) = search.next(now, u32::MAX, &choices()) {
            tried.push(mtu);
            assert!(tried.len() < 20, "{tried:?}");
            search.probe = Some(Probe {
                start: 1,
                end: 2,
                mtu,
            });
            if mtu <= truth {
                assert_eq!(search.on_arrived(), Some(mtu));
            } else {
                search.on_lost(None);
            }
        }
        tried
    }

    #[test]
    fn from_a_low_base_the_first_size_is_the_middle_and_the_last_the_top() {
        let mut search = MtuSearch::from_base(552, LINK, LINK, later());
        let tried = run(&mut search, START, LINK);
        assert_eq!((tried[0], tried.last()), (1026, Some(&LINK)));
        assert!(search.is_over(u32::MAX));
    }

    #[test]
    fn what_a_router_told_is_not_doubted_before_the_interval_is_over() {
        let mut search = MtuSearch::told(1000, LINK, later());
        assert_eq!(search.next(START, u32::MAX, &choices()), None);
        assert_eq!(run(&mut search, later(), LINK), [LINK]);
    }

    #[test]
    fn what_vanished_is_not_tried_again_before_the_interval_is_over() {
        let mut search = MtuSearch::black_hole(1280, LINK, LINK, later());
        assert!(run(&mut search, START, LINK).iter().all(|&it| it < LINK));
        assert!(search.low() > LINK - choices().threshold_bytes - 1);
        assert_eq!(run(&mut search, later(), LINK), [LINK]);
    }

    #[test]
    fn the_peers_mss_is_an_upper_end_too() {
        let mut search = MtuSearch::told(1000, LINK, START);
        assert_eq!(search.next(START, 1240, &choices()), Some(1240));
        assert!(search.is_over(1000) && !search.is_over(1001));
    }

    #[test]
    fn a_size_that_a_router_names_is_tried_next() {
        let mut search = MtuSearch::told(1000, LINK, START);
        let mtu = search.next(START, u32::MAX, &choices()).unwrap();
        search.probe = Some(Probe {
            start: 1,
            end: 2,
            mtu,
        });
        search.on_lost(Some(1400));
        assert_eq!(search.next(START, u32::MAX, &choices()), Some(1400));
    }

    #[test]
    fn a_size_of_which_nothing_can_be_said_is_tried_twice() {
        let mut search = MtuSearch::from_base(552, LINK, LINK, later());
        let mut probe = || {
            let mtu = search.next(START, u32::MAX, &choices()).unwrap();
            let (start, end) = (1, 2);
            search.probe = Some(Probe { start, end, mtu });
            search.on_inconclusive();
            mtu
        };
        let (first, second, third) = (probe(), probe(), probe());
        assert_eq!(first, second);
        assert!(third < first);
    }

    proptest! {
        #[test]
        fn a_search_ends_near_the_truth_and_never_beyond(
            low in 68_u32..1500, extra in 0_u32..9000, truth in 0_u32..12_000, told in any::<bool>(),
        ) {
            let (link, truth) = (low + extra, low + truth);
            let mut search = if told {
                MtuSearch::told(low, link, START)
            } else {
                MtuSearch::from_base(low, link, link, later())
            };
            let tried = run(&mut search, START, truth);
            prop_assert!(tried.iter().all(|&mtu| mtu > low && mtu <= link));
            let reach = truth.min(link);
            prop_assert!(search.low() <= reach);
            prop_assert!(reach - search.low() < choices().threshold_bytes);
            let wait = Duration::from_secs(1);
            prop_assert!(search.next(START + wait, u32::MAX, &choices()).is_none());
        }
    }
}
