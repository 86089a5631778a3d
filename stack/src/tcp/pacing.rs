//! Pacing: what may leave is spread over the round trip instead of leaving in bursts. The third interface beside
//! congestion control (how much may be in flight) and loss recovery (what is sent again): it says how much may leave
//! *now*, and when to ask again.
//!
//! The rate is what congestion control names (BBR always does); for the others, if asked to pace, the one that Linux
//! takes inside TCP: two windows in a round trip while the window grows fast, 1.2 afterwards. What leaves at once is
//! what the rate sends in about a millisecond, and two segments at least, so that devices which cut segments still get
//! large ones. The first ten segments of a connection are not held (as Linux), nor are forced retransmissions and probes.
//!
//! Exists while segments are held or have just been sent. Left out: departure times handed to the device.

use std::time::Duration;

use super::congestion::CongestionControl;
use super::tcb::{FIRST_BYTE, Tcb};
use crate::time::Instant;

/// Segments at the beginning of a connection that leave at once: the initial window (RFC 6928).
const UNPACED_SEGMENTS: u64 = 10;
/// Linux's `tcp_pacing_ss_ratio` and `tcp_pacing_ca_ratio`.
const SLOW_START_PERCENT: u64 = 200;
const AVOIDANCE_PERCENT: u64 = 120;
/// What leaves at once is this part of what the rate sends in a second (as Linux), at least two segments, and no more
/// than the largest segment that any device takes.
const QUANTA_PER_SECOND: u64 = 1 << 10;
const MIN_SEGMENTS: u64 = 2;
const MAX_QUANTUM_BYTES: u64 = 192 << 10;
/// A rate so low that nobody means it must not make deadlines that no clock reaches.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// What the output path is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Allowance {
    /// So many bytes may leave now.
    Bytes(u64),
    /// Nothing before then.
    NotBefore(Instant),
}

/// When may how much leave?
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Pacer {
    /// What left has had its time then, and the next quantum may follow.
    due: Instant,
    /// What is left of the present quantum, in bytes.
    left: u64,
    /// When to try again what was held back.
    wake_at: Option<Instant>,
    /// When last asked, there was nothing more to send.
    starved: bool,
}

/// Most that leaves at once, in bytes.
pub(super) fn quantum(rate: u64, mss: u64) -> u64 {
    let bytes = (rate / QUANTA_PER_SECOND).min(MAX_QUANTUM_BYTES);
    bytes.max(MIN_SEGMENTS * mss)
}

/// How long `bytes` take.
fn time_of(bytes: u64, rate: u64) -> Duration {
    let nanos = u128::from(bytes) * 1_000_000_000 / u128::from(rate.max(1));
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX)).min(LONGEST_WAIT)
}

/// Bytes per second for a window without a rate of its own.
pub(super) fn rate_of_window(cwnd: u64, srtt: Duration, grows_fast: bool) -> u64 {
    let percent = if grows_fast {
        SLOW_START_PERCENT
    } else {
        AVOIDANCE_PERCENT
    };
    let srtt_us = (srtt.as_micros() as u64).max(1);
    (cwnd * percent / 100).saturating_mul(1_000_000) / srtt_us
}

impl Pacer {
    pub(super) fn ask(&mut self, now: Instant, rate: u64, mss: u64) -> Allowance {
        if now >= self.due {
            self.left = quantum(rate, mss);
        }
        match self.left {
            0 => Allowance::NotBefore(self.due),
            left => Allowance::Bytes(left.max(mss)),
        }
    }

    /// So much left. A timer that came late is caught up by half of a quantum; a pause is not.
    pub(super) fn on_sent(&mut self, now: Instant, bytes: u64, rate: u64, mss: u64) {
        let grace = time_of(quantum(rate, mss) / 2, rate);
        self.left = self.left.saturating_sub(bytes);
        self.due = self.due.max(now - grace) + time_of(bytes, rate);
    }
}

impl Tcb {
    /// Bytes per second at which segments are to leave; none if they may leave at once.
    pub(super) fn pacing_rate(&self) -> Option<u64> {
        let options = self.settings.options();
        let named = self.congestion.pacing_rate();
        let asked = options.pacing || options.max_pacing_rate.is_some();
        if named.is_none() && !asked {
            return None;
        }
        let rate = match (named, self.rtt.srtt()) {
            (Some(rate), _) => rate,
            (None, Some(srtt)) => {
                let fast = self.congestion.cwnd() < self.congestion.ssthresh() / 2;
                rate_of_window(self.cwnd(), srtt, fast)
            }
            // Nothing is known of the path; a cap holds all the same.
            (None, None) => options.max_pacing_rate?,
        };
        Some(rate.min(options.max_pacing_rate.unwrap_or(u64::MAX)).max(1))
    }

    /// Something may leave now; otherwise notes when to come back.
    pub(super) fn pacing_allows(&mut self, now: Instant) -> bool {
        let Some(rate) = self.pacing_rate() else {
            self.drop_pacer();
            return true;
        };
        let mss = u64::from(self.effective_mss());
        if self.snd.nxt < FIRST_BYTE + UNPACED_SEGMENTS * mss {
            return true;
        }
        let pacer = self.make_pacer();
        match pacer.ask(now, rate, mss) {
            Allowance::Bytes(_) => true,
            Allowance::NotBefore(at) => {
                pacer.wake_at = Some(at);
                false
            }
        }
    }

    /// So many bytes leave.
    pub(super) fn pace(&mut self, now: Instant, bytes: u64) {
        let Some(rate) = self.pacing_rate() else {
            return;
        };
        let mss = u64::from(self.effective_mss());
        let held = self.snd.nxt >= FIRST_BYTE + UNPACED_SEGMENTS * mss;
        let pacer = self.make_pacer();
        pacer.starved = false;
        if held {
            pacer.on_sent(now, bytes, rate, mss);
        }
    }

    /// Most segments of what leaves in one piece.
    pub(super) fn paced_segments(&self) -> usize {
        let Some(pacer) = self.pacer() else {
            return usize::MAX;
        };
        let mss = u64::from(self.effective_mss());
        let bytes = match (pacer.left, self.pacing_rate()) {
            (_, None) => return usize::MAX,
            (0, Some(rate)) => quantum(rate, mss),
            (left, _) => left,
        };
        (bytes / mss).max(1) as usize
    }

    /// The output path begins anew.
    pub(super) fn forget_pacing_wait(&mut self) {
        if let Some(pacer) = self.pacer_mut() {
            pacer.wake_at = None;
        }
    }

    /// When to look again at what was held back.
    pub(super) fn paced_until(&self) -> Option<Instant> {
        self.pacer().and_then(|pacer| pacer.wake_at)
    }

    /// There is nothing more to send.
    pub(super) fn starve_pacer(&mut self, starved: bool) {
        if let Some(pacer) = self.pacer_mut() {
            pacer.starved = starved;
        }
    }

    /// What leaves now follows on a lack of data.
    pub(super) fn was_starved(&self) -> bool {
        self.pacer().is_none_or(|pacer| pacer.starved)
    }

    /// Nothing is in flight any more: nothing of what was sent takes its time still.
    pub(super) fn rest_pacer(&mut self, now: Instant) {
        let idle = self.snd.una == self.snd.nxt && self.snd.nxt >= self.send_end();
        if idle && self.pacer().is_some_and(|pacer| pacer.due <= now) {
            self.drop_pacer();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MSS: u64 = 1000;
    const RATE: u64 = 1_000_000;

    fn at(us: u64) -> Instant {
        Instant::from_micros(1_000_000 + us)
    }

    /// Sends all that the pacer lets go, waking up `late_us` too late; returns what had left by when.
    fn play(rate: u64, segments: usize, late_us: u64) -> Vec<Instant> {
        let mut pacer = Pacer {
            due: at(0),
            ..Pacer::default()
        };
        let mut now = at(0);
        let mut sent = Vec::new();
        while sent.len() < segments {
            match pacer.ask(now, rate, MSS) {
                Allowance::Bytes(_) => {
                    pacer.on_sent(now, MSS, rate, MSS);
                    sent.push(now);
                }
                Allowance::NotBefore(at) => {
                    assert!(at > now, "no busy waiting");
                    now = at + Duration::from_micros(late_us);
                }
            }
        }
        sent
    }

    #[test]
    fn the_rate_is_kept_two_segments_at_a_time() {
        let sent = play(RATE, 100, 0);
        assert_eq!(sent[..4], [at(0), at(0), at(2000), at(2000)]);
        assert_eq!(sent[99], at(98_000));
    }

    #[test]
    fn at_a_high_rate_a_millisecond_leaves_at_once() {
        let sent = play(100 * RATE, 1000, 0);
        let first = sent.iter().filter(|&&it| it == at(0)).count();
        assert!((90..=100).contains(&first), "{first}");
        assert!((sent[999].since(at(0)).as_secs_f64() - 0.01).abs() < 0.001);
    }

    #[test]
    fn a_timer_that_comes_late_is_caught_up_and_a_long_pause_is_not() {
        assert_eq!(play(RATE, 100, 500)[99], at(98_000 + 500));
        let mut pacer = Pacer::default();
        pacer.ask(at(0), RATE, MSS);
        pacer.on_sent(at(0), 2 * MSS, RATE, MSS);
        assert_eq!(pacer.ask(at(0), RATE, MSS), Allowance::NotBefore(at(1000)));
    }

    #[test]
    fn a_window_has_a_rate_above_that_of_its_round_trip() {
        let srtt = Duration::from_millis(10);
        assert_eq!(rate_of_window(10_000, srtt, true), 2_000_000);
        assert_eq!(rate_of_window(10_000, srtt, false), 1_200_000);
    }

    #[test]
    fn what_leaves_at_once_is_bounded_both_ways() {
        assert_eq!(quantum(1, MSS), 2 * MSS);
        assert_eq!(quantum(u64::MAX, MSS), MAX_QUANTUM_BYTES);
    }

    #[test]
    fn no_rate_makes_a_deadline_that_never_comes() {
        let mut pacer = Pacer::default();
        pacer.on_sent(at(0), MSS, 0, MSS);
        assert!(pacer.due <= at(0) + LONGEST_WAIT);
    }
}
