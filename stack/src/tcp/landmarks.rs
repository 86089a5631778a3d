//! When the last byte of a write left, and when it was acknowledged: for whoever asks (Linux's `SO_TIMESTAMPING`).
//!
//! Kept beside the Tcb while somebody does. Only the first transmission counts.

use std::collections::VecDeque;

use super::tcb::{FIRST_BYTE, Tcb};
use crate::time::Instant;

/// Landmarks, and what was passed and not taken; beyond that the oldest is forgotten.
const MOST: usize = 256;

/// The ends of writes that are watched.
#[derive(Clone, Debug, Default)]
pub(super) struct Landmarks {
    /// Positions after their last bytes, ascending: not sent yet, and sent.
    ahead: VecDeque<u64>,
    sent: VecDeque<u64>,
    passed: VecDeque<Passed>,
}

/// What became of the last byte of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Passage {
    /// It left for the first time.
    Sent,
    /// The peer has it, and everything before.
    Acknowledged,
}

/// Something became of the last byte of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Passed {
    /// When.
    pub at: Instant,
    /// Bytes of the stream up to it, with itself.
    pub bytes: u64,
    /// What.
    pub passage: Passage,
}

impl Landmarks {
    fn pass(&mut self, at: Instant, position: u64, passage: Passage) {
        if self.passed.len() == MOST {
            self.passed.pop_front();
        }
        self.passed.push_back(Passed {
            at,
            bytes: position - FIRST_BYTE,
            passage,
        });
    }

    fn on_sent(&mut self, now: Instant, nxt: u64) {
        while let Some(&position) = self.ahead.front().filter(|&&position| position <= nxt) {
            self.ahead.pop_front();
            self.pass(now, position, Passage::Sent);
            self.sent.push_back(position);
        }
    }

    fn on_acknowledged(&mut self, now: Instant, una: u64) {
        while let Some(&position) = self.sent.front().filter(|&&position| position <= una) {
            self.sent.pop_front();
            self.pass(now, position, Passage::Acknowledged);
        }
    }
}

impl Tcb {
    /// What becomes of the byte that was written last is noted for [`Tcb::take_passages`].
    pub fn watch_last_byte(&mut self) {
        let (end, nxt) = (self.send_queue.end(), self.snd.nxt);
        let landmarks = self
            .aside
            .get_or_insert_default()
            .landmarks
            .get_or_insert_default();
        if end <= nxt || landmarks.ahead.back() == Some(&end) {
            return;
        }
        if landmarks.ahead.len() + landmarks.sent.len() >= MOST {
            landmarks.ahead.pop_front();
        }
        landmarks.ahead.push_back(end);
    }

    /// What became of the bytes that were watched, since this was asked last.
    pub fn take_passages(&mut self) -> VecDeque<Passed> {
        let landmarks = self.aside.as_mut().and_then(|it| it.landmarks.as_mut());
        landmarks.map_or_else(VecDeque::new, |it| std::mem::take(&mut it.passed))
    }

    /// Something became of bytes that are watched.
    pub(super) fn has_passages(&self) -> bool {
        let landmarks = self.aside.as_ref().and_then(|it| it.landmarks.as_ref());
        landmarks.is_some_and(|it| !it.passed.is_empty())
    }

    /// `snd.nxt` or `snd.una` moved.
    pub(super) fn pass_landmarks(&mut self, now: Instant) {
        let (una, nxt) = (self.snd.una, self.snd.nxt);
        let landmarks = self.aside.as_mut().and_then(|it| it.landmarks.as_mut());
        if let Some(landmarks) = landmarks {
            landmarks.on_sent(now, nxt);
            landmarks.on_acknowledged(now, una);
        }
    }
}
