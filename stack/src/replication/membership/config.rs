//! What a membership is told when it starts.

use std::time::Duration;

use super::ballot::Incarnation;
use crate::replication::view::{HostId, HostSet};

/// One of the ways to a host: an address pair on some network.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PathId(pub u8);

/// Who decides when the two servers do not see each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arbitration {
    /// A third voter: two of three decide.
    Witness,
    /// A command that switches the other host off and confirms it, before this one goes on without it.
    Fence,
    /// Nobody: when all paths to the peer are dead and the service network still answers, this host goes on.
    /// **Not safe**: hosts that are cut from each other, but not from their clients, both serve.
    UnsafePair,
    /// There is no other server.
    Alone,
}

/// How a host takes part.
#[derive(Clone, Debug)]
pub struct Config {
    /// This host.
    pub me: HostId,
    /// Every path to every other host.
    pub links: Vec<(HostId, PathId)>,
    /// How a doubt is settled; the same on both servers, and [`Arbitration::Witness`] on the witness.
    pub arbitration: Arbitration,
    /// This life of the process: a random number, not 0.
    pub incarnation: Incarnation,
    /// Somebody promises that there never was a view. Without it, hosts and witness that have no memory begin when they
    /// have all heard each other, because an empty memory may also be a lost one.
    pub first_start: bool,
    /// Who serves after a start at which both servers are there and neither has connections.
    pub preferred: HostId,
    /// Time between heartbeats on each path, and between renewals of the lease.
    pub heartbeat_interval: Duration,
    /// A path is down when so many heartbeats are missing (RFC 5880 §6.8.4: the peer's own number counts).
    pub multiplier: u8,
    /// How long one grant allows to send; the same on all hosts and the witness.
    pub lease: Duration,
    /// How far two hosts' clocks may drift apart, in parts per million. The kernel slews a clock by 500 at most.
    pub drift_ppm: u32,
    /// A path that was down is up again only after it worked for so long; doubled each time it fails again.
    pub hold_down: Duration,
    /// The most that [`Self::hold_down`] is doubled to.
    pub hold_down_max: Duration,
    /// How long the backup lets the primary fence first, so that two hosts that are merely cut from each other do
    /// not switch each other off.
    pub fence_delay: Duration,
    /// After a fence command that failed, the next try.
    pub fence_retry: Duration,
}

impl Config {
    /// The longest lease that is granted to anybody.
    pub const MAX_LEASE: Duration = Duration::from_secs(10);

    /// The usual figures: heartbeats each 10 ms, three missing are a failure, a lease of 30 ms.
    #[must_use]
    pub fn new(me: HostId, arbitration: Arbitration, incarnation: Incarnation) -> Self {
        Self {
            me,
            links: Vec::new(),
            arbitration,
            incarnation,
            first_start: false,
            preferred: HostId(0),
            heartbeat_interval: Duration::from_millis(10),
            multiplier: 3,
            lease: Duration::from_millis(30),
            drift_ppm: 2_000,
            hold_down: Duration::from_millis(30),
            hold_down_max: Duration::from_secs(2),
            fence_delay: Duration::from_millis(200),
            fence_retry: Duration::from_secs(1),
        }
    }

    /// The same with one more path.
    #[must_use]
    pub fn with_link(mut self, to: HostId, path: PathId) -> Self {
        self.links.push((to, path));
        self
    }

    /// The other server; for the witness, host 0.
    #[must_use]
    pub fn peer(&self) -> HostId {
        HostId(u8::from(self.me.0 == 0))
    }

    /// Who votes.
    #[must_use]
    pub fn voters(&self) -> HostSet {
        match self.arbitration {
            Arbitration::Witness => HostSet::SERVERS.with(HostId::WITNESS),
            Arbitration::Fence | Arbitration::UnsafePair => HostSet::SERVERS,
            Arbitration::Alone => HostSet::only(self.me),
        }
    }

    /// True if the lease has an end at all. Without a third voter that could go on with the other host, it is
    /// the fence (or nobody) that ends it.
    #[must_use]
    pub fn lease_ends(&self) -> bool {
        matches!(
            self.arbitration,
            Arbitration::Witness | Arbitration::UnsafePair
        )
    }
}
