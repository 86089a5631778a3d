//! How fast the network delivers (draft-ietf-ccwg-bbr §4.1, formerly draft-cheng-iccrg-delivery-rate-estimation).
//!
//! Every piece in flight remembers how much had been delivered when it was sent, and since when; its
//! acknowledgement makes that a rate, which can be neither above the rate of sending nor above that of arriving.

use std::time::Duration;

use crate::time::Instant;

/// What a piece remembers of the moment in which it was sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stamp {
    /// Bytes delivered until then.
    pub delivered: u64,
    /// When the last of those were.
    pub delivered_at: Instant,
    /// When the first piece of that flight was sent.
    pub first_sent_at: Instant,
    /// What was in flight was less than it might have been, for lack of data.
    pub app_limited: bool,
    /// Bytes in flight, the piece included.
    pub in_flight: u32,
    /// Bytes lost until then (modulo 2^32).
    pub lost: u32,
}

/// The state of a connection with something in flight.
#[derive(Clone, Copy, Debug, Default)]
pub struct DeliveryRate {
    delivered: u64,
    delivered_at: Instant,
    first_sent_at: Instant,
    /// The bubble of a lack of data has passed when this much is delivered; 0 while there is none.
    app_limited_to: u64,
    newest: Option<(Instant, u64, Stamp)>,
    lost: u32,
}

/// What one ACK tells about the rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    /// Bytes delivered between `newest.sent_at` and now.
    pub delivered: u64,
    /// All that had been delivered when the newest piece acknowledged was sent.
    pub prior_delivered: u64,
    /// Over which time.
    pub interval: Duration,
    /// It may be lower than what the network can do.
    pub app_limited: bool,
    /// Bytes in flight when the newest piece acknowledged was sent, itself included.
    pub tx_in_flight: u64,
    /// Bytes found lost since then, by the ACKs before this one.
    pub lost: u64,
    /// Bytes lost when it was sent (modulo 2^32).
    pub prior_lost: u32,
}

impl Sample {
    /// Bytes per second.
    #[must_use]
    pub fn bytes_per_second(&self) -> u64 {
        let nanos = self.interval.as_nanos().max(1);
        u64::try_from(u128::from(self.delivered) * 1_000_000_000 / nanos).unwrap_or(u64::MAX)
    }
}

impl DeliveryRate {
    /// The first piece after a pause leaves; `delivered` bytes have arrived so far.
    #[must_use]
    pub fn new(delivered: u64, now: Instant) -> Self {
        Self {
            delivered,
            delivered_at: now,
            first_sent_at: now,
            app_limited_to: 0,
            newest: None,
            lost: 0,
        }
    }

    /// `bytes` that were sent with `stamp` are lost; returns how many are in all, since then.
    pub fn on_lost(&mut self, bytes: u64, stamp: &Stamp) -> u64 {
        self.lost = self.lost.wrapping_add(bytes as u32);
        u64::from(self.lost.wrapping_sub(stamp.lost))
    }

    /// Adds to the sample of an ACK what that showed to be lost.
    pub fn complete(&self, sample: &mut Sample) {
        sample.lost = u64::from(self.lost.wrapping_sub(sample.prior_lost));
    }

    /// For a piece that leaves now and makes it `in_flight` bytes (§4.1.2.2).
    #[must_use]
    pub fn stamp(&self, in_flight: u64) -> Stamp {
        Stamp {
            delivered: self.delivered,
            delivered_at: self.delivered_at,
            first_sent_at: self.first_sent_at,
            app_limited: self.app_limited_to > 0,
            in_flight: u32::try_from(in_flight).unwrap_or(u32::MAX),
            lost: self.lost,
        }
    }

    /// All bytes delivered.
    #[must_use]
    pub const fn delivered(&self) -> u64 {
        self.delivered
    }

    /// There is no more data, though the windows have room; `in_flight` is on its way (§4.1.2.4).
    pub fn lack_data(&mut self, in_flight: u64) {
        self.app_limited_to = (self.delivered + in_flight).max(1);
    }

    /// A piece of `bytes`, sent last at `sent_at`, arrived (§4.1.2.3).
    pub fn on_delivered(
        &mut self,
        now: Instant,
        (sent_at, end): (Instant, u64),
        bytes: u64,
        stamp: Stamp,
    ) {
        self.delivered += bytes;
        self.delivered_at = now;
        let newer = |&(at, to, _): &(Instant, u64, Stamp)| (sent_at, end) > (at, to);
        if self.newest.as_ref().is_none_or(newer) {
            self.newest = Some((sent_at, end, stamp));
            self.first_sent_at = sent_at;
        }
    }

    /// Once all pieces of an ACK are in: its sample, unless it was faster than the path can be (§4.1.2.3).
    pub fn sample(&mut self, now: Instant, min_rtt: Option<Duration>) -> Option<Sample> {
        if self.app_limited_to > 0 && self.delivered > self.app_limited_to {
            self.app_limited_to = 0;
        }
        let (sent_at, _, stamp) = self.newest.take()?;
        if stamp.delivered_at == Instant::default() {
            return None;
        }
        let sending = sent_at.since(stamp.first_sent_at);
        let arriving = now.since(stamp.delivered_at);
        let interval = sending.max(arriving);
        let possible = min_rtt.is_none_or(|min_rtt| interval >= min_rtt);
        (possible && !interval.is_zero()).then_some(Sample {
            delivered: self.delivered - stamp.delivered,
            prior_delivered: stamp.delivered,
            interval,
            app_limited: stamp.app_limited,
            tx_in_flight: u64::from(stamp.in_flight),
            lost: u64::from(self.lost.wrapping_sub(stamp.lost)),
            prior_lost: stamp.lost,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Instant {
        Instant::from_millis(1000 + ms)
    }

    #[test]
    fn the_rate_is_that_of_the_bottleneck_and_not_of_the_burst() {
        // Ten segments leave at once, arrive one a millisecond, 20 ms later.
        let mut rate = DeliveryRate::new(0, at(0));
        let stamps: Vec<Stamp> = (0..10).map(|_| rate.stamp(0)).collect();
        let mut last = None;
        for (n, &stamp) in (1u64..).zip(&stamps) {
            rate.on_delivered(at(20 + n), (at(0), n * 1000), 1000, stamp);
            last = rate.sample(at(20 + n), None);
        }
        let sample = last.unwrap();
        assert_eq!(
            (sample.delivered, sample.interval),
            (10_000, Duration::from_millis(30))
        );
    }

    #[test]
    fn a_full_pipe_is_measured_at_its_rate() {
        // One segment a millisecond, each acknowledged after 20 ms.
        let mut rate = DeliveryRate::new(0, at(0));
        let mut sent = Vec::new();
        for ms in 0..100 {
            if ms >= 20 {
                let n = ms - 20;
                rate.on_delivered(at(ms), (at(n), n * 1000), 1000, sent[n as usize]);
                let sample = rate.sample(at(ms), None).unwrap();
                assert!(
                    ms < 60 || sample.bytes_per_second() == 1_000_000,
                    "{sample:?}"
                );
            }
            sent.push(rate.stamp(0));
        }
    }

    #[test]
    fn acks_that_come_together_do_not_make_it_faster_than_it_was_sent() {
        let mut rate = DeliveryRate::new(0, at(0));
        let first = rate.stamp(0);
        rate.on_delivered(at(10), (at(0), 1000), 1000, first);
        rate.sample(at(10), None);
        let stamp = rate.stamp(0);
        // Sent over 50 ms, acknowledged all at 60 ms.
        for n in 1..=5 {
            rate.on_delivered(at(60), (at(10 * n), 1000 + 1000 * n), 1000, stamp);
        }
        let sample = rate.sample(at(60), None).unwrap();
        assert_eq!(sample.interval, Duration::from_millis(50));
        assert_eq!(sample.bytes_per_second(), 100_000);
    }

    #[test]
    fn a_lack_of_data_marks_the_samples_until_it_has_passed() {
        let mut rate = DeliveryRate::new(0, at(0));
        rate.lack_data(2000);
        let limited = rate.stamp(0);
        rate.on_delivered(at(10), (at(0), 3000), 3000, limited);
        assert!(rate.sample(at(10), None).unwrap().app_limited);
        assert!(!rate.stamp(0).app_limited);
    }

    #[test]
    fn a_sample_below_the_shortest_round_trip_is_none() {
        let mut rate = DeliveryRate::new(0, at(0));
        let stamp = rate.stamp(0);
        rate.on_delivered(at(1), (at(0), 1000), 1000, stamp);
        assert_eq!(rate.sample(at(1), Some(Duration::from_millis(5))), None);
    }

    #[test]
    fn a_sample_knows_what_was_in_flight_and_what_was_lost_since() {
        let mut rate = DeliveryRate::new(0, at(0));
        let first = rate.stamp(1000);
        assert_eq!(rate.on_lost(500, &first), 500);
        let second = rate.stamp(2000);
        assert_eq!(rate.on_lost(300, &first), 800);
        rate.on_delivered(at(10), (at(1), 2000), 1000, second);
        let mut sample = rate.sample(at(10), None).unwrap();
        assert_eq!((sample.tx_in_flight, sample.lost), (2000, 300));
        rate.on_lost(200, &second);
        rate.complete(&mut sample);
        assert_eq!(sample.lost, 500);
    }
}
