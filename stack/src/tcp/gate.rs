//! Decisions that may have to be committed elsewhere before their effect leaves this host.
//!
//! A gated connection holds back: its SYN-ACK (or, opened by us, the ACK of the peer's SYN) until its
//! record is committed; every ACK, window edge and readable byte until the received bytes are; its FIN;
//! its RST. The Tcb only names what is to be committed ([`Tcb::next_commit`]) and is told what was
//! ([`Tcb::commit`]). Who commits, and how, is not its business. Without gating all this costs one test
//! of a null pointer.

use std::collections::VecDeque;

use bytes::Bytes;
use smallvec::SmallVec;

use super::FourTuple;
use super::record::Record;
use super::state::State;
use super::survival::Surviving;
use super::tcb::{FIRST_BYTE, NEVER, Tcb};
use crate::replication::decisions::Logged;
use crate::replication::digest::OutputDigest;
use crate::replication::entry::Reason;
use crate::time::Instant;

/// A new anchor is noted when the peer has acknowledged this much more (FAILOVER §2).
pub const ANCHOR_EVERY_BYTES: u64 = 1 << 28;
/// The same for a connection whose application follows along elsewhere: it is held back beyond that.
const HOT_ANCHOR_EVERY_BYTES: u64 = 64 << 10;
/// Nothing is sent this far beyond the committed anchor: 2^31 less the largest window (invariant 4).
pub const ANCHOR_REACH_BYTES: u64 = (1 << 31) - (1 << 30);

/// Pieces of a stream, by reference.
pub type Pieces = SmallVec<[Bytes; 1]>;

/// Something to be committed before its effect may leave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Commit {
    /// The connection as it was set up.
    Record {
        /// What is fixed.
        record: Box<Record>,
        /// What is kept of it.
        terms: Terms,
    },
    /// The peer's stream up to a position (its FIN counts one), and how far it may be allowed to send.
    Received {
        /// Position of the first of `bytes`: where the last such commit ended.
        from: u64,
        /// What is new.
        bytes: Pieces,
        /// The peer's FIN follows them, or was committed before.
        fin: bool,
        /// First position not yet received in order.
        upto: u64,
        /// The furthest right edge of the window that may be advertised.
        right_edge: u64,
    },
    /// Our FIN.
    Fin {
        /// Its position in our stream.
        position: u64,
        /// What the stream was before it.
        mark: Option<Mark>,
    },
    /// Our RST.
    Abort,
    /// Something that nothing waits for but what was put behind it on purpose
    /// ([`Tcb::send_after_commit`]).
    Note {
        /// The connection's number for it, counted from 1.
        number: u64,
        /// What it is.
        note: Note,
    },
}

/// What may help another host to go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Note {
    /// The peer has acknowledged our stream up to a position.
    Anchor {
        /// That position.
        position: u64,
        /// What the stream was, up to a position of its own.
        mark: Option<Mark>,
    },
    /// The application can continue from here.
    Point(Box<Point>),
    /// What a part of the application that is not deterministic decided.
    Decision(Logged),
    /// Output of an application that cannot repeat itself; it is not sent before this is committed.
    Output {
        /// Position of its first byte in our stream.
        from: u64,
        /// How much of the input was consumed when it was written.
        input: u64,
        /// The bytes.
        bytes: Bytes,
        /// The state that this leads to, if the application gave one.
        state: Option<Bytes>,
    },
    /// Nobody can take over this connection, at least until its next point.
    Unprotected(Reason),
    /// Both FINs are acknowledged; what is left is to answer the peer's, should it come again.
    TimeWait,
}

/// A moment in the life of a connection from which its application can continue. Journalled only once the
/// peer has acknowledged the output up to it (invariant 5).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Point {
    /// Position in the peer's stream: everything before it is consumed.
    pub input: u64,
    /// Position in our stream: everything before it is produced.
    pub output: u64,
    /// Decisions made before it.
    pub decisions: u64,
    /// The application's state; none for one that starts anew.
    pub state: Option<Bytes>,
    /// The digest of the output before it, if one is kept.
    pub digest: Option<OutputDigest>,
}

/// The digest of our stream up to a position.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mark {
    /// Everything before it is covered.
    pub position: u64,
    /// The digest.
    pub digest: u64,
}

/// What is kept of a connection elsewhere, the same on all hosts; follows from the listener's choice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// Most input that is kept since the last point, in bytes.
    pub log_bytes: u32,
    /// When that is full, the application on the other host takes the input as it comes.
    pub hot: Hot,
    /// Output is kept too, until it is acknowledged.
    pub mirror: bool,
}

/// When the application on the other host follows along.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Hot {
    /// Never: a connection whose log is full is unprotected until its next point.
    Never,
    /// Once the log is full.
    #[default]
    WhenFull,
    /// From the start.
    Always,
}

impl Default for Terms {
    fn default() -> Self {
        Self {
            log_bytes: 64 << 10,
            hot: Hot::default(),
            mirror: false,
        }
    }
}

/// What a gate answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Committed: go on at once.
    Permit,
    /// Not yet: [`Tcb::commit`] will be called with the same value.
    Hold,
}

/// Who commits. Called with the lock of the connection held: an implementation takes only locks under
/// which no connection is touched, and never blocks.
pub trait Gate: Send + Sync {
    /// A number for a connection that is about to be recorded, never given twice. 0 for a gate that does
    /// not need to tell connections of the same name apart.
    fn enrol(&self) -> u64 {
        0
    }

    /// Asks for one commit of the connection with that name and number. Later commits of a connection
    /// imply its earlier ones of the same kind.
    fn request(&self, id: &FourTuple, number: u64, commit: &Commit) -> Decision;

    /// A writer has asked for everything that its batch needed: what was gathered may go on its way.
    fn flush(&self, now: Instant) {
        let _ = now;
    }

    /// Why the connection would not survive its host; none if it would.
    fn exposed(&self, number: u64) -> Option<Reason> {
        let _ = number;
        None
    }

    /// The connection is over and forgotten.
    fn forget(&self, number: u64) {
        let _ = number;
    }
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
    /// The gate's number for the connection.
    pub number: u64,
    /// What is kept of it.
    pub terms: Terms,
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
    /// The anchor that was asked for last, and the one that is committed.
    pub anchor: (u64, u64),
    /// Bytes of our stream from the position on wait for the commit of that number; ascending in both.
    pub barriers: VecDeque<(u64, u64)>,
    /// The highest commit number that was reached.
    pub reached: u64,
    /// Notes that nobody was asked to commit yet.
    pub notes: VecDeque<Note>,
    /// Notes asked for so far.
    pub noted: u64,
    /// Input of the last point that was noted.
    pub point_input: u64,
    /// Points whose output the peer has not acknowledged: the oldest, and the newest.
    pub points: VecDeque<Point>,
    /// TIME-WAIT was noted.
    pub over: bool,
    /// Each segment of data waits for a note of its own.
    pub lockstep: Option<Lockstep>,
    /// What is known of the application.
    pub application: Surviving,
}

/// Segments that were agreed to ([`super::Config::lockstep`]).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lockstep {
    /// The note that the next segment waits for; 0 while none was asked for.
    pub note: u64,
    /// Segments that arrived and were not noted.
    pub arrived: u32,
}

impl Gating {
    /// True if a segment of data may leave, as far as this is concerned.
    fn keeps_step(&self) -> bool {
        self.lockstep
            .is_none_or(|step| step.note > 0 && step.note <= self.reached)
    }

    /// How often an anchor is noted. Where it lets another host forget or drop output, more often than
    /// sequence numbers ask for.
    fn anchor_every(&self) -> u64 {
        let log_bytes = u64::from(self.terms.log_bytes);
        let full = self.requested.0.saturating_sub(self.point_input) > log_bytes;
        if self.terms.mirror {
            (log_bytes / 2).max(1)
        } else if self.terms.hot == Hot::Always || (full && self.terms.hot == Hot::WhenFull) {
            HOT_ANCHOR_EVERY_BYTES
        } else {
            ANCHOR_EVERY_BYTES
        }
    }
}

impl Tcb {
    /// The next thing to be committed, each only once; none when the connection is not gated.
    pub fn next_commit(&mut self) -> Option<Commit> {
        let gating = self.gating.as_ref()?;
        if self.is_dormant() {
            return None;
        }
        if gating.record == Stage::Open {
            let terms = gating.terms;
            let record = Box::new(self.record()?);
            self.gating.as_mut()?.record = Stage::Requested;
            return Some(Commit::Record { record, terms });
        }
        if self.abort_due() {
            let gating = self.gating.as_mut()?;
            return (gating.abort == Stage::Open).then(|| {
                gating.abort = Stage::Requested;
                Commit::Abort
            });
        }
        // Before further input, which an application that follows along would be shown at once.
        if let Some(note) = self.next_note() {
            let gating = self.gating.as_mut()?;
            gating.noted += 1;
            let number = gating.noted;
            return Some(Commit::Note { number, note });
        }
        if let Some(received) = self.received_to_commit() {
            return Some(received);
        }
        let (due, position) = (self.snd.fin, self.send_queue.end());
        let mark = self.last_mark();
        let gating = self.gating.as_mut()?;
        (due && gating.fin == Stage::Open).then(|| {
            gating.fin = Stage::Requested;
            Commit::Fin { position, mark }
        })
    }

    fn received_to_commit(&mut self) -> Option<Commit> {
        let (from, edge) = self.gating.as_ref()?.requested;
        let (upto, right_edge) = (self.rcv.nxt, self.edge_to_commit((from, edge)));
        if upto <= from && right_edge <= edge {
            return None;
        }
        let bytes = self.receive_queue.pieces(from);
        self.gating.as_mut()?.requested = (upto, right_edge);
        Some(Commit::Received {
            from,
            bytes,
            fin: self.rcv.fin != NEVER && self.rcv.fin < upto,
            upto,
            right_edge,
        })
    }

    /// What has become worth noting.
    fn next_note(&mut self) -> Option<Note> {
        let una = self.snd.una;
        // After the peer's FIN: a journal that is over takes no more input.
        let told = self.gating.as_ref()?.requested.0 >= self.rcv.nxt;
        let over = told && self.state == State::TimeWait;
        let unsent = self.snd.nxt.max(FIRST_BYTE) < self.send_queue.end();
        let gating = self.gating.as_mut()?;
        if let Some(note) = gating.notes.pop_front() {
            return Some(note);
        }
        if gating
            .points
            .front()
            .is_some_and(|point| point.output <= una)
        {
            let point = gating.points.pop_front()?;
            gating.point_input = point.input;
            return Some(Note::Point(Box::new(point)));
        }
        if over && !gating.over {
            gating.over = true;
            return Some(Note::TimeWait);
        }
        let far = una >= gating.anchor.0 + gating.anchor_every();
        let number = gating.noted + 1;
        if let Some(step) = gating.lockstep.as_mut()
            && (step.arrived > 0 || (unsent && step.note == 0))
        {
            // Notes are in order: what waits for this one has waited for all arrivals before it.
            if step.arrived > 0 {
                step.arrived -= 1;
            } else {
                step.note = number;
            }
        } else if !far && !self.digest_is_due() {
            return None;
        }
        self.gating.as_mut()?.anchor.0 = una;
        Some(Note::Anchor {
            position: una,
            mark: self.tell_mark(),
        })
    }

    /// Has something noted; what is sent from now on can be made to wait for it
    /// ([`Tcb::send_after_commit`] with the number returned). Without a gate nothing happens.
    pub fn note(&mut self, note: Note) -> u64 {
        let Some(gating) = self.gating.as_mut() else {
            return 0;
        };
        gating.notes.push_back(note);
        gating.noted + gating.notes.len() as u64
    }

    /// True when there are notes that something may wait for.
    pub(super) fn has_notes(&self) -> bool {
        self.gating.as_ref().is_some_and(|it| !it.notes.is_empty())
    }

    /// The application can continue from `point`: noted once the peer has acknowledged its output. Of
    /// points that wait for that only the oldest and the newest are kept.
    pub fn note_point(&mut self, point: Point) {
        let Some(gating) = self.gating.as_mut() else {
            return;
        };
        gating.points.truncate(1);
        gating.points.push_back(point);
    }

    /// Asks `gate` for everything due and applies what it permits at once. Call after a batch of
    /// segments or calls, before the writer; true when something was permitted.
    pub fn consult(&mut self, id: &FourTuple, gate: &dyn Gate) -> bool {
        let mut permitted = false;
        while let Some(commit) = self.next_commit() {
            if matches!(commit, Commit::Record { .. })
                && let Some(gating) = self.gating.as_mut()
            {
                gating.number = gate.enrol();
            }
            if gate.request(id, self.gate_number(), &commit) == Decision::Permit {
                self.commit(&commit);
                permitted = true;
            }
        }
        permitted
    }

    /// The gate's number for this connection; 0 without a gate or before the record.
    #[must_use]
    pub fn gate_number(&self) -> u64 {
        self.gating.as_ref().map_or(0, |gating| gating.number)
    }

    /// First position of our stream that was never sent.
    #[must_use]
    pub fn sent_position(&self) -> u64 {
        self.snd.nxt
    }

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
    pub(super) fn record_committed(&self) -> bool {
        if self.state == State::SynSent {
            return true;
        }
        self.gating
            .as_ref()
            .is_none_or(|gating| gating.record == Stage::Committed)
    }

    /// True when a segment of new data may leave, agreed to if it has to be.
    pub(super) fn keeps_step(&self) -> bool {
        self.gating.as_ref().is_none_or(|it| it.keeps_step())
    }

    /// The segment that was agreed to leaves.
    pub(super) fn take_step(&mut self) {
        if let Some(gating) = &mut self.gating
            && let Some(step) = &mut gating.lockstep
        {
            step.note = 0;
        }
    }

    /// A segment arrived.
    pub(super) fn step_arrived(&mut self) {
        if let Some(gating) = &mut self.gating
            && let Some(step) = &mut gating.lockstep
        {
            step.arrived += 1;
        }
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

    /// First position of our stream that has to wait for a commit, be it of an anchor (invariant 4).
    pub(super) fn barrier(&self) -> u64 {
        self.gating.as_ref().map_or(u64::MAX, |gating| {
            let reach = gating.anchor.1 + ANCHOR_REACH_BYTES;
            gating.barriers.front().map_or(reach, |it| it.0.min(reach))
        })
    }
}
