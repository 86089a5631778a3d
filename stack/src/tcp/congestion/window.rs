//! What every algorithm keeps: the congestion window, its threshold, and what they are made of; and how a window grows in
//! slow start, falls after time-outs and idleness, and comes back when a loss was none.

use std::time::Duration;

use super::slow_start::{Advice, SlowStart};
use super::{AckEvent, Timeout};

/// No window grows beyond what window scaling can express (RFC 7323 §2.3).
pub(super) const MAX_WINDOW: u32 = 1 << 30;

/// What every algorithm keeps: the window, its threshold, and what they are made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    pub(super) cwnd: u32,
    /// `u32::MAX` while there is none.
    pub(super) ssthresh: u32,
    pub(super) initial: u32,
    pub(super) mss: u16,
    /// The window was the limit when the last ACK came.
    pub(super) limited: bool,
}

impl Window {
    pub(super) fn new(mss: usize, initial: usize) -> Self {
        let initial = initial.min(MAX_WINDOW as usize) as u32;
        Self {
            cwnd: initial,
            ssthresh: u32::MAX,
            initial,
            mss: mss.clamp(1, usize::from(u16::MAX)) as u16,
            limited: false,
        }
    }

    pub(super) fn mss(&self) -> u32 {
        u32::from(self.mss)
    }

    /// The first slow start, which ends when delay grows (RFC 9406). Returns the acknowledged bytes that are left
    /// for congestion avoidance.
    pub(super) fn first_slow_start(&mut self, slow_start: &mut SlowStart, ack: &AckEvent) -> u64 {
        let acked = ack.acked_bytes as u64;
        match slow_start.on_ack(ack, self.cwnd, self.mss()) {
            Advice::Grow(divisor) => self.slow_start(acked, divisor),
            Advice::Leave => {
                self.ssthresh = self.cwnd;
                acked
            }
        }
    }

    /// After a time-out: what is still in flight, and one segment (RFC 5681 §3.1, as Linux).
    pub(super) fn on_timeout(&mut self, timeout: &Timeout) {
        let in_flight = timeout.in_flight.min(self.cwnd as usize) as u32;
        self.cwnd = in_flight + self.mss();
    }

    pub(super) fn grow(&mut self, bytes: u64) {
        let cwnd = u64::from(self.cwnd) + bytes;
        self.cwnd = cwnd.min(u64::from(MAX_WINDOW)) as u32;
    }

    pub(super) const fn in_slow_start(&self) -> bool {
        self.cwnd < self.ssthresh
    }

    /// Grows up to the threshold by what is acknowledged, divided by `divisor` (RFC 5681 §3.1 with
    /// RFC 3465's L unlimited, as in Linux: ACKs are few and large where receivers merge segments).
    /// Returns the acknowledged bytes that are left for congestion avoidance.
    pub(super) fn slow_start(&mut self, acked: u64, divisor: u64) -> u64 {
        let room = u64::from(self.ssthresh.saturating_sub(self.cwnd));
        let growth = (acked / divisor).min(room);
        self.grow(growth);
        acked - growth * divisor
    }

    /// What the window after a reduction is computed from: the window if it was in full use (as Linux
    /// does; RFC 9438 §4.6), else the flight size (RFC 5681 §3.1). Limited transmit may have sent beyond
    /// the window.
    pub(super) fn basis(&self, flight_size: usize) -> u32 {
        if self.limited {
            return self.cwnd;
        }
        self.cwnd.min(flight_size.min(MAX_WINDOW as usize) as u32)
    }

    /// At least two segments.
    pub(super) fn set_ssthresh(&mut self, bytes: u32) {
        self.ssthresh = bytes.max(2 * self.mss());
    }

    /// Back to what was before a reduction, unless more is allowed by now.
    pub(super) fn undo<T>(&mut self, prior: &Prior<T>) {
        self.cwnd = self.cwnd.max(prior.cwnd);
        self.ssthresh = self.ssthresh.max(prior.ssthresh);
    }

    pub(super) fn ssthresh(&self) -> usize {
        match self.ssthresh {
            u32::MAX => usize::MAX,
            ssthresh => ssthresh as usize,
        }
    }

    pub(super) fn set_mss(&mut self, mss: usize) {
        self.mss = mss.clamp(1, usize::from(u16::MAX)) as u16;
        self.cwnd = self.cwnd.max(self.mss());
    }

    /// The window after idleness: halved for every RTO, down to the initial one, while the threshold
    /// remembers most of it (RFC 2861 §3, as Linux does; RFC 5681 §4.1 would fall to the initial
    /// window at once).
    pub(super) fn on_idle(&mut self, idle: Duration, rto: Duration) {
        let periods = idle.as_nanos() / rto.as_nanos().max(1);
        if periods == 0 || self.cwnd <= self.initial {
            return;
        }
        if self.ssthresh != u32::MAX {
            self.ssthresh = self.ssthresh.max(self.cwnd / 4 * 3);
        }
        let shift = periods.min(31) as u32;
        self.cwnd = (self.cwnd >> shift).max(self.initial);
    }
}

/// What to go back to if a loss was none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Prior<T> {
    pub(super) cwnd: u32,
    pub(super) ssthresh: u32,
    pub(super) detail: T,
}
