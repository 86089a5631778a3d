//! What the peer sent while its server died is lost with it. A peer whose window is full of that sends nothing more, and
//! so hears of no gap: whatever duplicate ACKs it gets it waits for its own timer, 200 ms at least on Linux (FAILOVER §2).
//!
//! So one ACK of a connection that was taken over claims that the end of that flight arrived (SACK, RFC 2018): then the peer
//! sends all before it again at once. The claim is not true, and costs no byte: who sends keeps what is only SACKed until it
//! is acknowledged (§8), and sends it too when acknowledgments stop before it.

use super::arrival::Place;
use super::tcb::{NEVER, Tcb};

/// The claim is so many full-sized segments long, so that it holds a whole one wherever segments begin.
const SEGMENTS: u64 = 2;

impl Tcb {
    /// A peer that was not heard since the takeover tells with a segment at `place` how far it has sent.
    pub(super) fn note_lost_flight(&mut self, place: Place) {
        let says_nothing_else = place.start == place.end;
        if let Some(resumed) = self.resumed.as_mut().filter(|_| says_nothing_else) {
            resumed.flight_end = place.start;
        }
    }

    /// The end of what was lost, to be claimed; none if that is too little to have whole segments in it, or the peer hears
    /// of a gap anyway.
    pub(super) fn lost_flight(&self) -> Option<(u64, u64)> {
        let end = self.resumed.as_ref()?.flight_end;
        let segment = u64::from(self.announced_mss());
        let start = end.checked_sub(SEGMENTS * segment)?;
        let missing = start >= self.rcv.nxt + segment && self.rcv.fin == NEVER;
        (missing && !self.receive_queue.has_gaps()).then_some((start, end))
    }

    /// Once is enough: should it be lost, the peer's timer does the rest.
    pub(super) fn forget_lost_flight(&mut self) {
        if let Some(resumed) = &mut self.resumed {
            resumed.flight_end = 0;
        }
    }
}
