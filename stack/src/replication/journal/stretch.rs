//! Bytes of a stream, from one position to another.

use std::collections::VecDeque;

use bytes::{Buf, Bytes, BytesMut};

/// Blocks are no larger, so that a long stretch grows without being copied.
const BLOCK_BYTES: usize = 128 << 10;

/// A stretch of a stream. Empty, it owns no heap.
#[derive(Clone, Debug)]
pub(crate) struct Stretch {
    start: u64,
    len: usize,
    full: VecDeque<Bytes>,
    open: BytesMut,
}

impl Stretch {
    pub(crate) fn new(start: u64) -> Self {
        Self {
            start,
            len: 0,
            full: VecDeque::new(),
            open: BytesMut::new(),
        }
    }

    pub(crate) const fn start(&self) -> u64 {
        self.start
    }

    pub(crate) const fn end(&self) -> u64 {
        self.start + self.len as u64
    }

    pub(crate) const fn len(&self) -> usize {
        self.len
    }

    /// Appends a copy, so that nothing else is kept for it.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.len += bytes.len();
        let mut rest = bytes;
        while !rest.is_empty() {
            if self.open.len() >= BLOCK_BYTES {
                // Where one block was filled, another one will be: it need not grow as the first one did.
                let next = BytesMut::with_capacity(BLOCK_BYTES);
                let filled = std::mem::replace(&mut self.open, next);
                self.full.push_back(filled.freeze());
            }
            let (fits, more) = rest.split_at(rest.len().min(BLOCK_BYTES - self.open.len()));
            self.open.extend_from_slice(fits);
            rest = more;
        }
    }

    /// Drops what is before `position`, which may be beyond the end: then nothing is left, and it goes on
    /// there.
    pub(crate) fn drop_before(&mut self, position: u64) {
        if position >= self.end() {
            *self = Self::new(position);
            return;
        }
        while position > self.start {
            let drop = (position - self.start) as usize;
            let dropped = match self.full.front_mut() {
                Some(front) if front.len() <= drop => {
                    let dropped = front.len();
                    self.full.pop_front();
                    dropped
                }
                Some(front) => {
                    front.advance(drop);
                    drop
                }
                None => {
                    self.open.advance(drop);
                    drop
                }
            };
            self.start += dropped as u64;
            self.len -= dropped;
        }
    }

    /// The bytes, in order.
    pub(crate) fn pieces(&self) -> impl Iterator<Item = Bytes> + '_ {
        let open = (!self.open.is_empty()).then(|| Bytes::copy_from_slice(&self.open));
        self.full.iter().cloned().chain(open)
    }

    /// The bytes from `position` to the end of their block; none at the end of the stretch.
    pub(crate) fn piece_at(&self, position: u64) -> Option<Bytes> {
        let mut skip = usize::try_from(position.checked_sub(self.start)?).ok()?;
        if skip >= self.len {
            return None;
        }
        // Of all full blocks only the first may be shorter.
        let first = self.full.front().map_or(0, Bytes::len);
        let mut block = 0;
        if skip >= first {
            skip -= first;
            block = usize::from(first > 0) + skip / BLOCK_BYTES;
            skip %= BLOCK_BYTES;
        }
        Some(match self.full.get(block) {
            Some(full) => full.slice(skip..),
            None => Bytes::copy_from_slice(&self.open[skip..]),
        })
    }

    /// In one piece.
    pub(crate) fn to_bytes(&self) -> Bytes {
        let mut all = BytesMut::with_capacity(self.len);
        self.pieces()
            .for_each(|piece| all.extend_from_slice(&piece));
        all.freeze()
    }
}

impl PartialEq for Stretch {
    /// How the bytes are divided does not matter.
    fn eq(&self, other: &Self) -> bool {
        self.start == other.start && self.len == other.len && self.to_bytes() == other.to_bytes()
    }
}

impl Eq for Stretch {}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn piece_after_piece_is_the_whole(lens in prop::collection::vec(0usize..300_000, 0..8), dropped in 0u64..600_000) {
            let mut stretch = Stretch::new(7);
            let mut next = 0u8;
            for len in lens {
                let bytes: Vec<u8> = (0..len).map(|_| { next = next.wrapping_mul(5).wrapping_add(3); next }).collect();
                stretch.push(&bytes);
            }
            stretch.drop_before(7 + dropped);
            let (mut at, mut all) = (stretch.start(), BytesMut::new());
            while let Some(piece) = stretch.piece_at(at) {
                prop_assert!(!piece.is_empty());
                at += piece.len() as u64;
                all.extend_from_slice(&piece);
            }
            prop_assert_eq!(at, stretch.end());
            prop_assert_eq!(all.freeze(), stretch.to_bytes());
        }
    }
}
