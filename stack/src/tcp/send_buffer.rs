//! How much may be written ahead of what is acknowledged, and when a writer that found no room is woken.
//!
//! Without [`super::Config::bookkeeping_bytes`] a byte is a byte. With it the queue is accounted for as Linux does: in
//! pieces, each of which costs as much more; a queue below its limit takes a whole piece, and so goes
//! beyond it.

use super::Error;
use super::congestion::CongestionControl;
use super::state::State;
use super::tcb::Tcb;

/// Largest piece, in bytes.
const MAX_PIECE_BYTES: usize = 65_160;
/// Segments that Linux has room for at least, and what it reckons for the headers of each.
const MIN_WINDOW_SEGMENTS: usize = 10;
const HEADER_ROOM_BYTES: usize = 640;
const PACKET_BYTES: usize = 256;

impl Tcb {
    /// Bytes that may be queued now.
    ///
    /// # Errors
    /// As [`Tcb::send`].
    pub fn send_room(&self) -> Result<usize, Error> {
        if let Some(error) = self.error {
            return Err(error);
        }
        if self.snd.fin || !self.state.accepts_writes() {
            return Err(Error::BrokenPipe);
        }
        if self.bookkeeping() > 0 {
            return Ok(self.room_in_pieces());
        }
        let room = self.send_limit().saturating_sub(self.send_queue.len());
        let unsent = self.unsent_bytes();
        Ok(room.min(self.settings.unsent_limit().saturating_sub(unsent)))
    }

    /// True when a third of what may be queued at once is free: so much that waking its writer pays (as Linux).
    pub(super) fn is_worth_waking_writer(&self) -> bool {
        if self.is_opening() {
            return false;
        }
        let Ok(room) = self.send_room() else {
            return true;
        };
        let limit = self.send_limit();
        if self.bookkeeping() == 0 {
            let worth = limit.min(self.settings.unsent_limit()) / 3;
            return room >= worth && self.is_below_low_water();
        }
        let charged = self.charged();
        let low_water = self.low_water().div_ceil(2);
        charged + charged / 2 <= limit && self.unsent_bytes() < low_water
    }

    fn bookkeeping(&self) -> usize {
        self.settings.config().bookkeeping_bytes
    }

    /// Bytes that may wait for their first transmission before a writer has to wait.
    fn low_water(&self) -> usize {
        let chosen = self.settings.options().not_sent_low_water_bytes;
        chosen.unwrap_or(self.settings.config().max_unsent_bytes)
    }

    fn send_limit(&self) -> usize {
        if self.bookkeeping() == 0 || self.settings.options().send_buffer_bytes.is_some() {
            return self.settings.send_limit(self.congestion.cwnd());
        }
        let config = self.settings.config();
        self.room_for_windows(MIN_WINDOW_SEGMENTS)
            .max(config.initial_send_buffer_bytes)
            .max(self.send_queue.granted())
            .min(config.max_send_buffer_bytes)
    }

    /// What two windows of so many segments take, each segment with its bookkeeping.
    fn room_for_windows(&self, segments: usize) -> usize {
        let mss = usize::from(self.effective_mss());
        let segment = (mss + HEADER_ROOM_BYTES).next_power_of_two() + PACKET_BYTES;
        2 * segments * segment
    }

    /// All that may leave has left. If the congestion window has room still, a writer that waits may write further ahead; while
    /// it is full that would only wait longer (as Linux).
    pub(super) fn grant_room(&mut self) {
        if self.bookkeeping() > 0 && self.wants_room && !self.fills_window() {
            let segments = self.congestion.cwnd() / usize::from(self.effective_mss());
            let bytes = self.room_for_windows(segments);
            self.send_queue.grant(bytes);
        }
    }

    /// Whoever waits for room is to be told by now if there is enough.
    pub(super) fn note_room(&mut self) {
        self.wants_room = self.wants_room && !self.is_worth_waking_writer();
    }

    /// Bytes of a piece: as much as half of the peer's largest window, in whole segments.
    pub(super) fn piece(&self) -> usize {
        let mss = usize::from(self.effective_mss());
        let half = match self.snd.max_wnd as usize {
            largest if largest > usize::from(self.path.default_mss()) => largest / 2,
            largest => largest,
        };
        let bytes = half.min(MAX_PIECE_BYTES);
        (bytes - bytes % mss).max(mss)
    }

    /// What the queue is charged for, with its bookkeeping.
    fn charged(&self) -> usize {
        let mss = usize::from(self.effective_mss());
        let burst = self.burst_segments().saturating_mul(mss);
        let unsent = self.unsent_bytes();
        let sent = self.send_queue.len().saturating_sub(unsent);
        let pieces = sent.div_ceil(burst) + unsent.div_ceil(self.piece());
        self.send_queue.len() + pieces * self.bookkeeping()
    }

    /// The rest of the piece at the end; a whole one if that is full and the limits are not reached.
    fn room_in_pieces(&self) -> usize {
        let (piece, unsent) = (self.piece(), self.unsent_bytes());
        // What leaves at once is no longer waiting when the piece is full.
        let left = unsent.saturating_sub(self.sendable());
        let tail = match unsent {
            _ if self.send_queue.ends_record(self.send_queue.end()) => 0,
            unsent if unsent < piece => unsent,
            _ => left % piece,
        };
        let full = self.charged() >= self.send_limit() || left >= self.low_water();
        if tail == 0 && full {
            return 0;
        }
        piece - tail
    }

    /// Queues a copy of `bytes`, for which there is room; a piece that is full is sent by itself.
    pub(super) fn push_in_pieces(&mut self, bytes: &[u8]) {
        // How large a piece is turns out with the handshake.
        if self.bookkeeping() == 0 || self.state == State::SynSent {
            self.send_queue.push_copy(bytes);
            return;
        }
        let room = self.room_in_pieces();
        if room < self.piece() {
            self.send_queue.join();
        }
        self.send_queue.push_copy(bytes);
        if bytes.len() == room {
            self.send_queue.end_piece(u64::from(self.snd.max_wnd) / 2);
        }
    }

    /// Whole segments that the windows let through now.
    fn sendable(&self) -> usize {
        let mss = usize::from(self.effective_mss());
        let congestion = self
            .congestion
            .cwnd()
            .saturating_sub(self.in_flight() as usize);
        let window = self.snd.window_end().saturating_sub(self.snd.nxt) as usize;
        let bytes = congestion.min(window);
        bytes - bytes % mss
    }
}
