//! What another host keeps of the server of a [`Pair`], fed by hand, and the takeover by it.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;

use super::pair::{Pair, SERVER};
use crate::random::Random;
use crate::replication::continuation::{Mirrored, Restored};
use crate::replication::decisions::Logged;
use crate::tcp::gate::{Commit, Decision, Gate, Mark, Note, Point};
use crate::tcp::record::{Continuation, Record};
use crate::tcp::{FourTuple, State, Tcb};
use crate::time::Instant;

/// A journal: commits as they were applied.
#[derive(Clone, Debug, Default)]
pub(super) struct Kept {
    record: Option<Record>,
    pub input: Vec<u8>,
    peer_fin: bool,
    edge: u64,
    pub fin: Option<u64>,
    pub point: Option<Point>,
    /// Decisions before the first that is kept, and those.
    forgotten: u64,
    pub decisions: Vec<Logged>,
    output: Vec<Mirrored>,
    pub marks: Vec<Mark>,
    hint: u64,
    pub aborted: bool,
}

impl Kept {
    fn apply(&mut self, commit: &Commit) {
        match commit.clone() {
            Commit::Record { record, .. } => {
                self.edge = 1 + u64::from(record.first_window);
                self.record = Some(*record);
            }
            Commit::Received {
                from,
                bytes,
                fin,
                right_edge,
                ..
            } => {
                if !bytes.is_empty() {
                    assert_eq!(from, 1 + self.input.len() as u64);
                }
                bytes.iter().for_each(|piece| self.input.extend(piece));
                self.peer_fin |= fin;
                self.edge = right_edge;
            }
            Commit::Fin { position, mark } => {
                self.fin = Some(position);
                self.marks.extend(mark);
            }
            Commit::Abort => self.aborted = true,
            Commit::Note { note, .. } => self.apply_note(note),
        }
    }

    fn apply_note(&mut self, note: Note) {
        match note {
            Note::Decision(logged) => self.decisions.push(logged),
            Note::Point(point) => {
                self.decisions
                    .drain(..(point.decisions - self.forgotten) as usize);
                self.forgotten = point.decisions;
                self.point = Some(*point);
            }
            Note::Output {
                from,
                input,
                bytes,
                state,
            } => {
                let before = self.point.take().and_then(|point| point.state);
                self.point = Some(Point {
                    input,
                    output: from + bytes.len() as u64,
                    state: state.or(before),
                    ..Point::default()
                });
                self.output.push(Mirrored { from, bytes });
            }
            Note::UserTimeout(said) => {
                let record = self.record.as_mut().expect("recorded");
                record.peer_user_timeout = said;
            }
            Note::Anchor { .. } | Note::TimeWait => {}
            Note::Unprotected(reason) => panic!("{reason}"),
        }
    }

    /// The connection on the host that takes over.
    fn revive(&self, pair: &Pair) -> Tcb {
        let record = self.record.expect("recorded");
        let point = self.point.clone();
        let (input, output) = point.map_or((1, 1), |point| (point.input, point.output));
        let data_end = 1 + self.input.len() as u64;
        let committed = data_end + u64::from(self.peer_fin);
        let send_position = if pair.ends[SERVER].parameters.terms.mirror {
            self.hint.max(1)
        } else {
            self.hint.max(output)
        };
        let continuation = Continuation {
            dormant: false,
            parting: None,
            state: match (self.fin, self.peer_fin) {
                (None, false) => State::Established,
                (None, true) => State::CloseWait,
                (Some(_), false) => State::FinWait1,
                (Some(_), true) => State::LastAck,
            },
            send_position,
            fin: self.fin,
            committed,
            peer_fin: self.peer_fin.then_some(data_end),
            unread: vec![Bytes::copy_from_slice(
                &self.input[(input.min(data_end) - 1) as usize..],
            )],
            right_edge: self.edge,
            abort: self.aborted,
            number: 1,
            probe_at: pair.now,
        };
        let parameters = pair.ends[SERVER].parameters.clone();
        let mut tcb = Tcb::from_record(parameters, pair.now, &record, continuation);
        tcb.restore(Restored {
            point: self.point.clone(),
            decisions: self.decisions.clone(),
            marks: self.marks.clone(),
            mirrored: self.output.clone(),
        });
        tcb
    }
}

/// Answers after a while, in order.
pub(super) struct Link {
    pub kept: Kept,
    delay: Duration,
    random: Random,
    asked: Arc<Mutex<VecDeque<Commit>>>,
    due: VecDeque<(Instant, Commit)>,
}

struct Asking(Arc<Mutex<VecDeque<Commit>>>);

impl Gate for Asking {
    fn request(&self, _: &FourTuple, _: u64, commit: &Commit) -> Decision {
        self.0.lock().unwrap().push_back(commit.clone());
        Decision::Hold
    }
}

impl Link {
    pub(super) fn new(seed: u64, delay: Duration) -> Self {
        Self {
            kept: Kept::default(),
            delay,
            random: Random::from_seed(seed),
            asked: Arc::default(),
            due: VecDeque::new(),
        }
    }

    /// Asks for what the server wants committed, and answers what is due.
    pub(super) fn work(&mut self, pair: &mut Pair) {
        let Some(tcb) = &mut pair.ends[SERVER].tcb else {
            return;
        };
        tcb.consult(&super::gate::id(), &Asking(Arc::clone(&self.asked)));
        let at = pair.now + self.delay;
        let asked = std::mem::take(&mut *self.asked.lock().unwrap());
        self.due
            .extend(asked.into_iter().map(|commit| (at, commit)));
        while self.due.front().is_some_and(|due| due.0 <= pair.now) {
            let (_, commit) = self.due.pop_front().unwrap();
            self.kept.apply(&commit);
            tcb.commit(&commit);
        }
        if self.random.chance(1, 4) && tcb.state().is_synchronized() {
            // A hint.
            self.kept.hint = tcb.snd.una.min(tcb.send_queue.end());
            self.kept.marks.extend(tcb.acknowledged_mark());
            let last = self.kept.marks.len().saturating_sub(1);
            self.kept.marks.drain(..last);
        }
    }

    /// The server dies, and some of what it asked for arrived: another host goes on.
    pub(super) fn take_over(&mut self, pair: &mut Pair) {
        let arrived = self.random.below(self.due.len() as u64 + 1) as usize;
        for (_, commit) in std::mem::take(&mut self.due).into_iter().take(arrived) {
            self.kept.apply(&commit);
        }
        pair.ends[SERVER].forget();
        pair.ends[SERVER].tcb = Some(self.kept.revive(pair));
    }
}

/// What `decide` of a socket does.
pub(super) fn decide(tcb: &mut Tcb, value: impl FnOnce() -> Bytes) -> Bytes {
    match tcb.poll_logged_decision(&Context::from_waker(Waker::noop())) {
        Poll::Ready(Some(logged)) => logged,
        Poll::Ready(None) => {
            let value = value();
            tcb.log_decision(value.clone());
            value
        }
        Poll::Pending => panic!("nobody else decides here"),
    }
}
