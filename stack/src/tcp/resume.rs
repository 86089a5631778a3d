//! Going on after a takeover, when all that is known of our own half is a position that the peer has
//! surely acknowledged.
//!
//! RFC 9293 §3.10.7.4 obliges a synchronised peer to answer a segment outside its window with an ACK that
//! tells exactly where both sides are. So a resumed connection probes with an empty segment one octet
//! before that position, and sends nothing else until it has heard the peer. From then on and for a while
//! an ACK beyond `snd.nxt` is no error: another owner sent those bytes. What the application produces of
//! them again is swallowed, a piece of any length at once.

use std::time::Duration;

use super::tcb::Tcb;
use crate::time::Instant;

/// Probes come after this time, then after twice as long each, up to the second.
const FIRST_PROBE_AFTER: Duration = Duration::from_millis(10);
const PROBES_AT_MOST_EVERY: Duration = Duration::from_secs(1);
/// How long segments of the former owner may still arrive at the peer (RFC 9293 §3.4.2: MSL).
const FORMER_OWNER_FOR: Duration = Duration::from_secs(120);
/// How far ahead of our own knowledge the peer may be: what 32 bits can tell apart.
const FURTHEST_AHEAD: u64 = (1 << 31) - 1;

/// What a resumed connection does not know yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resumed {
    /// The peer has told where it stands.
    pub heard: bool,
    /// It has everything before this position, though the application has not produced it here.
    pub peer_has: u64,
    /// Probes sent.
    pub probes: u8,
    /// When ACKs beyond `snd.nxt` become errors again.
    pub until: Instant,
}

impl Resumed {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            heard: false,
            peer_has: 0,
            probes: 0,
            until: now + FORMER_OWNER_FOR,
        }
    }
}

impl Tcb {
    /// The position from which the peer needs our stream: output before it may be skipped. `None` until a
    /// resumed connection has heard its peer; for any other it is `snd.una`.
    #[must_use]
    pub fn peer_position(&self) -> Option<u64> {
        match &self.resumed {
            Some(resumed) if !resumed.heard => None,
            Some(resumed) => Some(resumed.peer_has.max(self.snd.una)),
            None => Some(self.snd.una),
        }
    }

    /// Position of the next byte given to [`Tcb::send`].
    #[must_use]
    pub fn write_position(&self) -> u64 {
        self.send_queue.end()
    }

    /// Nothing but probes may leave: where the peer stands is not known.
    pub(super) fn is_lost(&self) -> bool {
        self.resumed.as_ref().is_some_and(|resumed| !resumed.heard)
    }

    /// The highest ACK that is believed.
    pub(super) fn believable_ack(&mut self, now: Instant) -> u64 {
        match &self.resumed {
            Some(resumed) if now < resumed.until => self.snd.una + FURTHEST_AHEAD,
            Some(_) if self.is_lost() => self.snd.una + FURTHEST_AHEAD,
            Some(resumed) if resumed.peer_has <= self.send_queue.end() => {
                self.resumed = None;
                self.snd.nxt
            }
            _ => self.snd.nxt,
        }
    }

    /// The peer acknowledges `ack`, which is believable. Returns the part of it that is in the queue;
    /// what lies beyond was sent by the former owner.
    pub(super) fn hear(&mut self, now: Instant, ack: u64) -> u64 {
        let end = self.send_end();
        let Some(resumed) = &mut self.resumed else {
            return ack;
        };
        if !resumed.heard {
            resumed.heard = true;
            resumed.until = now + FORMER_OWNER_FOR;
            self.statistics.progress_at = now;
            self.timers.stop_retransmit();
        }
        if ack > self.snd.nxt {
            resumed.peer_has = resumed.peer_has.max(ack);
            self.snd.nxt = ack.min(end);
        }
        ack.min(end)
    }

    /// How many of `len` bytes about to be queued the peer has already; they are skipped.
    pub(super) fn swallow(&mut self, len: usize) -> usize {
        let end = self.send_queue.end();
        let Some(resumed) = self
            .resumed
            .as_ref()
            .filter(|resumed| resumed.peer_has > end)
        else {
            return 0;
        };
        let swallowed = (len as u64).min(resumed.peer_has - end);
        debug_assert!(self.send_queue.is_empty() && self.snd.una == end);
        self.send_queue = super::send_queue::SendQueue::new(end + swallowed);
        self.snd.una = end + swallowed;
        self.snd.nxt = self.snd.una;
        swallowed as usize
    }

    /// Sends the first probe, and says when the next is due.
    pub(super) fn probe_peer(&mut self, now: Instant) {
        let Some(resumed) = &mut self.resumed else {
            return;
        };
        let wait = FIRST_PROBE_AFTER * (1 << resumed.probes.min(7));
        resumed.probes = resumed.probes.saturating_add(1);
        self.pending.probe = true;
        self.timers
            .start_persist(now + wait.min(PROBES_AT_MOST_EVERY));
    }
}
