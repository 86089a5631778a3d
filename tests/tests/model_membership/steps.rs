//! Which steps there are, and taking one.

use outlive::replication::membership::{Arbitration, Ballot};
use outlive::replication::view::HostId;

use crate::model::{Group, Step, Wish};
use crate::state::{Content, Copy, State};

impl Group {
    pub(crate) fn server_steps(&self, state: &State, me: HostId, steps: &mut Vec<Step>) {
        let host = state.host(me);
        if host.in_hand.is_some() {
            steps.push(Step::Leave(me));
        }
        let Some(life) = &host.life else { return };
        for wish in [Wish::Promotion, Wish::Solo, Wish::Join, Wish::Afresh] {
            let ballot = self.ballot(state, me, wish);
            let same = |b: &Ballot| {
                life.pending
                    .is_some_and(|p| p.view.in_sync == b.view.in_sync)
            };
            if ballot.is_some_and(|b| !same(&b)) {
                steps.push(Step::Propose(me, wish));
            }
        }
        let useful = life.pending.is_some() || life.acting.is_some();
        if useful && self.may_stand_in(state, me) {
            steps.push(Step::StandIn(me));
        }
        if life.acting.is_none() {
            return;
        }
        if self.arbitration != Arbitration::Fence {
            for voter in self.voters().without(me).iter() {
                steps.push(Step::Renew { me, voter });
            }
        }
        if state.releases < self.bounds.releases && life.obliged.is_empty() {
            steps.push(Step::Release(me));
        }
        if life
            .copy
            .is_some_and(|copy| copy.entries < self.bounds.entries)
        {
            steps.push(Step::Receive(me));
        }
        let nothing = life.copy.is_none_or(|copy| copy.entries == 0);
        steps.push(Step::Applied(me));
        let peer = HostId(1 - me.0);
        let in_sync = life.voter.newest().view.in_sync.union(life.obliged);
        if !in_sync.contains(peer) {
            steps.push(Step::SendSnapshot(me));
        } else if !nothing {
            steps.push(Step::SendEntries(me));
        }
        let told = state.acknowledged.entries;
        let news = |covered: Copy| covered.entries > told;
        if life.holds_lease() && self.covered(life, me).is_some_and(news) {
            steps.push(Step::Check(me));
        }
    }

    pub(crate) fn take(&self, state: &mut State, step: &Step) {
        match step {
            Step::Tick => state.tick(),
            Step::Deliver(packet) => self.deliver(state, packet),
            Step::Hear { me, from } => self.hear(state, *me, *from),
            Step::Applied(me) => self.applied(state, *me),
            Step::Crash(host) => {
                state.crashes += 1;
                // Its sessions end: what is sent to it, no later life can read.
                state.network.retain(|packet| packet.to != *host);
                state.host_mut(*host).life = None;
            }
            Step::Restart { host, forgets } => self.restart(state, *host, *forgets),
            Step::Propose(me, wish) => {
                if let Some(ballot) = self.ballot(state, *me, *wish) {
                    self.propose(state, *me, ballot);
                }
            }
            Step::Renew { me, voter } => self.renew(state, *me, *voter),
            Step::Release(me) => self.release(state, *me),
            Step::StandIn(me) => self.stand_in(state, *me),
            Step::Receive(me) => {
                let copy = state.host_mut(*me).life.as_mut();
                if let Some(copy) = copy.and_then(|life| life.copy.as_mut()) {
                    copy.entries += 1;
                }
            }
            Step::SendEntries(me) | Step::SendSnapshot(me) => {
                let Some(life) = state.life(*me) else { return };
                let (Some(epoch), Some(log), Some(copy)) = (life.acting, life.log, life.copy)
                else {
                    return;
                };
                let place = [epoch, log];
                let content = match step {
                    Step::SendEntries(_) => Content::Entries { place, copy },
                    _ => Content::Snapshot { place, copy },
                };
                self.post(state, *me, HostId(1 - me.0), content);
            }
            Step::Check(me) => {
                let covered = state.life(*me).and_then(|life| self.covered(life, *me));
                state.host_mut(*me).in_hand = covered;
            }
            Step::Leave(me) => {
                let left = state.host_mut(*me).in_hand.take();
                let seen = &mut state.acknowledged;
                if let Some(left) = left.filter(|left| left.generation == seen.generation) {
                    seen.entries = seen.entries.max(left.entries);
                }
            }
        }
    }
}
