//! The clock of one host: it began at another time than the world's and runs a little fast or slow. It is
//! never stopped, not while its host is frozen either.

use std::time::Duration;

use outlive_driver::Instant;

const MILLION: i128 = 1_000_000;

/// What a host's clock shows, as a function of the world's time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LocalClock {
    offset: Duration,
    drift_ppm: i32,
}

impl LocalClock {
    /// A clock that shows `offset` when the world begins and gains `drift_ppm` microseconds a second.
    #[must_use]
    pub const fn new(offset: Duration, drift_ppm: i32) -> Self {
        Self { offset, drift_ppm }
    }

    /// What it shows when the world's time is `world`.
    #[must_use]
    pub fn local(&self, world: Instant) -> Instant {
        let nanos = i128::from(world.as_nanos());
        let shown = nanos + nanos * i128::from(self.drift_ppm) / MILLION;
        Instant::from_nanos(clamp(shown)) + self.offset
    }

    /// The first time of the world at which it shows `local` or later.
    #[must_use]
    pub fn world(&self, local: Instant) -> Instant {
        if local == Instant::FAR_FUTURE {
            return local;
        }
        let shown = i128::try_from(local.since(Instant::ZERO + self.offset).as_nanos());
        let nanos = shown.unwrap_or(0) * MILLION / (MILLION + i128::from(self.drift_ppm));
        let mut world = Instant::from_nanos(clamp(nanos - 1));
        while self.local(world) < local {
            world += Duration::from_nanos(1);
        }
        world
    }
}

fn clamp(nanos: i128) -> u64 {
    u64::try_from(nanos.max(0)).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_is_met_at_the_first_instant_and_not_before() {
        for drift_ppm in [-500, -1, 0, 1, 3, 500] {
            let clock = LocalClock::new(Duration::from_millis(77), drift_ppm);
            for local_ms in [0, 1, 77, 78, 1_000, 86_400_000] {
                let deadline = Instant::from_millis(local_ms) + Duration::from_nanos(7);
                let world = clock.world(deadline);
                assert!(clock.local(world) >= deadline);
                let before = world - Duration::from_nanos(1);
                assert!(before == world || clock.local(before) < deadline);
            }
        }
    }
}
