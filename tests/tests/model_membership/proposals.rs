//! Ballots that a server proposes, and new lives.

use outlive::replication::membership::message::Body;
use outlive::replication::membership::{Ballot, Durable, Incarnation};
use outlive::replication::view::HostId;

use crate::model::{Group, Wish};
use crate::mutation::Mutation;
use crate::state::{Copy, LEASE, NOW, State};

impl Group {
    /// The ballot that a server may ask for.
    pub(crate) fn ballot(&self, state: &State, me: HostId, wish: Wish) -> Option<Ballot> {
        let life = state.life(me)?;
        life.voter.check_memory().ok()?;
        // Detection may say anything at any time.
        let candidate = life.candidate(me, false);
        let acting = life.acting.is_some();
        let ballot = match wish {
            Wish::Promotion if self.mutation == Mutation::PromoteOutsideInSync && !acting => {
                let mine = (me, life.incarnation);
                let promised = life.voter.promised();
                life.copy?;
                life.voter.newest().followed_by(mine, None, promised)
            }
            Wish::Promotion if self.mutation == Mutation::IgnoreLives && !acting => {
                let named = self.has_copy(life, me, life.voter.newest());
                let mine = (me, life.incarnation);
                let promised = life.voter.promised();
                let newest = life.voter.newest();
                named.then(|| newest.followed_by(mine, None, promised))?
            }
            Wish::Promotion => candidate.promotion(),
            Wish::Solo => candidate.solo().filter(|_| acting),
            Wish::Join => {
                let applied = life.applied?;
                let complete = applied == life.copy?.entries;
                let early = self.mutation == Mutation::JoinBeforeTail;
                let join = candidate.join(life.peer);
                join.filter(|_| acting && (complete || early))
            }
            Wish::Afresh => candidate.afresh(),
        }?;
        let mut voter = life.voter.clone();
        self.forgive_lease(&mut voter);
        voter.check_lease(NOW, &ballot).ok()?;
        (ballot.epoch().0 <= self.bounds.epochs).then_some(ballot)
    }

    pub(crate) fn propose(&self, state: &mut State, me: HostId, ballot: Ballot) {
        let peer = HostId(1 - me.0);
        if let Some(life) = state.host_mut(me).life.as_mut() {
            life.voter.promise(ballot.epoch());
            life.pending = Some(ballot);
            let alone = !ballot.view.in_sync.contains(peer);
            if life.acting.is_some() {
                life.obliged = life.obliged.union(ballot.view.in_sync);
            }
            if alone && life.acting.is_some() && self.mutation == Mutation::SoloBeforeMajority {
                life.applied = None;
            }
        }
        self.send_to_voters(
            state,
            me,
            Body::Propose {
                ballot,
                sent: NOW,
                lease: LEASE,
            },
        );
    }

    pub(crate) fn restart(&self, state: &mut State, me: HostId, forgets: bool) {
        state.forgotten += u8::from(forgets);
        let host = state.host(me);
        let durable = if forgets {
            Durable::default()
        } else {
            host.stored
        };
        let incarnation = Incarnation(host.lives + 1);
        let mut life = self.life(me, durable, incarnation);
        if self.mutation == Mutation::IgnoreLives {
            life.copy = Some(Copy {
                generation: state.acknowledged.generation,
                entries: 0,
            });
        }
        let host = state.host_mut(me);
        host.lives += 1;
        host.stored = durable;
        host.life = Some(life);
    }
}
