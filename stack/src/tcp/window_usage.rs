//! Is the congestion window what limits sending? Only then may it grow: beyond that it would be a window that was never
//! tried (RFC 7661 §4.1; RFC 5681 §3.1).
//!
//! As in Linux, what counts is the most that was outstanding within a round trip, and in slow start half of the window
//! is enough: an application that sends every other moment does not see its window stand still.

/// What was outstanding in the present round trip.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct WindowUsage {
    /// The most of it, in bytes.
    most: u32,
    /// The round trip ends when this is acknowledged (modulo 2^32).
    until: u32,
    /// Sending stopped for the window.
    limited: bool,
}

impl WindowUsage {
    /// Something was sent up to `nxt`, or could not be because the window is full (`limited`).
    pub(super) fn note(&mut self, una: u64, nxt: u64, limited: bool) {
        let outstanding = u32::try_from(nxt - una).unwrap_or(u32::MAX);
        let over = (una as u32).wrapping_sub(self.until) as i32 >= 0;
        if over || limited || (!self.limited && outstanding > self.most) {
            *self = Self {
                most: outstanding,
                until: nxt as u32,
                limited,
            };
        }
    }

    /// True if a window of `cwnd` bytes is the limit.
    pub(super) const fn limits(&self, cwnd: u64, slow_start: bool) -> bool {
        self.limited || slow_start && cwnd < 2 * self.most as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_window_counts_for_the_whole_round_trip() {
        let mut usage = WindowUsage::default();
        usage.note(0, 10_000, true);
        // ACKs make room, and nothing more is there to be sent.
        usage.note(2000, 10_000, false);
        assert!(usage.limits(10_000, false));
        usage.note(10_000, 11_000, false);
        assert!(!usage.limits(10_000, false));
    }

    #[test]
    fn half_of_the_window_is_enough_in_slow_start_only() {
        let mut usage = WindowUsage::default();
        usage.note(0, 6000, false);
        assert!(usage.limits(10_000, true) && !usage.limits(10_000, false));
        let mut usage = WindowUsage::default();
        usage.note(0, 5000, false);
        assert!(!usage.limits(10_000, true));
    }

    #[test]
    fn sequence_numbers_may_wrap() {
        let mut usage = WindowUsage::default();
        let start = (1 << 32) - 1000;
        usage.note(start, start + 9000, false);
        usage.note(start + 4000, start + 9000, false);
        assert!(usage.limits(10_000, true));
    }
}
