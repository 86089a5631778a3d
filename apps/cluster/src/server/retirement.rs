//! A host that is told to end: if the other one can go on with its connections, no client has to notice.

#![allow(
    clippy::disallowed_methods,
    reason = "the shell: waits for the other host"
)]

use std::time::Duration;

use super::Served;
use crate::control::Controlled;
use outlive::engine::clock;
use outlive::replication::{Backing, Role};

/// How long a host that is to end tries to give its service away: a backup that is just being brought up, or about to be,
/// may be ready soon.
const RETIRES_WITHIN: Duration = Duration::from_secs(3);
/// How long it then sends on what still comes to it, until the network knows of the new owner.
const SENDS_ON_FOR: Duration = Duration::from_millis(200);
/// Between two looks at a backup that is being brought up.
const LOOKS_EVERY: Duration = Duration::from_millis(10);

/// What a host that is told to end still serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retirement {
    /// Nothing: the other host has it, by a handover or since before.
    Free,
    /// Everything, because nobody else can: its connections end with it.
    Serves,
}

impl Served {
    pub(super) fn retire(&self) -> Retirement {
        let until = clock::now() + RETIRES_WITHIN;
        loop {
            let status = self.node.status();
            let service = status.service;
            let wait = match (service.role, service.backing) {
                (Role::Primary, Backing::Alone) if !status.peer_up => return Retirement::Serves,
                (Role::Primary, _) if clock::now() >= until => return Retirement::Serves,
                (Role::Primary, Backing::Synced) => match self.handover() {
                    Ok(done) => {
                        tracing::info!("handed over: {done}");
                        SENDS_ON_FOR
                    }
                    Err(why) => {
                        tracing::info!("not handed over: {why}");
                        LOOKS_EVERY
                    }
                },
                (Role::Primary, _) => LOOKS_EVERY,
                (Role::Backup | Role::None, _) => return Retirement::Free,
            };
            // Afterwards it is asked again: the service may have come back.
            std::thread::sleep(wait);
        }
    }
}
