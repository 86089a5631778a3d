//! What a connection asks to have committed, as entries.

use bytes::Bytes;

use crate::replication::entry::{
    Change, MAX_DECISION_BYTES, MAX_STATE_BYTES, MAX_STREAM_BYTES, Opening, Reason,
};
use crate::tcp::FourTuple;
use crate::tcp::gate::{Commit, Note, Pieces};

/// Calls `each` with the changes that `commit` stands for. `kept`: somebody keeps the connection's bytes.
pub(crate) fn changes(id: &FourTuple, commit: &Commit, kept: bool, mut each: impl FnMut(Change)) {
    match commit {
        Commit::Record { record, terms } => each(Change::Open(Box::new(Opening {
            id: *id,
            record: **record,
            terms: *terms,
        }))),
        Commit::Received {
            fin,
            upto,
            right_edge,
            ..
        } if !kept => each(Change::Skipped {
            upto: *upto,
            fin: *fin,
            right_edge: *right_edge,
        }),
        Commit::Received {
            from,
            bytes,
            fin,
            right_edge,
            ..
        } => received(*from, bytes, *fin, *right_edge, each),
        &Commit::Fin { position, mark } => each(Change::Fin { position, mark }),
        Commit::Abort => each(Change::Abort),
        Commit::Note { note, .. } => noted(note, each),
    }
}

/// Long stretches are cut; the FIN and the edge come with the last.
fn received(from: u64, bytes: &Pieces, fin: bool, right_edge: u64, mut each: impl FnMut(Change)) {
    let mut at = from;
    let mut left: usize = bytes.iter().map(Bytes::len).sum();
    let mut batch = Pieces::new();
    let mut room = MAX_STREAM_BYTES;
    for piece in bytes {
        let mut piece = piece.clone();
        while !piece.is_empty() {
            let taken = piece.split_to(piece.len().min(room));
            room -= taken.len();
            left -= taken.len();
            batch.push(taken);
            if room == 0 && left > 0 {
                each(Change::Received {
                    from: at,
                    bytes: std::mem::take(&mut batch),
                    fin: false,
                    right_edge: 0,
                });
                at += MAX_STREAM_BYTES as u64;
                room = MAX_STREAM_BYTES;
            }
        }
    }
    each(Change::Received {
        from: at,
        bytes: batch,
        fin,
        right_edge,
    });
}

/// What is too large is not kept; long output is cut.
fn noted(note: &Note, mut each: impl FnMut(Change)) {
    let too_large = match note {
        Note::Point(point) => point.state.as_ref().map_or(0, Bytes::len) > MAX_STATE_BYTES,
        Note::Decision(decision) => decision.value.len() > MAX_DECISION_BYTES,
        _ => false,
    };
    match note {
        _ if too_large => each(Change::Note(Note::Unprotected(Reason::TooLarge))),
        Note::Output {
            from,
            input,
            bytes,
            state,
        } => {
            let mut at = *from;
            for chunk in bytes.chunks(MAX_STREAM_BYTES) {
                each(Change::Note(Note::Output {
                    from: at,
                    input: *input,
                    bytes: bytes.slice_ref(chunk),
                    state: state.clone(),
                }));
                at += chunk.len() as u64;
            }
        }
        note => each(Change::Note(note.clone())),
    }
}
