//! Going on after a takeover, when all that is known of our own half is a position that the peer has
//! surely acknowledged.
//!
//! RFC 9293 §3.10.7.4 obliges a synchronised peer to answer a segment outside its window with an ACK that
//! tells exactly where both sides are. So a resumed connection probes with an empty segment one octet
//! before that position, and sends nothing else until it has heard the peer. From then on and for a while
//! an ACK beyond `snd.nxt` is no error: another owner sent those bytes. Our stream then leaps to where the peer
//! stands; what the application produces before that is swallowed, a piece of any length at once
//! ([`super::survival`]).

use std::time::Duration;

use super::Error;
use super::state::State;
use super::tcb::{FIRST_BYTE, Tcb};
use crate::time::Instant;

/// Probes come after this time, then after twice as long each, up to the second.
const FIRST_PROBE_AFTER: Duration = Duration::from_millis(10);
const PROBES_AT_MOST_EVERY: Duration = Duration::from_secs(1);
/// How long segments of the former owner may still arrive at the peer (RFC 9293 §3.4.2: MSL).
pub(super) const FORMER_OWNER_FOR: Duration = Duration::from_secs(120);
/// Probes without an answer before the peer counts as gone: some minutes, its path may be down.
const MOST_PROBES: u8 = 200;
/// Probes that are empty; the others carry a byte that the peer surely has, which some answer more often.
const EMPTY_PROBES: u8 = 2;
/// How far ahead of our own knowledge the peer may be: what 32 bits can tell apart.
pub(super) const FURTHEST_AHEAD: u64 = (1 << 31) - 1;

/// What a resumed connection does not know yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resumed {
    /// The peer has told where it stands.
    pub heard: bool,
    /// Bytes that the application has yet to produce and the peer has: what was written here ends so far
    /// before the send queue.
    pub behind: u64,
    /// Where our stream ends, if the former owner decided that and not all before it was written here.
    pub fin: Option<u64>,
    /// The peer's TSval is known: PAWS makes sense again.
    pub clock_known: bool,
    /// Our TSval when the connection was resumed: echoes of earlier ones measure nothing.
    pub since: u32,
    /// The former owner decided to abort.
    pub abort: bool,
    /// It owns the connection still.
    pub dormant: bool,
    /// It has sent so far, and told so before it fell silent: what of that is not acknowledged is on its way.
    pub sent_to: u64,
    /// The peer has sent so far, and what of that is missing here was lost with the former owner; 0 when there is nothing
    /// to be said of it.
    pub flight_end: u64,
    /// Probes sent.
    pub probes: u8,
    /// When ACKs beyond `snd.nxt` become errors again.
    pub until: Instant,
}

impl Resumed {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            heard: false,
            behind: 0,
            fin: None,
            clock_known: false,
            since: 0,
            abort: false,
            dormant: false,
            sent_to: 0,
            flight_end: 0,
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
            _ => Some(self.snd.una),
        }
    }

    /// Position of the next byte given to [`Tcb::send`].
    #[must_use]
    pub fn write_position(&self) -> u64 {
        self.send_queue.end() - self.skippable()
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
            Some(resumed) if resumed.behind == 0 && resumed.fin.is_none() => {
                self.resumed = None;
                self.snd.nxt
            }
            _ => self.snd.nxt,
        }
    }

    /// The peer acknowledges `ack`, which is believable. Returns the part of it that is in the queue;
    /// what lies beyond was sent by the former owner.
    pub(super) fn hear(&mut self, now: Instant, ack: u64) -> u64 {
        let Some(resumed) = &mut self.resumed else {
            return ack;
        };
        if !resumed.heard {
            resumed.heard = true;
            resumed.until = now + FORMER_OWNER_FOR;
            self.statistics.progress_at = now;
            self.timers.stop_retransmit();
            self.statistics.retries = 0;
            // Probes lie before the peer's window, so that it took no notice of what they acknowledged.
            self.pending.ack = true;
            if let Some(gating) = &mut self.gating {
                gating.application.waiting.announce();
            }
        }
        if ack > self.send_end() {
            self.leap(ack);
        }
        let ack = ack.min(self.send_end());
        self.snd.nxt = self.snd.nxt.max(ack);
        ack
    }

    /// The peer has our stream up to `position`, as another host says.
    pub(super) fn advance_to(&mut self, position: u64) {
        if position > self.send_end() {
            self.leap(position);
        } else if position > self.snd.una {
            self.snd.una = position;
            self.snd.nxt = self.snd.nxt.max(position);
            self.send_queue
                .release_to(position.min(self.send_queue.end()));
        }
    }

    /// The peer has what was never written here: our stream goes on where it stands, and the application
    /// catches up.
    fn leap(&mut self, ack: u64) {
        let fin = self.resumed.as_ref().and_then(|resumed| resumed.fin);
        let to = fin.map_or(ack, |fin| fin.min(ack));
        let leapt = to - self.send_queue.end();
        if let Some(resumed) = &mut self.resumed {
            resumed.behind += leapt;
        }
        if leapt > 0 {
            self.stand_at(to);
        }
        if fin == Some(to) {
            // Nothing that the application may still write is missing to the peer.
            self.snd.fin = true;
            let next = match self.state {
                State::Established => State::FinWait1,
                State::CloseWait => State::LastAck,
                state => state,
            };
            self.enter(next);
        }
    }

    /// A segment that is acceptable otherwise tells the peer's clock; true if there is none to compare it
    /// with (RFC 7323 §5.5 has the same exemption for old ones).
    pub(super) fn clock_is_unknown(&self) -> bool {
        self.resumed.as_ref().is_some_and(|it| !it.clock_known)
    }

    /// True for the echo of a TSval that this host never sent: it measures nothing.
    pub(super) fn is_foreign_echo(&self, echo: u32) -> bool {
        let before = |since: u32| (echo.wrapping_sub(since) as i32) < 0;
        self.resumed.as_ref().is_some_and(|it| before(it.since))
    }

    /// A probe that some peers answer more often than an empty one: a byte that the peer surely has
    /// (invariant 9), so that what it is does not matter.
    pub(super) fn old_byte(&self) -> Option<u64> {
        let resumed = self.resumed.as_ref().filter(|it| !it.heard)?;
        // Not our FIN, which has no byte.
        let end = self.snd.una.min(self.send_queue.end());
        (resumed.probes > EMPTY_PROBES && end > FIRST_BYTE).then(|| end - 1)
    }

    /// Sends a probe, and says when the next is due.
    pub(super) fn probe_peer(&mut self, now: Instant) {
        let Some(resumed) = &mut self.resumed else {
            return;
        };
        if resumed.probes >= MOST_PROBES {
            self.finish(Some(Error::TimedOut));
            return;
        }
        let wait = FIRST_PROBE_AFTER * (1 << resumed.probes.min(7));
        resumed.probes = resumed.probes.saturating_add(1);
        self.pending.probe = true;
        self.timers
            .start_persist(now + wait.min(PROBES_AT_MOST_EVERY));
    }
}
