//! Data received beyond a gap, until the gap is filled (RFC 9293 §3.10.7.4; RFC 2018 for the reports).
//!
//! Pieces never overlap: bytes that came first stay. The number of islands and the memory of the pieces
//! are bounded; what does not fit is dropped, and the peer sends it again.

use std::collections::{BTreeMap, VecDeque};

use arrayvec::ArrayVec;
use bytes::Bytes;
use smallvec::SmallVec;

use super::receive_queue::COPY_BYTES;

/// Islands held at once.
pub const MAX_ISLANDS: usize = 1024;
/// Memory that a piece costs besides its bytes: a tree entry, a header, the allocator.
const PIECE_OVERHEAD_BYTES: usize = 128;
/// Recently touched islands remembered; more than are reported, since some merge.
const RECENT: usize = 8;

/// Non-overlapping pieces by position, and the contiguous stretches that they form.
#[derive(Clone, Debug, Default)]
pub struct Islands {
    pieces: BTreeMap<u64, Bytes>,
    /// Start and end, sorted, with gaps between them.
    islands: VecDeque<(u64, u64)>,
    /// A position in each of the islands touched last, latest first.
    recent: ArrayVec<u64, RECENT>,
    bytes: usize,
}

/// What became of a payload beyond a gap.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stored {
    /// The first stretch that was there already.
    pub duplicate: Option<(u64, u64)>,
    /// Bytes not kept.
    pub dropped: usize,
}

/// How a stretch of the stream divides into what is held and what is not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trimmed {
    /// The first part that is held.
    pub duplicate: Option<(u64, u64)>,
    /// The parts that are not held, in order.
    pub gaps: SmallVec<[(u64, u64); 4]>,
}

impl Islands {
    /// True when nothing is held.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    /// Bytes held, without overhead.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Pieces by position.
    pub fn pieces(&self) -> impl Iterator<Item = (u64, Bytes)> + '_ {
        self.pieces.iter().map(|(&at, bytes)| (at, bytes.clone()))
    }

    /// Divides the `len` bytes from `start` on into what is held and what is not.
    #[must_use]
    pub fn trim(&self, start: u64, len: u64) -> Trimmed {
        let end = start + len;
        let mut trimmed = Trimmed::default();
        let mut at = start;
        let first = self.islands.partition_point(|island| island.1 <= start);
        for &(from, until) in self.islands.range(first..) {
            if from >= end {
                break;
            }
            if from > at {
                trimmed.gaps.push((at, from));
            }
            let held = (from.max(start), until.min(end));
            trimmed.duplicate.get_or_insert(held);
            at = held.1;
        }
        if at < end {
            trimmed.gaps.push((at, end));
        }
        trimmed
    }

    /// Keeps what is new of `payload`, as long as all that is held, with overhead, stays within `limit`
    /// bytes.
    pub fn insert(&mut self, position: u64, payload: &Bytes, limit: usize) -> Stored {
        let trimmed = self.trim(position, payload.len() as u64);
        let mut stored = Stored {
            duplicate: trimmed.duplicate,
            dropped: 0,
        };
        for (from, until) in trimmed.gaps {
            let len = (until - from) as usize;
            let held = self.bytes + (self.pieces.len() + 1) * PIECE_OVERHEAD_BYTES;
            if held + len > limit || !self.mark(from, until) {
                stored.dropped += len;
                continue;
            }
            let piece = payload.slice((from - position) as usize..(until - position) as usize);
            let piece = if len <= COPY_BYTES {
                Bytes::copy_from_slice(&piece)
            } else {
                piece
            };
            self.pieces.insert(from, piece);
            self.bytes += len;
        }
        self.touch(position, position + payload.len() as u64);
        stored
    }

    /// Adds a stretch that overlaps no island; false if that would be one island too many.
    fn mark(&mut self, start: u64, end: u64) -> bool {
        let index = self.islands.partition_point(|island| island.1 < start);
        let joins_left = self.islands.get(index).is_some_and(|left| left.1 == start);
        let right = index + usize::from(joins_left);
        let joins_right = self.islands.get(right).is_some_and(|right| right.0 == end);
        match (joins_left, joins_right) {
            (true, true) => {
                self.islands[index].1 = self.islands[right].1;
                self.islands.remove(right);
            }
            (true, false) => self.islands[index].1 = end,
            (false, true) => self.islands[index].0 = start,
            (false, false) if self.islands.len() >= MAX_ISLANDS => return false,
            (false, false) => self.islands.insert(index, (start, end)),
        }
        true
    }

    /// Remembers the island that has bytes of `start..end` as the one touched last.
    fn touch(&mut self, start: u64, end: u64) {
        let index = self.islands.partition_point(|island| island.1 <= start);
        let Some(&(from, until)) = self.islands.get(index).filter(|island| island.0 < end) else {
            return;
        };
        self.recent.retain(|at| !(from..until).contains(at));
        self.recent.truncate(RECENT - 1);
        self.recent.insert(0, from.max(start));
    }

    /// Hands over, in order, the bytes that follow without a gap up to and including the island that
    /// holds or ends before `position`; islands behind a gap stay.
    pub fn drain_to(&mut self, position: u64, mut take: impl FnMut(Bytes)) {
        while let Some(&(start, end)) = self.islands.front() {
            if start > position {
                break;
            }
            self.islands.pop_front();
            self.recent.retain(|at| *at >= end);
            while let Some(entry) = self.pieces.first_entry() {
                if *entry.key() >= end {
                    break;
                }
                let piece = entry.remove();
                self.bytes -= piece.len();
                take(piece);
            }
        }
    }

    /// Up to four islands, latest touched first.
    #[must_use]
    pub fn sack_blocks(&self) -> ArrayVec<(u64, u64), 4> {
        let mut blocks = ArrayVec::<_, 4>::new();
        for &at in &self.recent {
            let index = self.islands.partition_point(|island| island.1 <= at);
            if let Some(&island) = self.islands.get(index)
                && island.0 <= at
                && !blocks.contains(&island)
                && blocks.try_push(island).is_err()
            {
                break;
            }
        }
        blocks
    }
}
