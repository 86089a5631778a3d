//! What a membership wants done.

use std::time::Duration;

use super::config::PathId;
use super::durable::Durable;
use super::lease::Term;
use super::message::Message;
use crate::replication::view::{HostId, View};

/// To be done **in this order**, before the membership is called again; or, where storing takes a while, in the order of a
/// [`super::Queue`]. When something cannot be done, the host must stop: nothing that follows may happen.
#[derive(Clone, Debug)]
pub enum Output {
    /// Put on stable storage before anything that follows.
    Persist(Durable),
    /// A datagram on one path.
    Send {
        /// To this host,
        to: HostId,
        /// on this path.
        path: PathId,
        /// What.
        message: Message,
    },
    /// Take up a lease that was won: [`Term::apply`].
    Lease(Term),
    /// A newer view was decided. If [`super::Membership::is_primary`], and this host was not before, it takes over. (A view that
    /// names this host may mean an earlier life of it, which is no promotion.)
    View(View),
    /// Switch that host off, then call [`super::Membership::fenced`].
    Fence(HostId),
    /// A host is heard again, and hears us.
    Up(HostId),
    /// No path to that host works.
    Down(HostId),
    /// One path came up or broke.
    Path {
        /// To this host,
        host: HostId,
        /// this one.
        path: PathId,
        /// Its new state.
        up: bool,
    },
    /// That host's process is another one now: what it had in memory is gone, and it acknowledges nothing of before.
    Restarted(HostId),
    /// A heartbeat came back: one look at the other host's clock.
    Clock {
        /// Whose clock.
        host: HostId,
        /// What to add to our clock to have its, in nanoseconds; wrong by half of `round_trip` at most.
        offset_ns: i64,
        /// How long the heartbeat and its echo took on the way.
        round_trip: Duration,
    },
}
