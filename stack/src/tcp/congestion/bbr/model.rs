//! What BBR believes of the path: how fast it delivers, how long it is, how ACKs bunch, and how much it bears
//! (draft-ietf-ccwg-bbr §5.5). Short-term bounds come from the losses of the last rounds and are forgotten when the
//! path is probed; the long-term one is what probing found.

use std::time::Duration;

use super::super::Delivery;
use super::filter::TwoPeriodMax;
use crate::time::Instant;

/// Beta: what a round with losses leaves of a bound.
pub(super) const BETA: f64 = 0.7;
/// A rate that does not grow by so much in a round has not grown.
const GROWTH: f64 = 1.25;
/// Rounds without growth that make a plateau.
const PLATEAU_ROUNDS: u8 = 3;
/// Rounds for which the most bunched ACKs count (half of ExtraAckedFilterLen: two periods count).
const AGGREGATION_ROUNDS: u64 = 5;

#[derive(Clone, Debug)]
pub(super) struct Model {
    /// Delivered in all, in bytes.
    pub delivered: u64,
    /// This ACK begins a round trip.
    pub round_start: bool,
    /// BBR.round_count.
    pub rounds: u64,
    next_round_delivered: u64,

    max_bw: TwoPeriodMax,
    /// Bytes per second and bytes; `u64::MAX` while there is no bound.
    pub bw_shortterm: u64,
    pub inflight_shortterm: u64,
    pub inflight_longterm: u64,

    bw_latest: u64,
    pub inflight_latest: u64,
    pub loss_round_delivered: u64,
    pub loss_round_start: bool,
    /// BBR.is_loss_in_round.
    pub loss_in_round: bool,

    full_bw: u64,
    full_bw_count: u8,
    pub full_bw_now: bool,
    pub full_bw_reached: bool,

    pub min_rtt: Option<Duration>,

    extra_acked: TwoPeriodMax,
    aggregation_round: u64,
    aggregation_start: Instant,
    aggregation_delivered: u64,
}

impl Default for Model {
    fn default() -> Self {
        Self {
            delivered: 0,
            round_start: false,
            rounds: 0,
            next_round_delivered: 0,
            max_bw: TwoPeriodMax::default(),
            bw_shortterm: u64::MAX,
            inflight_shortterm: u64::MAX,
            inflight_longterm: u64::MAX,
            bw_latest: 0,
            inflight_latest: 0,
            loss_round_delivered: 0,
            loss_round_start: false,
            loss_in_round: false,
            full_bw: 0,
            full_bw_count: 0,
            full_bw_now: false,
            full_bw_reached: false,
            min_rtt: None,
            extra_acked: TwoPeriodMax::default(),
            aggregation_round: 0,
            aggregation_start: Instant::ZERO,
            aggregation_delivered: 0,
        }
    }
}

impl Model {
    /// BBR.bw, in bytes per second.
    pub(super) fn bw(&self) -> u64 {
        self.max_bw.get().min(self.bw_shortterm)
    }

    /// What the path holds at `gain` times the bandwidth; none before anything was measured.
    pub(super) fn bdp(&self, gain: f64) -> Option<u64> {
        let bw = self.bw();
        let min_rtt = self.min_rtt?;
        (bw > 0).then_some((bw as f64 * min_rtt.as_secs_f64() * gain) as u64)
    }

    pub(super) fn extra_acked(&self) -> u64 {
        self.extra_acked.get()
    }

    pub(super) fn start_round(&mut self) {
        self.next_round_delivered = self.delivered;
    }

    /// The first steps of UpdateModelAndState. `probes`: losses are part of looking for bandwidth.
    pub(super) fn on_delivery(&mut self, delivery: &Delivery, cwnd: u64, probes: bool) {
        self.delivered = delivery.total_delivered;
        self.round_start = false;
        self.loss_round_start = false;
        self.take_sample(delivery);
        if self.loss_round_start {
            if self.loss_in_round && !probes {
                self.lower_bounds(cwnd);
            }
            self.loss_in_round = false;
        }
        self.note_aggregation(delivery, cwnd);
        self.look_for_plateau(delivery);
    }

    /// UpdateLatestDeliverySignals, UpdateMaxBw.
    fn take_sample(&mut self, delivery: &Delivery) {
        let Some(sample) = &delivery.rate else {
            return;
        };
        let rate = sample.bytes_per_second();
        self.bw_latest = self.bw_latest.max(rate);
        self.inflight_latest = self.inflight_latest.max(sample.delivered);
        if sample.prior_delivered >= self.loss_round_delivered {
            self.loss_round_delivered = self.delivered;
            self.loss_round_start = true;
        }
        if sample.prior_delivered >= self.next_round_delivered {
            self.start_round();
            self.rounds += 1;
            self.round_start = true;
        }
        if rate >= self.max_bw.get() || !sample.app_limited {
            self.max_bw.update(rate);
        }
    }

    /// The last step (AdvanceLatestDeliverySignals).
    pub(super) fn finish(&mut self, delivery: &Delivery) {
        if let Some(sample) = &delivery.rate
            && self.loss_round_start
        {
            self.bw_latest = sample.bytes_per_second();
            self.inflight_latest = sample.delivered;
        }
    }

    /// InitLowerBounds, LossLowerBounds: towards what was delivered in the last round.
    fn lower_bounds(&mut self, cwnd: u64) {
        if self.bw_shortterm == u64::MAX {
            self.bw_shortterm = self.max_bw.get();
        }
        if self.inflight_shortterm == u64::MAX {
            self.inflight_shortterm = cwnd;
        }
        let reduced = |value: u64| (value as f64 * BETA) as u64;
        self.bw_shortterm = self.bw_latest.max(reduced(self.bw_shortterm));
        self.inflight_shortterm = self.inflight_latest.max(reduced(self.inflight_shortterm));
    }

    pub(super) fn reset_congestion_signals(&mut self) {
        self.loss_in_round = false;
        self.bw_latest = 0;
        self.inflight_latest = 0;
    }

    pub(super) fn reset_short_term(&mut self) {
        self.bw_shortterm = u64::MAX;
        self.inflight_shortterm = u64::MAX;
    }

    /// AdvanceMaxBwFilter.
    pub(super) fn advance_max_bw(&mut self) {
        self.max_bw.advance();
    }

    /// CheckFullBWReached: a rate that stopped growing is all there is.
    fn look_for_plateau(&mut self, delivery: &Delivery) {
        if self.full_bw_now || !self.round_start {
            return;
        }
        let Some(sample) = delivery.rate.filter(|it| !it.app_limited) else {
            return;
        };
        let rate = sample.bytes_per_second();
        if rate as f64 >= self.full_bw as f64 * GROWTH {
            self.begin_plateau(rate);
            return;
        }
        self.full_bw_count += 1;
        self.full_bw_now = self.full_bw_count >= PLATEAU_ROUNDS;
        self.full_bw_reached |= self.full_bw_now;
    }

    /// ResetFullBW: looks for growth from `rate` on.
    pub(super) fn begin_plateau(&mut self, rate: u64) {
        self.full_bw = rate;
        self.full_bw_count = 0;
        self.full_bw_now = false;
    }

    /// UpdateACKAggregation: how much more arrives at once than the rate explains.
    fn note_aggregation(&mut self, delivery: &Delivery, cwnd: u64) {
        let interval = delivery.now.since(self.aggregation_start);
        let mut expected = (self.bw() as f64 * interval.as_secs_f64()) as u64;
        if self.aggregation_delivered <= expected {
            self.restart_aggregation(delivery.now);
            expected = 0;
        }
        self.aggregation_delivered += delivery.delivered;
        let extra = self.aggregation_delivered.saturating_sub(expected);
        let lasts = if self.full_bw_reached {
            AGGREGATION_ROUNDS
        } else {
            1
        };
        if self.round_start && self.rounds >= self.aggregation_round + lasts {
            self.aggregation_round = self.rounds;
            self.extra_acked.advance();
        }
        self.extra_acked.update(extra.min(cwnd));
    }

    pub(super) fn restart_aggregation(&mut self, now: Instant) {
        self.aggregation_delivered = 0;
        self.aggregation_start = now;
    }
}
