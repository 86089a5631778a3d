//! Who may send (FAILOVER §6): failure detection, votes on views, and leases.
//!
//! From the ground up; the rules are pure functions on small values, which the model checker calls too:
//!
//! | module | job |
//! |---|---|
//! | [`config`] | what a membership is told when it starts |
//! | [`ballot`] | a view as it is voted on |
//! | [`message`] | what hosts tell each other, and its bytes |
//! | [`durable`] | what a voter must not forget |
//! | [`lease`] | permission to send for a short time |
//! | [`detector`] | heartbeats over one path |
//! | [`voter`] | what is accepted, and who is granted a lease |
//! | [`candidate`] | what a server may ask for |
//! | `arbitration` | what stands in for the peer's vote |
//! | `host` | what is known of another host |
//! | [`output`], [`statistics`] | what a membership wants done; what it counts |
//! | [`queue`] | what waits for stable storage |
//! | `receiving`, `answering`, `proposing`, `holding` | [`Membership`], by subject: messages, the voter's answers, ballots and roles, the lease |
//!
//! The witness runs the same code; it is only never a candidate.

mod answering;
mod arbitration;
pub mod ballot;
pub mod candidate;
pub mod config;
pub mod detector;
pub mod durable;
mod holding;
mod host;
pub mod lease;
pub mod message;
pub mod output;
mod proposing;
pub mod queue;
mod receiving;
pub mod statistics;
#[cfg(test)]
mod tests;
pub mod voter;

use std::sync::Arc;

pub use ballot::{Ballot, Incarnation};
pub use config::{Arbitration, Config, PathId};
pub use durable::Durable;
pub use lease::{Lease, Term};
pub use message::{Malformed, Message};
pub use output::Output;
pub use queue::Queue;
pub use statistics::Statistics;

use crate::replication::view::{Epoch, HostId, HostSet, View};
use crate::time::Instant;
use arbitration::Arbiter;
use detector::{Detector, Timing};
use host::Host;
use message::Body;
use voter::Voter;

/// One host's part in the group.
///
/// Messages and calls go in; after each, [`Self::poll`] gives what is to be done, in order. Call it again at
/// [`Self::next_deadline`].
#[derive(Debug)]
pub struct Membership {
    config: Config,
    voter: Voter,
    /// As last given out for storing.
    stored: Durable,
    hosts: Vec<Host>,
    arbiter: Arbiter,
    lease: Arc<Lease>,
    holding: holding::Holding,
    proposing: proposing::Proposing,
    /// A request that waits for somebody else's lease to end.
    waiting: Option<answering::Waiting>,
    /// The newest decided view that was reported.
    view: View,
    statistics: Statistics,
    outbox: Vec<Output>,
}

impl Membership {
    /// A host that starts with what it stored last.
    #[must_use]
    pub fn new(config: Config, durable: Durable, now: Instant) -> Self {
        let mut hosts: Vec<Host> = Vec::new();
        let timing = Timing {
            interval: config.heartbeat_interval,
            multiplier: config.multiplier,
            hold_down: config.hold_down,
            hold_down_max: config.hold_down_max,
        };
        for &(id, path) in config.links.iter().filter(|(id, _)| *id != config.me) {
            let at = hosts.iter().position(|host| host.id == id);
            let at = at.unwrap_or_else(|| {
                hosts.push(Host::new(now, id));
                hosts.len() - 1
            });
            hosts[at].paths.push((path, Detector::new(now, timing)));
        }
        let mut known = durable;
        known.complete |= config.first_start || config.arbitration == Arbitration::UnsafePair;
        let others = config.voters().without(config.me);
        Self {
            voter: Voter::start(now, others, known, config.lease),
            stored: durable,
            hosts,
            arbiter: Arbiter::new(config.arbitration),
            lease: Arc::default(),
            holding: holding::Holding::new(now),
            proposing: proposing::Proposing::new(now),
            waiting: None,
            view: View::NONE,
            statistics: Statistics::default(),
            outbox: Vec::new(),
            config,
        }
    }

    /// Does what is due and hands out everything that is to be done, in order.
    pub fn poll(&mut self, now: Instant, outputs: &mut Vec<Output>) {
        self.watch(now);
        self.answer_waiting(now);
        self.consider(now);
        self.hold(now);
        self.beat(now);
        outputs.append(&mut self.outbox);
    }

    /// When [`Self::poll`] has something to do, if nothing happens before.
    #[must_use]
    pub fn next_deadline(&self, now: Instant) -> Instant {
        let paths = self.hosts.iter().flat_map(|host| &host.paths);
        let heartbeats = paths.map(|(_, path)| path.next_deadline()).min();
        [
            heartbeats,
            self.waiting.map(|waiting| waiting.until),
            self.proposing_deadline(now),
            self.holding_deadline(now),
        ]
        .into_iter()
        .flatten()
        .min()
        .unwrap_or(Instant::FAR_FUTURE)
    }

    /// What the engine asks before each batch.
    #[must_use]
    pub fn lease(&self) -> Arc<Lease> {
        Arc::clone(&self.lease)
    }

    /// The newest decided view that this host knows.
    #[must_use]
    pub fn view(&self) -> View {
        self.view
    }

    /// True if this host is the primary of the newest view, with or without a lease at this moment.
    #[must_use]
    pub fn is_primary(&self) -> bool {
        self.proposing.acting.is_some()
    }

    /// The epoch in which this host is primary.
    #[must_use]
    pub fn epoch(&self) -> Option<Epoch> {
        self.proposing.acting
    }

    /// True if this life of this host has a complete copy in the newest view.
    #[must_use]
    pub fn has_copy(&self) -> bool {
        let newest = self.voter.newest();
        newest.has_copy(self.config.me, self.config.incarnation)
    }

    /// Who has to have an entry before its effect may leave: all that are in sync in the newest view, or in one
    /// that was proposed and may be decided already without this host knowing.
    #[must_use]
    pub fn commit_to(&self) -> HostSet {
        let in_sync = self.voter.newest().view.in_sync;
        in_sync.union(self.proposing.obliged)
    }

    /// True if heartbeats pass both ways between this host and `host`.
    #[must_use]
    pub fn is_up(&self, host: HostId) -> bool {
        self.host(host).is_some_and(|host| host.up)
    }

    /// The paths to `host`, and whether they work.
    pub fn paths(&self, host: HostId) -> impl Iterator<Item = (PathId, bool)> {
        let paths = self.host(host).into_iter().flat_map(|host| &host.paths);
        paths.map(|(id, path)| (*id, path.is_up()))
    }

    /// Its configuration.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// What was counted.
    #[must_use]
    pub fn statistics(&self) -> Statistics {
        self.statistics
    }

    fn host(&self, id: HostId) -> Option<&Host> {
        self.hosts.iter().find(|host| host.id == id)
    }

    fn host_mut(&mut self, id: HostId) -> Option<&mut Host> {
        self.hosts.iter_mut().find(|host| host.id == id)
    }

    /// Has the voter's memory stored before anything that follows.
    fn persist(&mut self) {
        let durable = *self.voter.durable();
        if durable != self.stored {
            self.stored = durable;
            self.outbox.push(Output::Persist(durable));
        }
    }

    /// One message to one host, over all its paths: what arrives twice does no harm.
    fn send(&mut self, to: HostId, body: Body) {
        self.persist();
        let message = self.message(body);
        let Some(host) = self.hosts.iter().find(|host| host.id == to) else {
            return;
        };
        for &(path, _) in &host.paths {
            self.outbox.push(Output::Send { to, path, message });
        }
    }

    fn send_to_voters(&mut self, body: Body) {
        for to in self.config.voters().without(self.config.me).iter() {
            self.send(to, body);
        }
    }

    fn message(&self, body: Body) -> Message {
        Message {
            incarnation: self.config.incarnation,
            newest: *self.voter.newest(),
            decided: self.voter.is_decided(),
            body,
        }
    }
}
