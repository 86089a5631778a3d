//! How much goes to the device in one piece where it cuts segments: on Linux no more than what is sent in about a
//! millisecond, so that a burst does not fill a queue on the way ("TSO autosizing"). Off unless asked for
//! ([`super::Config::min_burst_segments`]): a device that cuts for the host itself has no queue on the way.

use std::time::Duration;

use super::congestion::CongestionControl;
use super::pacing::rate_of_window;
use super::tcb::Tcb;
use crate::time::Instant;

/// A burst is a 1024th of what the pacing rate sends in a second.
const RATE_SHIFT: u32 = 10;
/// On short paths it is larger: 64 KiB, halved for each 512 µs.
const ROUND_TRIP_SHIFT: u32 = 9;
const MAX_BURST_BYTES: u64 = 65_536;

/// What is held back for a larger piece waits no longer than this, nor for an ACK that is further away.
const PATIENCE: Duration = Duration::from_millis(1);

impl Tcb {
    /// Waiting for more to be cut together pays: there is a device that cuts, nothing is being repaired, and an ACK will
    /// come soon (as Linux decides it). What left later than that would meet a queue on the way as a burst.
    pub(super) fn defers(&self, now: Instant) -> bool {
        if !self.cuts() || self.recovery.is_some() {
            return false;
        }
        let srtt = self.rtt.srtt().unwrap_or_default();
        let transit = self.transit.as_ref();
        let oldest = transit.and_then(|it| it.flight.first());
        let soon =
            oldest.is_some_and(|piece| piece.sent_at + srtt <= now + (srtt / 2).min(PATIENCE));
        soon && now.since(self.statistics.sent_at) <= PATIENCE
    }

    /// Most segments that leave in one piece.
    pub(super) fn burst_segments(&self) -> usize {
        let Some(least) = self.settings.config().min_burst_segments else {
            return usize::MAX;
        };
        let mss = u64::from(self.effective_mss());
        let cwnd = self.cwnd();
        let bytes = match self.rtt.srtt() {
            None => MAX_BURST_BYTES,
            Some(srtt) => {
                let srtt_us = (srtt.as_micros() as u64).max(1);
                let fast = cwnd < (self.congestion.ssthresh() / 2) as u64;
                let rate = rate_of_window(cwnd, srtt, fast);
                let near = srtt_us >> ROUND_TRIP_SHIFT;
                let bonus = MAX_BURST_BYTES.checked_shr(near as u32).unwrap_or(0);
                ((rate >> RATE_SHIFT) + bonus).min(MAX_BURST_BYTES)
            }
        };
        // At least two pieces a window, so that ACKs come evenly.
        let half_window = (cwnd / mss / 2).max(1);
        let segments = (bytes / mss).max(u64::from(least)).min(half_window) as usize;
        // Nor more than half of what the peer takes, so that it goes on reading while the rest is on its way.
        segments.min(self.piece() / mss as usize)
    }
}
