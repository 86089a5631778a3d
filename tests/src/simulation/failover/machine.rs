//! What a host is to the world: it takes what arrived, does what is due, and gives what it sends.

use std::collections::VecDeque;

use bytes::Bytes;
use outlive_driver::{Instant, RxFrame, TxFrame};

use super::channels::{Arrival, Lane};
use crate::simulation::node::Node;

/// What a host finds when it gets its turn.
#[derive(Default)]
pub struct Input {
    /// From the service network.
    pub frames: Vec<RxFrame>,
    /// From the other replicas.
    pub arrivals: VecDeque<Arrival>,
    /// The frames are looked at before the messages.
    pub frames_first: bool,
}

impl Input {
    /// True when nothing arrived.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.frames.is_empty() && self.arrivals.is_empty()
    }
}

/// What a host sends in a turn.
#[derive(Default)]
pub struct Output {
    /// To the service network.
    pub frames: VecDeque<TxFrame>,
    /// To the replica of that number.
    pub messages: Vec<(usize, Lane, Bytes)>,
}

impl Output {
    /// True when nothing is sent.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.frames.is_empty() && self.messages.is_empty()
    }
}

/// A host without its applications. Times are of its own clock.
pub trait Machine {
    /// Largest IP datagram that it may put on the wire, in bytes.
    fn mtu(&self) -> usize;

    /// True when the watcher holds it to every rule.
    fn strict(&self) -> bool;

    /// True once it has lost frames by itself, because nobody said where the next hop is.
    fn has_lost_frames(&self) -> bool {
        false
    }

    /// Takes what arrived and does what is due.
    fn turn(&mut self, now: Instant, input: &mut Input, out: &mut Output);

    /// When it wants its next turn.
    fn next_deadline(&mut self, now: Instant) -> Option<Instant>;

    /// Whether it may send on the service address now; none if that is not its business.
    fn may_send(&self, _now: Instant) -> Option<bool> {
        None
    }

    /// True for a primary whose backup is in sync, so that it acknowledges nothing that the backup does not have.
    fn is_replicated(&self) -> bool {
        false
    }

    /// True for a backup that could go on with everything.
    fn has_copy(&self) -> bool {
        false
    }

    /// An operator asks it to give the service to the other server.
    fn hand_over(&mut self, _now: Instant) {}

    /// A line about its state, for people.
    fn describe(&self) -> String {
        String::new()
    }
}

/// A client: a stack and nothing else.
pub struct Client<N>(pub N);

impl<N: Node> Machine for Client<N> {
    fn mtu(&self) -> usize {
        self.0.mtu()
    }

    fn strict(&self) -> bool {
        self.0.strict()
    }

    fn turn(&mut self, now: Instant, input: &mut Input, out: &mut Output) {
        if !input.frames.is_empty() {
            self.0.receive(now, &mut input.frames);
            input.frames.clear();
        }
        input.arrivals.clear();
        self.0.poll(now, &mut out.frames);
    }

    fn next_deadline(&mut self, now: Instant) -> Option<Instant> {
        self.0.next_deadline(now)
    }
}
