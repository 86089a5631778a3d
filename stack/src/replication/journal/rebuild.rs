//! The entries that make a journal what it is: the snapshot for a host that joins.

use super::{FIRST_BYTE, Journal, Stretch};
use crate::replication::entry::{Change, MAX_STREAM_BYTES, Opening, Reason};
use crate::tcp::gate::{Note, Pieces};

impl Journal {
    /// Calls `each` with changes that, applied to nothing, add up to this journal.
    pub fn rebuild(&self, mut each: impl FnMut(Change)) {
        let Self {
            id,
            record,
            terms,
            input,
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
            shed,
            lost,
        } = self;
        let lost = if *shed { Some(Reason::LogFull) } else { *lost };
        each(Change::Open(Box::new(Opening {
            id: *id,
            record: *record,
            terms: *terms,
        })));
        let own_fin = fin.map(|position| Change::Fin {
            position,
            mark: None,
        });
        let skip_to = if lost.is_some() || *time_wait {
            self.data_end()
        } else {
            input.start()
        };
        if skip_to > FIRST_BYTE {
            each(skipped(skip_to, false, *right_edge));
        }
        // A server that speaks first has a state before it was sent anything.
        let moved = skip_to > FIRST_BYTE || point.output > FIRST_BYTE || point.decisions > 0;
        if moved || point.state.is_some() {
            let mut point = point.clone();
            point.input = skip_to;
            each(Change::Note(Note::Point(Box::new(point))));
        }
        if *closed_first {
            each_some(own_fin.clone(), &mut each);
        }
        pieces(input, |from, bytes| {
            each(Change::Received {
                from,
                bytes: Pieces::from_iter([bytes]),
                fin: false,
                right_edge: *right_edge,
            });
        });
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
        pieces(output, |from, bytes| {
            each(Change::Note(Note::Output {
                from,
                input: point.input,
                bytes,
                state: None,
            }));
        });
        if !*closed_first {
            each_some(own_fin, &mut each);
        }
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

fn skipped(upto: u64, fin: bool, right_edge: u64) -> Change {
    Change::Skipped {
        upto,
        fin,
        right_edge,
    }
}

fn each_some(change: Option<Change>, each: &mut impl FnMut(Change)) {
    if let Some(change) = change {
        each(change);
    }
}

fn pieces(stretch: &Stretch, mut each: impl FnMut(u64, bytes::Bytes)) {
    let mut at = stretch.start();
    for block in stretch.pieces() {
        for chunk in block.chunks(MAX_STREAM_BYTES) {
            each(at, block.slice_ref(chunk));
            at += chunk.len() as u64;
        }
    }
}
