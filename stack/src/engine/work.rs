//! What passes between the stages: work for the writers, and what a reader or writer leaves behind.

use std::sync::Arc;
use std::task::Waker;

use crate::ethernet::TxPacket;
use crate::ip::TxDatagram;
use crate::packet::TxFrame;
use crate::tcp::Connection;
use crate::time::Instant;

/// Datagrams, packets and frames that may wait for the writers of a queue, each. Connections need no
/// bound: one waits at most once.
const WAITING_LIMIT: usize = 4096;

/// Something to be sent, at any layer.
#[derive(Default)]
pub(crate) struct Work {
    /// Connections that may have something to send.
    pub(crate) connections: Vec<Arc<Connection>>,
    /// For the IP writer: UDP, ICMP, resets.
    pub(crate) datagrams: Vec<TxDatagram>,
    /// For the Ethernet writer: packets whose neighbour has just answered.
    pub(crate) packets: Vec<TxPacket>,
    /// Ready: ARP replies.
    pub(crate) frames: Vec<TxFrame>,
    /// A deadline of the neighbour cache has passed.
    pub(crate) neighbours_due: bool,
}

impl Work {
    pub(crate) fn is_empty(&self) -> bool {
        self.connections.is_empty()
            && self.datagrams.is_empty()
            && self.packets.is_empty()
            && self.frames.is_empty()
            && !self.neighbours_due
    }

    /// Takes out all connections but the first `most`.
    pub(crate) fn split_off(&mut self, most: usize) -> Vec<Arc<Connection>> {
        if self.connections.len() <= most {
            return Vec::new();
        }
        self.connections.split_off(most)
    }

    /// True when whoever sends datagrams has to wait.
    pub(crate) fn is_full(&self) -> bool {
        self.datagrams.len() >= WAITING_LIMIT
    }

    /// Moves everything of `other` behind what is here; returns how much found no room.
    pub(crate) fn append(&mut self, other: &mut Self) -> usize {
        self.connections.append(&mut other.connections);
        self.neighbours_due |= std::mem::take(&mut other.neighbours_due);
        append_bounded(&mut self.datagrams, &mut other.datagrams)
            + append_bounded(&mut self.packets, &mut other.packets)
            + append_bounded(&mut self.frames, &mut other.frames)
    }
}

fn append_bounded<T>(to: &mut Vec<T>, from: &mut Vec<T>) -> usize {
    let room = WAITING_LIMIT.saturating_sub(to.len());
    let dropped = from.len().saturating_sub(room);
    from.truncate(room);
    to.append(from);
    dropped
}

/// What stages leave for the engine.
#[derive(Default)]
pub(crate) struct Harvest {
    /// For the writers.
    pub(crate) work: Work,
    /// When connections want to be looked at again.
    pub(crate) timers: Vec<(Instant, Arc<Connection>)>,
    /// Tasks and threads that can go on.
    pub(crate) wakers: Vec<Waker>,
}

impl Harvest {
    /// Wakes whoever can go on. Call without any lock held.
    pub(crate) fn wake(&mut self) {
        for waker in self.wakers.drain(..) {
            waker.wake();
        }
    }
}
