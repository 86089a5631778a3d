//! Whether a primary has a backup, and how far one is that is being brought up.

use super::snapshot::Snapshot;
use crate::replication::message::Place;
use crate::time::Instant;

/// Where the primary stands towards the other host.
#[derive(Debug)]
pub(crate) enum Standing {
    /// Nobody has a copy, and the view says so: nothing waits.
    Alone,
    /// This host has just taken over. One that handed over in order has the same copy still, and will say so: until
    /// then entries are kept for it. Nothing waits.
    Parted(Parting),
    /// A copy is being made while service goes on; nothing waits for it.
    Joining(Snapshot),
    /// The copy is complete but for what is on its way; from here on everything waits for it. The view
    /// that says so is asked for once the entries up to this one are applied.
    CatchingUp {
        /// The first entry after the snapshot.
        until: u64,
        /// The view was asked for.
        proposed: bool,
    },
    /// The other host has everything that was ever acknowledged, and the view says so.
    Synced,
}

impl Standing {
    /// True when effects wait for the other host.
    pub(crate) const fn is_gated(&self) -> bool {
        matches!(self, Self::CatchingUp { .. } | Self::Synced)
    }

    /// True when the view has to change before anything may leave without the other host.
    pub(crate) const fn needs_view(&self) -> bool {
        matches!(self, Self::Synced | Self::CatchingUp { proposed: true, .. })
    }
}

/// What the host that served before has to know to go on as backup, with the copy that it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Parting {
    /// How much of its log this host had taken when it took over.
    pub(crate) base: Place,
    /// What was then added to the clock of all timestamps.
    pub(crate) shift: u32,
    /// Until then.
    pub(crate) until: Instant,
}
