//! What was sent and is not cumulatively acknowledged: the scoreboard (RFC 2018; RFC 6675 §3) with what
//! RFC 8985 §5.1 asks to be known of every segment.
//!
//! The stream from `snd.una` to `snd.nxt` is a row of pieces without gaps. A piece is what left in one go (several
//! wire segments if a device cuts it) and is split when only a part of it turns out to be received, lost or sent
//! again. Knows nothing of acknowledgement numbers, timers or windows.

use std::collections::VecDeque;

use super::delivery_rate::Stamp;
use crate::time::Instant;

/// Pieces kept. What is sent beyond that joins the last piece, and what is SACKed beyond that counts as not
/// received: more than a window of full segments, or an honest receiver, ever needs.
const MAX_PIECES: usize = 8192;

/// What is known about a piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Thought to be in the network.
    Outstanding,
    /// The receiver has it.
    Sacked,
    /// Thought to be lost, and not sent again yet.
    Lost,
}

/// A stretch of the stream with one history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Position of its first octet.
    pub start: u64,
    /// Position after its last.
    pub end: u64,
    /// When it was sent last.
    pub sent_at: Instant,
    /// What is known about it.
    pub fate: Fate,
    /// How often it was sent; 0 if another host sent it, so that it measures nothing.
    pub times: u8,
    /// Wire segments that it was sent as.
    pub segments: u16,
    /// What had been delivered when it was sent.
    pub stamp: Stamp,
}

impl Piece {
    /// Bytes, with SYN and FIN.
    #[must_use]
    pub const fn bytes(&self) -> u64 {
        self.end - self.start
    }

    /// True if its acknowledgement says which transmission it is for (Karn).
    #[must_use]
    pub const fn is_unambiguous(&self) -> bool {
        self.times == 1
    }

    /// The part before `at`; the piece keeps the rest.
    fn cut(&mut self, at: u64) -> Self {
        let mut first = *self;
        first.end = at;
        let share = u64::from(self.segments) * first.bytes();
        first.segments = (share.div_ceil(self.bytes()) as u16).max(1);
        self.segments = (self.segments - first.segments.min(self.segments)).max(1);
        self.start = at;
        first
    }
}

/// What [`Flight::examine`] is told about a piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It stays as it is.
    Keep,
    /// It is lost.
    Lose,
    /// It and everything after it stays as it is.
    Stop,
}

/// The pieces in the order of the stream.
#[derive(Clone, Debug, Default)]
pub struct Flight {
    pieces: VecDeque<Piece>,
    outstanding: u64,
    sacked: u64,
    lost: u64,
    sacked_segments: u32,
    /// Pieces found lost that nobody asked about yet; none if nobody will.
    reports: Option<Vec<Piece>>,
}

impl Flight {
    /// Nothing in flight yet; `reports` keeps what is found lost for [`Flight::take_losses`].
    #[must_use]
    pub fn new(reports: bool) -> Self {
        Self {
            reports: reports.then(Vec::new),
            ..Self::default()
        }
    }

    /// The pieces that were found lost since this was asked last.
    pub fn take_losses(&mut self) -> Vec<Piece> {
        self.reports
            .as_mut()
            .map(std::mem::take)
            .unwrap_or_default()
    }

    /// True when there is nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    /// Position after the last piece; 0 without any.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.pieces.back().map_or(0, |piece| piece.end)
    }

    /// The pieces, ascending.
    pub fn pieces(&self) -> impl DoubleEndedIterator<Item = &Piece> {
        self.pieces.iter()
    }

    /// The first piece.
    #[must_use]
    pub fn first(&self) -> Option<&Piece> {
        self.pieces.front()
    }

    /// The last piece that the receiver is not known to have.
    #[must_use]
    pub fn last_unsacked(&self) -> Option<&Piece> {
        self.pieces
            .iter()
            .rev()
            .find(|piece| piece.fate != Fate::Sacked)
    }

    /// Bytes thought to be in the network.
    #[must_use]
    pub const fn outstanding(&self) -> u64 {
        self.outstanding
    }

    /// Bytes SACKed.
    #[must_use]
    pub const fn sacked(&self) -> u64 {
        self.sacked
    }

    /// Bytes lost and not sent again.
    #[must_use]
    pub const fn lost(&self) -> u64 {
        self.lost
    }

    /// Wire segments SACKed.
    #[must_use]
    pub const fn sacked_segments(&self) -> u32 {
        self.sacked_segments
    }

    /// Bytes and segments of `piece` are to be counted, or no longer.
    fn count(&mut self, piece: &Piece, counts: bool) {
        let total = match piece.fate {
            Fate::Outstanding => &mut self.outstanding,
            Fate::Sacked => {
                let segments = u32::from(piece.segments);
                self.sacked_segments = if counts {
                    self.sacked_segments + segments
                } else {
                    self.sacked_segments.saturating_sub(segments)
                };
                &mut self.sacked
            }
            Fate::Lost => &mut self.lost,
        };
        *total = if counts {
            *total + piece.bytes()
        } else {
            *total - piece.bytes()
        };
    }

    fn set_fate(&mut self, index: usize, fate: Fate) {
        let mut piece = self.pieces[index];
        self.count(&piece, false);
        piece.fate = fate;
        self.count(&piece, true);
        self.pieces[index] = piece;
    }

    /// New data up to `end` left as so many wire segments.
    pub fn send(&mut self, start: u64, end: u64, segments: u16, now: Instant, stamp: Stamp) {
        self.push(Piece {
            start,
            end,
            sent_at: now,
            fate: Fate::Outstanding,
            times: 1,
            segments: segments.max(1),
            stamp,
        });
    }

    /// Everything from `una` to `nxt` is in flight, though perhaps another host sent it.
    pub fn cover(&mut self, una: u64, nxt: u64, now: Instant) {
        let start = self.end().max(una);
        if start < nxt {
            self.push(Piece {
                start,
                end: nxt,
                sent_at: now,
                fate: Fate::Outstanding,
                times: 0,
                segments: 1,
                stamp: Stamp::default(),
            });
        }
    }

    fn push(&mut self, piece: Piece) {
        debug_assert!(self.is_empty() || self.end() == piece.start, "a gap");
        let full = self.pieces.len() >= MAX_PIECES;
        if let Some(last) = self.pieces.back_mut().filter(|_| full)
            && last.fate == Fate::Outstanding
        {
            last.end = piece.end;
            last.sent_at = piece.sent_at;
            last.segments = last.segments.saturating_add(piece.segments);
            self.outstanding += piece.bytes();
            return;
        }
        self.count(&piece, true);
        self.pieces.push_back(piece);
    }

    /// Index of the first piece that ends after `position`.
    fn find(&self, position: u64) -> usize {
        // Nearly always the first.
        if self.first().is_none_or(|piece| piece.end > position) {
            return 0;
        }
        self.pieces.partition_point(|piece| piece.end <= position)
    }

    /// Makes `position` the border of two pieces; false if there may be no more of them.
    fn split(&mut self, position: u64) -> bool {
        let index = self.find(position);
        match self.pieces.get(index) {
            Some(piece) if piece.start < position => {}
            _ => return true,
        }
        if self.pieces.len() >= 2 * MAX_PIECES {
            return false;
        }
        let mut rest = self.pieces[index];
        self.count(&rest, false);
        let first = rest.cut(position);
        self.count(&first, true);
        self.count(&rest, true);
        self.pieces[index] = rest;
        self.pieces.insert(index, first);
        true
    }

    /// The stretch, of which nothing is SACKed, was sent again as so many wire segments.
    pub fn resend(&mut self, start: u64, end: u64, segments: u16, now: Instant, stamp: Stamp) {
        if !self.split(start) || !self.split(end) {
            return;
        }
        let first = self.find(start);
        let mut after = first;
        let mut times = 0;
        while let Some(piece) = self.pieces.get(after).copied()
            && piece.end <= end
        {
            debug_assert!(piece.fate != Fate::Sacked, "sent what was received");
            self.count(&piece, false);
            times = times.max(piece.times);
            after += 1;
        }
        if first == after {
            return;
        }
        let piece = Piece {
            start,
            end,
            sent_at: now,
            fate: Fate::Outstanding,
            times: times.saturating_add(1).max(2),
            segments: segments.max(1),
            stamp,
        };
        self.count(&piece, true);
        self.pieces[first] = piece;
        self.pieces.drain(first + 1..after);
    }

    /// Everything before `una` is acknowledged; `each` sees what that was.
    pub fn acknowledge(&mut self, una: u64, mut each: impl FnMut(&Piece)) {
        while let Some(piece) = self.pieces.front().copied()
            && piece.start < una
        {
            self.count(&piece, false);
            if piece.end <= una {
                self.pieces.pop_front();
                each(&piece);
                continue;
            }
            let mut rest = piece;
            let first = rest.cut(una);
            self.count(&rest, true);
            self.pieces[0] = rest;
            each(&first);
        }
    }

    /// The receiver has the stretch; `each` sees what of it is news, as it was.
    pub fn sack(&mut self, start: u64, end: u64, mut each: impl FnMut(&Piece)) {
        if !self.covers_news(start, end) || !self.split(start) || !self.split(end) {
            return;
        }
        let mut index = self.find(start);
        while let Some(piece) = self.pieces.get(index).copied()
            && piece.start < end
        {
            if piece.fate != Fate::Sacked {
                self.set_fate(index, Fate::Sacked);
                each(&piece);
            }
            index += 1;
        }
    }

    /// What of a stretch that was SACKed makes whole segments of `mss` bytes, as they were sent. A receiver that has a
    /// part of a segment only has none of it (as Linux): it will be sent again whole, and says little about what else
    /// was lost.
    #[must_use]
    pub fn whole_segments(&self, start: u64, end: u64, mss: u64) -> (u64, u64) {
        let piece_at = |position| {
            let piece = self.pieces.get(self.find(position));
            piece.filter(|piece| piece.start < position)
        };
        let first = piece_at(start).map_or(start, |piece| {
            let whole = (start - piece.start).next_multiple_of(mss);
            piece.end.min(piece.start + whole)
        });
        let last = match piece_at(end) {
            Some(piece) if piece.end > end => end - (end - piece.start) % mss,
            _ => end,
        };
        (first, last.max(first))
    }

    fn covers_news(&self, start: u64, end: u64) -> bool {
        let from = self.find(start);
        let within = self.pieces.range(from..).take_while(|it| it.start < end);
        within.into_iter().any(|piece| piece.fate != Fate::Sacked)
    }

    /// True when the octet at `position` is SACKed.
    #[must_use]
    pub fn is_sacked(&self, position: u64) -> bool {
        let piece = self.pieces.get(self.find(position));
        piece.is_some_and(|piece| piece.start <= position && piece.fate == Fate::Sacked)
    }

    /// Asks about every outstanding piece, in the order of the stream; returns the bytes that became lost.
    pub fn examine(&mut self, mut judge: impl FnMut(&Piece) -> Verdict) -> u64 {
        let before = self.lost;
        for index in 0..self.pieces.len() {
            if self.pieces[index].fate != Fate::Outstanding {
                continue;
            }
            match judge(&self.pieces[index]) {
                Verdict::Keep => {}
                Verdict::Lose => {
                    if let Some(reports) = &mut self.reports {
                        reports.push(self.pieces[index]);
                    }
                    self.set_fate(index, Fate::Lost);
                }
                Verdict::Stop => break,
            }
        }
        self.lost - before
    }

    /// The outstanding part of the stretch is lost; returns how many bytes that is.
    pub fn lose(&mut self, start: u64, end: u64) -> u64 {
        if !self.split(start) || !self.split(end) {
            return 0;
        }
        self.examine(|piece| {
            if piece.start >= end {
                Verdict::Stop
            } else if piece.start >= start {
                Verdict::Lose
            } else {
                Verdict::Keep
            }
        })
    }

    /// Nothing was lost after all.
    pub fn forgive(&mut self) {
        for index in 0..self.pieces.len() {
            if self.pieces[index].fate == Fate::Lost {
                self.set_fate(index, Fate::Outstanding);
            }
        }
    }

    /// The receiver may have thrown away what it SACKed (RFC 2018 §8).
    pub fn distrust(&mut self) {
        for index in 0..self.pieces.len() {
            if self.pieces[index].fate == Fate::Sacked {
                self.set_fate(index, Fate::Lost);
            }
        }
    }

    /// The first stretch that is lost, as long as it goes without a gap.
    #[must_use]
    pub fn first_lost(&self) -> Option<(u64, u64)> {
        if self.lost == 0 {
            return None;
        }
        let mut lost = self
            .pieces
            .iter()
            .skip_while(|piece| piece.fate != Fate::Lost)
            .take_while(|piece| piece.fate == Fate::Lost);
        let first = lost.next()?;
        let end = lost.last().map_or(first.end, |piece| piece.end);
        Some((first.start, end))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const BASE: u64 = 1 << 34;

    fn at(ms: u64) -> Instant {
        Instant::from_millis(ms)
    }

    /// Ten pieces of ten octets, the n-th sent at n ms.
    fn ten() -> Flight {
        let mut flight = Flight::default();
        for n in 0..10 {
            let start = BASE + 10 * n;
            flight.send(start, start + 10, 1, at(n), Stamp::default());
        }
        flight
    }

    #[derive(Clone, Debug)]
    enum Step {
        Send(u64),
        Sack(u64, u64),
        Lose(u64, u64),
        ResendLost,
        Acknowledge(u64),
        Forgive,
        Distrust,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            3 => (1u64..60).prop_map(Step::Send),
            4 => (0u64..300, 1u64..50).prop_map(|(a, b)| Step::Sack(a, b)),
            3 => (0u64..300, 1u64..50).prop_map(|(a, b)| Step::Lose(a, b)),
            2 => Just(Step::ResendLost),
            2 => (0u64..60).prop_map(Step::Acknowledge),
            1 => Just(Step::Forgive),
            1 => Just(Step::Distrust),
        ]
    }

    proptest! {
        /// A flag for every octet says the same.
        #[test]
        fn it_agrees_with_a_flag_per_octet(steps in prop::collection::vec(step(), 1..60)) {
            let mut flight = Flight::default();
            let (mut una, mut model) = (BASE, Vec::<Fate>::new());
            for step in steps {
                let nxt = una + model.len() as u64;
                let range = |from: u64, len: u64| {
                    let start = (una + from).min(nxt);
                    (start, (start + len).min(nxt))
                };
                let mut news = 0;
                match step {
                    Step::Send(len) => {
                        flight.send(nxt, nxt + len, 1, at(0), Stamp::default());
                        model.extend((0..len).map(|_| Fate::Outstanding));
                    }
                    Step::Sack(from, len) => {
                        let (start, end) = range(from, len);
                        flight.sack(start, end, |piece| news += piece.bytes());
                        for fate in &mut model[(start - una) as usize..(end - una) as usize] {
                            news -= u64::from(*fate != Fate::Sacked);
                            *fate = Fate::Sacked;
                        }
                    }
                    Step::Lose(from, len) => {
                        let (start, end) = range(from, len);
                        news += flight.lose(start, end);
                        for fate in &mut model[(start - una) as usize..(end - una) as usize] {
                            if *fate == Fate::Outstanding {
                                *fate = Fate::Lost;
                                news -= 1;
                            }
                        }
                    }
                    Step::ResendLost => {
                        let lost = model.iter().position(|&fate| fate == Fate::Lost);
                        let stretch = flight.first_lost();
                        prop_assert_eq!(stretch.map(|it| it.0), lost.map(|at| una + at as u64));
                        if let Some((start, end)) = stretch {
                            flight.resend(start, end, 1, at(1), Stamp::default());
                            for fate in &mut model[(start - una) as usize..(end - una) as usize] {
                                prop_assert_eq!(*fate, Fate::Lost);
                                *fate = Fate::Outstanding;
                            }
                        }
                    }
                    Step::Acknowledge(len) => {
                        let to = (una + len).min(nxt);
                        flight.acknowledge(to, |piece| news += piece.bytes());
                        news -= to - una;
                        model.drain(..(to - una) as usize);
                        una = to;
                    }
                    Step::Forgive => {
                        flight.forgive();
                        model.iter_mut().filter(|fate| **fate == Fate::Lost)
                            .for_each(|fate| *fate = Fate::Outstanding);
                    }
                    Step::Distrust => {
                        flight.distrust();
                        model.iter_mut().filter(|fate| **fate == Fate::Sacked)
                            .for_each(|fate| *fate = Fate::Lost);
                    }
                }
                prop_assert_eq!(news, 0);
                let octets: Vec<Fate> = flight.pieces()
                    .flat_map(|piece| (piece.start..piece.end).map(|_| piece.fate))
                    .collect();
                prop_assert_eq!(&octets, &model);
                let count = |fate| model.iter().filter(|&&it| it == fate).count() as u64;
                prop_assert_eq!(flight.outstanding(), count(Fate::Outstanding));
                prop_assert_eq!(flight.sacked(), count(Fate::Sacked));
                prop_assert_eq!(flight.lost(), count(Fate::Lost));
                prop_assert!(flight.pieces().all(|piece| piece.segments > 0));
                for (n, fate) in model.iter().enumerate() {
                    prop_assert_eq!(flight.is_sacked(una + n as u64), *fate == Fate::Sacked);
                }
            }
        }
    }

    #[test]
    fn a_piece_knows_when_and_how_often_it_was_sent() {
        let mut flight = ten();
        flight.lose(BASE + 15, BASE + 35);
        flight.resend(BASE + 15, BASE + 35, 2, at(50), Stamp::default());
        let times: Vec<(u64, u8)> = flight
            .pieces()
            .map(|piece| (piece.bytes(), piece.times))
            .collect();
        assert_eq!(times[..4], [(10, 1), (5, 1), (20, 2), (5, 1)]);
        assert_eq!(
            flight.pieces().nth(2).map(|piece| piece.sent_at),
            Some(at(50))
        );
    }

    #[test]
    fn a_part_of_a_segment_is_none() {
        let mut flight = Flight::default();
        flight.send(1, 4501, 5, at(0), Stamp::default());
        flight.send(4501, 5501, 1, at(0), Stamp::default());
        let whole = |start, end| flight.whole_segments(start, end, 1000);
        assert_eq!(whole(1001, 3001), (1001, 3001));
        assert_eq!(
            whole(4000, 4501),
            (4001, 4501),
            "the last of a piece is shorter"
        );
        assert_eq!(whole(1500, 4200), (2001, 4001));
        assert_eq!(whole(1500, 1900), (2001, 2001), "nothing");
        assert_eq!(whole(4300, 5501), (4501, 5501));
        assert_eq!(whole(4501, 5000), (4501, 4501));
    }

    #[test]
    fn segments_of_a_large_piece_are_counted_as_they_are_sacked() {
        let mut flight = Flight::default();
        flight.send(0, 44_000, 44, at(0), Stamp::default());
        flight.sack(1000, 3000, |_| {});
        flight.sack(10_000, 11_000, |_| {});
        assert_eq!(flight.sacked_segments(), 3);
        flight.acknowledge(3000, |_| {});
        assert_eq!(flight.sacked_segments(), 1);
    }

    #[test]
    fn the_number_of_pieces_is_bounded_whatever_is_written_and_sacked() {
        let mut flight = Flight::default();
        for n in 0..40_000 {
            flight.send(2 * n, 2 * n + 2, 1, at(n), Stamp::default());
        }
        assert_eq!((flight.outstanding(), flight.end()), (80_000, 80_000));
        for n in 0..40_000 {
            flight.sack(2 * n + 1, 2 * n + 2, |_| {});
        }
        assert!(flight.pieces().count() <= 2 * MAX_PIECES);
        assert_eq!(flight.outstanding() + flight.sacked(), 80_000);
    }
}
