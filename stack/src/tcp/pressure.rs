//! What is done with SYNs for which there is no room, and with the ACKs that come of it (RFC 4987 §3.6).
//!
//! Nothing is kept of such a SYN: [`super::cookies`] says how it is known again. The connection comes into being with the
//! ACK, and what it says from then on waits for its record like that of any other.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use parking_lot::Mutex;

use super::cookies::{Cookies, Remembered, TICK_MS};
use super::emit;
use super::listener::Listener;
use super::reader::TcpReader;
use super::redeemed::Redeemed;
use super::rtt::RttEstimator;
use super::settings::{Parameters, Settings};
use super::shared::Tcp;
use super::state::State;
use super::tcb::{FIRST_BYTE, PathFacts, Tcb};
use super::{Connection, Flags, FourTuple, Options, Outcome, Segment, TxSegment};
use crate::counters::Counter;
use crate::ip::Path;
use crate::keyed::Keyed;
use crate::time::Instant;

/// As long as a cookie lives, and longer than clocks of two hosts differ.
const EXPECTED_FOR_MS: u64 = 2 * TICK_MS;

/// What a stack needs for cookies.
#[derive(Debug)]
pub(super) struct Pressure {
    cookies: Cookies,
    redeemed: Mutex<Redeemed>,
    /// Milliseconds to add to our clock to have the one that all hosts share which accept each other's cookies.
    clock_shift_ms: AtomicI64,
    /// Until when (in milliseconds of that clock) cookies may come back that another host gave.
    inherited_until_ms: AtomicU64,
}

impl Pressure {
    pub(super) fn new(secret: [u8; 16], local: &Keyed) -> Self {
        Self {
            cookies: Cookies::new(secret),
            redeemed: Mutex::new(Redeemed::new(local)),
            clock_shift_ms: AtomicI64::new(0),
            inherited_until_ms: AtomicU64::new(0),
        }
    }

    fn clock(&self, now: Instant) -> Instant {
        let shift = self.clock_shift_ms.load(Ordering::Relaxed);
        Instant::from_millis(now.as_millis().saturating_add_signed(shift))
    }
}

impl Tcp {
    /// The clock of SYN cookies is ours and so many milliseconds: hosts that take over from each other agree on one.
    pub fn share_cookie_clock(&self, shift_ms: i64) {
        self.pressure
            .clock_shift_ms
            .store(shift_ms, Ordering::Relaxed);
    }

    /// Cookies may come back that another host gave.
    pub(super) fn inherit_cookies(&self, now: Instant) {
        let until = self.pressure.clock(now).as_millis() + EXPECTED_FOR_MS;
        self.pressure
            .inherited_until_ms
            .fetch_max(until, Ordering::Relaxed);
    }

    /// The SYN-ACK of a connection of which nothing is kept.
    fn cookie(
        &self,
        now: Instant,
        id: &FourTuple,
        path: &Path,
        listener: &Listener,
        syn: &Segment,
    ) -> TxSegment {
        let settings = Settings::new(Arc::clone(&self.config), listener.socket());
        let path = PathFacts::new(path);
        let clock = self.pressure.clock(now);
        listener.expect_cookies(clock.as_millis() + EXPECTED_FOR_MS);
        let mut said = Remembered::of(&syn.options, path.default_mss(), false);
        said.sack &= self.config.sack;
        said.window_scale = said.window_scale.filter(|_| self.config.window_scaling);
        let stamp = syn.options.timestamps.filter(|_| self.config.timestamps);
        let cookie = self
            .pressure
            .cookies
            .make(clock, id, syn.seq, &said, stamp.is_some());
        let remembers = cookie.timestamp.is_some();
        let mss = settings.options().max_segment_size.unwrap_or(u16::MAX);
        TxSegment {
            seq: cookie.iss,
            ack: syn.seq.wrapping_add(1),
            flags: Flags::SYN.with(Flags::ACK),
            // As the Tcb will believe to have offered.
            window: settings.initial_receive_limit().min(u32::from(u16::MAX)) as u16,
            options: Options {
                mss: Some(path.data_mss().min(mss)),
                sack_permitted: said.sack && remembers,
                window_scale: said
                    .window_scale
                    .filter(|_| remembers)
                    .map(|_| settings.receive_scale()),
                timestamps: cookie.timestamp.zip(stamp.map(|(value, _)| value)),
                ..Options::default()
            },
            ..TxSegment::default()
        }
    }

    /// The SYN that `ack` answers for, if it has a cookie of ours.
    fn remembered(&self, now: Instant, id: &FourTuple, ack: &Segment) -> Option<Segment> {
        let clock = self.pressure.clock(now);
        let (irs, iss) = (ack.seq.wrapping_sub(1), ack.ack.wrapping_sub(1));
        let stamp = ack.options.timestamps.filter(|_| self.config.timestamps);
        let echo = stamp.map(|(_, echo)| echo);
        let syn = self.pressure.cookies.open(clock, id, irs, iss, echo)?;
        let scale = syn.window_scale.unwrap_or_default();
        Some(Segment {
            seq: irs,
            flags: Flags::SYN,
            window: (u32::from(ack.window) << scale).min(u32::from(u16::MAX)) as u16,
            options: Options {
                mss: Some(syn.mss),
                sack_permitted: syn.sack,
                window_scale: syn.window_scale,
                timestamps: stamp,
                ..Options::default()
            },
            ..Segment::default()
        })
    }

    /// A connection whose SYN-ACK was a cookie; none if its name is taken.
    fn open_from_cookie(
        &self,
        now: Instant,
        id: &FourTuple,
        path: Path,
        listener: &Listener,
        syn: &Segment,
        iss: u32,
    ) -> Option<Arc<Connection>> {
        let shift = self.pressure.clock_shift_ms.load(Ordering::Relaxed);
        let offset = self.pressure.cookies.timestamp_offset(id);
        let parameters = Parameters {
            timestamp_offset: offset.wrapping_add(shift as u32),
            ..self.parameters(id, path, listener.socket(), listener.survival)
        };
        let tcb = Tcb::accept_cookie(parameters, now, iss, syn);
        let connection = Arc::new(Connection::new_half_open(*id, tcb));
        if !self.table.insert(&connection) {
            return None;
        }
        self.half_open.fetch_add(1, Ordering::Relaxed);
        self.counters.count(Counter::TcpPassiveOpens);
        Some(connection)
    }
}

impl TcpReader {
    /// Answers a SYN for which there is no room.
    pub(super) fn answer_with_cookie(
        &self,
        now: Instant,
        id: &FourTuple,
        path: &Path,
        listener: &Listener,
        syn: &Segment,
        outcome: &mut Outcome<Connection>,
    ) {
        let counters = &self.tcp.counters;
        counters.count(Counter::TcpCookiesSent);
        counters.count(Counter::TcpTxSegments);
        let segment = self.tcp.cookie(now, id, path, listener, syn);
        let socket = listener.socket();
        let (ttl, tos) = (socket.ttl, socket.tos & !3);
        outcome
            .datagrams
            .push(emit::datagram(id, segment, ttl, tos));
    }

    /// An ACK for a listener: true if its cookie made a connection. Otherwise it is an ACK of nothing.
    ///
    /// # Errors
    /// Why the ACK is dropped in silence: it may come again, while its cookie is good.
    pub(super) fn redeem(
        &mut self,
        now: Instant,
        id: &FourTuple,
        listener: &Listener,
        ack: &Segment,
        outcome: &mut Outcome<Connection>,
    ) -> Result<bool, Counter> {
        let tcp = Arc::clone(&self.tcp);
        let clock = tcp.pressure.clock(now);
        let inherited = tcp.pressure.inherited_until_ms.load(Ordering::Relaxed);
        let expected = listener.expects_cookies().max(inherited);
        if clock.as_millis() >= expected {
            return Ok(false);
        }
        let Some(syn) = tcp.remembered(now, id, ack) else {
            tcp.counters.count(Counter::TcpCookiesRefused);
            return Ok(false);
        };
        if listener.accept_queue_is_full() {
            return Err(Counter::TcpDropAcceptQueue);
        }
        if tcp.table.len() >= tcp.config.max_connections {
            return Err(Counter::TcpDropMemory);
        }
        let path = tcp.ip.path(id.remote, Some(id.local));
        let path = path.map_err(|_| Counter::IpDropNoRoute)?;
        let iss = ack.ack.wrapping_sub(1);
        if !tcp.pressure.first_use(clock, id, syn.seq, iss) {
            tcp.counters.count(Counter::TcpCookiesRefused);
            return Ok(false);
        }
        let connection = tcp
            .open_from_cookie(now, id, path, listener, &syn, iss)
            .ok_or(Counter::TcpDropState)?;
        tcp.counters.count(Counter::TcpCookiesAccepted);
        self.deliver(now, Arc::clone(&connection), ack.clone(), outcome);
        let mut tcb = connection.tcb.lock();
        // The echo has the options in its lowest bits: it measures nothing.
        tcb.rtt = RttEstimator::new();
        let half_open = tcb.state() == State::SynReceived;
        drop(tcb);
        if half_open {
            // No timer would ever end it.
            tcp.remove(&connection);
        }
        Ok(true)
    }
}

impl Pressure {
    fn first_use(&self, clock: Instant, id: &FourTuple, irs: u32, iss: u32) -> bool {
        let fingerprint = Keyed::new([0; 16]).hash((id.to_bytes(), irs, iss));
        self.redeemed.lock().first_use(clock, fingerprint)
    }
}

impl Tcb {
    /// As [`Tcb::accept`], of a SYN that was answered already.
    fn accept_cookie(parameters: Parameters, now: Instant, iss: u32, syn: &Segment) -> Self {
        let mut tcb = Self::accept(parameters, now, iss, syn);
        tcb.pending.syn = false;
        tcb.snd.nxt = FIRST_BYTE;
        tcb.timers.start_retransmit(now + tcb.rtt.rto());
        tcb
    }
}
