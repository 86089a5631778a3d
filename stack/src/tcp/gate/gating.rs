//! What a gated connection waits for.

use std::collections::VecDeque;

use super::{Hot, Note, Point, Terms};
use crate::tcp::survival::Surviving;

/// A new anchor is noted when the peer has acknowledged this much more (FAILOVER §2).
pub const ANCHOR_EVERY_BYTES: u64 = 1 << 28;
/// The same for a connection whose application follows along elsewhere: it is held back beyond that.
const HOT_ANCHOR_EVERY_BYTES: u64 = 64 << 10;
/// Nothing is sent this far beyond the committed anchor: 2^31 less the largest window (invariant 4).
pub const ANCHOR_REACH_BYTES: u64 = (1 << 31) - (1 << 30);

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
    /// The last [`super::Commit::Received`] that was asked for: `upto`, `right_edge`.
    pub requested: (u64, u64),
    /// The furthest right edge that was committed.
    pub right_edge: u64,
    /// The anchor that was asked for last, and the one that is committed.
    pub anchor: (u64, u64),
    /// Where the peer stood when that was hinted last.
    pub hinted: u64,
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

/// Segments that were agreed to ([`crate::tcp::Config::lockstep`]).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lockstep {
    /// The note that the next segment waits for; 0 while none was asked for.
    pub note: u64,
    /// Segments that arrived and were not noted.
    pub arrived: u32,
}

impl Gating {
    /// True if a segment of data may leave, as far as this is concerned.
    pub(super) fn keeps_step(&self) -> bool {
        self.lockstep
            .is_none_or(|step| step.note > 0 && step.note <= self.reached)
    }

    /// How often an anchor is noted. Where it lets another host forget or drop output, more often than
    /// sequence numbers ask for.
    pub(super) fn anchor_every(&self) -> u64 {
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
