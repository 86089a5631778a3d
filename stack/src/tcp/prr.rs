//! Proportional rate reduction (RFC 9937): how much may be sent while the window is being reduced, so that it ends at
//! `ssthresh` without a pause and without a burst, in fast recovery as after an ECN echo.
//!
//! Sizes are bytes, but what may be sent is rounded up to whole segments, as Linux does by counting in them.

/// One reduction of the window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Prr {
    /// RecoverFS: what was in flight when it began.
    flight_size: u64,
    /// Where it ends.
    ssthresh: u64,
    /// prr_delivered.
    delivered: u64,
    /// prr_out.
    out: u64,
    /// The congestion window until the next ACK.
    window: u64,
}

impl Prr {
    /// Begins with `flight_size` bytes sent and not known to have arrived before the ACK that started it (§6.1).
    pub(super) fn new(flight_size: u64, ssthresh: u64) -> Self {
        Self {
            flight_size: flight_size.max(1),
            ssthresh,
            delivered: 0,
            out: 0,
            window: ssthresh,
        }
    }

    /// An ACK says that `delivered` bytes arrived; `in_flight` are left. `safe`: it moved `snd.una` and no further
    /// loss was found (§6.2).
    pub(super) fn on_ack(&mut self, delivered: u64, in_flight: u64, safe: bool, mss: u64) {
        if delivered == 0 {
            return;
        }
        self.delivered += delivered;
        let mut may_send = if in_flight > self.ssthresh {
            let share = u128::from(self.delivered) * u128::from(self.ssthresh);
            let share = share.div_ceil(u128::from(self.flight_size)) as u64;
            share.next_multiple_of(mss).saturating_sub(self.out)
        } else {
            let owed = self.delivered.saturating_sub(self.out).max(delivered);
            let growth = if safe { mss } else { 0 };
            (owed + growth).min(self.ssthresh - in_flight)
        };
        if self.out == 0 {
            // The first retransmission leaves whatever else is said.
            may_send = may_send.max(mss);
        }
        self.window = in_flight + may_send;
    }

    /// So much was sent.
    pub(super) fn on_sent(&mut self, bytes: u64) {
        self.out += bytes;
    }

    /// The congestion window.
    pub(super) const fn window(&self) -> u64 {
        self.window
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MSS: u64 = 1000;

    /// Plays a recovery from `in_flight` segments after `losses` were found lost: an ACK for every segment that is
    /// in flight, each of which may send. Returns what was sent after each ACK.
    fn play(flight: u64, losses: u64, ssthresh: u64, acks: u64) -> (Vec<u64>, u64) {
        let mut prr = Prr::new(flight * MSS, ssthresh * MSS);
        let mut in_flight = (flight - losses) * MSS;
        let mut sent = Vec::new();
        for _ in 0..acks {
            in_flight -= MSS;
            prr.on_ack(MSS, in_flight, false, MSS);
            let segments = prr.window().saturating_sub(in_flight) / MSS;
            prr.on_sent(segments * MSS);
            in_flight += segments * MSS;
            sent.push(segments);
        }
        (sent, in_flight / MSS)
    }

    #[test]
    fn one_loss_sends_in_proportion_and_ends_at_the_threshold() {
        // RFC 9937 §7's first example: 20 segments, one lost, half of them is the target.
        let (sent, in_flight) = play(20, 1, 10, 19);
        assert_eq!(sent[..6], [1, 0, 1, 0, 1, 0]);
        assert_eq!(in_flight, 10);
        assert!(sent.iter().all(|&segments| segments <= 1));
    }

    #[test]
    fn heavy_losses_are_repaired_one_for_one() {
        // 15 of 20 are lost: below the threshold from the start, conservative (CRB).
        let (sent, in_flight) = play(20, 15, 10, 5);
        assert_eq!(sent, [1, 1, 1, 1, 1]);
        assert_eq!(in_flight, 5);
    }

    #[test]
    fn an_ack_that_moves_on_safely_may_catch_up_by_one_segment() {
        let mut prr = Prr::new(20 * MSS, 10 * MSS);
        prr.on_ack(MSS, 4 * MSS, true, MSS);
        assert_eq!(prr.window(), 6 * MSS);
        prr.on_sent(2 * MSS);
        prr.on_ack(MSS, 5 * MSS, false, MSS);
        assert_eq!(prr.window(), 6 * MSS);
        // Never beyond the threshold.
        prr.on_ack(8 * MSS, 9 * MSS, true, MSS);
        assert_eq!(prr.window(), 10 * MSS);
    }

    #[test]
    fn the_first_retransmission_always_leaves() {
        let mut prr = Prr::new(100 * MSS, 2 * MSS);
        prr.on_ack(1, 50 * MSS, false, MSS);
        assert_eq!(prr.window(), 51 * MSS);
    }

    #[test]
    fn an_ack_that_delivers_nothing_changes_nothing() {
        let mut prr = Prr::new(10 * MSS, 7 * MSS);
        prr.on_ack(MSS, 8 * MSS, false, MSS);
        let before = prr;
        prr.on_ack(0, MSS, true, MSS);
        assert_eq!(prr, before);
    }
}
