//! A voter: what it accepts, whom it grants a lease, and what it remembers (FAILOVER §6).
//!
//! Pure rules on a small value; the membership drives it, and so does the model checker.
//!
//! A ballot is accepted if it follows the voter's newest view (compare and set), its proposer is that view's primary or
//! has a complete copy in it, and nobody else's lease can still be valid. A ballot that two of three voters accepted is *decided*.
//! A voter accepts at most one ballot on each base, so at most one is decided on each base, and what is decided forms one
//! chain. A voter that learns of a decided view takes it, and drops what it accepted on a base older than that: it can never
//! be decided any more.
//!
//! Everything in [`Durable`] has to be stored before an answer leaves. Grants are not stored: a voter that restarts grants nothing
//! until the longest lease that it ever granted is over. A voter that lost its memory does not vote before it has heard all
//! others; at most one voter may lose its memory at a time.

use std::time::Duration;

use super::ballot::Ballot;
use super::durable::Durable;
use super::lease::grantor_until;
use super::message::Refusal;
use crate::replication::view::{Epoch, HostId, HostSet};
use crate::time::Instant;

/// Why not, and when it is worth asking again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Objection {
    /// Why.
    pub reason: Refusal,
    /// When this objection falls, if time alone can do it.
    pub until: Option<Instant>,
}

impl Objection {
    const fn to(reason: Refusal) -> Self {
        Self {
            reason,
            until: None,
        }
    }

    const fn until(until: Instant) -> Self {
        Self {
            reason: Refusal::Leased,
            until: Some(until),
        }
    }
}

/// The last grant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Granted {
    /// Who may send.
    pub to: HostId,
    /// In which epoch.
    pub epoch: Epoch,
    /// When the request was sent, by the holder's clock.
    pub sent: Instant,
    /// Until when nobody else may be granted anything; [`Instant::ZERO`] once it was given back.
    pub until: Instant,
}

/// What was asked for along with a vote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    /// When it was sent, by the asker's clock.
    pub sent: Instant,
    /// How long.
    pub lease: Duration,
}

/// One voter.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Voter {
    durable: Durable,
    /// Proposals up to this epoch are refused. Only a courtesy between hosts that propose at the same time: of two crossing
    /// proposals, the higher one shall win. Nothing is unsafe without it, so it is not stored.
    promised: Epoch,
    /// The newest ballot is known to be decided.
    decided: bool,
    granted: Option<Granted>,
    /// Grants of an earlier life may be valid until then.
    silent_until: Instant,
    /// Voters whose newest ballot is still to be heard before this one has a memory.
    unheard: HostSet,
}

impl Voter {
    /// A voter that starts with `durable`; `others` vote too. `lease` is the longest that it grants.
    #[must_use]
    pub fn start(now: Instant, others: HostSet, mut durable: Durable, lease: Duration) -> Self {
        durable.complete |= others.is_empty();
        let unheard = if durable.complete {
            HostSet::EMPTY
        } else {
            others
        };
        Self {
            promised: durable.newest.epoch(),
            durable,
            decided: false,
            granted: None,
            silent_until: now + durable.longest_lease.max(lease),
            unheard,
        }
    }

    /// Proposals up to this epoch are refused.
    #[must_use]
    pub fn promised(&self) -> Epoch {
        self.promised
    }

    /// What has to be on stable storage before the next answer.
    #[must_use]
    pub fn durable(&self) -> &Durable {
        &self.durable
    }

    /// The newest ballot that it accepted.
    #[must_use]
    pub fn newest(&self) -> &Ballot {
        &self.durable.newest
    }

    /// True if that is known to be decided.
    #[must_use]
    pub fn is_decided(&self) -> bool {
        self.decided
    }

    /// The last grant.
    #[must_use]
    pub fn granted(&self) -> Option<&Granted> {
        self.granted.as_ref()
    }

    /// May `ballot` be accepted now?
    ///
    /// # Errors
    /// The first rule that it breaks.
    pub fn judge(&self, now: Instant, ballot: &Ballot) -> Result<(), Objection> {
        self.check_memory()?;
        self.check_epoch(ballot)?;
        self.check_base(ballot)?;
        self.check_right(ballot)?;
        self.check_lease(now, ballot)
    }

    /// The same for a ballot that some voter accepted, or that is this host's own: a promise does not count against it.
    fn judge_late(&self, now: Instant, ballot: &Ballot) -> Result<(), Objection> {
        self.check_memory()?;
        self.check_base(ballot)?;
        self.check_right(ballot)?;
        self.check_lease(now, ballot)
    }

    /// A voter without memory does not know what it would contradict.
    ///
    /// # Errors
    /// [`Refusal::NoMemory`].
    pub fn check_memory(&self) -> Result<(), Objection> {
        if !self.durable.complete {
            return Err(Objection::to(Refusal::NoMemory));
        }
        Ok(())
    }

    /// Above all that was promised: the rule for proposals, not for what some voter accepted already.
    ///
    /// # Errors
    /// [`Refusal::OldEpoch`].
    pub fn check_epoch(&self, ballot: &Ballot) -> Result<(), Objection> {
        if ballot.epoch() <= self.promised {
            return Err(Objection::to(Refusal::OldEpoch));
        }
        Ok(())
    }

    /// It follows the newest view: compare and set.
    ///
    /// # Errors
    /// [`Refusal::OtherBase`].
    pub fn check_base(&self, ballot: &Ballot) -> Result<(), Objection> {
        if ballot.base != self.newest().epoch() {
            return Err(Objection::to(Refusal::OtherBase));
        }
        Ok(())
    }

    /// Its proposer is the primary, which says who is in sync; or was in sync, and goes on alone.
    ///
    /// # Errors
    /// [`Refusal::NotInSync`], or [`Refusal::Invalid`].
    pub fn check_right(&self, ballot: &Ballot) -> Result<(), Objection> {
        if !ballot.is_well_formed() || ballot.view.is_none() {
            return Err(Objection::to(Refusal::Invalid));
        }
        let proposer = ballot.view.primary;
        if self.goes_on(ballot) {
            return Ok(());
        }
        let newest = &self.newest().view;
        if !newest.is_none() && !newest.in_sync.contains(proposer) {
            return Err(Objection::to(Refusal::NotInSync));
        }
        if ballot.view.in_sync != HostSet::only(proposer) {
            return Err(Objection::to(Refusal::Invalid));
        }
        Ok(())
    }

    /// Nobody else can still have a lease.
    ///
    /// # Errors
    /// [`Refusal::Leased`], with the time when it is over.
    pub fn check_lease(&self, now: Instant, ballot: &Ballot) -> Result<(), Objection> {
        if self.goes_on(ballot) {
            return Ok(());
        }
        self.check_granted(now, ballot.view.primary)
    }

    /// True if `ballot` is the proposal of the newest view's primary, in the same life.
    fn goes_on(&self, ballot: &Ballot) -> bool {
        let newest = self.newest();
        let primary = ballot.view.primary;
        !newest.view.is_none()
            && newest.view.primary == primary
            && newest.incarnation(primary) == ballot.incarnation(primary)
    }

    fn check_granted(&self, now: Instant, to: HostId) -> Result<(), Objection> {
        if now < self.silent_until {
            return Err(Objection::until(self.silent_until));
        }
        match self.granted {
            Some(granted) if granted.to != to && now < granted.until => {
                Err(Objection::until(granted.until))
            }
            _ => Ok(()),
        }
    }

    /// Until when somebody may hold a lease from this voter.
    #[must_use]
    pub fn bound_until(&self) -> Option<Instant> {
        let granted = self.granted.map_or(Instant::ZERO, |granted| granted.until);
        let until = granted.max(self.silent_until);
        (until < Instant::FAR_FUTURE).then_some(until)
    }

    /// Nothing up to `epoch` will be accepted; said by a host of its own proposals, so that two crossing
    /// proposals are not each accepted by the other's proposer.
    pub fn promise(&mut self, epoch: Epoch) {
        self.promised = self.promised.max(epoch);
    }

    /// Accepts, without further question.
    pub fn accept(&mut self, ballot: &Ballot) {
        self.promise(ballot.epoch());
        self.durable.newest = *ballot;
        self.decided = false;
    }

    /// The vote of a proposer for its own ballot comes last, when it makes the majority: until then, nobody is bound by it.
    ///
    /// # Errors
    /// The rule that forbids it by now.
    pub fn accept_own(&mut self, now: Instant, ballot: &Ballot) -> Result<(), Objection> {
        self.judge_late(now, ballot)?;
        self.accept(ballot);
        Ok(())
    }

    /// Another voter, `from`, accepted `heard` and knows whether it is `decided`.
    pub fn learn(&mut self, now: Instant, from: HostId, heard: &Ballot, decided: bool) {
        if self.replaces(heard, decided) {
            self.accept(heard);
            self.decided = decided;
        } else if heard.epoch() > self.newest().epoch() && self.judge_late(now, heard).is_ok() {
            // As if its proposer had asked here too.
            self.accept(heard);
        }
        // Two of three: this voter and that one.
        self.decided |= heard == self.newest() && !heard.view.is_none();
        self.unheard = self.unheard.without(from);
        self.durable.complete |= self.unheard.is_empty();
    }

    /// True if what is known must give way to `heard`, without a vote.
    fn replaces(&self, heard: &Ballot, decided: bool) -> bool {
        let newest = self.newest();
        if !self.durable.complete {
            return heard.epoch() > newest.epoch();
        }
        if !decided || heard == newest {
            return false;
        }
        // What was accepted on a base older than a decided view can never be decided itself.
        heard.epoch() > newest.epoch() || (!self.decided && newest.base < heard.epoch())
    }

    /// Decided without a second voter, because the arbitration says so.
    pub fn decide_alone(&mut self) {
        self.decided = !self.newest().view.is_none();
    }

    /// Grants the newest view's primary a lease.
    ///
    /// # Errors
    /// When somebody else's may still be valid, or the request is older than the last or one that was taken back.
    pub fn grant(&mut self, now: Instant, request: Request) -> Result<Granted, Objection> {
        let newest = self.newest().view;
        self.check_memory()?;
        self.check_granted(now, newest.primary)?;
        if let Some(last) = self.granted {
            let same = last.to == newest.primary && last.epoch == newest.epoch;
            let given_back = last.until == Instant::ZERO && request.sent == last.sent;
            if same && (request.sent < last.sent || given_back) {
                return Err(Objection::to(Refusal::OldEpoch));
            }
        }
        let granted = Granted {
            to: newest.primary,
            epoch: newest.epoch,
            sent: request.sent,
            until: grantor_until(now, request.lease),
        };
        self.durable.longest_lease = self.durable.longest_lease.max(request.lease);
        self.granted = Some(granted);
        Ok(granted)
    }

    /// This host itself holds a lease until then, so its own vote is bound as well.
    pub fn hold(&mut self, me: HostId, sent: Instant, until: Instant) {
        let epoch = self.newest().epoch();
        let longer = self
            .granted
            .filter(|g| g.to == me && g.epoch == epoch && g.until > until);
        self.granted = longer.or(Some(Granted {
            to: me,
            epoch,
            sent,
            until,
        }));
    }

    /// This host gave its own lease up for good.
    pub fn let_go(&mut self, me: HostId) {
        if let Some(granted) = self.granted.as_mut().filter(|granted| granted.to == me) {
            granted.until = Instant::ZERO;
        }
    }

    /// `from` gives its lease of `epoch` back, and with it all that it asked for up to `sent`.
    pub fn release(&mut self, now: Instant, from: HostId, epoch: Epoch, sent: Instant) {
        let newest = self.newest().view;
        if newest.primary != from || newest.epoch != epoch {
            return;
        }
        let (bound, asked_since) = self.granted.map_or((false, false), |granted| {
            let same = granted.to == from && granted.epoch == epoch;
            (
                granted.to != from && now < granted.until,
                same && granted.sent > sent,
            )
        });
        if bound || asked_since {
            return;
        }
        self.granted = Some(Granted {
            to: from,
            epoch,
            sent,
            until: Instant::ZERO,
        });
    }

    /// Moves all its times `by` into the past, and forgets the grant that is over at `now`: where only differences matter, a
    /// model checker sees the same state again instead of an ever later one.
    pub fn age(&mut self, now: Instant, by: Duration) {
        self.silent_until = (self.silent_until - by).max(now);
        if let Some(granted) = &mut self.granted {
            granted.sent = granted.sent - by;
            if granted.until != Instant::FAR_FUTURE {
                granted.until = granted.until - by;
            }
        }
        self.granted.take_if(|granted| granted.until <= now);
    }
}
