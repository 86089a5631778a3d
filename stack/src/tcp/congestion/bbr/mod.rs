//! BBR, version 3 (draft-ietf-ccwg-bbr): sends at the rate at which the path delivers, with about what the path holds
//! in flight, and probes now and then for more of the one and less of the other.
//!
//! | file | what | section |
//! |---|---|---|
//! | `model` | what is believed of the path: rate, round trip, aggregation, plateaus | 5.5 |
//! | `cycle` | ProbeBW: giving way, cruising, refilling, probing | 5.3.3 |
//! | `probe_rtt` | emptying the queue to see the shortest round trip | 5.3.4 |
//! | `loss` | what losses and marks teach, and taking that back | 5.5.10, 5.5.11 |
//! | here | Startup, Drain, and what follows for rate and window | 5.3.1, 5.3.2, 5.6 |
//!
//! Needs pacing, and hears of every delivery and every loss. The draft names no response to ECN beyond that there
//! has to be one: an echo counts as a loss, and as too much in flight while the path is probed. The state is
//! allocated for as long as the connection lives. Left out: the budget for what the peer's host holds back.

mod cycle;
mod filter;
mod loss;
mod model;
mod probe_rtt;

use std::time::Duration;

use self::cycle::Cycle;
use self::loss::Undo;
use self::model::Model;
use self::probe_rtt::ProbeRtt;
use super::super::pacing::quantum;
use super::window::{MAX_WINDOW, Window};
use super::{AckEvent, CongestionControl, Delivery, LostPiece, Timeout};
use crate::time::Instant;

/// StartupPacingGain: 4 ln 2, which doubles the rate in every round.
const STARTUP_PACING_GAIN: f64 = 2.77;
const DRAIN_PACING_GAIN: f64 = 0.5;
/// Rounds after which Drain is over, empty or not.
const DRAIN_ROUNDS: u64 = 3;
const CWND_GAIN: f64 = 2.0;
const PROBE_UP_CWND_GAIN: f64 = 2.25;
const PROBE_RTT_CWND_GAIN: f64 = 0.5;
/// PacingMarginPercent.
const PACING_MARGIN: f64 = 0.99;
/// MinPipeCwnd, in segments.
const MIN_PIPE_SEGMENTS: u64 = 4;
/// Headroom: the part of what the path bears that is left to others.
const HEADROOM: f64 = 0.15;
/// The round trip, before one is measured.
const NOMINAL_RTT: Duration = Duration::from_millis(1);
/// Quanta that may be in flight, whatever the path holds: waiting at the sender, being cut, being merged.
const QUANTA_IN_FLIGHT: u64 = 3;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Startup,
    Drain,
    Down,
    Cruise,
    Refill,
    Up,
    ProbeRtt,
}

impl State {
    /// IsInAProbeBWState.
    const fn cycles(self) -> bool {
        matches!(self, Self::Down | Self::Cruise | Self::Refill | Self::Up)
    }

    /// IsProbingBW: losses are part of looking for more.
    const fn probes(self) -> bool {
        matches!(self, Self::Startup | Self::Refill | Self::Up)
    }

    const fn pacing_gain(self) -> f64 {
        match self {
            Self::Startup => STARTUP_PACING_GAIN,
            Self::Drain => DRAIN_PACING_GAIN,
            Self::Down => 0.9,
            Self::Up => 1.25,
            Self::Cruise | Self::Refill | Self::ProbeRtt => 1.0,
        }
    }

    const fn cwnd_gain(self) -> f64 {
        match self {
            Self::Up => PROBE_UP_CWND_GAIN,
            Self::ProbeRtt => PROBE_RTT_CWND_GAIN,
            _ => CWND_GAIN,
        }
    }
}

/// The state of BBR.
#[derive(Clone, Debug)]
pub struct Bbr {
    window: Window,
    detail: Box<Detail>,
}

#[derive(Clone, Debug)]
struct Detail {
    state: State,
    model: Model,
    cycle: Cycle,
    probe_rtt: ProbeRtt,
    undo: Undo,
    /// Bytes per second; 0 before the first ACK.
    pacing_rate: u64,
    /// The last window that neither a recovery nor ProbeRTT had made smaller.
    prior_cwnd: u64,
    /// Losses are being repaired.
    recovering: bool,
    /// Sending began again, and nothing has arrived since.
    idle_restart: bool,
    /// The round in which Drain began.
    drain_round: u64,
}

impl Bbr {
    pub(super) fn new(window: Window) -> Self {
        Self {
            window,
            detail: Box::new(Detail {
                state: State::Startup,
                model: Model::default(),
                cycle: Cycle::default(),
                probe_rtt: ProbeRtt::default(),
                undo: Undo::default(),
                pacing_rate: 0,
                prior_cwnd: 0,
                recovering: false,
                idle_restart: false,
                drain_round: 0,
            }),
        }
    }

    fn cwnd(&self) -> u64 {
        u64::from(self.window.cwnd)
    }

    fn mss(&self) -> u64 {
        u64::from(self.window.mss())
    }

    fn min_pipe(&self) -> u64 {
        MIN_PIPE_SEGMENTS * self.mss()
    }

    /// BDPMultiple: what the path holds, `gain` times.
    fn bdp(&self, gain: f64) -> u64 {
        let bdp = self.detail.model.bdp(gain);
        bdp.unwrap_or(u64::from(self.window.initial))
    }

    /// QuantizationBudget: enough for devices that cut and merge, and for receivers that answer every other segment.
    fn quantized(&self, bytes: u64) -> u64 {
        let quanta = QUANTA_IN_FLIGHT * quantum(self.detail.pacing_rate, self.mss());
        let bytes = bytes.max(quanta).max(self.min_pipe());
        if self.detail.state == State::Up {
            bytes + 2 * self.mss()
        } else {
            bytes
        }
    }

    /// Inflight.
    fn inflight(&self, gain: f64) -> u64 {
        self.quantized(self.bdp(gain))
    }

    /// TargetInflight.
    fn target_inflight(&self) -> u64 {
        self.bdp(1.0).min(self.cwnd())
    }

    /// InflightWithHeadroom.
    fn inflight_with_headroom(&self) -> u64 {
        let bound = self.detail.model.inflight_longterm;
        if bound == u64::MAX {
            return bound;
        }
        let headroom = ((bound as f64 * HEADROOM) as u64).max(self.mss());
        bound.saturating_sub(headroom).max(self.min_pipe())
    }

    fn save_cwnd(&mut self) {
        let cwnd = self.cwnd();
        let detail = &mut *self.detail;
        detail.prior_cwnd = if detail.recovering || detail.state == State::ProbeRtt {
            detail.prior_cwnd.max(cwnd)
        } else {
            cwnd
        };
    }

    fn restore_cwnd(&mut self) {
        self.set_window(self.cwnd().max(self.detail.prior_cwnd));
    }

    fn set_window(&mut self, bytes: u64) {
        let bytes = bytes.clamp(self.mss(), u64::from(MAX_WINDOW));
        self.window.cwnd = bytes as u32;
    }

    /// CheckStartupDone.
    fn check_startup(&mut self, delivery: &Delivery) {
        if self.detail.state != State::Startup {
            return;
        }
        self.check_startup_losses(delivery);
        let detail = &mut *self.detail;
        if detail.model.full_bw_reached {
            detail.state = State::Drain;
            detail.drain_round = detail.model.rounds;
        }
    }

    /// CheckDrainDone.
    fn check_drain(&mut self, delivery: &Delivery) {
        let detail = &*self.detail;
        let long = detail.model.rounds > detail.drain_round + DRAIN_ROUNDS;
        let empty = delivery.in_flight <= self.inflight(1.0);
        if self.detail.state == State::Drain && (empty || long) {
            self.start_down(delivery.now);
        }
    }

    /// SetPacingRateWithGain.
    fn set_pacing_rate(&mut self, gain: f64, rtt: Option<Duration>) {
        let initial = f64::from(self.window.initial);
        let detail = &mut *self.detail;
        let bw = match detail.model.bw() {
            0 => initial / rtt.unwrap_or(NOMINAL_RTT).as_secs_f64().max(1e-6),
            bw => bw as f64 * PACING_MARGIN,
        };
        let rate = ((bw * gain) as u64).max(1);
        if detail.model.full_bw_reached || rate > detail.pacing_rate {
            detail.pacing_rate = rate;
        }
    }

    /// SetCwnd.
    fn set_cwnd(&mut self, delivery: &Delivery) {
        let detail = &*self.detail;
        let state = detail.state;
        let most = self.quantized(self.bdp(state.cwnd_gain()) + detail.model.extra_acked());
        let mut cwnd = self.cwnd();
        let early = detail.model.delivered < u64::from(self.window.initial);
        if detail.model.full_bw_reached {
            cwnd = (cwnd + delivery.delivered).min(most);
        } else if cwnd < most || early {
            cwnd += delivery.delivered;
        }
        cwnd = cwnd.max(self.min_pipe());
        if state == State::ProbeRtt {
            cwnd = cwnd.min(self.probe_rtt_cwnd());
        }
        // BoundCwndForModel.
        let bound = match state {
            State::ProbeRtt | State::Cruise => self.inflight_with_headroom(),
            _ if state.cycles() => detail.model.inflight_longterm,
            _ => u64::MAX,
        };
        let bound = bound.min(detail.model.inflight_shortterm);
        self.set_window(cwnd.min(bound.max(self.min_pipe())));
    }
}

impl CongestionControl for Bbr {
    fn on_ack(&mut self, _ack: &AckEvent) {}

    /// UpdateOnACK.
    fn on_delivery(&mut self, delivery: &Delivery) {
        let (cwnd, probes) = (self.cwnd(), self.detail.state.probes());
        self.detail.model.on_delivery(delivery, cwnd, probes);
        self.check_startup(delivery);
        self.check_drain(delivery);
        self.update_cycle(delivery);
        self.check_probe_rtt(delivery);
        self.detail.model.finish(delivery);
        let gain = self.detail.state.pacing_gain();
        self.set_pacing_rate(gain, delivery.rtt);
        self.set_cwnd(delivery);
    }

    fn watches_losses(&self) -> bool {
        true
    }

    fn on_lost(&mut self, lost: &LostPiece) {
        self.take_loss(lost);
    }

    fn on_mark(&mut self, now: Instant, in_flight: u64) {
        self.take_mark(now, in_flight);
    }

    fn on_loss(&mut self, _now: Instant, _flight_size: usize) {
        self.note_loss(self.detail.model.delivered);
        self.save_cwnd();
        self.detail.recovering = true;
    }

    fn on_recovered(&mut self, _now: Instant) {
        self.detail.recovering = false;
        self.restore_cwnd();
    }

    fn on_timeout(&mut self, timeout: &Timeout) {
        self.note_loss(self.detail.model.delivered);
        self.save_cwnd();
        self.detail.recovering = true;
        self.window.on_timeout(timeout);
    }

    fn on_idle(&mut self, _now: Instant, _idle: Duration, _rto: Duration) {}

    /// HandleRestartFromIdle.
    fn on_restart(&mut self, now: Instant) {
        self.detail.idle_restart = true;
        self.detail.model.restart_aggregation(now);
        if self.detail.state.cycles() {
            self.set_pacing_rate(1.0, None);
        } else if self.detail.state == State::ProbeRtt {
            self.end_probe_rtt_if_due(now);
        }
    }

    fn on_undo(&mut self) {
        self.take_loss_back();
    }

    fn pacing_rate(&self) -> Option<u64> {
        (self.detail.pacing_rate > 0).then_some(self.detail.pacing_rate)
    }

    fn ignores_low_rates(&self) -> bool {
        self.detail.state == State::ProbeRtt
    }

    fn reduces_in_proportion(&self) -> bool {
        false
    }

    fn window(&self) -> &Window {
        &self.window
    }

    fn window_mut(&mut self) -> &mut Window {
        &mut self.window
    }
}
