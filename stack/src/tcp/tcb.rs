//! The transmission control block: everything that one connection knows (RFC 9293 §3.3.1).
//!
//! A plain value without I/O, clock or thread: segments, calls and timers go in with `now`, segments
//! come out of [`Tcb::poll_transmit`]. What it does stands in the files beside this one, by subject:
//! `arrival` (§3.10.7), `acknowledge`, `receive`, `transmit`, `transit`, `pacing`, `recovery`, `timers`, `persist`,
//! `keepalive`, `urgent`, `close`, `calls`, `gate` and `record`.
//!
//! Positions are 64-bit ([`super::sequence`]). What is needed only now and then is boxed, so that an
//! idle connection stays small.
//!
//! Left out: security compartments (§3.10.7 step three).

use std::task::Waker;
use std::time::Duration;

use super::aside::Aside;
use super::congestion::{Congestion, initial_window};
use super::detection::Reordering;
use super::ecn::Marking;
use super::fast_open::FastOpening;
use super::gate::Gating;
use super::receive_queue::ReceiveQueue;
use super::recovery::Recovery;
use super::resume::Resumed;
use super::rtt::RttEstimator;
use super::send_queue::SendQueue;
use super::settings::{Parameters, Settings};
use super::state::State;
use super::timers::Timers;
use super::transit::Transit;
use super::urgent::Urgent;
use super::window_usage::WindowUsage;
use super::{Error, Segment, sequence};
use crate::time::Instant;

/// Position of the first byte of data; position 0 is the SYN.
pub(super) const FIRST_BYTE: u64 = 1;
/// No position: later than everything.
pub(super) const NEVER: u64 = u64::MAX;

/// One connection.
#[derive(Debug)]
pub struct Tcb {
    pub(super) state: State,
    /// How the connection came about; decides what a RST in SYN-RECEIVED means (MUST-11).
    pub(super) passive: bool,
    /// Nobody holds the connection any more: data that arrives has no reader.
    pub(super) released: bool,
    /// No more reading: what is left in the receive queue is the last.
    pub(super) shut: bool,
    /// A writer found no room, and nothing was sent since that made some (like `SOCK_NOSPACE`).
    pub(super) wants_room: bool,
    pub(super) error: Option<Error>,
    /// What a router said, kept until the connection gives up (RFC 5461).
    pub(super) soft_error: Option<Error>,
    pub(super) pending: Pending,
    pub(super) hints: Hints,
    pub(super) path: PathFacts,
    pub(super) timestamps: Timestamps,
    pub(super) snd: SendSpace,
    pub(super) rcv: ReceiveSpace,
    pub(super) send_queue: SendQueue,
    pub(super) receive_queue: ReceiveQueue,
    pub(super) rtt: RttEstimator,
    pub(super) congestion: Congestion,
    pub(super) timers: Timers,
    pub(super) statistics: Statistics,
    pub(super) settings: Settings,
    pub(super) reordering: Reordering,
    pub(super) marking: Marking,
    pub(super) transit: Option<Box<Transit>>,
    pub(super) recovery: Option<Box<Recovery>>,
    pub(super) aside: Option<Box<Aside>>,
    pub(super) gating: Option<Box<Gating>>,
    pub(super) urgent: Option<Box<Urgent>>,
    pub(super) fast_opening: Option<Box<FastOpening>>,
    pub(super) resumed: Option<Box<Resumed>>,
    pub(super) reader: Option<Waker>,
    pub(super) writer: Option<Waker>,
}

/// Send sequence space (RFC 9293 §3.3.1, figure 3).
#[derive(Clone, Copy, Debug)]
pub(super) struct SendSpace {
    /// Initial sequence number.
    pub iss: u32,
    /// First position not acknowledged.
    pub una: u64,
    /// First position never sent. Unlike in some stacks it never moves back: what is sent again is the
    /// business of [`Transit`].
    pub nxt: u64,
    /// Window offered by the peer, in bytes.
    pub wnd: u32,
    /// Largest window that it ever offered.
    pub max_wnd: u32,
    /// Segment sequence and acknowledgement number of the last window update.
    pub wl1: u32,
    pub wl2: u32,
    /// End of the last segment sent that was not full (Minshall's variant of Nagle's algorithm).
    pub small_end: u64,
    /// `snd.nxt` when a tail loss probe was sent whose outcome is open (TLP.end_seq); 0 while none is.
    pub tail_probe_end: u64,
    /// Eff.snd.MSS: data bytes of one wire segment.
    pub mss: u16,
    /// The peer's MSS option, or the default for its absence.
    pub peer_mss: u16,
    /// Shift of the windows that the peer offers.
    pub scale: u8,
    /// Our FIN follows the last byte of the queue.
    pub fin: bool,
    /// The peer takes SACK, and so do we.
    pub sack: bool,
    /// Partial segments are held (like `TCP_CORK`).
    pub cork: bool,
    /// The last write said that more will follow: its end is not pushed (like `MSG_MORE`).
    pub more: bool,
    /// And until the next ACK a partial segment is held for it.
    pub held: bool,
    /// Nagle's algorithm was just switched off: what it held leaves, corked or not.
    pub push: bool,
    /// How much of the congestion window is in use.
    pub usage: WindowUsage,
    /// The tail loss probe was something sent before (TLP.is_retrans).
    pub tail_probe_again: bool,
    /// Segments sent again, in all.
    pub retransmitted_segments: u32,
}

/// Receive sequence space (RFC 9293 §3.3.1, figure 4).
#[derive(Clone, Copy, Debug)]
pub(super) struct ReceiveSpace {
    /// The peer's initial sequence number.
    pub irs: u32,
    /// First position not received in order; counts the peer's FIN.
    pub nxt: u64,
    /// The part of it that may be acknowledged and read.
    pub committed: u64,
    /// Furthest right edge of the window ever advertised; never moves left.
    pub edge: u64,
    /// The acknowledgement sent last (Last.ACK.sent of RFC 7323).
    pub acked: u64,
    /// Position of the peer's FIN, once one arrived; [`NEVER`] before.
    pub fin: u64,
    /// When the current measurement of how fast the application reads began (microseconds, modulo
    /// 2^32), and where it was.
    pub tuned_at_us: u32,
    pub tuned: u64,
    /// Last stretch of bytes that arrived twice (RFC 2883), to be told in the next ACK.
    pub duplicate: u64,
    pub duplicate_bytes: u32,
    /// Bytes that the queue may hold now; grows up to the configured maximum.
    pub limit: u32,
    /// Round-trip time as a receiver sees it from timestamps, in microseconds; 0 when unknown.
    pub rtt_us: u32,
    /// The largest segment that arrived lately: what the peer's full-sized segment is.
    pub mss: u16,
    /// Shift of the windows that we offer.
    pub scale: u8,
    /// ACKs that are still to be sent at once.
    pub quick: u8,
}

/// What is to be sent besides data.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Pending {
    /// An ACK, now.
    pub ack: bool,
    /// So many more ACKs: without SACK their number is what tells the peer of a gap (RFC 5681 §4.2).
    pub repeats: u8,
    /// A SYN or SYN-ACK again.
    pub syn: bool,
    /// A probe of a closed window or of an idle peer.
    pub probe: bool,
    /// A tail loss probe.
    pub tail: bool,
    /// What a closed window lets through, although it is less than a segment (persist timer).
    pub force: bool,
    /// A RST that answers one segment and changes no state, with this sequence number.
    pub refusal: Option<u32>,
    /// A RST that ends the connection.
    pub reset: bool,
    /// Permission to send was missing in the last turn: it waits for that, and for nothing else.
    pub withheld: bool,
}

/// What the layers below should hear of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Hints {
    /// Full-sized segments vanish and small ones do not: perhaps a path MTU black hole (RFC 2923).
    pub black_hole: bool,
    /// A challenge ACK is on its way: to be counted.
    pub challenged: bool,
    /// The path was found to carry datagrams of so many bytes; 0: no news.
    pub wider_mtu: u16,
}

/// What is known about the path.
#[derive(Clone, Copy, Debug)]
pub(super) struct PathFacts {
    /// Largest datagram in bytes.
    pub mtu: u32,
    /// Largest datagram that the device cuts by itself, in bytes.
    pub max_segmented: u32,
    /// Bytes of the IP and TCP headers without options.
    pub header_bytes: u8,
}

/// RFC 7323 §3 and §5.
#[derive(Clone, Copy, Debug)]
pub(super) struct Timestamps {
    /// Both sides use them.
    pub on: bool,
    /// Added to the milliseconds of `now`.
    pub offset: u32,
    /// TS.Recent.
    pub recent: u32,
    /// When it was updated, in seconds: it is void after 24 days (§5.5).
    pub recent_at_s: u32,
}

/// What is counted for [`super::info::Info`].
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Statistics {
    /// When something last arrived: keep-alive counts from here.
    pub received_at: Instant,
    /// When data was last sent: idle restart counts from here.
    pub sent_at: Instant,
    /// When `snd.una` last advanced, or data was sent with nothing outstanding.
    pub progress_at: Instant,
    /// When a challenge ACK, or one for a segment outside the window, was last sent.
    pub limited_at_ms: Option<std::num::NonZeroU32>,
    pub timeouts: u16,
    /// Consecutive time-outs.
    pub retries: u8,
    /// Consecutive probes without an answer.
    pub probes: u8,
}

impl Timestamps {
    /// TSval for a segment sent at `now`: a clock of milliseconds, as in Linux.
    pub(super) fn value(&self, now: Instant) -> u32 {
        self.offset.wrapping_add(now.as_millis() as u32)
    }
}

impl Tcb {
    /// Active open (RFC 9293 §3.10.1): SYN-SENT, the SYN is due at once.
    #[must_use]
    pub fn connect(parameters: Parameters, now: Instant, iss: u32) -> Self {
        let mut tcb = Self::new(parameters, now, iss);
        tcb.pending.syn = true;
        tcb.state = State::SynSent;
        tcb.statistics.progress_at = now;
        tcb
    }

    /// A connection made by a listener from `syn`: SYN-RECEIVED, the SYN-ACK is due at once.
    #[must_use]
    pub fn accept(parameters: Parameters, now: Instant, iss: u32, syn: &Segment) -> Self {
        let mut tcb = Self::new(parameters, now, iss);
        tcb.passive = true;
        tcb.state = State::SynReceived;
        tcb.statistics.progress_at = now;
        tcb.synchronize(now, syn);
        tcb.pending.syn = true;
        tcb.check();
        tcb
    }

    /// CLOSED, with everything at its start.
    pub(super) fn new(parameters: Parameters, now: Instant, iss: u32) -> Self {
        let settings = Settings::new(parameters.config, parameters.options);
        let path = PathFacts::new(&parameters.path);
        let (config, options) = (settings.config(), settings.options());
        let mss = path.data_mss();
        let mut tcb = Self {
            state: State::Closed,
            passive: false,
            released: false,
            shut: false,
            wants_room: false,
            error: None,
            soft_error: None,
            pending: Pending::default(),
            hints: Hints::default(),
            path,
            timestamps: Timestamps {
                on: config.timestamps,
                offset: parameters.timestamp_offset,
                recent: 0,
                recent_at_s: (now.as_millis() / 1000) as u32,
            },
            snd: SendSpace::new(iss, path.default_mss(), config.sack),
            rcv: ReceiveSpace::new(settings.initial_receive_limit(), settings.receive_scale()),
            send_queue: SendQueue::new(FIRST_BYTE),
            receive_queue: ReceiveQueue::new(FIRST_BYTE),
            rtt: RttEstimator::new(),
            congestion: Congestion::new(
                options.algorithm,
                usize::from(mss),
                initial_window(config.initial_window_segments, usize::from(mss)),
            ),
            timers: Timers::default(),
            statistics: Statistics {
                received_at: now,
                sent_at: now,
                ..Statistics::default()
            },
            gating: parameters.gated.then(|| {
                Box::new(Gating {
                    terms: parameters.terms,
                    lockstep: config.lockstep.then(Default::default),
                    ..Gating::default()
                })
            }),
            settings,
            reordering: Reordering::default(),
            marking: Marking::default(),
            transit: None,
            recovery: None,
            aside: None,
            urgent: None,
            fast_opening: None,
            resumed: None,
            reader: None,
            writer: None,
        };
        tcb.begin_mtu_search(now, parameters.path.link_mtu as u32);
        tcb
    }

    /// The state.
    #[must_use]
    pub const fn state(&self) -> State {
        self.state
    }

    /// True when the connection is over and has nothing left to send: its table entry may go.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.state == State::Closed && !self.abort_due() && self.pending.refusal.is_none()
    }

    /// Why the connection ended, if not in order.
    #[must_use]
    pub const fn error(&self) -> Option<Error> {
        self.error
    }

    /// Goes to `next`, along a legal edge.
    pub(super) fn enter(&mut self, next: State) {
        debug_assert!(
            self.state == next || self.state.may_become(next),
            "no edge from {:?} to {next:?}",
            self.state
        );
        tracing::trace!(from = self.state.name(), to = next.name(), "state");
        self.state = next;
    }

    /// Position of the ACK or SEQ `seq` of our own stream.
    pub(super) const fn our_position(&self, seq: u32) -> Option<u64> {
        sequence::position(self.snd.iss, seq, self.snd.una)
    }

    /// Position of a sequence number of the peer's stream.
    pub(super) const fn position_of_peer(&self, seq: u32) -> Option<u64> {
        sequence::position(self.rcv.irs, seq, self.rcv.nxt)
    }

    /// Sequence number of a position of ours.
    pub(super) const fn our_wire(&self, position: u64) -> u32 {
        sequence::wire(self.snd.iss, position)
    }

    /// Sequence number of a position of the peer's.
    pub(super) const fn peer_wire(&self, position: u64) -> u32 {
        sequence::wire(self.rcv.irs, position)
    }

    /// Position after everything that we will ever send, as far as we know: data, and FIN.
    pub(super) const fn send_end(&self) -> u64 {
        self.send_queue.end() + self.snd.fin as u64
    }

    /// True when our FIN was sent and acknowledged.
    pub(super) const fn fin_acknowledged(&self) -> bool {
        self.snd.fin && self.snd.una > self.send_queue.end()
    }

    /// Smoothed round-trip time, or the shortest that a clock shows.
    pub(super) fn srtt(&self) -> Duration {
        self.rtt.srtt().unwrap_or(Duration::from_millis(1))
    }
}

impl SendSpace {
    fn new(iss: u32, peer_mss: u16, sack: bool) -> Self {
        Self {
            iss,
            una: 0,
            nxt: 0,
            wnd: 0,
            max_wnd: 0,
            wl1: 0,
            wl2: iss,
            small_end: 0,
            tail_probe_end: 0,
            mss: peer_mss,
            peer_mss,
            scale: 0,
            fin: false,
            sack,
            cork: false,
            more: false,
            held: false,
            push: false,
            usage: WindowUsage::default(),
            tail_probe_again: false,
            retransmitted_segments: 0,
        }
    }

    /// First position beyond the peer's window.
    pub(super) const fn window_end(&self) -> u64 {
        self.una + self.wnd as u64
    }
}

impl ReceiveSpace {
    const fn new(limit: u32, scale: u8) -> Self {
        Self {
            irs: 0,
            nxt: 0,
            committed: 0,
            edge: 0,
            acked: 0,
            fin: NEVER,
            tuned_at_us: 0,
            tuned: FIRST_BYTE,
            duplicate: 0,
            duplicate_bytes: 0,
            limit,
            rtt_us: 0,
            mss: 0,
            scale,
            quick: QUICK_ACKS,
        }
    }
}

/// Segments that are acknowledged at once when a connection is young, so that the peer's slow start is
/// not held up (as Linux, `TCP_MAX_QUICKACKS`).
pub(super) const QUICK_ACKS: u8 = 16;
