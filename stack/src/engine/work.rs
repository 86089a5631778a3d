//! What passes between the stages: work for the writers, and what a reader or writer leaves behind.

use std::collections::VecDeque;
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
/// Places for connections that an empty line keeps.
const LINE_KEPT: usize = 4096;

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

/// What waits for the writers of a queue. Connections wait in a line of their own: to take a few of them costs the same
/// however many there are.
#[derive(Default)]
pub(crate) struct Outbox {
    line: VecDeque<Arc<Connection>>,
    /// Everything else; no connections.
    rest: Work,
}

impl Outbox {
    pub(crate) fn is_empty(&self) -> bool {
        self.line.is_empty() && self.rest.is_empty()
    }

    pub(crate) fn push(&mut self, connection: Arc<Connection>) {
        self.line.push_back(connection);
    }

    /// False if there is no room, and who sends has to wait.
    pub(crate) fn push_datagram(&mut self, datagram: TxDatagram) -> bool {
        let room = !self.rest.is_full();
        if room {
            self.rest.datagrams.push(datagram);
        }
        room
    }

    /// A deadline of the neighbour cache has passed.
    pub(crate) fn look_at_neighbours(&mut self) {
        self.rest.neighbours_due = true;
    }

    /// Moves everything of `work` behind what is here; returns how much found no room.
    pub(crate) fn append(&mut self, work: &mut Work) -> usize {
        self.line.extend(work.connections.drain(..));
        self.rest.append(work)
    }

    /// Moves everything behind what is in `work`, but of the connections the first `most` only; returns how much found no
    /// room.
    pub(crate) fn take(&mut self, most: usize, work: &mut Work) -> usize {
        let most = most.min(self.line.len());
        work.connections.extend(self.line.drain(..most));
        if self.line.is_empty() && self.line.capacity() > LINE_KEPT {
            self.line = VecDeque::new();
        }
        work.append(&mut self.rest)
    }
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
