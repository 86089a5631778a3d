//! The way down: connections that have something to say get a turn, and their segments become
//! datagrams.
//!
//! A turn is bounded, so that a connection with much to send does not hold up the others; what is left
//! waits for the next turn. The lock of a connection is held only while its segments are built.

use std::sync::Arc;
use std::time::Duration;

use super::emit;
use super::shared::Tcp;
use super::state::State;
use super::tcb::Tcb;
use super::{Connection, Error, Flags, FourTuple, Outcome, TxSegment};
use crate::counters::Counter;
use crate::ip::TxDatagram;
use crate::time::Instant;

/// Bytes and segments of one turn: four segments of the largest size that devices cut, or enough small
/// ones to fill a batch.
const TURN_BYTES: usize = 256 << 10;
const TURN_SEGMENTS: usize = 64;
/// A connection that may not send is looked at again after this time at the latest.
const LOOK_AGAIN_AFTER: Duration = Duration::from_millis(100);

/// The writing stage of one queue.
#[derive(Debug)]
pub struct TcpWriter {
    tcp: Arc<Tcp>,
}

impl TcpWriter {
    /// A writer for one queue.
    #[must_use]
    pub const fn new(tcp: Arc<Tcp>) -> Self {
        Self { tcp }
    }

    /// Gives each connection of `work` a turn: timers that are due, then segments. Connections with more
    /// to send are in `outcome.output` afterwards.
    pub fn process(
        &mut self,
        now: Instant,
        work: &mut Vec<Arc<Connection>>,
        outcome: &mut Outcome<Connection>,
    ) {
        self.turns(now, true, work, outcome);
    }

    /// The same without permission to send: no segment is built, because one that is then withheld would count as
    /// sent. All connections that are still there are looked at again before long, whoever forgets to say that
    /// the permission is back.
    pub fn process_silently(
        &mut self,
        now: Instant,
        work: &mut Vec<Arc<Connection>>,
        outcome: &mut Outcome<Connection>,
    ) {
        let withheld = work.len() as u64;
        self.tcp.counters.add(Counter::TcpTurnsWithheld, withheld);
        tracing::debug!(turns = withheld, "withheld: no permission to send");
        self.turns(now, false, work, outcome);
    }

    fn turns(
        &self,
        now: Instant,
        may_send: bool,
        work: &mut Vec<Arc<Connection>>,
        outcome: &mut Outcome<Connection>,
    ) {
        for connection in work.drain(..) {
            self.turn(now, may_send, connection, outcome);
        }
        if let Some(gate) = &self.tcp.gate {
            gate.flush(now);
        }
    }

    fn turn(
        &self,
        now: Instant,
        may_send: bool,
        connection: Arc<Connection>,
        outcome: &mut Outcome<Connection>,
    ) {
        connection.begin_turn();
        let mut tcb = connection.tcb.lock();
        if tcb.next_deadline().is_some_and(|deadline| deadline <= now)
            && let Some(counter) = tcb.on_timer(now)
        {
            self.tcp.counters.count(counter);
        }
        if let Some(gate) = &self.tcp.gate {
            tcb.consult(&connection.id, &**gate);
        }
        tcb.pending.withheld = !may_send;
        let more = may_send && self.segments(now, &connection.id, &mut tcb, &mut outcome.datagrams);
        tcb.take_wakers(&mut outcome.wakers);
        let (closed, hints) = (tcb.is_closed(), tcb.take_hints());
        let deadline = if may_send || tcb.is_dormant() {
            tcb.next_deadline()
        } else {
            let again = now + LOOK_AGAIN_AFTER;
            Some(tcb.next_deadline().map_or(again, |at| at.min(again)))
        };
        let time_wait = tcb.state() == State::TimeWait;
        let (held, mtu) = (tcb.held_bytes(), tcb.usable_mtu());
        let diverged = closed && tcb.error() == Some(Error::Diverged);
        drop(tcb);
        if self.tcp.memory.account(&connection, held) {
            let relieved = self.tcp.relieve(now).into_iter();
            outcome.output.extend(relieved.filter(|it| it.schedule()));
        }
        if time_wait {
            self.tcp.enter_time_wait(&connection);
        }
        if hints.challenged {
            self.tcp.counters.count(Counter::TcpChallengeAcks);
        }
        if diverged {
            self.tcp.counters.count(Counter::ReplicationDiverged);
        }
        if hints.black_hole {
            self.leave_black_hole(now, &connection, mtu);
        }
        if hints.wider_mtu > 0 {
            let remote = connection.id.remote;
            self.tcp.ip.raise_mtu(now, remote, hints.wider_mtu.into());
        }
        if closed {
            self.tcp.remove(&connection);
        } else if more || hints.black_hole {
            if connection.schedule() {
                outcome.output.push(connection);
            }
        } else if let Some(deadline) = deadline
            && !connection.is_armed_by(deadline)
        {
            outcome.timers.push((deadline, connection));
        }
    }

    /// Builds the segments of a turn; true if there may be more.
    fn segments(
        &self,
        now: Instant,
        id: &FourTuple,
        tcb: &mut Tcb,
        into: &mut Vec<TxDatagram>,
    ) -> bool {
        let (ttl, tos) = (tcb.options().ttl, tcb.options().tos);
        let mut left = TURN_BYTES;
        for _ in 0..TURN_SEGMENTS {
            let Some(segment) = tcb.poll_transmit(now) else {
                return false;
            };
            let bytes = segment.payload.iter().map(bytes::Bytes::len).sum();
            self.count(&segment, bytes);
            into.push(emit::datagram(id, segment, ttl, tos));
            left = left.saturating_sub(bytes);
            if left == 0 {
                break;
            }
        }
        true
    }

    fn count(&self, segment: &TxSegment, bytes: usize) {
        let counters = &self.tcp.counters;
        counters.count(Counter::TcpTxSegments);
        if segment.retransmission {
            counters.count(Counter::TcpRetransmittedSegments);
            counters.add(Counter::TcpRetransmittedBytes, bytes as u64);
        }
        if segment.flags.contains(Flags::RST) {
            counters.count(Counter::TcpResetsSent);
        }
    }

    /// Full-sized segments vanish: tries smaller ones (RFC 2923 §2.1).
    fn leave_black_hole(&self, now: Instant, connection: &Connection, mtu: u32) {
        let id = &connection.id;
        self.tcp.ip.report_black_hole(now, id.remote, mtu as usize);
        if let Ok(path) = self.tcp.ip.path(id.remote, Some(id.local)) {
            connection.tcb.lock().on_path_change(now, &path);
        }
    }
}
