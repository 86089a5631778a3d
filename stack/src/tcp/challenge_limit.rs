//! How many challenge ACKs one host is sent (RFC 5961 §7), whatever the number of its connections.
//!
//! Each connection has a limit of its own ([`super::arrival`]). One for all hosts together would let a stranger find out
//! by its own share what goes on between two others (CVE-2016-5696); so hosts are told apart, by a keyed hash.

use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::keyed::Keyed;
use crate::time::Instant;

/// Hosts that share one are as good as one.
const BUCKETS: usize = 1024;
const COUNT_BITS: u32 = 32;

/// Counts by host and second.
#[derive(Debug)]
pub(super) struct ChallengeLimit {
    keyed: Keyed,
    per_second: u32,
    /// The second, and how many there were in it.
    buckets: Vec<AtomicU64>,
}

impl ChallengeLimit {
    pub(super) fn new(per_second: u32, keyed: Keyed) -> Self {
        Self {
            keyed,
            per_second,
            buckets: (0..BUCKETS).map(|_| AtomicU64::new(0)).collect(),
        }
    }

    /// True if `host` may be sent one more now.
    pub(super) fn allow(&self, now: Instant, host: IpAddr) -> bool {
        let second = (now.as_millis() / 1000) << COUNT_BITS;
        let bucket = &self.buckets[self.keyed.hash(host) as usize % BUCKETS];
        let count = |state: u64| match state >> COUNT_BITS == second >> COUNT_BITS {
            true => state & u64::from(u32::MAX),
            false => 0,
        };
        let next = |state| {
            let count = count(state);
            (count < u64::from(self.per_second)).then_some(second | (count + 1))
        };
        bucket
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, next)
            .is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_host_has_its_own_share_of_each_second() {
        let limit = ChallengeLimit::new(3, Keyed::new([1; 16]));
        let host = |n: u8| IpAddr::from([10, 0, 0, n]);
        let allowed = |ms, n| {
            (0..10)
                .filter(|_| limit.allow(Instant::from_millis(ms), host(n)))
                .count()
        };
        assert_eq!(allowed(500, 1), 3);
        assert_eq!(allowed(999, 1), 0);
        assert_eq!(allowed(999, 2), 3, "another host");
        assert_eq!(allowed(1000, 1), 3, "another second");
    }
}
