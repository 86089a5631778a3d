//! From a journal to a connection that goes on (FAILOVER §2, §3, §5). Nothing here depends on the address
//! family.

use std::time::Duration;

use super::continuation::{Mirrored, Restored};
use super::journal::{FIRST_BYTE, Journal};
use super::journals::{Journals, Kept};
use crate::tcp::gate::Point;
use crate::tcp::record::Continuation;
use crate::tcp::{Adoption, State};
use crate::time::Instant;

/// Timestamps leap by this much with each takeover (FAILOVER §3, invariant 7): more than clocks differ and
/// more than an outage lasts, so that they always grow.
pub(crate) const TIMESTAMP_BUMP_MS: u32 = 10_000;
/// Peers that stay silent are probed one after the other, with so much time between two: 100 000 take a
/// second, at 64 Mbit/s, and neither neighbours nor switches are flooded.
const PROBE_EVERY: Duration = Duration::from_micros(10);
/// What a host said when it fell silent counts for so long: a handover that did not come about is forgotten.
const PARTED_WITHIN: Duration = Duration::from_secs(1);
/// Whoever is about to send anyway tells where it stands: listen first.
const LISTEN_FOR: Duration = Duration::from_micros(500);

/// What a takeover has to go on with.
#[derive(Debug, Default)]
pub(crate) struct Estate {
    /// Connections, the most active first.
    pub(crate) adoptions: Vec<Adoption>,
    /// Connections of which nobody has enough.
    pub(crate) lost: usize,
}

impl Estate {
    /// Everything in `journals`.
    pub(crate) fn new(now: Instant, journals: &Journals) -> Self {
        let mut all: Vec<(u64, &Kept)> = journals.iter().collect();
        all.sort_unstable_by_key(|&(number, kept)| (std::cmp::Reverse(kept.touched), number));
        let mut estate = Self {
            adoptions: Vec::with_capacity(all.len()),
            lost: 0,
        };
        let mut probe_at = now + LISTEN_FOR;
        for (number, kept) in all {
            if kept.journal.lost.is_some() {
                estate.lost += 1;
                continue;
            }
            let mut adoption = adoption(number, &kept.journal, probe_at);
            let parting = kept.parting.filter(|it| now.since(it.0) < PARTED_WITHIN);
            adoption.continuation.parting = parting.map(|it| it.1);
            estate.adoptions.push(adoption);
            probe_at += PROBE_EVERY;
        }
        estate
    }
}

pub(crate) fn adoption(number: u64, journal: &Journal, probe_at: Instant) -> Adoption {
    let send_position = match journal.fin {
        Some(fin) if journal.time_wait => fin + 1,
        // Whether our FIN is acknowledged the peer tells once more.
        _ => journal.anchor,
    };
    Adoption {
        id: journal.id,
        record: journal.record,
        terms: journal.terms,
        continuation: Continuation {
            state: state(journal),
            send_position,
            fin: journal.fin,
            committed: journal.committed,
            peer_fin: journal.peer_fin,
            unread: journal.input.pieces().collect(),
            right_edge: journal.right_edge,
            dormant: false,
            parting: None,
            abort: journal.abort,
            number,
            probe_at,
        },
        restored: restored(journal),
        shed: journal.shed,
    }
}

/// What follows from the decisions that were committed. Whether the peer has acknowledged our FIN it tells
/// when it is probed.
fn state(journal: &Journal) -> State {
    if journal.time_wait {
        return State::TimeWait;
    }
    match (journal.fin, journal.peer_fin) {
        _ if journal.is_half_open() => State::SynReceived,
        (None, None) => State::Established,
        (None, Some(_)) => State::CloseWait,
        (Some(_), None) => State::FinWait1,
        (Some(_), Some(_)) if journal.closed_first => State::Closing,
        (Some(_), Some(_)) => State::LastAck,
    }
}

fn restored(journal: &Journal) -> Restored {
    let output = &journal.output;
    let mirrored = (journal.terms.mirror && output.len() > 0).then(|| Mirrored {
        from: output.start(),
        bytes: output.to_bytes(),
    });
    let point = Point {
        output: if journal.terms.mirror {
            output.end()
        } else {
            journal.point.output
        },
        // Whoever has read the end reads it once more.
        input: journal.point.input.min(journal.data_end()),
        ..journal.point.clone()
    };
    debug_assert!(
        journal.terms.mirror || point.output <= journal.anchor.max(FIRST_BYTE),
        "invariant 5"
    );
    Restored {
        point: Some(point),
        decisions: journal.decisions.iter().cloned().collect(),
        marks: journal.mark.into_iter().collect(),
        mirrored: mirrored.into_iter().collect(),
    }
}
