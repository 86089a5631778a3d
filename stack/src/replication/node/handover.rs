//! Planned handover (FAILOVER §6): the service stops here and goes on there, while what arrives is sent on.
//! Copying before is the running replication.

use std::time::Duration;

use thiserror::Error;

use super::Node;
use crate::replication::Backing;
use crate::time::Instant;

/// So long what was received just before is still on its way through the stack.
pub(super) const SETTLE: Duration = Duration::from_micros(500);
/// A handover that takes longer did not come about.
pub(super) const HANDOVER_WITHIN: Duration = Duration::from_millis(500);

/// Why a planned handover cannot begin.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum HandoverError {
    /// This host does not serve.
    #[error("this host does not serve")]
    NotPrimary,
    /// Nobody could go on.
    #[error("the other host is not in sync")]
    NotSynced,
}

/// A handover on its way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Handover {
    pub(super) since: Instant,
    /// The other host was told how far this one has sent.
    parted: bool,
    /// The lease was given up.
    released: bool,
}

impl Node {
    /// Hands the service to the other host, in order.
    ///
    /// # Errors
    /// When this host does not serve, or the other one could not go on.
    pub fn handover(&self, now: Instant) -> Result<(), HandoverError> {
        if !self.membership.lock().membership.is_primary() {
            return Err(HandoverError::NotPrimary);
        }
        if self.service.status().backing != Backing::Synced {
            return Err(HandoverError::NotSynced);
        }
        tracing::info!("handing the service over");
        self.service.begin_handover(now, HANDOVER_WITHIN);
        *self.handover.lock() = Some(Handover {
            since: now,
            parted: false,
            released: false,
        });
        self.continue_handover(now);
        Ok(())
    }

    /// Silent since it began, this host gives up its lease once the other one has applied everything.
    pub(super) fn continue_handover(&self, now: Instant) {
        let Some(mut handover) = *self.handover.lock() else {
            return;
        };
        if now.since(handover.since) >= HANDOVER_WITHIN {
            tracing::warn!("the handover did not come about: this host goes on");
            *self.handover.lock() = None;
            self.service.end_handover(now);
            return;
        }
        let settled = now.since(handover.since) >= SETTLE;
        if !settled || handover.released || !self.service.stop() {
            return;
        }
        if !handover.parted {
            // It may come too late, and then helps nobody; votes take longer.
            handover.parted = true;
            self.service.part(now);
        }
        let peer = self.config.membership.peer();
        self.vote(now, |membership| {
            handover.released = membership.release_to(now, peer);
        });
        if let Some(kept) = self.handover.lock().as_mut() {
            *kept = handover;
        }
    }
}
