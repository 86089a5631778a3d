//! Fifth step of segment arrival: the ACK field, and what the window and SACK fields add to it
//! (RFC 9293 §3.10.7.4; RFC 5681, RFC 6675, RFC 5961 §5, RFC 7323 §4).

use std::time::Duration;

use super::arrival::{Arrival, Place, Stop};
use super::congestion::{AckEvent, CongestionControl};
use super::state::State;
use super::tcb::{NEVER, Tcb};
use super::{Flags, Segment};
use crate::counters::Counter;
use crate::time::Instant;

impl Tcb {
    /// Fifth: the ACK field.
    pub(super) fn fifth_ack(
        &mut self,
        now: Instant,
        segment: &Segment,
        place: Place,
    ) -> Result<(), Stop> {
        if !segment.flags.contains(Flags::ACK) {
            return Err(Arrival::Dropped(Counter::TcpDropState));
        }
        let ack = self.our_position(segment.ack);
        if self.state == State::SynReceived {
            return self.ack_of_syn(now, segment, ack);
        }
        // Acknowledging what was never sent, or older than any window reaches (RFC 5961 §5.2).
        let oldest = self.snd.una.saturating_sub(u64::from(self.snd.max_wnd));
        let latest = self.believable_ack(now);
        let Some(ack) = ack.filter(|&ack| ack >= oldest && ack <= latest) else {
            self.challenge(now);
            return Err(Arrival::Dropped(Counter::TcpDropState));
        };
        let ack = self.hear(now, ack);
        if self.resumed.as_ref().is_some_and(|it| it.abort) {
            // The former owner had decided to.
            self.abort();
            return Err(Arrival::Taken);
        }
        self.statistics.probes = 0;
        self.snd.held = false;
        let window_moved = ack >= self.snd.una && self.update_window(segment, ack);
        let news = self.take_sack(segment, ack);
        if ack > self.snd.una {
            self.new_ack(now, segment, ack);
            self.after_our_fin(now);
        } else if ack == self.snd.una {
            let pure = place.end == place.start && !window_moved;
            self.duplicate_ack(now, segment, pure, news);
        }
        if self.state == State::Closed {
            return Err(Arrival::Taken);
        }
        Ok(())
    }

    /// In SYN-RECEIVED: exactly our SYN, or a RST that says so.
    fn ack_of_syn(
        &mut self,
        now: Instant,
        segment: &Segment,
        ack: Option<u64>,
    ) -> Result<(), Stop> {
        // Taken over before it was known to stand, the peer may have more than our SYN.
        let latest = self.believable_ack(now);
        let Some(ack) = ack.filter(|&ack| ack > self.snd.una && ack <= latest) else {
            self.pending.refusal = Some(segment.ack);
            return Err(Arrival::Dropped(Counter::TcpDropState));
        };
        self.note_round_trip(now, segment, ack);
        self.snd.una = self.hear(now, ack);
        self.establish(now, segment);
        Ok(())
    }

    /// SND.WND, unless the segment is older than the one that set it last. True when it changed.
    fn update_window(&mut self, segment: &Segment, ack: u64) -> bool {
        let newer_seq = segment.seq.wrapping_sub(self.snd.wl1) as i32;
        let newer_ack = segment.ack.wrapping_sub(self.snd.wl2) as i32;
        if ack == self.snd.una && (newer_seq < 0 || (newer_seq == 0 && newer_ack < 0)) {
            return false;
        }
        let window = u32::from(segment.window) << self.snd.scale;
        self.snd.wl1 = segment.seq;
        self.snd.wl2 = segment.ack;
        if window == self.snd.wnd {
            return false;
        }
        if window > self.snd.wnd && self.timers.persisting() {
            self.timers.stop_retransmit();
            self.rtt.reset_back_off();
        }
        self.snd.wnd = window;
        if window > self.snd.max_wnd {
            self.snd.max_wnd = window;
            self.apply_mss();
        }
        true
    }

    /// New data is acknowledged.
    fn new_ack(&mut self, now: Instant, segment: &Segment, ack: u64) {
        let acked = ack - self.snd.una;
        let in_flight = self.in_flight();
        let rtt = self.note_round_trip(now, segment, ack);
        self.snd.una = ack;
        self.send_queue.release_to(ack.min(self.send_queue.end()));
        self.statistics.retries = 0;
        self.statistics.progress_at = now;
        self.soft_error = None;
        if self.recovery.is_some() {
            self.recovery_on_new_ack(now, segment, acked);
        }
        if self.may_grow() {
            self.congestion.on_ack(&AckEvent {
                now,
                acked_bytes: acked as usize,
                in_flight: in_flight as usize,
                srtt: self.rtt.srtt(),
                rtt,
                una: self.snd.una,
                nxt: self.snd.nxt,
                cwnd_limited: self.snd.cwnd_limited,
            });
        }
        // RFC 6298 §5.2, §5.3.
        if self.snd.una == self.snd.nxt {
            self.timers.stop_retransmit();
        } else {
            self.timers.start_retransmit(now + self.rtt.rto());
        }
    }

    /// A sample for the RTT: of the timed segment, or by timestamps if that one had to be sent again
    /// (Karn; RFC 6298 §3, RFC 7323 §4).
    /// Returns it.
    pub(super) fn note_round_trip(
        &mut self,
        now: Instant,
        segment: &Segment,
        ack: u64,
    ) -> Option<Duration> {
        let sample = if self.snd.timed == NEVER {
            let (_, echo) = segment.options.timestamps.filter(|_| self.timestamps.on)?;
            let millis = self.timestamps.value(now).wrapping_sub(echo);
            // A longer time is no echo of ours.
            let ours = echo != 0 && millis < 1 << 24 && !self.is_foreign_echo(echo);
            let sample = ours.then(|| Duration::from_millis(u64::from(millis.max(1))))?;
            if self.statistics.retries == 0 {
                sample
            } else {
                // After time-outs the echo may be of a copy that arrived long ago, its ACK having been
                // lost (RFC 7323 §5.3 R2 before R3). Believed as it is, it would let the RTO grow with
                // every time-out of a path that loses ACKs, to minutes. If the path has really become so
                // slow, the next samples will say so too.
                let usual = self.rtt.srtt().map(|srtt| srtt + self.rtt.rttvar());
                sample.min(usual.unwrap_or(self.rtt.base_rto()))
            }
        } else {
            if ack <= self.snd.timed {
                return None;
            }
            self.snd.timed = NEVER;
            now.since(self.snd.timed_at)
        };
        self.rtt.sample(sample);
        Some(sample)
    }

    /// What follows when our FIN is acknowledged.
    pub(super) fn after_our_fin(&mut self, now: Instant) {
        if !self.fin_acknowledged() {
            return;
        }
        match self.state {
            State::FinWait1 => {
                self.enter(State::FinWait2);
                self.wait_for_fin(now);
            }
            State::Closing => self.start_time_wait(now),
            State::LastAck => self.finish(None),
            _ => {}
        }
    }
}
