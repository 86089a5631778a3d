//! Decisions that may have to be committed elsewhere before their effect leaves this host.
//!
//! A gated connection holds back: its SYN-ACK (or, opened by us, the ACK of the peer's SYN) until its
//! record is committed; every ACK, window edge and readable byte until the received bytes are; its FIN;
//! its RST. The Tcb only names what is to be committed ([`Tcb::next_commit`]) and is told what was
//! ([`Tcb::commit`]). Who commits, and how, is not its business. Without gating all this costs one test
//! of a null pointer.

use std::collections::VecDeque;

use super::FourTuple;
use super::record::Record;
use super::state::State;
use super::tcb::Tcb;

/// Something to be committed before its effect may leave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Commit {
    /// The connection as it was set up.
    Record(Box<Record>),
    /// The peer's stream up to a position (its FIN counts one), and how far it may be allowed to send.
    Received {
        /// First position not yet received in order.
        upto: u64,
        /// The furthest right edge of the window that may be advertised.
        right_edge: u64,
    },
    /// Our FIN.
    Fin {
        /// Its position in our stream.
        position: u64,
    },
    /// Our RST.
    Abort,
}

/// What a gate answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Committed: go on at once.
    Permit,
    /// Not yet: [`Tcb::commit`] will be called with the same value.
    Hold,
}

/// Who commits.
pub trait Gate: Send + Sync {
    /// Asks for one commit of one connection. Later commits of a connection imply its earlier ones of
    /// the same kind.
    fn request(&self, id: &FourTuple, commit: &Commit) -> Decision;
}

/// How far one decision is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Stage {
    /// Nobody was asked yet.
    #[default]
    Open,
    /// Asked, not answered.
    Requested,
    /// Its effect may leave.
    Committed,
}

/// What a gated connection waits for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Gating {
    /// The record.
    pub record: Stage,
    /// Our FIN.
    pub fin: Stage,
    /// Our RST.
    pub abort: Stage,
    /// The last [`Commit::Received`] that was asked for: `upto`, `right_edge`.
    pub requested: (u64, u64),
    /// The furthest right edge that was committed.
    pub right_edge: u64,
    /// Bytes of our stream from the position on wait for the commit of that number; ascending in both.
    pub barriers: VecDeque<(u64, u64)>,
    /// The highest commit number that was reached.
    pub reached: u64,
}

impl Tcb {
    /// The next thing to be committed, each only once; none when the connection is not gated.
    pub fn next_commit(&mut self) -> Option<Commit> {
        if self.gating.as_ref()?.record == Stage::Open {
            let record = Box::new(self.record()?);
            self.gating.as_mut()?.record = Stage::Requested;
            return Some(Commit::Record(record));
        }
        let abort_due = self.abort_due();
        let fin_due = self.snd.fin && !abort_due;
        let fin_position = self.send_queue.end();
        let requested = self.gating.as_ref()?.requested;
        let received = (self.rcv.nxt, self.edge_to_commit(requested.1));
        let gating = self.gating.as_mut()?;
        if abort_due {
            return (gating.abort == Stage::Open).then(|| {
                gating.abort = Stage::Requested;
                Commit::Abort
            });
        }
        if received.0 > gating.requested.0 || received.1 > gating.requested.1 {
            gating.requested = received;
            return Some(Commit::Received {
                upto: received.0,
                right_edge: received.1,
            });
        }
        (fin_due && gating.fin == Stage::Open).then(|| {
            gating.fin = Stage::Requested;
            Commit::Fin {
                position: fin_position,
            }
        })
    }

    /// Asks `gate` for everything due and applies what it permits at once. Call after a batch of
    /// segments or calls, before the writer; true when something was permitted.
    pub fn consult(&mut self, id: &FourTuple, gate: &dyn Gate) -> bool {
        let mut permitted = false;
        while let Some(commit) = self.next_commit() {
            if gate.request(id, &commit) == Decision::Permit {
                self.commit(&commit);
                permitted = true;
            }
        }
        permitted
    }

    /// Applies a commit that was asked for; afterwards the writer has to look at the connection.
    pub fn commit(&mut self, commit: &Commit) {
        let Some(gating) = self.gating.as_mut() else {
            return;
        };
        match commit {
            Commit::Record(_) => gating.record = Stage::Committed,
            Commit::Fin { .. } => gating.fin = Stage::Committed,
            Commit::Abort => gating.abort = Stage::Committed,
            &Commit::Received { upto, right_edge } => {
                // A FIN just beyond the window was taken all the same.
                gating.right_edge = gating.right_edge.max(right_edge).max(upto);
                let upto = upto.min(self.rcv.nxt);
                if upto > self.rcv.committed {
                    self.rcv.committed = upto;
                    self.pending.ack = true;
                }
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
    pub(super) fn record_committed(&self) -> bool {
        if self.state == State::SynSent {
            return true;
        }
        self.gating
            .as_ref()
            .is_none_or(|gating| gating.record == Stage::Committed)
    }

    /// True when our FIN may leave.
    pub(super) fn fin_committed(&self) -> bool {
        self.gating
            .as_ref()
            .is_none_or(|gating| gating.fin == Stage::Committed)
    }

    /// True when our RST may leave.
    pub(super) fn abort_committed(&self) -> bool {
        self.gating
            .as_ref()
            .is_none_or(|gating| gating.abort == Stage::Committed)
    }

    /// First position of our stream that has to wait for a commit.
    pub(super) fn barrier(&self) -> u64 {
        self.gating
            .as_ref()
            .and_then(|gating| gating.barriers.front())
            .map_or(u64::MAX, |barrier| barrier.0)
    }
}
