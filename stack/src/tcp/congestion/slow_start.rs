//! HyStart++ (RFC 9406): leaving the first slow start when delay grows, before the queue overflows.
//!
//! Deviation: L (§4.3) is unlimited, since ACKs of merged segments cover many of them.

use std::time::Duration;

use super::AckEvent;

const MIN_RTT_THRESH_US: u32 = 4_000;
const MAX_RTT_THRESH_US: u32 = 16_000;
const MIN_RTT_DIVISOR: u32 = 8;
const N_RTT_SAMPLE: u8 = 8;
const CSS_GROWTH_DIVISOR: u64 = 4;
const CSS_ROUNDS: u8 = 5;
/// Below this window delay says little.
const LOW_WINDOW_SEGMENTS: u32 = 16;

/// The rounds of the first slow start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SlowStart {
    /// The round ends when this position is acknowledged.
    window_end: u64,
    last_round_min_us: u32,
    round_min_us: u32,
    samples: u8,
    /// In Conservative Slow Start: the RTT to fall below to leave it, and its rounds so far.
    conservative: Option<(u32, u8)>,
}

impl Default for SlowStart {
    fn default() -> Self {
        Self {
            window_end: 0,
            last_round_min_us: u32::MAX,
            round_min_us: u32::MAX,
            samples: 0,
            conservative: None,
        }
    }
}

/// How slow start goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Advice {
    /// Grow by what is acknowledged, divided by this.
    Grow(u64),
    /// The threshold is where the window is.
    Leave,
}

impl SlowStart {
    pub(super) fn on_ack(&mut self, ack: &AckEvent, cwnd: u32, mss: u32) -> Advice {
        if let Some(rtt) = ack.rtt {
            let rtt_us = micros(rtt);
            self.round_min_us = self.round_min_us.min(rtt_us);
            self.samples = self.samples.saturating_add(1);
        }
        if ack.una > self.window_end && self.end_round(ack.nxt) {
            return Advice::Leave;
        }
        if self.samples >= N_RTT_SAMPLE && cwnd >= LOW_WINDOW_SEGMENTS * mss {
            self.compare();
        }
        let divisor = self.conservative.map_or(1, |_| CSS_GROWTH_DIVISOR);
        Advice::Grow(divisor)
    }

    /// Begins the next round; true when Conservative Slow Start has lasted its rounds.
    fn end_round(&mut self, nxt: u64) -> bool {
        self.window_end = nxt;
        self.last_round_min_us = self.round_min_us;
        self.round_min_us = u32::MAX;
        self.samples = 0;
        if let Some((_, rounds)) = &mut self.conservative {
            *rounds += 1;
            return *rounds >= CSS_ROUNDS;
        }
        false
    }

    fn compare(&mut self) {
        match self.conservative {
            // The growth of delay was a mistake: back to slow start.
            Some((baseline_us, _)) if self.round_min_us < baseline_us => self.conservative = None,
            Some(_) => {}
            None if self.last_round_min_us != u32::MAX => {
                let threshold_us = (self.last_round_min_us / MIN_RTT_DIVISOR)
                    .clamp(MIN_RTT_THRESH_US, MAX_RTT_THRESH_US);
                if self.round_min_us >= self.last_round_min_us.saturating_add(threshold_us) {
                    self.conservative = Some((self.round_min_us, 0));
                }
            }
            None => {}
        }
    }
}

fn micros(duration: Duration) -> u32 {
    u32::try_from(duration.as_micros()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Instant;

    /// Plays rounds of slow start with the given RTTs; the window in segments at the end of each, until
    /// slow start is left.
    fn windows(rtts_ms: &[u64]) -> (Vec<u64>, bool) {
        let (mut slow_start, mut cwnd, mut una, mut nxt) = (SlowStart::default(), 10u64, 1, 11);
        let mut windows = Vec::new();
        for &rtt_ms in rtts_ms {
            let mut credit = 0;
            for _ in 0..cwnd {
                una += 1;
                let ack = AckEvent {
                    now: Instant::ZERO,
                    acked_bytes: 1,
                    in_flight: cwnd as usize,
                    srtt: None,
                    rtt: Some(Duration::from_millis(rtt_ms)),
                    una,
                    nxt,
                    cwnd_limited: true,
                };
                match slow_start.on_ack(&ack, cwnd as u32, 1) {
                    Advice::Grow(divisor) => credit += 4 / divisor,
                    Advice::Leave => return (windows, true),
                }
                nxt += 1;
            }
            cwnd += credit / 4;
            nxt = una + cwnd;
            windows.push(cwnd);
        }
        (windows, false)
    }

    #[test]
    fn without_growing_delay_slow_start_goes_on() {
        assert_eq!(windows(&[40; 5]), (vec![20, 40, 80, 160, 320], false));
    }

    #[test]
    fn growing_delay_slows_it_down_and_then_ends_it() {
        let (windows, left) = windows(&[40, 40, 40, 46, 46, 46, 46, 46, 46, 46, 46]);
        assert!(left);
        assert_eq!(windows[..3], [20, 40, 80]);
        assert!(windows[4] < 160, "{windows:?}");
        assert!(windows.len() < 10);
    }

    #[test]
    fn delay_that_shrinks_again_takes_it_back() {
        let (windows, left) = windows(&[40, 40, 40, 46, 40, 40, 40, 40, 40, 40, 40]);
        assert!(!left);
        assert!(windows[10] >= 60 * windows[4], "{windows:?}");
    }
}
