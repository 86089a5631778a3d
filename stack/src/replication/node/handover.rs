//! Planned handover (FAILOVER §6): the service stops here and goes on there, while what arrives is sent on.
//! Copying before is the running replication.

use std::time::Duration;

use thiserror::Error;

use super::Node;
use crate::replication::Backing;
use crate::time::Instant;

/// So long what was received just before may be on its way through a stack with a thread for each stage; and so often it
/// is looked at again where a stack can tell.
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
    /// What was on its way through the stack is through, and the other host was told where connections stand.
    pub(super) silent: bool,
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
            silent: false,
            released: false,
        });
        self.continue_handover(now);
        Ok(())
    }

    /// Deaf since it began, and silent once nothing is on its way through the stack, this host gives up its lease when the
    /// other one has applied everything and knows where connections stand.
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
        if handover.released || !self.fell_silent(now, &mut handover) || !self.service.stop() {
            return;
        }
        let peer = self.config.membership.peer();
        self.vote(now, |membership| {
            handover.released = membership.release_to(now, peer);
        });
        if let Some(kept) = self.handover.lock().as_mut() {
            *kept = handover;
        }
    }

    /// True once nothing is on its way through the stack; then the other host was told where connections stand.
    fn fell_silent(&self, now: Instant, handover: &mut Handover) -> bool {
        let settled = now.since(handover.since) >= SETTLE;
        if !handover.silent && settled && self.service.fall_silent() {
            handover.silent = true;
            if let Some(kept) = self.handover.lock().as_mut() {
                kept.silent = true;
            }
            self.service.part(now);
        }
        handover.silent
    }
}
