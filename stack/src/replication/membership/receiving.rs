//! Messages and reports come in; heartbeats go out.

use super::Membership;
use super::config::PathId;
use super::host::Life;
use super::message::{Body, Message};
use super::output::Output;
use crate::replication::view::HostId;
use crate::time::Instant;

impl Membership {
    /// A message came on one path. Follow with [`Self::poll`].
    pub fn receive(&mut self, now: Instant, from: HostId, path: PathId, message: &Message) {
        let known = self.host_mut(from).map(|host| {
            let known = host.path(path).is_some();
            (known, known.then(|| host.lives(now, message.incarnation)))
        });
        let Some((true, Some(life))) = known else {
            self.statistics.drop_unknown_path += 1;
            tracing::debug!(%from, ?path, "dropped: no such path to a host");
            return;
        };
        match life {
            Life::Old => {
                self.statistics.drop_old_life += 1;
                tracing::debug!(%from, "dropped: from a process that was replaced");
                return;
            }
            Life::New => {
                tracing::info!(%from, "its process is a new one");
                self.outbox.push(Output::Restarted(from));
            }
            Life::First | Life::Same => {}
        }
        if from == self.config.peer() && self.arbiter.heard(message.incarnation) {
            tracing::warn!(%from, "heard although the fence command confirmed that it is off");
        }
        self.learn(now, from, message);
        match message.body {
            Body::Heartbeat(heartbeat) => {
                let path = self.host_mut(from).and_then(|host| host.path(path));
                if let Some(sample) = path.and_then(|path| path.heard(now, &heartbeat)) {
                    self.outbox.push(Output::Clock {
                        host: from,
                        offset_ns: sample.offset_ns,
                        round_trip: sample.round_trip,
                    });
                }
            }
            Body::Propose {
                ballot,
                sent,
                lease,
            } => self.asked(now, from, ballot, sent, lease),
            Body::Renew { sent, lease } => self.asked_again(now, from, message, sent, lease),
            Body::Grant { asker, sent } => self.granted(now, message, asker, sent),
            Body::Refuse {
                asker,
                promised,
                reason,
            } => self.refused(now, from, message, asker, promised, reason),
            Body::Release { epoch, sent, to } => self.released(now, from, epoch, sent, to),
        }
        self.watch(now);
        self.consider(now);
    }

    /// Somebody knows that this host's process is gone: as if all heartbeats were missing.
    pub fn process_died(&mut self, now: Instant, host: HostId) {
        if let Some(host) = self.host_mut(host) {
            host.paths.iter_mut().for_each(|(_, path)| path.fail(now));
        }
        self.watch(now);
        self.consider(now);
    }

    /// Somebody knows that this path is broken.
    pub fn path_lost(&mut self, now: Instant, host: HostId, path: PathId) {
        if let Some(path) = self.host_mut(host).and_then(|host| host.path(path)) {
            path.fail(now);
        }
        self.watch(now);
        self.consider(now);
    }

    /// Reports what came up or went down.
    pub(super) fn watch(&mut self, now: Instant) {
        for host in &mut self.hosts {
            for (id, path) in &mut host.paths {
                path.expire(now);
                if let Some(up) = path.changed() {
                    self.outbox.push(Output::Path {
                        host: host.id,
                        path: *id,
                        up,
                    });
                    tracing::info!(host = %host.id, path = id.0, up, "path changed");
                }
            }
            let up = host.hears();
            if up != host.up {
                (host.up, host.since) = (up, now);
                tracing::info!(host = %host.id, up, "host changed");
                self.outbox.push(if up {
                    Output::Up(host.id)
                } else {
                    Output::Down(host.id)
                });
            }
        }
    }

    /// Sends the heartbeats that are due.
    pub(super) fn beat(&mut self, now: Instant) {
        self.persist();
        let (incarnation, newest) = (self.config.incarnation, *self.voter.newest());
        let decided = self.voter.is_decided();
        for host in &mut self.hosts {
            for (path, detector) in &mut host.paths {
                if let Some(heartbeat) = detector.heartbeat(now) {
                    self.outbox.push(Output::Send {
                        to: host.id,
                        path: *path,
                        message: Message {
                            incarnation,
                            newest,
                            decided,
                            body: Body::Heartbeat(heartbeat),
                        },
                    });
                }
            }
        }
    }
}
