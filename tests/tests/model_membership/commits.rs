//! The abstract commit: entries and snapshots to the backup, and what may be acknowledged.

use outlive::replication::view::{Epoch, HostId, HostSet};

use crate::model::Group;
use crate::mutation::Mutation;
use crate::state::{Copy, Life, State};

impl Group {
    pub(crate) fn applied(&self, state: &mut State, me: HostId) {
        let peer = HostId(1 - me.0);
        let Some(other) = state.life(peer) else {
            return;
        };
        let (session, copy, incarnation) = (other.session, other.copy, other.incarnation);
        let Some(life) = state.host_mut(me).life.as_mut() else {
            return;
        };
        let named = life.peer == incarnation;
        let followed = life.acting.is_some() && session == life.log;
        if let Some(copy) = copy.filter(|_| named && followed) {
            life.applied = Some(copy.entries);
        }
    }

    /// The backup takes entries of its primary's epoch, or a newer one; or of the log that it follows, which its primary
    /// began and nobody else goes on with.
    pub(crate) fn entries(
        &self,
        state: &mut State,
        me: HostId,
        [epoch, log]: [Epoch; 2],
        copy: Copy,
    ) {
        let Some(life) = state.host_mut(me).life.as_mut() else {
            return;
        };
        let old = life.voter.newest().epoch() > epoch && life.session != Some(log);
        let stale = life.acting.is_some() || old;
        let Some(mine) = life
            .copy
            .as_mut()
            .filter(|mine| mine.generation == copy.generation)
        else {
            return;
        };
        if stale {
            return;
        }
        mine.entries = mine.entries.max(copy.entries);
        life.session = Some(log);
    }

    pub(crate) fn snapshot(
        &self,
        state: &mut State,
        me: HostId,
        [epoch, log]: [Epoch; 2],
        copy: Copy,
    ) {
        let Some(life) = state.host_mut(me).life.as_mut() else {
            return;
        };
        // It belongs to a view that the joiner knows.
        let known = life.voter.newest().epoch() == epoch && life.voter.is_decided();
        if life.acting.is_some() || !known {
            return;
        }
        let before = life.copy.filter(|mine| mine.generation == copy.generation);
        let entries = copy.entries.max(before.map_or(0, |mine| mine.entries));
        life.copy = Some(Copy { entries, ..copy });
        life.session = Some(log);
    }

    /// What may be acknowledged.
    pub(crate) fn covered(&self, life: &Life, me: HostId) -> Option<Copy> {
        life.acting?;
        let copy = life.copy?;
        let peer = HostId(1 - me.0);
        let mut needed = life.voter.newest().view.in_sync;
        if self.mutation != Mutation::JoinWithoutObligation {
            needed = needed.union(life.obliged);
        }
        let solo = life.pending.is_some_and(|b| !b.view.in_sync.contains(peer));
        if self.mutation == Mutation::SoloBeforeMajority && solo {
            needed = HostSet::only(me);
        }
        if !needed.contains(peer) || self.mutation == Mutation::AckBeforeCommit {
            return Some(copy);
        }
        let entries = copy.entries.min(life.applied?);
        Some(Copy { entries, ..copy })
    }
}
