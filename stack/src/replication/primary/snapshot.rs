//! The copy for a host that joins, made while service goes on: as fast as it is applied, connection after connection, a
//! long one piece by piece. What happens to a connection is in the log of the host that joins once its copy is complete;
//! before that the copy goes on to wherever the connection is by then.

use std::collections::VecDeque;

use super::log::Log;
use crate::replication::entry::{Change, Entry};
use crate::replication::journal::Head;
use crate::replication::journals::Journals;

/// So much may be on its way.
const WINDOW_BYTES: usize = 2 << 20;

/// What is still to be copied.
#[derive(Debug, Default)]
pub(crate) struct Snapshot {
    /// Numbers of connections; later ones are copied as they come.
    left: VecDeque<u64>,
    /// The one that is being copied.
    part: Option<Part>,
}

/// A connection of which some is copied.
#[derive(Debug)]
struct Part {
    number: u64,
    /// What its copy begins with.
    head: Head,
    /// Its input is copied up to here.
    at: u64,
}

impl Snapshot {
    /// Of all connections that there are.
    pub(crate) fn new(journals: &mut Journals) -> Self {
        journals.share(None, false);
        Self {
            left: journals.numbers().collect(),
            part: None,
        }
    }

    /// Copies into the log as much as may be on its way; true when all is copied.
    pub(crate) fn go_on(&mut self, journals: &mut Journals, log: &mut Log) -> bool {
        while log.sent_bytes() < WINDOW_BYTES {
            if let Some(part) = self.part.take() {
                self.part = self.copy_more(part, journals, log);
            } else if let Some(number) = self.left.pop_front() {
                self.part = begin(number, journals, log);
            } else {
                return true;
            }
        }
        false
    }

    /// A piece more; none when the connection is copied, or has to be begun with anew.
    fn copy_more(
        &mut self,
        mut part: Part,
        journals: &mut Journals,
        log: &mut Log,
    ) -> Option<Part> {
        let number = part.number;
        let mut push = |change| {
            log.push(&Entry {
                connection: number,
                change,
            });
        };
        let Some(kept) = journals.get(number) else {
            push(Change::Closed);
            return None;
        };
        if kept.journal.head() != part.head {
            // Its application has come so far meanwhile that less is kept, or it was given up.
            push(Change::Closed);
            self.left.push_front(number);
            return None;
        }
        if let Some(piece) = kept.journal.rebuild_input(&mut part.at) {
            push(piece);
            return Some(part);
        }
        kept.journal.rebuild_tail(push);
        journals.share(Some(number), true);
        None
    }
}

/// Begins with a connection, if it is there still.
fn begin(number: u64, journals: &Journals, log: &mut Log) -> Option<Part> {
    let journal = &journals.get(number)?.journal;
    let head = journal.head();
    journal.rebuild_head(&head, |change| {
        log.push(&Entry {
            connection: number,
            change,
        });
    });
    Some(Part {
        number,
        at: head.start(),
        head,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::replication::journal::tests::opening;
    use crate::replication::message::{Message, Place};
    use crate::replication::view::Epoch;
    use crate::tcp::gate::{Hot, Note, Pieces, Point};

    const LONG: u64 = 5;
    const SHORT: u64 = 6;
    const BYTES: usize = 20 << 20;

    /// A host that serves one long upload and a short one, and one that joins it.
    struct Pair {
        serving: Journals,
        log: Log,
        joining: Journals,
        snapshot: Snapshot,
    }

    impl Pair {
        fn new() -> Self {
            let mut opening = opening(64 << 10, false);
            opening.terms.hot = Hot::WhenFull;
            let mut serving = Journals::new(usize::MAX);
            for number in [LONG, SHORT] {
                let change = Change::Open(Box::new(opening.clone()));
                serving
                    .apply(
                        &Entry {
                            connection: number,
                            change,
                        },
                        0,
                    )
                    .expect("it fits");
            }
            let mut pair = Self {
                serving,
                log: Log::new(Epoch(2)),
                joining: Journals::new(usize::MAX),
                snapshot: Snapshot::default(),
            };
            pair.receive(LONG, BYTES);
            pair.receive(SHORT, 10);
            // Until the copy begins nobody follows.
            pair.log = Log::new(Epoch(2));
            pair.log.begin_copy();
            pair.snapshot = Snapshot::new(&mut pair.serving);
            pair
        }

        /// As [`super::super::super::replica::Replica`] does with an entry of its own.
        fn happens(&mut self, connection: u64, change: Change) {
            let entry = Entry { connection, change };
            let shared = self.serving.get(connection).is_some_and(|kept| kept.shared);
            self.serving.apply(&entry, 0).expect("it fits");
            if shared {
                self.log.push(&entry);
            }
        }

        fn receive(&mut self, number: u64, len: usize) {
            let from = self.serving.get(number).expect("open").journal.data_end();
            let bytes = (from..from + len as u64)
                .map(|at| (at % 251) as u8)
                .collect::<Vec<_>>();
            let right_edge = from + len as u64;
            for (i, piece) in bytes.chunks(32 << 10).enumerate() {
                let from = from + (i * (32 << 10)) as u64;
                let bytes = Pieces::from_iter([piece.to_vec().into()]);
                self.happens(
                    number,
                    Change::Received {
                        from,
                        bytes,
                        fin: false,
                        right_edge,
                    },
                );
            }
        }

        /// Copies as much as may be on its way; true when all is copied.
        fn go_on(&mut self) -> bool {
            self.snapshot.go_on(&mut self.serving, &mut self.log)
        }

        /// The host that joins takes all that was sent; how many bytes that were.
        fn deliver(&mut self) -> usize {
            let mut sent = 0;
            for message in self.log.take() {
                sent += message.len();
                let Ok(Message::Entries { entries, .. }) = Message::decode(message) else {
                    panic!("entries");
                };
                for entry in &entries {
                    self.joining.apply(entry, 0).expect("it fits");
                }
            }
            let next: Place = self.log.next();
            assert!(self.log.apply(next, &mut Vec::new()));
            sent
        }

        fn finish(&mut self) {
            for _ in 0..100 {
                let complete = self.go_on();
                self.deliver();
                if complete {
                    return;
                }
            }
            panic!("the copy is never complete");
        }

        fn assert_equal(&self) {
            assert_eq!(self.joining.len(), self.serving.len());
            for (number, kept) in self.serving.iter() {
                let copy = &self.joining.get(number).expect("copied").journal;
                assert!(*copy == kept.journal, "connection {number} differs");
            }
        }
    }

    #[test]
    fn a_long_upload_is_copied_piece_by_piece_while_it_goes_on() {
        let mut pair = Pair::new();
        let mut rounds = 0;
        while !pair.go_on() {
            let sent = pair.deliver();
            assert!(sent < 2 * WINDOW_BYTES, "{sent} bytes at once");
            // It goes on at half the speed of the copy.
            pair.receive(LONG, sent / 2);
            rounds += 1;
        }
        assert!(rounds > BYTES / WINDOW_BYTES, "{rounds} rounds");
        pair.receive(LONG, 100);
        pair.deliver();
        pair.assert_equal();
    }

    #[test]
    fn a_connection_that_ends_or_comes_to_a_point_while_it_is_copied_is_no_more_than_that() {
        for ends in [false, true] {
            let mut pair = Pair::new();
            while pair
                .snapshot
                .part
                .as_ref()
                .is_none_or(|part| part.number != LONG)
            {
                assert!(!pair.go_on());
                pair.deliver();
            }
            let input = pair.serving.get(LONG).expect("open").journal.data_end();
            let point = Point {
                input,
                output: 1,
                ..Point::default()
            };
            let change = if ends {
                Change::Closed
            } else {
                Change::Note(Note::Point(Box::new(point)))
            };
            pair.happens(LONG, change);
            pair.finish();
            pair.assert_equal();
        }
    }
}
