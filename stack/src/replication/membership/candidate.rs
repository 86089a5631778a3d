//! When a server asks to be primary, or to change who is in sync (FAILOVER §6).
//!
//! Pure rules. Whatever they want, the voters decide; but a server does not even ask for what it may not have: its copy must be
//! the one that the newest view names, of this life of the process. When *all* copies of the newest view are gone with
//! their processes, one of those hosts starts afresh, without connections.

use super::ballot::{Ballot, Incarnation};
use crate::replication::view::{Epoch, HostId};

/// What a server knows of the other one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Peer {
    /// Heartbeats pass both ways.
    pub up: bool,
    /// Its last known life.
    pub incarnation: Option<Incarnation>,
    /// It gave up its lease of this epoch for us.
    pub released: Option<Epoch>,
}

/// One server before it asks.
#[derive(Clone, Copy, Debug)]
pub struct Candidate<'a> {
    /// It.
    pub me: HostId,
    /// Its life.
    pub incarnation: Incarnation,
    /// The newest ballot that it accepted.
    pub newest: &'a Ballot,
    /// Ballots up to here are refused somewhere.
    pub promised: Epoch,
    /// The other server.
    pub peer_id: HostId,
    /// What it knows of it.
    pub peer: Peer,
}

impl Candidate<'_> {
    /// True if the newest view names this life as one with a complete copy.
    #[must_use]
    pub fn has_copy(&self) -> bool {
        self.newest.has_copy(self.me, self.incarnation)
    }

    /// True if this host is the newest view's primary, in this life.
    #[must_use]
    pub fn is_primary(&self) -> bool {
        self.newest.view.primary == self.me && self.has_copy()
    }

    /// True if the peer's process was replaced since the newest view.
    #[must_use]
    pub fn peer_lost_its_copy(&self) -> bool {
        let named = self.newest.incarnation(self.peer_id);
        named.is_some() && self.peer.incarnation.is_some() && self.peer.incarnation != named
    }

    /// A backup follows: the primary is gone, or wants it.
    #[must_use]
    pub fn promotion(&self) -> Option<Ballot> {
        if !self.has_copy() || self.is_primary() {
            return None;
        }
        let released = self.peer.released == Some(self.newest.epoch());
        if self.peer.up && !released && !self.peer_lost_its_copy() {
            return None;
        }
        self.alone()
    }

    /// The primary goes on without its backup, which is gone.
    #[must_use]
    pub fn solo(&self) -> Option<Ballot> {
        let backed = self.newest.view.in_sync.contains(self.peer_id);
        if !self.is_primary() || !backed {
            return None;
        }
        self.alone()
    }

    /// The primary takes the peer in, in the life that has copied everything.
    #[must_use]
    pub fn join(&self, copied: Incarnation) -> Option<Ballot> {
        if !self.is_primary() || self.newest.has_copy(self.peer_id, copied) {
            return None;
        }
        let me = (self.me, self.incarnation);
        self.newest
            .followed_by(me, Some((self.peer_id, copied)), self.promised)
    }

    /// All copies are gone, this host's among them, or there never was one.
    #[must_use]
    pub fn afresh(&self) -> Option<Ballot> {
        let in_sync = self.newest.view.in_sync;
        let mine_gone = in_sync.contains(self.me) && !self.has_copy();
        let all_gone = mine_gone && (!in_sync.contains(self.peer_id) || self.peer_lost_its_copy());
        if !self.newest.view.is_none() && !all_gone {
            return None;
        }
        self.alone()
    }

    /// True if the peer could start afresh as well.
    #[must_use]
    pub fn peer_could_start(&self) -> bool {
        self.newest.view.is_none() || self.newest.view.in_sync.contains(self.peer_id)
    }

    fn alone(&self) -> Option<Ballot> {
        let me = (self.me, self.incarnation);
        self.newest.followed_by(me, None, self.promised)
    }
}
