//! When a connection last made progress.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

/// What one connection saw.
#[derive(Clone, Copy, Debug)]
pub(super) struct Progress {
    last: Instant,
    longest_from: Instant,
    longest: Duration,
    steps: u64,
    bytes: u64,
    lost_syns: u64,
}

impl Progress {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            last: now,
            longest_from: now,
            longest: Duration::ZERO,
            steps: 0,
            bytes: 0,
            lost_syns: 0,
        }
    }

    /// `bytes` more came. What came first only starts the clock: how long a server takes to begin is
    /// not a gap.
    pub(super) fn step(&mut self, now: Instant, bytes: u64) {
        if self.steps > 0 {
            self.end(now);
        }
        self.last = now;
        self.steps += 1;
        self.bytes += bytes;
    }

    /// A connection came about, but its first SYN was lost: counted, and not taken for a gap.
    pub(super) fn lost_syn(&mut self, now: Instant) {
        self.last = now;
        self.lost_syns += 1;
    }

    /// Nothing is expected before `now`: the time until then is no gap.
    pub(super) fn pause(&mut self, now: Instant) {
        self.last = now;
    }

    /// Nothing came up to `now`.
    pub(super) fn end(&mut self, now: Instant) {
        let gap = now.saturating_duration_since(self.last);
        if gap > self.longest {
            (self.longest, self.longest_from) = (gap, self.last);
        }
    }

    pub(super) const fn longest(&self) -> Duration {
        self.longest
    }

    /// When the longest gap began, and how long it was.
    pub(super) const fn gap(&self) -> (Instant, Duration) {
        (self.longest_from, self.longest)
    }

    pub(super) const fn steps(&self) -> u64 {
        self.steps
    }

    pub(super) const fn lost_syns(&self) -> u64 {
        self.lost_syns
    }

    pub(super) const fn bytes(&self) -> u64 {
        self.bytes
    }
}

/// Seconds since 1970 at `at`, to be compared with what other processes log.
pub(super) fn unix_s(at: Instant) -> f64 {
    let then = SystemTime::now().checked_sub(at.elapsed());
    then.and_then(|then| then.duration_since(UNIX_EPOCH).ok())
        .map_or(0.0, |since| since.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_gap_is_kept_and_the_wait_for_the_first_byte_is_none() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut progress = Progress::new(start);
        for ms in [500, 510, 560, 565] {
            progress.step(at(ms), 1);
        }
        assert_eq!(progress.gap(), (at(510), Duration::from_millis(50)));
        progress.pause(at(700));
        progress.step(at(720), 1);
        assert_eq!(progress.longest(), Duration::from_millis(50));
        progress.end(at(800));
        assert_eq!(progress.gap(), (at(720), Duration::from_millis(80)));
        assert_eq!((progress.steps(), progress.bytes()), (5, 5));
    }
}
