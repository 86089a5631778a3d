//! The receiving half: text and FIN (steps seven and eight of RFC 9293 §3.10.7.4), the window that is
//! offered (§3.8.6.2.2), when an ACK is due (§3.8.6.3), and what SACK tells (RFC 2018, RFC 2883).

use super::arrival::{Arrival, Place, Stop};
use super::parting::OVERTAKEN_FOR;
use super::state::State;
use super::tcb::{FIRST_BYTE, NEVER, QUICK_ACKS, Tcb};
use super::{Options, Segment};
use crate::counters::Counter;
use crate::time::Instant;

/// What a full-sized segment of the peer is thought to be before one was seen (as Linux).
const SEGMENT_GUESS: u16 = 536;
/// Duplicate ACKs sent together at most.
const MAX_REPEATS: u8 = 64;
/// Bytes of a SACK option: padding and header, then each block.
const SACK_HEADER_BYTES: usize = 4;
const SACK_BLOCK_BYTES: usize = 8;

impl Tcb {
    /// Seventh: the text.
    pub(super) fn seventh_text(
        &mut self,
        now: Instant,
        segment: Segment,
        place: Place,
    ) -> Result<(), Stop> {
        let len = segment.payload.len();
        let text = Place {
            end: place.data + len as u64,
            ..place
        };
        if !self.state.may_receive_data() {
            // After the peer's FIN there is no new text, only what comes again.
            self.note_duplicate(text);
            self.acknowledge_now();
            return Ok(());
        }
        self.take_mark(&segment);
        let new = text.end > self.rcv.nxt;
        if self.released && new {
            // Nobody will read it: the peer is to know (SHLD-3).
            self.refuse_text(segment.ack);
            return Err(Arrival::Dropped(Counter::TcpDropState));
        }
        let full = usize::from(segment.segment_bytes.unwrap_or(u16::MAX)).min(len);
        if full > usize::from(self.rcv.mss) {
            self.rcv.mss = full.min(usize::from(self.announced_mss())) as u16;
        }
        let had_gaps = self.receive_queue.has_gaps();
        let window_end = self.rcv.edge.min(self.rcv.fin).max(self.rcv.nxt);
        let inserted = self
            .receive_queue
            .insert(place.data, segment.payload, window_end);
        if let Some(duplicate) = inserted.duplicate {
            self.set_duplicate(duplicate.0, duplicate.1);
        }
        if inserted.advanced > 0 {
            self.rcv.nxt += inserted.advanced;
            if self.rcv.fin < self.rcv.nxt {
                // A FIN in the middle of what came earlier: no honest peer sends that.
                self.rcv.fin = NEVER;
            }
            if self.gating.is_none() {
                self.rcv.committed = self.rcv.nxt;
            }
            self.note_receive_rtt(now, &segment.options, len);
            self.tune(now);
        }
        let disorder = inserted.advanced == 0 || had_gaps || inserted.duplicate.is_some();
        self.schedule_ack(now, disorder);
        if inserted.dropped > 0 {
            return Err(Arrival::Dropped(Counter::TcpDropMemory));
        }
        Ok(())
    }

    /// Eighth: the FIN, once everything before it is here.
    pub(super) fn eighth_fin(&mut self, now: Instant, fin: bool, place: Place) {
        if fin {
            let position = place.end - 1;
            if position < self.rcv.nxt {
                // It came again.
                self.acknowledge_now();
                if self.state == State::TimeWait {
                    self.start_time_wait(now);
                }
            } else if self.rcv.fin == NEVER && position <= self.rcv.edge {
                self.rcv.fin = position;
            }
        }
        if self.rcv.fin != self.rcv.nxt || !self.state.may_receive_data() {
            return;
        }
        self.rcv.nxt += 1;
        if self.gating.is_none() {
            self.rcv.committed = self.rcv.nxt;
        }
        self.acknowledge_now();
        match self.state {
            State::Established => self.enter(State::CloseWait),
            State::FinWait1 => self.enter(State::Closing),
            State::FinWait2 => self.start_time_wait(now),
            _ => {}
        }
    }

    /// An ACK leaves with the next transmission.
    pub(super) fn acknowledge_now(&mut self) {
        self.pending.ack = true;
    }

    /// What arrived was here already: the next ACK says so (RFC 2883), and that helps the peer to see
    /// that its retransmission was unnecessary.
    pub(super) fn note_duplicate(&mut self, place: Place) {
        let end = place.end.min(self.rcv.nxt);
        if place.data < end {
            self.set_duplicate(place.data, end);
        }
    }

    pub(super) fn set_duplicate(&mut self, start: u64, end: u64) {
        self.rcv.duplicate = start;
        self.rcv.duplicate_bytes = (end - start) as u32;
    }

    /// RFC 5681 §4.2: at once for what is out of order or fills a gap, for every second full-sized
    /// segment, and while the connection is young; otherwise within the delay.
    fn schedule_ack(&mut self, now: Instant, disorder: bool) {
        if disorder && self.may_be_overtaken(now) {
            // What is missing comes by way of the former owner.
            self.timers.start_ack(now + OVERTAKEN_FOR);
            return;
        }
        if disorder {
            self.rcv.quick = QUICK_ACKS;
            if self.pending.ack && !self.snd.sack {
                self.pending.repeats = (self.pending.repeats + 1).min(MAX_REPEATS);
            }
            self.acknowledge_now();
            return;
        }
        if self.gating.is_some() {
            // The commit brings the ACK.
            return;
        }
        let unacknowledged = self.rcv.nxt - self.rcv.acked;
        if self.rcv.quick > 0 || unacknowledged >= 2 * u64::from(self.rcv.mss) {
            self.rcv.quick = self.rcv.quick.saturating_sub(1);
            self.acknowledge_now();
        } else {
            let delay = self.settings.config().delayed_ack;
            self.timers.start_ack(now + delay);
        }
    }

    /// Smoothed round-trip time as the receiver sees it: how long after an ACK the data arrives that
    /// echoes it (RFC 7323 §4 turned around, as Linux does).
    fn note_receive_rtt(&mut self, now: Instant, options: &Options, len: usize) {
        let Some((_, echo)) = options.timestamps.filter(|_| self.timestamps.on) else {
            return;
        };
        let millis = self.timestamps.value(now).wrapping_sub(echo);
        if echo == 0
            || self.is_foreign_echo(echo)
            || len < usize::from(self.rcv.mss)
            || millis > 1 << 16
        {
            return;
        }
        let sample = millis * 1000;
        self.rcv.rtt_us = if self.rcv.rtt_us == 0 {
            sample
        } else {
            self.rcv.rtt_us - self.rcv.rtt_us / 8 + sample / 8
        };
    }

    /// Lets the queue grow to twice what the application read in a round trip, so that the window is
    /// never what limits a peer in slow start (dynamic right-sizing).
    fn tune(&mut self, now: Instant) {
        if self.settings.options().receive_buffer_bytes.is_some() {
            return;
        }
        let round_trip_us = u64::from(self.rcv.rtt_us).max(self.srtt().as_micros() as u64);
        let now_us = now.as_micros() as u32;
        if u64::from(now_us.wrapping_sub(self.rcv.tuned_at_us)) < round_trip_us {
            return;
        }
        let consumed = self.receive_queue.consumed();
        let read = consumed - self.rcv.tuned;
        self.rcv.tuned_at_us = now_us;
        self.rcv.tuned = consumed;
        let want = 2 * read + 16 * u64::from(self.rcv.mss);
        if want > u64::from(self.rcv.limit) {
            let most = u64::from(self.max_receive_limit());
            self.rcv.limit = want.min(most).max(u64::from(self.rcv.limit)) as u32;
        }
    }

    /// The largest queue whose window can be offered.
    fn max_receive_limit(&self) -> u32 {
        let expressible = u32::from(u16::MAX) << self.rcv.scale;
        self.settings.max_receive_limit().min(expressible)
    }

    /// What the peer's full-sized segment is thought to be before one was seen.
    pub(super) fn peer_segment_guess(&self) -> u16 {
        self.announced_mss()
            .min(self.snd.peer_mss)
            .min(SEGMENT_GUESS)
    }

    /// The window that the SYN offered, or will.
    pub(super) fn open_window(&mut self) {
        self.rcv.limit = self.rcv.limit.min(self.max_receive_limit());
        self.rcv.acked = FIRST_BYTE;
        self.rcv.edge = FIRST_BYTE + u64::from(self.window_of_syn());
        // As `Record::right_edge`.
        let committed = self.rcv.edge + (1 << self.rcv.scale) - 1;
        if let Some(gating) = &mut self.gating {
            gating.right_edge = committed;
            gating.requested = (FIRST_BYTE, committed);
        }
    }

    /// Goes on with a window of which another owner of this connection may have offered everything up to
    /// `right_edge`, less one unit that is kept for rounding up.
    pub(super) fn inherit_window(&mut self, right_edge: u64) {
        let unit = (1 << self.rcv.scale) - 1;
        let span = right_edge.saturating_sub(self.receive_queue.consumed());
        let rcv = &mut self.rcv;
        rcv.edge = rcv.edge.max(right_edge.saturating_sub(unit)).max(rcv.nxt);
        rcv.limit = rcv.limit.max(u32::try_from(span).unwrap_or(u32::MAX));
        let requested = (rcv.committed, right_edge.max(rcv.edge));
        if let Some(gating) = &mut self.gating {
            gating.requested = requested;
            gating.right_edge = requested.1;
        }
    }

    /// Where the right edge would be if all free space were offered.
    fn free_edge(&self) -> u64 {
        self.receive_queue.consumed() + u64::from(self.rcv.limit)
    }

    /// The right edge to offer next: moved only in steps worth a segment, which is the receiver's side
    /// of silly window avoidance (§3.8.6.2.2, MUST-39).
    fn wanted_edge(&self) -> u64 {
        let free = self.free_edge();
        let step = u64::from((self.rcv.limit / 2).min(u32::from(self.announced_mss())));
        if free >= self.rcv.edge + step {
            free
        } else {
            self.rcv.edge
        }
    }

    /// How much further than [`Tcb::free_edge`] rounding may carry the right edge. A scaled window can
    /// only name multiples of its unit; rounding it up keeps the edge from moving left when the ACK
    /// moves by less, and this bounds what that adds up to.
    fn edge_slack(&self) -> u64 {
        u64::from(self.rcv.limit / 8) + (1 << self.rcv.scale)
    }

    /// The right edge to have committed, given what was asked for so far: further if it is to move, or may have
    /// to because the ACK moves beyond `from` and the window is rounded up.
    pub(super) fn edge_to_commit(&self, (from, requested): (u64, u64)) -> u64 {
        let slack = self.edge_slack();
        let bound = self.free_edge() + slack;
        let moves = self.wanted_edge() > self.rcv.edge;
        let mut edge = if moves {
            bound.max(requested)
        } else {
            requested
        };
        if self.rcv.nxt > from {
            // Every ACK may take up a unit, though several are asked for before the first is answered.
            let rounded = requested + (1 << self.rcv.scale) - 1;
            edge = edge.max(rounded.min(bound + slack));
        }
        edge
    }

    /// SEG.WND; remembers how far that lets the peer go.
    pub(super) fn select_window(&mut self) -> u16 {
        let ack = self.rcv.committed;
        let bound = match &self.gating {
            Some(gating) => gating.right_edge,
            None => self.free_edge() + self.edge_slack(),
        };
        let edge = self.wanted_edge().min(bound).max(self.rcv.edge);
        let window = edge.saturating_sub(ack);
        let scale = self.rcv.scale;
        let rounded_up = window.div_ceil(1 << scale);
        let units = if ack + (rounded_up << scale) <= bound.max(self.rcv.edge) {
            rounded_up
        } else {
            window >> scale
        };
        let units = units.min(u64::from(u16::MAX)) as u16;
        self.rcv.edge = self.rcv.edge.max(ack + (u64::from(units) << scale));
        units
    }

    /// The application read: says whether the window opened so far that the peer should hear of it
    /// (as Linux: when it doubles).
    pub(super) fn window_update_due(&self) -> bool {
        let gating = self.gating.as_ref();
        self.opens_enough(gating.map_or(NEVER, |gating| gating.right_edge))
    }

    /// It would, but for the edge, which is not committed and has not been asked for.
    pub(super) fn edge_commit_due(&self) -> bool {
        let requested = self.gating.as_ref().map(|gating| gating.requested);
        requested.is_some_and(|requested| {
            !self.is_dormant()
                && self.opens_enough(NEVER)
                && self.edge_to_commit(requested) > requested.1
        })
    }

    /// The window may be offered up to `bound`.
    fn opens_enough(&self, bound: u64) -> bool {
        if !self.state.may_receive_data() {
            return false;
        }
        let open = self.rcv.edge.saturating_sub(self.rcv.committed);
        let wanted = self.wanted_edge().min(bound);
        wanted > self.rcv.edge && wanted - self.rcv.committed >= 2 * open
    }

    /// SACK blocks for an ACK: first what arrived twice (RFC 2883 §4), then the islands, most recent
    /// first (RFC 2018 §4). `room` is in bytes. False when there was more to say than room.
    pub(super) fn sack_options(&mut self, options: &mut Options, room: usize) -> bool {
        let start = self.rcv.duplicate;
        let duplicate = (start, start + u64::from(self.rcv.duplicate_bytes));
        let none = self.rcv.duplicate_bytes == 0;
        let lost_flight = self.lost_flight();
        if none && lost_flight.is_none() && !self.receive_queue.has_gaps() {
            return true;
        }
        if room < SACK_HEADER_BYTES + SACK_BLOCK_BYTES {
            return false;
        }
        let most = ((room - SACK_HEADER_BYTES) / SACK_BLOCK_BYTES).min(4);
        // What is not committed is not admitted to have arrived.
        if !none && (duplicate.1 <= self.rcv.committed || duplicate.0 > self.rcv.nxt) {
            options
                .sack
                .push((self.peer_wire(duplicate.0), self.peer_wire(duplicate.1)));
        }
        self.rcv.duplicate_bytes = 0;
        if lost_flight.is_some() {
            self.forget_lost_flight();
        }
        let islands = self.receive_queue.sack_blocks();
        for (start, end) in lost_flight.into_iter().chain(islands) {
            if options.sack.len() < most {
                options
                    .sack
                    .push((self.peer_wire(start), self.peer_wire(end)));
            }
        }
        true
    }
}
