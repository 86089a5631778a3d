//! ProbeRTT (draft-ietf-ccwg-bbr §5.3.4): the shortest round trip can only be seen when no queue stands in the way.
//! When it was not seen for five seconds, half of what the path holds is in flight for 200 ms.

use std::time::Duration;

use super::super::Delivery;
use super::cycle::Acks;
use super::{Bbr, PROBE_RTT_CWND_GAIN, State};
use crate::time::Instant;

/// ProbeRTTInterval.
const EVERY: Duration = Duration::from_secs(5);
/// ProbeRTTDuration.
const LASTS: Duration = Duration::from_millis(200);
/// MinRTTFilterLen: what was seen is believed for so long.
const BELIEVED: Duration = Duration::from_secs(10);

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct ProbeRtt {
    /// BBR.probe_rtt_min_delay and when it was seen.
    min_delay: Option<Duration>,
    min_delay_at: Instant,
    expired: bool,
    /// When BBR.min_rtt was seen.
    min_rtt_at: Instant,
    /// When enough time has passed with little in flight.
    done_at: Option<Instant>,
    round_done: bool,
}

impl Bbr {
    pub(super) fn probe_rtt_cwnd(&self) -> u64 {
        self.bdp(PROBE_RTT_CWND_GAIN).max(self.min_pipe())
    }

    /// CheckProbeRTT, after UpdateMinRTT.
    pub(super) fn check_probe_rtt(&mut self, delivery: &Delivery) {
        self.update_min_rtt(delivery);
        let detail = &*self.detail;
        if detail.state != State::ProbeRtt && detail.probe_rtt.expired && !detail.idle_restart {
            self.save_cwnd();
            let detail = &mut *self.detail;
            detail.state = State::ProbeRtt;
            detail.probe_rtt.done_at = None;
            detail.cycle.acks = Acks::Stopping;
            detail.model.start_round();
        }
        if self.detail.state == State::ProbeRtt {
            self.handle_probe_rtt(delivery);
        }
        if delivery.delivered > 0 {
            self.detail.idle_restart = false;
        }
    }

    fn update_min_rtt(&mut self, delivery: &Delivery) {
        let now = delivery.now;
        let detail = &mut *self.detail;
        let probe = &mut detail.probe_rtt;
        probe.expired = probe.min_delay.is_some() && now > probe.min_delay_at + EVERY;
        if let Some(rtt) = delivery.rtt
            && (probe.expired || probe.min_delay.is_none_or(|min| rtt < min))
        {
            probe.min_delay = Some(rtt);
            probe.min_delay_at = now;
        }
        let believed = now <= probe.min_rtt_at + BELIEVED;
        if let Some(delay) = probe.min_delay
            && (!believed || detail.model.min_rtt.is_none_or(|min| delay < min))
        {
            detail.model.min_rtt = Some(delay);
            probe.min_rtt_at = probe.min_delay_at;
        }
    }

    /// HandleProbeRTT.
    fn handle_probe_rtt(&mut self, delivery: &Delivery) {
        let little = delivery.in_flight <= self.probe_rtt_cwnd();
        let detail = &mut *self.detail;
        let probe = &mut detail.probe_rtt;
        if probe.done_at.is_none() {
            if little {
                probe.done_at = Some(delivery.now + LASTS);
                probe.round_done = false;
                detail.model.start_round();
            }
            return;
        }
        probe.round_done |= detail.model.round_start;
        if probe.round_done {
            self.end_probe_rtt_if_due(delivery.now);
        }
    }

    /// CheckProbeRTTDone, ExitProbeRTT.
    pub(super) fn end_probe_rtt_if_due(&mut self, now: Instant) {
        if self
            .detail
            .probe_rtt
            .done_at
            .is_none_or(|done_at| now <= done_at)
        {
            return;
        }
        self.detail.probe_rtt.min_delay_at = now;
        self.restore_cwnd();
        self.detail.model.reset_short_term();
        if self.detail.model.full_bw_reached {
            self.start_down(now);
            self.start_cruise();
        } else {
            self.detail.state = State::Startup;
        }
    }
}
