//! How many ICMP errors may leave (RFC 1812 §4.3.2.8): one token bucket for everybody and one per keyed
//! hash of the peer, so that one peer cannot use up what others may need.

use std::net::IpAddr;

use super::IcmpLimits;
use crate::keyed::Keyed;
use crate::time::Instant;

const PEER_BUCKETS: usize = 256;
const NANOS: u64 = 1_000_000_000;

#[derive(Clone, Copy, Debug)]
struct Bucket {
    /// In billionths of a token, so that refilling loses nothing.
    nano_tokens: u64,
    filled_at: Instant,
}

impl Bucket {
    const fn full(burst: u32) -> Self {
        Self {
            nano_tokens: burst as u64 * NANOS,
            filled_at: Instant::ZERO,
        }
    }

    fn refill(&mut self, now: Instant, per_second: u32, burst: u32) {
        let nanos = u64::try_from(now.since(self.filled_at).as_nanos()).unwrap_or(u64::MAX);
        self.filled_at = self.filled_at.max(now);
        self.nano_tokens = nanos
            .saturating_mul(per_second.into())
            .saturating_add(self.nano_tokens)
            .min(u64::from(burst) * NANOS);
    }

    const fn has_token(&self) -> bool {
        self.nano_tokens >= NANOS
    }
}

#[derive(Debug)]
pub(super) struct IcmpLimiter {
    limits: IcmpLimits,
    keyed: Keyed,
    all: Bucket,
    peers: Box<[Bucket]>,
}

impl IcmpLimiter {
    pub(super) fn new(limits: IcmpLimits, keyed: Keyed) -> Self {
        Self {
            all: Bucket::full(limits.burst),
            peers: vec![Bucket::full(limits.burst_per_peer); PEER_BUCKETS].into(),
            limits,
            keyed,
        }
    }

    /// True if one more may go to `peer` now; it counts then.
    pub(super) fn allow(&mut self, now: Instant, peer: IpAddr) -> bool {
        let limits = &self.limits;
        let peer = &mut self.peers[self.keyed.hash(site(peer)) as usize % PEER_BUCKETS];
        self.all.refill(now, limits.per_second, limits.burst);
        peer.refill(now, limits.per_second_per_peer, limits.burst_per_peer);
        let allowed = self.all.has_token() && peer.has_token();
        if allowed {
            self.all.nano_tokens -= NANOS;
            peer.nano_tokens -= NANOS;
        }
        allowed
    }
}

/// Who counts as one peer: in IPv6 a whole network, since one host may have all of its addresses.
fn site(peer: IpAddr) -> u64 {
    match peer {
        IpAddr::V4(v4) => v4.to_bits().into(),
        IpAddr::V6(v6) => (v6.to_bits() >> 64) as u64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn limiter() -> IcmpLimiter {
        IcmpLimiter::new(IcmpLimits::default(), Keyed::new([3; 16]))
    }

    #[test]
    fn a_peer_gets_its_burst_and_then_its_rate() {
        let mut limiter = limiter();
        let peer = IpAddr::from([10, 0, 0, 2]);
        let at = |millis: u64| Instant::from_millis(1000 + millis);
        let burst = (0..100).filter(|_| limiter.allow(at(0), peer)).count();
        assert_eq!(burst, 10);
        let second: usize = (1..=1000)
            .filter(|&millis| limiter.allow(at(millis), peer))
            .count();
        assert_eq!(second, 10);
    }

    #[test]
    fn a_noisy_peer_leaves_something_for_others() {
        let mut limiter = limiter();
        let now = Instant::from_millis(1);
        for _ in 0..10_000 {
            limiter.allow(now, IpAddr::from([10, 0, 0, 2]));
        }
        assert!(limiter.allow(now, IpAddr::from([10, 0, 0, 3])));
    }

    proptest! {
        #[test]
        fn no_pattern_of_requests_exceeds_burst_plus_rate(
            requests in proptest::collection::vec((0..3_000_000_u64, any::<u8>()), 1..3000),
        ) {
            let mut limiter = limiter();
            let (mut nanos, mut sent) = (0, 0_u64);
            for (gap, peer) in requests {
                nanos += gap;
                let peer = IpAddr::from([10, 0, 0, peer]);
                sent += u64::from(limiter.allow(Instant::from_nanos(nanos), peer));
            }
            prop_assert!(sent <= 100 + nanos * 1000 / NANOS);
        }
    }
}
