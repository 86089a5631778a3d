//! What a host is to the network: something that takes frames, gives frames, and has a next deadline.

use std::collections::VecDeque;

use outlive::counters::Counter;
use outlive::engine::{Config, Stack, Stepped};
use outlive_driver::{Capabilities, Instant, RxFrame, TxFrame};

/// A stack on an Ethernet in virtual time: ours, or a foreign one.
pub trait Node {
    /// Its Ethernet address.
    fn mac(&self) -> [u8; 6];
    /// Largest IP datagram that it may put on the wire, in bytes.
    fn mtu(&self) -> usize;
    /// True when the watcher holds it to every rule; foreign stacks are only asked for whole frames.
    fn strict(&self) -> bool;
    /// True once it has dropped packets of its own before they reached the wire, because its neighbour did not say
    /// where it is: the wire sees a gap there until they are sent again.
    fn has_lost_frames(&self) -> bool {
        false
    }
    /// Hands it frames that arrived.
    fn receive(&mut self, now: Instant, frames: &mut Vec<RxFrame>);
    /// Lets it do what is due; appends the frames that it sends.
    fn poll(&mut self, now: Instant, out: &mut VecDeque<TxFrame>);
    /// When it wants to be polled next.
    fn next_deadline(&mut self, now: Instant) -> Option<Instant>;
}

/// A host that runs our stack, stepped.
pub struct OurNode {
    stepped: Stepped,
    mac: [u8; 6],
    mtu: usize,
}

impl OurNode {
    /// Our stack over a device with `capabilities`.
    ///
    /// # Panics
    /// When the configuration is not accepted: a mistake in the test.
    #[must_use]
    pub fn new(capabilities: &Capabilities, config: Config) -> Self {
        Self::new_at(capabilities, config, Instant::ZERO)
    }

    /// The same, begun at another time than zero.
    ///
    /// # Panics
    /// When the configuration is not accepted: a mistake in the test.
    #[must_use]
    pub fn new_at(capabilities: &Capabilities, config: Config, now: Instant) -> Self {
        let (mac, mtu) = (
            capabilities.mac.expect("an Ethernet device"),
            capabilities.mtu,
        );
        Self {
            stepped: Stepped::new(capabilities, config, now).expect("a valid configuration"),
            mac,
            mtu,
        }
    }

    /// The handle that applications use.
    #[must_use]
    pub fn stack(&self) -> Stack {
        self.stepped.stack()
    }
}

impl Node for OurNode {
    fn mac(&self) -> [u8; 6] {
        self.mac
    }

    fn mtu(&self) -> usize {
        self.mtu
    }

    fn strict(&self) -> bool {
        true
    }

    fn has_lost_frames(&self) -> bool {
        let stack = self.stepped.stack();
        stack.counters().get(Counter::NeighbourDropUnresolved) > 0
    }

    fn receive(&mut self, now: Instant, frames: &mut Vec<RxFrame>) {
        self.stepped.receive(now, frames);
    }

    fn poll(&mut self, now: Instant, out: &mut VecDeque<TxFrame>) {
        self.stepped.poll(now, out);
    }

    fn next_deadline(&mut self, _now: Instant) -> Option<Instant> {
        self.stepped.next_deadline()
    }
}
