//! What may leave now that something was committed.

use super::{ANCHOR_REACH_BYTES, Commit, Note, Stage};
use crate::tcp::state::State;
use crate::tcp::tcb::Tcb;

impl Tcb {
    /// Applies a commit that was asked for; afterwards the writer has to look at the connection.
    pub fn commit(&mut self, commit: &Commit) {
        let Some(gating) = self.gating.as_mut() else {
            return;
        };
        match commit {
            Commit::Record { .. } => gating.record = Stage::Committed,
            Commit::Fin { .. } => gating.fin = Stage::Committed,
            Commit::Abort => gating.abort = Stage::Committed,
            &Commit::Received {
                upto, right_edge, ..
            } => {
                // A FIN just beyond the window was taken all the same.
                gating.right_edge = gating.right_edge.max(right_edge).max(upto);
                let upto = upto.min(self.rcv.nxt);
                if upto > self.rcv.committed {
                    self.rcv.committed = upto;
                    self.pending.ack = true;
                }
                // The application may have read while this was asked for, and not read again.
                self.pending.ack |= self.window_update_due();
            }
            &Commit::Note { number, ref note } => {
                if let &Note::Anchor { position, .. } = note {
                    gating.anchor.1 = gating.anchor.1.max(position);
                }
                self.commit_reached(number);
            }
        }
        self.check();
    }

    /// Bytes given to `send` from now on wait until commit `number` is reached; numbers must not fall.
    pub fn send_after_commit(&mut self, number: u64) {
        let position = self.send_queue.end();
        let gating = self.gating.get_or_insert_default();
        if number <= gating.reached {
            return;
        }
        match gating.barriers.back_mut() {
            Some(last) if last.1 >= number => {}
            Some(last) if last.0 == position => last.1 = number,
            _ => gating.barriers.push_back((position, number)),
        }
    }

    /// Commit `number` and all below it are done: bytes that waited for them may leave.
    pub fn commit_reached(&mut self, number: u64) {
        let Some(gating) = self.gating.as_mut() else {
            return;
        };
        gating.reached = gating.reached.max(number);
        while gating.barriers.front().is_some_and(|b| b.1 <= number) {
            gating.barriers.pop_front();
        }
    }

    /// True when frames may leave at all. Our own first SYN does: until the peer's arrives there is
    /// nothing to record, and nobody is promised anything.
    pub(in crate::tcp) fn record_committed(&self) -> bool {
        if self.state == State::SynSent {
            return true;
        }
        self.gating
            .as_ref()
            .is_none_or(|gating| gating.record == Stage::Committed)
    }

    /// True when a segment of new data may leave, agreed to if it has to be.
    pub(in crate::tcp) fn keeps_step(&self) -> bool {
        self.gating.as_ref().is_none_or(|it| it.keeps_step())
    }

    /// The segment that was agreed to leaves.
    pub(in crate::tcp) fn take_step(&mut self) {
        if let Some(gating) = &mut self.gating
            && let Some(step) = &mut gating.lockstep
        {
            step.note = 0;
        }
    }

    /// A segment arrived.
    pub(in crate::tcp) fn step_arrived(&mut self) {
        if let Some(gating) = &mut self.gating
            && let Some(step) = &mut gating.lockstep
        {
            step.arrived += 1;
        }
    }

    /// True when our FIN may leave.
    pub(in crate::tcp) fn fin_committed(&self) -> bool {
        self.gating
            .as_ref()
            .is_none_or(|gating| gating.fin == Stage::Committed)
    }

    /// True when our RST may leave.
    pub(in crate::tcp) fn abort_committed(&self) -> bool {
        self.gating
            .as_ref()
            .is_none_or(|gating| gating.abort == Stage::Committed)
    }

    /// First position of our stream that has to wait for a commit, be it of an anchor (invariant 4).
    pub(in crate::tcp) fn barrier(&self) -> u64 {
        self.gating.as_ref().map_or(u64::MAX, |gating| {
            let reach = gating.anchor.1 + ANCHOR_REACH_BYTES;
            gating.barriers.front().map_or(reach, |it| it.0.min(reach))
        })
    }
}
