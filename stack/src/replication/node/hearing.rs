//! What comes in: messages, and what others know of links and hosts.

use std::sync::atomic::Ordering;

use bytes::Bytes;

use super::Node;
use crate::replication::carrier::Channel;
use crate::replication::membership::PathId;
use crate::replication::message::{Malformed, Message};
use crate::replication::view::HostId;
use crate::time::Instant;

/// Heartbeats of a peer that was silent after which the addresses are announced: two paths, and once more an
/// interval later.
const CLAIMS: u8 = 4;

impl Node {
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
        self.service.heard_peer(now);
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
}
