//! What a server answers through its control socket.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::Served;
use crate::control::Controlled;
use crate::id::PathId;
use crate::report::{self, Report, Role};
use crate::status;
use outlive::engine::clock;
use outlive::replication::{self, Backing};
use outlive::time::Instant;

/// How long `outlive handover` waits for the other host to serve.
const HANDOVER_PATIENCE: Duration = Duration::from_secs(10);
/// The node does not try for longer than half a second, and goes on.
const GIVEN_UP_AFTER: Duration = Duration::from_secs(1);

impl Served {
    fn replication(status: &replication::Status) -> report::Replication {
        report::Replication {
            protected: status.protected as u64,
            unprotected: status.connections.saturating_sub(status.protected) as u64,
            lag_entries: status.lag_entries,
            counters: vec![
                ("entries".into(), status.entries),
                ("journal bytes".into(), status.journal_bytes as u64),
                ("lag bytes".into(), status.lag_bytes as u64),
                ("misfits".into(), status.misfits),
            ],
        }
    }

    fn takeover(&self, status: &replication::Status, now: Instant) -> Option<report::Takeover> {
        let takeover = status.takeover?;
        let detection = self.times.lock().detection;
        let detection = detection.filter(|(at, _)| *at == takeover.at);
        let ms = |duration: Duration| duration.as_secs_f64() * 1000.0;
        Some(report::Takeover {
            epoch: status.view.epoch.0,
            ago_ms: ms(now.since(takeover.at)),
            detection_ms: detection.map(|(_, took)| ms(took)),
            promotion_ms: Some(ms(takeover.ready_at.since(takeover.at))),
            connections: takeover.adopted as u64,
        })
    }
}

impl Controlled for Served {
    fn report(&self) -> Report {
        let (now, status) = (clock::now(), self.node.status());
        let service = &status.service;
        let role = match (service.role, service.backing) {
            (replication::Role::Primary, _) => Role::Primary,
            (replication::Role::Backup, Backing::Synced) => Role::Backup,
            _ => Role::Joining,
        };
        let is_up = |host, path: PathId| self.node.path_is_up(host, path);
        let left = status.lease_until.since(now);
        Report {
            lease_ms: (!left.is_zero()).then_some(left.as_secs_f64() * 1000.0),
            peers: status::peers(&self.config, &self.links, is_up),
            replication: Some(Self::replication(service)),
            last_takeover: self.takeover(service, now),
            ..status::report(&self.config, &self.links, role, &service.view)
        }
    }

    fn handover(&self) -> Result<String, String> {
        let (start, ours) = (clock::now(), self.node.view().epoch);
        self.node.handover(start).map_err(|error| {
            format!("{error}; `outlive status` shows who serves and who is in sync")
        })?;
        // The thread of the work goes on with it, and does not know yet when.
        self.work_is_due.store(true, Ordering::Release);
        self.links.wake();
        let (turn, news) = &self.news;
        let mut turn = turn.lock();
        while self.node.heard_epoch() <= ours {
            let waited = clock::now().since(start);
            let left = HANDOVER_PATIENCE.saturating_sub(waited);
            let given_up = waited >= GIVEN_UP_AFTER && self.node.view().primary == self.config.me;
            if left.is_zero() || given_up {
                return Err(
                    "the other host did not take over; `outlive status` shows how it is".into(),
                );
            }
            news.wait_for(&mut turn, left);
        }
        let (view, took) = (self.node.view(), clock::now().since(start));
        Ok(format!(
            "{} serves, epoch {}, after {:.1} ms",
            view.primary,
            view.epoch,
            took.as_secs_f64() * 1000.0
        ))
    }
}
