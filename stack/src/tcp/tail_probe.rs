//! Tail loss probes (RFC 8985 §7): when nothing was heard for two round trips, one segment is sent so that its ACK
//! tells what became of the tail, long before the retransmission timer would. What Linux does where the RFC leaves
//! a choice: the probe timer takes the place of the retransmission timer, which then starts from the probe.

use std::time::Duration;

use super::acknowledge::News;
use super::congestion::CongestionControl;
use super::recovery::Phase;
use super::rtt::MIN_RTO;
use super::tcb::Tcb;
use super::{TxSegment, rtt};
use crate::time::Instant;

/// How long a peer may hold back the ACK of less than two segments (TLP.max_ack_delay; as Linux).
const MAX_ACK_DELAY: Duration = MIN_RTO;
/// Added otherwise, against coarse timers (as Linux).
const MARGIN: Duration = Duration::from_millis(2);
/// How long at least a receiver that seems to have reneged has to say that it has not (as Linux).
const RENEGE_PATIENCE: Duration = Duration::from_millis(10);

impl Tcb {
    /// When a probe would be due that is scheduled now; none if none may be (§7.2).
    fn probe_due(&self, now: Instant, rto_due: Instant) -> Option<Instant> {
        let transit = self.transit.as_ref()?;
        let calm = matches!(self.phase(), Phase::Over | Phase::Reducing)
            && transit.flight.sacked() == 0
            && transit.flight.lost() == 0;
        let wanted = self.settings.config().tail_loss_probe
            && self.snd.sack
            && self.state.may_transmit_data();
        // Never one after the other: the retransmission timer has its turn then.
        if !wanted || !calm || self.snd.tail_probe_end > 0 {
            return None;
        }
        // Two full-sized segments have a peer answer at once, less may wait for its delayed ACK.
        let little = self.snd.nxt - self.snd.una < 2 * u64::from(self.effective_mss());
        let delay = if little { MAX_ACK_DELAY } else { MARGIN };
        let timeout = self
            .rtt
            .srtt()
            .map_or(rtt::INITIAL_RTO, |srtt| 2 * srtt + delay);
        Some((now + timeout).min(rto_due))
    }

    /// When the retransmission timer would expire that runs since the first segment was sent.
    pub(super) fn rto_due(&self, now: Instant) -> Instant {
        let first = self.transit.as_ref().and_then(|it| it.flight.first());
        let since = first.map_or(now, |piece| piece.sent_at);
        (since + self.rtt.rto()).max(now)
    }

    /// New data left: a probe is due some time after the last of it.
    pub(super) fn schedule_probe(&mut self, now: Instant) {
        if !self.timers.reordering()
            && let Some(at) = self.probe_due(now, self.rto_due(now))
        {
            self.timers.start_probe(at);
        }
    }

    /// The timer that watches over what is in flight, after an ACK: to look for losses again (RFC 8985 §6.2 step 5),
    /// for a probe, or for retransmission, which starts anew when the ACK `advances` (RFC 6298 §5.2, §5.3).
    pub(super) fn restart_loss_timer(&mut self, now: Instant, advances: bool) {
        if self.snd.una == self.snd.nxt {
            self.timers.stop_retransmit();
            return;
        }
        if advances && self.has_reneged() {
            let patience = self.rtt.srtt().unwrap_or_default() / 16;
            self.timers
                .start_retransmit(now + patience.max(RENEGE_PATIENCE));
            return;
        }
        let look_at = self.transit.as_ref().and_then(|it| it.look_at);
        if let Some(at) = look_at {
            self.timers.start_reorder(at);
        } else if advances {
            let rto_due = now + self.rtt.rto();
            match self.probe_due(now, rto_due) {
                Some(at) => self.timers.start_probe(at),
                None => self.timers.start_retransmit(rto_due),
            }
        } else if self.timers.reordering() {
            self.timers.start_retransmit(self.rto_due(now));
        }
    }

    /// What was SACKed begins where the ACK ends: it should have been acknowledged with what came before it (RFC 2018 §8).
    fn has_reneged(&self) -> bool {
        let transit = self.transit.as_ref();
        transit.is_some_and(|it| it.flight.is_sacked(self.snd.una))
    }

    /// Time has passed in which reordering would have shown itself.
    pub(super) fn on_reorder_timer(&mut self, now: Instant) {
        let reducing = self.recovery.as_ref().is_some_and(|it| it.prr.is_some());
        self.find_losses(now, 0);
        let (in_flight, mss) = (self.in_flight(), u64::from(self.effective_mss()));
        if !reducing && let Some(prr) = self.recovery.as_mut().and_then(|it| it.prr.as_mut()) {
            prr.on_ack(mss, in_flight, false, mss);
        }
        self.timers.start_retransmit(self.rto_due(now));
        self.restart_loss_timer(now, false);
    }

    /// The probe timer expired: one segment leaves whatever the congestion window says, new data if there is some and
    /// the peer takes it (§7.3).
    pub(super) fn on_probe_timer(&mut self, now: Instant) {
        self.pending.tail = self.snd.tail_probe_end == 0;
        self.timers.start_retransmit(now + self.rtt.rto());
    }

    /// The probe.
    pub(super) fn tail_segment(&mut self, now: Instant) -> Option<TxSegment> {
        if !std::mem::take(&mut self.pending.tail) || self.snd.una == self.snd.nxt {
            return None;
        }
        let mss = u64::from(self.effective_mss());
        let again = !self.may_send_new_data();
        let segment = if again {
            let last = *self.transit(now).flight.last_unsacked()?;
            let small = u64::from(last.segments.saturating_sub(1)) * mss;
            let start = (last.start + small).min(last.end.saturating_sub(1));
            // The path may have become narrower since it was sent.
            let start = start.max(last.end.saturating_sub(mss));
            self.send_again(now, start.max(last.start), last.end, mss)
        } else {
            let reach = self.send_queue.reach(self.snd.nxt);
            let room = self.snd.window_end().min(reach) - self.snd.nxt;
            let room = room.min(mss);
            let draft = self.draft(self.snd.nxt, room as usize, false)?;
            self.send_new(now, draft)
        }?;
        self.snd.tail_probe_end = self.snd.nxt;
        self.snd.tail_probe_again = again;
        self.timers.start_retransmit(now + self.rtt.rto());
        Some(segment)
    }

    /// An ACK tells what became of the probe (§7.4.2): if it repaired a loss, the window is reduced.
    pub(super) fn end_tail_probe(&mut self, now: Instant, news: &News, pure: bool) {
        let end = self.snd.tail_probe_end;
        if end == 0 || self.snd.una < end {
            return;
        }
        let both_arrived = news.reports_duplicate || (pure && news.acked == 0 && news.sacked == 0);
        if !self.snd.tail_probe_again || both_arrived {
            self.snd.tail_probe_end = 0;
        } else if self.snd.una > end {
            self.snd.tail_probe_end = 0;
            if matches!(self.phase(), Phase::Over) {
                let flight_size = news.prior_in_flight.max(self.in_flight());
                self.congestion.on_loss(now, flight_size as usize);
                self.congestion.on_recovered(now);
                self.announce_reduction();
            }
        }
    }
}
