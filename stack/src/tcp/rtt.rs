//! The retransmission time-out from measured round-trip times (RFC 6298).
//!
//! Deviations, both towards Linux: the lower bound of 1 s (§2.4) is 200 ms, and it bounds the variance
//! term instead of the sum, so that a long and steady path does not end with an RTO a hair above its RTT
//! (a peer may hold an ACK back that long).

use std::time::Duration;

/// RTO before the first sample (RFC 6298 §2.1).
pub const INITIAL_RTO: Duration = Duration::from_secs(1);
/// RTO when nothing was measured but the SYN had to be sent again (RFC 6298 §5.7).
pub const INITIAL_RTO_AFTER_SYN_LOSS: Duration = Duration::from_secs(3);
/// Shortest RTO.
pub const MIN_RTO: Duration = Duration::from_millis(200);
/// Longest RTO, after however many back-offs.
pub const MAX_RTO: Duration = Duration::from_secs(120);

const MIN_RTO_US: u32 = MIN_RTO.as_micros() as u32;
const MAX_RTO_US: u32 = MAX_RTO.as_micros() as u32;

/// Smoothed RTT, its variation, and how often the time-out was doubled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RttEstimator {
    /// In eighths of a microsecond, so that the smoothing of small changes is not lost to rounding.
    srtt_x8: u32,
    /// In quarters of a microsecond.
    rttvar_x4: u32,
    /// The RTO without back-off; before the first sample, the initial one.
    rto_us: u32,
    min_us: u32,
    shift: u8,
    measured: bool,
}

impl Default for RttEstimator {
    fn default() -> Self {
        Self::new()
    }
}

impl RttEstimator {
    /// Nothing measured yet.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            srtt_x8: 0,
            rttvar_x4: 0,
            rto_us: INITIAL_RTO.as_micros() as u32,
            min_us: u32::MAX,
            shift: 0,
            measured: false,
        }
    }

    /// A measurement of a segment that was sent once (Karn), or by timestamps. Ends the back-off.
    pub fn sample(&mut self, rtt: Duration) {
        // A sample beyond the longest RTO says no more than that.
        let rtt_us = (rtt.as_micros().min(u128::from(MAX_RTO_US)) as u32).max(1);
        self.min_us = self.min_us.min(rtt_us);
        if self.measured {
            // §2.3: RTTVAR first, with the old SRTT. Scaled: x8 += r - x8/8.
            let error = (self.srtt_x8 / 8).abs_diff(rtt_us);
            self.rttvar_x4 = self.rttvar_x4 - self.rttvar_x4 / 4 + error;
            self.srtt_x8 = self.srtt_x8 - self.srtt_x8 / 8 + rtt_us;
        } else {
            // §2.2
            self.measured = true;
            self.srtt_x8 = rtt_us * 8;
            self.rttvar_x4 = rtt_us * 2;
        }
        // §2.3 with K = 4: 4 * RTTVAR is what is kept.
        self.rto_us = (self.srtt_x8 / 8 + self.rttvar_x4.max(MIN_RTO_US)).min(MAX_RTO_US);
        self.shift = 0;
    }

    /// The time-out now, doubled for each [`Self::back_off`].
    #[must_use]
    pub fn rto(&self) -> Duration {
        let backed_off = u64::from(self.rto_us) << self.shift;
        Duration::from_micros(backed_off.min(u64::from(MAX_RTO_US)))
    }

    /// The time-out without back-off.
    #[must_use]
    pub const fn base_rto(&self) -> Duration {
        Duration::from_micros(self.rto_us as u64)
    }

    /// Doubles the time-out (§5.5).
    pub fn back_off(&mut self) {
        self.shift = (self.shift + 1).min(16);
    }

    /// Ends the back-off, when an ACK of new data says that the network carries again.
    pub fn reset_back_off(&mut self) {
        self.shift = 0;
    }

    /// The handshake had to send its SYN again: start data with 3 s unless it was measured (§5.7).
    pub fn syn_was_lost(&mut self) {
        self.shift = 0;
        if !self.measured {
            self.rto_us = INITIAL_RTO_AFTER_SYN_LOSS.as_micros() as u32;
        }
    }

    /// Smoothed round-trip time, once measured.
    #[must_use]
    pub fn srtt(&self) -> Option<Duration> {
        self.measured
            .then(|| Duration::from_micros(u64::from(self.srtt_x8 / 8)))
    }

    /// Variation of the round-trip time.
    #[must_use]
    pub const fn rttvar(&self) -> Duration {
        Duration::from_micros(self.rttvar_x4 as u64 / 4)
    }

    /// Shortest round-trip time seen.
    #[must_use]
    pub fn min_rtt(&self) -> Option<Duration> {
        self.measured
            .then(|| Duration::from_micros(u64::from(self.min_us)))
    }

    /// How often the time-out was doubled since the last sample.
    #[must_use]
    pub const fn back_offs(&self) -> u8 {
        self.shift
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn the_first_sample_sets_both_and_later_ones_are_smoothed() {
        let mut rtt = RttEstimator::new();
        assert_eq!((rtt.rto(), rtt.srtt()), (ms(1000), None));
        rtt.sample(ms(400));
        assert_eq!((rtt.srtt(), rtt.rttvar()), (Some(ms(400)), ms(200)));
        assert_eq!(rtt.rto(), ms(1200));
        rtt.sample(ms(800));
        // RTTVAR = 3/4 * 200 + 1/4 * 400, SRTT = 7/8 * 400 + 1/8 * 800
        assert_eq!((rtt.srtt(), rtt.rttvar()), (Some(ms(450)), ms(250)));
        assert_eq!(rtt.rto(), ms(1450));
    }

    #[test]
    fn a_steady_path_keeps_a_distance_from_its_rtt() {
        let mut rtt = RttEstimator::new();
        (0..1000).for_each(|_| rtt.sample(ms(300)));
        assert!(rtt.rto() >= ms(490) && rtt.rto() <= ms(500));
        (0..1000).for_each(|_| rtt.sample(Duration::from_micros(50)));
        assert!(rtt.rto() >= MIN_RTO && rtt.rto() < ms(201));
    }

    #[test]
    fn back_off_doubles_until_the_longest_and_a_sample_ends_it() {
        let mut rtt = RttEstimator::new();
        for seconds in [1, 2, 4, 8, 16, 32, 64, 120, 120] {
            assert_eq!(rtt.rto(), Duration::from_secs(seconds));
            rtt.back_off();
        }
        rtt.sample(ms(10));
        assert_eq!(rtt.rto(), ms(210));
    }

    #[test]
    fn a_lost_syn_makes_the_first_rto_three_seconds() {
        let mut rtt = RttEstimator::new();
        rtt.back_off();
        rtt.syn_was_lost();
        assert_eq!(rtt.rto(), INITIAL_RTO_AFTER_SYN_LOSS);
    }

    proptest! {
        #[test]
        fn the_integers_follow_the_formula(samples in prop::collection::vec(1u64..5_000_000, 1..100)) {
            let mut rtt = RttEstimator::new();
            let (mut srtt, mut rttvar) = (0.0f64, 0.0f64);
            for (index, &sample) in samples.iter().enumerate() {
                rtt.sample(Duration::from_micros(sample));
                let r = sample as f64;
                if index == 0 {
                    (srtt, rttvar) = (r, r / 2.0);
                } else {
                    rttvar = 0.75 * rttvar + 0.25 * (srtt - r).abs();
                    srtt = 0.875 * srtt + 0.125 * r;
                }
            }
            let rto = (srtt + (4.0 * rttvar).max(200_000.0)).clamp(200_000.0, 120e6);
            let difference = (rtt.rto().as_micros() as f64 - rto).abs();
            prop_assert!(difference < 40.0, "{} for {rto}", rtt.rto().as_micros());
        }
    }
}
