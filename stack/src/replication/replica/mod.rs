//! One host's part in replication, without I/O: journals, and the log that is written or followed. What
//! the membership decides comes in as views.

mod joining;
mod parting;

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;

use super::backup::{Backup, News};
use super::carrier::Channel;
use super::entry::{Change, Entry, Reason};
use super::journals::Journals;
use super::message::{Hint, MAX_HINTS, Message, Place};
use super::primary::{Held, Log, Snapshot, Standing, changes};
use super::view::{Epoch, HostId, View};
use crate::tcp::FourTuple;
use crate::tcp::gate::{Commit, Decision, Note};
use crate::time::Instant;

/// A hint tells of so much progress at least.
pub(crate) const HINT_BYTES: u64 = 64 << 10;
/// A backup asks to be brought up this often; at first sooner.
const HELLO_EVERY: Duration = Duration::from_millis(100);
const FIRST_HELLO_AFTER: Duration = Duration::from_millis(5);
/// So long a connection that was aborted is remembered.
const ABORTS_KEPT_FOR: Duration = Duration::from_millis(10);
/// A copy that makes no progress for so long is asked for once more: the primary may have begun it and then dropped it,
/// when it heard only afterwards that this process is a new one, or because no view could be had while a path was held down.
const JOIN_PATIENCE: Duration = Duration::from_millis(500);

/// What a host is in the newest view that it knows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Role {
    #[default]
    /// There is no view yet.
    None,
    /// It serves.
    Primary,
    /// It follows, silently.
    Backup,
}

/// What is to be done after a call, in this order.
#[derive(Debug, Default)]
pub(crate) struct Effects {
    /// Messages for the other host.
    pub(crate) send: Vec<(Channel, Bytes)>,
    /// Who may go on.
    pub(crate) released: Vec<Held>,
    /// The copy of the other host is complete: a view should say so.
    pub(crate) join: bool,
    /// What applications that follow along are told.
    pub(crate) news: Vec<News>,
}

/// Messages that were refused, by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Refusals {
    /// They could not be read.
    pub malformed: u64,
    /// They are of an epoch that is over.
    pub old_epoch: u64,
    /// They are not for a host in this role, or of a log that is not followed.
    pub out_of_place: u64,
}

/// The state.
#[derive(Debug)]
pub(crate) struct Replica {
    me: HostId,
    pub(crate) view: View,
    pub(crate) role: Role,
    pub(crate) journals: Journals,
    pub(crate) log: Log,
    pub(crate) standing: Standing,
    pub(crate) backup: Backup,
    pub(crate) refusals: Refusals,
    /// The newest epoch in which another host spoke as one that serves.
    pub(crate) heard_epoch: Epoch,
    connected: bool,
    /// The other host said that it has no copy, though the view says that it has one.
    copy_lost: bool,
    /// Since when the oldest entry waits, or the connection to the other host is broken.
    waiting_since: Option<Instant>,
    hello_at: Instant,
    hello_wait: Duration,
    /// What connections asked for since this host stopped in order to hand over; none while it goes on.
    stopped: Option<Vec<parting::Asked>>,
    /// Messages that say where connections stand which the backup has not confirmed.
    stands_unheard: usize,
    /// The copy that this host had the other one go on from, and until when it may say again that it has that, because it
    /// has not heard.
    taken_back: Option<(Instant, Place)>,
    /// Connections that were aborted here, and until when the other host is not told that they are over.
    aborted: VecDeque<(Instant, u64)>,
}

impl Replica {
    pub(crate) fn new(me: HostId, journal_bytes: usize) -> Self {
        Self {
            me,
            view: View::NONE,
            role: Role::None,
            journals: Journals::new(journal_bytes),
            log: Log::new(Epoch::NONE),
            standing: Standing::Alone,
            backup: Backup::default(),
            refusals: Refusals::default(),
            heard_epoch: Epoch::NONE,
            connected: false,
            copy_lost: false,
            waiting_since: None,
            hello_at: Instant::FAR_FUTURE,
            hello_wait: FIRST_HELLO_AFTER,
            stopped: None,
            stands_unheard: 0,
            taken_back: None,
            aborted: VecDeque::new(),
        }
    }

    pub(crate) const fn is_connected(&self) -> bool {
        self.connected
    }

    /// A connection asks for a commit.
    pub(crate) fn request(&mut self, id: &FourTuple, number: u64, commit: &Commit) -> Decision {
        if self.role != Role::Primary {
            // Whatever it is, this host must not do it.
            return Decision::Hold;
        }
        let opening = matches!(commit, Commit::Record { .. });
        if !opening && self.journals.get(number).is_none() {
            return Decision::Permit;
        }
        if let Some(asked) = &mut self.stopped {
            asked.push((*id, number, commit.clone()));
            return Decision::Hold;
        }
        if self.journals.is_full() && self.journals.lost(number).is_none() && grows(commit) {
            self.make_room(number);
        }
        let kept = opening || self.journals.lost(number).is_none();
        let mut news = Vec::new();
        changes(id, commit, kept, |change| news.push(change));
        let mut logged = false;
        for change in news {
            logged |= self.append(number, change);
        }
        let waits = logged && self.standing.is_gated() && self.journals.lost(number).is_none();
        if !waits {
            return Decision::Permit;
        }
        self.log.hold(*id, number, without_bytes(commit));
        Decision::Hold
    }

    /// There is no room for all journals: of this one only what can be done without is kept.
    fn make_room(&mut self, number: u64) {
        let hot = |it: &super::journals::Kept| it.journal.hot;
        let followed = matches!(self.standing, Standing::Synced);
        if followed && self.journals.get(number).is_some_and(hot) {
            self.append(number, Change::Shed);
        } else {
            self.append(number, Change::Note(Note::Unprotected(Reason::MemoryFull)));
        }
    }

    /// Adds to our own journal, and to the log if somebody follows it; true if so.
    fn append(&mut self, connection: u64, change: Change) -> bool {
        let entry = Entry { connection, change };
        let index = self.log.next().index;
        if let Err(misfit) = self.journals.apply(&entry, index) {
            debug_assert!(false, "our own entry does not fit: {misfit}");
            tracing::error!(connection, %misfit, "our own entry does not fit");
        }
        let followed = match self.standing {
            Standing::Alone => false,
            Standing::Joining(_) => self.journals.get(connection).is_none_or(|kept| kept.shared),
            Standing::Parted(_) | Standing::CatchingUp { .. } | Standing::Synced => true,
        };
        if followed {
            self.log.push(&entry);
        }
        followed
    }

    /// A connection is over.
    pub(crate) fn forget(&mut self, now: Instant, connection: u64) {
        if self.role != Role::Primary || self.stopped.is_some() {
            return;
        }
        let Some(kept) = self.journals.get(connection) else {
            return;
        };
        if kept.journal.abort {
            // The RST may still be on its way out of this host. Nobody would ask for it again.
            self.aborted.push_back((now + ABORTS_KEPT_FOR, connection));
            return;
        }
        // Whoever has a copy knows of it; a host that joins ignores what it does not know.
        self.append(connection, Change::Closed);
    }

    /// Those that were aborted, and have surely been told so.
    fn forget_aborted(&mut self, now: Instant) {
        if self.role != Role::Primary || self.stopped.is_some() {
            return;
        }
        while let Some(&(_, connection)) = self.aborted.front().filter(|it| it.0 <= now) {
            self.aborted.pop_front();
            if self.journals.get(connection).is_some() {
                self.append(connection, Change::Closed);
            }
        }
    }

    /// What was gathered leaves.
    pub(crate) fn flush(&mut self, now: Instant, effects: &mut Effects) {
        if self.keeps_for_parted(now, effects) {
            return;
        }
        let channel = match self.standing {
            Standing::Joining(_) => Channel::Bulk,
            _ => Channel::Commit,
        };
        for message in self.log.take() {
            self.waiting_since.get_or_insert(now);
            if self.connected {
                effects.send.push((channel, message));
            }
        }
    }

    /// True when the batch should leave before more is added.
    pub(crate) fn is_batch_full(&self) -> bool {
        self.log.is_batch_full()
    }

    /// The ordered channels to the other host came up or broke.
    pub(crate) fn connected(&mut self, now: Instant, connected: bool, effects: &mut Effects) {
        self.connected = connected;
        self.taken_back = None;
        match self.role {
            Role::Primary if !connected => {
                if self.standing.needs_view() {
                    self.waiting_since.get_or_insert(now);
                } else {
                    self.stand_alone(effects);
                }
            }
            Role::Primary | Role::None => {}
            Role::Backup => self.hello_soon(now),
        }
    }

    /// The copy that is here is one that the view names.
    pub(super) fn goes_on_following(&self) -> bool {
        let named = self.view.in_sync.contains(self.me);
        named && self.backup.next() != Place::default() && !self.backup.is_joining()
    }

    /// This host is a backup, and the primary is to know what it has.
    fn hello_soon(&mut self, now: Instant) {
        self.hello_at = now;
        self.hello_wait = FIRST_HELLO_AFTER;
    }

    /// How long something has waited for the other host, or how long it has been away.
    pub(crate) fn waiting(&self, now: Instant) -> Option<Duration> {
        let since = self.waiting_since.filter(|_| self.standing.needs_view())?;
        let waits = !self.connected || self.copy_lost || self.log.lag() > 0;
        waits.then(|| now.since(since))
    }

    /// This host did nothing for so long: the other one is not to blame for that. Not if it said itself that its copy is
    /// gone.
    pub(crate) fn stood_still(&mut self, duration: Duration) {
        if !self.copy_lost {
            self.waiting_since = self.waiting_since.map(|since| since + duration);
        }
    }

    /// Nobody has a copy: all that waited goes on.
    fn stand_alone(&mut self, effects: &mut Effects) {
        self.standing = Standing::Alone;
        self.log.forget(&mut effects.released);
        self.waiting_since = None;
    }

    /// A newer view. Returns true if this host was another thing before.
    pub(crate) fn view(&mut self, now: Instant, view: View, effects: &mut Effects) -> bool {
        if view.epoch <= self.view.epoch {
            return false;
        }
        let before = self.role;
        self.copy_lost = false;
        self.log.enter(view.epoch);
        let peer_in_sync = view.in_sync.without(self.me).iter().any(HostId::is_server);
        self.view = view;
        self.role = if view.primary == self.me {
            Role::Primary
        } else {
            Role::Backup
        };
        effects.news.append(&mut self.journals.take_news());
        self.journals.follow(self.role == Role::Backup);
        match (before, self.role) {
            (Role::Primary, Role::Primary) if peer_in_sync => {
                if matches!(self.standing, Standing::CatchingUp { .. }) {
                    self.standing = Standing::Synced;
                }
                self.go_on(effects);
            }
            (Role::Primary, Role::Primary) => {
                if self.standing.needs_view() {
                    self.stand_alone(effects);
                }
                self.go_on(effects);
            }
            (_, Role::Primary) => self.begin_log(now, peer_in_sync),
            (Role::Primary, _) => self.follow_after_serving(now),
            (Role::Backup, _) if self.goes_on_following() => {}
            _ => self.hello_soon(now),
        }
        before != self.role
    }

    /// A message of the other host about the log.
    pub(crate) fn receive(&mut self, now: Instant, message: Message, effects: &mut Effects) {
        let (epoch, from_primary) = match &message {
            Message::Hello { epoch, .. }
            | Message::Applied { epoch, .. }
            | Message::Parted { epoch }
            | Message::Unfollowed { epoch, .. } => (*epoch, false),
            Message::Begin { epoch, .. }
            | Message::Continue { epoch, .. }
            | Message::Entries { epoch, .. }
            | Message::Done { epoch, .. }
            | Message::Parting { epoch, .. }
            | Message::Hints { epoch, .. } => (*epoch, true),
            Message::Membership(_) | Message::Forward(_) => return,
        };
        // A backup may not know yet of a view of its own primary; a primary's epoch is the newest there is.
        if from_primary && epoch < self.view.epoch && !self.is_of_followed_log(&message) {
            self.refusals.old_epoch += 1;
            return;
        }
        if from_primary != (self.role != Role::Primary) {
            self.refusals.out_of_place += 1;
            return;
        }
        if from_primary {
            self.heard_epoch = self.heard_epoch.max(epoch);
        }
        match message {
            Message::Hello { next, .. } => self.hello(now, next, effects),
            Message::Applied { next, .. } => self.applied(now, next, effects),
            Message::Begin { first, .. } => {
                self.backup.begin(first, &mut self.journals);
                self.hello_at = self.next_hello(now);
                effects.news.append(&mut self.journals.take_news());
            }
            Message::Continue {
                base, first, shift, ..
            } => {
                let taken = self.continued(base, first, shift);
                self.after_entries(now, taken, effects);
            }
            Message::Entries { first, entries, .. } => {
                let taken = self.backup.take(first, entries, &mut self.journals);
                self.after_entries(now, taken.is_ok(), effects);
            }
            Message::Hints { hints, .. } => {
                self.journals.hint(hints, 0);
                effects.news.append(&mut self.journals.take_news());
            }
            Message::Parting { stands, .. } => self.parting(now, &stands, effects),
            Message::Parted { .. } => {
                self.stands_unheard = self.stands_unheard.saturating_sub(1);
            }
            Message::Unfollowed { connection, .. } => self.unfollowed(connection),
            Message::Done { next, .. } => {
                let done = self.backup.done(next);
                self.after_entries(now, done.is_ok(), effects);
            }
            _ => {}
        }
    }

    /// A backup that votes for a view of its primary knows of it before the primary has that vote: what the primary says
    /// meanwhile is of the view before. It is no less its primary's, if it is of the log that is followed: whoever serves
    /// after somebody else begins another one.
    fn is_of_followed_log(&self, message: &Message) -> bool {
        let place = match message {
            Message::Entries { first, .. } => first,
            Message::Done { next, .. } => next,
            _ => return false,
        };
        place.log != Epoch::NONE && place.log == self.backup.next().log
    }

    /// Where peers stand, for the backup to know roughly. Nothing waits for it, and it need not arrive.
    pub(crate) fn hint(&mut self, hints: Vec<Hint>, effects: &mut Effects) {
        if self.role != Role::Primary {
            return;
        }
        let new = self.journals.hint(hints, HINT_BYTES);
        if !self.connected || !matches!(self.standing, Standing::Synced) {
            return;
        }
        for hints in new.chunks(MAX_HINTS) {
            let message = Message::Hints {
                epoch: self.view.epoch,
                hints: hints.to_vec(),
            };
            effects.send.push((Channel::Commit, message.to_bytes()));
        }
    }

    fn after_entries(&mut self, now: Instant, taken: bool, effects: &mut Effects) {
        effects.news.append(&mut self.journals.take_news());
        if taken {
            let applied = Message::Applied {
                epoch: self.view.epoch,
                next: self.backup.next(),
            };
            effects.send.push((Channel::Commit, applied.to_bytes()));
            self.hello_at = self.next_hello(now);
        } else {
            self.refusals.out_of_place += 1;
            self.hello_at = self.hello_at.min(now + HELLO_EVERY);
        }
    }

    /// While all goes well; a view that counts this host in says that it does.
    fn next_hello(&self, now: Instant) -> Instant {
        if self.view.in_sync.contains(self.me) && !self.backup.is_joining() {
            Instant::FAR_FUTURE
        } else {
            now + JOIN_PATIENCE
        }
    }

    /// What is due: a backup that has no copy asks for one.
    pub(crate) fn poll(&mut self, now: Instant, effects: &mut Effects) {
        if self.role == Role::Backup && self.connected && self.hello_at <= now {
            let hello = Message::Hello {
                epoch: self.view.epoch,
                next: self.backup.next(),
            };
            effects.send.push((Channel::Commit, hello.to_bytes()));
            self.hello_at = now + self.hello_wait;
            self.hello_wait = (self.hello_wait * 2).min(HELLO_EVERY);
        }
        self.forget_aborted(now);
        self.flush(now, effects);
    }

    /// When [`Self::poll`] has something to do.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        let follows = self.role == Role::Backup && self.connected;
        let hello = Some(self.hello_at).filter(|&at| follows && at < Instant::FAR_FUTURE);
        let aborted = self.aborted.front().map(|it| it.0);
        let aborted = aborted.filter(|_| self.role == Role::Primary && self.stopped.is_none());
        [hello, aborted, self.parted_until()]
            .into_iter()
            .flatten()
            .min()
    }
}

/// True for what needs room.
fn grows(commit: &Commit) -> bool {
    match commit {
        Commit::Received { bytes, .. } => !bytes.is_empty(),
        Commit::Note { .. } => true,
        Commit::Record { .. } | Commit::Fin { .. } | Commit::Abort => false,
    }
}

/// What has to be said to the connection again; the bytes are with it already.
fn without_bytes(commit: &Commit) -> Commit {
    let mut commit = commit.clone();
    if let Commit::Received { bytes, .. } = &mut commit {
        bytes.clear();
    }
    commit
}
