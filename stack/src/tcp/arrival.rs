//! A segment arrives (RFC 9293 §3.10.7.4): the eight steps, each a function, in the RFC's order.
//!
//! SYN-SENT has steps of its own (`arrival_syn_sent`). Step three (security and compartment) is
//! left out. Where the RFC leaves a choice we do as Linux does: a segment whose end is not before the
//! last ACK sent and whose start is not beyond the window is taken for its ACK, even if all its data is
//! old.

use std::num::NonZeroU32;

use super::state::State;
use super::tcb::{FIRST_BYTE, NEVER, Tcb};
use super::{Error, Flags, Segment};
use crate::counters::Counter;
use crate::time::Instant;

/// What became of a segment; the Tcb's own reaction is in what [`Tcb::poll_transmit`] gives next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// Taken.
    Taken,
    /// Taken, and the connection is now ESTABLISHED.
    Established,
    /// Dropped, for this reason; an ACK that says so may be due.
    Dropped(Counter),
    /// TIME-WAIT is over because this SYN opens the connection anew: remove this one and let the
    /// listener have the segment. The new ISS must be beyond `iss_after` (RFC 9293 §3.6.1, RFC 6191).
    Reopen {
        /// Highest sequence number that the old connection used.
        iss_after: u32,
    },
}

/// Where a segment lies in the peer's stream.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    /// Position of its first octet.
    pub start: u64,
    /// Position of its first byte of data.
    pub data: u64,
    /// Position after its last octet, FIN included.
    pub end: u64,
}

/// Why the steps ended early.
pub(super) type Stop = Arrival;

/// At most one ACK in this time for segments of no use (RFC 5961 §10; Linux
/// `tcp_invalid_ratelimit`), so that two confused or abused stacks do not echo each other.
const INVALID_RATE_MS: u32 = 500;

impl Tcb {
    /// A segment of this connection arrived, its checksum verified.
    pub fn on_segment(&mut self, now: Instant, segment: Segment) -> Arrival {
        let before = self.state;
        let done = match self.state {
            State::Closed => Err(Arrival::Dropped(Counter::TcpDropState)),
            State::SynSent => self.arrives_in_syn_sent(now, segment),
            _ => self.arrives(now, segment),
        };
        self.check();
        match done {
            Err(stop) => stop,
            Ok(()) if !before.is_synchronized() && self.state.is_synchronized() => {
                Arrival::Established
            }
            Ok(()) => Arrival::Taken,
        }
    }

    fn arrives(&mut self, now: Instant, mut segment: Segment) -> Result<(), Stop> {
        if self.state == State::SynReceived {
            self.crossing_syn(&mut segment)?;
        } else if self.state == State::TimeWait {
            self.reopening(now, &segment)?;
        }
        let place = self.first_sequence(now, &segment)?;
        self.statistics.received_at = now;
        self.step_arrived();
        self.count_marks(&segment);
        self.second_reset(now, &segment, place)?;
        self.fourth_syn(now, &segment)?;
        self.only_bare_acks_in_time_wait(now, &segment, place)?;
        self.fifth_ack(now, &segment, place)?;
        self.hear_user_timeout(&segment);
        if segment.flags.contains(Flags::URG) {
            self.sixth_urgent(&segment, place);
        }
        let fin = segment.flags.contains(Flags::FIN);
        if !segment.payload.is_empty() {
            self.seventh_text(now, segment, place)?;
        }
        if fin || self.rcv.fin != NEVER {
            self.eighth_fin(now, fin, place);
        }
        Ok(())
    }

    /// First: is any of it inside the window, and is it younger than what came before (PAWS)?
    fn first_sequence(&mut self, now: Instant, segment: &Segment) -> Result<Place, Stop> {
        let Some(start) = self.position_of_peer(segment.seq) else {
            return Err(self.unacceptable(now, segment, Counter::TcpDropWindow));
        };
        let data = start + u64::from(segment.flags.contains(Flags::SYN));
        let end =
            data + segment.payload.len() as u64 + u64::from(segment.flags.contains(Flags::FIN));
        let place = Place { start, data, end };
        if !self.younger(now, segment) {
            return Err(self.unacceptable(now, segment, Counter::TcpDropPaws));
        }
        if end < self.rcv.acked || start > self.rcv.edge {
            self.note_duplicate(place);
            return Err(self.unacceptable(now, segment, Counter::TcpDropWindow));
        }
        Ok(place)
    }

    /// TS.Recent follows a segment whose sequence and acknowledgement numbers are both believed (as Linux): otherwise
    /// one that nobody sent could have everything that comes after it dropped as too old. RFC 7323 §4.3 (2): only what
    /// covers the last ACK sent counts, so that the echo of a delayed ACK measures its delay too.
    pub(super) fn note_timestamp(&mut self, now: Instant, segment: &Segment, place: Place) {
        if let Some((value, _)) = segment.options.timestamps
            && self.timestamps.on
            && (place.start <= self.rcv.acked || self.clock_is_unknown())
        {
            if let Some(resumed) = &mut self.resumed {
                resumed.clock_known = true;
            }
            self.timestamps.recent = value;
            self.timestamps.recent_at_s = (now.as_millis() / 1000) as u32;
        }
    }

    /// PAWS (RFC 7323 §5.3): false for an old duplicate. RST is exempt (§5.2).
    fn younger(&self, now: Instant, segment: &Segment) -> bool {
        const VOID_AFTER_S: u32 = 24 * 24 * 3600;
        let Some((value, _)) = segment.options.timestamps.filter(|_| self.timestamps.on) else {
            // A SHOULD of RFC 7323 §3.2 would drop it; Linux takes it, and so do we: some boxes on the
            // way strip options.
            return true;
        };
        segment.flags.contains(Flags::RST)
            || self.clock_is_unknown()
            || value.wrapping_sub(self.timestamps.recent) as i32 >= 0
            || ((now.as_millis() / 1000) as u32).saturating_sub(self.timestamps.recent_at_s)
                > VOID_AFTER_S
    }

    /// An unacceptable segment is answered with an ACK, unless it is a RST. Segments without data only
    /// now and then: such an answer must never be answered for ever.
    fn unacceptable(&mut self, now: Instant, segment: &Segment, reason: Counter) -> Stop {
        if !segment.flags.contains(Flags::RST) {
            if segment.payload.is_empty() && !segment.flags.contains(Flags::FIN) {
                self.challenge(now);
            } else {
                self.acknowledge_now();
            }
            if self.state == State::TimeWait && segment.flags.contains(Flags::FIN) {
                // A retransmission of the peer's FIN: our ACK was lost, wait anew (§3.10.7.4).
                self.start_time_wait(now);
            }
        }
        Arrival::Dropped(reason)
    }

    /// An ACK that asks a doubtful segment's sender to prove itself (RFC 5961 §3, §4, §5). Returns
    /// whether one is due, which is so twice a second at most.
    pub(super) fn challenge(&mut self, now: Instant) -> bool {
        let now_ms = NonZeroU32::new(now.as_millis() as u32).unwrap_or(NonZeroU32::MIN);
        if let Some(last_ms) = self.statistics.limited_at_ms
            && now_ms.get().wrapping_sub(last_ms.get()) < INVALID_RATE_MS
        {
            return false;
        }
        self.statistics.limited_at_ms = Some(now_ms);
        self.hints.challenged = true;
        self.acknowledge_now();
        true
    }

    /// Second: RST. Only one exactly at `rcv.nxt` is believed (RFC 5961 §3.2).
    fn second_reset(&mut self, now: Instant, segment: &Segment, place: Place) -> Result<(), Stop> {
        if !segment.flags.contains(Flags::RST) {
            return Ok(());
        }
        if place.start != self.rcv.nxt && place.start != self.rcv.committed {
            if place.start > self.rcv.nxt {
                self.challenge(now);
            }
            return Err(Arrival::Dropped(Counter::TcpDropWindow));
        }
        if self.state == State::TimeWait && self.settings.config().time_wait_ignores_resets {
            // TIME-WAIT assassination (RFC 1337 §3, fix F1): it lasts until its time is over.
            return Err(Arrival::Dropped(Counter::TcpDropState));
        }
        let error = match self.state {
            // Who takes part in a handshake that is not over is refused; who has the connection already (RFC 7413) loses it.
            State::SynReceived if !self.is_early() => Some(Error::Refused),
            State::Closing | State::LastAck | State::TimeWait => None,
            _ => Some(Error::Reset),
        };
        self.finish(error);
        Err(Arrival::Taken)
    }

    /// Fourth: a SYN in a synchronised state proves nothing (RFC 5961 §4.2).
    fn fourth_syn(&mut self, now: Instant, segment: &Segment) -> Result<(), Stop> {
        if segment.flags.contains(Flags::SYN) {
            self.challenge(now);
            return Err(Arrival::Dropped(Counter::TcpDropState));
        }
        Ok(())
    }

    /// In TIME-WAIT nothing new is expected but an ACK. Everything else is answered with one, and a FIN, which may have come
    /// again, has the wait begin anew (RFC 9293 §3.10.7.4, fifth; as Linux).
    fn only_bare_acks_in_time_wait(
        &mut self,
        now: Instant,
        segment: &Segment,
        place: Place,
    ) -> Result<(), Stop> {
        let bare = place.start == self.rcv.nxt && place.end == place.start;
        if self.state == State::TimeWait && segment.flags.contains(Flags::ACK) && !bare {
            return Err(self.unacceptable(now, segment, Counter::TcpDropState));
        }
        Ok(())
    }

    /// In SYN-RECEIVED the peer's SYN may come again: alone, when our SYN-ACK was lost; with ACK, when
    /// both opened at once (RFC 9293 §3.5, figure 8). The latter is the ACK that we wait for.
    fn crossing_syn(&mut self, segment: &mut Segment) -> Result<(), Stop> {
        let syn = segment.flags.contains(Flags::SYN) && !segment.flags.contains(Flags::RST);
        if !syn || segment.seq != self.rcv.irs {
            return Ok(());
        }
        if segment.flags.contains(Flags::ACK) {
            segment.flags = Flags(segment.flags.0 & !Flags::SYN.0);
            segment.seq = segment.seq.wrapping_add(1);
            // Its SYN was heard before.
            self.set_duplicate(0, FIRST_BYTE);
            self.acknowledge_now();
            return Ok(());
        }
        self.pending.syn = true;
        Err(Arrival::Taken)
    }

    /// A SYN in TIME-WAIT that cannot be of the old connection opens a new one (RFC 9293 §3.10.7.4,
    /// MAY-2; RFC 6191): beyond everything received, or younger by timestamp.
    fn reopening(&mut self, now: Instant, segment: &Segment) -> Result<(), Stop> {
        let wanted = Flags::SYN
            .with(Flags::ACK)
            .with(Flags::RST)
            .with(Flags::FIN);
        if segment.flags.0 & wanted.0 != Flags::SYN.0 {
            return Ok(());
        }
        let beyond = self
            .position_of_peer(segment.seq)
            .is_some_and(|start| start > self.rcv.nxt);
        let younger = self.timestamps.on
            && segment
                .options
                .timestamps
                .is_some_and(|(value, _)| value.wrapping_sub(self.timestamps.recent) as i32 > 0);
        if !beyond && !younger {
            return Ok(());
        }
        tracing::debug!(
            ?now,
            beyond,
            younger,
            "a new connection takes over from TIME-WAIT"
        );
        let iss_after = self.our_wire(self.snd.nxt);
        self.finish(None);
        Err(Arrival::Reopen { iss_after })
    }
}
