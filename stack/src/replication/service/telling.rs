//! What is told although nothing waits for it: to the backup, where peers stand; to applications that follow
//! connections of the other host, what happened to them.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Waker;
use std::time::Duration;

use super::Service;
use crate::replication::backup::{News, What};
use crate::replication::carrier::Channel;
use crate::replication::message::{Hint, MAX_HINTS, Message, Stand};
use crate::replication::replica::HINT_BYTES;
use crate::tcp::{Connection, Tcb};
use crate::time::Instant;

/// The backup is told this often where peers stand.
const HINT_EVERY: Duration = Duration::from_millis(250);
/// An application that follows a connection may be so far behind it.
const MOST_BEHIND_BYTES: usize = 32 << 20;

impl Service {
    /// Tells the backup now and then where peers stand.
    pub(in crate::replication) fn hint(&self, now: Instant) {
        let due = self.hinted_ns.load(Ordering::Relaxed) + HINT_EVERY.as_nanos() as u64;
        if now.as_nanos() < due || !self.door.is_open() {
            return;
        }
        self.hinted_ns.store(now.as_nanos(), Ordering::Relaxed);
        let Some(stack) = self.stack() else {
            return;
        };
        // Most have nothing new to tell. The data path waits for the replica, so that is found out before.
        let stands = |connection: Arc<Connection>| {
            let (connection, position) = connection.tcb.lock().take_hint(HINT_BYTES)?;
            Some(Hint {
                connection,
                position,
            })
        };
        let connections = stack.core().tcp.connections();
        let hints: Vec<_> = connections.into_iter().filter_map(stands).collect();
        for hints in hints.chunks(MAX_HINTS) {
            self.with(now, |replica, effects| {
                replica.hint(hints.to_vec(), effects);
            });
        }
    }

    /// Where each connection stands, now that nothing is built any more.
    pub(super) fn stands(&self) -> Vec<Stand> {
        let Some(stack) = self.stack() else {
            return Vec::new();
        };
        let stand = |connection: Arc<Connection>| {
            let tcb = connection.tcb.lock();
            let (connection, parting) = (tcb.gate_number(), tcb.part());
            (connection != 0).then_some(Stand {
                connection,
                parting,
            })
        };
        let connections = stack.core().tcp.connections();
        connections.into_iter().filter_map(stand).collect()
    }

    /// This host is silent: the peer is told where connections stand, so that it need not send again what was sent,
    /// nor ask clients.
    pub(in crate::replication) fn part(&self, now: Instant) {
        let stands = std::mem::take(&mut self.parting.lock().1);
        self.with(now, |replica, effects| replica.part(&stands, effects));
    }

    /// Applications that follow along hear what happened.
    pub(super) fn tell(&self, now: Instant, news: Vec<News>) {
        if news.is_empty() {
            return;
        }
        let Some(stack) = self.stack() else {
            return;
        };
        let tcp = &stack.core().tcp;
        let mut wakers = Vec::new();
        for News { id, number, what } in news {
            let feed = |call: &mut dyn FnMut(&mut Tcb), wakers: &mut Vec<Waker>| {
                tcp.with_numbered(&id, number, |tcb| {
                    call(tcb);
                    tcb.take_wakers(wakers);
                });
            };
            match what {
                What::Start(adoption) => {
                    if let Err(error) = tcp.follow(now, *adoption, &mut wakers) {
                        tracing::warn!(?id, %error, "cannot follow a connection");
                    }
                }
                What::Input {
                    from,
                    bytes,
                    fin,
                    right_edge,
                } => {
                    let mut behind = 0;
                    let mut take = |tcb: &mut Tcb| {
                        tcb.feed(from, bytes.clone(), fin, right_edge);
                        behind = tcb.readable_bytes();
                    };
                    feed(&mut take, &mut wakers);
                    if behind > MOST_BEHIND_BYTES {
                        tracing::warn!(?id, behind, "an application follows too slowly");
                        tcp.unfollow(&id, number, None, &mut wakers);
                        self.unfollowed(number);
                    }
                }
                What::Decision(decision) => {
                    feed(&mut |tcb| tcb.feed_decision(decision.clone()), &mut wakers);
                }
                What::Anchor { position, mark } => {
                    feed(&mut |tcb| tcb.told(position, mark), &mut wakers);
                }
                What::End { fin } => tcp.unfollow(&id, number, fin, &mut wakers),
            }
        }
        wakers.into_iter().for_each(Waker::wake);
    }

    /// The primary is told that nobody follows a connection any more.
    pub(super) fn unfollowed(&self, connection: u64) {
        let epoch = self.replica.lock().view.epoch;
        let message = Message::Unfollowed { epoch, connection };
        self.carrier
            .send(self.peer, Channel::Commit, message.to_bytes());
    }
}
