//! What is replicated: a log of entries, each one change of one connection (FAILOVER §4). Both hosts fold
//! the same entries, in order, into the same journals ([`super::journal`]); nothing else is kept.
//!
//! Entries name a connection by a number that is never given twice, so that what is late can never be
//! taken for a change of a later connection between the same ports.

use crate::tcp::FourTuple;
use crate::tcp::gate::{Mark, Note, Pieces, Terms};
use crate::tcp::record::Record;

/// Most bytes of a stream in one entry; longer stretches become several.
pub const MAX_STREAM_BYTES: usize = 64 << 10;
/// Most bytes of one decision.
pub const MAX_DECISION_BYTES: usize = 64 << 10;
/// Most bytes of the state of an application in a checkpoint.
pub const MAX_STATE_BYTES: usize = 256 << 10;

/// One change of one connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The connection's number.
    pub connection: u64,
    /// What happened.
    pub change: Change,
}

/// A connection as it was set up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opening {
    /// Its name.
    pub id: FourTuple,
    /// What is fixed.
    pub record: Record,
    /// What is kept of it.
    pub terms: Terms,
}

/// What happened to a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// It was set up. Committed before the SYN-ACK leaves.
    Open(Box<Opening>),
    /// The peer's stream went on. Committed before the covering ACK leaves and before the bytes can be
    /// read.
    Received {
        /// Position of the first byte.
        from: u64,
        /// The bytes; decoded, one piece.
        bytes: Pieces,
        /// The peer's FIN follows them.
        fin: bool,
        /// The furthest right edge of the window that may be advertised from now on.
        right_edge: u64,
    },
    /// The peer's stream went on while its bytes are not kept: nobody can take over this connection until
    /// its next point.
    Skipped {
        /// The first position not received, FIN included.
        upto: u64,
        /// The peer's FIN is before that.
        fin: bool,
        /// As above.
        right_edge: u64,
    },
    /// Our FIN was decided. Committed before it leaves.
    Fin {
        /// Its position.
        position: u64,
        /// The digest of our stream.
        mark: Option<Mark>,
    },
    /// A RST was decided. Committed before it leaves.
    Abort,
    /// What helps another host to go on. A point drops what was kept for going on from earlier.
    Note(Note),
    /// The input that is kept of a hot connection is dropped: its application follows along, and no third
    /// host can be brought up.
    Shed,
    /// It is over.
    Closed,
}

/// Why a connection would not survive its host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Reason {
    /// There is no backup, or it is being brought up.
    NoBackup = 1,
    /// More input arrived since the last point than is kept.
    LogFull = 2,
    /// All journals together are as large as they may be.
    MemoryFull = 3,
    /// The output of the replaying application was not the same.
    Diverged = 4,
    /// What is served differs on the other host.
    ContentDiffers = 5,
    /// The application asked for something that is not kept, such as too large a checkpoint.
    TooLarge = 6,
}

impl Reason {
    /// Every reason.
    pub const ALL: [Self; 6] = [
        Self::NoBackup,
        Self::LogFull,
        Self::MemoryFull,
        Self::Diverged,
        Self::ContentDiffers,
        Self::TooLarge,
    ];
}

impl std::fmt::Display for Reason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::NoBackup => "no backup",
            Self::LogFull => "more input than is kept",
            Self::MemoryFull => "journals full",
            Self::Diverged => "output diverged",
            Self::ContentDiffers => "content differs",
            Self::TooLarge => "too large to be kept",
        })
    }
}
