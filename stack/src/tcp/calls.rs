//! The calls of an application (RFC 9293 §3.9.1, §3.10): SEND, RECEIVE, and waiting for them.
//!
//! Nothing here transmits: after a call that returned something, the writer has to look at the
//! connection. Wakers are kept here and taken by [`Tcb::take_wakers`], to be woken once the lock is
//! released.

use std::task::{Context, Poll, Waker};

use bytes::{Buf, Bytes};

use super::Error;
use super::state::State;
use super::tcb::{FIRST_BYTE, NEVER, Tcb};
use crate::replication::digest::{Identity, Piece};

/// Pieces up to this size are copied together: cheaper than to keep each by reference.
const COPY_BYTES: usize = 256;

impl Tcb {
    /// Queues `bytes` by reference, as far as there is room; returns how many were taken, 0 when the
    /// queue is full ([`Tcb::poll_writable`] waits for room).
    ///
    /// # Errors
    /// Why the connection ended, or that its write side is closed.
    pub fn send(&mut self, bytes: Bytes) -> Result<usize, Error> {
        if bytes.len() <= COPY_BYTES {
            return self.send_copy(&bytes);
        }
        self.send_piece(bytes, None)
    }

    /// As [`Tcb::send`], of bytes that lie at `offset` in the content that `identity` names: they are named
    /// and not read where output is compared.
    ///
    /// # Errors
    /// As [`Tcb::send`].
    pub fn send_static(
        &mut self,
        bytes: Bytes,
        identity: Identity,
        offset: u64,
    ) -> Result<usize, Error> {
        self.send_piece(bytes, Some((identity, offset)))
    }

    fn send_piece(
        &mut self,
        mut bytes: Bytes,
        named: Option<(Identity, u64)>,
    ) -> Result<usize, Error> {
        let Some((skipped, taken)) = self.admit(bytes.len())? else {
            return Ok(bytes.len());
        };
        bytes.truncate(taken);
        if self.gating.is_some() {
            self.put_out(match named {
                Some((identity, offset)) => Piece::Static(identity, offset..offset + taken as u64),
                None => Piece::Generated(&bytes),
            })?;
        }
        bytes.advance(skipped);
        if self.is_mirrored() {
            self.mirror(&bytes);
        }
        self.send_queue.push(bytes);
        self.reach_decided_fin();
        Ok(taken)
    }

    /// How many of `len` bytes are skipped because the peer has them, and how many are taken in all; none
    /// when all of them are discarded.
    fn admit(&mut self, len: usize) -> Result<Option<(usize, usize)>, Error> {
        if self.discards_writes() {
            return Ok(None);
        }
        let room = self.send_room()?;
        let skipped = self.swallow(len);
        let rest = self.before_decided_fin(len - skipped);
        let room = if room > 0 && self.is_mirrored() {
            rest
        } else {
            room
        };
        Ok(Some((skipped, skipped + room.min(rest))))
    }

    /// As [`Tcb::send`], with the one copy that a borrowed slice costs.
    ///
    /// # Errors
    /// As [`Tcb::send`].
    pub fn send_copy(&mut self, bytes: &[u8]) -> Result<usize, Error> {
        if self.is_mirrored() {
            return self.send_piece(Bytes::copy_from_slice(bytes), None);
        }
        let Some((skipped, taken)) = self.admit(bytes.len())? else {
            return Ok(bytes.len());
        };
        if self.gating.is_some() {
            self.put_out(Piece::Generated(&bytes[..taken]))?;
        }
        self.push_in_pieces(&bytes[skipped..taken]);
        self.reach_decided_fin();
        Ok(taken)
    }

    /// A call that wrote ends, or waits for room: its caller has no more at present.
    pub fn end_write(&mut self) {
        self.send_queue.note_pushed();
    }

    /// What was written last ends a record: no segment has bytes of it and of what follows (like `MSG_EOR`).
    pub fn end_record(&mut self) {
        self.send_queue.cut(true);
    }

    /// Moves received bytes into `into`. `None`: nothing yet; `Some(0)`: the peer has closed (or `into`
    /// is empty).
    ///
    /// # Errors
    /// Why the connection ended, after everything that arrived was read.
    pub fn recv(&mut self, into: &mut [u8]) -> Result<Option<usize>, Error> {
        if self.readable_bytes() == 0 {
            return Ok(self.see_end()?.then_some(0));
        }
        let taken = self.receive_queue.read(into, self.horizon());
        self.after_read();
        Ok(Some(taken))
    }

    /// Takes up to `max` received bytes as they lie in memory, without a copy. `None`: nothing yet; empty:
    /// the peer has closed.
    ///
    /// # Errors
    /// As [`Tcb::recv`].
    pub fn recv_bytes(&mut self, max: usize) -> Result<Option<Bytes>, Error> {
        if self.readable_bytes() == 0 || max == 0 {
            return Ok(self.see_end()?.then(Bytes::new));
        }
        let bytes = self.receive_queue.read_bytes(max, self.horizon());
        self.after_read();
        Ok(bytes)
    }

    /// As [`Tcb::recv`], and leaves the bytes where they are.
    ///
    /// # Errors
    /// As [`Tcb::recv`].
    pub fn peek(&mut self, into: &mut [u8]) -> Result<Option<usize>, Error> {
        if self.readable_bytes() == 0 {
            return Ok(self.see_end()?.then_some(0));
        }
        let shown = self.receive_queue.peek(into, self.horizon());
        self.note_seen(self.receive_queue.consumed() + shown as u64, false);
        Ok(Some(shown))
    }

    /// Bytes that can be read now.
    #[must_use]
    pub fn readable_bytes(&self) -> usize {
        self.receive_queue.readable(self.horizon())
    }

    /// True when no more bytes will come, in order; the error when they do not come because of one.
    pub(super) fn at_end(&self) -> Result<bool, Error> {
        let fin = self.rcv.fin != NEVER && self.horizon() > self.rcv.fin;
        if fin || self.shut {
            return Ok(true);
        }
        match self.error {
            Some(error) => Err(error),
            None => Ok(self.state == State::Closed),
        }
    }

    /// As [`Tcb::at_end`], for an application that is told.
    fn see_end(&mut self) -> Result<bool, Error> {
        let at_end = self.at_end()?;
        if at_end && self.gating.is_some() {
            self.note_seen(self.receive_queue.consumed(), true);
        }
        Ok(at_end)
    }

    fn after_read(&mut self) {
        if self.gating.is_some() {
            self.note_seen(self.receive_queue.consumed(), false);
        }
        if self.window_update_due() {
            self.acknowledge_now();
        }
    }

    fn is_readable(&self) -> bool {
        self.readable_bytes() > 0 || self.at_end().unwrap_or(true) || self.urgent_news()
    }

    fn is_writable(&self) -> bool {
        let ready = |room| room > 0 && self.is_below_low_water();
        !self.is_opening() && self.send_room().map_or(true, ready)
    }

    /// So little waits for its first transmission that there may be more.
    pub(super) fn is_below_low_water(&self) -> bool {
        let low_water = self.settings.options().not_sent_low_water_bytes;
        low_water.is_none_or(|bytes| self.unsent_bytes() < bytes.max(1))
    }

    /// Bytes that wait for their first transmission.
    #[must_use]
    pub fn unsent_bytes(&self) -> usize {
        let sent = self.snd.nxt.max(FIRST_BYTE);
        self.send_queue.end().saturating_sub(sent) as usize
    }

    /// The handshake is not over, and nothing can be sent or received before it is.
    #[must_use]
    pub fn is_opening(&self) -> bool {
        matches!(self.state, State::SynSent | State::SynReceived) && !self.is_early()
    }

    /// Ready when [`Tcb::recv`] would return something: bytes, the end, or an error.
    pub fn poll_readable(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.is_readable() {
            return Poll::Ready(());
        }
        remember(&mut self.reader, cx);
        Poll::Pending
    }

    /// Ready when [`Tcb::send`] would take something or fail.
    pub fn poll_writable(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.is_writable() {
            return Poll::Ready(());
        }
        self.wants_room = true;
        remember(&mut self.writer, cx);
        Poll::Pending
    }

    /// Ready when the handshake is over.
    ///
    /// # Errors
    /// Why it failed.
    pub fn poll_established(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        if let Some(error) = self.error {
            return Poll::Ready(Err(error));
        }
        match self.state {
            State::SynSent | State::SynReceived => {
                remember(&mut self.writer, cx);
                Poll::Pending
            }
            State::Closed => Poll::Ready(Err(Error::NotConnected)),
            _ => Poll::Ready(Ok(())),
        }
    }

    /// Adds the wakers of those whose wait is over; to be woken after the lock is released.
    pub fn take_wakers(&mut self, into: &mut Vec<Waker>) {
        if self.reader.is_some() && (self.is_readable() || self.has_passages()) {
            into.extend(self.reader.take());
        }
        if self.writer.is_some() && self.is_worth_waking_writer() {
            into.extend(self.writer.take());
        }
        let over = self.error.is_some();
        if let Some(surviving) = self.surviving() {
            into.extend(surviving.waiting.take(over));
        }
    }

    /// True when [`Tcb::poll_transmit`] may have something to give: worth a look by the writer.
    #[must_use]
    pub fn wants_transmit(&self) -> bool {
        let pending = &self.pending;
        if pending.withheld {
            // Whoever waits for something in a loop would have nothing happen but turns in vain.
            return false;
        }
        pending.ack
            || pending.syn
            || pending.probe
            || pending.reset
            || pending.refusal.is_some()
            || pending.tail
            || self.lost_bytes() > 0
            || self.has_notes()
            || self.edge_commit_due()
            || (self.snd.nxt < self.send_end()
                && (self.state.may_transmit_data() || self.is_early()))
    }
}

pub(super) fn remember(slot: &mut Option<Waker>, cx: &Context<'_>) {
    match slot {
        Some(waker) => waker.clone_from(cx.waker()),
        None => *slot = Some(cx.waker().clone()),
    }
}
