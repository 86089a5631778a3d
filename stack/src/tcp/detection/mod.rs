//! Which segments are lost? One narrow interface, and two ways to tell: by time (`rack`, RFC 8985), for
//! connections with SACK; by counting duplicate ACKs (`duplicates`, RFC 5681 §3.2 and RFC 6582), for those without.
//!
//! Detection marks pieces of a [`Flight`]. What follows from a loss is decided elsewhere: what is sent again
//! (`recovery`), and how much (`congestion`, `prr`).

mod duplicates;
mod rack;

use std::time::Duration;

pub(super) use self::duplicates::Duplicates;
pub(super) use self::rack::{Rack, Reordering};
use super::flight::{Flight, Piece};
use crate::time::Instant;

/// Duplicate ACKs, or segments SACKed, that make a segment lost (RFC 5681 §3.2).
pub(super) const DUP_THRESH: u32 = 3;

/// What detection needs to know of the connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct View {
    pub now: Instant,
    pub una: u64,
    pub mss: u64,
    pub srtt: Duration,
    pub min_rtt: Duration,
    /// Losses are being repaired already.
    pub recovering: bool,
    pub reordering: Reordering,
}

/// What was found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Found {
    /// Bytes that count as lost from now on.
    pub lost: u64,
    /// When to look again, though no ACK may have come until then.
    pub look_at: Option<Instant>,
}

/// A way to find losses.
pub(super) trait LossDetection {
    /// `piece`, as it was until now, has arrived.
    fn on_delivered(&mut self, now: Instant, piece: &Piece, min_rtt: Duration);
    /// An ACK came that acknowledged nothing new, though something is outstanding.
    fn on_duplicate(&mut self, most: u32);
    /// `snd.una` advanced by so many bytes.
    fn on_advance(&mut self, acked: u64, mss: u64);
    /// Marks what is lost.
    fn find(&mut self, flight: &mut Flight, view: &View) -> Found;
    /// The retransmission timer expired: marks what that means.
    fn on_timeout(&mut self, flight: &mut Flight, view: &View);
    /// Segments that must have arrived, though nothing says which.
    fn arrived_somewhere(&self) -> u32;
}

/// The way that a connection uses.
#[derive(Clone, Debug)]
pub(super) enum Detection {
    Time(Rack),
    Count(Duplicates),
}

impl Detection {
    pub(super) fn new(sack: bool) -> Self {
        if sack {
            Self::Time(Rack::default())
        } else {
            Self::Count(Duplicates::default())
        }
    }

    fn get_mut(&mut self) -> &mut dyn LossDetection {
        match self {
            Self::Time(rack) => rack,
            Self::Count(duplicates) => duplicates,
        }
    }
}

impl LossDetection for Detection {
    fn on_delivered(&mut self, now: Instant, piece: &Piece, min_rtt: Duration) {
        self.get_mut().on_delivered(now, piece, min_rtt);
    }

    fn on_duplicate(&mut self, most: u32) {
        self.get_mut().on_duplicate(most);
    }

    fn on_advance(&mut self, acked: u64, mss: u64) {
        self.get_mut().on_advance(acked, mss);
    }

    fn find(&mut self, flight: &mut Flight, view: &View) -> Found {
        self.get_mut().find(flight, view)
    }

    fn on_timeout(&mut self, flight: &mut Flight, view: &View) {
        self.get_mut().on_timeout(flight, view);
    }

    fn arrived_somewhere(&self) -> u32 {
        match self {
            Self::Time(rack) => rack.arrived_somewhere(),
            Self::Count(duplicates) => duplicates.arrived_somewhere(),
        }
    }
}
