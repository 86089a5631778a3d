//! Loss detection and recovery (RFC 6675 with SACK, RFC 6582 without, RFC 3042 limited transmit,
//! RFC 5681 §3.2; RFC 3522 and RFC 3708 for retransmissions that turn out to have been unnecessary).
//!
//! One detail box exists from the first sign of disorder (a duplicate ACK or a SACK block) until
//! everything is in order again. `snd.nxt` never moves back; `high_rxt` walks over what is to be sent
//! again. Without SACK a duplicate ACK counts as one SACKed segment somewhere above `snd.una`, so that
//! one rule, `in_flight < cwnd`, governs all sending, limited transmit included.
//!
//! Left out: RACK-TLP, PRR. A retransmission that is lost again waits for the time-out.

use super::Segment;
use super::congestion::CongestionControl;
use super::scoreboard::Scoreboard;
use super::tcb::Tcb;
use crate::time::Instant;

/// Duplicate ACKs that make a segment lost (RFC 5681 §3.2).
const DUP_THRESH: u32 = 3;

/// What is being done about missing segments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Something is missing; it may only be late.
    Disorder,
    /// Fast retransmit and fast recovery.
    Fast,
    /// After a time-out: everything sent before it counts as lost.
    Timeout,
    /// The path takes only smaller segments than were sent: everything is sent again, and the
    /// congestion window stays as it is (RFC 1191 §6.5).
    Resegment,
}

/// Detail of an episode of disorder or loss.
#[derive(Clone, Debug)]
pub(super) struct Recovery {
    /// What is being done.
    pub phase: Phase,
    /// `snd.nxt` when the phase began: once that is acknowledged it is over.
    pub point: u64,
    /// Everything below was sent again in this phase, or need not be.
    pub high_rxt: u64,
    /// Consecutive duplicate ACKs (without SACK: segments that must have arrived).
    pub duplicates: u32,
    /// What is SACKed.
    pub scoreboard: Scoreboard,
    /// One retransmission leaves whatever the congestion window says.
    pub forced: bool,
    /// The rescue retransmission of RFC 6675 §4 (4) was used.
    pub rescued: bool,
    /// TSval of the first retransmission.
    pub first_value: Option<u32>,
    /// Segments sent again in this phase that the peer has not reported as duplicates.
    pub useful: u32,
    /// End of a segment that was sent so small that it fits every path, after larger ones had vanished.
    pub small_end: u64,
    /// It arrived, and nothing larger since.
    pub small_passed: bool,
}

impl Recovery {
    fn new(una: u64) -> Self {
        Self {
            phase: Phase::Disorder,
            point: una,
            high_rxt: una,
            duplicates: 0,
            scoreboard: Scoreboard::new(),
            forced: false,
            rescued: false,
            first_value: None,
            useful: 0,
            small_end: 0,
            small_passed: false,
        }
    }

    fn begin(&mut self, phase: Phase, una: u64, nxt: u64) {
        self.phase = phase;
        self.point = nxt;
        self.high_rxt = una;
        self.forced = true;
        self.rescued = false;
        self.first_value = None;
        self.useful = 0;
    }

    /// Bytes in `from..to` that are not SACKed.
    fn unsacked(&self, from: u64, to: u64) -> u64 {
        let sacked: u64 = self
            .scoreboard
            .ranges()
            .iter()
            .map(|&(start, end)| end.min(to).saturating_sub(start.max(from)))
            .sum();
        to.saturating_sub(from) - sacked
    }
}

impl Tcb {
    /// Bytes thought to be in the network (SetPipe of RFC 6675 §4).
    pub(super) fn in_flight(&self) -> u64 {
        let (una, nxt) = (self.snd.una, self.snd.nxt);
        let Some(recovery) = &self.recovery else {
            return nxt - una;
        };
        let mss = u64::from(self.effective_mss());
        match recovery.phase {
            Phase::Timeout | Phase::Resegment => {
                let high_rxt = recovery.high_rxt.max(una);
                let point = recovery.point.max(una);
                recovery.unsacked(una, high_rxt) + recovery.unsacked(point.max(high_rxt), nxt)
            }
            Phase::Disorder | Phase::Fast if self.snd.sack => {
                let high_rxt = if recovery.phase == Phase::Fast {
                    recovery.high_rxt
                } else {
                    una
                };
                recovery
                    .scoreboard
                    .pipe(una, nxt, high_rxt, usize::from(self.effective_mss()))
            }
            Phase::Disorder | Phase::Fast => {
                let lost = recovery.phase == Phase::Fast && recovery.high_rxt <= una;
                let gone = u64::from(recovery.duplicates) * mss + u64::from(lost) * mss;
                (nxt - una).saturating_sub(gone)
            }
        }
    }

    /// False while the congestion window is not to grow: in fast recovery.
    pub(super) fn may_grow(&self) -> bool {
        self.recovery
            .as_ref()
            .is_none_or(|recovery| recovery.phase != Phase::Fast)
    }

    /// Takes the SACK blocks of a segment; bytes that are news.
    pub(super) fn take_sack(&mut self, segment: &Segment, ack: u64) -> u64 {
        if !self.snd.sack || (segment.options.sack.is_empty() && self.recovery.is_none()) {
            return 0;
        }
        self.take_duplicate_report(segment, ack);
        let una = ack.max(self.snd.una);
        let mut blocks = arrayvec::ArrayVec::<(u64, u64), 4>::new();
        for &(left, right) in &segment.options.sack {
            let (Some(left), Some(right)) = (self.our_position(left), self.our_position(right))
            else {
                continue;
            };
            // Not above una: a DSACK (RFC 2883), or old. Beyond nxt: nonsense.
            if left < right && right > una && left >= una && right <= self.snd.nxt {
                blocks.push((left, right));
            }
        }
        if blocks.is_empty() && self.recovery.is_none() {
            return 0;
        }
        let recovery = self
            .recovery
            .get_or_insert_with(|| Box::new(Recovery::new(self.snd.una)));
        recovery.scoreboard.update(una, &blocks)
    }

    /// A first block below the ACK reports what arrived twice (RFC 2883 §4). When everything that was
    /// sent again did, there was no loss (RFC 3708 §3).
    fn take_duplicate_report(&mut self, segment: &Segment, ack: u64) {
        let Some(&(left, right)) = segment.options.sack.first() else {
            return;
        };
        let (left, right) = (self.our_position(left), self.our_position(right));
        let (Some(left), Some(right), Some(recovery)) = (left, right, &mut self.recovery) else {
            return;
        };
        let undoable = matches!(recovery.phase, Phase::Fast | Phase::Timeout);
        if left >= right || right > ack || !undoable || recovery.useful == 0 {
            return;
        }
        let segments = (right - left).div_ceil(u64::from(self.snd.mss));
        recovery.useful = recovery.useful.saturating_sub(segments as u32);
        if recovery.useful == 0 {
            self.congestion.on_undo();
            self.leave_recovery();
        }
    }

    /// `snd.una` advanced by `acked` during an episode.
    pub(super) fn recovery_on_new_ack(&mut self, now: Instant, segment: &Segment, acked: u64) {
        if self.was_unnecessary(segment) {
            self.congestion.on_undo();
            self.leave_recovery();
        }
        let (una, sack) = (self.snd.una, self.snd.sack);
        let mss = u64::from(self.effective_mss());
        let Some(recovery) = &mut self.recovery else {
            return;
        };
        recovery.high_rxt = recovery.high_rxt.max(una);
        recovery.small_passed = una == recovery.small_end;
        if sack {
            recovery.duplicates = 0;
        } else {
            // One of the segments acknowledged was the missing one, the others had been counted.
            let others = (acked.div_ceil(mss)).saturating_sub(1) as u32;
            recovery.duplicates = recovery.duplicates.saturating_sub(others);
        }
        let over = una >= recovery.point;
        match recovery.phase {
            Phase::Disorder => {
                if sack {
                    self.detect_loss(now);
                } else if let Some(recovery) = &mut self.recovery {
                    recovery.duplicates = 0;
                }
            }
            Phase::Fast if over => {
                self.congestion.on_recovered(now);
                self.leave_recovery();
                self.detect_loss(now);
            }
            Phase::Fast if !sack => {
                // A partial ACK: the next segment is missing too (RFC 6582 §3.2 step 3).
                recovery.high_rxt = una;
                recovery.forced = true;
            }
            Phase::Timeout | Phase::Resegment if over => self.leave_recovery(),
            Phase::Fast | Phase::Timeout | Phase::Resegment => {}
        }
        self.drop_recovery_if_done();
    }

    /// An ACK that acknowledges nothing new. `pure`: without data and without a new window.
    pub(super) fn duplicate_ack(&mut self, now: Instant, segment: &Segment, pure: bool, news: u64) {
        if self.snd.una == self.snd.nxt {
            return;
        }
        let counts = if self.snd.sack {
            news > 0
        } else {
            pure && segment.payload.is_empty()
        };
        if !counts {
            self.drop_recovery_if_done();
            return;
        }
        let outstanding = (self.snd.nxt - self.snd.una).div_ceil(u64::from(self.effective_mss()));
        let recovery = self
            .recovery
            .get_or_insert_with(|| Box::new(Recovery::new(self.snd.una)));
        if recovery.duplicates < outstanding as u32 {
            recovery.duplicates += 1;
        }
        self.detect_loss(now);
    }

    /// Enters fast recovery when the missing segment counts as lost (RFC 6675 §5 step 4).
    fn detect_loss(&mut self, now: Instant) {
        let mss = usize::from(self.effective_mss());
        let Some(recovery) = &self.recovery else {
            return;
        };
        if recovery.phase != Phase::Disorder {
            return;
        }
        let lost = recovery.duplicates >= DUP_THRESH
            || (self.snd.sack && recovery.scoreboard.is_lost(self.snd.una, mss));
        // After a time-out or recovery: duplicates of what was sent before its end prove nothing
        // (RFC 6582 §3.2 step 1; with SACK the blocks speak for themselves).
        if !lost || (!self.snd.sack && self.snd.una < recovery.point) {
            return;
        }
        let (una, nxt) = (self.snd.una, self.snd.nxt);
        self.congestion.on_loss(now, (nxt - una) as usize);
        if let Some(recovery) = &mut self.recovery {
            recovery.begin(Phase::Fast, una, nxt);
        }
    }

    /// Everything outstanding counts as lost (RFC 6298 §5.4 to §5.6, RFC 5681 §3.1).
    pub(super) fn recover_from_timeout(&mut self, now: Instant) {
        let flight_size = (self.snd.nxt - self.snd.una) as usize;
        self.congestion.on_timeout(now, flight_size);
        self.begin_anew(Phase::Timeout, self.statistics.retries > 1);
    }

    /// The effective MSS shrank below what is in flight.
    pub(super) fn resegment(&mut self) {
        if self.snd.nxt > self.snd.una.max(1) {
            self.begin_anew(Phase::Resegment, false);
        }
    }

    fn begin_anew(&mut self, phase: Phase, again: bool) {
        let (una, nxt) = (self.snd.una, self.snd.nxt);
        let recovery = self
            .recovery
            .get_or_insert_with(|| Box::new(Recovery::new(una)));
        let first_value = recovery.first_value.filter(|_| again);
        recovery.begin(phase, una, nxt);
        recovery.first_value = first_value;
        recovery.duplicates = 0;
        // The receiver has reneged if it SACKed what it should have acknowledged (RFC 2018 §8); after
        // two time-outs in a row nothing that it said is relied upon.
        if recovery.scoreboard.is_sacked(una) || again {
            recovery.scoreboard.clear();
        }
        self.snd.timed = super::tcb::NEVER;
    }

    /// Eifel detection (RFC 3522): the ACK echoes a timestamp older than the first retransmission, so
    /// it was the original that arrived.
    fn was_unnecessary(&self, segment: &Segment) -> bool {
        let Some(recovery) = &self.recovery else {
            return false;
        };
        let undoable = matches!(recovery.phase, Phase::Fast | Phase::Timeout);
        match (recovery.first_value, segment.options.timestamps) {
            (Some(first), Some((_, echo))) if undoable && self.timestamps.on => {
                (echo.wrapping_sub(first) as i32) < 0
            }
            _ => false,
        }
    }

    /// Back to order; what is still SACKed above is remembered.
    fn leave_recovery(&mut self) {
        if let Some(recovery) = &mut self.recovery {
            recovery.phase = Phase::Disorder;
            recovery.forced = false;
            recovery.first_value = None;
            recovery.duplicates = 0;
        }
        self.drop_recovery_if_done();
    }

    fn drop_recovery_if_done(&mut self) {
        if self.recovery.as_ref().is_some_and(|recovery| {
            recovery.phase == Phase::Disorder
                && recovery.duplicates == 0
                && recovery.scoreboard.is_empty()
                && (self.snd.sack || self.snd.una >= recovery.point)
        }) {
            self.recovery = None;
        }
    }

    /// The stretch to send again next, at most `room` bytes of it (RFC 6675 §4, NextSeg rules 1, 3, 4).
    pub(super) fn next_retransmission(&self, room: u64) -> Option<(u64, u64)> {
        let recovery = self.recovery.as_ref()?;
        let (una, nxt) = (self.snd.una, self.snd.nxt);
        let mss = u64::from(self.effective_mss());
        if !recovery.forced && room < mss {
            return None;
        }
        let from = recovery.high_rxt.max(una);
        let hole = match recovery.phase {
            Phase::Disorder => None,
            Phase::Timeout | Phase::Resegment => {
                let hole = recovery
                    .scoreboard
                    .next_hole(una, from)
                    .unwrap_or((from.max(recovery.scoreboard.highest().unwrap_or(0)), nxt));
                Some((hole.0, hole.1.min(recovery.point)))
            }
            Phase::Fast if self.snd.sack => self.next_sack_hole(recovery, from),
            Phase::Fast => (recovery.high_rxt <= una).then_some((una, una + mss)),
        };
        let (start, end) = hole?;
        let end = end.min(nxt).min(start + room.max(mss));
        (start < end).then_some((start, end))
    }

    fn next_sack_hole(&self, recovery: &Recovery, from: u64) -> Option<(u64, u64)> {
        let (una, nxt) = (self.snd.una, self.snd.nxt);
        let mss = usize::from(self.effective_mss());
        if let Some((start, end)) = recovery.scoreboard.next_lost(una, from, mss) {
            return Some((start, end.min(recovery.point)));
        }
        if recovery.forced && recovery.scoreboard.is_empty() {
            // Duplicate ACKs without blocks, from a peer that permitted SACK and does not use it.
            return Some((una, una + mss as u64));
        }
        if self.may_send_new_data() {
            return None;
        }
        recovery
            .scoreboard
            .next_hole(una, from)
            .filter(|hole| hole.0 < recovery.point)
            .or_else(|| {
                let rescue = recovery.scoreboard.last_unsacked(una, nxt, mss)?;
                // One per episode, of what was not sent again in it anyway.
                let useful = rescue.1 <= recovery.point && rescue.0 >= recovery.high_rxt;
                (useful && !recovery.rescued).then_some(rescue)
            })
    }
}
