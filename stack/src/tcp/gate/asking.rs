//! What a connection is to have committed next, each thing once and in order.

use super::{Commit, Decision, Gate, Note, Point, Stage};
use crate::tcp::FourTuple;
use crate::tcp::state::State;
use crate::tcp::tcb::{FIRST_BYTE, NEVER, Tcb};

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

    /// What is known now is in the record, and what becomes known later is not.
    pub(in crate::tcp) fn has_asked_for_record(&self) -> bool {
        let gating = self.gating.as_ref();
        gating.is_some_and(|it| it.record != Stage::Open)
    }

    /// True when there are notes that something may wait for.
    pub(in crate::tcp) fn has_notes(&self) -> bool {
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

    /// The gate's number and where the peer stands, each time that it has `least` bytes more.
    pub(crate) fn take_hint(&mut self, least: u64) -> Option<(u64, u64)> {
        let position = self.peer_position()?;
        let gating = self.gating.as_mut().filter(|it| it.number != 0)?;
        (position >= gating.hinted + least).then(|| {
            gating.hinted = position;
            (gating.number, position)
        })
    }
}
