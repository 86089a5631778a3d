//! From where an application goes on: what it is told on the new host, and what of a journal concerns it
//! (FAILOVER §5).
//!
//! Positions are those of [`crate::tcp`]: 1 is the first byte of a stream. Offsets, which applications
//! see, begin at 0.

use bytes::Bytes;

use super::decisions::Logged;
use crate::tcp::gate::{Mark, Point};

/// What an application learns of a connection that it is to continue.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Continuation {
    /// Offset in the client's stream of the first byte that can be read.
    pub input_position: u64,
    /// Offset in our stream of the first byte that will be written.
    pub output_position: u64,
    /// The state last given to `checkpoint()`, if any was.
    pub checkpoint: Option<Bytes>,
}

/// Output that was committed before it was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mirrored {
    /// Position of the first byte.
    pub from: u64,
    /// The bytes.
    pub bytes: Bytes,
}

/// What a journal knows of how the application continues, beside the input since the point.
#[derive(Clone, Debug, Default)]
pub struct Restored {
    /// The last point; without one, the beginning. For a mirrored connection: what its last output says of
    /// input and state, and the end of that output.
    pub point: Option<Point>,
    /// Decisions since the point, in order.
    pub decisions: Vec<Logged>,
    /// Digests of the former owner's output.
    pub marks: Vec<Mark>,
    /// Mirrored output that the peer may lack, in order and without gaps.
    pub mirrored: Vec<Mirrored>,
}
