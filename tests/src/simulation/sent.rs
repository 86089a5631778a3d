//! The bytes of one direction of a connection, as they were first seen to leave. What its host lost by itself before
//! it reached the wire leaves a gap, which is closed when that is sent again.

use std::collections::BTreeSet;

/// What has left.
#[derive(Clone, Debug, Default)]
pub struct Sent {
    bytes: Vec<u8>,
    /// Of these, those that were never seen.
    unseen: BTreeSet<usize>,
}

impl Sent {
    /// The first position that nothing was sent at.
    #[must_use]
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// True before anything left.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Everything before `position` was sent and lost, as far as it was not seen.
    pub fn lose_to(&mut self, position: usize) {
        let from = self.bytes.len();
        if position > from {
            self.unseen.extend(from..position);
            self.bytes.resize(position, 0);
        }
    }

    /// True if what was seen of `data`, which begins at or before the end, was the same.
    #[must_use]
    pub fn agrees(&self, from: usize, data: &[u8]) -> bool {
        let seen = &self.bytes[from..];
        let len = seen.len().min(data.len());
        if self.unseen.is_empty() {
            return seen[..len] == data[..len];
        }
        let mut pairs = (from..).zip(seen.iter().zip(data));
        pairs.all(|(at, (one, other))| one == other || self.unseen.contains(&at))
    }

    /// `data` leaves, which begins at or before the end; how much of it lies before that.
    pub fn add(&mut self, from: usize, data: &[u8]) -> usize {
        let overlap = (self.bytes.len() - from).min(data.len());
        if !self.unseen.is_empty() {
            for (at, byte) in (from..from + overlap).zip(data) {
                if self.unseen.remove(&at) {
                    self.bytes[at] = *byte;
                }
            }
        }
        self.bytes.extend_from_slice(&data[overlap..]);
        overlap
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_never_seen_may_be_any() {
        let mut sent = Sent::default();
        assert_eq!(sent.add(0, b"abcd"), 0);
        sent.lose_to(6);
        assert_eq!(sent.add(6, b"gh"), 0);
        assert!(sent.agrees(2, b"cdXYgh"));
        assert!(!sent.agrees(2, b"cdXYgX"));
        assert!(!sent.agrees(3, b"XXY"));
        assert_eq!(sent.add(4, b"efghij"), 4);
        assert!(!sent.agrees(4, b"XY"));
        assert!(sent.agrees(0, b"abcdefghij"));
        assert_eq!(sent.len(), 10);
    }
}
