//! The way up (RFC 9293 §3.10.7): datagrams become segments and find their connection, their listener, or
//! a RST; ICMP errors find the connection that they are about (RFC 5927).
//!
//! It never sends for a connection: it changes the Tcb and leaves the connection to the writer.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Buf;

use super::arrival::Arrival;
use super::emit::{self, PROTOCOL};
use super::listener::{Admission, Listener};
use super::shared::Tcp;
use super::state::State;
use super::tcb::Tcb;
use super::{Connection, Flags, FourTuple, Outcome, Segment};
use crate::checksum;
use crate::counters::Counter;
use crate::ip::{Cast, Datagram, ErrorKind, IcmpError};
use crate::time::Instant;
use crate::wire::tcp;

/// Nanotokens of the limit on RSTs: a token is one RST.
const TOKEN: u64 = 1_000_000_000;

/// The reading stage of one queue.
#[derive(Debug)]
pub struct TcpReader {
    pub(super) tcp: Arc<Tcp>,
    /// The connection of the last segment: most come in trains.
    last: Option<Arc<Connection>>,
    resets: ResetLimit,
}

/// At most so many RSTs a second for segments of no connection, a tenth of a second's worth at once.
#[derive(Debug)]
struct ResetLimit {
    per_second: u64,
    tokens: u64,
    filled_at: Instant,
}

impl ResetLimit {
    fn new(per_second: u32) -> Self {
        let per_second = u64::from(per_second);
        Self {
            per_second,
            tokens: Self::burst(per_second),
            filled_at: Instant::ZERO,
        }
    }

    const fn burst(per_second: u64) -> u64 {
        per_second.div_ceil(10) * TOKEN
    }

    fn allow(&mut self, now: Instant) -> bool {
        let nanos = now.since(self.filled_at).as_nanos().min(u128::from(TOKEN)) as u64;
        self.filled_at = self.filled_at.max(now);
        let burst = Self::burst(self.per_second);
        self.tokens = self
            .tokens
            .saturating_add(nanos * self.per_second)
            .min(burst);
        let allowed = self.tokens >= TOKEN;
        if allowed {
            self.tokens -= TOKEN;
        }
        allowed
    }
}

impl TcpReader {
    /// A reader for one queue.
    #[must_use]
    pub fn new(tcp: Arc<Tcp>) -> Self {
        Self {
            resets: ResetLimit::new(tcp.config.resets_per_second),
            last: None,
            tcp,
        }
    }

    /// Takes all datagrams, and those errors that are about TCP.
    pub fn process(
        &mut self,
        now: Instant,
        datagrams: &mut Vec<Datagram>,
        errors: &mut Vec<IcmpError>,
        outcome: &mut Outcome<Connection>,
    ) {
        for datagram in datagrams.drain(..) {
            self.datagram(now, datagram, outcome);
        }
        self.last = None;
        for error in errors.extract_if(.., |error| error.protocol == PROTOCOL) {
            self.icmp_error(now, &error, outcome);
        }
    }

    fn datagram(&mut self, now: Instant, datagram: Datagram, outcome: &mut Outcome<Connection>) {
        self.tcp.counters.count(Counter::TcpRxSegments);
        let (id, segment) = match Self::parse(datagram) {
            Ok(parsed) => parsed,
            Err((counter, datagram)) => {
                self.tcp.counters.drop_packet(counter, &datagram.source);
                return;
            }
        };
        match self.find(&id) {
            Some(connection) => self.deliver(now, connection, segment, outcome),
            None => self.arrives_without_connection(now, &id, &segment, None, outcome),
        }
    }

    /// Checks everything that needs no connection.
    fn parse(datagram: Datagram) -> Result<(FourTuple, Segment), (Counter, Datagram)> {
        // TCP is between two hosts (RFC 9293 §3.9.2.3, RFC 1122 §4.2.3.10).
        if datagram.cast != Cast::Unicast {
            return Err((Counter::TcpDropAddress, datagram));
        }
        let Ok(header) = tcp::parse(&datagram.payload) else {
            return Err((Counter::TcpDropMalformed, datagram));
        };
        if !datagram.checksum_ok && !checksum_is_right(&datagram) {
            return Err((Counter::TcpDropChecksum, datagram));
        }
        let id = FourTuple {
            local: datagram.destination,
            remote: datagram.source,
            local_port: header.destination_port,
            remote_port: header.source_port,
        };
        let mut payload = datagram.payload;
        payload.advance(usize::from(header.header_len));
        let segment = Segment {
            seq: header.seq,
            ack: header.ack,
            flags: header.flags,
            ae: header.ae,
            window: header.window,
            urgent: header.urgent,
            options: header.options,
            payload,
            ecn: datagram.tos & 3,
            segment_bytes: datagram.segment_bytes,
        };
        Ok((id, segment))
    }

    /// True for two hosts that may have a connection: neither is a group, and two ends are never the same
    /// (the land attack).
    fn may_talk(&self, id: &FourTuple) -> bool {
        let remote = id.remote;
        let nobody = remote.is_unspecified() || remote.is_multicast() || id.local.is_multicast();
        let itself = id.remote == id.local && id.remote_port == id.local_port;
        !nobody && !itself && !self.tcp.ip.is_broadcast(remote)
    }

    fn find(&mut self, id: &FourTuple) -> Option<Arc<Connection>> {
        if let Some(last) = &self.last
            && last.id == *id
        {
            return Some(Arc::clone(last));
        }
        let connection = self.tcp.table.get(id)?;
        self.last = Some(Arc::clone(&connection));
        Some(connection)
    }

    pub(super) fn deliver(
        &mut self,
        now: Instant,
        connection: Arc<Connection>,
        segment: Segment,
        outcome: &mut Outcome<Connection>,
    ) {
        let counters = &self.tcp.counters;
        if connection.is_half_open() && self.is_kept_waiting(&connection, &segment) {
            counters.drop_packet(Counter::TcpDropAcceptQueue, &connection.id);
            return;
        }
        if connection.is_half_open() && self.is_deferred(&connection, &segment) {
            counters.drop_packet(Counter::TcpDropDeferred, &connection.id);
            return;
        }
        // A SYN may have to be used again below; it is rare, and cheap to copy.
        let syn = segment.flags.contains(Flags::SYN).then(|| segment.clone());
        let reset = segment.flags.contains(Flags::RST);
        let mut tcb = connection.tcb.lock();
        if tcb.is_closed() {
            drop(tcb);
            return self.succeed(now, &connection, &segment, None, outcome);
        }
        let (ack_was_due, challenged) = (tcb.pending.ack, tcb.hints.challenged);
        let arrival = tcb.on_segment(now, segment);
        if tcb.hints.challenged
            && !challenged
            && !self.tcp.challenges.allow(now, connection.id.remote)
        {
            counters.count(Counter::TcpChallengesWithheld);
            tcb.hints.challenged = false;
            tcb.pending.ack = ack_was_due;
        }
        if let Some(lesson) = tcb.take_lesson() {
            self.tcp.fast_open.learn(now, connection.id.remote, lesson);
        }
        tcb.take_wakers(&mut outcome.wakers);
        let state = tcb.state();
        drop(tcb);
        if state != State::SynReceived && connection.end_early() {
            self.tcp.early.fetch_sub(1, Ordering::Relaxed);
        }
        match arrival {
            Arrival::Taken if reset && state == State::Closed => {
                counters.count(Counter::TcpResetsReceived);
            }
            Arrival::Taken => {}
            Arrival::Established => counters.count(Counter::TcpEstablished),
            Arrival::Dropped(counter) => counters.drop_packet(counter, &connection.id),
            Arrival::Reopen { iss_after } => {
                if let Some(syn) = syn {
                    self.succeed(now, &connection, &syn, Some(iss_after), outcome);
                }
                return;
            }
        }
        if connection.is_half_open() && state != State::SynReceived {
            self.end_half_open(&connection, state, outcome);
        }
        if connection.schedule() {
            outcome.output.push(connection);
        }
    }

    /// A segment for the successor of `closed`.
    fn succeed(
        &mut self,
        now: Instant,
        closed: &Arc<Connection>,
        segment: &Segment,
        iss_after: Option<u32>,
        outcome: &mut Outcome<Connection>,
    ) {
        self.last = None;
        self.tcp.remove(closed);
        self.arrives_without_connection(now, &closed.id, segment, iss_after, outcome);
    }

    /// True for the ACK that would complete a handshake while the accept queue is full.
    fn is_kept_waiting(&self, connection: &Connection, segment: &Segment) -> bool {
        let flags = segment.flags;
        flags.contains(Flags::ACK)
            && !flags.contains(Flags::RST)
            && !flags.contains(Flags::SYN)
            && self
                .tcp
                .listeners
                .find(&connection.id)
                .is_some_and(|listener| listener.accept_queue_is_full())
    }

    /// True for the ACK that would complete a handshake without data, where the listener waits for some.
    fn is_deferred(&self, connection: &Connection, segment: &Segment) -> bool {
        if segment.flags.0 & !Flags::PSH.0 != Flags::ACK.0 || !segment.payload.is_empty() {
            return false;
        }
        let listener = self.tcp.listeners.find(&connection.id);
        listener.is_some_and(|it| it.defers(connection.tcb.lock().statistics.retries))
    }

    /// A half-open connection is established, or over.
    fn end_half_open(
        &self,
        connection: &Arc<Connection>,
        state: State,
        outcome: &mut Outcome<Connection>,
    ) {
        if !connection.end_half_open() {
            return;
        }
        self.tcp.half_open.fetch_sub(1, Ordering::Relaxed);
        let id = &connection.id;
        if state == State::Closed {
            self.tcp.listeners.forget(id);
            return;
        }
        let listener = self.tcp.listeners.find(id);
        let accepted = listener.is_some_and(|it| it.complete(connection, &mut outcome.wakers));
        if !accepted {
            connection.tcb.lock().abort();
        }
    }

    /// LISTEN or CLOSED (RFC 9293 §3.10.7.2 and .1).
    fn arrives_without_connection(
        &mut self,
        now: Instant,
        id: &FourTuple,
        segment: &Segment,
        iss_after: Option<u32>,
        outcome: &mut Outcome<Connection>,
    ) {
        let counters = &self.tcp.counters;
        if !self.may_talk(id) {
            counters.drop_packet(Counter::TcpDropAddress, id);
            return;
        }
        let listener = self.tcp.listeners.find(id);
        let flags = segment.flags;
        match listener {
            Some(_) if flags.contains(Flags::RST) => {
                counters.drop_packet(Counter::TcpDropState, id);
            }
            Some(listener) if flags.contains(Flags::SYN) && !flags.contains(Flags::ACK) => {
                // A SYN with FIN opens nothing: no host sends it in earnest, and Linux drops it.
                let opened = if flags.contains(Flags::FIN) || id.remote_port == 0 {
                    Err(Counter::TcpDropState)
                } else {
                    self.open(now, id, &listener, segment, iss_after, outcome)
                };
                if let Err(counter) = opened {
                    counters.drop_packet(counter, id);
                }
            }
            Some(_) if !flags.contains(Flags::ACK) => {
                counters.drop_packet(Counter::TcpDropState, id);
            }
            Some(listener) if !flags.contains(Flags::SYN) => {
                match self.redeem(now, id, &listener, segment, outcome) {
                    Ok(true) => {}
                    Ok(false) => self.refuse(now, id, segment, outcome),
                    Err(counter) => self.tcp.counters.drop_packet(counter, id),
                }
            }
            _ => self.refuse(now, id, segment, outcome),
        }
    }

    fn open(
        &self,
        now: Instant,
        id: &FourTuple,
        listener: &Listener,
        syn: &Segment,
        iss_after: Option<u32>,
        outcome: &mut Outcome<Connection>,
    ) -> Result<(), Counter> {
        let tcp = &self.tcp;
        if tcp.table.len() >= tcp.config.max_connections {
            return Err(Counter::TcpDropMemory);
        }
        let crowded = tcp.half_open.load(Ordering::Relaxed) >= tcp.config.max_half_open;
        let path = tcp.ip.path(id.remote, Some(id.local));
        let path = path.map_err(|_| Counter::IpDropNoRoute)?;
        let evicted = match listener.admit(crowded)? {
            Admission::Room { evicted } => evicted,
            Admission::Cookie => {
                self.answer_with_cookie(now, id, &path, listener, syn, outcome);
                return Ok(());
            }
        };
        if let Some(evicted) = evicted
            && let Some(oldest) = tcp.table.get(&evicted)
        {
            tcp.counters.drop_packet(Counter::TcpDropSynQueue, &evicted);
            // Silently: the peer of a flood is somebody who never sent that SYN.
            tcp.remove(&oldest);
        }
        let connection = tcp
            .open_half(now, id, path, listener, syn, iss_after)
            .ok_or(Counter::TcpDropState)?;
        if connection.is_early() && !listener.complete(&connection, &mut outcome.wakers) {
            connection.tcb.lock().abort();
        }
        if connection.schedule() {
            outcome.output.push(connection);
        }
        Ok(())
    }

    fn refuse(
        &mut self,
        now: Instant,
        id: &FourTuple,
        segment: &Segment,
        outcome: &mut Outcome<Connection>,
    ) {
        let counters = &self.tcp.counters;
        if self.tcp.is_hushed(now) && !segment.flags.contains(Flags::SYN) {
            counters.drop_packet(Counter::TcpDropAfterTakeover, id);
            return;
        }
        counters.drop_packet(Counter::TcpDropNoConnection, id);
        if let Some(rst) = emit::refusal(segment)
            && self.resets.allow(now)
        {
            counters.count(Counter::TcpResetsSent);
            counters.count(Counter::TcpTxSegments);
            let ttl = self.tcp.ip.default_ttl();
            outcome.datagrams.push(emit::datagram(id, rst, ttl, 0));
        }
    }

    /// An ICMP error counts only if it quotes a segment that is in flight (RFC 5927 §4.1).
    fn icmp_error(&self, now: Instant, error: &IcmpError, outcome: &mut Outcome<Connection>) {
        let counters = &self.tcp.counters;
        let ignored = || counters.drop_packet(Counter::IcmpDropIgnored, &error.kind);
        let Ok((local_port, remote_port, seq)) = tcp::parse_quoted(&error.quoted) else {
            counters.drop_packet(Counter::IcmpDropMalformed, &error.reporter);
            return;
        };
        let id = FourTuple {
            local: error.source,
            remote: error.destination,
            local_port,
            remote_port,
        };
        let Some(connection) = self.tcp.table.get(&id) else {
            return ignored();
        };
        if !is_in_flight(&connection.tcb.lock(), seq) {
            return ignored();
        }
        if let ErrorKind::TooBig { mtu } = error.kind {
            self.tcp.ip.lower_mtu(now, id.remote, mtu as usize);
        }
        let path = self.tcp.ip.path(id.remote, Some(id.local));
        let mut tcb = connection.tcb.lock();
        if let Ok(path) = path {
            tcb.on_icmp_error(now, error.kind, seq, &path);
        }
        tcb.take_wakers(&mut outcome.wakers);
        drop(tcb);
        if connection.schedule() {
            outcome.output.push(connection);
        }
    }
}

fn is_in_flight(tcb: &Tcb, seq: u32) -> bool {
    tcb.our_position(seq)
        .is_some_and(|position| (tcb.snd.una..tcb.snd.nxt).contains(&position))
}

fn checksum_is_right(datagram: &Datagram) -> bool {
    let payload = &datagram.payload;
    let pseudo = checksum::pseudo_header(
        datagram.source,
        datagram.destination,
        PROTOCOL,
        payload.len(),
    );
    checksum::combine(pseudo, checksum::sum(payload), false) == 0xffff
}
