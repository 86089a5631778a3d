//! ProbeBW (draft-ietf-ccwg-bbr §5.3.3): give a little way, cruise, refill the pipe, probe for more; and again.

use std::time::Duration;

use super::super::Delivery;
use super::model::Model;
use super::{Bbr, State};
use crate::time::Instant;

/// Cruising ends after so long, and up to a second more.
const WAIT: Duration = Duration::from_secs(2);
const MORE_WAIT_MS: u64 = 1000;
/// Round trips after which it ends, at most; fewer on short paths, where Reno would have come back earlier.
const MOST_ROUNDS: u64 = 63;
/// Rounds for which the bound on what is in flight grows twice as fast each, at most.
const MOST_DOUBLINGS: u32 = 30;

/// What the ACKs that come now tell of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Acks {
    #[default]
    Init,
    Refilling,
    Starting,
    Feedback,
    Stopping,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Cycle {
    began: Instant,
    /// BBR.bw_probe_wait.
    wait: Duration,
    pub acks: Acks,
    /// Since when rounds without probing are counted.
    round: u64,
    up_rounds: u32,
    up_acked: u64,
    /// Bytes to be acknowledged for each segment by which the bound grows.
    acked_per_segment: u64,
    /// BBR.is_bw_probe_sample: what is measured now comes from probing.
    pub samples: bool,
    /// BBR.prev_probe_too_high, BBR.prev_probe_precautionary.
    pub too_high: bool,
    precautionary: bool,
}

impl Bbr {
    /// StartProbeBW_DOWN.
    pub(super) fn start_down(&mut self, now: Instant) {
        let detail = &mut *self.detail;
        detail.model.reset_congestion_signals();
        // PickProbeWait. That it differs from flow to flow and from time to time is all that is needed.
        let draw = (now.as_nanos() ^ detail.model.delivered).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let head_start = (draw >> 63).min(detail.model.rounds);
        detail.cycle.round = detail.model.rounds - head_start;
        detail.cycle.wait = WAIT + Duration::from_millis((draw >> 32) % MORE_WAIT_MS);
        detail.cycle.began = now;
        detail.cycle.acks = Acks::Stopping;
        detail.model.start_round();
        detail.state = State::Down;
    }

    /// StartProbeBW_CRUISE.
    pub(super) fn start_cruise(&mut self) {
        self.detail.state = State::Cruise;
    }

    /// StartProbeBW_REFILL.
    pub(super) fn start_refill(&mut self) {
        let detail = &mut *self.detail;
        detail.model.reset_short_term();
        detail.cycle.up_rounds = 0;
        detail.cycle.up_acked = 0;
        detail.cycle.precautionary = false;
        detail.cycle.acks = Acks::Refilling;
        detail.model.start_round();
        detail.state = State::Refill;
    }

    /// StartProbeBW_UP.
    fn start_up(&mut self, delivery: &Delivery) {
        let detail = &mut *self.detail;
        detail.cycle.acks = Acks::Starting;
        detail.model.start_round();
        detail.model.begin_plateau(rate(delivery));
        detail.state = State::Up;
        self.steepen();
    }

    /// RaiseInflightLongtermSlope.
    fn steepen(&mut self) {
        let (cwnd, mss) = (self.cwnd(), self.mss());
        let cycle = &mut self.detail.cycle;
        cycle.acked_per_segment = (cwnd >> cycle.up_rounds).max(mss);
        cycle.up_rounds = (cycle.up_rounds + 1).min(MOST_DOUBLINGS);
    }

    /// UpdateProbeBWCyclePhase.
    pub(super) fn update_cycle(&mut self, delivery: &Delivery) {
        if !self.detail.model.full_bw_reached || self.adapt_long_term(delivery) {
            return;
        }
        let state = self.detail.state;
        match state {
            State::Down if !self.refill_if_time(delivery) && self.may_cruise(delivery) => {
                self.start_cruise();
            }
            State::Cruise => {
                self.refill_if_time(delivery);
            }
            State::Refill if self.detail.model.round_start => {
                self.detail.cycle.samples = true;
                self.start_up(delivery);
            }
            State::Up if self.has_probed_enough(delivery) => {
                self.detail.cycle.too_high = false;
                self.start_down(delivery.now);
            }
            _ => {}
        }
    }

    /// IsTimeToCruise.
    fn may_cruise(&self, delivery: &Delivery) -> bool {
        delivery.in_flight <= self.inflight_with_headroom()
            && delivery.in_flight <= self.inflight(1.0)
    }

    /// IsTimeToProbeBW.
    fn refill_if_time(&mut self, delivery: &Delivery) -> bool {
        let cycle = &self.detail.cycle;
        let elapsed = delivery.now > cycle.began + cycle.wait;
        let rounds = (self.target_inflight() / self.mss()).min(MOST_ROUNDS);
        let like_reno = self.detail.model.rounds - cycle.round >= rounds;
        if elapsed || like_reno {
            self.start_refill();
        }
        elapsed || like_reno
    }

    /// IsTimeToGoDown.
    fn has_probed_enough(&mut self, delivery: &Delivery) -> bool {
        let cwnd = self.cwnd();
        let detail = &mut *self.detail;
        let bound = detail.model.inflight_longterm;
        if detail.cycle.too_high && delivery.in_flight >= bound {
            // The last probe lost too much here: look at what comes of this one before going on.
            detail.cycle.precautionary = true;
            return true;
        }
        if delivery.cwnd_limited && cwnd >= bound {
            detail.model.begin_plateau(rate(delivery));
            return false;
        }
        detail.model.full_bw_now
    }

    /// AdaptLongTermModel; true if that decided where to go.
    fn adapt_long_term(&mut self, delivery: &Delivery) -> bool {
        let app_limited = delivery.rate.is_none_or(|it| it.app_limited);
        let detail = &mut *self.detail;
        let cycles = detail.state.cycles();
        if detail.model.round_start {
            match detail.cycle.acks {
                Acks::Starting => detail.cycle.acks = Acks::Feedback,
                Acks::Stopping => {
                    detail.cycle.samples = false;
                    detail.cycle.acks = Acks::Init;
                    if cycles && !app_limited {
                        detail.model.advance_max_bw();
                    }
                    if cycles && detail.cycle.precautionary && !detail.cycle.too_high {
                        self.start_refill();
                        return true;
                    }
                }
                _ => {}
            }
        }
        self.raise_long_term(delivery);
        false
    }

    /// What was in flight without too much of it being lost may be in flight.
    fn raise_long_term(&mut self, delivery: &Delivery) {
        let detail = &mut *self.detail;
        let Some(sample) = &delivery.rate else {
            return;
        };
        let bound = detail.model.inflight_longterm;
        if bound == u64::MAX || Self::is_too_high(sample.lost, sample.tx_in_flight, delivery) {
            return;
        }
        detail.model.inflight_longterm = bound.max(sample.tx_in_flight);
        if detail.state == State::Up {
            self.probe_upward(delivery);
        }
    }

    /// ProbeInflightLongtermUpward: by one segment in the first round, then by twice as many in each.
    fn probe_upward(&mut self, delivery: &Delivery) {
        let (cwnd, mss) = (self.cwnd(), self.mss());
        let Model {
            inflight_longterm,
            round_start,
            ..
        } = &mut self.detail.model;
        if !delivery.cwnd_limited || cwnd < *inflight_longterm {
            return;
        }
        let cycle = &mut self.detail.cycle;
        cycle.up_acked += delivery.delivered;
        let segments = cycle.up_acked / cycle.acked_per_segment.max(1);
        cycle.up_acked %= cycle.acked_per_segment.max(1);
        *inflight_longterm += segments * mss;
        if *round_start {
            self.steepen();
        }
    }
}

fn rate(delivery: &Delivery) -> u64 {
    delivery.rate.map_or(0, |it| it.bytes_per_second())
}
