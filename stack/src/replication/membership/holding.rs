//! The primary's lease: asked for again each interval, and silence when it lapses.

use super::Membership;
use super::ballot::Incarnation;
use super::lease::{Term, holder_until};
use super::message::{Body, Message};
use super::output::Output;
use crate::replication::view::HostId;
use crate::time::Instant;

/// The holder's side.
#[derive(Clone, Copy, Debug)]
pub(super) struct Holding {
    next_renewal: Instant,
    /// Grants for requests up to then are void: the lease was given up.
    void_until: Option<Instant>,
    /// The lease was valid when it was last looked at.
    valid: bool,
}

impl Holding {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            next_renewal: now,
            void_until: None,
            valid: false,
        }
    }
}

impl Membership {
    /// Gives up the lease, so that `peer` may be primary at once. If it does not become primary, this host asks for
    /// the lease again after the time in which a failure is detected.
    ///
    /// Call it when nothing is on its way to `peer` any more. False if this host is not primary or `peer` not in sync.
    pub fn release_to(&mut self, now: Instant, peer: HostId) -> bool {
        let newest = self.voter.newest().view;
        let Some(epoch) = self.proposing.acting else {
            return false;
        };
        if !newest.is_backup(peer) || epoch != newest.epoch || self.commit_to() != newest.in_sync {
            return false;
        }
        tracing::info!(%epoch, to = %peer, "lease given up");
        self.silence();
        self.holding.void_until = Some(now);
        let patience = self.config.heartbeat_interval * self.config.multiplier.into();
        self.holding.next_renewal = now + patience.max(self.config.lease);
        self.voter.release(now, self.config.me, epoch, now);
        self.send_to_voters(Body::Release {
            epoch,
            sent: now,
            to: peer,
        });
        true
    }

    /// A voter granted.
    pub(super) fn granted(
        &mut self,
        now: Instant,
        message: &Message,
        asker: Incarnation,
        sent: Instant,
    ) {
        let acting = self.proposing.acting;
        let ours = asker == self.config.incarnation && acting == Some(message.newest.epoch());
        let void = sent > now || self.holding.void_until.is_some_and(|until| sent <= until);
        if !ours || void {
            self.statistics.drop_stale_grant += 1;
            tracing::debug!(epoch = %message.newest.epoch(), "a grant that is no use");
            return;
        }
        self.extend(sent);
    }

    /// Renews what is due, and notes when the lease lapses.
    pub(super) fn hold(&mut self, now: Instant) {
        let Some(epoch) = self.proposing.acting else {
            return;
        };
        if now >= self.holding.next_renewal {
            self.holding.next_renewal = now + self.config.heartbeat_interval;
            self.holding.void_until = None;
            self.renew(now);
        }
        let valid = self.lease.is_valid(now);
        if self.holding.valid && !valid {
            self.statistics.lapses += 1;
            let (peer, witness) = (self.config.peer(), HostId::WITNESS);
            tracing::warn!(
                %epoch,
                peer_up = self.is_up(peer),
                witness_up = self.is_up(witness),
                "silent: the lease lapsed, because no other voter granted it again in time"
            );
        } else if valid && !self.holding.valid {
            tracing::info!(%epoch, "lease held");
        }
        self.holding.valid = valid;
    }

    fn renew(&mut self, now: Instant) {
        if !self.config.lease_ends() {
            return self.extend_for_ever();
        }
        if self.arbiter.stands_in(self.peer_is_silent(now)) {
            self.extend(now);
        }
        self.send_to_voters(Body::Renew {
            sent: now,
            lease: self.config.lease,
        });
    }

    fn extend(&mut self, sent: Instant) {
        let until = holder_until(sent, self.config.lease, self.config.drift_ppm);
        self.extend_until(sent, until);
    }

    pub(super) fn extend_for_ever(&mut self) {
        if self.lease.until() != Instant::FAR_FUTURE {
            self.extend_until(Instant::ZERO, Instant::FAR_FUTURE);
        }
    }

    fn extend_until(&mut self, sent: Instant, until: Instant) {
        if let Some(epoch) = self.proposing.acting {
            self.voter.hold(self.config.me, sent, until);
            self.persist();
            let term = Term::new(self.lease(), epoch, until);
            self.outbox.push(Output::Lease(term));
        }
    }

    /// A new view of which this host is primary: the lease is asked for (again) under its epoch at once.
    pub(super) fn begin_holding(&mut self, now: Instant) {
        self.holding.next_renewal = now;
        self.holding.void_until = None;
    }

    /// No more frames, now.
    pub(super) fn silence(&mut self) {
        self.lease.revoke();
        self.outbox
            .retain(|output| !matches!(output, Output::Lease(_)));
        self.holding.valid = false;
    }

    pub(super) fn holding_deadline(&self, now: Instant) -> Option<Instant> {
        self.proposing.acting?;
        let lapse = self.lease.until();
        let lapse = (lapse > now).then_some(lapse);
        let renewal = Some(self.holding.next_renewal);
        [renewal, lapse].into_iter().flatten().min()
    }
}
