//! How far the other host's clock is ahead of ours, from heartbeats that came back (FAILOVER §3).
//!
//! A sample is wrong by half of its round trip at most, so the one with the shortest counts; after a while
//! it is forgotten, because clocks drift.

use std::time::Duration;

use crate::time::Instant;

/// A sample is believed this long.
const BELIEVED_FOR: Duration = Duration::from_secs(60);

/// The best sample.
#[derive(Clone, Copy, Debug, Default)]
pub struct ClockOffset {
    best: Option<Sample>,
}

#[derive(Clone, Copy, Debug)]
struct Sample {
    offset_ns: i64,
    round_trip: Duration,
    at: Instant,
}

impl ClockOffset {
    /// A heartbeat came back at `now`.
    pub fn sample(&mut self, now: Instant, offset_ns: i64, round_trip: Duration) {
        let better = self
            .best
            .is_none_or(|best| round_trip <= best.round_trip || now.since(best.at) > BELIEVED_FOR);
        if better {
            self.best = Some(Sample {
                offset_ns,
                round_trip,
                at: now,
            });
        }
    }

    /// What to add to our clock to have the other one's, in nanoseconds; none without a sample.
    #[must_use]
    pub fn get(&self) -> Option<i64> {
        self.best.map(|best| best.offset_ns)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shortest_round_trip_counts_until_it_is_old() {
        let mut offset = ClockOffset::default();
        let at = |seconds| Instant::ZERO + Duration::from_secs(seconds);
        assert_eq!(offset.get(), None);
        offset.sample(at(1), 100, Duration::from_millis(5));
        offset.sample(at(2), 70, Duration::from_millis(1));
        offset.sample(at(3), 500, Duration::from_millis(9));
        assert_eq!(offset.get(), Some(70));
        offset.sample(at(100), 80, Duration::from_millis(2));
        assert_eq!(offset.get(), Some(80));
    }
}
