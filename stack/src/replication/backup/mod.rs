//! The backup's side of replication: entries arrive in order, from the one log that is followed, and not
//! from that of an earlier primary (FAILOVER §6).
//!
//! A snapshot comes over the channel for bulk, what is gated over the one for commits; so the first gated
//! entries may be early, and wait.

mod hot;

use std::collections::VecDeque;

pub(crate) use self::hot::{News, What};
use super::entry::Entry;
use super::journals::Journals;
use super::message::Place;

/// Most bytes of entries that came early.
const MOST_EARLY: usize = 1 << 16;

/// Why entries were not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// They are of a log that is not followed.
    OtherLog,
    /// Some before them are missing.
    Gap,
}

/// How far the copy is.
#[derive(Debug, Default)]
pub(crate) struct Backup {
    next: Place,
    joining: bool,
    early: VecDeque<(u64, Vec<Entry>)>,
    early_entries: usize,
    /// Entries that did not fit what came before.
    pub(crate) misfits: u64,
}

impl Backup {
    /// The next entry that is expected.
    pub(crate) fn next(&self) -> Place {
        self.next
    }

    /// True while a snapshot is being taken in.
    pub(crate) fn is_joining(&self) -> bool {
        self.joining
    }

    /// A snapshot begins: what was there is void.
    pub(crate) fn begin(&mut self, first: Place, journals: &mut Journals) {
        journals.clear();
        *self = Self {
            next: first,
            joining: true,
            misfits: self.misfits,
            ..Self::default()
        };
    }

    /// What is here is the copy of a host that served until it handed over.
    pub(crate) fn parted(at: Place) -> Self {
        Self {
            next: at,
            ..Self::default()
        }
    }

    /// The copy that is here goes on with another log.
    ///
    /// # Errors
    /// When it is not the one that was meant.
    pub(crate) fn go_on(&mut self, base: Place, first: Place) -> Result<(), Refused> {
        if base != self.next || base == Place::default() || self.joining {
            return Err(Refused::OtherLog);
        }
        self.next = first;
        Ok(())
    }

    /// The snapshot ends before `next`.
    ///
    /// # Errors
    /// When it is not that which was being taken in.
    pub(crate) fn done(&mut self, next: Place) -> Result<(), Refused> {
        if next.log != self.next.log {
            return Err(Refused::OtherLog);
        }
        if next.index > self.next.index {
            return Err(Refused::Gap);
        }
        self.joining = false;
        Ok(())
    }

    /// Takes entries; those that were here already are left out.
    ///
    /// # Errors
    /// Why nothing was taken.
    pub(crate) fn take(
        &mut self,
        first: Place,
        entries: Vec<Entry>,
        journals: &mut Journals,
    ) -> Result<(), Refused> {
        let fresh = self.next == Place::default() && first.index == 0;
        if fresh {
            self.next = first;
        }
        if first.log != self.next.log {
            return Err(Refused::OtherLog);
        }
        if first.index > self.next.index {
            let room = self.early_entries + entries.len() <= MOST_EARLY;
            if !self.joining || !room {
                return Err(Refused::Gap);
            }
            self.early_entries += entries.len();
            self.early.push_back((first.index, entries));
            return Ok(());
        }
        self.apply(first.index, &entries, journals);
        while self
            .early
            .front()
            .is_some_and(|early| early.0 <= self.next.index)
            && let Some((first, entries)) = self.early.pop_front()
        {
            self.early_entries -= entries.len();
            self.apply(first, &entries, journals);
        }
        Ok(())
    }

    fn apply(&mut self, first: u64, entries: &[Entry], journals: &mut Journals) {
        let known = self.next.index.saturating_sub(first);
        for (index, entry) in (first..).zip(entries).skip(known as usize) {
            if let Err(misfit) = journals.apply(entry, index) {
                self.misfits += 1;
                tracing::warn!(connection = entry.connection, %misfit, "entry does not fit");
            }
            self.next.index = index + 1;
        }
    }
}
