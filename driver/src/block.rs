//! Memory that frames are received into: one after the other into a large block, so that a small frame
//! takes only its own bytes and a merged one of 64 KiB needs no copy.
//!
//! A block that is nearly full is set aside and used again once every frame in it was dropped. So a
//! single byte that is kept for long pins a whole block: consumers copy tiny payloads that they keep.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};

/// Bytes of a block: room for three merged frames or some 170 of MTU 1500, and small enough to stay in
/// the second-level cache while it is refilled.
pub(crate) const BLOCK_BYTES: usize = 256 * 1024;

/// Largest frame with everything in front of it: an IP datagram of 64 KiB, Ethernet with tags, the vnet
/// header, and a little to spare.
pub(crate) const FRAME_BYTES: usize = 66 * 1024;

/// Blocks set aside at most. Beyond this the oldest is left to its frames, which free it.
const RETIRED_BLOCKS: usize = 16;

/// A supply of room for frames.
pub(crate) struct Blocks {
    current: BytesMut,
    retired: VecDeque<BytesMut>,
}

impl Blocks {
    pub(crate) fn new() -> Self {
        Self {
            current: BytesMut::with_capacity(BLOCK_BYTES),
            retired: VecDeque::with_capacity(RETIRED_BLOCKS),
        }
    }

    /// Where the next frame may be written: [`FRAME_BYTES`] or more, uninitialised.
    pub(crate) fn room(&mut self) -> &mut [std::mem::MaybeUninit<u8>] {
        if self.current.capacity() < FRAME_BYTES {
            self.renew();
        }
        self.current.spare_capacity_mut()
    }

    /// Takes the first `length` bytes of [`Self::room`] as a frame.
    ///
    /// # Safety
    /// They have been written, and `length` is no more than the room.
    pub(crate) unsafe fn take(&mut self, length: usize) -> Bytes {
        debug_assert!(length <= self.current.capacity());
        // SAFETY: the caller wrote them; between `room` and here nothing else touches the block.
        unsafe { self.current.set_len(length) };
        self.current.split().freeze()
    }

    fn renew(&mut self) {
        if self.current.try_reclaim(FRAME_BYTES) {
            return;
        }
        let free = (0..self.retired.len()).find(|&i| self.retired[i].try_reclaim(BLOCK_BYTES));
        let next = match free {
            Some(i) => self.retired.remove(i).expect("an index just found"),
            None => BytesMut::with_capacity(BLOCK_BYTES),
        };
        if self.retired.len() == RETIRED_BLOCKS {
            self.retired.pop_front();
        }
        self.retired
            .push_back(std::mem::replace(&mut self.current, next));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(blocks: &mut Blocks, bytes: &[u8]) -> Bytes {
        for (to, from) in blocks.room().iter_mut().zip(bytes) {
            to.write(*from);
        }
        // SAFETY: just written.
        unsafe { blocks.take(bytes.len()) }
    }

    #[test]
    fn frames_lie_one_behind_the_other() {
        let mut blocks = Blocks::new();
        let (a, b) = (frame(&mut blocks, b"first"), frame(&mut blocks, b"second"));
        assert_eq!(b.as_ptr() as usize - a.as_ptr() as usize, 5);
        assert_eq!((&a[..], &b[..]), (&b"first"[..], &b"second"[..]));
    }

    #[test]
    fn a_block_whose_frames_are_gone_is_used_again() {
        let mut blocks = Blocks::new();
        let start = blocks.room().as_ptr() as usize;
        for _ in 0..1000 {
            let bytes = frame(&mut blocks, &[1; 60_000]);
            let at = bytes.as_ptr() as usize;
            assert!(
                (start..start + BLOCK_BYTES).contains(&at),
                "still the first block"
            );
        }
    }

    #[test]
    fn frames_that_are_kept_keep_their_bytes_and_the_rest_is_bounded() {
        let mut blocks = Blocks::new();
        let mut kept = VecDeque::new();
        for i in 0..2_000u32 {
            kept.push_back((i, frame(&mut blocks, &[i as u8; 20_000])));
            if kept.len() > 50 {
                kept.pop_front();
            }
            assert!(
                kept.iter()
                    .all(|(i, bytes)| bytes.iter().all(|b| *b == *i as u8))
            );
            assert!(blocks.retired.len() <= RETIRED_BLOCKS);
        }
        let before: Vec<_> = blocks
            .retired
            .iter()
            .map(|block| block.as_ptr() as usize)
            .collect();
        kept.clear();
        for _ in 0..100 {
            frame(&mut blocks, &[0; 60_000]);
        }
        assert!(!before.is_empty());
        assert!(
            blocks.retired.len() <= before.len() + 1,
            "nothing new is allocated once all is free"
        );
    }
}
