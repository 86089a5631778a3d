//! The record of a connection, fixed at set-up, and a connection continued from it by a host that has
//! nothing else but the committed input. For everything as it is, see [`super::snapshot`].

use bytes::Bytes;

use super::accurate_ecn::Accurate;
use super::gate::{Gating, Stage};
use super::parting::Parting;
use super::receive_queue::ReceiveQueue;
use super::resume::Resumed;
use super::sequence;
use super::settings::Parameters;
use super::state::State;
use super::tcb::{FIRST_BYTE, NEVER, Tcb};
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
    /// Explicit congestion notification was agreed.
    pub ecn: bool,
    /// With accurate feedback (RFC 9768).
    pub accurate_ecn: bool,
    /// Timestamps were agreed; what is added to the clock of milliseconds.
    pub timestamps: Option<u32>,
    /// We were the passive side.
    pub passive: bool,
    /// The window that our SYN offered.
    pub first_window: u16,
    /// The peer's TSval, as of when the record was made; 0 without timestamps.
    pub peer_timestamp: u32,
    /// The peer's user time-out as its option says it (RFC 5482 §4); 0 if it said nothing.
    pub peer_user_timeout: u16,
}

/// Where a connection of which only the record is known goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Continuation {
    /// A synchronised state; or SYN-RECEIVED: then the SYN-ACK is sent again, which a peer that has heard it
    /// answers too.
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
    /// The furthest right edge that may be offered: what was ever offered, and room to round it up.
    pub right_edge: u64,
    /// Another host has the connection still; the application follows along.
    pub dormant: bool,
    /// Where the connection stood when its former owner fell silent, if that was in order to hand it over.
    pub parting: Option<Parting>,
    /// A RST was decided: the peer gets it once it has told where it stands.
    pub abort: bool,
    /// The gate's number for the connection.
    pub number: u64,
    /// When the peer is probed first, unless it is heard before.
    pub probe_at: Instant,
}

impl Record {
    /// The furthest right edge that may be offered before anything else is committed: a window that is
    /// scaled may have to be rounded up.
    #[must_use]
    pub fn right_edge(&self) -> u64 {
        FIRST_BYTE + u64::from(self.first_window) + (1 << self.our_scale) - 1
    }
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
            ecn: self.marking.on,
            accurate_ecn: self.marking.accurate,
            timestamps: self.timestamps.on.then_some(self.timestamps.offset),
            passive: self.passive,
            first_window: self
                .settings
                .initial_receive_limit()
                .min(u32::from(u16::MAX)) as u16,
            peer_timestamp: if self.timestamps.on {
                self.timestamps.recent
            } else {
                0
            },
            peer_user_timeout: self.peer_user_timeout(),
        })
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
        let (gated, terms) = (parameters.gated, parameters.terms);
        let mut tcb = Self::fixed(parameters, now, record);
        let start = continuation.send_position;
        let unsent_fin = continuation.fin.filter(|&fin| start < fin);
        tcb.state = match continuation.state {
            // Until everything before the FIN was written again.
            State::FinWait1 if unsent_fin.is_some() => State::Established,
            State::Closing | State::LastAck if unsent_fin.is_some() => State::CloseWait,
            state => state,
        };
        tcb.snd.una = start;
        tcb.snd.nxt = start;
        // The next segment of the peer sets the window.
        tcb.snd.wl1 = tcb.peer_wire(continuation.committed).wrapping_sub(1);
        tcb.snd.wl2 = tcb.our_wire(start);
        tcb.snd.fin = continuation.fin.is_some() && unsent_fin.is_none();
        // Once our FIN is acknowledged, `start` is behind it.
        let data_start = continuation.fin.map_or(start, |fin| start.min(fin));
        tcb.send_queue = super::send_queue::SendQueue::new(data_start);
        tcb.rcv.nxt = continuation.committed;
        tcb.rcv.committed = continuation.committed;
        tcb.rcv.acked = continuation.committed;
        tcb.rcv.edge = continuation.committed;
        tcb.rcv.fin = continuation.peer_fin.unwrap_or(NEVER);
        tcb.rcv.mss = tcb.peer_segment_guess();
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
                lockstep: tcb.settings.config().lockstep.then(Default::default),
                number: continuation.number,
                anchor: (start, start),
                terms,
                record: Stage::Committed,
                fin: if continuation.fin.is_some() {
                    Stage::Committed
                } else {
                    Stage::Open
                },
                ..Gating::default()
            }));
        }
        tcb.inherit_window(continuation.right_edge);
        tcb.resumed = Some(Box::new(Resumed {
            // Even if the peer has everything before it: the application may still have to repeat that.
            fin: continuation.fin,
            abort: continuation.abort,
            dormant: continuation.dormant,
            since: tcb.timestamps.value(now),
            ..Resumed::new(now)
        }));
        if continuation.dormant {
            tcb.apply_mss();
            return tcb;
        }
        if tcb.state == State::SynReceived {
            tcb.snd.una = 0;
            tcb.snd.nxt = FIRST_BYTE;
            tcb.timers.start_retransmit(continuation.probe_at);
            return tcb;
        }
        tcb.resume(now);
        if tcb.state != State::TimeWait {
            tcb.pending.ack = false;
            tcb.timers.start_persist(continuation.probe_at);
        }
        tcb.check();
        tcb
    }

    /// What the record fixes.
    pub(super) fn fixed(parameters: Parameters, now: Instant, record: &Record) -> Self {
        let Record {
            iss,
            irs,
            our_mss: _, // follows from the path
            peer_mss,
            our_scale,
            peer_scale,
            sack,
            ecn,
            accurate_ecn,
            timestamps,
            passive,
            first_window: _, // superseded by the right edge
            peer_timestamp,
            peer_user_timeout,
        } = *record;
        let mut tcb = Self::new(parameters, now, iss);
        tcb.passive = passive;
        tcb.timestamps.on = timestamps.is_some();
        tcb.timestamps.offset = timestamps.unwrap_or(tcb.timestamps.offset);
        tcb.timestamps.recent = peer_timestamp;
        tcb.snd.peer_mss = peer_mss;
        tcb.snd.scale = peer_scale;
        tcb.snd.sack = sack;
        tcb.marking.on = ecn;
        if accurate_ecn {
            tcb.set_accurate(Accurate::resumed());
        }
        tcb.take_user_timeout(peer_user_timeout);
        tcb.rcv.irs = irs;
        tcb.rcv.scale = our_scale;
        tcb.rcv.tuned_at_us = now.as_micros() as u32;
        tcb.apply_mss();
        tcb
    }

    /// Starts the timers that the state asks for, and tells the peer where we are.
    pub(super) fn resume(&mut self, now: Instant) {
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

/// The sequence number that a peer gives to `position` of the stream that begins with `base`: for those
/// who build probes from a record.
#[must_use]
pub const fn wire_number(base: u32, position: u64) -> u32 {
    sequence::wire(base, position)
}
