//! Connections of another host that an application follows along on this one (FAILOVER §5, hot replay).
//!
//! A dormant connection says nothing and has no timers. It is fed what the other host committed; what its
//! application writes is dropped as far as the peer has acknowledged it to the other host, and held back at
//! the size of the send queue beyond that. When this host takes over it wakes up where it stands.

use std::sync::Arc;
use std::task::Waker;

use bytes::Bytes;

use super::gate::{Mark, Pieces};
use super::record::Continuation;
use super::shared::Tcp;
use super::state::State;
use super::tcb::Tcb;
use super::{Adoption, Connection, Error, FourTuple};
use crate::replication::decisions::Logged;
use crate::time::Instant;

impl Tcp {
    /// Runs `call` on the connection with that name and number, if it is there.
    pub(crate) fn with_numbered<T>(
        &self,
        id: &FourTuple,
        number: u64,
        call: impl FnOnce(&mut Tcb) -> T,
    ) -> Option<(Arc<Connection>, T)> {
        let connection = self.connection(id)?;
        let mut tcb = connection.tcb.lock();
        if tcb.gate_number() != number {
            return None;
        }
        let result = call(&mut tcb);
        drop(tcb);
        Some((connection, result))
    }

    /// Has the listener's application follow a connection of another host.
    ///
    /// # Errors
    /// As [`Tcp::adopt`].
    pub(crate) fn follow(
        &self,
        now: Instant,
        adoption: Adoption,
        wakers: &mut Vec<Waker>,
    ) -> Result<(), Error> {
        self.adopt_as(now, adoption, true, wakers).map(|_| ())
    }

    /// A connection that was followed cannot be any more, or is over. An application that has the end of the
    /// stream before it may come to it.
    pub(crate) fn unfollow(
        &self,
        id: &FourTuple,
        number: u64,
        fin: Option<u64>,
        wakers: &mut Vec<Waker>,
    ) {
        let ended = self.with_numbered(id, number, |tcb| {
            tcb.outlive_peer(fin, wakers);
            tcb.take_wakers(wakers);
        });
        if let Some((connection, ())) = ended {
            self.remove(&connection);
        }
    }

    /// This host has the connection from now on. If its application follows along it goes on where it is;
    /// otherwise it begins anew, as with [`Tcp::adopt`].
    ///
    /// # Errors
    /// As [`Tcp::adopt`].
    pub(crate) fn awaken(
        &self,
        now: Instant,
        adoption: Adoption,
        wakers: &mut Vec<Waker>,
    ) -> Result<Arc<Connection>, Error> {
        let (id, number) = (adoption.id, adoption.continuation.number);
        let offset = adoption.record.timestamps;
        let awake = self.with_numbered(&id, number, |tcb| {
            let dormant = tcb.is_dormant() && tcb.state() != State::Closed;
            if dormant {
                tcb.awaken(now, &adoption.continuation, offset);
                tcb.take_wakers(wakers);
            }
            dormant
        });
        match awake {
            Some((connection, true)) => Ok(connection),
            Some((connection, false)) => {
                self.remove(&connection);
                self.adopt(now, adoption, wakers)
            }
            None => self.adopt(now, adoption, wakers),
        }
    }
}

impl Tcb {
    /// True for a connection of another host that an application follows along.
    #[must_use]
    pub fn is_dormant(&self) -> bool {
        self.resumed.as_ref().is_some_and(|it| it.dormant)
    }

    /// More input, committed by the other host.
    pub(crate) fn feed(&mut self, from: u64, bytes: Pieces, fin: bool, right_edge: u64) {
        if !self.is_dormant() || self.state == State::Closed {
            return;
        }
        if !bytes.is_empty() && from != self.rcv.nxt {
            debug_assert!(false, "fed from {from} at {}", self.rcv.nxt);
            // Then nothing that this application does can be right; the journal may still be whole.
            self.surrender(&mut Vec::new());
            return;
        }
        for piece in bytes {
            self.feed_piece(piece);
        }
        if fin && self.rcv.fin >= self.rcv.nxt {
            self.rcv.fin = self.rcv.nxt;
            self.rcv.nxt += 1;
            match self.state {
                State::Established => self.enter(State::CloseWait),
                State::FinWait1 => self.enter(State::Closing),
                _ => {}
            }
        }
        let rcv = &mut self.rcv;
        rcv.committed = rcv.nxt;
        rcv.acked = rcv.nxt;
        rcv.edge = rcv.edge.max(right_edge).max(rcv.nxt);
        let (committed, edge) = (rcv.committed, rcv.edge);
        if let Some(gating) = &mut self.gating {
            gating.requested = (committed, edge);
            gating.right_edge = edge;
        }
        self.check();
    }

    fn feed_piece(&mut self, piece: Bytes) {
        let end = self.rcv.nxt + piece.len() as u64;
        let inserted = self.receive_queue.insert(self.rcv.nxt, piece, end);
        self.rcv.nxt += inserted.advanced;
    }

    /// What the other host's application decided.
    pub(crate) fn feed_decision(&mut self, decision: Logged) {
        if let Some(surviving) = self.surviving() {
            surviving.add_decision(decision);
        }
    }

    /// The peer has our stream up to `position`, as it told the other host.
    pub(crate) fn told(&mut self, position: u64, mark: Option<Mark>) {
        if !self.is_dormant() || self.state == State::Closed {
            return;
        }
        self.advance_to(position);
        if let Some(surviving) = self.surviving() {
            surviving.waiting.announce();
        }
        if let Some(mark) = mark {
            self.expect_mark(mark);
        }
        self.check();
    }

    /// Goes on on this host.
    fn awaken(&mut self, now: Instant, continuation: &Continuation, offset: Option<u32>) {
        self.timestamps.offset = offset.unwrap_or(self.timestamps.offset);
        let since = self.timestamps.value(now);
        self.advance_to(continuation.send_position);
        let fin = continuation.fin;
        let end = self.write_position();
        if let Some(resumed) = &mut self.resumed {
            resumed.dormant = false;
            resumed.since = since;
            resumed.abort |= continuation.abort;
            resumed.until = now + super::resume::FORMER_OWNER_FOR;
            // Who decided it is gone: our stream ends there, though the application here has yet to find out.
            resumed.fin = fin.filter(|&fin| end < fin || !self.snd.fin);
        }
        if let Some(gating) = &mut self.gating {
            gating.application.waiting.announce();
            if fin.is_some() {
                gating.fin = super::gate::Stage::Committed;
            }
        }
        self.inherit_window(continuation.right_edge);
        self.reach_decided_fin();
        self.resume(now);
        self.pending.ack = false;
        self.timers.start_persist(continuation.probe_at);
        if let Some(parting) = &continuation.parting {
            self.take_parting(now, parting);
        }
        self.check();
    }

    /// The connection is over, and perhaps only the application is not through with it: then what it still
    /// writes is dropped, up to the `fin` that the other host's wrote.
    fn outlive_peer(&mut self, fin: Option<u64>, wakers: &mut Vec<Waker>) {
        let whole = self.rcv.fin < self.rcv.nxt;
        match fin {
            Some(fin) if whole && self.is_dormant() => self.advance_to(fin),
            _ => self.surrender(wakers),
        }
    }
}
