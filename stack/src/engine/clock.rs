//! The only reader of a clock: `CLOCK_BOOTTIME` as [`Instant`].
//!
//! Boot time and not monotonic time, because it goes on while the host is suspended: a lease or a
//! retransmission timer that was running before has run out afterwards.

use nix::time::{ClockId, clock_gettime};

use crate::time::Instant;

/// The present time.
#[must_use]
pub fn now() -> Instant {
    let time = clock_gettime(ClockId::CLOCK_BOOTTIME)
        .or_else(|_| clock_gettime(ClockId::CLOCK_MONOTONIC))
        .expect("every Linux has a monotonic clock");
    Instant::from_nanos(time.tv_sec() as u64 * 1_000_000_000 + time.tv_nsec() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn never_goes_backwards() {
        let readings: Vec<_> = (0..1000).map(|_| now()).collect();
        assert!(readings.is_sorted());
        assert!(readings[0] > Instant::ZERO);
    }
}
