//! What the application has written and the peer has not acknowledged.
//!
//! Bytes are kept as they came (`Bytes`, by reference) or are copied once, small writes together into
//! blocks. Every transmission refers to the same memory. A queue with nothing in it owns no heap.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};
use smallvec::SmallVec;

use super::cuts::Cuts;

/// Writes of at least this many bytes get memory of their own.
const LARGE_WRITE_BYTES: usize = 16 << 10;
/// Largest piece that one write is copied to, so that acknowledged memory is given back in steps.
const MAX_CHUNK_BYTES: usize = 64 << 10;
const MIN_BLOCK_BYTES: usize = 512;
const MAX_BLOCK_BYTES: usize = 32 << 10;
/// Slices of one segment: the kernel takes 1024 buffers in one call, but long lists cost more than a
/// second segment.
pub const MAX_SLICES: usize = 64;

/// Bytes from `start` (`snd.una`, once the SYN is acknowledged) to `end`.
#[derive(Clone, Debug)]
pub struct SendQueue {
    start: u64,
    end: u64,
    detail: Option<Box<Detail>>,
}

#[derive(Clone, Debug, Default)]
struct Detail {
    chunks: VecDeque<Chunk>,
    /// Small writes that no segment refers to yet; its spare capacity takes the next ones.
    open: BytesMut,
    /// Bytes of all chunks, of the parts already acknowledged too.
    chunk_bytes: usize,
    /// Index of the chunk in which the last [`SendQueue::slices`] ended: the next begins there.
    cursor: usize,
    cuts: Cuts,
    /// Up to here what was written is to be handed over.
    pushed: u64,
    /// Bytes that may be queued, if more than at first.
    granted: usize,
}

#[derive(Clone, Debug)]
struct Chunk {
    start: u64,
    bytes: Bytes,
}

impl Chunk {
    fn end(&self) -> u64 {
        self.start + self.bytes.len() as u64
    }
}

/// The detail of a queue that ends at `end`, if it has none yet.
fn detail_of(detail: &mut Option<Box<Detail>>, end: u64) -> &mut Detail {
    detail.get_or_insert_with(|| {
        Box::new(Detail {
            pushed: end,
            ..Detail::default()
        })
    })
}

impl SendQueue {
    /// An empty queue whose first byte will have the position `start`.
    #[must_use]
    pub const fn new(start: u64) -> Self {
        Self {
            start,
            end: start,
            detail: None,
        }
    }

    /// Position of the first byte kept.
    #[must_use]
    pub const fn start(&self) -> u64 {
        self.start
    }

    /// Position after the last byte.
    #[must_use]
    pub const fn end(&self) -> u64 {
        self.end
    }

    /// Bytes kept.
    #[must_use]
    pub const fn len(&self) -> usize {
        (self.end - self.start) as usize
    }

    /// True when all is acknowledged.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.end == self.start
    }

    /// Appends `bytes` by reference.
    pub fn push(&mut self, bytes: Bytes) {
        if bytes.is_empty() {
            return;
        }
        let detail = detail_of(&mut self.detail, self.end);
        detail.close(self.end);
        let len = bytes.len() as u64;
        detail.append(self.end, bytes);
        self.end += len;
    }

    /// Appends a copy of `bytes`: the only time that they are copied.
    pub fn push_copy(&mut self, bytes: &[u8]) {
        if bytes.len() >= LARGE_WRITE_BYTES {
            for piece in bytes.chunks(MAX_CHUNK_BYTES) {
                self.push(Bytes::copy_from_slice(piece));
            }
            return;
        }
        if bytes.is_empty() {
            return;
        }
        let queued = self.len();
        let detail = detail_of(&mut self.detail, self.end);
        let room = detail.open.capacity() - detail.open.len();
        let (fits, rest) = bytes.split_at(bytes.len().min(room));
        detail.open.extend_from_slice(fits);
        self.end += fits.len() as u64;
        if !rest.is_empty() {
            detail.close(self.end);
            // Blocks grow with what is queued, so that one small request costs little memory and many
            // small writes cost few blocks.
            let block = queued
                .clamp(MIN_BLOCK_BYTES, MAX_BLOCK_BYTES)
                .max(rest.len());
            detail.open = BytesMut::with_capacity(block);
            detail.open.extend_from_slice(rest);
            self.end += rest.len() as u64;
        }
    }

    /// Bytes that may be queued while there is something in it, if more than at first.
    pub(super) fn granted(&self) -> usize {
        self.detail.as_ref().map_or(0, |detail| detail.granted)
    }

    /// So many may be queued from now on, as long as it does not run empty.
    pub(super) fn grant(&mut self, bytes: usize) {
        if let Some(detail) = &mut self.detail {
            detail.granted = detail.granted.max(bytes);
        }
    }

    /// No segment reaches over the present end; `record`: because its writer said so.
    pub(super) fn cut(&mut self, record: bool) {
        if let Some(detail) = &mut self.detail {
            detail.cuts.mark(self.end, record);
        }
    }

    /// A piece ends here ([`super::cuts`]). As Linux, PSH goes with it if more than `half_window` was written since the last.
    pub(super) fn end_piece(&mut self, half_window: u64) {
        let Some(detail) = &mut self.detail else {
            return;
        };
        detail.cuts.mark(self.end, false);
        if self.end - detail.pushed.min(self.end) > half_window {
            detail.cuts.push_last();
            detail.pushed = self.end;
        }
    }

    /// A write ends here: what is sent up to here is handed over.
    pub(super) fn note_pushed(&mut self) {
        if let Some(detail) = &mut self.detail {
            detail.pushed = self.end;
        }
    }

    /// True if what ends at `position` is to be handed over although more follows.
    pub(super) fn pushes(&self, position: u64) -> bool {
        let detail = self.detail.as_ref();
        detail.is_some_and(|detail| detail.cuts.pushes(position))
    }

    /// What is written next joins what is at the end, unless that was said to be a record.
    pub(super) fn join(&mut self) {
        if let Some(detail) = &mut self.detail {
            detail.cuts.unmark(self.end);
        }
    }

    /// How far a segment that begins at `from` may reach.
    pub(super) fn reach(&self, from: u64) -> u64 {
        let cut = self
            .detail
            .as_ref()
            .and_then(|detail| detail.cuts.next(from));
        cut.unwrap_or(self.end).min(self.end)
    }

    /// True if a record was said to end at `position`, and is not acknowledged yet.
    pub(super) fn ends_record(&self, position: u64) -> bool {
        let detail = self.detail.as_ref();
        detail.is_some_and(|detail| detail.cuts.ends_record(position))
    }

    /// Adds slices for up to `len` bytes from position `from` on to `into`, no more than fit
    /// [`MAX_SLICES`], and returns how many bytes they hold. Constant time when called for one stretch
    /// after the other, logarithmic elsewhere.
    pub fn slices(&mut self, from: u64, len: usize, into: &mut SmallVec<[Bytes; 3]>) -> usize {
        let from = from.max(self.start);
        let until = self.end.min(from.saturating_add(len as u64));
        if from >= until {
            return 0;
        }
        let end = self.end;
        let Some(detail) = &mut self.detail else {
            return 0;
        };
        if until > detail.chunks_end(self.start) {
            detail.close(end);
        }
        let mut index = detail.find(from);
        let mut at = from;
        while at < until && into.len() < MAX_SLICES {
            let Some(chunk) = detail.chunks.get(index) else {
                break;
            };
            let begin = (at - chunk.start) as usize;
            let stop = (until.min(chunk.end()) - chunk.start) as usize;
            into.push(chunk.bytes.slice(begin..stop));
            at = chunk.start + stop as u64;
            if at == chunk.end() {
                index += 1;
            }
        }
        detail.cursor = index;
        (at - from) as usize
    }

    /// Lets go of everything before `position` (`snd.una` moved there).
    pub fn release_to(&mut self, position: u64) {
        debug_assert!(position <= self.end, "acknowledged what was never queued");
        let position = position.min(self.end);
        if position <= self.start {
            return;
        }
        self.start = position;
        if self.is_empty() {
            self.detail = None;
            return;
        }
        if let Some(detail) = &mut self.detail {
            detail.release_to(position);
        }
    }

    /// Bytes of memory that the queue keeps from others: of the data, and its own.
    #[must_use]
    pub fn heap_bytes(&self) -> usize {
        self.detail.as_ref().map_or(0, |detail| {
            size_of::<Detail>()
                + detail.chunks.capacity() * size_of::<Chunk>()
                + detail.chunk_bytes
                + detail.open.capacity()
                + detail.cuts.heap_bytes()
        })
    }
}

impl Detail {
    /// Turns the small writes so far into a chunk; the rest of their block stays open.
    fn close(&mut self, end: u64) {
        if !self.open.is_empty() {
            let bytes = self.open.split().freeze();
            self.append(end - bytes.len() as u64, bytes);
        }
    }

    fn append(&mut self, start: u64, bytes: Bytes) {
        self.chunk_bytes += bytes.len();
        self.chunks.push_back(Chunk { start, bytes });
    }

    fn chunks_end(&self, start: u64) -> u64 {
        self.chunks.back().map_or(start, Chunk::end)
    }

    /// Index of the chunk that has the byte at `position`.
    fn find(&self, position: u64) -> usize {
        let has = |chunk: &Chunk| chunk.start <= position && position < chunk.end();
        if self.chunks.get(self.cursor).is_some_and(has) {
            return self.cursor;
        }
        self.chunks.partition_point(|chunk| chunk.end() <= position)
    }

    fn release_to(&mut self, position: u64) {
        self.cuts.release_to(position);
        while let Some(front) = self.chunks.front() {
            if front.end() > position {
                break;
            }
            self.chunk_bytes -= front.bytes.len();
            self.chunks.pop_front();
            self.cursor = self.cursor.saturating_sub(1);
        }
        if self.chunks.capacity() > 64 && self.chunks.len() < self.chunks.capacity() / 8 {
            self.chunks.shrink_to(self.chunks.len() * 2);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Debug)]
    enum Step {
        Push(usize),
        PushCopy(usize),
        Slices(usize, usize),
        Release(usize),
    }

    const LARGEST_WRITE_BYTES: usize = 400_000;

    fn step() -> impl Strategy<Value = Step> {
        let size = prop_oneof![4 => 0usize..40, 2 => 0usize..3000, 1 => 0..LARGEST_WRITE_BYTES];
        prop_oneof![
            size.clone().prop_map(Step::Push),
            size.clone().prop_map(Step::PushCopy),
            (0usize..2_000_000, size.clone()).prop_map(|(from, len)| Step::Slices(from, len)),
            (size).prop_map(Step::Release),
        ]
    }

    fn byte_at(position: u64) -> u8 {
        (position ^ (position >> 8) ^ (position >> 16)) as u8
    }

    proptest! {
        #[test]
        fn slices_are_the_bytes_written(start in 0u64..1 << 40, steps in prop::collection::vec(step(), 1..80)) {
            let mut queue = SendQueue::new(start);
            let mut end = start;
            for step in steps {
                match step {
                    Step::Push(len) | Step::PushCopy(len) => {
                        let data: Vec<u8> = (end..end + len as u64).map(byte_at).collect();
                        if matches!(step, Step::Push(_)) {
                            queue.push(data.into());
                        } else {
                            queue.push_copy(&data);
                        }
                        end += len as u64;
                    }
                    Step::Slices(from, len) => {
                        let from = queue.start() + (from % (queue.len() + 1)) as u64;
                        let mut slices = SmallVec::new();
                        let given = queue.slices(from, len, &mut slices);
                        prop_assert!(given <= len && slices.len() <= MAX_SLICES);
                        prop_assert!(slices.iter().all(|slice| !slice.is_empty()));
                        let all = len.min((end - from) as usize);
                        prop_assert!(given == all || slices.len() == MAX_SLICES);
                        let bytes = slices.concat();
                        prop_assert_eq!(bytes.len(), given);
                        prop_assert!((from..).zip(&bytes).all(|(at, &byte)| byte == byte_at(at)));
                    }
                    Step::Release(len) => {
                        queue.release_to(queue.start() + (len % (queue.len() + 1)) as u64);
                    }
                }
                prop_assert_eq!(queue.end(), end);
                prop_assert!(!queue.is_empty() || queue.heap_bytes() == 0);
                // At most one partly acknowledged piece at the front, and one open block.
                let own = 2 * LARGEST_WRITE_BYTES + 512 * size_of::<Chunk>();
                prop_assert!(queue.heap_bytes() <= 2 * queue.len() + own, "{}", queue.heap_bytes());
            }
        }
    }

    #[test]
    fn small_writes_share_chunks_until_they_are_sent() {
        let mut queue = SendQueue::new(1);
        (0..4000).for_each(|_| queue.push_copy(b"x"));
        let mut slices = SmallVec::new();
        assert_eq!(queue.slices(1, 4000, &mut slices), 4000);
        assert!(slices.len() < 10, "{} slices", slices.len());
    }

    #[test]
    fn retransmission_refers_to_the_same_memory() {
        let mut queue = SendQueue::new(1);
        queue.push_copy(b"small");
        queue.push(Bytes::from_static(b"large"));
        let (mut first, mut again) = (SmallVec::new(), SmallVec::new());
        queue.slices(1, 10, &mut first);
        queue.push_copy(b"more");
        queue.slices(1, 10, &mut again);
        let addresses = |slices: &SmallVec<[Bytes; 3]>| -> Vec<*const u8> {
            slices.iter().map(|slice| slice.as_ptr()).collect()
        };
        assert_eq!(addresses(&first), addresses(&again));
    }

    #[test]
    fn a_piece_is_pushed_when_half_a_window_was_written_since_the_last() {
        let mut queue = SendQueue::new(1);
        let piece = |queue: &mut SendQueue| {
            queue.push_copy(&[0; 988]);
            queue.end_piece(1000);
            queue.pushes(queue.end())
        };
        assert!(!piece(&mut queue), "988 are not more than 1000");
        assert!(piece(&mut queue));
        assert!(!piece(&mut queue), "counted from the last that was");
        queue.note_pushed();
        assert!(!piece(&mut queue), "what its writer ended counts, too");
        assert!(piece(&mut queue));
    }

    #[test]
    fn memory_is_given_back() {
        let mut queue = SendQueue::new(1);
        (0..10_000).for_each(|_| queue.push(Bytes::from_static(b"0123456789")));
        let full = queue.heap_bytes();
        queue.release_to(99_991);
        assert!(queue.heap_bytes() < full / 100);
        queue.release_to(100_001);
        assert_eq!(queue.heap_bytes(), 0);
    }
}
