//! What must hold after every event (RFC 9293 §3.3.1, §3.8.6; FAILOVER's invariants 1 and 12). Compiled
//! to nothing without debug assertions.

use super::tcb::Tcb;

#[cfg(debug_assertions)]
impl Tcb {
    /// Asserts the invariants.
    pub(super) fn check(&self) {
        use super::state::State;
        let (snd, rcv) = (&self.snd, &self.rcv);
        assert!(
            snd.una <= snd.nxt,
            "snd.una {} > snd.nxt {}",
            snd.una,
            snd.nxt
        );
        assert!(rcv.committed <= rcv.nxt, "committed what was not received");
        assert!(
            rcv.acked <= rcv.committed.max(1),
            "acknowledged what is not committed"
        );
        if self.state == State::Closed || self.state == State::SynSent {
            return;
        }
        assert!(
            snd.nxt <= self.send_end().max(1),
            "sent {} of {} queued",
            snd.nxt,
            self.send_end()
        );
        assert!(
            self.send_queue.start() == snd.una.clamp(1, self.send_queue.end()),
            "the send queue starts at {} and snd.una is {}",
            self.send_queue.start(),
            snd.una
        );
        assert!(
            rcv.nxt <= rcv.edge + 1,
            "received {} beyond the edge {}",
            rcv.nxt,
            rcv.edge
        );
        let fin = u64::from(rcv.fin < rcv.nxt);
        assert_eq!(
            rcv.nxt,
            self.receive_queue.next() + fin,
            "rcv.nxt and its queue"
        );
        assert!(
            // What nobody will read is discarded, whatever becomes of it.
            self.receive_queue.consumed() <= rcv.committed || self.released || self.error.is_some(),
            "read what is not committed"
        );
        if let Some(gating) = &self.gating {
            assert!(
                rcv.edge <= gating.right_edge,
                "promised more than is committed"
            );
        }
        if snd.nxt > snd.una {
            assert!(
                self.timers.retransmitting(),
                "data in flight and no timer: {self:?}"
            );
        }
        if let Some(transit) = &self.transit {
            let first = transit.flight.first().map_or(snd.una, |piece| piece.start);
            assert!(snd.una < snd.nxt, "keeps account of nothing");
            assert!(
                first <= snd.una && transit.flight.end() <= snd.nxt,
                "pieces from {first} to {} of {} to {}",
                transit.flight.end(),
                snd.una,
                snd.nxt
            );
        }
    }
}

#[cfg(not(debug_assertions))]
impl Tcb {
    /// Nothing.
    #[inline]
    pub(super) fn check(&self) {}
}
