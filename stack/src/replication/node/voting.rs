//! What the membership wants done, in order; and what the service wants of it.

use std::io;
use std::sync::atomic::Ordering;
use std::task::Poll;

use super::Node;
use crate::replication::carrier::Channel;
use crate::replication::clock_offset::ClockOffset;
use crate::replication::membership::{Durable, Membership, Output, Queue};
use crate::replication::message::Message;
use crate::time::Instant;

/// The membership with what its outputs are gathered in.
pub(super) struct Voting {
    pub(super) membership: Membership,
    outputs: Vec<Output>,
    pub(super) queue: Queue,
    clock: ClockOffset,
}

impl Voting {
    pub(super) fn new(membership: Membership, durable: &Durable) -> Self {
        Self {
            membership,
            outputs: Vec::new(),
            queue: Queue::new(durable),
            clock: ClockOffset::default(),
        }
    }
}

impl Node {
    /// Tells the service's news to the membership, and goes on with a handover.
    pub(in crate::replication) fn after_service(&self, now: Instant) {
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
            queue,
            clock,
        } = &mut *voting;
        call(membership);
        membership.poll(now, outputs);
        if !membership.is_primary() {
            // An earlier life of this host was primary; what it had is gone.
            let me = self.config.membership.me;
            outputs.retain(|output| !matches!(output, Output::View(view) if view.primary == me));
        }
        for output in outputs.drain(..) {
            let due = queue.admit(output);
            if due.is_some_and(|output| !self.carry_out(now, output, queue, clock)) {
                self.fail();
                return;
            }
        }
    }

    /// What [`super::super::Storage::store`] began has ended so: what waited for it follows.
    pub fn stored(&self, now: Instant, outcome: &io::Result<()>) {
        let mut voting = self.membership.lock();
        if self.failed.load(Ordering::Acquire) {
            return;
        }
        let Voting { queue, clock, .. } = &mut *voting;
        queue.stored();
        let mut well = is_stored(outcome);
        while well && let Some(output) = queue.due() {
            well = self.carry_out(now, output, queue, clock);
        }
        if !well {
            self.fail();
        }
    }

    /// False when it could not be done: then nothing that follows may be.
    fn carry_out(
        &self,
        now: Instant,
        output: Output,
        queue: &mut Queue,
        clock: &mut ClockOffset,
    ) -> bool {
        match output {
            Output::Persist(durable) => match self.storage.store(&durable) {
                Poll::Ready(outcome) => return is_stored(&outcome),
                Poll::Pending => queue.storing(),
            },
            Output::Send { to, path, message } => {
                let message = Message::Membership(message).to_bytes();
                self.carrier.send(to, Channel::Heartbeat(path), message);
            }
            Output::Lease(term) => {
                let lapsed = !self.lease.is_valid(now);
                term.apply();
                // Behind a closed door somebody else has connections go on, once it is opened.
                if lapsed && self.service.is_open() {
                    self.regained.store(true, Ordering::Release);
                }
            }
            Output::View(view) => {
                if view.primary != self.config.membership.me {
                    self.service.close();
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

fn is_stored(outcome: &io::Result<()>) -> bool {
    if let Err(error) = outcome {
        tracing::error!(%error, "stable storage failed: this host is silent from now on");
    }
    outcome.is_ok()
}
