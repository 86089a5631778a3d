//! All journals of a host, and how much memory they take.

use std::collections::HashMap;

use super::backup::{News, What};
use super::entry::{Change, Entry, Reason};
use super::journal::{Journal, Misfit};
use super::message::{Hint, Stand};
use crate::tcp::gate::Note;
use crate::tcp::parting::Parting;
use crate::time::Instant;

/// Memory that a journal takes besides the bytes kept in it, roughly.
const OVERHEAD_BYTES: usize = 512;

/// One journal among others.
#[derive(Debug)]
pub(crate) struct Kept {
    pub(crate) journal: Journal,
    /// A host that is being brought up has it.
    pub(crate) shared: bool,
    /// Where it stood when the other host fell silent in order to hand it over, and when that was told.
    pub(crate) parting: Option<(Instant, Parting)>,
    /// The entry that changed it last.
    pub(crate) touched: u64,
}

/// The journals by the number of their connection.
#[derive(Debug)]
pub(crate) struct Journals {
    kept: HashMap<u64, Kept>,
    bytes: usize,
    limit: usize,
    highest: u64,
    /// What applications that follow along are to be told; none on a host that serves.
    news: Option<Vec<News>>,
}

impl Journals {
    /// None yet, and most bytes that all may take.
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            kept: HashMap::new(),
            bytes: 0,
            limit,
            highest: 0,
            news: None,
        }
    }

    /// A number that no connection has had.
    pub(crate) fn enrol(&mut self) -> u64 {
        self.highest += 1;
        self.highest
    }

    pub(crate) fn len(&self) -> usize {
        self.kept.len()
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// How many could be gone on with.
    pub(crate) fn whole(&self) -> usize {
        let whole = |kept: &&Kept| kept.journal.lost.is_none();
        self.kept.values().filter(whole).count()
    }

    /// True when nothing more should be kept.
    pub(crate) fn is_full(&self) -> bool {
        self.bytes > self.limit
    }

    pub(crate) fn get(&self, connection: u64) -> Option<&Kept> {
        self.kept.get(&connection)
    }

    pub(crate) fn numbers(&self) -> impl Iterator<Item = u64> {
        self.kept.keys().copied()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (u64, &Kept)> {
        self.kept.iter().map(|(&number, kept)| (number, kept))
    }

    /// Why a connection would not survive; none for one that would.
    pub(crate) fn lost(&self, connection: u64) -> Option<Reason> {
        match self.kept.get(&connection) {
            Some(kept) => kept.journal.lost,
            None => Some(Reason::NoBackup),
        }
    }

    /// Says of all that nobody else has them, or that one has.
    pub(crate) fn share(&mut self, connection: Option<u64>, shared: bool) {
        match connection {
            Some(number) => {
                if let Some(kept) = self.kept.get_mut(&number) {
                    kept.shared = shared;
                    let before = kept.journal.bytes();
                    kept.journal.share();
                    self.bytes = self.bytes + kept.journal.bytes() - before;
                }
            }
            None => self.kept.values_mut().for_each(|it| it.shared = shared),
        }
    }

    /// Takes hints of where peers stand; returns those that tell something new, by so much at least.
    pub(crate) fn hint(&mut self, hints: Vec<Hint>, least: u64) -> Vec<Hint> {
        let news = &mut self.news;
        let mut new = hints;
        new.retain(|hint| {
            let Some(kept) = self.kept.get_mut(&hint.connection) else {
                return false;
            };
            if hint.position < kept.journal.anchor + least {
                return false;
            }
            let before = kept.journal.bytes();
            kept.journal.acknowledge(hint.position);
            self.bytes = self.bytes + kept.journal.bytes() - before;
            if let Some(news) = news.as_mut().filter(|_| kept.journal.hot) {
                news.push(News {
                    id: kept.journal.id,
                    number: hint.connection,
                    what: What::Anchor {
                        position: kept.journal.anchor,
                        mark: None,
                    },
                });
            }
            true
        });
        new
    }

    /// The other host is silent, and connections stand there.
    pub(crate) fn parted(&mut self, now: Instant, stands: &[Stand]) {
        for stand in stands {
            if let Some(kept) = self.kept.get_mut(&stand.connection) {
                kept.parting = Some((now, stand.parting));
            }
        }
    }

    /// From now on applications on this host follow along, or do not.
    pub(crate) fn follow(&mut self, follow: bool) {
        self.news = follow.then(Vec::new);
    }

    /// What they are to be told, in order.
    pub(crate) fn take_news(&mut self) -> Vec<News> {
        self.news.as_mut().map(std::mem::take).unwrap_or_default()
    }

    pub(crate) fn clear(&mut self) {
        if let Some(news) = &mut self.news {
            let hot = self.kept.iter().filter(|(_, kept)| kept.journal.hot);
            news.extend(hot.map(|(&number, kept)| News {
                id: kept.journal.id,
                number,
                what: What::End { fin: None },
            }));
        }
        self.kept = HashMap::new();
        self.bytes = 0;
    }

    /// Makes the journals those of a new owner: the clock changes that all timestamps count from (FAILOVER §3), and
    /// windows may be rounded up beyond what the former owner offered (invariant 12).
    pub(crate) fn inherit(&mut self, shift: u32) {
        for kept in self.kept.values_mut() {
            let journal = &mut kept.journal;
            let offset = &mut journal.record.timestamps;
            *offset = offset.map(|it| it.wrapping_add(shift));
            journal.right_edge += (1 << journal.record.our_scale) - 1;
        }
    }

    /// The journals of both hosts are the same, and entries of a new owner follow: what applies only to the one
    /// who has been serving, or was told of it, is over. Whoever follows along from now on is told where to begin.
    pub(crate) fn go_on(&mut self) {
        for (&number, kept) in &mut self.kept {
            let before = kept.journal.bytes();
            kept.journal.share();
            self.bytes = self.bytes + kept.journal.bytes() - before;
            (kept.shared, kept.parting, kept.touched) = (true, None, 0);
            if let Some(news) = self.news.as_mut().filter(|_| kept.journal.hot) {
                news.push(News::start(number, &kept.journal));
            }
        }
    }

    /// Whoever followed along hears that it is over.
    fn ended(&mut self, number: u64, journal: &Journal, fin: Option<u64>) {
        if let Some(news) = self.news.as_mut().filter(|_| journal.hot) {
            news.push(News {
                id: journal.id,
                number,
                what: What::End { fin },
            });
        }
    }

    /// Takes an entry, the `index`th of its log. An entry of a connection that is not known changes
    /// nothing: it was not kept, or is over.
    ///
    /// # Errors
    /// When it does not fit what came before; the connection is lost then.
    pub(crate) fn apply(&mut self, entry: &Entry, index: u64) -> Result<(), Misfit> {
        let number = entry.connection;
        match &entry.change {
            Change::Open(opening) => {
                self.highest = self.highest.max(number);
                let kept = Kept {
                    journal: Journal::new(opening),
                    shared: true,
                    parting: None,
                    touched: index,
                };
                self.bytes += OVERHEAD_BYTES;
                if let Some(old) = self.kept.insert(number, kept) {
                    self.bytes -= OVERHEAD_BYTES + old.journal.bytes();
                    self.ended(number, &old.journal, None);
                }
                Ok(())
            }
            Change::Closed => {
                if let Some(old) = self.kept.remove(&number) {
                    self.bytes -= OVERHEAD_BYTES + old.journal.bytes();
                    self.ended(number, &old.journal, old.journal.fin);
                }
                Ok(())
            }
            change => {
                let Some(kept) = self.kept.get_mut(&number) else {
                    return Ok(());
                };
                let (before, was_hot) = (kept.journal.bytes(), kept.journal.hot);
                let result = kept.journal.apply(change);
                if result.is_err() {
                    let lost = Change::Note(Note::Unprotected(Reason::Diverged));
                    let _ = kept.journal.apply(&lost);
                }
                kept.touched = index;
                if let Some(news) = &mut self.news {
                    news.extend(News::of(number, &kept.journal, change, was_hot));
                }
                self.bytes = self.bytes + kept.journal.bytes() - before;
                result
            }
        }
    }
}
