//! What the membership wants done, in order; and what the service wants of it.

use std::sync::atomic::Ordering;

use super::Node;
use crate::replication::carrier::Channel;
use crate::replication::clock_offset::ClockOffset;
use crate::replication::membership::{Membership, Output};
use crate::replication::message::Message;
use crate::time::Instant;

/// The membership with what its outputs are gathered in.
pub(super) struct Voting {
    pub(super) membership: Membership,
    outputs: Vec<Output>,
    clock: ClockOffset,
}

impl Voting {
    pub(super) fn new(membership: Membership) -> Self {
        Self {
            membership,
            outputs: Vec::new(),
            clock: ClockOffset::default(),
        }
    }
}

impl Node {
    /// Tells the service's news to the membership, and goes on with a handover.
    pub(super) fn after_service(&self, now: Instant) {
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
    pub(super) fn vote(&self, now: Instant, call: impl FnOnce(&mut Membership)) {
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
