//! One host of a pair: who may send ([`Membership`]) and what is kept ([`Service`]), tied together.
//!
//! Sans-I/O: messages, the time and what is known of links come in; messages leave through a [`Carrier`],
//! votes through a [`Storage`]. Two threads may drive it, so that heartbeats never wait for the data path:
//! [`Node::beat`] touches nothing that a connection touches, [`Node::work`] does what follows from views.
//! [`Node::poll`] is both.

mod handover;

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;

pub use self::handover::HandoverError;
use self::handover::{HANDOVER_WITHIN, Handover, SETTLE};
use super::carrier::{Carrier, Channel, Fence, Storage};
use super::clock_offset::ClockOffset;
use super::membership::{self, Durable, Lease, Membership, Output, PathId};
use super::message::{Malformed, Message};
use super::service::{Service, Takeover};
use super::status::Status;
use super::view::{HostId, View};
use crate::engine::{Permit, Stack};
use crate::tcp::gate::Gate;
use crate::time::Instant;

/// Heartbeats of a peer that was silent after which the addresses are announced: two paths, and once more an
/// interval later.
const CLAIMS: u8 = 4;

/// What a node is told when it starts.
#[derive(Clone, Debug)]
pub struct NodeConfig {
    /// Who takes part, and how failures are found.
    pub membership: membership::Config,
    /// Most bytes that all journals may take.
    pub journal_bytes: usize,
    /// A backup that leaves an entry unanswered for so long, or is away for so long while its heartbeats
    /// still come, is left behind.
    pub commit_timeout: Duration,
}

impl NodeConfig {
    /// The usual figures.
    #[must_use]
    pub fn new(membership: membership::Config) -> Self {
        Self {
            membership,
            journal_bytes: 1 << 30,
            commit_timeout: Duration::from_millis(200),
        }
    }
}

/// A host.
pub struct Node {
    config: NodeConfig,
    membership: Mutex<Voting>,
    service: Arc<Service>,
    carrier: Arc<dyn Carrier>,
    storage: Arc<dyn Storage>,
    fence: Arc<dyn Fence>,
    lease: Arc<Lease>,
    /// Views that were decided and not acted upon.
    views: Mutex<VecDeque<View>>,
    /// Storage failed: this host says nothing any more.
    failed: AtomicBool,
    /// Views are taken up by one thread at a time.
    working: Mutex<()>,
    /// When the peer was heard last, in nanoseconds.
    peer_heard_ns: AtomicU64,
    /// The next so many heartbeats of the peer are answered by announcing the addresses.
    claims: AtomicU8,
    handover: Mutex<Option<Handover>>,
}

/// The membership with what its outputs are gathered in.
struct Voting {
    membership: Membership,
    outputs: Vec<Output>,
    clock: ClockOffset,
}

impl Node {
    /// A host that starts with what it stored last. Give [`Node::permit`] and [`Node::gate`] to the
    /// configuration of its stack, and the stack to [`Node::attach`].
    #[must_use]
    pub fn new(
        config: NodeConfig,
        carrier: Arc<dyn Carrier>,
        storage: Arc<dyn Storage>,
        fence: Arc<dyn Fence>,
        durable: Durable,
        now: Instant,
    ) -> Arc<Self> {
        let membership = Membership::new(config.membership.clone(), durable, now);
        let lease = membership.lease();
        let service = Service::new(
            config.membership.me,
            config.membership.peer(),
            config.journal_bytes,
            Arc::clone(&lease),
            Arc::clone(&carrier),
        );
        Arc::new(Self {
            config,
            membership: Mutex::new(Voting {
                membership,
                outputs: Vec::new(),
                clock: ClockOffset::default(),
            }),
            service,
            carrier,
            storage,
            fence,
            lease,
            views: Mutex::default(),
            failed: AtomicBool::new(false),
            working: Mutex::new(()),
            peer_heard_ns: AtomicU64::new(now.as_nanos()),
            claims: AtomicU8::new(0),
            handover: Mutex::new(None),
        })
    }

    /// When the stack may send and receive.
    #[must_use]
    pub fn permit(&self) -> Arc<dyn Permit> {
        self.service.permit()
    }

    /// Who commits what connections decide.
    #[must_use]
    pub fn gate(&self) -> Arc<dyn Gate> {
        Arc::clone(&self.service) as Arc<dyn Gate>
    }

    /// The stack that was started with them.
    pub fn attach(&self, stack: &Stack) {
        self.service.attach(stack);
    }

    /// A message of another host.
    pub fn received(&self, now: Instant, from: HostId, channel: Channel, bytes: Bytes) {
        match (Message::decode(bytes), channel) {
            (Ok(Message::Membership(message)), Channel::Heartbeat(path)) => {
                if from == self.config.membership.peer() {
                    self.heard_peer(now);
                }
                self.vote(now, |membership| {
                    membership.receive(now, from, path, &message);
                });
            }
            (Ok(Message::Membership(_)), _) | (Ok(_), Channel::Heartbeat(_)) => {
                self.malformed(from, Malformed::Value);
            }
            (Ok(message), _) => {
                if from == self.config.membership.peer() {
                    self.service.receive(now, message);
                    self.after_service(now);
                }
            }
            (Err(error), _) => self.malformed(from, error),
        }
    }

    /// A host that was silent and is heard again may just have woken, and what it had in its hands may have
    /// turned the service address to its port: whoever owns it says so, until that is surely over.
    fn heard_peer(&self, now: Instant) {
        let last = Instant::from_nanos(self.peer_heard_ns.swap(now.as_nanos(), Ordering::Relaxed));
        let membership = &self.config.membership;
        let patience = membership.heartbeat_interval * u32::from(membership.multiplier);
        if now.since(last) >= patience {
            self.claims.store(CLAIMS, Ordering::Relaxed);
        }
        let left = self.claims.load(Ordering::Relaxed);
        if left > 0 {
            self.claims.store(left - 1, Ordering::Relaxed);
            self.service.claim();
        }
    }

    fn malformed(&self, from: HostId, error: Malformed) {
        tracing::debug!(%from, %error, "dropped: malformed message");
        self.service.malformed();
    }

    /// The ordered channels to `peer` came up or broke.
    pub fn connected(&self, now: Instant, peer: HostId, connected: bool) {
        if peer == self.config.membership.peer() {
            self.service.connected(now, connected);
            self.after_service(now);
        }
    }

    /// Somebody knows that a host's process is gone.
    pub fn process_died(&self, now: Instant, host: HostId) {
        self.vote(now, |membership| membership.process_died(now, host));
    }

    /// Somebody knows that a path is broken.
    pub fn path_lost(&self, now: Instant, host: HostId, path: PathId) {
        self.vote(now, |membership| membership.path_lost(now, host, path));
    }

    /// Whether the service network answers this host.
    pub fn service_answers(&self, now: Instant, answers: bool) {
        self.vote(now, |membership| membership.service_answers(now, answers));
    }

    /// A fence command ended.
    pub fn fenced(&self, now: Instant, host: HostId, confirmed: bool) {
        self.vote(now, |membership| membership.fenced(now, host, confirmed));
    }

    /// Does everything that is due.
    pub fn poll(&self, now: Instant) {
        self.beat(now);
        self.work(now);
    }

    /// Heartbeats, votes and leases: what must not be late. True if there is work for [`Node::work`].
    pub fn beat(&self, now: Instant) -> bool {
        self.vote(now, |_| ());
        !self.views.lock().is_empty()
    }

    /// Takes up views, and does what is due for the log.
    pub fn work(&self, now: Instant) {
        let _one = self.working.lock();
        loop {
            let Some(view) = self.views.lock().pop_front() else {
                break;
            };
            tracing::info!(%view, "view");
            *self.handover.lock() = None;
            self.service.view(now, view);
        }
        self.service.poll(now);
        drop(_one);
        self.after_service(now);
        let timeout = self.config.commit_timeout;
        if self
            .service
            .waiting(now)
            .is_some_and(|waited| waited >= timeout)
        {
            self.vote(now, |membership| membership.propose_solo(now));
        }
    }

    /// When [`Node::poll`] has something to do, if nothing happens before.
    #[must_use]
    pub fn next_deadline(&self, now: Instant) -> Instant {
        if !self.views.lock().is_empty() {
            return now;
        }
        self.next_beat(now).min(self.next_work(now))
    }

    /// When [`Node::beat`] has something to do.
    #[must_use]
    pub fn next_beat(&self, now: Instant) -> Instant {
        self.membership.lock().membership.next_deadline(now)
    }

    /// When [`Node::work`] has something to do, if [`Node::beat`] does not say so before.
    #[must_use]
    pub fn next_work(&self, now: Instant) -> Instant {
        let waiting = self.service.waiting(now).map(|waited| {
            let left = self.config.commit_timeout.saturating_sub(waited);
            now + left.max(Duration::from_millis(1))
        });
        let service = self.service.next_deadline();
        let handover = self.handover.lock().map(|it| {
            let wait = if now.since(it.since) < SETTLE {
                SETTLE
            } else {
                HANDOVER_WITHIN
            };
            it.since + wait
        });
        let deadlines = [waiting, service, handover].into_iter().flatten();
        deadlines.min().unwrap_or(Instant::FAR_FUTURE)
    }

    /// Whether heartbeats pass on one path to a host.
    #[must_use]
    pub fn path_is_up(&self, host: HostId, path: PathId) -> bool {
        let voting = self.membership.lock();
        let mut paths = voting.membership.paths(host);
        paths.any(|(known, up)| known == path && up)
    }

    /// The view that this host acts upon.
    #[must_use]
    pub fn view(&self) -> View {
        self.service.current_view()
    }

    /// The last takeover by this host.
    #[must_use]
    pub fn takeover(&self) -> Option<Takeover> {
        self.service.last_takeover()
    }

    /// What is known now. Looks at every connection: not for every turn of a thread.
    #[must_use]
    pub fn status(&self) -> NodeStatus {
        let voting = self.membership.lock();
        let membership = &voting.membership;
        let peer = self.config.membership.peer();
        let (peer_up, witness_up) = (membership.is_up(peer), membership.is_up(HostId::WITNESS));
        let statistics = membership.statistics();
        let lease_until = self.lease.until();
        drop(voting);
        NodeStatus {
            me: self.config.membership.me,
            peer_up,
            witness_up,
            lease_until,
            storage_failed: self.failed.load(Ordering::Acquire),
            votes: statistics,
            service: self.service.status(),
        }
    }

    /// Tells the service's news to the membership, and goes on with a handover.
    fn after_service(&self, now: Instant) {
        // Again and again: a path that was just coming up is no reason to stay without a backup.
        if self.service.take_join() | self.service.wants_join() {
            let peer = self.config.membership.peer();
            self.vote(now, |membership| {
                // Asked again under the lock under which a new life of the peer is told: the copy would
                // not be its.
                if self.service.wants_join() {
                    membership.propose_join(now, peer);
                }
            });
        }
        // What it waits for may have just been applied.
        self.continue_handover(now);
    }

    /// Runs `call` on the membership, and does what it then wants done, in order.
    fn vote(&self, now: Instant, call: impl FnOnce(&mut Membership)) {
        let mut voting = self.membership.lock();
        if self.failed.load(Ordering::Acquire) {
            return;
        }
        let Voting {
            membership,
            outputs,
            clock,
        } = &mut *voting;
        call(membership);
        membership.poll(now, outputs);
        let primary = membership.is_primary();
        for output in outputs.drain(..) {
            if !self.carry_out(now, output, primary, clock) {
                self.fail();
                return;
            }
        }
    }

    /// False when it could not be done: then nothing that follows may be.
    fn carry_out(
        &self,
        now: Instant,
        output: Output,
        primary: bool,
        clock: &mut ClockOffset,
    ) -> bool {
        match output {
            Output::Persist(durable) => {
                if let Err(error) = self.storage.store(&durable) {
                    tracing::error!(%error, "stable storage failed: this host is silent from now on");
                    return false;
                }
            }
            Output::Send { to, path, message } => {
                let message = Message::Membership(message).to_bytes();
                self.carrier.send(to, Channel::Heartbeat(path), message);
            }
            Output::Lease(term) => term.apply(),
            Output::View(view) => {
                if view.primary != self.config.membership.me {
                    self.service.close();
                } else if !primary {
                    // An earlier life of this host was primary; what it had is gone.
                    return true;
                }
                self.views.lock().push_back(view);
            }
            Output::Fence(host) => self.fence.fence(host),
            Output::Restarted(host) if host == self.config.membership.peer() => {
                self.service.peer_restarted(now);
            }
            Output::Clock {
                host,
                offset_ns,
                round_trip,
            } if host == self.config.membership.peer() => {
                clock.sample(now, offset_ns, round_trip);
                if let Some(offset_ns) = clock.get() {
                    self.service.peer_clock(offset_ns);
                }
            }
            Output::Up(_)
            | Output::Down(_)
            | Output::Path { .. }
            | Output::Restarted(_)
            | Output::Clock { .. } => {}
        }
        true
    }

    /// Silence for good.
    fn fail(&self) {
        self.failed.store(true, Ordering::Release);
        self.lease.revoke();
        self.service.close();
    }
}

impl std::fmt::Debug for Node {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Node")
            .field("me", &self.config.membership.me)
            .finish_non_exhaustive()
    }
}

/// A node at one moment.
#[derive(Clone, Debug)]
pub struct NodeStatus {
    /// This host.
    pub me: HostId,
    /// Heartbeats pass both ways between this host and the other one.
    pub peer_up: bool,
    /// The same of the witness.
    pub witness_up: bool,
    /// End of the lease.
    pub lease_until: Instant,
    /// What had to be stored could not be: this host is silent for good.
    pub storage_failed: bool,
    /// Votes, counted.
    pub votes: membership::Statistics,
    /// The service.
    pub service: Status,
}
