//! Loss detection without SACK: the third duplicate ACK makes the first segment lost, and while that is repaired
//! every partial ACK the next one (RFC 5681 §3.2, RFC 6582 §3.2).

use std::time::Duration;

use super::super::flight::{Flight, Piece};
use super::{DUP_THRESH, Found, LossDetection, View};
use crate::time::Instant;

/// Duplicate ACKs since `snd.una` moved: each is for a segment that has arrived somewhere above.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::tcp) struct Duplicates {
    count: u32,
    /// While repairing: `snd.una` advanced, and its next segment is missing too.
    partial: bool,
}

impl LossDetection for Duplicates {
    fn on_delivered(&mut self, _now: Instant, _piece: &Piece, _min_rtt: Duration) {}

    fn on_duplicate(&mut self, most: u32) {
        self.count = (self.count + 1).min(most);
    }

    fn on_advance(&mut self, acked: u64, mss: u64) {
        // One of the segments was the missing one, the others had been counted.
        let others = acked.div_ceil(mss).saturating_sub(1);
        self.count = self.count.saturating_sub(others as u32);
        self.partial = true;
    }

    fn find(&mut self, flight: &mut Flight, view: &View) -> Found {
        let partial = std::mem::take(&mut self.partial);
        if partial && !view.recovering {
            // What arrives in order proves that nothing is missing.
            self.count = 0;
            return Found::default();
        }
        let first_time = flight.first().is_some_and(|piece| piece.times < 2);
        let lost = if view.recovering {
            partial
        } else {
            self.count >= DUP_THRESH && first_time
        };
        let end = (view.una + view.mss).min(flight.end());
        Found {
            lost: if lost { flight.lose(view.una, end) } else { 0 },
            look_at: None,
        }
    }

    fn on_timeout(&mut self, flight: &mut Flight, view: &View) {
        *self = Self::default();
        flight.lose(view.una, flight.end());
    }

    fn arrived_somewhere(&self) -> u32 {
        self.count
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::delivery_rate::Stamp;
    use super::super::Reordering;
    use super::*;

    fn view(una: u64, recovering: bool) -> View {
        View {
            now: Instant::from_millis(100),
            una,
            mss: 1000,
            srtt: Duration::from_millis(20),
            min_rtt: Duration::from_millis(20),
            recovering,
            reordering: Reordering::default(),
        }
    }

    #[test]
    fn the_third_duplicate_finds_one_segment_and_a_partial_ack_the_next() {
        let mut flight = Flight::default();
        flight.send(0, 10_000, 10, Instant::ZERO, Stamp::default());
        let mut duplicates = Duplicates::default();
        for lost in [0, 0, 1000] {
            duplicates.on_duplicate(10);
            assert_eq!(duplicates.find(&mut flight, &view(0, false)).lost, lost);
        }
        flight.resend(0, 1000, 1, Instant::ZERO, Stamp::default());
        duplicates.on_duplicate(10);
        assert_eq!(duplicates.find(&mut flight, &view(0, true)).lost, 0);
        flight.acknowledge(3000, |_| {});
        duplicates.on_advance(3000, 1000);
        assert_eq!(duplicates.arrived_somewhere(), 2);
        assert_eq!(duplicates.find(&mut flight, &view(3000, true)).lost, 1000);
        assert_eq!(flight.first_lost(), Some((3000, 4000)));
    }

    #[test]
    fn no_more_arrived_than_was_sent() {
        let mut duplicates = Duplicates::default();
        (0..100).for_each(|_| duplicates.on_duplicate(4));
        assert_eq!(duplicates.arrived_somewhere(), 4);
    }
}
