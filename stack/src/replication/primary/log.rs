//! The entries of one primary, in order.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};

use crate::replication::entry::Entry;
use crate::replication::message::{ENTRIES_HEAD_BYTES, Place, put_entries_head};
use crate::replication::view::Epoch;
use crate::tcp::FourTuple;
use crate::tcp::gate::Commit;

/// A batch is cut at this size; with one more entry it stays below the limit of a message.
const BATCH_BYTES: usize = 256 << 10;
/// And after so many entries. A backup says what it has applied once per batch, and between two batches it tells each
/// application that follows along; in a batch of any length that would take as long as there are connections, and look
/// like a backup that is stuck.
const BATCH_ENTRIES: u32 = 256;

/// A connection that waits for an entry to be applied.
#[derive(Clone, Debug)]
pub(crate) struct Held {
    /// The entry.
    pub(crate) index: u64,
    /// The connection's name.
    pub(crate) id: FourTuple,
    /// Its number.
    pub(crate) number: u64,
    /// What it asked for, without the bytes.
    pub(crate) commit: Commit,
}

/// A batch that left and is not applied.
#[derive(Debug)]
struct Sent {
    first: u64,
    count: u32,
    /// With its head.
    message: Bytes,
}

/// The log.
#[derive(Debug)]
pub(crate) struct Log {
    id: Epoch,
    /// Of the view in which batches leave.
    epoch: Epoch,
    next: u64,
    applied: u64,
    batch: BytesMut,
    batched: u32,
    /// Full batches that have not left.
    ready: Vec<Bytes>,
    sent: VecDeque<Sent>,
    sent_bytes: usize,
    held: VecDeque<Held>,
}

impl Log {
    pub(crate) fn new(id: Epoch) -> Self {
        Self {
            id,
            epoch: id,
            next: 0,
            applied: 0,
            batch: BytesMut::new(),
            batched: 0,
            ready: Vec::new(),
            sent: VecDeque::new(),
            sent_bytes: 0,
            held: VecDeque::new(),
        }
    }

    /// A log that goes on from a copy, which counts as its first entry.
    pub(crate) fn after_copy(id: Epoch) -> Self {
        Self {
            next: 1,
            applied: 1,
            ..Self::new(id)
        }
    }

    /// A copy begins, at a place where no backup has been: whoever says that it is before it has not begun to take the
    /// copy in. Nothing waits to be sent.
    pub(crate) fn begin_copy(&mut self) -> Place {
        debug_assert!(self.sent.is_empty() && self.batch.is_empty() && self.ready.is_empty());
        self.next += 1;
        self.applied = self.next;
        self.next()
    }

    /// The entry that will be the next.
    pub(crate) fn next(&self) -> Place {
        self.place(self.next)
    }

    /// From now on batches leave in this epoch.
    pub(crate) fn enter(&mut self, epoch: Epoch) {
        self.epoch = epoch;
    }

    /// Entries that were not applied.
    pub(crate) fn lag(&self) -> u64 {
        self.next - self.applied
    }

    /// Bytes of entries that left and were not applied.
    pub(crate) fn sent_bytes(&self) -> usize {
        self.sent_bytes + self.batch.len()
    }

    const fn place(&self, index: u64) -> Place {
        Place {
            log: self.id,
            index,
        }
    }

    /// Appends an entry to the batch; returns its index.
    pub(crate) fn push(&mut self, entry: &Entry) -> u64 {
        if self.batch.is_empty() {
            self.batch.resize(ENTRIES_HEAD_BYTES, 0);
        }
        entry.encode(&mut self.batch);
        self.batched += 1;
        self.next += 1;
        if self.batch.len() >= BATCH_BYTES || self.batched >= BATCH_ENTRIES {
            self.seal();
        }
        self.next - 1
    }

    /// True when something should leave before more is added.
    pub(crate) fn is_batch_full(&self) -> bool {
        !self.ready.is_empty()
    }

    /// Everything that has not left.
    pub(crate) fn take(&mut self) -> Vec<Bytes> {
        self.seal();
        std::mem::take(&mut self.ready)
    }

    /// Somebody waits for the entry pushed last.
    pub(crate) fn hold(&mut self, id: FourTuple, number: u64, commit: Commit) {
        self.held.push_back(Held {
            index: self.next - 1,
            id,
            number,
            commit,
        });
    }

    /// The batch becomes a message, if it is not empty.
    fn seal(&mut self) {
        if self.batched == 0 {
            return;
        }
        let count = std::mem::take(&mut self.batched);
        let first = self.next - u64::from(count);
        let mut message = self.batch.split();
        let mut head = BytesMut::with_capacity(ENTRIES_HEAD_BYTES);
        put_entries_head(self.epoch, self.place(first), count, &mut head);
        message[..ENTRIES_HEAD_BYTES].copy_from_slice(&head);
        let message = message.freeze();
        self.sent_bytes += message.len();
        self.sent.push_back(Sent {
            first,
            count,
            message: message.clone(),
        });
        self.ready.push(message);
    }

    /// Everything before `next` is applied; adds those who waited for it to `released`. False when that
    /// cannot be.
    pub(crate) fn apply(&mut self, next: Place, released: &mut Vec<Held>) -> bool {
        let sealed = self.next - u64::from(self.batched);
        if next.log != self.id || next.index > sealed {
            return false;
        }
        self.applied = self.applied.max(next.index);
        while let Some(sent) = self.sent.front()
            && sent.first + u64::from(sent.count) <= next.index
        {
            self.sent_bytes -= sent.message.len();
            self.sent.pop_front();
        }
        while self.held.front().is_some_and(|it| it.index < next.index) {
            released.extend(self.held.pop_front());
        }
        true
    }

    /// The messages that a backup lacks that expects `next`; none if they are not here any more.
    pub(crate) fn resend(&self, next: Place) -> Option<Vec<Bytes>> {
        let fresh = next == Place::default() && self.applied == 0;
        let first = self.sent.front().map_or(self.next, |sent| sent.first);
        let known = next.log == self.id && next.index >= first.min(self.applied);
        if !fresh && !known {
            return None;
        }
        let wanted = |sent: &&Sent| sent.first + u64::from(sent.count) > next.index;
        let again = self.sent.iter().filter(wanted);
        let again = again.map(|sent| self.again(sent));
        Some(again.collect())
    }

    /// A batch without entries, for a backup that expects `next` and lacks nothing.
    pub(crate) fn nothing_for(&self, next: Place) -> Bytes {
        let mut message = BytesMut::with_capacity(ENTRIES_HEAD_BYTES);
        let at = if next == Place::default() {
            self.place(0)
        } else {
            next
        };
        put_entries_head(self.epoch, at, 0, &mut message);
        message.freeze()
    }

    /// A batch once more, perhaps in a later epoch.
    fn again(&self, sent: &Sent) -> Bytes {
        let mut message = BytesMut::with_capacity(sent.message.len());
        put_entries_head(self.epoch, self.place(sent.first), sent.count, &mut message);
        message.extend_from_slice(&sent.message[ENTRIES_HEAD_BYTES..]);
        message.freeze()
    }

    /// Nobody keeps a copy any more: nothing waits, nothing has to be sent.
    pub(crate) fn forget(&mut self, released: &mut Vec<Held>) {
        released.extend(self.held.drain(..));
        self.sent = VecDeque::new();
        self.sent_bytes = 0;
        self.batch = BytesMut::new();
        self.batched = 0;
        self.ready = Vec::new();
        self.applied = self.next;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::replication::entry::Change;

    #[test]
    fn a_backup_is_heard_of_however_many_connections_have_something_to_commit_at_once() {
        let mut log = Log::new(Epoch(2));
        for connection in 0..10_000 {
            log.push(&Entry {
                connection,
                change: Change::Closed,
            });
        }
        let (batches, mut released) = (log.take(), Vec::new());
        let most = 10_000_usize.div_ceil(batches.len());
        assert!(most <= BATCH_ENTRIES as usize, "{most} entries in a batch");
        // Each of them is progress of its own.
        let first = Place {
            log: Epoch(2),
            index: u64::from(BATCH_ENTRIES),
        };
        let before = log.lag();
        assert!(log.apply(first, &mut released) && log.lag() < before);
    }

    #[test]
    fn who_has_not_begun_with_a_copy_gets_none_of_its_entries() {
        let entry = Entry {
            connection: 1,
            change: Change::Closed,
        };
        let mut released = Vec::new();
        let mut log = Log::new(Epoch(2));
        for _ in 0..3 {
            // What a backup says that was there before, or that has never been there.
            let before = [log.next(), Place::default()];
            let first = log.begin_copy();
            log.push(&entry);
            assert_eq!((log.take().len(), log.lag()), (1, 1));
            for place in before {
                assert_eq!(log.resend(place), None);
            }
            assert_eq!(log.resend(first).map(|messages| messages.len()), Some(1));
            log.forget(&mut released);
        }
    }
}
