//! Where what was written is not to go on in the same segment: behind a record that its writer ended (like `MSG_EOR`), and
//! behind each of the pieces in which a queue is accounted for as Linux does ([`super::Config::bookkeeping_bytes`]), which
//! Linux sends one by one.
//!
//! Marks in a send queue, ascending; nothing while nobody asks for any. They are advice for those who cut segments: where
//! a connection goes on elsewhere, they are forgotten.

use std::collections::VecDeque;

/// One mark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Cut {
    at: u64,
    /// A record ends here; never taken back.
    record: bool,
    /// What ends here is to be handed over (PSH) although more follows.
    push: bool,
}

/// The marks of a queue.
#[derive(Clone, Debug, Default)]
pub(super) struct Cuts(VecDeque<Cut>);

impl Cuts {
    /// Marks `end`, which is beyond all others or the last of them.
    pub(super) fn mark(&mut self, end: u64, record: bool) {
        match self.0.back_mut().filter(|last| last.at == end) {
            Some(last) => {
                last.record |= record;
                last.push |= record;
            }
            None => self.0.push_back(Cut {
                at: end,
                record,
                push: record,
            }),
        }
    }

    /// What ends at the last mark is to be handed over although more follows.
    pub(super) fn push_last(&mut self) {
        if let Some(last) = self.0.back_mut() {
            last.push = true;
        }
    }

    /// True if what ends at `position` is to be handed over although more follows.
    pub(super) fn pushes(&self, position: u64) -> bool {
        let found = self.0.binary_search_by_key(&position, |cut| cut.at);
        found.is_ok_and(|index| self.0[index].push)
    }

    /// More joins the piece that ends at `end`.
    pub(super) fn unmark(&mut self, end: u64) {
        if self
            .0
            .back()
            .is_some_and(|last| last.at == end && !last.record)
        {
            self.0.pop_back();
        }
    }

    /// The first mark behind `from`.
    pub(super) fn next(&self, from: u64) -> Option<u64> {
        // Nearly always one of the first.
        let index = self.0.partition_point(|cut| cut.at <= from);
        self.0.get(index).map(|cut| cut.at)
    }

    /// True if a record ends at `position`.
    pub(super) fn ends_record(&self, position: u64) -> bool {
        let found = self.0.binary_search_by_key(&position, |cut| cut.at);
        found.is_ok_and(|index| self.0[index].record)
    }

    /// Forgets what is not beyond `position`.
    pub(super) fn release_to(&mut self, position: u64) {
        while self.0.front().is_some_and(|first| first.at <= position) {
            self.0.pop_front();
        }
    }

    pub(super) fn heap_bytes(&self) -> usize {
        self.0.capacity() * size_of::<Cut>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_found_taken_back_and_forgotten() {
        let mut cuts = Cuts::default();
        assert_eq!(cuts.next(0), None);
        cuts.mark(10, false);
        cuts.unmark(10);
        assert_eq!(cuts.next(0), None, "more joined");
        cuts.mark(20, false);
        cuts.mark(20, true);
        cuts.unmark(20);
        cuts.mark(30, false);
        assert_eq!((cuts.next(0), cuts.next(20)), (Some(20), Some(30)));
        assert!(cuts.ends_record(20) && !cuts.ends_record(30) && !cuts.ends_record(15));
        assert!(cuts.pushes(20) && !cuts.pushes(30));
        cuts.push_last();
        assert!(cuts.pushes(30) && !cuts.ends_record(30));
        cuts.release_to(20);
        assert_eq!(cuts.next(0), Some(30));
    }
}
