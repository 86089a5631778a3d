//! Leases: renewed, given up, or stood in for by the arbitration.

use outlive::replication::membership::lease::holder_until;
use outlive::replication::membership::message::Body;
use outlive::replication::membership::voter::Request;
use outlive::replication::membership::{Arbitration, Incarnation};
use outlive::replication::view::HostId;
use outlive::time::Instant;

use crate::model::Group;
use crate::state::{Content, LEASE, Life, NOW, Packet, State};

impl Group {
    pub(crate) fn renew(&self, state: &mut State, me: HostId, voter: HostId) {
        let Some(life) = state.life(me) else { return };
        let (sent, lease) = (NOW, LEASE);
        let packet = Packet {
            from: me,
            to: voter,
            life: life.incarnation,
            content: Content::Membership(self.message(life, Body::Renew { sent, lease })),
        };
        self.deliver(state, &packet);
    }

    pub(crate) fn extend(life: &mut Life, me: HostId, sent: Instant) {
        let until = holder_until(sent, LEASE, 0);
        life.voter.hold(me, sent, until);
        life.lease_until = life.lease_until.max(until);
    }

    pub(crate) fn grant(
        &self,
        state: &mut State,
        me: HostId,
        to: HostId,
        asker: Incarnation,
        request: Request,
    ) {
        let Some(life) = state.host_mut(me).life.as_mut() else {
            return;
        };
        self.forgive_lease(&mut life.voter);
        if life.voter.grant(NOW, request).is_err() {
            return;
        }
        life.released = None;
        self.store(state, me);
        let Some(life) = state.life(me) else {
            return;
        };
        let sent = request.sent;
        let answer = Packet {
            from: me,
            to,
            life: life.incarnation,
            content: Content::Membership(self.message(life, Body::Grant { asker, sent })),
        };
        self.deliver(state, &answer);
    }

    pub(crate) fn release(&self, state: &mut State, me: HostId) {
        let peer = HostId(1 - me.0);
        let Some(life) = state.host_mut(me).life.as_mut() else {
            return;
        };
        let Some(epoch) = life.acting else { return };
        life.lease_until = Instant::ZERO;
        life.void_until = Some(NOW);
        life.voter.release(NOW, me, epoch, NOW);
        state.releases += 1;
        let (sent, to) = (NOW, peer);
        self.send_to_voters(state, me, Body::Release { epoch, sent, to });
    }

    /// May the peer's vote be done without?
    pub(crate) fn may_stand_in(&self, state: &State, me: HostId) -> bool {
        let peer = state.life(HostId(1 - me.0));
        match self.arbitration {
            // The command is what kills it.
            Arbitration::Fence => peer.is_none() || state.crashes < self.bounds.crashes,
            Arbitration::UnsafePair => self.partition || peer.is_none(),
            Arbitration::Witness | Arbitration::Alone => false,
        }
    }

    pub(crate) fn stand_in(&self, state: &mut State, me: HostId) {
        if self.arbitration == Arbitration::Fence {
            let peer = state.host_mut(HostId(1 - me.0));
            let killed = peer.life.take().is_some();
            state.crashes += u8::from(killed);
        }
        let pair = self.arbitration == Arbitration::UnsafePair;
        let Some(life) = state.host_mut(me).life.as_mut() else {
            return;
        };
        if let Some(ballot) = life.pending.take()
            && life.voter.accept_own(NOW, &ballot).is_ok()
        {
            life.voter.decide_alone();
            self.follow(state, me);
        }
        if let Some(life) = state.host_mut(me).life.as_mut()
            && life.acting.is_some()
            && pair
        {
            Self::extend(life, me, NOW);
        }
    }
}
