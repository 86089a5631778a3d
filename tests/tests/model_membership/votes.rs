//! Messages, votes and roles, as `Membership` ties them together.

use outlive::replication::membership::message::{Body, Heartbeat, Refusal, Session};
use outlive::replication::membership::voter::{Request, Voter};
use outlive::replication::membership::{Arbitration, Ballot, Message};
use outlive::replication::view::{HostId, HostSet};
use outlive::time::Instant;

use crate::model::Group;
use crate::mutation::Mutation;
use crate::state::{Content, Copy, Life, NOW, Packet, State};

const HEARTBEAT: Heartbeat = Heartbeat {
    sent: NOW,
    interval_us: 1,
    multiplier: 1,
    session: Session::Up,
    echo: None,
};

impl Group {
    /// Membership's message with the sender's newest view.
    pub(crate) fn send(&self, state: &mut State, from: HostId, to: HostId, body: Body) {
        let Some(life) = state.life(from) else { return };
        let message = self.message(life, body);
        self.post(state, from, to, Content::Membership(message));
    }

    pub(crate) fn message(&self, life: &Life, body: Body) -> Message {
        Message {
            incarnation: life.incarnation,
            newest: *life.voter.newest(),
            decided: life.voter.is_decided(),
            body,
        }
    }

    pub(crate) fn send_to_voters(&self, state: &mut State, from: HostId, body: Body) {
        for to in self.voters().without(from).iter() {
            self.send(state, from, to, body);
        }
    }

    pub(crate) fn post(&self, state: &mut State, from: HostId, to: HostId, content: Content) {
        let Some(life) = state.life(from).map(|life| life.incarnation) else {
            return;
        };
        if state.life(to).is_none() {
            return;
        }
        state.network.insert(Packet {
            from,
            to,
            life,
            content,
        });
    }

    /// What was accepted is stored before anything else happens.
    pub(crate) fn store(&self, state: &mut State, me: HostId) {
        if self.mutation == Mutation::ForgetOnRestart {
            return;
        }
        let host = state.host_mut(me);
        if let Some(life) = &host.life {
            host.stored = *life.voter.durable();
        }
    }

    /// May this voter accept the ballot?
    pub(crate) fn judge(&self, voter: &mut Voter, ballot: &Ballot) -> bool {
        self.forgive_lease(voter);
        let base = voter.check_base(ballot).is_ok();
        let right = match voter.check_right(ballot) {
            Ok(()) => true,
            Err(objection) => {
                objection.reason == Refusal::NotInSync
                    && self.mutation == Mutation::PromoteOutsideInSync
            }
        };
        let real = self.mutation == Mutation::Correct;
        let allowed = voter.check_memory().is_ok()
            && voter.check_epoch(ballot).is_ok()
            && base
            && right
            && voter.check_lease(NOW, ballot).is_ok();
        assert!(!real || allowed == voter.judge(NOW, ballot).is_ok());
        allowed
    }

    pub(crate) fn forgive_lease(&self, voter: &mut Voter) {
        if self.mutation == Mutation::SkipGrantWait
            && let Some(granted) = voter.granted().copied()
        {
            voter.let_go(granted.to);
        }
    }

    /// A host learns what another one accepted, and takes the role that follows.
    pub(crate) fn learn(&self, state: &mut State, me: HostId, from: HostId, message: &Message) {
        let heard = message.newest;
        let Some(life) = state.host_mut(me).life.as_mut() else {
            return;
        };
        let named = heard.view.primary == me && heard.incarnation(me) == Some(life.incarnation);
        if !named && me.is_server() {
            life.overtaken = life.overtaken.max(heard.base);
        }
        if life.acting.is_some_and(|acting| acting <= life.overtaken) {
            Self::step_down(life, me);
        }
        self.forgive_lease(&mut life.voter);
        if named && heard.epoch() > life.voter.newest().epoch() {
            let _ = life.voter.accept_own(NOW, &heard);
        }
        life.voter.learn(NOW, from, &heard, message.decided);
        self.follow(state, me);
    }

    pub(crate) fn step_down(life: &mut Life, me: HostId) {
        life.acting = None;
        life.log = None;
        life.lease_until = Instant::ZERO;
        life.pending = None;
        life.voter.let_go(me);
    }

    /// The role that the newest view gives.
    pub(crate) fn follow(&self, state: &mut State, me: HostId) {
        self.store(state, me);
        if !me.is_server() {
            return;
        }
        let generation = state.acknowledged.generation;
        let acknowledged = state.acknowledged;
        let Some(life) = state.host_mut(me).life.as_mut() else {
            return;
        };
        let newest = *life.voter.newest();
        life.pending = life.pending.filter(|ballot| ballot.base == newest.epoch());
        let mine = newest.view.primary == me && self.has_copy(life, me, &newest);
        if life.acting.is_some_and(|epoch| epoch != newest.epoch()) && !mine {
            Self::step_down(life, me);
        }
        if !life.voter.is_decided() || life.known == newest.epoch() {
            return;
        }
        life.known = newest.epoch();
        if !self.has_copy(life, me, &newest) {
            life.copy = None;
        }
        if !mine || newest.epoch() <= life.overtaken {
            return;
        }
        let promoted = life.acting.replace(newest.epoch()).is_none();
        if promoted {
            life.log = Some(newest.epoch());
            life.session = None;
        }
        life.void_until = None;
        life.obliged = HostSet::EMPTY;
        let peer = HostId(1 - me.0);
        let backed = newest.view.in_sync.contains(peer);
        if !backed {
            life.applied = None;
        }
        if self.arbitration == Arbitration::Fence {
            life.lease_until = Instant::FAR_FUTURE;
            life.voter.hold(me, NOW, Instant::FAR_FUTURE);
        }
        let copy = life.copy;
        let afresh = promoted && copy.is_none();
        if afresh {
            life.copy = Some(Copy {
                generation: generation + 1,
                entries: 0,
            });
        }
        if afresh {
            let lost = !self.all_copies_gone(state, &newest);
            state.promoted_wrongly |= lost;
            state.acknowledged = Copy {
                generation: generation + 1,
                entries: 0,
            };
        } else if copy.is_some_and(|copy| {
            copy.generation == acknowledged.generation && copy.entries < acknowledged.entries
        }) {
            state.promoted_wrongly |= promoted;
        }
    }

    pub(crate) fn has_copy(&self, life: &Life, me: HostId, ballot: &Ballot) -> bool {
        let named = ballot.has_copy(me, life.incarnation);
        named || (self.mutation == Mutation::IgnoreLives && ballot.view.in_sync.contains(me))
    }

    /// Nobody lives who is named in the view that `ballot` follows; it is known to whoever accepted it.
    pub(crate) fn all_copies_gone(&self, state: &State, ballot: &Ballot) -> bool {
        let follows = |newest: &Ballot| newest.epoch() == ballot.base;
        [HostId(0), HostId(1)].into_iter().all(|host| {
            state.life(host).is_none_or(|life| {
                let newest = life.voter.newest();
                !(follows(newest) && newest.has_copy(host, life.incarnation))
            })
        })
    }

    pub(crate) fn deliver(&self, state: &mut State, packet: &Packet) {
        let (me, from) = (packet.to, packet.from);
        let Some(life) = state.host_mut(me).life.as_mut() else {
            return;
        };
        if me.is_server() && from.is_server() {
            if packet.life < life.peer {
                return;
            }
            if packet.life > life.peer {
                life.applied = None;
            }
            life.peer = packet.life;
        }
        match &packet.content {
            Content::Membership(message) => {
                self.learn(state, me, from, message);
                self.membership(state, me, from, message);
            }
            Content::Entries { place, copy } => self.entries(state, me, *place, *copy),
            Content::Snapshot { place, copy } => self.snapshot(state, me, *place, *copy),
        }
    }

    pub(crate) fn hear(&self, state: &mut State, me: HostId, from: HostId) {
        let Some(other) = state.life(from) else {
            return;
        };
        let message = self.message(other, Body::Heartbeat(HEARTBEAT));
        let packet = Packet {
            from,
            to: me,
            life: other.incarnation,
            content: Content::Membership(message),
        };
        self.deliver(state, &packet);
    }

    pub(crate) fn membership(
        &self,
        state: &mut State,
        me: HostId,
        from: HostId,
        message: &Message,
    ) {
        let Some(life) = state.host_mut(me).life.as_mut() else {
            return;
        };
        match message.body {
            // The lease that comes with a vote is the same as one that is asked for at once.
            Body::Propose { ballot, .. } => {
                if ballot != *life.voter.newest() {
                    if !self.judge(&mut life.voter, &ballot) {
                        return;
                    }
                    life.voter.accept(&ballot);
                    self.follow(state, me);
                    // The vote may also come late; then there is no lease with it.
                    let asker = message.incarnation;
                    let sent = Instant::ZERO;
                    self.send(state, me, from, Body::Grant { asker, sent });
                }
            }
            Body::Renew { sent, lease } => {
                let newest = life.voter.newest();
                if message.newest != *newest || newest.view.primary != from {
                    return;
                }
                let request = Request { sent, lease };
                self.grant(state, me, from, message.incarnation, request);
            }
            Body::Grant { asker, sent } => {
                let ours = asker == life.incarnation && life.acting == Some(message.newest.epoch());
                let void = life.void_until.is_some_and(|until| sent <= until);
                if ours && !void {
                    Self::extend(life, me, sent);
                }
            }
            Body::Release { epoch, sent, to } => {
                let newest = life.voter.newest().view;
                if newest.epoch == epoch && newest.primary == from {
                    life.voter.release(NOW, from, epoch, sent);
                    if to == me {
                        life.released = Some(epoch);
                    }
                }
            }
            Body::Refuse { .. } | Body::Heartbeat(_) => {}
        }
    }
}
