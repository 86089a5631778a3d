//! Probing a closed window (RFC 9293 §3.8.6.1).
//!
//! The timer runs while there is something to send, nothing is in flight, and the window lets too little
//! through. It starts at the RTO and backs off like it (SHLD-29, SHLD-30). A window of zero is probed as
//! Linux does, by an empty segment one octet before `snd.una` that obliges the peer to answer; a window
//! that is only too small for a good segment gets a small one (the override of RFC 1122 §4.2.3.4). As
//! long as the peer answers, the window may stay closed for ever (MUST-37).

use super::Error;
use super::TxSegment;
use super::stamp::Draft;
use super::state::State;
use super::tcb::Tcb;
use crate::time::Instant;

impl Tcb {
    /// Nothing can be sent at the moment: starts the persist timer if it is the window's doing.
    pub(super) fn await_window(&mut self, now: Instant) {
        if self.is_lost() {
            // In SYN-RECEIVED the SYN-ACK is the probe; in TIME-WAIT there is nothing to be known.
            let asks = self.state.is_synchronized() && self.state != State::TimeWait;
            if asks && !self.timers.persisting() {
                self.probe_peer(now);
            }
            return;
        }
        let idle = self.snd.una == self.snd.nxt;
        let waiting = self.state.may_transmit_data() && self.sendable_end() > self.snd.nxt;
        let watched = self.timers.retransmitting() || self.timers.persisting();
        if idle && waiting && !watched && self.paced_until().is_none() {
            self.timers.start_persist(now + self.rtt.rto());
        }
    }

    /// Position up to which nothing but the peer's window and the congestion window is in the way.
    fn sendable_end(&self) -> u64 {
        let data = self.send_queue.end();
        let fin = u64::from(self.snd.fin && self.fin_committed());
        (data + fin).min(self.barrier())
    }

    pub(super) fn on_persist_timer(&mut self, now: Instant) {
        if self.is_lost() {
            self.probe_peer(now);
            return;
        }
        if self.snd.window_end() > self.snd.nxt {
            self.pending.force = true;
            return;
        }
        let unanswered = self.statistics.probes;
        let limit = self.retry_limit();
        if unanswered > limit || (unanswered > 0 && self.silent_for_user_timeout(now)) {
            let error = self.soft_error.take().unwrap_or(Error::TimedOut);
            self.finish(Some(error));
            return;
        }
        self.statistics.probes = unanswered.saturating_add(1);
        self.pending.probe = true;
        self.rtt.back_off();
    }

    fn silent_for_user_timeout(&self, now: Instant) -> bool {
        self.user_timeout()
            .is_some_and(|limit| now.since(self.statistics.received_at) >= limit)
    }

    /// An empty segment that the peer has to answer because it lies before its window; also what
    /// keep-alive sends (SHLD-12).
    pub(super) fn probe_segment(&mut self, now: Instant) -> Option<TxSegment> {
        if !std::mem::take(&mut self.pending.probe) {
            return None;
        }
        let owed = self.rcv.acked < self.rcv.committed;
        let mut draft = Draft {
            from: self.snd.una - 1,
            ..Draft::default()
        };
        if let Some(position) = self.old_byte() {
            debug_assert!(position < self.snd.una, "invariant 9");
            draft.from = position;
            draft.len = 1;
            draft.payload.push(bytes::Bytes::from_static(&[0]));
            draft.retransmission = true;
        }
        let probe = self.stamp(now, draft);
        if owed {
            // The peer drops the probe for its sequence number, and what it acknowledges with it.
            self.acknowledge_now();
        }
        probe
    }
}
