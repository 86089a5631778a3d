//! One host of a pair: who may send ([`Membership`]) and what is kept ([`Service`]), tied together.
//!
//! Sans-I/O: messages, the time and what is known of links come in; messages leave through a [`Carrier`],
//! votes through a [`Storage`]. Two threads may drive it, so that heartbeats never wait for the data path:
//! [`Node::beat`] touches nothing that a connection touches, [`Node::work`] does what follows from views.
//! [`Node::poll`] is both.
//!
//! | file | job |
//! |---|---|
//! | `hearing` | what comes in |
//! | `voting` | what the membership wants done |
//! | `handover` | giving the service to the other host, in order |
//! | `status` | what can be asked |

mod handover;
mod hearing;
mod status;
mod voting;

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

pub use self::handover::HandoverError;
use self::handover::{HANDOVER_WITHIN, Handover, SETTLE};
pub use self::status::NodeStatus;
use self::voting::Voting;
use super::carrier::{Carrier, Fence, Storage};
use super::membership::{self, Durable, Lease, Membership};
use super::service::Service;
use super::view::View;
use crate::engine::{Permit, Stack};
use crate::tcp::gate::Gate;
use crate::time::Instant;

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
    /// The network brings what is for the service to both hosts, because it never learns where that is
    /// ([`crate::ethernet::Config::source`]): nothing has to be sent on after a handover.
    pub flooded: bool,
}

impl NodeConfig {
    /// The usual figures.
    #[must_use]
    pub fn new(membership: membership::Config) -> Self {
        Self {
            membership,
            journal_bytes: 1 << 30,
            commit_timeout: Duration::from_millis(200),
            flooded: false,
        }
    }
}

/// A host.
pub struct Node {
    config: NodeConfig,
    membership: Mutex<Voting>,
    pub(in crate::replication) service: Arc<Service>,
    carrier: Arc<dyn Carrier>,
    storage: Arc<dyn Storage>,
    fence: Arc<dyn Fence>,
    lease: Arc<Lease>,
    /// Views that were decided and not acted upon.
    views: Mutex<VecDeque<View>>,
    /// The lease is back after a moment without one, in which connections said nothing.
    regained: AtomicBool,
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
        if config.flooded {
            service.both_hear();
        }
        Arc::new(Self {
            config,
            membership: Mutex::new(Voting::new(membership, &durable)),
            service,
            carrier,
            storage,
            fence,
            lease,
            views: Mutex::default(),
            regained: AtomicBool::new(false),
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

    /// Does everything that is due.
    pub fn poll(&self, now: Instant) {
        self.beat(now);
        self.work(now);
    }

    /// Heartbeats, votes and leases: what must not be late. True if there is work for [`Node::work`].
    pub fn beat(&self, now: Instant) -> bool {
        self.vote(now, |_| ());
        self.has_news()
    }

    fn has_news(&self) -> bool {
        !self.views.lock().is_empty() || self.regained.load(Ordering::Acquire)
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
        if self.regained.swap(false, Ordering::AcqRel) {
            self.service.speak();
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
            self.vote(now, |membership| {
                // Under the lock under which a view is asked for: nobody asks for one in between.
                if !membership.propose_solo(now) {
                    self.service.stand_alone(now);
                }
            });
        }
    }

    /// This host did nothing for so long, though it had something to do. What the other host said meanwhile may lie
    /// there unread: it is not to blame for that time ([`NodeConfig::commit_timeout`]).
    pub fn stood_still(&self, duration: Duration) {
        self.service.stood_still(duration);
    }

    /// When [`Node::poll`] has something to do, if nothing happens before.
    #[must_use]
    pub fn next_deadline(&self, now: Instant) -> Instant {
        if self.has_news() {
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
            if it.silent {
                it.since + HANDOVER_WITHIN
            } else {
                (it.since + SETTLE).max(now + SETTLE / 4)
            }
        });
        let deadlines = [waiting, service, handover].into_iter().flatten();
        deadlines.min().unwrap_or(Instant::FAR_FUTURE)
    }
}

impl std::fmt::Debug for Node {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Node")
            .field("me", &self.config.membership.me)
            .finish_non_exhaustive()
    }
}
