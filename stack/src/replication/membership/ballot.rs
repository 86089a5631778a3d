//! A view as it is voted on: with the view that it follows, and with the lives of the hosts in it.
//!
//! Decided ballots form a chain: a ballot counts only where its `base` is the newest view (compare and set).
//! What a host has of the connections is in memory and gone with its process. So a ballot names the
//! *incarnation* of each host in sync; a host of another incarnation has nothing, whatever the view says.

use crate::replication::view::{Epoch, HostId, HostSet, View};

/// One life of a process, drawn at random when it starts; never 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Incarnation(pub u64);

/// A view to vote on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Ballot {
    /// What is proposed.
    pub view: View,
    /// The epoch of the view that it follows.
    pub base: Epoch,
    /// The incarnations of hosts 0 and 1; 0 for one that is not in sync.
    pub incarnations: [Incarnation; 2],
}

impl Ballot {
    /// Before the first view.
    pub const NONE: Self = Self {
        view: View::NONE,
        base: Epoch::NONE,
        incarnations: [Incarnation(0); 2],
    };

    /// Its number.
    #[must_use]
    pub const fn epoch(&self) -> Epoch {
        self.view.epoch
    }

    /// True if this life of `host` has a complete copy.
    #[must_use]
    pub fn has_copy(&self, host: HostId, incarnation: Incarnation) -> bool {
        self.view.in_sync.contains(host)
            && self.incarnations.get(usize::from(host.0)) == Some(&incarnation)
    }

    /// The incarnation of `host` in it.
    #[must_use]
    pub fn incarnation(&self, host: HostId) -> Option<Incarnation> {
        let incarnation = self.incarnations.get(usize::from(host.0))?;
        (incarnation.0 != 0).then_some(*incarnation)
    }

    /// The ballot for `primary`, alone or with the copy of `other`, that follows this one. `above` is an epoch that
    /// it has to be above; none at the end of numbers.
    #[must_use]
    pub fn followed_by(
        &self,
        primary: (HostId, Incarnation),
        other: Option<(HostId, Incarnation)>,
        above: Epoch,
    ) -> Option<Self> {
        let mut next = Self {
            view: View {
                epoch: self.epoch().max(above).next_of(primary.0)?,
                primary: primary.0,
                in_sync: HostSet::EMPTY,
            },
            base: self.epoch(),
            incarnations: Self::NONE.incarnations,
        };
        for (host, incarnation) in [Some(primary), other].into_iter().flatten() {
            next.view.in_sync = next.view.in_sync.with(host);
            *next.incarnations.get_mut(usize::from(host.0))? = incarnation;
        }
        Some(next)
    }

    /// True if it can be a ballot at all, or is none.
    #[must_use]
    pub fn is_well_formed(&self) -> bool {
        if self.view.is_none() {
            return *self == Self::NONE;
        }
        let View {
            epoch,
            primary,
            in_sync,
        } = self.view;
        primary.is_server()
            && in_sync.contains(primary)
            && in_sync.is_subset(HostSet::SERVERS)
            && self.base < epoch
            && [HostId(0), HostId(1)]
                .into_iter()
                .all(|host| self.incarnation(host).is_some() == in_sync.contains(host))
    }
}
