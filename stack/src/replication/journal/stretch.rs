//! Bytes of a stream, from one position to another.

use bytes::{Buf, Bytes, BytesMut};

/// A stretch of a stream. Empty, it owns no heap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stretch {
    start: u64,
    bytes: BytesMut,
}

impl Stretch {
    pub(crate) fn new(start: u64) -> Self {
        Self {
            start,
            bytes: BytesMut::new(),
        }
    }

    pub(crate) const fn start(&self) -> u64 {
        self.start
    }

    pub(crate) fn end(&self) -> u64 {
        self.start + self.bytes.len() as u64
    }

    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    #[cfg(test)]
    pub(crate) fn as_slice(&self) -> &[u8] {
        &self.bytes
    }

    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Drops what is before `position`, which may be beyond the end: then nothing is left, and it goes on
    /// there.
    pub(crate) fn drop_before(&mut self, position: u64) {
        if position >= self.end() {
            *self = Self::new(position);
        } else if position > self.start {
            self.bytes.advance((position - self.start) as usize);
            self.start = position;
        }
    }

    /// A copy that nothing else refers to.
    pub(crate) fn to_bytes(&self) -> Bytes {
        Bytes::copy_from_slice(&self.bytes)
    }
}
