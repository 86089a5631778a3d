//! What can be asked.

use std::sync::atomic::Ordering;

use super::Node;
use crate::replication::membership::{PathId, Statistics};
use crate::replication::service::Takeover;
use crate::replication::status::Status;
use crate::replication::view::{Epoch, HostId, View};
use crate::time::Instant;

/// A node at one moment.
#[derive(Clone, Debug)]
pub struct NodeStatus {
    /// This host.
    pub me: HostId,
    /// Heartbeats pass both ways between this host and the other one.
    pub peer_up: bool,
    /// The same of the witness.
    pub witness_up: bool,
    /// End of the lease.
    pub lease_until: Instant,
    /// What had to be stored could not be: this host is silent for good.
    pub storage_failed: bool,
    /// Votes, counted.
    pub votes: Statistics,
    /// The service.
    pub service: Status,
}

impl Node {
    /// Whether heartbeats pass on one path to a host.
    #[must_use]
    pub fn path_is_up(&self, host: HostId, path: PathId) -> bool {
        let voting = self.membership.lock();
        let mut paths = voting.membership.paths(host);
        paths.any(|(known, up)| known == path && up)
    }

    /// The view that this host acts upon.
    #[must_use]
    pub fn view(&self) -> View {
        self.service.current_view()
    }

    /// The newest epoch in which the other host was heard as the one that serves: it says so after it has taken the
    /// connections over, and so later than the vote which let it.
    #[must_use]
    pub fn heard_epoch(&self) -> Epoch {
        self.service.heard_epoch()
    }

    /// The last takeover by this host.
    #[must_use]
    pub fn takeover(&self) -> Option<Takeover> {
        self.service.last_takeover()
    }

    /// What is known now. Looks at every connection: not for every turn of a thread.
    #[must_use]
    pub fn status(&self) -> NodeStatus {
        let voting = self.membership.lock();
        let membership = &voting.membership;
        let peer = self.config.membership.peer();
        let (peer_up, witness_up) = (membership.is_up(peer), membership.is_up(HostId::WITNESS));
        let statistics = Statistics {
            drop_waiting: voting.queue.dropped(),
            ..membership.statistics()
        };
        let lease_until = self.lease.until();
        drop(voting);
        NodeStatus {
            me: self.config.membership.me,
            peer_up,
            witness_up,
            lease_until,
            storage_failed: self.failed.load(Ordering::Acquire),
            votes: statistics,
            service: self.service.status(),
        }
    }
}
