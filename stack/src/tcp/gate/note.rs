//! What may help another host to go on with a connection. Nothing waits for a note but what was put behind it on
//! purpose.

use bytes::Bytes;

use crate::replication::decisions::Logged;
use crate::replication::digest::OutputDigest;
use crate::replication::entry::Reason;

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
    /// The peer changed its mind about its user time-out, since the record was made ([`crate::tcp::record::Record`]).
    UserTimeout(u16),
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
