//! A server of a pair: our stack and the [`Node`] beside it, joined to the simulated networks.

use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;

use bytes::Bytes;
use outlive::counters::Counter;
use outlive::engine::{Config, Stack, Stepped};
use outlive::replication::membership::{Durable, PathId};
use outlive::replication::view::HostId;
use outlive::replication::{Backing, Carrier, Channel, NoFence, Node, NodeConfig, Role, Storage};
use outlive_driver::{Capabilities, Instant};

use super::channels::{Arrival, Lane};
use super::machine::{Input, Machine, Output};

/// Stable storage: survives its host.
#[derive(Clone, Default)]
pub struct Disk(Arc<Mutex<Durable>>);

impl Disk {
    /// What was stored last.
    #[must_use]
    pub fn read(&self) -> Durable {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Replaces it.
    pub(super) fn write(&self, durable: &Durable) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = *durable;
    }
}

impl Storage for Disk {
    fn store(&self, durable: &Durable) -> Poll<std::io::Result<()>> {
        self.write(durable);
        Poll::Ready(Ok(()))
    }
}

/// What a node has sent and the world has not yet taken.
#[derive(Default)]
struct Outbox(Mutex<Vec<(usize, Lane, Bytes)>>);

impl Outbox {
    fn take(&self) -> Vec<(usize, Lane, Bytes)> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Carrier for Outbox {
    fn send(&self, to: HostId, channel: Channel, message: Bytes) {
        let message = (usize::from(to.0), lane(channel), message);
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.push(message);
    }
}

pub(super) fn lane(channel: Channel) -> Lane {
    match channel {
        Channel::Heartbeat(PathId(path)) => Lane::Heartbeat(path),
        Channel::Commit => Lane::Commit,
        Channel::Bulk => Lane::Bulk,
    }
}

pub(super) fn channel(lane: Lane) -> Channel {
    match lane {
        Lane::Heartbeat(path) => Channel::Heartbeat(PathId(path)),
        Lane::Commit => Channel::Commit,
        Lane::Bulk => Channel::Bulk,
    }
}

/// A server of a pair.
pub struct Replica {
    stepped: Stepped,
    node: Arc<Node>,
    outbox: Arc<Outbox>,
    mtu: usize,
}

impl Replica {
    /// A server on a device with these capabilities, with what its disk remembers.
    ///
    /// # Panics
    /// When the configuration is not accepted: a mistake in the test.
    #[must_use]
    pub fn new(
        capabilities: &Capabilities,
        config: Config,
        node: NodeConfig,
        disk: &Disk,
        now: Instant,
    ) -> Self {
        let outbox = Arc::new(Outbox::default());
        let node = Node::new(
            node,
            outbox.clone(),
            Arc::new(disk.clone()),
            Arc::new(NoFence),
            disk.read(),
            now,
        );
        let config = Config {
            permit: node.permit(),
            gate: Some(node.gate()),
            ..config
        };
        let stepped = Stepped::new(capabilities, config, now).expect("a valid configuration");
        node.attach(&stepped.stack());
        Self {
            stepped,
            node,
            outbox,
            mtu: capabilities.mtu,
        }
    }

    /// What its applications use.
    #[must_use]
    pub fn stack(&self) -> Stack {
        self.stepped.stack()
    }

    fn take_frames(&self, now: Instant, input: &mut Input) {
        if !input.frames.is_empty() {
            self.stepped.receive(now, &mut input.frames);
            input.frames.clear();
        }
    }

    fn take_arrivals(&self, now: Instant, input: &mut Input) {
        for arrival in input.arrivals.drain(..) {
            match arrival {
                Arrival::Message(from, lane, bytes) => {
                    let from = HostId(from as u8);
                    self.node.received(now, from, channel(lane), bytes);
                }
                Arrival::Connected(peer, up) => {
                    self.node.connected(now, HostId(peer as u8), up);
                }
            }
        }
    }
}

impl Machine for Replica {
    fn mtu(&self) -> usize {
        self.mtu
    }

    fn strict(&self) -> bool {
        true
    }

    fn turn(&mut self, now: Instant, input: &mut Input, out: &mut Output) {
        if input.frames_first {
            self.take_frames(now, input);
        }
        self.take_arrivals(now, input);
        self.node.poll(now);
        self.take_frames(now, input);
        self.stepped.poll(now, &mut out.frames);
        out.messages.append(&mut self.outbox.take());
    }

    fn next_deadline(&mut self, now: Instant) -> Option<Instant> {
        let node = self.node.next_deadline(now);
        Some(self.stepped.next_deadline().map_or(node, |at| at.min(node)))
    }

    fn may_send(&self, now: Instant) -> Option<bool> {
        Some(self.node.permit().may_send(now))
    }

    fn is_replicated(&self) -> bool {
        let status = self.node.status().service;
        status.role == Role::Primary && status.backing == Backing::Synced
    }

    fn has_lost_frames(&self) -> bool {
        let stack = self.stepped.stack();
        stack.counters().get(Counter::NeighbourDropUnresolved) > 0
    }

    fn has_copy(&self) -> bool {
        let status = self.node.status().service;
        status.role == Role::Backup && status.backing == Backing::Synced
    }

    fn hand_over(&mut self, now: Instant) {
        // Refused when there is nobody to hand over to: then nothing happens.
        let _ = self.node.handover(now);
    }

    fn describe(&self) -> String {
        format!("{:?}", self.node.status())
    }
}
