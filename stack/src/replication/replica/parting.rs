//! Handing over without a new copy: the host that stops and the one that takes over have the same journals, so
//! the former becomes the backup of the latter with what it has, once it was told from which entry on to go on.
//!
//! Whoever stops writes nothing more to its log, so that its end is where both copies stand. If nothing comes of the
//! handover, what was asked for meanwhile is asked for once more.

use std::time::Duration;

use super::{Effects, Replica};
use crate::replication::backup::Backup;
use crate::replication::carrier::Channel;
use crate::replication::message::{MAX_HINTS, Message, Place, Stand};
use crate::replication::primary::{Held, Log, Parting, Standing};
use crate::replication::view::Epoch;
use crate::tcp::FourTuple;
use crate::tcp::gate::{Commit, Decision};
use crate::time::Instant;

/// So long, and for so many bytes of entries, a host that has taken over waits for the other one to say what it has.
const PARTED_FOR: Duration = Duration::from_secs(1);
const MOST_PARTED_BYTES: usize = 4 << 20;

/// What a connection asked for while nothing was written.
pub(super) type Asked = (FourTuple, u64, Commit);

impl Replica {
    /// The backup is told where connections stand.
    pub(crate) fn part(&mut self, stands: &[Stand], effects: &mut Effects) {
        self.stands_unheard = 0;
        for stands in stands.chunks(MAX_HINTS) {
            let message = Message::Parting {
                epoch: self.view.epoch,
                stands: stands.to_vec(),
            };
            effects.send.push((Channel::Commit, message.to_bytes()));
            self.stands_unheard += 1;
        }
    }

    /// The primary says where connections stand, and waits until this host knows.
    pub(super) fn parting(&mut self, now: Instant, stands: &[Stand], effects: &mut Effects) {
        self.journals.parted(now, stands);
        let parted = Message::Parted {
            epoch: self.view.epoch,
        };
        effects.send.push((Channel::Commit, parted.to_bytes()));
    }

    /// Writes nothing more, if the backup has everything that was written, and knows where connections stand; true from
    /// then on.
    pub(crate) fn stop(&mut self) -> bool {
        if self.stopped.is_none() && self.log.lag() == 0 && self.stands_unheard == 0 {
            self.stopped = Some(Vec::new());
        }
        self.stopped.is_some()
    }

    /// Nobody took over: what was asked for meanwhile is asked for now.
    pub(crate) fn go_on(&mut self, effects: &mut Effects) {
        for (id, number, commit) in self.stopped.take().unwrap_or_default() {
            if self.request(&id, number, &commit) == Decision::Permit {
                effects.released.push(Held {
                    index: 0,
                    id,
                    number,
                    commit,
                });
            }
        }
    }

    /// This host serves from now on, and has no log yet.
    pub(super) fn begin_log(&mut self, now: Instant, peer_in_sync: bool) {
        let base = self.backup.next();
        let copied = base != Place::default() && !self.backup.is_joining();
        self.backup = Backup::default();
        self.waiting_since = None;
        self.taken_back = None;
        self.log = Log::new(self.view.epoch);
        self.standing = if peer_in_sync {
            Standing::Synced
        } else if copied && self.connected {
            self.log = Log::after_copy(self.view.epoch);
            Standing::Parted(Parting {
                base,
                shift: 0,
                until: now + PARTED_FOR,
            })
        } else {
            Standing::Alone
        };
        self.journals.share(None, peer_in_sync);
    }

    /// The connections of the journals go on here: the clock of timestamps leaps by `shift`.
    pub(crate) fn inherit(&mut self, shift: u32) {
        self.journals.inherit(shift);
        if let Standing::Parted(parting) = &mut self.standing {
            parting.shift = shift;
        }
    }

    /// They have gone on.
    pub(crate) fn inherited(&mut self) {
        if matches!(self.standing, Standing::Parted(_)) {
            self.journals.go_on();
        }
    }

    /// This host served until now. If it had stopped, its copy is that of the one that serves now.
    pub(super) fn follow_after_serving(&mut self, now: Instant) {
        let stopped = self.stopped.take().is_some() && self.log.lag() == 0;
        self.backup = if stopped {
            Backup::parted(self.log.next())
        } else {
            self.journals.clear();
            Backup::default()
        };
        self.log = Log::new(Epoch::NONE);
        self.standing = Standing::Alone;
        self.aborted.clear();
        self.hello_soon(now);
    }

    /// While entries are only kept: true, and nothing leaves.
    pub(super) fn keeps_for_parted(&mut self, now: Instant, effects: &mut Effects) -> bool {
        let Standing::Parted(parting) = &self.standing else {
            return false;
        };
        if now >= parting.until || self.log.sent_bytes() > MOST_PARTED_BYTES {
            self.stand_alone(effects);
        }
        true
    }

    pub(super) fn parted_until(&self) -> Option<Instant> {
        match &self.standing {
            Standing::Parted(parting) => Some(parting.until),
            _ => None,
        }
    }

    /// The host that served before has this copy. If it is what this one went on from, it need not have it once more.
    pub(super) fn takes_back(&mut self, now: Instant, copy: Place, effects: &mut Effects) -> bool {
        let Standing::Parted(parting) = self.standing else {
            return false;
        };
        if copy != parting.base {
            return false;
        }
        let go_on = Message::Continue {
            epoch: self.view.epoch,
            base: parting.base,
            first: Place {
                log: self.log.next().log,
                index: 1,
            },
            shift: parting.shift,
        };
        effects.send.push((Channel::Commit, go_on.to_bytes()));
        self.taken_back = Some((now + PARTED_FOR, copy));
        let kept = self.log.take().into_iter();
        effects.send.extend(kept.map(|it| (Channel::Commit, it)));
        self.standing = Standing::CatchingUp {
            until: self.log.next().index,
            proposed: false,
        };
        true
    }

    /// The copy that is here goes on with the log of the host that serves now.
    pub(super) fn continued(&mut self, base: Place, first: Place, shift: u32) -> bool {
        let taken = self.backup.go_on(base, first).is_ok();
        if taken {
            self.journals.inherit(shift);
            self.journals.go_on();
        }
        taken
    }
}
