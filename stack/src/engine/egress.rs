//! The one function through which every frame leaves.
//!
//! All topologies queue frames in an [`Egress`] and call [`Egress::flush`], which asks for permission
//! once per batch directly before the device call (FAILOVER: whoever transmits on the service address
//! holds a lease). Without permission there is silence: the batch is dropped and counted.
//!
//! What a full device did not take stays, in order, up to a bound that the writer stages look at before
//! they build more ([`Egress::has_room`]); frames that come from elsewhere beyond sixteen times that bound are
//! dropped and counted.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

use crate::counters::{Counter, Counters};
use crate::ip::RxPacket;
use crate::packet::TxFrame;
use crate::time::Instant;
use outlive_driver::Transmit;

/// Says whether this host may transmit at this moment.
pub trait Permit: Send + Sync {
    /// Asked once per batch, directly before the device call; must be cheap and never block.
    fn may_send(&self, now: Instant) -> bool;

    /// Asked before connections get a turn: without it they build no segment. A host that is about to fall silent in
    /// order builds no more, while what it has built may still leave: what is built and withheld counts as sent.
    fn may_build(&self, now: Instant) -> bool {
        self.may_send(now)
    }

    /// Asked once per batch of received frames: without this permission they are dropped, but for what
    /// teaches who our neighbours are. A host that must be silent is deaf too, so that no state can arise
    /// in it that nobody commits.
    fn may_receive(&self, now: Instant) -> bool {
        let _ = now;
        true
    }

    /// True when what arrives without permission to receive is wanted nevertheless, by
    /// [`Permit::divert`].
    fn diverts(&self, now: Instant) -> bool {
        let _ = now;
        false
    }

    /// Takes datagrams that arrived while another host has the service.
    fn divert(&self, packets: Vec<RxPacket>) {
        drop(packets);
    }
}

/// Permission without condition, for a host that shares its addresses with nobody.
#[derive(Clone, Copy, Debug, Default)]
pub struct Always;

impl Permit for Always {
    fn may_send(&self, _now: Instant) -> bool {
        true
    }
}

/// Frames on their way to one queue of the device.
pub(crate) struct Egress {
    /// Writer stages append here; [`Egress::flush`] empties it.
    pub(crate) frames: VecDeque<TxFrame>,
    permit: Arc<dyn Permit>,
    counters: Arc<Counters>,
    bound: usize,
}

impl Egress {
    pub(crate) fn new(permit: Arc<dyn Permit>, counters: Arc<Counters>, bound: usize) -> Self {
        Self {
            frames: VecDeque::new(),
            permit,
            counters,
            bound,
        }
    }

    /// True while the writer stages may build more frames.
    pub(crate) fn has_room(&self) -> bool {
        self.frames.len() < self.bound
    }

    /// Sends what the device takes; `Ok(true)` when nothing is left.
    ///
    /// # Errors
    /// When the device is gone.
    pub(crate) fn flush(&mut self, now: Instant, device: &mut dyn Transmit) -> io::Result<bool> {
        if self.frames.is_empty() {
            return Ok(true);
        }
        if !self.permit.may_send(now) {
            self.counters
                .add(Counter::EgressDropForbidden, self.frames.len() as u64);
            tracing::debug!(
                frames = self.frames.len(),
                "withheld: no permission to send"
            );
            self.frames.clear();
            return Ok(true);
        }
        device.transmit(&mut self.frames)?;
        while self.frames.len() > 16 * self.bound {
            if let Some(frame) = self.frames.pop_back() {
                self.counters
                    .drop_packet(Counter::EgressDropFull, &frame.len());
            }
        }
        Ok(self.frames.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    #[derive(Default)]
    struct Device {
        taken: Vec<TxFrame>,
        room: usize,
    }

    impl Transmit for Device {
        fn transmit(&mut self, batch: &mut VecDeque<TxFrame>) -> io::Result<()> {
            let n = self.room.min(batch.len());
            self.taken.extend(batch.drain(..n));
            self.room -= n;
            Ok(())
        }
    }

    struct Lease(AtomicBool);

    impl Permit for Lease {
        fn may_send(&self, _now: Instant) -> bool {
            self.0.load(Ordering::Relaxed)
        }
    }

    fn frame(tag: u8) -> TxFrame {
        let mut frame = TxFrame::default();
        frame.head.prepend(1)[0] = tag;
        frame
    }

    #[test]
    fn without_permission_nothing_reaches_the_device() {
        let lease = Arc::new(Lease(AtomicBool::new(false)));
        let counters = Arc::new(Counters::default());
        let mut egress = Egress::new(lease.clone(), Arc::clone(&counters), 8);
        let mut device = Device {
            room: 100,
            ..Device::default()
        };
        egress.frames.extend([frame(1), frame(2)]);
        assert!(egress.flush(Instant::ZERO, &mut device).unwrap());
        assert!(device.taken.is_empty());
        assert_eq!(counters.get(Counter::EgressDropForbidden), 2);
        lease.0.store(true, Ordering::Relaxed);
        egress.frames.push_back(frame(3));
        assert!(egress.flush(Instant::ZERO, &mut device).unwrap());
        assert_eq!(device.taken.len(), 1);
    }

    #[test]
    fn what_a_full_device_leaves_stays_in_order_and_bounded() {
        let counters = Arc::new(Counters::default());
        let mut egress = Egress::new(Arc::new(Always), Arc::clone(&counters), 4);
        let mut device = Device {
            room: 3,
            ..Device::default()
        };
        egress.frames.extend((0..100).map(frame));
        assert!(!egress.flush(Instant::ZERO, &mut device).unwrap());
        assert!(!egress.has_room());
        assert_eq!(counters.get(Counter::EgressDropFull), 100 - 3 - 64);
        device.room = 100;
        assert!(egress.flush(Instant::ZERO, &mut device).unwrap());
        let order: Vec<_> = device.taken.iter().map(|f| f.head.as_slice()[0]).collect();
        assert_eq!(order, (0..67).collect::<Vec<_>>());
    }
}
