//! The lease: permission to send on the service address for a short time (FAILOVER §6).
//!
//! The holder counts from the moment when it *sent* the request that was granted, and takes the bound of the
//! clocks' drift off; whoever granted counts from the moment when it *received* the request. So the holder's
//! time is over first, whatever the network does. Assumed: clocks drift apart by less than the bound, and a
//! clock goes on while its host is paused.
//!
//! [`Lease`] is what the engine asks before each batch: two atomics, no lock.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::engine::Permit;
use crate::replication::view::Epoch;
use crate::time::Instant;

/// What the engine asks whether it may send.
#[derive(Debug, Default)]
pub struct Lease {
    /// First nanosecond at which it is over; 0 when there is none.
    until_ns: AtomicU64,
    epoch: AtomicU64,
    /// How often it was revoked.
    revocations: AtomicU64,
}

impl Lease {
    /// The end of the lease; [`Instant::ZERO`] without one.
    #[must_use]
    pub fn until(&self) -> Instant {
        Instant::from_nanos(self.until_ns.load(Ordering::Acquire))
    }

    /// The epoch of the last lease.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        Epoch(self.epoch.load(Ordering::Acquire))
    }

    /// True while it is held.
    #[must_use]
    pub fn is_valid(&self, now: Instant) -> bool {
        now < self.until()
    }

    /// Silence from now on.
    pub fn revoke(&self) {
        self.revocations.fetch_add(1, Ordering::AcqRel);
        self.until_ns.store(0, Ordering::Release);
    }

    fn extend(&self, epoch: Epoch, until: Instant) {
        self.epoch.store(epoch.0, Ordering::Release);
        self.until_ns.fetch_max(until.as_nanos(), Ordering::AcqRel);
    }
}

impl Permit for Lease {
    fn may_send(&self, now: Instant) -> bool {
        self.is_valid(now)
    }
}

/// A lease that was won, but not yet taken up: what was accepted before has to be stored first. It is void once
/// the lease was revoked meanwhile.
#[derive(Clone, Debug)]
pub struct Term {
    lease: Arc<Lease>,
    epoch: Epoch,
    until: Instant,
    revocations: u64,
}

impl Term {
    /// A lease of `epoch` that ends at `until`.
    #[must_use]
    pub fn new(lease: Arc<Lease>, epoch: Epoch, until: Instant) -> Self {
        Self {
            revocations: lease.revocations.load(Ordering::Acquire),
            lease,
            epoch,
            until,
        }
    }

    /// Takes it up: from now on the engine may send. Not while another thread revokes the lease.
    pub fn apply(&self) {
        if self.lease.revocations.load(Ordering::Acquire) == self.revocations {
            self.lease.extend(self.epoch, self.until);
        }
    }

    /// The epoch in which it may be used.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Its end.
    #[must_use]
    pub fn until(&self) -> Instant {
        self.until
    }
}

/// End of the holder's lease, by its own clock: `sent` is when it sent the request that was granted.
#[must_use]
pub fn holder_until(sent: Instant, lease: Duration, drift_ppm: u32) -> Instant {
    let nanos = lease.as_nanos();
    // Rounded up, so that a bound above zero always shortens.
    let drift = (nanos * u128::from(drift_ppm)).div_ceil(1_000_000);
    let held = u64::try_from(nanos.saturating_sub(drift)).unwrap_or(u64::MAX);
    sent + Duration::from_nanos(held)
}

/// End of the same lease by the clock of whoever granted it, who received the request at `received`.
#[must_use]
pub fn grantor_until(received: Instant, lease: Duration) -> Instant {
    received + lease
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LEASE: Duration = Duration::from_millis(30);

    #[test]
    fn silent_before_after_and_once_revoked() {
        let lease = Arc::new(Lease::default());
        assert!(!lease.may_send(Instant::ZERO));
        let term = Term::new(Arc::clone(&lease), Epoch(3), Instant::from_millis(30));
        assert!(!lease.may_send(Instant::ZERO), "not taken up yet");
        term.apply();
        assert!(lease.may_send(Instant::from_millis(29)));
        assert!(!lease.may_send(Instant::from_millis(30)));
        lease.revoke();
        assert!(!lease.may_send(Instant::ZERO));
        assert_eq!(lease.epoch(), Epoch(3));
    }

    #[test]
    fn an_older_grant_that_arrives_late_shortens_nothing() {
        let lease = Arc::new(Lease::default());
        for until in [40, 30] {
            Term::new(Arc::clone(&lease), Epoch(1), Instant::from_millis(until)).apply();
        }
        assert_eq!(lease.until(), Instant::from_millis(40));
    }

    #[test]
    fn a_term_that_was_won_before_a_revocation_is_void() {
        let lease = Arc::new(Lease::default());
        let term = || Term::new(Arc::clone(&lease), Epoch(1), Instant::from_millis(30));
        let won = term();
        lease.revoke();
        won.apply();
        assert!(!lease.may_send(Instant::ZERO));
        term().apply();
        assert!(lease.may_send(Instant::ZERO));
    }

    proptest! {
        /// Two clocks that run apart within the bound: at no true moment does the holder still hold what
        /// the grantor thinks is over.
        #[test]
        fn the_holder_is_through_before_the_grantor(
            sent in 0_u64..1_000_000_000,
            flight in 0_u64..10_000_000,
            holder_ppm in -500_i64..=500,
            grantor_ppm in -500_i64..=500,
        ) {
            // True time 0 is the sending; the grantor's clock starts at 0 on receipt.
            let held_ns = holder_until(Instant::from_nanos(sent), LEASE, 1_000).as_nanos() - sent;
            let granted_ns = grantor_until(Instant::ZERO, LEASE).as_nanos();
            let scale = |ns: u64, ppm: i64| i128::from(ns) * 1_000_000_000 / (1_000_000 + i128::from(ppm));
            let holder_over = scale(held_ns, holder_ppm);
            let grantor_over = i128::from(flight) * 1_000 + scale(granted_ns, grantor_ppm);
            prop_assert!(holder_over <= grantor_over);
        }
    }
}
