//! When the stack may send and receive: with a lease, once it has taken over, and until it hands the service
//! over.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::Mutex;

use super::carrier::{Carrier, Channel};
use super::forward::Forwarded;
use super::membership::Lease;
use super::message::Message;
use super::overheard::Overheard;
use super::view::HostId;
use crate::engine::Permit;
use crate::ip::{Cast, RxPacket};
use crate::time::Instant;

/// The engine's permit.
pub(crate) struct Door {
    lease: Arc<Lease>,
    open: AtomicBool,
    /// What was built before it closed may still leave.
    drains: AtomicBool,
    /// Until when (in nanoseconds) datagrams that arrive at the closed door are sent on.
    forwards_until: AtomicU64,
    /// The other host gets by itself what comes to this one.
    both_hear: AtomicBool,
    /// Whoever may have to take over keeps what the network brings to it as well.
    overhears: AtomicBool,
    pub(crate) overheard: Mutex<Overheard>,
    /// The time of the last batch.
    now_ns: AtomicU64,
    carrier: Arc<dyn Carrier>,
    peer: HostId,
}

impl Door {
    pub(crate) fn new(lease: Arc<Lease>, carrier: Arc<dyn Carrier>, peer: HostId) -> Self {
        Self {
            lease,
            open: AtomicBool::new(false),
            drains: AtomicBool::new(false),
            forwards_until: AtomicU64::new(0),
            both_hear: AtomicBool::new(false),
            overhears: AtomicBool::new(false),
            overheard: Mutex::default(),
            now_ns: AtomicU64::new(0),
            carrier,
            peer,
        }
    }

    pub(crate) fn is_open(&self) -> bool {
        self.open.load(Ordering::SeqCst)
    }

    pub(crate) fn open(&self) {
        self.forwards_until.store(0, Ordering::Release);
        self.drains.store(false, Ordering::SeqCst);
        self.open.store(true, Ordering::SeqCst);
    }

    pub(crate) fn close(&self) {
        self.open.store(false, Ordering::SeqCst);
        self.drains.store(false, Ordering::SeqCst);
    }

    /// Nothing comes in and nothing is built from now on; what is built still leaves, until [`Door::close`].
    pub(crate) fn drain(&self) {
        self.drains.store(true, Ordering::SeqCst);
        self.open.store(false, Ordering::SeqCst);
    }

    /// Nothing has to be sent on.
    pub(crate) fn both_hear(&self) {
        self.both_hear.store(true, Ordering::Release);
    }

    /// What arrives at the closed door is kept for the case that this host takes over; or is not.
    pub(crate) fn overhear(&self, overhears: bool) {
        let overhears = overhears && self.both_hear.load(Ordering::Acquire);
        self.overhears.store(overhears, Ordering::Release);
        if !overhears {
            self.overheard.lock().clear();
        }
    }

    /// What arrives until then goes to the other host.
    pub(crate) fn forward_until(&self, until: Instant) {
        self.forwards_until
            .store(until.as_nanos(), Ordering::Release);
    }

    pub(crate) fn is_forwarding(&self, now: Instant) -> bool {
        now.as_nanos() < self.forwards_until.load(Ordering::Acquire)
    }
}

impl Permit for Door {
    fn may_send(&self, now: Instant) -> bool {
        // In this order: between the two a door that closes to drain would look closed.
        let passable = self.is_open() || self.drains.load(Ordering::SeqCst);
        passable && self.lease.is_valid(now)
    }

    fn may_build(&self, now: Instant) -> bool {
        self.is_open() && self.lease.is_valid(now)
    }

    fn may_receive(&self, _now: Instant) -> bool {
        // What arrives while the lease is being renewed is answered afterwards.
        self.is_open()
    }

    fn diverts(&self, now: Instant) -> bool {
        self.now_ns.store(now.as_nanos(), Ordering::Relaxed);
        self.is_forwarding(now) || self.overhears.load(Ordering::Acquire)
    }

    fn divert(&self, packets: Vec<RxPacket>) {
        let now = Instant::from_nanos(self.now_ns.load(Ordering::Relaxed));
        if packets.is_empty() {
            return;
        }
        if !self.is_forwarding(now) || self.both_hear.load(Ordering::Acquire) {
            let packets = packets.into_iter();
            let packets = packets
                .filter(|packet| packet.cast == Cast::Unicast)
                .collect();
            let left_out = self.overheard.lock().keep(now, packets);
            if left_out > 0 {
                tracing::debug!(left_out, "overheard more than is kept");
            }
            return;
        }
        for packet in packets.into_iter().filter_map(Forwarded::from_packet) {
            let message = Message::Forward(packet).to_bytes();
            self.carrier.send(self.peer, Channel::Bulk, message);
        }
    }
}

impl std::fmt::Debug for Door {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Door")
            .field("open", &self.is_open())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bytes::Bytes;

    use super::*;
    use crate::replication::membership::Term;
    use crate::replication::view::Epoch;

    struct Nobody;

    impl Carrier for Nobody {
        fn send(&self, _: HostId, _: Channel, _: Bytes) {}
    }

    #[test]
    fn what_was_built_before_a_handover_still_leaves_and_nothing_more_is_built() {
        let lease = Arc::new(Lease::default());
        let door = Door::new(Arc::clone(&lease), Arc::new(Nobody), HostId(1));
        let may = |door: &Door, now| {
            (
                door.may_receive(now),
                door.may_build(now),
                door.may_send(now),
            )
        };
        let (now, until) = (Instant::ZERO, Instant::ZERO + Duration::from_secs(1));
        Term::new(Arc::clone(&lease), Epoch(1), until).apply();
        assert_eq!(may(&door, now), (false, false, false));
        door.open();
        assert_eq!(may(&door, now), (true, true, true));
        door.drain();
        assert_eq!(may(&door, now), (false, false, true));
        assert_eq!(may(&door, until), (false, false, false), "without a lease");
        door.close();
        assert_eq!(may(&door, now), (false, false, false));
    }
}
