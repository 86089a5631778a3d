//! Hot replay (FAILOVER §5): what the application on this host is told while another host serves.

use super::super::entry::Change;
use super::super::journal::Journal;
use super::super::takeover;
use crate::replication::decisions::Logged;
use crate::tcp::gate::{Mark, Note, Pieces};
use crate::tcp::{Adoption, FourTuple};
use crate::time::Instant;

/// Something for a connection whose application follows along.
#[derive(Clone, Debug)]
pub(crate) struct News {
    /// The connection's name and number.
    pub(crate) id: FourTuple,
    pub(crate) number: u64,
    pub(crate) what: What,
}

/// What happened to it.
#[derive(Clone, Debug)]
pub(crate) enum What {
    /// Its application begins to follow.
    Start(Box<Adoption>),
    /// More input.
    Input {
        from: u64,
        bytes: Pieces,
        fin: bool,
        right_edge: u64,
    },
    /// The other host's application decided something.
    Decision(Logged),
    /// The peer has our data up to here.
    Anchor { position: u64, mark: Option<Mark> },
    /// It is over, or cannot be followed any more; where our stream ended, if that was decided.
    End { fin: Option<u64> },
}

impl News {
    /// An application is to follow.
    pub(crate) fn start(number: u64, journal: &Journal) -> Self {
        // Dormant, nothing is probed.
        let adoption = takeover::adoption(number, journal, Instant::FAR_FUTURE);
        Self {
            id: journal.id,
            number,
            what: What::Start(Box::new(adoption)),
        }
    }

    /// What `change`, just applied, means to the application; `was_hot` before it.
    pub(crate) fn of(
        number: u64,
        journal: &Journal,
        change: &Change,
        was_hot: bool,
    ) -> Option<Self> {
        let what = match (was_hot, journal.hot) {
            (false, false) => return None,
            (false, true) => return Some(Self::start(number, journal)),
            (true, false) => What::End { fin: journal.fin },
            (true, true) => match change {
                Change::Received {
                    from,
                    bytes,
                    fin,
                    right_edge,
                } => What::Input {
                    from: *from,
                    bytes: bytes.clone(),
                    fin: *fin,
                    right_edge: *right_edge,
                },
                Change::Note(Note::Decision(decision)) => What::Decision(decision.clone()),
                &Change::Note(Note::Anchor { mark, .. }) => What::Anchor {
                    position: journal.anchor,
                    mark,
                },
                Change::Note(Note::Point(_)) => What::Anchor {
                    position: journal.anchor,
                    mark: None,
                },
                _ => return None,
            },
        };
        Some(Self {
            id: journal.id,
            number,
            what,
        })
    }
}
