//! A connection as data: the record that is fixed at set-up, and the snapshot of everything.
//!
//! A [`Snapshot`] is plain data with public fields; [`Tcb::export`] takes a Tcb apart exhaustively, so
//! that a new field cannot be forgotten. Timers are not in it: they start anew, which at worst costs a
//! retransmission. Wakers are not in it either. The congestion window begins anew with the initial one,
//! and what was in flight counts as not lost but is probed by the retransmission timer.

use bytes::Bytes;

use super::config::SocketOptions;
use super::gate::{Gating, Stage};
use super::receive_queue::ReceiveQueue;
use super::resume::Resumed;
use super::settings::Parameters;
use super::state::State;
use super::tcb::{NEVER, ReceiveSpace, SendSpace, Tcb};
use super::urgent::Urgent;
use super::{Error, sequence};
use crate::time::Instant;

/// What is fixed once the peer's SYN is known. With it, the committed input and one answer of the peer,
/// another host can go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    /// Our initial sequence number.
    pub iss: u32,
    /// The peer's.
    pub irs: u32,
    /// The MSS that we announced.
    pub our_mss: u16,
    /// The peer's, or the default.
    pub peer_mss: u16,
    /// Shift of the windows that we offer.
    pub our_scale: u8,
    /// Shift of the windows that the peer offers.
    pub peer_scale: u8,
    /// SACK was agreed.
    pub sack: bool,
    /// Timestamps were agreed; what is added to the clock of milliseconds.
    pub timestamps: Option<u32>,
    /// We were the passive side.
    pub passive: bool,
    /// The window that our SYN offered.
    pub first_window: u16,
}

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

/// Where a connection of which only the record is known goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Continuation {
    /// A synchronised state.
    pub state: State,
    /// A position in our stream that the peer has surely acknowledged: an anchor, or what a segment of it
    /// said. Where it really stands it tells when it is probed.
    pub send_position: u64,
    /// Position of our FIN, if the decision to close was committed.
    pub fin: Option<u64>,
    /// How much of the peer's stream is committed, its FIN included.
    pub committed: u64,
    /// Position of the peer's FIN, if it was committed.
    pub peer_fin: Option<u64>,
    /// The end of what is committed: bytes that the application has not consumed.
    pub unread: Vec<Bytes>,
    /// The furthest right edge that was ever offered.
    pub right_edge: u64,
    /// The peer's TSval as it told it last.
    pub ts_recent: u32,
}

impl Tcb {
    /// What is fixed at set-up; none before the peer's SYN arrived.
    #[must_use]
    pub fn record(&self) -> Option<Record> {
        if matches!(self.state, State::SynSent) || self.rcv.nxt == 0 {
            return None;
        }
        Some(Record {
            iss: self.snd.iss,
            irs: self.rcv.irs,
            our_mss: self.announced_mss(),
            peer_mss: self.snd.peer_mss,
            our_scale: self.rcv.scale,
            peer_scale: self.snd.scale,
            sack: self.snd.sack,
            timestamps: self.timestamps.on.then_some(self.timestamps.offset),
            passive: self.passive,
            first_window: self
                .settings
                .initial_receive_limit()
                .min(u32::from(u16::MAX)) as u16,
        })
    }

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
            error: _, // none in a synchronised state
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
            recovery: _, // of the path
            gating,
            urgent,
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
            receive: rcv.export(receive_queue),
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

    /// A connection of which only the record was kept, continued in any synchronised state. The
    /// application writes from `continuation.send_position` on; what the peer turns out to have is
    /// swallowed ([`super::resume`]).
    #[must_use]
    pub fn from_record(
        parameters: Parameters,
        now: Instant,
        record: &Record,
        continuation: Continuation,
    ) -> Self {
        let gated = parameters.gated;
        let mut tcb = Self::fixed(parameters, now, record);
        let start = continuation.send_position;
        tcb.state = continuation.state;
        tcb.timestamps.recent = continuation.ts_recent;
        tcb.snd.una = start;
        tcb.snd.nxt = start;
        // The next segment of the peer sets the window.
        tcb.snd.wl1 = tcb.peer_wire(continuation.committed).wrapping_sub(1);
        tcb.snd.wl2 = tcb.our_wire(start);
        tcb.snd.fin = continuation.fin.is_some();
        // With the FIN decided nothing can be written any more; once it is acknowledged, `start` is
        // behind it.
        let data_start = continuation.fin.map_or(start, |fin| start.min(fin));
        tcb.send_queue = super::send_queue::SendQueue::new(data_start);
        tcb.rcv.nxt = continuation.committed;
        tcb.rcv.committed = continuation.committed;
        tcb.rcv.acked = continuation.committed;
        tcb.rcv.edge = continuation.right_edge.max(continuation.committed);
        tcb.rcv.fin = continuation.peer_fin.unwrap_or(NEVER);
        let data = continuation.peer_fin.map_or(continuation.committed, |fin| {
            fin.min(continuation.committed)
        });
        let unread: u64 = continuation.unread.iter().map(|b| b.len() as u64).sum();
        let mut at = data.saturating_sub(unread);
        tcb.rcv.tuned = at;
        tcb.receive_queue = ReceiveQueue::new(at);
        for bytes in continuation.unread {
            let end = at + bytes.len() as u64;
            tcb.receive_queue.insert(at, bytes, end);
            at = end;
        }
        if gated {
            tcb.gating = Some(Box::new(Gating {
                record: Stage::Committed,
                fin: if continuation.fin.is_some() {
                    Stage::Committed
                } else {
                    Stage::Open
                },
                requested: (tcb.rcv.committed, tcb.rcv.edge),
                right_edge: tcb.rcv.edge,
                ..Gating::default()
            }));
        }
        tcb.resumed = Some(Box::new(Resumed::new(now)));
        tcb.resume(now);
        tcb.probe_peer(now);
        tcb
    }

    /// What the record fixes.
    fn fixed(parameters: Parameters, now: Instant, record: &Record) -> Self {
        let Record {
            iss,
            irs,
            our_mss: _, // follows from the path
            peer_mss,
            our_scale,
            peer_scale,
            sack,
            timestamps,
            passive,
            first_window: _, // superseded by the right edge
        } = *record;
        let mut tcb = Self::new(parameters, now, iss);
        tcb.passive = passive;
        tcb.timestamps.on = timestamps.is_some();
        tcb.timestamps.offset = timestamps.unwrap_or(tcb.timestamps.offset);
        tcb.snd.peer_mss = peer_mss;
        tcb.snd.scale = peer_scale;
        tcb.snd.sack = sack;
        tcb.rcv.irs = irs;
        tcb.rcv.scale = our_scale;
        tcb.rcv.tuned_at_us = now.as_micros() as u32;
        tcb.apply_mss();
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
        rcv.shut = shut;
        rcv.tuned = consumed;
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

    /// Starts the timers that the state asks for, and tells the peer where we are.
    fn resume(&mut self, now: Instant) {
        self.statistics.progress_at = now;
        self.apply_mss();
        if self.snd.nxt > self.snd.una {
            self.timers.start_retransmit(now + self.rtt.rto());
        }
        match self.state {
            State::TimeWait => self.start_time_wait(now),
            State::FinWait2 => self.wait_for_fin(now),
            _ => {}
        }
        self.restart_keep_alive(now);
        self.acknowledge_now();
        self.check();
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
            small_end: _, // at worst one small segment more
            timed: _,     // of the path
            timed_at: _,
            mss: _,      // follows
            peer_mss: _, // in the record
            scale: _,    // in the record
            fin,
            sack: _, // in the record
            cork,
            cwnd_limited: _,
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
    fn export(&self, queue: &ReceiveQueue) -> ReceiveHalf {
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
            shut,
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

/// The sequence number that a peer gives to `position` of the stream that begins with `base`: for those
/// who build probes from a record.
#[must_use]
pub const fn wire_number(base: u32, position: u64) -> u32 {
    sequence::wire(base, position)
}
