//! The entries that make a journal what it is: the snapshot for a host that joins. In three parts, since the middle one,
//! the input, may be long, and a host that serves cannot stand still while it is copied.

use bytes::Bytes;

use super::{FIRST_BYTE, Journal, Stretch};
use crate::replication::entry::{Change, MAX_STREAM_BYTES, Opening, Reason};
use crate::tcp::gate::{Note, Pieces, Point};
use crate::tcp::record::Record;

/// What the first part says. If it would say something else meanwhile, a copy that began with it is void.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Head {
    record: Record,
    /// Where the input that is kept begins.
    start: u64,
    point: Point,
    /// Our FIN, if it was decided before the peer's was committed.
    fin: Option<u64>,
}

impl Head {
    /// Where the input that is kept begins.
    pub(crate) const fn start(&self) -> u64 {
        self.start
    }
}

impl Journal {
    /// What [`Self::rebuild_head`] says now.
    pub(crate) fn head(&self) -> Head {
        let start = if self.reason_for_a_copy().is_some() || self.time_wait {
            self.data_end()
        } else {
            self.input.start()
        };
        Head {
            record: self.record,
            start,
            point: Point {
                input: start,
                ..self.point.clone()
            },
            fin: self.fin.filter(|_| self.closed_first),
        }
    }

    /// Why nobody can go on with it who has only its copy.
    fn reason_for_a_copy(&self) -> Option<Reason> {
        if self.shed {
            Some(Reason::LogFull)
        } else {
            self.lost
        }
    }

    /// Calls `each` with changes that, applied to nothing, add up to this journal.
    pub fn rebuild(&self, mut each: impl FnMut(Change)) {
        let head = self.head();
        self.rebuild_head(&head, &mut each);
        let mut at = head.start;
        while let Some(change) = self.rebuild_input(&mut at) {
            each(change);
        }
        self.rebuild_tail(each);
    }

    /// What comes before the input.
    pub(crate) fn rebuild_head(&self, head: &Head, mut each: impl FnMut(Change)) {
        each(Change::Open(Box::new(Opening {
            id: self.id,
            record: self.record,
            terms: self.terms,
        })));
        if head.start > FIRST_BYTE {
            each(Change::Skipped {
                upto: head.start,
                fin: false,
                right_edge: self.right_edge,
            });
        }
        // A server that speaks first has a state before it was sent anything.
        let point = &head.point;
        let moved = head.start > FIRST_BYTE || point.output > FIRST_BYTE || point.decisions > 0;
        if moved || point.state.is_some() {
            each(Change::Note(Note::Point(Box::new(point.clone()))));
        }
        each_some(head.fin.map(own_fin), &mut each);
    }

    /// The input from `at` on, a piece of it, and moves `at` behind it; none at its end.
    pub(crate) fn rebuild_input(&self, at: &mut u64) -> Option<Change> {
        let (from, bytes) = piece(&self.input, at)?;
        Some(Change::Received {
            from,
            bytes: Pieces::from_iter([bytes]),
            fin: false,
            right_edge: self.right_edge,
        })
    }

    /// What comes after the input.
    pub(crate) fn rebuild_tail(&self, mut each: impl FnMut(Change)) {
        let Self {
            id: _,
            record: _,
            terms,
            input: _,
            committed: _, // follows from the input
            peer_fin,
            right_edge,
            fin,
            closed_first,
            abort,
            time_wait,
            anchor,
            mark,
            point,
            decisions,
            decision_bytes: _,
            output,
            hot: _, // follows from the input
            shed: _,
            lost: _,
        } = self;
        let lost = self.reason_for_a_copy();
        each(Change::Received {
            from: self.data_end(),
            bytes: Pieces::new(),
            fin: peer_fin.is_some(),
            right_edge: *right_edge,
        });
        decisions
            .iter()
            .cloned()
            .for_each(|it| each(Change::Note(Note::Decision(it))));
        if terms.mirror && lost.is_none() {
            each(Change::Note(Note::Anchor {
                position: output.start(),
                mark: None,
            }));
        }
        let mut at = output.start();
        while let Some((from, bytes)) = piece(output, &mut at) {
            each(Change::Note(Note::Output {
                from,
                input: point.input,
                bytes,
                state: None,
            }));
        }
        let later = fin.filter(|_| !*closed_first);
        each_some(later.map(own_fin), &mut each);
        each(Change::Note(Note::Anchor {
            position: *anchor,
            mark: *mark,
        }));
        if *abort {
            each(Change::Abort);
        }
        if *time_wait {
            each(Change::Note(Note::TimeWait));
        }
        let lost = lost.map(Note::Unprotected);
        each_some(lost.map(Change::Note), &mut each);
    }
}

const fn own_fin(position: u64) -> Change {
    Change::Fin {
        position,
        mark: None,
    }
}
fn each_some(change: Option<Change>, each: &mut impl FnMut(Change)) {
    if let Some(change) = change {
        each(change);
    }
}

/// What an entry takes of `stretch` from `at` on, which moves behind it; none at its end.
fn piece(stretch: &Stretch, at: &mut u64) -> Option<(u64, Bytes)> {
    let mut bytes = stretch.piece_at(*at)?;
    bytes.truncate(MAX_STREAM_BYTES);
    let from = *at;
    *at += bytes.len() as u64;
    Some((from, bytes))
}
