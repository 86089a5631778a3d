//! When a server may go on without the other one's vote (FAILOVER §6).
//!
//! With a witness: never; two of three vote. With a fence: once a command has confirmed that the other host is switched off.
//! As a bare pair: when the peer is silent on all paths and the service network answers, which **is not safe**. Alone: always.

use super::ballot::Incarnation;
use super::config::{Arbitration, Config};
use crate::time::Instant;

/// Progress of a fence command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fencing {
    Idle,
    Running,
    /// Not again before.
    Failed(Instant),
    /// The peer, in that life, is switched off.
    Confirmed(Option<Incarnation>),
}

/// What stands in for the peer's vote.
#[derive(Clone, Copy, Debug)]
pub(super) struct Arbiter {
    arbitration: Arbitration,
    service_answers: bool,
    fencing: Fencing,
}

impl Arbiter {
    pub(super) fn new(arbitration: Arbitration) -> Self {
        Self {
            arbitration,
            service_answers: false,
            fencing: Fencing::Idle,
        }
    }

    /// True if this host's own vote suffices.
    pub(super) fn stands_in(&self, peer_is_silent: bool) -> bool {
        match self.arbitration {
            Arbitration::Witness => false,
            Arbitration::Fence => matches!(self.fencing, Fencing::Confirmed(_)),
            Arbitration::UnsafePair => peer_is_silent && self.service_answers,
            Arbitration::Alone => true,
        }
    }

    /// True if a fence command is to be run now. `patience` is when this host may want it.
    pub(super) fn begin_fence(&mut self, now: Instant, patience: Instant) -> bool {
        let due = match self.fencing {
            Fencing::Idle => patience <= now,
            Fencing::Failed(again) => again.max(patience) <= now,
            Fencing::Running | Fencing::Confirmed(_) => false,
        };
        if self.arbitration != Arbitration::Fence || !due {
            return false;
        }
        self.fencing = Fencing::Running;
        true
    }

    /// When a fence command may be due.
    pub(super) fn next_deadline(&self, patience: Instant) -> Option<Instant> {
        match self.fencing {
            _ if self.arbitration != Arbitration::Fence => None,
            Fencing::Idle => Some(patience),
            Fencing::Failed(again) => Some(again.max(patience)),
            Fencing::Running | Fencing::Confirmed(_) => None,
        }
    }

    /// The command ended.
    pub(super) fn fenced(
        &mut self,
        now: Instant,
        confirmed: bool,
        life: Option<Incarnation>,
        config: &Config,
    ) {
        if self.fencing == Fencing::Running {
            self.fencing = if confirmed {
                Fencing::Confirmed(life)
            } else {
                Fencing::Failed(now + config.fence_retry)
            };
        }
    }

    /// The peer was heard in `life`. True if that life was confirmed to be switched off.
    pub(super) fn heard(&mut self, life: Incarnation) -> bool {
        let Fencing::Confirmed(fenced) = self.fencing else {
            return false;
        };
        self.fencing = Fencing::Idle;
        fenced == Some(life)
    }

    /// Whether the service network answers this host.
    pub(super) fn set_service(&mut self, answers: bool) {
        self.service_answers = answers;
    }
}
