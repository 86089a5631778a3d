//! CUBIC (RFC 9438): after a reduction the window grows as a cubic function of time, flat around the size
//! at which the last loss came, and never slower than Reno would.

use std::time::Duration;

use super::slow_start::SlowStart;
use super::window::{Prior, Window};
use super::{AckEvent, CongestionControl, Timeout};
use crate::time::Instant;

/// How fast the cubic grows, in segments per second cubed (§5).
const C: f64 = 0.4;
/// What a loss leaves of the window (§4.6).
const BETA: f64 = 0.7;
/// Growth of the Reno-friendly estimate, segments per round trip, until it reaches the window before the
/// reduction (§4.3); 1 from there on.
const ALPHA: f64 = 3.0 * (1.0 - BETA) / (1.0 + BETA);

/// The state of CUBIC.
#[derive(Clone, Debug)]
pub struct Cubic {
    window: Window,
    detail: Option<Box<Detail>>,
}

#[derive(Clone, Debug, Default)]
struct Detail {
    slow_start: SlowStart,
    growth: Growth,
    prior: Option<Prior<Growth>>,
}

/// The curve of the present congestion avoidance stage. Windows in segments, as in the RFC.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Growth {
    w_max: f64,
    /// Window before the reduction.
    cwnd_prior: f64,
    epoch: Option<Epoch>,
    /// The window was not the limit since then: time that does not count (§5.8).
    paused: Option<Instant>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Epoch {
    start: Instant,
    /// Seconds from the start until the curve is at `w_max`.
    k: f64,
    w_max: f64,
    w_est: f64,
    /// Part of a byte by which the window is to grow.
    credit: f64,
}

impl Epoch {
    /// W_cubic(t) of §4.2 in segments, `seconds` after the start.
    fn w_cubic(&self, seconds: f64) -> f64 {
        C * (seconds - self.k).powi(3) + self.w_max
    }
}

impl Growth {
    /// Begins a stage of congestion avoidance with `cwnd` segments (§4.2; §4.8 after a time-out or when
    /// there was no loss yet, where the curve starts flat).
    fn epoch(&mut self, now: Instant, cwnd: f64) -> &mut Epoch {
        let w_max = self.w_max;
        self.epoch.get_or_insert_with(|| {
            let below = w_max > cwnd;
            Epoch {
                start: now,
                k: if below {
                    ((w_max - cwnd) / C).cbrt()
                } else {
                    0.0
                },
                w_max: if below { w_max } else { cwnd },
                w_est: cwnd,
                credit: 0.0,
            }
        })
    }

    /// Moves the curve past the time since `from`.
    fn skip(&mut self, from: Instant, now: Instant) {
        if let Some(epoch) = &mut self.epoch {
            epoch.start = (epoch.start + now.since(from)).min(now);
        }
    }

    /// Bytes by which `cwnd_bytes` grows in congestion avoidance for an ACK of `acked` bytes (§4.2-4.5).
    fn on_ack(&mut self, ack: &AckEvent, acked: u64, cwnd_bytes: u32, mss: f64) -> u64 {
        if let Some(paused) = self.paused.take() {
            self.skip(paused, ack.now);
        }
        let cwnd = f64::from(cwnd_bytes) / mss;
        let cwnd_prior = self.cwnd_prior;
        let epoch = self.epoch(ack.now, cwnd);
        let t = ack.now.since(epoch.start).as_secs_f64();
        let rtt = ack.srtt.unwrap_or_default().as_secs_f64();
        let segments_acked = acked as f64 / mss;

        let alpha = if epoch.w_est < cwnd_prior { ALPHA } else { 1.0 };
        epoch.w_est += alpha * segments_acked / cwnd;

        if epoch.w_cubic(t) < epoch.w_est {
            // §4.3. Never by more than slow start would.
            let growth = (epoch.w_est - cwnd).max(0.0) * mss;
            return growth.min(acked as f64) as u64;
        }
        let target = epoch.w_cubic(t + rtt).clamp(cwnd, 1.5 * cwnd);
        epoch.credit += (target - cwnd) / cwnd * segments_acked * mss;
        let bytes = epoch.credit as u64;
        epoch.credit -= bytes as f64;
        bytes
    }

    /// A loss at `cwnd` segments: fast convergence (§4.7) gives way to newcomers.
    fn on_reduction(&mut self, cwnd: f64) {
        self.w_max = if cwnd < self.w_max {
            cwnd * (1.0 + BETA) / 2.0
        } else {
            cwnd
        };
        self.cwnd_prior = cwnd;
        self.epoch = None;
        self.paused = None;
    }
}

impl Cubic {
    pub(super) const fn new(window: Window) -> Self {
        Self {
            window,
            detail: None,
        }
    }

    fn segments(&self) -> f64 {
        f64::from(self.window.cwnd) / f64::from(self.window.mss)
    }

    /// Below the threshold; returns the bytes left for congestion avoidance.
    fn slow_start(&mut self, ack: &AckEvent) -> u64 {
        if self.window.ssthresh != u32::MAX {
            return self.window.slow_start(ack.acked_bytes as u64, 1);
        }
        let detail = self.detail.get_or_insert_default();
        self.window.first_slow_start(&mut detail.slow_start, ack)
    }

    fn reduce(&mut self, flight_size: usize) {
        let cwnd = self.segments();
        let (window, detail) = (&mut self.window, self.detail.get_or_insert_default());
        detail.prior = Some(Prior {
            cwnd: window.cwnd,
            ssthresh: window.ssthresh,
            detail: detail.growth,
        });
        detail.growth.on_reduction(cwnd);
        let basis = f64::from(window.basis(flight_size));
        window.set_ssthresh((basis * BETA).round() as u32);
    }
}

impl CongestionControl for Cubic {
    fn on_ack(&mut self, ack: &AckEvent) {
        self.window.limited = ack.cwnd_limited;
        if !ack.cwnd_limited {
            if let Some(detail) = &mut self.detail {
                detail.growth.paused.get_or_insert(ack.now);
            }
            return;
        }
        let mut left = ack.acked_bytes as u64;
        if self.window.in_slow_start() {
            left = self.slow_start(ack);
            if self.window.in_slow_start() {
                return;
            }
        }
        let (window, detail) = (&mut self.window, self.detail.get_or_insert_default());
        let mss = f64::from(window.mss);
        let bytes = detail.growth.on_ack(ack, left, window.cwnd, mss);
        window.grow(bytes);
    }

    fn on_loss(&mut self, _now: Instant, flight_size: usize) {
        self.reduce(flight_size);
        self.window.cwnd = self.window.ssthresh;
    }

    fn on_recovered(&mut self, _now: Instant) {}

    fn on_timeout(&mut self, timeout: &Timeout) {
        // RFC 5681 §3.1: the threshold stays when the same data times out again.
        if timeout.fresh {
            self.reduce(timeout.flight_size);
            if let Some(detail) = &mut self.detail {
                // §4.8: the stage after it starts flat, at the window that slow start reaches.
                detail.growth.w_max = 0.0;
            }
        }
        self.window.on_timeout(timeout);
    }

    fn on_idle(&mut self, now: Instant, idle: Duration, rto: Duration) {
        self.window.on_idle(idle, rto);
        if idle >= rto {
            // Whatever was known about the path is old.
            self.detail = None;
        } else if let Some(detail) = &mut self.detail {
            detail.growth.paused = None;
            detail.growth.skip(now - idle, now);
        }
    }

    fn on_undo(&mut self) {
        if let Some(detail) = &mut self.detail
            && let Some(prior) = detail.prior.take()
        {
            detail.growth = prior.detail;
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

    const MSS: usize = 1000;

    /// In congestion avoidance with `window` segments, and the loss that it had just before.
    fn after_loss(window: usize, path: &Path) -> Congestion {
        let mut control = Congestion::new(Algorithm::Cubic, MSS, window * MSS);
        control.on_loss(path.now, window * MSS);
        control.on_recovered(path.now);
        control
    }

    #[test]
    fn the_window_follows_the_formula() {
        for (rtt_ms, window) in [(100, 1000.0), (20, 800.0), (10, 5000.0)] {
            let mut path = Path::new(rtt_ms, MSS);
            let mut control = after_loss(window as usize, &path);
            let start = path.now;
            let k = (window * 0.3f64 / C).cbrt();
            while path.now.since(start).as_secs_f64() < 1.5 * k {
                path.round(&mut control);
                let t = path.now.since(start).as_secs_f64();
                let until_prior = 0.3 * window / ALPHA;
                let rounds = t / path.rtt.as_secs_f64();
                let reno = 0.7 * window + ALPHA * rounds.min(until_prior);
                let reno = reno + (rounds - until_prior).max(0.0);
                let expected = (C * (t - k).powi(3) + window).max(reno);
                let is = control.cwnd() as f64 / MSS as f64;
                assert!(
                    (is / expected - 1.0).abs() < 0.02,
                    "rtt {rtt_ms} t {t:.2}: {is:.1} for {expected:.1}"
                );
            }
        }
    }

    #[test]
    fn known_points_of_the_curve() {
        // W_max 1000, reduced to 700: K = cbrt(300 / 0.4) = 9.086 s; half-way, 1000 - 300/8.
        let mut path = Path::new(50, MSS);
        let mut control = after_loss(1000, &path);
        assert_eq!(control.cwnd() / MSS, 700);
        let start = path.now;
        for (at_ms, expected) in [(4_543, 962.5), (9_086, 1000.0), (18_172, 1300.0)] {
            while path.now.since(start) < Duration::from_millis(at_ms) {
                path.round(&mut control);
            }
            let is = control.cwnd() as f64 / MSS as f64;
            assert!((is - expected).abs() < 10.0, "{is} for {expected}");
        }
    }

    #[test]
    fn with_a_short_round_trip_it_is_as_fast_as_reno() {
        let mut path = Path::new(1, MSS);
        let mut control = after_loss(100, &path);
        // From 70 with alpha 0.53 for 30 segments, then with 1 (§4.3).
        let rounds = (30.0 / ALPHA) as usize;
        path.rounds(&mut control, rounds);
        assert!(
            control.cwnd().abs_diff(100 * MSS) <= 2 * MSS,
            "{}",
            control.cwnd()
        );
        path.rounds(&mut control, 30);
        assert!(
            control.cwnd().abs_diff(130 * MSS) <= 3 * MSS,
            "{}",
            control.cwnd()
        );
    }

    #[test]
    fn the_average_window_under_regular_loss_is_that_of_the_rfc() {
        // Tables 1 and 2 of RFC 9438 §5.1: round trip, packets per loss, average window in segments.
        for (rtt_ms, packets, expected) in [
            (100, 100, 12.0),
            (100, 1_000, 38.0),
            (100, 10_000, 187.0),
            (100, 100_000, 1_054.0),
            (10, 1_000, 38.0),
            (10, 100_000, 379.0),
        ] {
            let mut path = Path::new(rtt_ms, MSS);
            let mut control = after_loss(expected as usize * 2, &path);
            let (mut since_loss, mut sent, mut rounds) = (0, 0, 0);
            for round in 0..60 * packets / expected as usize {
                let window = path.round(&mut control) / MSS;
                since_loss += window;
                if round > 30 * packets / expected as usize {
                    sent += window;
                    rounds += 1;
                }
                if since_loss >= packets {
                    since_loss -= packets;
                    control.on_loss(path.now, window * MSS);
                    control.on_recovered(path.now);
                }
            }
            let average = sent as f64 / f64::from(rounds);
            assert!(
                (average / expected - 1.0).abs() < 0.2,
                "rtt {rtt_ms} 1/{packets}: {average:.1} for {expected}"
            );
        }
    }

    #[test]
    fn fast_convergence_remembers_less_than_the_window_that_was_lost() {
        let path = Path::new(20, MSS);
        let mut control = after_loss(1000, &path);
        control.on_loss(path.now, 700 * MSS);
        let Congestion::Cubic(cubic) = &control else {
            unreachable!()
        };
        let growth = cubic.detail.as_ref().unwrap().growth;
        assert!((growth.w_max - 700.0 * 0.85).abs() < 0.1);
        assert_eq!(control.cwnd() / MSS, 490);
    }

    #[test]
    fn time_without_sending_does_not_grow_the_window() {
        let mut path = Path::new(50, MSS);
        let mut control = after_loss(1000, &path);
        path.rounds(&mut control, 100);
        let before = control.cwnd();
        let idle = Duration::from_secs(100);
        path.now += idle;
        control.on_idle(path.now, idle, idle * 2);
        path.round(&mut control);
        assert!(
            control.cwnd() - before < 5 * MSS,
            "{before} {}",
            control.cwnd()
        );
    }
}
