//! RACK (RFC 8985 §6): a segment is lost when one that was sent enough later has arrived. What is sent again has a
//! time too, so that its loss is found like any other.
//!
//! "Enough" is nothing while no reordering was ever seen and three segments are SACKed, which is what RFC 6675 would
//! do; otherwise a quarter of the shortest round trip, more for every round trip in which the receiver reports
//! duplicates (§6.2 step 4). Which retransmissions to believe is decided as in Linux, without timestamps: an ACK
//! that comes sooner than any round trip is for an earlier transmission.

use std::time::Duration;

use super::super::flight::{Fate, Flight, Piece, Verdict};
use super::{DUP_THRESH, Found, LossDetection, View};
use crate::time::Instant;

/// Recoveries for which a wider reordering window is kept (§6.2 step 4).
const PERSIST: u8 = 16;
/// The window as parts of the shortest round trip.
const WINDOW_DIVISOR: u32 = 4;

/// What the most recently sent segment that arrived tells.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::tcp) struct Rack {
    /// RACK.xmit_ts and RACK.end_seq.
    sent_at: Instant,
    end: u64,
    /// RACK.rtt; none until something arrived.
    rtt: Option<Duration>,
    /// RACK.fack: the highest position that arrived.
    furthest: u64,
    /// How far something that arrived was behind what had been sent later and was here already, in bytes.
    late_by: u64,
}

/// What a connection remembers of reordering on its path.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::tcp) struct Reordering {
    /// RACK.reordering_seen, as the number of times (Linux's `reord_seen`).
    pub seen: u8,
    /// The most segments by which anything was late beyond [`DUP_THRESH`]. For those who ask; nothing follows from it.
    beyond: u8,
    /// RACK.reo_wnd_mult - 1.
    widened: u8,
    /// RACK.reo_wnd_persist.
    persist: u8,
    /// DSACKs until `snd.una` is here (modulo 2^32) belong to the round that widened the window last.
    round_end: u32,
}

impl Reordering {
    /// The receiver reports a duplicate: once per round trip that widens the window.
    pub(in crate::tcp) fn on_duplicate_report(&mut self, una: u64, nxt: u64) {
        let next_round = (una as u32).wrapping_sub(self.round_end) as i32 >= 0;
        if self.widened == 0 || next_round {
            self.round_end = nxt as u32;
            self.widened = self.widened.saturating_add(1);
            self.persist = PERSIST;
        }
    }

    /// Something came `late_by` bytes behind what had been sent later.
    pub(in crate::tcp) fn on_late(&mut self, late_by: u64, mss: u64) {
        let beyond = late_by.div_ceil(mss).saturating_sub(DUP_THRESH.into());
        self.beyond = self.beyond.max(u8::try_from(beyond).unwrap_or(u8::MAX));
        self.on_seen();
    }

    /// The path was seen to reorder.
    pub(in crate::tcp) const fn on_seen(&mut self) {
        self.seen = self.seen.saturating_add(1);
    }

    /// The most segments by which anything was late, three at least (`tcpi_reordering`).
    pub(in crate::tcp) fn segments(&self) -> u32 {
        DUP_THRESH + u32::from(self.beyond)
    }

    /// A recovery ended without having been in vain.
    pub(in crate::tcp) fn on_recovered(&mut self) {
        self.persist = self.persist.saturating_sub(1);
        if self.persist == 0 {
            self.widened = 0;
        }
    }

    /// RACK.reo_wnd.
    fn window(&self, flight: &Flight, view: &View) -> Duration {
        let hurry = view.recovering || flight.sacked_segments() >= DUP_THRESH;
        if self.seen == 0 && hurry {
            return Duration::ZERO;
        }
        let window = view.min_rtt * (u32::from(self.widened) + 1) / WINDOW_DIVISOR;
        window.min(view.srtt)
    }
}

impl Rack {
    /// How far something came late since this was last asked, in bytes; none if nothing did.
    pub(in crate::tcp) fn take_late(&mut self) -> Option<u64> {
        let late_by = std::mem::take(&mut self.late_by);
        (late_by > 0).then_some(late_by)
    }

    /// `piece` was sent before the segment that speaks for the path now.
    fn is_after(&self, piece: &Piece) -> bool {
        (self.sent_at, self.end) > (piece.sent_at, piece.end)
    }
}

impl LossDetection for Rack {
    fn on_delivered(&mut self, now: Instant, piece: &Piece, min_rtt: Duration) {
        if piece.fate == Fate::Sacked {
            return;
        }
        if piece.end > self.furthest {
            self.furthest = piece.end;
        } else if piece.is_unambiguous() {
            self.late_by = self.late_by.max(self.furthest - piece.start);
        }
        let rtt = now.since(piece.sent_at);
        if !piece.is_unambiguous() && rtt < min_rtt {
            return;
        }
        // Of every segment, also of one that was sent before (§6.2 step 2): so what is left of an older flight
        // is given the time that its neighbours took.
        let first = self.rtt.replace(rtt).is_none();
        if first || !self.is_after(piece) {
            self.sent_at = piece.sent_at;
            self.end = piece.end;
        }
    }

    fn on_duplicate(&mut self, _most: u32) {}

    fn on_advance(&mut self, _acked: u64, _mss: u64) {}

    fn find(&mut self, flight: &mut Flight, view: &View) -> Found {
        let Some(rtt) = self.rtt else {
            return Found::default();
        };
        let patience = rtt + view.reordering.window(flight, view);
        let mut look_at = None;
        let lost = flight.examine(|piece| {
            if !self.is_after(piece) {
                // What follows a first transmission was sent later than it.
                return if piece.is_unambiguous() {
                    Verdict::Stop
                } else {
                    Verdict::Keep
                };
            }
            let due = piece.sent_at + patience;
            if due <= view.now {
                return Verdict::Lose;
            }
            look_at = look_at.max(Some(due));
            Verdict::Keep
        });
        Found { lost, look_at }
    }

    /// The first segment, and what was sent a round trip ago or earlier (§6.3).
    fn on_timeout(&mut self, flight: &mut Flight, view: &View) {
        let patience = self.rtt.unwrap_or_default() + view.reordering.window(flight, view);
        flight.examine(|piece| {
            let overdue = piece.sent_at + patience <= view.now;
            if overdue || piece.start <= view.una {
                Verdict::Lose
            } else {
                Verdict::Keep
            }
        });
    }

    fn arrived_somewhere(&self) -> u32 {
        0
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::delivery_rate::Stamp;
    use super::*;

    const RTT: Duration = Duration::from_millis(20);

    fn at(ms: u64) -> Instant {
        Instant::from_millis(ms)
    }

    struct Bench {
        flight: Flight,
        rack: Rack,
        view: View,
    }

    impl Bench {
        /// Ten segments of 1000 bytes, one a millisecond from 100 ms on.
        fn new() -> Self {
            let mut flight = Flight::default();
            for n in 0..10 {
                flight.send(1000 * n, 1000 * n + 1000, 1, at(100 + n), Stamp::default());
            }
            let view = View {
                now: at(120),
                una: 0,
                mss: 1000,
                srtt: RTT,
                min_rtt: RTT,
                recovering: false,
                reordering: Reordering::default(),
            };
            Self {
                flight,
                rack: Rack::default(),
                view,
            }
        }

        fn sack(&mut self, now_ms: u64, n: u64) -> Found {
            self.view.now = at(now_ms);
            let rack = &mut self.rack;
            self.flight.sack(1000 * n, 1000 * n + 1000, |piece| {
                rack.on_delivered(at(now_ms), piece, RTT);
            });
            if let Some(late_by) = rack.take_late() {
                self.view.reordering.on_late(late_by, 1000);
            }
            self.find(now_ms)
        }

        fn find(&mut self, now_ms: u64) -> Found {
            self.view.now = at(now_ms);
            self.rack.find(&mut self.flight, &self.view)
        }

        fn resend(&mut self, now_ms: u64, n: u64) {
            let (start, stamp) = (1000 * n, Stamp::default());
            self.flight
                .resend(start, start + 1000, 1, at(now_ms), stamp);
        }
    }

    #[test]
    fn three_segments_sacked_above_are_enough_without_reordering() {
        let mut bench = Bench::new();
        // The first is missing; the second to fourth arrive.
        assert_eq!(bench.sack(121, 1).lost, 0);
        assert_eq!(bench.sack(122, 2).lost, 0);
        assert_eq!(bench.sack(123, 3).lost, 1000);
        assert_eq!(bench.flight.first_lost(), Some((0, 1000)));
    }

    #[test]
    fn one_segment_above_is_enough_after_a_quarter_of_a_round_trip() {
        let mut bench = Bench::new();
        let found = bench.sack(121, 1);
        // Sent at 100 ms, RACK.rtt 20 ms, window 5 ms.
        assert_eq!(
            found,
            Found {
                lost: 0,
                look_at: Some(at(125))
            }
        );
        assert_eq!(bench.find(124).lost, 0);
        assert_eq!(bench.find(125).lost, 1000);
    }

    #[test]
    fn a_retransmission_that_is_lost_is_found_when_what_was_sent_after_it_arrives() {
        let mut bench = Bench::new();
        (1..4).for_each(|n| _ = bench.sack(120 + n, n));
        bench.view.recovering = true;
        bench.resend(123, 0);
        // Of the first flight; the retransmission is younger than all of it.
        assert_eq!(bench.sack(129, 9).lost, 5000);
        bench.resend(129, 4);
        assert_eq!(bench.flight.lost(), 4000);
        let found = bench.sack(149, 4);
        assert_eq!(found.lost, 1000);
        assert_eq!(bench.flight.first_lost(), Some((0, 1000)));
    }

    #[test]
    fn an_ack_too_soon_for_the_retransmission_moves_nothing() {
        let mut bench = Bench::new();
        (1..4).for_each(|n| _ = bench.sack(120 + n, n));
        bench.resend(123, 0);
        let before = bench.rack.sent_at;
        let rack = &mut bench.rack;
        bench
            .flight
            .acknowledge(1000, |piece| rack.on_delivered(at(126), piece, RTT));
        assert_eq!(bench.rack.sent_at, before);
    }

    #[test]
    fn reordering_once_seen_costs_the_shortcut() {
        let mut bench = Bench::new();
        bench.sack(121, 1);
        bench.sack(121, 0);
        assert_eq!(bench.view.reordering.seen, 1);
        // Now three above are not enough, only time is.
        for n in 4..7 {
            assert_eq!(bench.sack(120 + n, n).lost, 0);
        }
        assert_eq!(bench.find(127).lost, 1000);
    }

    #[test]
    fn duplicates_reported_widen_the_window_once_a_round_trip_and_not_beyond_the_srtt() {
        let mut reordering = Reordering {
            seen: 1,
            ..Reordering::default()
        };
        let bench = Bench::new();
        let quarters = |it: &Reordering| (it.window(&bench.flight, &bench.view) / 5).as_millis();
        assert_eq!(quarters(&reordering), 1);
        reordering.on_duplicate_report(1000, 9000);
        reordering.on_duplicate_report(5000, 9000);
        assert_eq!(quarters(&reordering), 2);
        for round in 1..10 {
            reordering.on_duplicate_report(9000 * round, 9000 * (round + 1));
        }
        assert_eq!(quarters(&reordering), 4);
        (0..15).for_each(|_| reordering.on_recovered());
        assert_eq!(quarters(&reordering), 4);
        reordering.on_recovered();
        assert_eq!(quarters(&reordering), 1);
    }
}
