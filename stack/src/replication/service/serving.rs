//! Taking over, and falling silent.

use std::sync::atomic::Ordering;
use std::task::Waker;
use std::time::Duration;

use super::Service;
use crate::replication::forward::{Forwarded, MOST_WAITING};
use crate::replication::replica::Role;
use crate::replication::takeover::{Estate, TIMESTAMP_BUMP_MS};
use crate::replication::view::View;
use crate::time::Instant;

/// So long after a takeover nobody is told that his connection is unknown here.
const HUSH: Duration = Duration::from_secs(120);
/// After a handover frames may still come to the old host: until the network knows.
const FORWARD_FOR: Duration = Duration::from_secs(1);
/// The addresses are announced this often after a takeover, beside at once.
pub(super) const ANNOUNCEMENTS: u32 = 60;
pub(super) const ANNOUNCE_EVERY: Duration = Duration::from_secs(1);

/// What the last takeover did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Takeover {
    /// When the view was known.
    pub at: Instant,
    /// When the first frame could leave.
    pub ready_at: Instant,
    /// Connections that go on.
    pub adopted: usize,
    /// Connections that were not protected.
    pub lost: usize,
    /// Connections that could not be gone on with, for want of a listener or a route.
    pub failed: usize,
}

impl Service {
    /// A datagram for this host came to the other one.
    pub(super) fn arrived(&self, packet: Forwarded) {
        let packet = packet.into_packet();
        // Held meanwhile: whoever opens the door takes what waits afterwards, and before what comes later.
        let mut waiting = self.arrivals.lock();
        if self.door.is_open()
            && let Some(stack) = self.stack()
        {
            stack.runtime().inject(vec![packet]);
        } else if waiting.len() < MOST_WAITING {
            waiting.push(packet);
        }
    }

    /// A newer view was decided.
    pub fn view(&self, now: Instant, view: View) {
        let _in_order = self.order.lock();
        let (changed, role) = self.with(now, |replica, effects| {
            let changed = replica.view(now, view, effects);
            (changed, replica.role)
        });
        if !changed {
            if role == Role::Primary && self.takeover.lock().is_some() {
                // Silent for a handover that did not come about.
                self.door.open();
                self.speak();
            }
            return;
        }
        match role {
            Role::Primary => self.take_over(now),
            Role::Backup | Role::None => {
                self.surrender(now);
                self.door.overhear(true);
            }
        }
    }

    /// Everything that the journals have goes on here.
    pub(super) fn take_over(&self, now: Instant) {
        let Some(stack) = self.stack() else {
            tracing::warn!("primary without a stack");
            return;
        };
        let estate = {
            let mut replica = self.replica.lock();
            let offset_ms = self.peer_clock_ns.load(Ordering::Relaxed) / 1_000_000;
            let shift = (offset_ms as u32).wrapping_add(TIMESTAMP_BUMP_MS);
            replica.inherit(shift);
            let estate = Estate::new(now, &replica.journals);
            replica.inherited();
            estate
        };
        let tcp = &stack.core().tcp;
        tcp.hush(now, HUSH);
        let mut report = Takeover {
            at: now,
            lost: estate.lost,
            ..Takeover::default()
        };
        let (mut adopted, mut wakers) = (Vec::new(), Vec::new());
        for adoption in estate.adoptions {
            let id = adoption.id;
            match tcp.awaken(now, adoption, &mut wakers) {
                Ok(connection) => adopted.push(connection),
                Err(error) => {
                    report.failed += 1;
                    tracing::warn!(?id, %error, "cannot go on with a connection");
                }
            }
        }
        report.adopted = adopted.len();
        let mut arrivals = self.door.overheard.lock().take();
        self.door.overhear(false);
        self.door.open();
        {
            let mut waiting = self.arrivals.lock();
            arrivals.append(&mut waiting);
            if !arrivals.is_empty() {
                stack.runtime().inject(arrivals);
            }
        }
        stack.announce(ANNOUNCEMENTS, ANNOUNCE_EVERY);
        stack.runtime().output_all(&adopted);
        wakers.into_iter().for_each(Waker::wake);
        report.ready_at = stack.now().max(now);
        tracing::info!(
            adopted = report.adopted,
            lost = report.lost,
            failed = report.failed,
            "this host serves"
        );
        *self.takeover.lock() = Some(report);
    }

    /// The permission to send is back: whoever had something to say meanwhile says it.
    pub(in crate::replication) fn speak(&self) {
        if let Some(stack) = self.stack() {
            let connections = stack.core().tcp.connections();
            stack.runtime().output_all(&connections);
        }
    }

    /// Another host serves: our connections are its connections now.
    pub(super) fn surrender(&self, now: Instant) {
        self.close();
        if self.door.is_forwarding(now) {
            self.door.forward_until(now + FORWARD_FOR);
        }
        self.arrivals.lock().clear();
        let Some(stack) = self.stack() else {
            return;
        };
        let mut wakers = Vec::new();
        let left = stack.core().tcp.surrender(&mut wakers);
        stack.core().link.drop_waiting();
        wakers.into_iter().for_each(Waker::wake);
        tracing::info!(
            connections = left,
            "another host serves; this one is silent"
        );
    }
}
