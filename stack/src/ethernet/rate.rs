//! At most so many in a second.

use crate::time::Instant;

const SECOND_NANOS: u64 = 1_000_000_000;

/// Counts within seconds that begin when the last one is over.
#[derive(Debug)]
pub(super) struct Rate {
    per_second: u32,
    since: Instant,
    used: u32,
}

impl Rate {
    pub(super) const fn new(per_second: u32) -> Self {
        Self {
            per_second,
            since: Instant::ZERO,
            used: 0,
        }
    }

    /// True if one more is within the rate; it counts then.
    pub(super) fn allow(&mut self, now: Instant) -> bool {
        if now.since(self.since).as_nanos() >= SECOND_NANOS.into() {
            self.since = now;
            self.used = 0;
        }
        let allowed = self.used < self.per_second;
        self.used += u32::from(allowed);
        allowed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_has_room_for_so_many() {
        let mut rate = Rate::new(3);
        let count = |rate: &mut Rate, millis| {
            (0..10)
                .filter(|_| rate.allow(Instant::from_millis(millis)))
                .count()
        };
        assert_eq!(count(&mut rate, 5000), 3);
        assert_eq!(count(&mut rate, 5999), 0);
        assert_eq!(count(&mut rate, 6000), 3);
    }
}
