//! A connection that is handed over in order: where it stands when its owner falls silent, and how the next one goes on from
//! there (FAILOVER §6). Nothing is asked of the peer, and nothing is sent again.
//!
//! What the former owner sent and the peer has not acknowledged is in flight; the window and the round-trip time are what
//! they were. Congestion control begins anew, as after any takeover. A connection of which our side is closed is probed
//! instead: whether our FIN has arrived is for the peer to say.

use std::time::Duration;

use super::TxSegment;
use super::resume::{FORMER_OWNER_FOR, FURTHEST_AHEAD};
use super::stamp::Draft;
use super::state::State;
use super::tcb::Tcb;
use crate::time::Instant;

/// So long after a handover a segment may overtake an earlier one, which comes by way of the former owner: a gap is not
/// told to the peer before, who would send again what is not lost. (RFC 5681 §4.2 asks for an ACK at once.)
pub(super) const OVERTAKEN_FOR: Duration = Duration::from_millis(10);

/// What a peer's window can be at most (RFC 7323 §2.3).
const LARGEST_WINDOW: u64 = 1 << 30;

/// Where a connection stands that is handed over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Parting {
    /// First position of our stream that was never sent.
    pub sent: u64,
    /// The peer has our stream up to here.
    pub acknowledged: u64,
    /// The right edge of the window that it offers.
    pub window_end: u64,
    /// Smoothed; 0 if it was never measured.
    pub round_trip_us: u32,
}

impl Parting {
    /// What an honest host says of a connection of which the peer had everything before `known`.
    fn is_sound(&self, known: u64) -> bool {
        known <= self.acknowledged
            && self.acknowledged <= self.sent
            && self.sent - known <= FURTHEST_AHEAD
            && self
                .window_end
                .checked_sub(self.acknowledged)
                .is_some_and(|it| it <= LARGEST_WINDOW)
    }
}

impl Tcb {
    /// Where it stands, for the next owner; nothing may be built any more.
    #[must_use]
    pub fn part(&self) -> Parting {
        let round_trip = self.rtt.srtt().unwrap_or_default();
        Parting {
            sent: self.snd.nxt,
            acknowledged: self.snd.una,
            window_end: self.snd.window_end(),
            round_trip_us: u32::try_from(round_trip.as_micros()).unwrap_or(u32::MAX),
        }
    }

    /// The former owner fell silent there.
    pub(super) fn take_parting(&mut self, now: Instant, parting: &Parting) {
        let known = self.snd.una;
        let Some(resumed) = &mut self.resumed else {
            return;
        };
        if !parting.is_sound(known) || self.state == State::SynReceived {
            return;
        }
        resumed.sent_to = parting.sent;
        self.pending.ack = self.state != State::TimeWait;
        let open = matches!(self.state, State::Established | State::CloseWait);
        if !open || resumed.fin.is_some() || resumed.abort || self.snd.fin {
            return;
        }
        resumed.heard = true;
        resumed.until = now + FORMER_OWNER_FOR;
        self.timers.stop_retransmit();
        self.advance_to(parting.acknowledged);
        self.snd.wnd = (parting.window_end - self.snd.una) as u32;
        self.snd.max_wnd = self.snd.max_wnd.max(self.snd.wnd);
        self.snd.wl2 = self.our_wire(self.snd.una);
        if parting.round_trip_us > 0 {
            self.rtt
                .sample(Duration::from_micros(parting.round_trip_us.into()));
        }
        self.apply_mss();
        if let Some(surviving) = self.surviving() {
            surviving.waiting.announce();
        }
    }

    /// How far a former owner has sent, if it told; 0 if not.
    pub(super) fn parted_at(&self) -> u64 {
        self.resumed.as_ref().map_or(0, |it| it.sent_to)
    }

    /// What the former owner sent is in flight, as soon as it is here to be sent again.
    pub(super) fn assume_sent(&mut self, now: Instant) {
        let to = self.parted_at().min(self.send_end());
        if to > self.snd.nxt {
            self.snd.nxt = to;
            if !self.timers.retransmitting() {
                self.timers.start_retransmit(now + self.rtt.rto());
            }
        }
    }

    /// Where the former owner stopped the peer takes an ACK although it has not been heard yet.
    pub(super) fn parting_ack(&mut self, now: Instant) -> Option<TxSegment> {
        let from = self.parted_at();
        if from == 0 || !self.pending.ack {
            return None;
        }
        self.stamp(
            now,
            Draft {
                from,
                ..Draft::default()
            },
        )
    }

    /// Segments may come in another order than they were sent in, because some come by way of the former owner.
    pub(super) fn may_be_overtaken(&self, now: Instant) -> bool {
        let resumed = self.resumed.as_ref().filter(|it| it.sent_to > 0);
        resumed.is_some_and(|it| it.until.since(now) > FORMER_OWNER_FOR - OVERTAKEN_FOR)
    }

    /// True while an ACK does not speak of gaps; there will be another one.
    pub(super) fn keeps_gaps_to_itself(&mut self, now: Instant) -> bool {
        if !self.may_be_overtaken(now) || !self.receive_queue.has_gaps() {
            return false;
        }
        self.timers.start_ack(now + OVERTAKEN_FOR);
        true
    }
}
