//! The voter's answers, and the request that waits.

use std::time::Duration;

use super::Membership;
use super::ballot::{Ballot, Incarnation};
use super::message::{Body, Message, Refusal};
use super::voter::{Objection, Request};
use crate::replication::view::{Epoch, HostId};
use crate::time::Instant;

/// A ballot that only somebody else's lease forbids, for now. One is enough: only the other server asks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Waiting {
    from: HostId,
    asker: Incarnation,
    ballot: Ballot,
    request: Request,
    pub(super) until: Instant,
}

impl Membership {
    /// A host asks for a vote.
    pub(super) fn asked(
        &mut self,
        now: Instant,
        from: HostId,
        ballot: Ballot,
        sent: Instant,
        lease: Duration,
    ) {
        let request = Request { sent, lease };
        let asker = ballot.incarnation(from);
        let Some(asker) = asker.filter(|_| ballot.view.primary == from) else {
            self.statistics.refused(Refusal::Invalid);
            return;
        };
        self.waiting = None;
        self.vote(now, from, asker, ballot, request);
    }

    fn vote(
        &mut self,
        now: Instant,
        from: HostId,
        asker: Incarnation,
        ballot: Ballot,
        request: Request,
    ) {
        // Asked once more because the answer was lost.
        if ballot != *self.voter.newest() {
            match self.voter.judge(now, &ballot) {
                Ok(()) => {
                    tracing::info!(%from, view = %ballot.view, "voted");
                    self.voter.accept(&ballot);
                    self.follow(now);
                }
                Err(objection) => {
                    // It is answered when the lease is over, not when it is asked again.
                    self.waiting = objection.until.map(|until| Waiting {
                        from,
                        asker,
                        ballot,
                        request,
                        until,
                    });
                    return self.refuse(from, asker, objection);
                }
            }
        }
        self.grant(now, from, asker, request);
    }

    /// Votes on the waiting ballot if what it waited for is over.
    pub(super) fn answer_waiting(&mut self, now: Instant) {
        if let Some(waiting) = self.waiting.take_if(|waiting| waiting.until <= now) {
            let Waiting {
                from,
                asker,
                ballot,
                request,
                ..
            } = waiting;
            self.vote(now, from, asker, ballot, request);
        }
    }

    /// The primary asks for its lease once more.
    pub(super) fn asked_again(
        &mut self,
        now: Instant,
        from: HostId,
        message: &Message,
        sent: Instant,
        lease: Duration,
    ) {
        let newest = self.voter.newest();
        if message.newest != *newest || newest.view.primary != from {
            self.statistics.drop_old_epoch += 1;
            tracing::debug!(%from, theirs = %message.newest.view, ours = %newest.view, "no lease: another view");
            let reason = Refusal::OldEpoch;
            let objection = Objection {
                reason,
                until: None,
            };
            return self.refuse(from, message.incarnation, objection);
        }
        self.grant(now, from, message.incarnation, Request { sent, lease });
    }

    fn grant(&mut self, now: Instant, to: HostId, asker: Incarnation, request: Request) {
        match self.voter.grant(now, request) {
            Ok(_) => {
                // It does not want to hand over any more.
                self.proposing.released = None;
                let sent = request.sent;
                self.send(to, Body::Grant { asker, sent });
            }
            Err(objection) => self.refuse(to, asker, objection),
        }
    }

    fn refuse(&mut self, to: HostId, asker: Incarnation, objection: Objection) {
        let reason = objection.reason;
        self.statistics.refused(reason);
        tracing::debug!(%to, ?reason, "refused");
        let promised = self.voter.promised();
        self.send(
            to,
            Body::Refuse {
                asker,
                promised,
                reason,
            },
        );
    }

    /// The primary gives its lease back.
    pub(super) fn released(
        &mut self,
        now: Instant,
        from: HostId,
        epoch: Epoch,
        sent: Instant,
        to: HostId,
    ) {
        let newest = self.voter.newest().view;
        if newest.epoch != epoch || newest.primary != from {
            self.statistics.drop_old_epoch += 1;
            tracing::debug!(%from, %epoch, "release of another view");
            return;
        }
        self.voter.release(now, from, epoch, sent);
        if to == self.config.me {
            self.proposing.released = Some(epoch);
        }
        if let Some(waiting) = &mut self.waiting {
            waiting.until = now;
        }
        self.answer_waiting(now);
    }
}
