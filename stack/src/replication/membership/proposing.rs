//! Ballots that this host proposes, and the roles that follow from what is decided.

use std::time::Duration;

use super::Membership;
use super::ballot::{Ballot, Incarnation};
use super::candidate::{Candidate, Peer};
use super::config::Arbitration;
use super::message::{Body, Message, Refusal};
use super::output::Output;
use crate::replication::view::{Epoch, HostId, HostSet};
use crate::time::Instant;

/// Longest pause before a higher bid.
const LONGEST_REBID: Duration = Duration::from_secs(1);

/// What is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wish {
    Promotion,
    Solo,
    Join,
    Afresh,
}

/// A ballot on its way to the voters.
#[derive(Clone, Copy, Debug)]
struct Pending {
    ballot: Ballot,
    wish: Wish,
    next_send: Instant,
}

/// The candidate's side.
#[derive(Clone, Debug)]
pub(super) struct Proposing {
    /// The epoch in which this host is primary.
    pub(super) acting: Option<Epoch>,
    /// The peer gave up its lease of this epoch for us.
    pub(super) released: Option<Epoch>,
    /// Somebody else was voted for on the base of this view, or of a later one: none up to it is entered as primary.
    overtaken: Epoch,
    /// Who may be in sync by a ballot that this primary proposed.
    pub(super) obliged: HostSet,
    pending: Option<Pending>,
    /// Somebody refuses ballots up to here.
    refused_upto: Epoch,
    /// The next higher bid, and how long it takes until the one after that: two hosts do not outbid each other at the pace
    /// of the network, because epochs are worth something (the timestamps of all connections jump with them).
    rebid_at: Instant,
    rebid_wait: Duration,
    want_solo: bool,
    want_join: Option<Incarnation>,
    /// Since when this host could start afresh.
    afresh_since: Option<Instant>,
    started: Instant,
}

impl Proposing {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            acting: None,
            released: None,
            overtaken: Epoch::NONE,
            obliged: HostSet::EMPTY,
            pending: None,
            refused_upto: Epoch::NONE,
            rebid_at: now,
            rebid_wait: Duration::ZERO,
            want_solo: false,
            want_join: None,
            afresh_since: None,
            started: now,
        }
    }
}

impl Membership {
    /// The primary wants to go on without its backup, which does not keep up. Until [`Output::View`] says so, it still
    /// has to commit to it. (A backup that is down is left behind without this call.)
    ///
    /// False if there is nobody to leave: this primary's view names no backup, and none was asked for.
    #[must_use]
    pub fn propose_solo(&mut self, now: Instant) -> bool {
        self.proposing.want_join = None;
        let newest = self.voter.newest();
        let alone = self.voter.is_decided()
            && self.proposing.acting == Some(newest.epoch())
            && newest.view.in_sync == HostSet::only(self.config.me)
            && self.proposing.pending.is_none();
        self.proposing.want_solo = !alone;
        self.consider(now);
        !alone
    }

    /// The primary takes `peer` in: it has the snapshot and everything committed since. From now on every entry has to be
    /// committed to it as well ([`Self::commit_to`]), although the view comes later.
    pub fn propose_join(&mut self, now: Instant, peer: HostId) {
        if peer == self.config.peer() && self.proposing.acting.is_some() {
            self.proposing.want_join = self.host(peer).and_then(|host| host.incarnation);
            self.consider(now);
        }
    }

    /// A fence command that [`Output::Fence`] asked for has ended.
    pub fn fenced(&mut self, now: Instant, host: HostId, confirmed: bool) {
        if host != self.config.peer() {
            return;
        }
        let life = self.host(host).and_then(|host| host.incarnation);
        self.arbiter.fenced(now, confirmed, life, &self.config);
        if confirmed {
            tracing::info!(%host, "fenced");
            self.process_died(now, host);
        } else {
            tracing::warn!(%host, "the fence command failed");
        }
        self.consider(now);
    }

    /// Whether the service network answers this host; counts only as a bare pair.
    pub fn service_answers(&mut self, now: Instant, answers: bool) {
        self.arbiter.set_service(answers);
        self.consider(now);
    }

    /// What `from` says of the newest view.
    pub(super) fn learn(&mut self, now: Instant, from: HostId, message: &Message) {
        if !self.config.voters().contains(from) {
            return;
        }
        let heard = message.newest;
        let before = *self.voter.newest();
        let me = self.config.me;
        let mine =
            heard.view.primary == me && heard.incarnation(me) == Some(self.config.incarnation);
        if !mine {
            self.proposing.overtaken = self.proposing.overtaken.max(heard.base);
        }
        if self
            .proposing
            .acting
            .is_some_and(|acting| acting <= self.proposing.overtaken)
        {
            self.step_down("another host was voted primary", &heard);
        }
        let mine = mine && heard.epoch() > before.epoch();
        if mine && self.voter.accept_own(now, &heard).is_ok() {
            tracing::debug!(view = %heard.view, "elected");
        }
        self.voter.learn(now, from, &heard, message.decided);
        self.follow(now);
    }

    /// A voter said no.
    pub(super) fn refused(
        &mut self,
        now: Instant,
        from: HostId,
        message: &Message,
        asker: Incarnation,
        promised: Epoch,
        reason: Refusal,
    ) {
        if asker != self.config.incarnation {
            return;
        }
        tracing::debug!(%from, ?reason, newest = %message.newest.view, "was refused");
        let proposing = &mut self.proposing;
        let beaten = |pending: &Pending| pending.ballot.epoch() <= promised;
        if reason != Refusal::OldEpoch || !proposing.pending.as_ref().is_some_and(beaten) {
            return;
        }
        proposing.refused_upto = proposing.refused_upto.max(promised);
        if now >= proposing.rebid_at {
            proposing.pending = None;
            let wait = proposing.rebid_wait.max(self.config.heartbeat_interval);
            proposing.rebid_at = now + wait;
            proposing.rebid_wait = (wait * 2).min(LONGEST_REBID);
        }
    }

    /// Takes the role that the newest view gives.
    pub(super) fn follow(&mut self, now: Instant) {
        let newest = *self.voter.newest();
        let mine = self.candidate().is_primary();
        if self.proposing.acting.is_some_and(|e| e != newest.epoch()) && !mine {
            self.step_down("a newer view has another primary", &newest);
        }
        if !self.voter.is_decided() || self.view == newest.view {
            return;
        }
        self.persist();
        self.statistics.views += 1;
        self.view = newest.view;
        tracing::info!(view = %newest.view, "view decided");
        self.proposing.obliged = HostSet::EMPTY;
        self.proposing.want_solo = false;
        self.proposing.want_join = None;
        self.proposing.rebid_wait = Duration::ZERO;
        self.proposing.rebid_at = now;
        let mine = mine && newest.epoch() > self.proposing.overtaken;
        if mine {
            let promoted = self.proposing.acting.replace(newest.epoch()).is_none();
            self.statistics.promotions += u64::from(promoted);
            self.begin_holding(now);
        }
        self.outbox.push(Output::View(newest.view));
        if mine && !self.config.lease_ends() {
            self.extend_for_ever();
        }
    }

    fn step_down(&mut self, why: &str, newest: &Ballot) {
        if let Some(epoch) = self.proposing.acting.take() {
            tracing::warn!(%epoch, view = %newest.view, "silent: no longer primary: {why}");
            self.silence();
            self.voter.let_go(self.config.me);
            self.proposing.want_join = None;
            self.proposing.pending = None;
        }
    }

    /// Proposes what is wanted, and decides what has its votes.
    pub(super) fn consider(&mut self, now: Instant) {
        if !self.config.me.is_server() {
            return;
        }
        if !self.is_up(self.config.peer()) {
            // What it copied is behind by the time it is back.
            self.proposing.want_join = None;
        }
        let wish = self.wish(now);
        let base = self.voter.newest().epoch();
        self.proposing.pending.take_if(|pending| {
            // A change of who is in sync goes on, once it was asked for; it may be decided already.
            let withdrawn = match pending.wish {
                Wish::Promotion | Wish::Afresh => wish.is_none_or(|(w, _)| w != pending.wish),
                Wish::Join => wish.is_some_and(|(w, _)| w == Wish::Solo),
                Wish::Solo => false,
            };
            withdrawn || pending.ballot.base != base
        });
        if let (None, Some((wish, ballot))) = (self.proposing.pending, wish) {
            self.propose(now, wish, ballot);
        }
        self.decide_alone(now);
        self.push_pending(now);
    }

    /// What this host wants, and may want.
    fn wish(&mut self, now: Instant) -> Option<(Wish, Ballot)> {
        if self.voter.check_memory().is_err() {
            return None;
        }
        let candidate = self.candidate();
        let afresh = candidate.afresh();
        let wish = if candidate.is_primary() {
            self.primary_wish(&candidate)
        } else {
            let promotion = candidate.promotion().map(|b| (Wish::Promotion, b));
            promotion.or(afresh.map(|b| (Wish::Afresh, b)))
        };
        let afresh = wish.is_some_and(|(wish, _)| wish == Wish::Afresh);
        if !afresh {
            self.proposing.afresh_since = None;
        } else if now < self.afresh_at(now) {
            return None;
        }
        let (wish, ballot) = wish?;
        // Whoever still grants somebody a lease does not stand against it.
        self.voter.check_lease(now, &ballot).ok()?;
        Some((wish, ballot))
    }

    fn primary_wish(&self, candidate: &Candidate<'_>) -> Option<(Wish, Ballot)> {
        self.proposing.acting?;
        let gone = !candidate.peer.up || candidate.peer_lost_its_copy();
        // Whoever asked for it may not have known of a view that was just decided: then there is nothing to leave.
        let backed = candidate.newest.view.in_sync.contains(candidate.peer_id);
        if (self.proposing.want_solo && backed) || gone {
            return candidate.solo().map(|ballot| (Wish::Solo, ballot));
        }
        let copied = self.proposing.want_join?;
        let same_life = candidate.peer.incarnation == Some(copied);
        let join = candidate.join(copied).filter(|_| same_life);
        join.map(|ballot| (Wish::Join, ballot))
    }

    /// When this host may start without connections: the preferred one at once, the other when that did not.
    fn afresh_at(&mut self, now: Instant) -> Instant {
        let since = *self.proposing.afresh_since.get_or_insert(now);
        let first = self.config.preferred == self.config.me
            || self.config.arbitration == Arbitration::Alone
            || !self.candidate().peer_could_start();
        if first { now } else { since + self.patience() }
    }

    fn propose(&mut self, now: Instant, wish: Wish, ballot: Ballot) {
        tracing::info!(?wish, view = %ballot.view, "proposed");
        self.voter.promise(ballot.epoch());
        if self.proposing.acting.is_some() {
            let obliged = self.proposing.obliged.union(ballot.view.in_sync);
            self.proposing.obliged = obliged;
        }
        self.proposing.pending = Some(Pending {
            ballot,
            wish,
            next_send: now,
        });
    }

    /// Sends the pending ballot to the voters, again each interval.
    fn push_pending(&mut self, now: Instant) {
        let interval = self.config.heartbeat_interval;
        let due = self.proposing.pending.as_mut();
        let Some(pending) = due.filter(|pending| pending.next_send <= now) else {
            return;
        };
        pending.next_send = now + interval;
        let ballot = pending.ballot;
        self.send_to_voters(Body::Propose {
            ballot,
            sent: now,
            lease: self.config.lease,
        });
    }

    /// Where the arbitration stands in for the peer's vote, the own one decides.
    fn decide_alone(&mut self, now: Instant) {
        let Some(pending) = self.proposing.pending else {
            return;
        };
        let peer = self.config.peer();
        let silent = self.peer_is_silent(now);
        if !self.arbiter.stands_in(silent) {
            let may = silent && self.may_fence(&pending);
            if may && self.arbiter.begin_fence(now, self.fence_patience()) {
                self.statistics.fences += 1;
                tracing::warn!(host = %peer, "fencing");
                self.outbox.push(Output::Fence(peer));
            }
            return;
        }
        if self.voter.accept_own(now, &pending.ballot).is_ok() {
            self.voter.decide_alone();
            self.proposing.pending = None;
            self.follow(now);
        }
    }

    /// The peer is down; or was never heard, for long enough to be sure.
    pub(super) fn peer_is_silent(&self, now: Instant) -> bool {
        self.host(self.config.peer()).is_none_or(|peer| {
            let heard = peer.incarnation.is_some();
            !peer.up && (heard || now >= self.proposing.started + self.patience())
        })
    }

    /// How long a host waits for one that may just be starting.
    fn patience(&self) -> Duration {
        self.config.heartbeat_interval * self.config.multiplier.into() * 4
    }

    /// A host without a copy fences only when the view says that the peer has none either.
    fn may_fence(&self, pending: &Pending) -> bool {
        let shared = self.voter.newest().view.in_sync.len() != 1;
        pending.wish != Wish::Afresh || !shared
    }

    /// The primary fences first.
    fn fence_patience(&self) -> Instant {
        let peer = self.host(self.config.peer());
        let since = peer.map_or(self.proposing.started, |peer| peer.since);
        match self.proposing.acting {
            Some(_) => since,
            None => since + self.config.fence_delay,
        }
    }

    fn candidate(&self) -> Candidate<'_> {
        let peer_id = self.config.peer();
        let peer = self.host(peer_id).map_or_else(Peer::default, |host| Peer {
            up: host.up,
            incarnation: host.incarnation,
            released: self.proposing.released,
        });
        Candidate {
            me: self.config.me,
            incarnation: self.config.incarnation,
            newest: self.voter.newest(),
            promised: self.voter.promised().max(self.proposing.refused_upto),
            peer_id,
            peer,
        }
    }

    pub(super) fn proposing_deadline(&self, now: Instant) -> Option<Instant> {
        let pending = self.proposing.pending.as_ref();
        let fence = pending.and_then(|_| self.arbiter.next_deadline(self.fence_patience()));
        let afresh = self.proposing.afresh_since.map(|at| at + self.patience());
        let silent = Some(self.proposing.started + self.patience());
        let bound = self.voter.bound_until();
        [pending.map(|p| p.next_send), fence, afresh, silent, bound]
            .into_iter()
            .flatten()
            .filter(|&at| at > now)
            .min()
    }
}
