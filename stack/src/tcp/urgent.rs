//! Urgent data (RFC 9293 §3.8.5): an urgent pointer both ways, for applications that already depend on it
//! (SHLD-13). The pointer names the first octet after the urgent data (MUST-62; RFC 6093 §3.1 records
//! that many stacks read it as the last one). Urgent bytes stay in the stream.

use super::arrival::Place;
use super::tcb::Tcb;
use super::{Error, Flags, Segment, TxSegment};

/// Where urgent data ends, both ways; 0 when there is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Urgent {
    /// SND.UP: position after the last urgent byte that we send.
    pub snd_up: u64,
    /// RCV.UP: position after the last urgent byte that the peer sends.
    pub rcv_up: u64,
    /// The application has not been told of `rcv_up` yet.
    pub news: bool,
}

impl Tcb {
    /// Queues `bytes` and marks the stream as urgent up to their end. Returns how many were taken; the
    /// mark moves only if all were.
    ///
    /// # Errors
    /// As [`Tcb::send_copy`].
    pub fn send_urgent(&mut self, bytes: &[u8]) -> Result<usize, Error> {
        let taken = self.send_copy(bytes)?;
        if taken == bytes.len() {
            self.urgent.get_or_insert_default().snd_up = self.send_queue.end();
        }
        Ok(taken)
    }

    /// Bytes between what was read last and the end of the peer's urgent data: 0 when there is none
    /// ahead (MUST-33).
    #[must_use]
    pub fn urgent_ahead(&self) -> u64 {
        self.urgent.as_ref().map_or(0, |urgent| {
            urgent.rcv_up.saturating_sub(self.receive_queue.consumed())
        })
    }

    /// True once for each new urgent pointer of the peer; the reading task is woken for it (MUST-32).
    pub fn take_urgent_news(&mut self) -> bool {
        self.urgent
            .as_mut()
            .is_some_and(|urgent| std::mem::take(&mut urgent.news))
    }

    pub(super) fn urgent_news(&self) -> bool {
        self.urgent.as_ref().is_some_and(|urgent| urgent.news)
    }

    /// Sixth step of segment arrival: RCV.UP = max(RCV.UP, SEG.UP).
    pub(super) fn sixth_urgent(&mut self, segment: &Segment, place: Place) {
        let up = place.data + u64::from(segment.urgent);
        let ahead = up > self.receive_queue.consumed();
        if !self.state.may_receive_data() || !ahead {
            return;
        }
        let urgent = self.urgent.get_or_insert_default();
        if up > urgent.rcv_up {
            urgent.rcv_up = up;
            urgent.news = true;
        }
    }

    /// URG on every segment while urgent data is ahead of what the peer has.
    pub(super) fn stamp_urgent(&self, from: u64, flags: Flags, segment: &mut TxSegment) {
        let Some(urgent) = &self.urgent else {
            return;
        };
        let ahead = urgent.snd_up.saturating_sub(from);
        let refused = Flags::SYN.0 | Flags::RST.0;
        if ahead == 0 || urgent.snd_up <= self.snd.una || flags.0 & refused != 0 {
            return;
        }
        segment.flags = segment.flags.with(Flags::URG);
        segment.urgent = ahead.min(u64::from(u16::MAX)) as u16;
    }
}
