//! What losses and marks teach BBR (draft-ietf-ccwg-bbr §5.5.10), and taking that back when they were none (§5.5.11).
//!
//! While the path is probed, more than 2% lost of what was in flight bounds what may be in flight from now on; at
//! other times a round with losses lowers the short-term bounds (`model`).

use super::super::{Delivery, LostPiece};
use super::model::BETA;
use super::{Bbr, State};
use crate::time::Instant;

/// LossThresh.
const TOLERATED: f64 = 0.02;
/// StartupFullLossCnt: stretches lost in one round that end Startup.
const STARTUP_LOSSES: u32 = 6;

/// What was before the losses of the present round.
#[derive(Clone, Copy, Debug)]
pub(super) struct Undo {
    /// The state that was left for them.
    left: Option<State>,
    bw_shortterm: u64,
    inflight_shortterm: u64,
    inflight_longterm: u64,
    /// Separate stretches lost in this round, and where the last one ends.
    stretches: u32,
    lost_to: u64,
}

impl Default for Undo {
    fn default() -> Self {
        Self {
            left: None,
            bw_shortterm: u64::MAX,
            inflight_shortterm: u64::MAX,
            inflight_longterm: u64::MAX,
            stretches: 0,
            lost_to: 0,
        }
    }
}

impl Bbr {
    /// IsInflightTooHigh.
    pub(super) fn is_too_high(lost: u64, tx_in_flight: u64, delivery: &Delivery) -> bool {
        too_high(lost, tx_in_flight, delivery.selective)
    }

    /// NoteLoss.
    pub(super) fn note_loss(&mut self, total_delivered: u64) {
        if self.detail.model.loss_in_round {
            return;
        }
        self.save_cwnd();
        let detail = &mut *self.detail;
        detail.model.loss_round_delivered = total_delivered;
        detail.model.loss_in_round = true;
        // SaveStateUponLoss.
        detail.undo.left = None;
        detail.undo.bw_shortterm = detail.model.bw_shortterm;
        detail.undo.inflight_shortterm = detail.model.inflight_shortterm;
        detail.undo.inflight_longterm = detail.model.inflight_longterm;
    }

    /// HandleLostPacket.
    pub(super) fn take_loss(&mut self, lost: &LostPiece) {
        self.note_loss(lost.total_delivered);
        let detail = &mut *self.detail;
        detail.undo.stretches += u32::from(lost.start != detail.undo.lost_to);
        detail.undo.lost_to = lost.end;
        if detail.cycle.samples && too_high(lost.lost, lost.tx_in_flight, lost.selective) {
            self.bound_in_flight(lost.now, inflight_at_loss(lost), lost.app_limited);
        }
    }

    /// An echo of a mark: as a loss, and as too much in flight while the path is probed.
    pub(super) fn take_mark(&mut self, now: Instant, in_flight: u64) {
        self.note_loss(self.detail.model.delivered);
        match self.detail.state {
            State::Startup => self.leave_startup(),
            _ if self.detail.cycle.samples => self.bound_in_flight(now, in_flight, false),
            _ => {}
        }
    }

    /// HandleInflightTooHigh.
    fn bound_in_flight(&mut self, now: Instant, in_flight: u64, app_limited: bool) {
        let target = (self.target_inflight() as f64 * BETA) as u64;
        let detail = &mut *self.detail;
        detail.cycle.too_high = true;
        detail.cycle.samples = false;
        if !app_limited {
            detail.model.inflight_longterm = in_flight.max(target);
        }
        if detail.state == State::Up {
            detail.undo.left = Some(State::Up);
            self.start_down(now);
        }
    }

    /// CheckStartupHighLoss, at the end of a round with losses.
    pub(super) fn check_startup_losses(&mut self, delivery: &Delivery) {
        let detail = &mut *self.detail;
        if !detail.model.loss_round_start {
            return;
        }
        let stretches = std::mem::take(&mut detail.undo.stretches);
        let many = stretches >= STARTUP_LOSSES || (stretches > 0 && !delivery.selective);
        let too_high = delivery
            .rate
            .is_some_and(|it| Self::is_too_high(it.lost, it.tx_in_flight, delivery));
        if detail.recovering && many && too_high {
            self.leave_startup();
        }
    }

    fn leave_startup(&mut self) {
        let bdp = self.bdp(1.0);
        let detail = &mut *self.detail;
        detail.undo.left = Some(State::Startup);
        detail.model.full_bw_reached = true;
        detail.model.inflight_longterm = bdp.max(detail.model.inflight_latest);
    }

    /// HandleSpuriousLossDetection.
    pub(super) fn take_loss_back(&mut self) {
        self.detail.recovering = false;
        self.restore_cwnd();
        let detail = &mut *self.detail;
        let (model, undo) = (&mut detail.model, &mut detail.undo);
        model.loss_in_round = false;
        model.begin_plateau(0);
        model.bw_shortterm = model.bw_shortterm.max(undo.bw_shortterm);
        model.inflight_shortterm = model.inflight_shortterm.max(undo.inflight_shortterm);
        model.inflight_longterm = model.inflight_longterm.max(undo.inflight_longterm);
        let (left, state) = (undo.left.take(), detail.state);
        let elsewhere = state != State::ProbeRtt;
        match left {
            Some(State::Startup) if state != State::Startup => {
                model.full_bw_reached = false;
                if elsewhere {
                    detail.state = State::Startup;
                }
            }
            Some(State::Up) if state != State::Up && elsewhere => self.start_refill(),
            _ => {}
        }
    }
}

fn too_high(lost: u64, tx_in_flight: u64, selective: bool) -> bool {
    lost as f64 > tx_in_flight as f64 * TOLERATED || (lost > 0 && !selective)
}

/// InflightAtLoss: what was in flight when losses became too many, perhaps in the middle of this piece.
fn inflight_at_loss(lost: &LostPiece) -> u64 {
    let size = lost.end - lost.start;
    let before = lost.tx_in_flight.saturating_sub(size) as f64;
    let lost_before = lost.lost.saturating_sub(size) as f64;
    let within = (TOLERATED * before - lost_before) / (1.0 - TOLERATED);
    (before + within.max(0.0)) as u64
}
