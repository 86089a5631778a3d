//! What is done about losses: fast recovery (RFC 6675 §5, RFC 6582, with the losses that `detection` finds), recovery
//! from a time-out (RFC 6298 §5.4, RFC 5681 §3.1) with F-RTO (RFC 5682), and the reduction of the window that
//! an ECN echo asks for (RFC 3168 §6.1.2). How much may leave meanwhile is `prr`'s or congestion control's to say.
//!
//! The state is boxed and exists from the first loss until what follows from it is over; `undo` takes it back.
//! Limited transmit (RFC 3042) needs nothing: what has arrived is not in flight. Early retransmit (RFC 5827) is
//! what RACK's short wait does.

use super::acknowledge::News;
use super::congestion::{CongestionControl, LostPiece, Timeout};
use super::detection::{LossDetection, View};
use super::mtu_search::Probe;
use super::prr::Prr;
use super::tcb::Tcb;
use super::undo::Undo;
use crate::time::Instant;

/// What is being done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Nothing any more; it may still turn out to have been unnecessary.
    Over,
    /// The window is being reduced, though nothing was lost (CWR in Linux).
    Reducing,
    /// Fast retransmit and fast recovery.
    Fast,
    /// After a time-out.
    Timeout,
    /// The path takes only smaller segments than were sent: everything is sent again, and the
    /// congestion window stays as it is (RFC 1191 §6.5).
    Resegment,
    /// The same of a probe for a larger path MTU alone (RFC 4821 §7.6.2).
    Probe,
}

/// Detail of an episode.
#[derive(Clone, Debug)]
pub(super) struct Recovery {
    pub phase: Phase,
    /// `snd.nxt` when the phase began: once that is acknowledged it is over.
    pub point: u64,
    /// The window while it is being reduced.
    pub prr: Option<Prr>,
    pub undo: Undo,
    /// It is still open whether the time-out was spurious (RFC 5682).
    pub frto: bool,
    /// Nothing is to be sent again before the next ACK: new data is to tell (RFC 5682 §3.1 step 2.b).
    pub new_first: bool,
    /// One retransmission leaves whatever the congestion window says.
    pub forced: bool,
    /// End of a segment that was sent so small that it fits every path, after larger ones had vanished.
    pub small_end: u64,
    /// It arrived, and no full-sized one since.
    pub small_passed: bool,
}

impl Recovery {
    fn new(una: u64) -> Self {
        Self {
            phase: Phase::Over,
            point: una,
            prr: None,
            undo: Undo::new(una),
            frto: false,
            new_first: false,
            forced: false,
            small_end: 0,
            small_passed: false,
        }
    }

    fn begin(&mut self, phase: Phase, nxt: u64) {
        self.phase = phase;
        self.point = nxt;
        self.prr = None;
        self.frto = false;
        self.new_first = false;
    }

    pub(super) const fn end(&mut self) {
        self.phase = Phase::Over;
        self.prr = None;
        self.frto = false;
        self.new_first = false;
        self.forced = false;
    }
}

impl Tcb {
    /// What is being done about losses now.
    pub(super) fn phase(&self) -> Phase {
        self.recovery.as_ref().map_or(Phase::Over, |it| it.phase)
    }

    /// The congestion window: while it is being reduced, what that allows.
    pub(super) fn cwnd(&self) -> u64 {
        let reducing = self.recovery.as_ref().and_then(|it| it.prr.as_ref());
        reducing.map_or_else(|| self.congestion.cwnd() as u64, Prr::window)
    }

    /// False while the congestion window is not to grow: it is being reduced.
    pub(super) fn may_grow(&self) -> bool {
        !matches!(self.phase(), Phase::Fast | Phase::Reducing)
    }

    fn recovery_box(&mut self) -> &mut Recovery {
        let una = self.snd.una;
        self.recovery
            .get_or_insert_with(|| Box::new(Recovery::new(una)))
    }

    /// Everything that an ACK means for recovery; adds to `news` what it found lost.
    pub(super) fn repair(&mut self, now: Instant, news: &mut News) {
        if let Some(recovery) = &mut self.recovery {
            recovery.new_first = false;
            if news.acked > 0 {
                // The rest of the segment that it was cut from says nothing of larger ones.
                let larger = news.acked >= u64::from(self.snd.mss);
                recovery.small_passed &= !larger;
                recovery.small_passed |= self.snd.una == recovery.small_end;
            }
        }
        self.take_back(news);
        if self.phase() == Phase::Timeout {
            self.forward_recovery(news);
        }
        self.leave_phase(now);
        news.lost = self.find_losses(now, news.delivered);
        if let Some(recovery) = &self.recovery
            && recovery.phase == Phase::Over
            && self.snd.una > recovery.point
        {
            self.recovery = None;
        }
    }

    /// Ends the phase if everything sent before it began is acknowledged.
    fn leave_phase(&mut self, now: Instant) {
        let una = self.snd.una;
        let Some(recovery) = &mut self.recovery else {
            return;
        };
        let over = match recovery.phase {
            Phase::Over => false,
            // CWR reaches the peer with something new (RFC 3168 §6.1.2).
            Phase::Reducing => una > recovery.point,
            Phase::Fast | Phase::Timeout | Phase::Resegment | Phase::Probe => una >= recovery.point,
        };
        if !over {
            return;
        }
        if !matches!(recovery.phase, Phase::Resegment | Phase::Probe) {
            self.congestion.on_recovered(now);
        }
        if matches!(recovery.phase, Phase::Fast | Phase::Timeout) {
            self.reordering.on_recovered();
        }
        recovery.end();
    }

    /// Marks what is lost and begins to repair it; returns how many bytes were found.
    pub(super) fn find_losses(&mut self, now: Instant, delivered: u64) -> u64 {
        let phase = self.phase();
        if self.transit.is_none() {
            return 0;
        }
        // Without SACK everything is sent again after a time-out, and duplicates prove nothing.
        let blind = matches!(phase, Phase::Timeout | Phase::Resegment) && !self.snd.sack;
        let view = self.view(now);
        let transit = self.transit(now);
        let mut lost = 0;
        if !blind {
            let found = transit.detection.find(&mut transit.flight, &view);
            transit.look_at = found.look_at;
            lost = found.lost;
        }
        if phase == Phase::Over && self.lost_only_mtu_probe(now) {
            return lost;
        }
        self.tell_losses(now);
        let transit = self.transit(now);
        let unattended = match phase {
            Phase::Over | Phase::Reducing => true,
            // More than the probe is.
            Phase::Probe => lost > 0,
            Phase::Fast | Phase::Timeout | Phase::Resegment => false,
        };
        if unattended && transit.flight.lost() > 0 {
            self.begin_fast(now, delivered);
        }
        lost
    }

    /// Tells congestion control of every piece found lost, if it wants to know.
    fn tell_losses(&mut self, now: Instant) {
        let selective = self.snd.sack;
        let Some(transit) = &mut self.transit else {
            return;
        };
        for piece in transit.flight.take_losses() {
            let lost = transit.rate.on_lost(piece.bytes(), &piece.stamp);
            self.congestion.on_lost(&LostPiece {
                now,
                start: piece.start,
                end: piece.end,
                tx_in_flight: u64::from(piece.stamp.in_flight),
                lost,
                app_limited: piece.stamp.app_limited,
                total_delivered: transit.rate.delivered(),
                selective,
            });
        }
    }

    fn view(&self, now: Instant) -> View {
        View {
            now,
            una: self.snd.una,
            mss: u64::from(self.effective_mss()),
            srtt: self.srtt(),
            min_rtt: self.rtt.min_rtt().unwrap_or_default(),
            recovering: matches!(self.phase(), Phase::Fast | Phase::Timeout),
            reordering: self.reordering,
        }
    }

    /// Fast recovery. The window is reduced, unless it is being reduced already.
    fn begin_fast(&mut self, now: Instant, delivered: u64) {
        let prr = self.recovery.as_ref().and_then(|it| it.prr);
        let prr = prr.or_else(|| self.reduction(now, delivered));
        let (una, nxt) = (self.snd.una, self.snd.nxt);
        let recovery = self.recovery_box();
        recovery.begin(Phase::Fast, nxt);
        recovery.prr = prr;
        recovery.undo = Undo::new(una);
    }

    /// Has congestion control choose a smaller window, and begins to go there. What is in flight is what RFC 9937 §6.1
    /// says, or the window if that is larger (as in Linux).
    fn reduction(&mut self, now: Instant, delivered: u64) -> Option<Prr> {
        let outstanding = self.snd.nxt - self.snd.una;
        let arrived = self.sacked_bytes();
        let flight_size = (outstanding + delivered).saturating_sub(arrived);
        let flight_size = flight_size.max(self.congestion.cwnd() as u64);
        self.congestion.on_loss(now, outstanding as usize);
        self.announce_reduction();
        let threshold = self.congestion.ssthresh() as u64;
        let in_proportion = self.congestion.reduces_in_proportion();
        in_proportion.then(|| Prr::new(flight_size, threshold))
    }

    /// The network is congested, though nothing is known to be lost: once per round trip the window is reduced.
    pub(super) fn reduce(&mut self, now: Instant, delivered: u64) {
        if self.phase() != Phase::Over {
            return;
        }
        self.congestion.on_mark(now, self.in_flight());
        let prr = self.reduction(now, delivered);
        let nxt = self.snd.nxt;
        let recovery = self.recovery_box();
        recovery.begin(Phase::Reducing, nxt);
        recovery.prr = prr;
        recovery.undo = Undo::none();
    }

    /// The retransmission timer expired: what was sent long enough ago counts as lost (RFC 8985 §6.3).
    pub(super) fn recover_from_timeout(&mut self, now: Instant) {
        let (una, nxt) = (self.snd.una, self.snd.nxt);
        let again = self.statistics.retries > 1;
        let phase = self.phase();
        let fresh = match phase {
            Phase::Over | Phase::Resegment | Phase::Probe => true,
            // The threshold moves once for a window's losses, and not again while nothing helps (RFC 5681 §3.1).
            Phase::Reducing | Phase::Fast => false,
            Phase::Timeout => !again,
        };
        let view = self.view(now);
        let transit = self.transit(now);
        // The receiver has reneged if it SACKed what it should have acknowledged (RFC 2018 §8); after
        // two time-outs in a row nothing that it said is relied upon.
        if transit.flight.is_sacked(una) || again {
            transit.flight.distrust();
        }
        transit.detection.on_timeout(&mut transit.flight, &view);
        transit.look_at = None;
        self.tell_losses(now);
        self.congestion.on_timeout(&Timeout {
            now,
            flight_size: (nxt - una) as usize,
            in_flight: self.in_flight() as usize,
            fresh,
        });
        self.announce_reduction();
        let recovery = self.recovery_box();
        recovery.begin(Phase::Timeout, nxt);
        recovery.forced = true;
        recovery.frto = again || matches!(phase, Phase::Over | Phase::Reducing);
        if fresh {
            recovery.undo = Undo::new(una);
        }
        self.snd.tail_probe_end = 0;
    }

    /// A probe for a larger path MTU did not arrive, while everything else does.
    pub(super) fn resend_mtu_probe(&mut self, now: Instant, probe: Probe) {
        let transit = self.transit(now);
        transit.flight.lose(probe.start, probe.end);
        // Not by congestion.
        drop(transit.flight.take_losses());
        if self.phase() == Phase::Over {
            let recovery = self.recovery_box();
            recovery.begin(Phase::Probe, probe.end);
            recovery.forced = true;
            recovery.undo = Undo::none();
        }
    }

    /// The effective MSS shrank below what is in flight.
    pub(super) fn resegment(&mut self, now: Instant) {
        let (una, nxt) = (self.snd.una, self.snd.nxt);
        if nxt <= una.max(1) {
            return;
        }
        let transit = self.transit(now);
        transit.flight.lose(una, nxt);
        // Not by congestion.
        drop(transit.flight.take_losses());
        let recovery = self.recovery_box();
        recovery.begin(Phase::Resegment, nxt);
        recovery.forced = true;
        recovery.undo = Undo::none();
    }

    /// F-RTO (RFC 5682 §3.1): if what was sent only once before the time-out arrives, the time-out was spurious.
    /// The first ACK that moves on has new data sent instead of old, so that the next one can tell.
    fn forward_recovery(&mut self, news: &News) {
        let (una, nxt) = (self.snd.una, self.snd.nxt);
        let can_send_new = self.may_send_new_data();
        let Some(recovery) = self.recovery.as_mut().filter(|it| it.frto) else {
            return;
        };
        if news.original {
            self.undo();
            return;
        }
        if nxt > recovery.point {
            // Step 3.a: the loss was real.
            recovery.frto &= news.sacked == 0 && !news.duplicate_ack;
        } else if news.acked > 0 && una < recovery.point {
            recovery.new_first = can_send_new;
            recovery.frto = can_send_new;
        }
    }

    /// The stretch to send again next, if there is room in the congestion window for some of it.
    pub(super) fn next_retransmission(&self, room: u64) -> Option<(u64, u64)> {
        let recovery = self.recovery.as_ref().filter(|it| !it.new_first)?;
        let mss = u64::from(self.effective_mss());
        if !recovery.forced && room < mss {
            return None;
        }
        self.transit.as_ref()?.flight.first_lost()
    }
}
