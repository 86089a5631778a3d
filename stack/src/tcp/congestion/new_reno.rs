//! NewReno: additive increase, multiplicative decrease (RFC 5681 §3.1, RFC 6582).

use std::time::Duration;

use super::slow_start::SlowStart;
use super::window::{Prior, Window};
use super::{AckEvent, CongestionControl, Timeout};
use crate::time::Instant;

/// The state of NewReno.
#[derive(Clone, Debug)]
pub struct NewReno {
    window: Window,
    /// Bytes acknowledged since the window last grew in congestion avoidance.
    acked: u32,
    detail: Option<Box<Detail>>,
}

/// What is needed only sometimes.
#[derive(Clone, Debug, Default)]
struct Detail {
    slow_start: SlowStart,
    prior: Option<Prior<()>>,
}

impl NewReno {
    pub(super) const fn new(window: Window) -> Self {
        Self {
            window,
            acked: 0,
            detail: None,
        }
    }

    fn remember(&mut self) {
        let (cwnd, ssthresh) = (self.window.cwnd, self.window.ssthresh);
        self.detail.get_or_insert_default().prior = Some(Prior {
            cwnd,
            ssthresh,
            detail: (),
        });
    }

    /// Below the threshold; returns the bytes left for congestion avoidance.
    fn slow_start(&mut self, ack: &AckEvent) -> u64 {
        if self.window.ssthresh != u32::MAX {
            return self.window.slow_start(ack.acked_bytes as u64, 1);
        }
        let detail = self.detail.get_or_insert_default();
        self.window.first_slow_start(&mut detail.slow_start, ack)
    }
}

impl CongestionControl for NewReno {
    fn on_ack(&mut self, ack: &AckEvent) {
        self.window.limited = ack.cwnd_limited;
        if !ack.cwnd_limited {
            return;
        }
        let mut left = ack.acked_bytes as u64;
        if self.window.in_slow_start() {
            left = self.slow_start(ack);
            if self.window.in_slow_start() {
                return;
            }
        }
        // RFC 5681 §3.1, counting bytes (RFC 3465): one segment per window acknowledged.
        let acked = u64::from(self.acked) + left;
        let cwnd = u64::from(self.window.cwnd.max(1));
        self.window
            .grow(acked / cwnd * u64::from(self.window.mss()));
        self.acked = (acked % cwnd) as u32;
    }

    fn on_loss(&mut self, _now: Instant, flight_size: usize) {
        self.remember();
        let half = self.window.basis(flight_size) / 2;
        self.window.set_ssthresh(half);
        self.window.cwnd = self.window.ssthresh;
        self.acked = 0;
    }

    fn on_recovered(&mut self, _now: Instant) {}

    fn on_timeout(&mut self, timeout: &Timeout) {
        // RFC 5681 §3.1: the threshold stays when the same data times out again.
        if timeout.fresh {
            self.remember();
            let half = self.window.basis(timeout.flight_size) / 2;
            self.window.set_ssthresh(half);
        }
        self.window.on_timeout(timeout);
        self.acked = 0;
    }

    fn on_idle(&mut self, _now: Instant, idle: Duration, rto: Duration) {
        self.window.on_idle(idle, rto);
        if idle >= rto {
            self.detail = None;
        }
    }

    fn on_undo(&mut self) {
        if let Some(prior) = self.detail.as_mut().and_then(|detail| detail.prior.take()) {
            self.window.undo(&prior);
        }
    }

    fn window(&self) -> &Window {
        &self.window
    }

    fn window_mut(&mut self) -> &mut Window {
        &mut self.window
    }
}

#[cfg(test)]
mod tests {
    use super::super::test_path::Path;
    use super::super::{Algorithm, Congestion};
    use super::*;

    #[test]
    fn one_segment_more_each_round_trip_and_half_after_a_loss() {
        let mut control = Congestion::new(Algorithm::NewReno, 1000, 10_000);
        let mut path = Path::new(20, 1000);
        path.round(&mut control);
        control.on_loss(path.now, 20_000);
        control.on_recovered(path.now);
        for window in 10..50 {
            assert_eq!(control.cwnd() / 1000, window);
            path.round(&mut control);
        }
    }
}
