//! Decisions that may have to be committed elsewhere before their effect leaves this host.
//!
//! A gated connection holds back: its SYN-ACK (or, opened by us, the ACK of the peer's SYN) until its
//! record is committed; every ACK, window edge and readable byte until the received bytes are; its FIN;
//! its RST. The Tcb only names what is to be committed ([`Tcb::next_commit`]) and is told what was
//! ([`Tcb::commit`]). Who commits, and how, is not its business. Without gating all this costs one test
//! of a null pointer.
//!
//! | file | job |
//! |---|---|
//! | `note` | what helps another host to go on, and holds nothing back by itself |
//! | `terms` | what is kept of a connection elsewhere |
//! | `gating` | what a connection waits for |
//! | `asking` | what is to be committed next |
//! | `effects` | what may leave, now that something was |
//!
//! [`Tcb::next_commit`]: super::Tcb::next_commit
//! [`Tcb::commit`]: super::Tcb::commit

mod asking;
mod effects;
mod gating;
mod note;
mod terms;

use bytes::Bytes;
use smallvec::SmallVec;

pub use self::gating::{ANCHOR_EVERY_BYTES, ANCHOR_REACH_BYTES, Gating, Lockstep, Stage};
pub use self::note::{Mark, Note, Point};
pub use self::terms::{Hot, Terms};
use super::FourTuple;
use super::record::Record;
use crate::replication::entry::Reason;
use crate::time::Instant;

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
    /// ([`super::Tcb::send_after_commit`]).
    Note {
        /// The connection's number for it, counted from 1.
        number: u64,
        /// What it is.
        note: Note,
    },
}

/// What a gate answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Committed: go on at once.
    Permit,
    /// Not yet: [`super::Tcb::commit`] will be called with the same value.
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
