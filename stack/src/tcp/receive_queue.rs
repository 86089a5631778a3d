//! What the peer has sent and the application has not read: bytes in order, and islands beyond gaps.
//!
//! Large payloads are kept by reference. Small ones are copied together, because a payload pins the
//! whole block that the driver received it into, and one byte must not cost 256 KiB. Bytes that came
//! first win: what is in the queue is never replaced by an overlapping segment.
//!
//! An empty queue owns no heap.

use std::collections::VecDeque;

use arrayvec::ArrayVec;
use bytes::{Buf, Bytes, BytesMut};

use super::gate::Pieces;
use super::islands::Islands;

/// Payloads up to this size are copied.
pub const COPY_BYTES: usize = 2 << 10;
const MIN_BLOCK_BYTES: usize = 512;
const MAX_BLOCK_BYTES: usize = 32 << 10;

/// What became of a payload.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Inserted {
    /// Bytes by which `rcv.nxt` advanced.
    pub advanced: u64,
    /// The first stretch of the payload that was there already, to be reported as RFC 2883 says.
    pub duplicate: Option<(u64, u64)>,
    /// Bytes not kept, because too much is held out of order; the peer will send them again.
    pub dropped: usize,
}

/// Bytes from `consumed` to `next` in order, and islands after that.
#[derive(Clone, Debug)]
pub struct ReceiveQueue {
    next: u64,
    consumed: u64,
    ready: Option<Box<Ready>>,
    islands: Option<Box<Islands>>,
}

/// The bytes in order: first `chunks`, then `open`.
#[derive(Clone, Debug, Default)]
struct Ready {
    chunks: VecDeque<Bytes>,
    /// Small payloads, copied; its spare capacity takes the next ones.
    open: BytesMut,
}

impl ReceiveQueue {
    /// An empty queue that expects the byte at position `next`.
    #[must_use]
    pub const fn new(next: u64) -> Self {
        Self {
            next,
            consumed: next,
            ready: None,
            islands: None,
        }
    }

    /// `rcv.nxt`: position of the first byte that is missing.
    #[must_use]
    pub const fn next(&self) -> u64 {
        self.next
    }

    /// Position of the first byte that the application has not read.
    #[must_use]
    pub const fn consumed(&self) -> u64 {
        self.consumed
    }

    /// Takes the payload that begins at `position`; only its part between `rcv.nxt` and `window_end`
    /// counts.
    pub fn insert(&mut self, position: u64, payload: Bytes, window_end: u64) -> Inserted {
        let mut result = Inserted::default();
        let mut payload = payload;
        let end = position.saturating_add(payload.len() as u64);
        if end > window_end {
            payload.truncate(window_end.saturating_sub(position) as usize);
        }
        let end = position + payload.len() as u64;
        let mut position = position;
        if position < self.next && !payload.is_empty() {
            let known = end.min(self.next);
            result.duplicate = Some((position, known));
            payload.advance((known - position) as usize);
            position = known;
        }
        if payload.is_empty() {
            return result;
        }
        if position == self.next && self.islands.is_none() {
            // The fast path: what comes in order while nothing is missing.
            result.advanced = payload.len() as u64;
            self.append(payload);
            return result;
        }
        self.insert_beside_islands(position, &payload, window_end, &mut result);
        result
    }

    fn insert_beside_islands(
        &mut self,
        position: u64,
        payload: &Bytes,
        window_end: u64,
        result: &mut Inserted,
    ) {
        let before = self.next;
        // Out of order, overhead included, may be held what the window allows and as much again.
        let limit = 2 * (window_end - self.next) as usize;
        let mut islands = self.islands.take().unwrap_or_default();
        if position == self.next {
            let held = islands.trim(position, payload.len() as u64);
            result.duplicate = result.duplicate.or(held.duplicate);
            for (from, until) in held.gaps {
                islands.drain_to(from, |bytes| self.append(bytes));
                let piece = payload.slice((from - position) as usize..(until - position) as usize);
                self.append(piece);
            }
            islands.drain_to(self.next, |bytes| self.append(bytes));
        } else {
            let stored = islands.insert(position, payload, limit);
            result.duplicate = result.duplicate.or(stored.duplicate);
            result.dropped = stored.dropped;
        }
        if !islands.is_empty() {
            self.islands = Some(islands);
        }
        result.advanced = self.next - before;
    }

    /// Appends bytes at `rcv.nxt`.
    fn append(&mut self, payload: Bytes) {
        let queued = self.buffered();
        self.next += payload.len() as u64;
        let ready = self.ready.get_or_insert_default();
        if payload.len() <= COPY_BYTES {
            ready.copy(&payload, queued);
        } else {
            ready.close();
            ready.chunks.push_back(payload);
        }
    }

    /// Bytes that may be read now, if nothing from position `limit` on may.
    #[must_use]
    pub fn readable(&self, limit: u64) -> usize {
        self.next.min(limit).saturating_sub(self.consumed) as usize
    }

    /// Bytes in order and not read.
    #[must_use]
    pub const fn buffered(&self) -> usize {
        (self.next - self.consumed) as usize
    }

    /// Bytes held beyond gaps.
    #[must_use]
    pub fn out_of_order_bytes(&self) -> usize {
        self.islands.as_ref().map_or(0, |islands| islands.bytes())
    }

    /// True when something is held beyond a gap.
    #[must_use]
    pub const fn has_gaps(&self) -> bool {
        self.islands.is_some()
    }

    /// Moves bytes into `into`; none from position `limit` on.
    pub fn read(&mut self, into: &mut [u8], limit: u64) -> usize {
        let want = into.len().min(self.readable(limit));
        let mut rest = &mut into[..want];
        while !rest.is_empty() {
            let taken = self
                .ready
                .as_ref()
                .map_or(0, |ready| ready.copy_front(rest));
            debug_assert!(taken > 0, "counted more than is there");
            if taken == 0 {
                break;
            }
            rest = &mut rest[taken..];
            self.consume(taken);
        }
        want - rest.len()
    }

    /// Takes up to `max` bytes as they lie in memory, without copying; none from position `limit` on.
    pub fn read_bytes(&mut self, max: usize, limit: u64) -> Option<Bytes> {
        let want = max.min(self.readable(limit));
        if want == 0 {
            return None;
        }
        let bytes = self.ready.as_mut()?.split_front(want);
        self.consumed += bytes.len() as u64;
        self.free_if_empty();
        Some(bytes)
    }

    /// Copies bytes into `into` and leaves them in the queue; none from position `limit` on.
    pub fn peek(&self, into: &mut [u8], limit: u64) -> usize {
        let want = into.len().min(self.readable(limit));
        let mut at = 0;
        if let Some(ready) = &self.ready {
            for chunk in ready.slices() {
                let taken = chunk.len().min(want - at);
                into[at..at + taken].copy_from_slice(&chunk[..taken]);
                at += taken;
            }
        }
        at
    }

    /// Drops what is held beyond gaps: the peer will send it again.
    pub fn forget_out_of_order(&mut self) {
        self.islands = None;
    }

    /// Drops everything that was not read, when nobody will read it.
    pub fn discard(&mut self) {
        self.ready = None;
        self.consumed = self.next;
    }

    /// The islands to report (RFC 2018 §4): the one that the last segment came to first, then those
    /// reported most recently.
    #[must_use]
    pub fn sack_blocks(&self) -> ArrayVec<(u64, u64), 4> {
        self.islands
            .as_ref()
            .map_or_else(ArrayVec::new, |islands| islands.sack_blocks())
    }

    /// The bytes in order that were not read, from [`Self::consumed`] on: to be exported.
    pub fn in_order(&self) -> impl Iterator<Item = Bytes> + '_ {
        self.ready.iter().flat_map(|ready| {
            let open = (!ready.open.is_empty()).then(|| Bytes::copy_from_slice(&ready.open));
            ready.chunks.iter().cloned().chain(open)
        })
    }

    /// The bytes in order from position `from` on, which were not read.
    #[must_use]
    pub fn pieces(&self, from: u64) -> Pieces {
        let mut skip = from.saturating_sub(self.consumed) as usize;
        let mut pieces = Pieces::new();
        let Some(ready) = self.ready.as_ref().filter(|_| from < self.next) else {
            return pieces;
        };
        for chunk in &ready.chunks {
            if skip < chunk.len() {
                pieces.push(chunk.slice(skip..));
            }
            skip = skip.saturating_sub(chunk.len());
        }
        if skip < ready.open.len() {
            pieces.push(Bytes::copy_from_slice(&ready.open[skip..]));
        }
        pieces
    }

    /// What is held beyond gaps, by position: to be exported.
    pub fn out_of_order(&self) -> impl Iterator<Item = (u64, Bytes)> + '_ {
        self.islands.iter().flat_map(|islands| islands.pieces())
    }

    fn consume(&mut self, bytes: usize) {
        self.consumed += bytes as u64;
        if let Some(ready) = &mut self.ready {
            ready.advance(bytes);
        }
        self.free_if_empty();
    }

    fn free_if_empty(&mut self) {
        if self.consumed == self.next {
            self.ready = None;
        }
    }
}

impl Ready {
    /// Turns the copied bytes into a chunk; the rest of their block stays open.
    fn close(&mut self) {
        if !self.open.is_empty() {
            self.chunks.push_back(self.open.split().freeze());
        }
    }

    fn copy(&mut self, payload: &[u8], queued: usize) {
        let room = self.open.capacity() - self.open.len();
        let (fits, rest) = payload.split_at(payload.len().min(room));
        self.open.extend_from_slice(fits);
        if !rest.is_empty() {
            self.close();
            // Blocks grow with what is queued: little memory for one small request, few blocks for a
            // reader that lags.
            let block = queued
                .clamp(MIN_BLOCK_BYTES, MAX_BLOCK_BYTES)
                .max(2 * rest.len());
            self.open = BytesMut::with_capacity(block);
            self.open.extend_from_slice(rest);
        }
    }

    fn slices(&self) -> impl Iterator<Item = &[u8]> {
        let open = (!self.open.is_empty()).then_some(&self.open[..]);
        self.chunks.iter().map(|chunk| &chunk[..]).chain(open)
    }

    /// Copies from the first piece only.
    fn copy_front(&self, into: &mut [u8]) -> usize {
        let front = self.slices().next().unwrap_or_default();
        let taken = front.len().min(into.len());
        into[..taken].copy_from_slice(&front[..taken]);
        taken
    }

    /// Removes `bytes` from the first piece, which has at least as many.
    fn advance(&mut self, bytes: usize) {
        match self.chunks.front_mut() {
            Some(front) if front.len() == bytes => drop(self.chunks.pop_front()),
            Some(front) => front.advance(bytes),
            None => self.open.advance(bytes),
        }
    }

    /// Takes up to `want` bytes from the first piece.
    fn split_front(&mut self, want: usize) -> Bytes {
        match self.chunks.front_mut() {
            Some(front) if front.len() <= want => self.chunks.pop_front().unwrap_or_default(),
            Some(front) => front.split_to(want),
            None => self.open.split_to(want.min(self.open.len())).freeze(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    const START: u64 = 1 << 33;

    fn byte_at(position: u64, salt: u8) -> u8 {
        (position ^ (position >> 8) ^ (position >> 16)) as u8 ^ salt
    }

    fn payload(position: u64, len: usize, salt: u8) -> Bytes {
        let bytes: Vec<u8> = (position..position + len as u64)
            .map(|at| byte_at(at, salt))
            .collect();
        bytes.into()
    }

    #[derive(Clone, Debug)]
    enum Step {
        /// Offset from `next`, length, salt (so that overlapping segments differ).
        Insert(i64, usize, u8),
        Read(usize),
        ReadBytes(usize),
        Peek(usize),
    }

    fn step() -> impl Strategy<Value = Step> {
        let offset = prop_oneof![3 => Just(0i64), 5 => -50i64..300, 1 => -3000i64..6000];
        let len = prop_oneof![9 => 0usize..100, 1 => 0usize..4000];
        prop_oneof![
            6 => (offset, len, 0u8..3).prop_map(|(at, len, salt)| Step::Insert(at, len, salt)),
            1 => (0usize..5000).prop_map(Step::Read),
            1 => (0usize..5000).prop_map(Step::ReadBytes),
            1 => (0usize..5000).prop_map(Step::Peek),
        ]
    }

    /// One entry per byte: what first came to each position.
    #[derive(Default)]
    struct Model {
        bytes: BTreeMap<u64, u8>,
        consumed: u64,
    }

    impl Model {
        fn next(&self) -> u64 {
            let mut at = self.consumed;
            while self.bytes.contains_key(&at) {
                at += 1;
            }
            at
        }

        fn front(&self, len: usize, limit: u64) -> Vec<u8> {
            let end = self.next().min(limit).min(self.consumed + len as u64);
            (self.consumed..end).map(|at| self.bytes[&at]).collect()
        }

        fn islands(&self) -> Vec<(u64, u64)> {
            let mut islands: Vec<(u64, u64)> = Vec::new();
            for (&at, _) in self.bytes.range(self.next()..) {
                match islands.last_mut() {
                    Some(last) if last.1 == at => last.1 += 1,
                    _ => islands.push((at, at + 1)),
                }
            }
            islands
        }
    }

    proptest! {
        #[test]
        fn it_is_the_stream_that_came_first(steps in prop::collection::vec(step(), 1..60), held in 0u64..2000) {
            let mut queue = ReceiveQueue::new(START);
            let mut model = Model { consumed: START, ..Model::default() };
            for step in steps {
                let limit = queue.next() - held.min(queue.buffered() as u64);
                match step {
                    Step::Insert(offset, len, salt) => {
                        let at = queue.next().saturating_add_signed(offset);
                        let window_end = queue.next() + 1_000_000;
                        let before = model.next();
                        let known: Vec<u64> = (at..at + len as u64)
                            .filter(|at| *at < before || model.bytes.contains_key(at))
                            .collect();
                        let result = queue.insert(at, payload(at, len, salt), window_end);
                        prop_assert_eq!(result.dropped, 0);
                        for at in (at..at + len as u64).filter(|at| *at >= before) {
                            model.bytes.entry(at).or_insert(byte_at(at, salt));
                        }
                        prop_assert_eq!(result.advanced, model.next() - before);
                        prop_assert_eq!(result.duplicate.map(|d| d.0), known.first().copied());
                        let blocks = queue.sack_blocks();
                        let islands = model.islands();
                        prop_assert_eq!(blocks.is_empty(), islands.is_empty());
                        prop_assert!(blocks.iter().all(|block| islands.contains(block)));
                        if let Some(&first) = blocks.first() && at > before && len > 0 {
                            prop_assert!(first.0 < at + len as u64 && at < first.1);
                        }
                        let held: u64 = islands.iter().map(|(start, end)| end - start).sum();
                        prop_assert_eq!(queue.out_of_order_bytes() as u64, held);
                    }
                    Step::Read(len) => {
                        let mut into = vec![0; len];
                        let read = queue.read(&mut into, limit);
                        prop_assert_eq!(&into[..read], &model.front(len, limit)[..]);
                        model.consumed += read as u64;
                    }
                    Step::ReadBytes(len) => {
                        let bytes = queue.read_bytes(len, limit).unwrap_or_default();
                        let front = model.front(len, limit);
                        prop_assert!(front.starts_with(&bytes) && bytes.is_empty() == front.is_empty());
                        model.consumed += bytes.len() as u64;
                    }
                    Step::Peek(len) => {
                        let mut into = vec![0; len];
                        let peeked = queue.peek(&mut into, limit);
                        prop_assert_eq!(&into[..peeked], &model.front(len, limit)[..]);
                    }
                }
                prop_assert_eq!(queue.next(), model.next());
                prop_assert_eq!(queue.consumed(), model.consumed);
                prop_assert_eq!(queue.has_gaps(), !model.islands().is_empty());
                let exported: Vec<u8> = queue.in_order().flatten().collect();
                prop_assert_eq!(exported, model.front(usize::MAX >> 1, u64::MAX));
            }
        }
    }

    #[test]
    fn bytes_beyond_the_window_do_not_count() {
        let mut queue = ReceiveQueue::new(0);
        let result = queue.insert(0, payload(0, 100, 0), 60);
        assert_eq!((result.advanced, queue.next()), (60, 60));
        assert_eq!(queue.insert(60, payload(60, 9, 0), 60), Inserted::default());
        assert_eq!(queue.insert(90, payload(90, 9, 0), 60), Inserted::default());
    }

    #[test]
    fn a_small_payload_does_not_pin_its_block_and_a_large_one_is_not_copied() {
        let block = Bytes::from(vec![7; 256 << 10]);
        let mut queue = ReceiveQueue::new(0);
        queue.insert(0, block.slice(..1), 1 << 20);
        queue.insert(5, block.slice(5..6), 1 << 20);
        assert!(block.is_unique());
        queue.insert(6, block.slice(6..5000), 1 << 20);
        queue.insert(1, block.slice(1..5), 1 << 20);
        queue.read(&mut [0; 6], u64::MAX);
        assert_eq!(
            queue.read_bytes(4, u64::MAX).unwrap().as_ptr(),
            block[6..].as_ptr()
        );
    }

    #[test]
    fn the_island_touched_last_is_reported_first() {
        let mut queue = ReceiveQueue::new(0);
        for at in [10, 30, 50, 70, 90] {
            queue.insert(at, payload(at, 10, 0), 1000);
        }
        queue.insert(35, payload(35, 10, 0), 1000);
        let blocks = queue.sack_blocks();
        assert_eq!(blocks.as_slice(), [(30, 45), (90, 100), (70, 80), (50, 60)]);
        queue.insert(0, payload(0, 45, 0), 1000);
        assert_eq!(queue.sack_blocks()[0], (90, 100));
    }

    #[test]
    fn memory_out_of_order_is_bounded_and_an_empty_queue_has_none() {
        let mut queue = ReceiveQueue::new(0);
        let window = 1 << 20;
        let dropped: usize = (0..window / 2)
            .map(|n| queue.insert(2 * n + 1, payload(n, 1, 0), window).dropped)
            .sum();
        assert!(dropped > 0);
        assert!(queue.out_of_order().count() <= super::super::islands::MAX_ISLANDS);
        queue.insert(0, payload(0, window as usize, 1), window);
        assert_eq!(queue.next(), window);
        while queue.read_bytes(usize::MAX, u64::MAX).is_some() {}
        assert!(queue.ready.is_none() && queue.islands.is_none());
    }
}
