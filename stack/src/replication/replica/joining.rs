//! The primary and its backup: how far the copy is, and bringing one up while service goes on.

use super::{Effects, Replica, Role, Snapshot, Standing};
use crate::replication::carrier::Channel;
use crate::replication::entry::{Change, Reason};
use crate::replication::journals::Kept;
use crate::replication::message::{Message, Place};
use crate::replication::view::{Epoch, HostId};
use crate::tcp::gate::Note;
use crate::time::Instant;

impl Replica {
    /// The backup tells what it has.
    pub(super) fn hello(&mut self, now: Instant, next: Place, effects: &mut Effects) {
        let was_taken_back = self
            .taken_back
            .is_some_and(|(until, base)| now < until && base == next);
        if was_taken_back || self.takes_back(now, next, effects) {
            return;
        }
        let (again, channel) = match self.standing {
            Standing::Synced | Standing::CatchingUp { .. } => {
                (self.log.resend(next), Channel::Commit)
            }
            // It has begun to take the copy in.
            Standing::Joining(_) if next.log != Epoch::NONE => {
                (self.log.resend(next), Channel::Bulk)
            }
            Standing::Alone | Standing::Parted(_) | Standing::Joining(_) => (None, Channel::Bulk),
        };
        if let Some(mut messages) = again {
            if next.log != Epoch::NONE {
                self.log.apply(next, &mut effects.released);
            }
            if messages.is_empty() {
                messages.push(self.log.nothing_for(next));
            }
            if self.has_snapshot(next) {
                // It may have missed that, if it knew of a newer view than we did then.
                let epoch = self.view.epoch;
                messages.push(Message::Done { epoch, next }.to_bytes());
            }
            let messages = messages.into_iter().map(|it| (channel, it));
            effects.send.extend(messages);
            return;
        }
        if self.standing.needs_view() {
            // It has lost its copy, and the view says otherwise: that has to change first.
            self.waiting_since = Some(Instant::ZERO);
            self.copy_lost = true;
            return;
        }
        self.stand_alone(effects);
        self.begin_snapshot(effects);
    }

    /// Whoever has everything before `next` has the whole copy, whatever it has of what came after.
    fn has_snapshot(&self, next: Place) -> bool {
        let of_log = next.log == self.log.next().log;
        of_log
            && match self.standing {
                Standing::Synced => true,
                Standing::CatchingUp { until, .. } => next.index >= until,
                Standing::Alone | Standing::Parted(_) | Standing::Joining(_) => false,
            }
    }

    /// Begins to bring the other host up.
    fn begin_snapshot(&mut self, effects: &mut Effects) {
        self.standing = Standing::Joining(Snapshot::new(&mut self.journals));
        let begin = Message::Begin {
            epoch: self.view.epoch,
            first: self.log.begin_copy(),
        };
        effects.send.push((Channel::Bulk, begin.to_bytes()));
        self.continue_snapshot(effects);
    }

    /// Copies more; once all is copied the service waits for the copy.
    fn continue_snapshot(&mut self, effects: &mut Effects) {
        let Standing::Joining(snapshot) = &mut self.standing else {
            return;
        };
        let complete = snapshot.go_on(&mut self.journals, &mut self.log);
        let batches = self.log.take().into_iter();
        effects.send.extend(batches.map(|it| (Channel::Bulk, it)));
        if complete {
            let (epoch, next) = (self.view.epoch, self.log.next());
            let done = Message::Done { epoch, next };
            effects.send.push((Channel::Bulk, done.to_bytes()));
            self.standing = Standing::CatchingUp {
                until: next.index,
                proposed: false,
            };
        }
    }

    /// The backup has more.
    pub(super) fn applied(&mut self, now: Instant, next: Place, effects: &mut Effects) {
        if !self.log.apply(next, &mut effects.released) {
            self.refusals.out_of_place += 1;
            return;
        }
        self.waiting_since = (self.log.lag() > 0).then_some(now);
        self.continue_snapshot(effects);
        if let Standing::CatchingUp { until, proposed } = &mut self.standing
            && !*proposed
            && next.index >= *until
        {
            *proposed = true;
            effects.join = true;
        }
    }

    /// The other host's process is another one: its copy is gone.
    pub(crate) fn peer_restarted(&mut self, effects: &mut Effects) {
        if self.role != Role::Primary {
            return;
        }
        if self.standing.needs_view() {
            self.waiting_since = Some(Instant::ZERO);
            self.copy_lost = true;
        } else {
            self.stand_alone(effects);
        }
    }

    /// The view that was to name the other host was never asked for, and will not be: it has to copy again.
    pub(crate) fn left_alone(&mut self, effects: &mut Effects) {
        if self.role == Role::Primary
            && !self
                .view
                .in_sync
                .without(self.me)
                .iter()
                .any(HostId::is_server)
        {
            self.copy_lost = false;
            self.stand_alone(effects);
        }
    }

    /// The copy is complete, and the view does not say so yet.
    pub(crate) const fn wants_join(&self) -> bool {
        let asked = matches!(self.standing, Standing::CatchingUp { proposed: true, .. });
        asked && self.connected && !self.copy_lost
    }

    /// The backup cannot go on with a connection but from its log.
    pub(super) fn unfollowed(&mut self, connection: u64) {
        let shed = |it: &Kept| it.journal.shed;
        if self.stopped.is_none() && self.journals.get(connection).is_some_and(shed) {
            self.append(connection, Change::Note(Note::Unprotected(Reason::LogFull)));
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::super::JOIN_PATIENCE;
    use super::*;
    use crate::replication::view::{HostId, HostSet, View};

    fn alone() -> View {
        View {
            epoch: Epoch(2),
            primary: HostId(0),
            in_sync: HostSet::only(HostId(0)),
        }
    }

    fn both() -> View {
        View {
            epoch: Epoch(4),
            in_sync: alone().in_sync.union(HostSet::only(HostId(1))),
            ..alone()
        }
    }

    /// One that serves alone, and one that is connected to it; what they said of that.
    fn hosts(now: Instant, said: &mut Effects) -> [Replica; 2] {
        [HostId(0), HostId(1)].map(|me| {
            let mut host = Replica::new(me, 1 << 20);
            host.view(now, alone(), said);
            host.connected(now, true, said);
            host
        })
    }

    /// Gives what the backup says to the primary, and its answers back, until there is nothing more to say.
    fn converse(
        now: Instant,
        primary: &mut Replica,
        backup: &mut Replica,
        said: &mut Effects,
        answered: &mut Effects,
    ) {
        while pass(now, said, primary, answered) > 0 {
            pass(now, answered, backup, said);
        }
    }

    /// Gives what `from` says to `to`; how many messages that were.
    fn pass(now: Instant, from: &mut Effects, to: &mut Replica, answers: &mut Effects) -> usize {
        let messages: Vec<_> = from.send.drain(..).collect();
        for (_, bytes) in &messages {
            let message = Message::decode(bytes.clone()).expect("a message");
            to.receive(now, message, answers);
        }
        messages.len()
    }

    #[test]
    fn a_copy_that_was_dropped_when_the_process_turned_out_to_be_new_is_asked_for_again() {
        let (mut now, mut said, mut answered) =
            (Instant::ZERO, Effects::default(), Effects::default());
        let [primary, backup] = &mut hosts(now, &mut said);
        backup.poll(now, &mut said);
        assert!(pass(now, &mut said, primary, &mut answered) > 0);
        assert!(pass(now, &mut answered, backup, &mut said) > 0);
        // Heartbeats are slower than the channels.
        primary.peer_restarted(&mut answered);
        pass(now, &mut said, primary, &mut answered);
        assert!(!primary.wants_join());

        now += JOIN_PATIENCE;
        backup.poll(now, &mut said);
        converse(now, primary, backup, &mut said, &mut answered);
        assert!(primary.wants_join());
    }

    #[test]
    fn a_backup_that_knows_of_its_view_before_its_primary_takes_what_left_in_the_view_before() {
        let (now, mut said, mut answered) = (Instant::ZERO, Effects::default(), Effects::default());
        let [primary, backup] = &mut hosts(now, &mut said);
        backup.poll(now, &mut said);
        converse(now, primary, backup, &mut said, &mut answered);
        assert!(primary.standing.is_gated());
        backup.view(now, both(), &mut said);
        primary.append(7, Change::Closed);
        primary.flush(now, &mut answered);
        primary.view(now, both(), &mut answered);
        assert_eq!(pass(now, &mut answered, backup, &mut said), 1);
        assert_eq!(backup.refusals.old_epoch, 0);
        pass(now, &mut said, primary, &mut answered);
        assert_eq!(primary.log.lag(), 0, "the effect still waits");

        // Of another log of that epoch, nothing is taken.
        let other = Message::Entries {
            epoch: alone().epoch,
            first: Place {
                log: Epoch(1),
                index: 0,
            },
            entries: Vec::new(),
        };
        backup.receive(now, other, &mut said);
        assert_eq!(backup.refusals.old_epoch, 1);
    }

    #[test]
    fn a_backup_that_knew_of_a_newer_view_is_told_again_that_its_copy_is_complete() {
        let (now, mut said, mut answered) = (Instant::ZERO, Effects::default(), Effects::default());
        let [primary, backup] = &mut hosts(now, &mut said);
        backup.poll(now, &mut said);
        pass(now, &mut said, primary, &mut answered);
        // The end of the snapshot comes from a primary that does not know the newest view yet, and is refused.
        let is_end =
            |bytes: &Bytes| matches!(Message::decode(bytes.clone()), Ok(Message::Done { .. }));
        answered.send.retain(|(_, bytes)| !is_end(bytes));
        pass(now, &mut answered, backup, &mut said);
        assert!(backup.backup.is_joining());
        primary.standing = Standing::Synced;
        for host in [&mut *primary, &mut *backup] {
            host.view(now, both(), &mut said);
        }
        backup.poll(now, &mut said);
        converse(now, primary, backup, &mut said, &mut answered);
        assert!(backup.goes_on_following());
    }
}
