//! What the queues of all connections hold together, and who gives it back when that is too much.
//!
//! First goes what the peers will send again: everything out of order (RFC 2018 §8 lets a receiver do so). Then whole
//! connections, the least valuable first: those that nobody holds any more, then those where nothing has moved for the
//! longest time; those that outlive this host last.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use super::Connection;
use super::shared::Tcp;
use super::tcb::Tcb;
use crate::counters::Counter;
use crate::time::Instant;

/// Looking through all connections costs too much to do it more often.
const RELIEVE_EVERY_MS: u64 = 100;

/// How much is held.
#[derive(Debug)]
pub(super) struct Memory {
    limit: Option<usize>,
    held: AtomicUsize,
    relieved_ms: AtomicU64,
}

/// What a connection is worth: less goes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Value {
    survives: bool,
    somebody_holds_it: bool,
    moved_at: Instant,
}

impl Memory {
    pub(super) const fn new(limit: Option<usize>) -> Self {
        Self {
            limit,
            held: AtomicUsize::new(0),
            relieved_ms: AtomicU64::new(0),
        }
    }

    pub(super) fn held(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }

    /// `connection` holds `bytes` now. True if all together hold too much.
    pub(super) fn account(&self, connection: &Connection, bytes: usize) -> bool {
        let Some(limit) = self.limit else {
            return false;
        };
        let before = connection.swap_held(bytes);
        if bytes >= before {
            self.held.fetch_add(bytes - before, Ordering::Relaxed);
        } else {
            self.held.fetch_sub(before - bytes, Ordering::Relaxed);
        }
        self.held() > limit
    }

    fn is_full(&self) -> bool {
        self.limit.is_some_and(|limit| self.held() > limit)
    }

    /// So much may be held when enough was given back.
    fn target(&self) -> usize {
        self.limit.map_or(usize::MAX, |limit| limit - limit / 8)
    }

    /// True now and then.
    fn is_time(&self, now: Instant) -> bool {
        let last = self.relieved_ms.load(Ordering::Relaxed);
        let due = last == 0 || now.as_millis() >= last + RELIEVE_EVERY_MS;
        let next = now.as_millis().max(1);
        due && self
            .relieved_ms
            .compare_exchange(last, next, Ordering::Relaxed, Ordering::Relaxed)
            .is_ok()
    }
}

impl Tcp {
    /// Too much is held. Returns the connections that the writer has to look at.
    pub(super) fn relieve(&self, now: Instant) -> Vec<Arc<Connection>> {
        if !self.memory.is_time(now) {
            return Vec::new();
        }
        let mut holders = Vec::new();
        for connection in self.table.snapshot() {
            let mut tcb = connection.tcb.lock();
            let forgotten = tcb.forget_out_of_order();
            self.counters
                .add(Counter::TcpMemoryForgotten, forgotten as u64);
            let (held, value) = (tcb.held_bytes(), tcb.value());
            drop(tcb);
            self.memory.account(&connection, held);
            if held > 0 {
                holders.push((value, connection));
            }
        }
        let mut gone = Vec::new();
        if !self.memory.is_full() {
            return gone;
        }
        holders.sort_unstable_by_key(|&(value, _)| value);
        for (value, connection) in holders {
            if self.memory.held() <= self.memory.target() {
                break;
            }
            tracing::debug!(?value, id = ?connection.id, "ended for want of memory");
            self.counters.count(Counter::TcpMemoryShed);
            connection.tcb.lock().abort();
            self.memory.account(&connection, 0);
            gone.push(connection);
        }
        gone
    }
}

impl Tcb {
    /// Bytes that the queues hold.
    pub(super) fn held_bytes(&self) -> usize {
        let queue = &self.receive_queue;
        self.send_queue.heap_bytes() + queue.buffered() + queue.out_of_order_bytes()
    }

    /// Forgets what is beyond gaps; how much that was.
    fn forget_out_of_order(&mut self) -> usize {
        let bytes = self.receive_queue.out_of_order_bytes();
        self.receive_queue.forget_out_of_order();
        bytes
    }

    fn value(&self) -> Value {
        Value {
            survives: self.gating.is_some(),
            somebody_holds_it: !self.released,
            moved_at: self.statistics.progress_at.max(self.statistics.received_at),
        }
    }
}
