//! A whole connection as plain data with public fields, and back.
//!
//! [`Tcb::export`] takes a Tcb apart exhaustively, so that a new field cannot be forgotten. Timers are
//! not in a [`Snapshot`]: they start anew, which at worst costs a retransmission. Nor are wakers, nor
//! what belongs to the path: the congestion window begins anew with the initial one, and the
//! retransmission timer finds out what became of what was in flight.

use bytes::Bytes;

use super::Error;
use super::config::SocketOptions;
use super::gate::Gating;
use super::receive_queue::ReceiveQueue;
use super::record::Record;
use super::resume::Resumed;
use super::settings::Parameters;
use super::state::State;
use super::tcb::{NEVER, ReceiveSpace, SendSpace, Tcb};
use super::urgent::Urgent;
use crate::time::Instant;

/// Our half of the stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SendHalf {
    /// First position not acknowledged.
    pub una: u64,
    /// First position never sent.
    pub nxt: u64,
    /// The peer's window in bytes, and the largest it ever offered.
    pub wnd: u32,
    /// The largest that it ever offered.
    pub max_wnd: u32,
    /// Sequence number of the last window update.
    pub wl1: u32,
    /// Its acknowledgement number.
    pub wl2: u32,
    /// FIN follows the queue.
    pub fin: bool,
    /// Partial segments are held.
    pub cork: bool,
    /// Position of the first byte in the queue.
    pub start: u64,
    /// What was written and not acknowledged.
    pub queue: Vec<Bytes>,
}

/// The peer's half.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReceiveHalf {
    /// First position not received in order, the peer's FIN included.
    pub nxt: u64,
    /// How much of it is committed.
    pub committed: u64,
    /// Right edge of the window that was offered.
    pub edge: u64,
    /// The acknowledgement sent last.
    pub acked: u64,
    /// Position of the peer's FIN, once known.
    pub fin: Option<u64>,
    /// Bytes that the queue may hold.
    pub limit: u32,
    /// The peer's full-sized segment.
    pub mss: u16,
    /// The application reads no more.
    pub shut: bool,
    /// Position of the first byte that was not read.
    pub consumed: u64,
    /// Bytes in order, not read.
    pub in_order: Vec<Bytes>,
    /// Bytes beyond gaps.
    pub out_of_order: Vec<(u64, Bytes)>,
}

/// Everything of a connection that another host needs to go on exactly here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// What was fixed at set-up.
    pub record: Record,
    /// The state; never CLOSED or SYN-SENT.
    pub state: State,
    /// Nobody holds the connection any more.
    pub released: bool,
    /// What a router said.
    pub soft_error: Option<Error>,
    /// TS.Recent.
    pub ts_recent: u32,
    /// Our half.
    pub send: SendHalf,
    /// The peer's half.
    pub receive: ReceiveHalf,
    /// Urgent pointers.
    pub urgent: Option<Urgent>,
    /// What is not known since a takeover.
    pub resumed: Option<Resumed>,
    /// Commits waited for.
    pub gating: Option<Gating>,
    /// This connection's choices.
    pub options: SocketOptions,
}

impl Tcb {
    /// The whole connection as data; none before it is synchronised or after it has ended.
    #[must_use]
    pub fn export(&mut self) -> Option<Snapshot> {
        if !self.state.is_synchronized() {
            return None;
        }
        let record = self.record()?;
        let queue = self.export_send_queue();
        // Exhaustive: a new field has to be thought of here.
        let Self {
            state,
            passive: _, // in the record
            released,
            shut,
            wants_room: _, // asks again
            error: _,      // none in a synchronised state
            soft_error,
            pending: _, // an ACK is sent on import; what else is pending follows from the timers
            hints: _,
            path: _, // of the host that exports
            timestamps,
            snd,
            rcv,
            send_queue,
            receive_queue,
            rtt: _,        // of the path
            congestion: _, // of the path
            timers: _,     // start anew
            statistics: _, // of this host
            settings,
            reordering: _, // of the path
            marking: _,    // what was agreed is in the record
            transit: _,
            recovery: _,
            aside: _, // of the path; what was agreed is in the record
            gating,
            urgent,
            fast_opening: _, // over once the connection stands
            resumed,
            reader: _,
            writer: _,
        } = self;
        Some(Snapshot {
            record,
            state: *state,
            released: *released,
            soft_error: *soft_error,
            ts_recent: timestamps.recent,
            send: snd.export(send_queue.start(), queue),
            receive: rcv.export(*shut, receive_queue),
            urgent: urgent.as_deref().copied(),
            resumed: resumed.as_deref().copied(),
            gating: gating.as_deref().cloned(),
            options: settings.options().clone(),
        })
    }

    fn export_send_queue(&mut self) -> Vec<Bytes> {
        let mut queue = Vec::new();
        let mut at = self.send_queue.start();
        while at < self.send_queue.end() {
            let mut slices = smallvec::SmallVec::new();
            at += self.send_queue.slices(at, usize::MAX, &mut slices) as u64;
            queue.extend(slices);
        }
        queue
    }

    /// A connection that goes on exactly where `snapshot` was taken. What it had in flight it sends again
    /// when nobody acknowledges it. `parameters.options`, offset and gating are those of the snapshot.
    #[must_use]
    pub fn from_snapshot(parameters: Parameters, now: Instant, snapshot: Snapshot) -> Self {
        let Snapshot {
            record,
            state,
            released,
            soft_error,
            ts_recent,
            send,
            receive,
            urgent,
            resumed,
            gating,
            options,
        } = snapshot;
        let parameters = Parameters {
            options: options.into(),
            ..parameters
        };
        let mut tcb = Self::fixed(parameters, now, &record);
        tcb.state = state;
        tcb.released = released;
        tcb.soft_error = soft_error;
        tcb.timestamps.recent = ts_recent;
        tcb.urgent = urgent.map(Box::new);
        tcb.resumed = resumed.map(Box::new);
        tcb.gating = gating.map(Box::new);
        tcb.snd.import(&send);
        tcb.send_queue = super::send_queue::SendQueue::new(send.start);
        for bytes in send.queue {
            tcb.send_queue.push(bytes);
        }
        tcb.import_received(receive);
        tcb.resume(now);
        tcb
    }

    fn import_received(&mut self, receive: ReceiveHalf) {
        let ReceiveHalf {
            nxt,
            committed,
            edge,
            acked,
            fin,
            limit,
            mss,
            shut,
            consumed,
            in_order,
            out_of_order,
        } = receive;
        let rcv = &mut self.rcv;
        rcv.nxt = nxt;
        rcv.committed = committed;
        rcv.edge = edge;
        rcv.acked = acked;
        rcv.fin = fin.unwrap_or(NEVER);
        rcv.limit = limit;
        rcv.mss = mss;
        rcv.tuned = consumed;
        self.shut = shut;
        let mut queue = ReceiveQueue::new(consumed);
        let mut at = consumed;
        for bytes in in_order {
            let len = bytes.len() as u64;
            queue.insert(at, bytes, edge.max(at + len));
            at += len;
        }
        for (position, bytes) in out_of_order {
            queue.insert(position, bytes, edge);
        }
        self.receive_queue = queue;
    }
}

impl SendSpace {
    fn export(&self, start: u64, queue: Vec<Bytes>) -> SendHalf {
        let Self {
            iss: _, // in the record
            una,
            nxt,
            wnd,
            max_wnd,
            wl1,
            wl2,
            small_end: _,      // at worst one small segment more
            tail_probe_end: _, // of the path
            mss: _,            // follows
            peer_mss: _,       // in the record
            scale: _,          // in the record
            fin,
            sack: _, // in the record
            cork,
            more: _, // of the last write, which is over
            held: _,
            push: _,
            usage: _,
            tail_probe_again: _,
            retransmitted_segments: _, // of this host
        } = *self;
        SendHalf {
            una,
            nxt,
            wnd,
            max_wnd,
            wl1,
            wl2,
            fin,
            cork,
            start,
            queue,
        }
    }

    fn import(&mut self, half: &SendHalf) {
        self.una = half.una;
        self.nxt = half.nxt;
        self.wnd = half.wnd;
        self.max_wnd = half.max_wnd;
        self.wl1 = half.wl1;
        self.wl2 = half.wl2;
        self.fin = half.fin;
        self.cork = half.cork;
    }
}

impl ReceiveSpace {
    fn export(&self, shut: bool, queue: &ReceiveQueue) -> ReceiveHalf {
        let Self {
            irs: _, // in the record
            nxt,
            committed,
            edge,
            acked,
            fin,
            tuned_at_us: _,
            tuned: _,
            duplicate: _,
            duplicate_bytes: _,
            limit,
            rtt_us: _, // of the path
            mss,
            scale: _, // in the record
            quick: _,
        } = *self;
        ReceiveHalf {
            nxt,
            committed,
            edge,
            acked,
            fin: (fin != NEVER).then_some(fin),
            limit,
            mss,
            shut,
            consumed: queue.consumed(),
            in_order: queue.in_order().collect(),
            out_of_order: queue.out_of_order().collect(),
        }
    }
}
