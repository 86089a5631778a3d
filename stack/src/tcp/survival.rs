//! What the application of a protected connection says and hears (FAILOVER §5): decisions, points from which
//! it can continue, output that is compared or mirrored; and, on the host that continues, the repetition
//! of all that. Nothing here commits: it is noted, and [`super::gate`] hands the notes out.
//!
//! Connections that are not gated have none of this, and pay one test of a null pointer for a write.

use std::task::{Context, Poll, Waker};

use bytes::Bytes;

use super::Error;
use super::gate::{Mark, Note, Point};
use super::send_queue::SendQueue;
use super::tcb::{FIRST_BYTE, Tcb};
use crate::replication::Continuation;
use crate::replication::continuation::Restored;
use crate::replication::decisions::{Decisions, Logged};
use crate::replication::digest::{Comparison, Identity, Piece};
use crate::replication::entry::{MAX_DECISION_BYTES, MAX_STATE_BYTES, MAX_STREAM_BYTES, Reason};
use crate::replication::survival::Protection;

/// What a protected connection knows of its application.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Surviving {
    /// The output; not of a mirrored connection, which is never made again.
    comparison: Comparison,
    decisions: Decisions,
    /// First position of the peer's stream that the application was not shown.
    seen: u64,
    /// It was shown the end of the stream.
    ended: bool,
    /// Where the application last said that it could be continued from, and the last digest that was told.
    base: u64,
    told: u64,
    /// State to be mirrored with the next write.
    state: Option<Bytes>,
    /// Where the application went on, on this host.
    continuation: Option<Continuation>,
    /// Why the connection is not protected at the moment.
    exposed: Option<Reason>,
    pub(super) waiting: Waiting,
}

/// Who waits for a decision or for the peer's position. Not part of what the connection is.
#[derive(Debug, Default)]
pub struct Waiting {
    waiter: Option<Waker>,
    news: bool,
}

impl Waiting {
    /// Something changed that the application may wait for.
    pub(super) const fn announce(&mut self) {
        self.news = true;
    }

    fn remember(&mut self, cx: &Context<'_>) {
        self.news = false;
        super::calls::remember(&mut self.waiter, cx);
    }

    /// Who waits, if there is something to wake for.
    pub(super) fn take(&mut self, over: bool) -> Option<Waker> {
        (self.news || over).then(|| self.waiter.take()).flatten()
    }
}

impl Clone for Waiting {
    /// Nobody waits for a copy.
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl PartialEq for Waiting {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Waiting {}

impl Surviving {
    /// The host that owns the connection decided something.
    pub(super) fn add_decision(&mut self, decision: Logged) {
        self.decisions.push(decision);
        self.waiting.announce();
    }
}

impl Tcb {
    pub(super) fn surviving(&mut self) -> Option<&mut Surviving> {
        self.gating.as_mut().map(|it| &mut it.application)
    }

    fn application(&self) -> Option<&Surviving> {
        self.gating.as_ref().map(|it| &it.application)
    }

    /// True when its output is made again, and compared, by who continues it.
    pub(super) fn is_repeated(&self) -> bool {
        self.gating.as_ref().is_some_and(|it| !it.terms.mirror)
    }

    /// True when writes are mirrored, each as a whole.
    pub(super) fn is_mirrored(&self) -> bool {
        self.gating.as_ref().is_some_and(|it| it.terms.mirror)
    }

    /// How well the connection is protected.
    #[must_use]
    pub fn protection(&self) -> Protection {
        match self.application().map(|it| it.exposed) {
            None => Protection::Off,
            Some(None) => Protection::Protected,
            Some(Some(reason)) => Protection::Unprotected(reason),
        }
    }

    /// Whoever keeps the journal says why the connection is not protected, or that it is again.
    pub fn set_exposed(&mut self, reason: Option<Reason>) {
        if let Some(surviving) = self.surviving() {
            surviving.exposed = reason;
        }
    }

    /// The application says that nobody can continue this connection from here on.
    pub fn unprotect(&mut self, reason: Reason) {
        if self.gating.is_some() {
            self.set_exposed(Some(reason));
            self.note(Note::Unprotected(reason));
        }
    }

    /// Where the application goes on; none if the connection began on this host.
    #[must_use]
    pub fn continuation(&self) -> Option<&Continuation> {
        self.application()?.continuation.as_ref()
    }

    /// Gives a connection that was made from its record ([`Tcb::from_record`]) back what its journal knows
    /// of its application, which writes from the point's output on.
    pub fn restore(&mut self, restored: Restored) {
        let Restored {
            point,
            decisions,
            marks,
            mirrored,
        } = restored;
        let beginning = || Point {
            input: FIRST_BYTE,
            output: FIRST_BYTE,
            ..Point::default()
        };
        let point = point.unwrap_or_else(beginning);
        for output in mirrored {
            let known = self.send_queue.end().saturating_sub(output.from);
            let known = output.bytes.len().min(known as usize);
            self.send_queue.push(output.bytes.slice(known..));
        }
        if point.output > self.send_queue.end() {
            // The peer has everything before a point.
            self.stand_at(point.output);
        }
        if let Some(resumed) = &mut self.resumed {
            resumed.behind = self.send_queue.end() - point.output;
        }
        let Some(surviving) = self.surviving() else {
            return;
        };
        surviving.comparison = Comparison::new(point.digest.unwrap_or_default());
        surviving.decisions = Decisions::repeat(point.decisions, decisions);
        surviving.seen = point.input;
        surviving.continuation = Some(Continuation {
            input_position: point.input - FIRST_BYTE,
            output_position: point.output - FIRST_BYTE,
            checkpoint: point.state,
        });
        for mark in marks {
            self.expect_mark(mark);
        }
        self.check();
    }

    /// Our stream goes on at `position`, and the peer has everything before it.
    pub(super) fn stand_at(&mut self, position: u64) {
        self.send_queue = SendQueue::new(position);
        self.snd.una = position;
        self.snd.nxt = position;
        self.snd.tail_probe_end = 0;
        self.recovery = None;
        self.transit = None;
        self.timers.stop_retransmit();
    }

    /// Bytes that the application is about to write and that the peer has already.
    #[must_use]
    pub fn skippable(&self) -> u64 {
        self.resumed.as_ref().map_or(0, |resumed| resumed.behind)
    }

    /// Ready when [`Tcb::skippable`] is final, because the peer has told where it stands; or when it is
    /// `enough` at least.
    pub fn poll_peer_known(&mut self, cx: &Context<'_>, enough: u64) -> Poll<()> {
        if self.is_lost()
            && self.skippable() < enough
            && self.error.is_none()
            && let Some(surviving) = self.surviving()
        {
            surviving.waiting.remember(cx);
            return Poll::Pending;
        }
        Poll::Ready(())
    }

    /// How many bytes at the beginning of a static range need not be made, because the peer has them: they
    /// count as written. Takes as long for a gigabyte as for a byte.
    ///
    /// # Errors
    /// As [`Tcb::send`].
    pub fn skip_static(
        &mut self,
        identity: Identity,
        range: std::ops::Range<u64>,
    ) -> Result<u64, Error> {
        if self.discards_writes() {
            return Ok(0);
        }
        self.send_room()?;
        let skipped = range.end.saturating_sub(range.start).min(self.skippable());
        if skipped > 0 {
            self.put_out(Piece::Static(identity, range.start..range.start + skipped))?;
            self.catch_up(skipped);
        }
        Ok(skipped)
    }

    /// The application produced bytes that the peer has.
    fn catch_up(&mut self, bytes: u64) {
        if let Some(resumed) = &mut self.resumed {
            resumed.behind -= bytes;
        }
        self.reach_decided_fin();
    }

    /// How many of `len` bytes about to be queued the peer has already; they are skipped.
    pub(super) fn swallow(&mut self, len: usize) -> usize {
        let skipped = self.skippable().min(len as u64);
        if skipped > 0 {
            self.catch_up(skipped);
        }
        skipped as usize
    }

    /// The application writes `piece`. What it wrote before is compared with what the former owner sent.
    pub(super) fn put_out(&mut self, piece: Piece<'_>) -> Result<(), Error> {
        if !self.is_repeated() {
            return Ok(());
        }
        let Some(surviving) = self.surviving() else {
            return Ok(());
        };
        surviving.comparison.put_out(piece).map_err(|diverged| {
            self.diverge(diverged.before);
            Error::Diverged
        })
    }

    /// Another owner's output had this digest.
    pub fn expect_mark(&mut self, mark: Mark) {
        if !self.is_repeated() {
            return;
        }
        let result = self.surviving().map(|it| it.comparison.expect(mark));
        if let Some(Err(diverged)) = result {
            self.diverge(diverged.before);
        }
    }

    /// The application does not repeat itself: better to break than to go on wrongly.
    pub(super) fn diverge(&mut self, before: u64) {
        tracing::warn!(
            before,
            "the replayed output is not what was sent: the connection is aborted"
        );
        self.set_exposed(Some(Reason::Diverged));
        self.reset_and_finish(Error::Diverged);
        self.receive_queue.discard();
    }

    /// The latest digest of output that the peer has acknowledged: for hints and anchors.
    pub fn acknowledged_mark(&mut self) -> Option<Mark> {
        let una = self.snd.una;
        if !self.is_repeated() {
            return None;
        }
        self.surviving()?.comparison.acknowledged(una)
    }

    /// True when the other host should be told a digest: the first of a response, say, and then whenever the
    /// output since has doubled. So one that does not repeat itself is found early, and what is told does
    /// not grow with what is sent.
    pub(super) fn digest_is_due(&mut self) -> bool {
        if !self.is_repeated() {
            return false;
        }
        let una = self.snd.una;
        self.surviving().is_some_and(|surviving| {
            let (base, told) = (surviving.base, surviving.told);
            una > base.max(told)
                && una - base >= 2 * told.saturating_sub(base)
                && surviving
                    .comparison
                    .acknowledged(una)
                    .is_some_and(|mark| mark.position > told.max(FIRST_BYTE))
        })
    }

    /// A digest for the other host.
    pub(super) fn tell_mark(&mut self) -> Option<Mark> {
        let mark = self.acknowledged_mark()?;
        if let Some(surviving) = self.surviving() {
            surviving.told = mark.position;
        }
        Some(mark)
    }

    /// The digest of everything written.
    #[must_use]
    pub fn last_mark(&self) -> Option<Mark> {
        let surviving = self.application().filter(|_| self.is_repeated())?;
        Some(surviving.comparison.digest().mark())
    }

    /// `bytes` are mirrored before they are sent. Call before they are queued.
    pub(super) fn mirror(&mut self, bytes: &Bytes) {
        let input = self.input_position();
        let mut from = self.send_queue.end();
        let Some(surviving) = self.surviving() else {
            return;
        };
        if bytes.is_empty() {
            return;
        }
        let mut state = surviving.state.take();
        let mut number = 0;
        let mut rest = bytes.clone();
        while !rest.is_empty() {
            let bytes = rest.split_to(rest.len().min(MAX_STREAM_BYTES));
            let state = if rest.is_empty() { state.take() } else { None };
            let len = bytes.len() as u64;
            number = self.note(Note::Output {
                from,
                input,
                bytes,
                state,
            });
            from += len;
        }
        self.send_after_commit(number);
    }

    /// First position of the peer's stream that the application has not taken, the FIN counted.
    fn input_position(&self) -> u64 {
        let ended = self.application().is_some_and(|it| it.ended);
        self.receive_queue.consumed() + u64::from(ended)
    }

    /// The application was shown the stream up to `position`, or its end.
    pub(super) fn note_seen(&mut self, position: u64, ended: bool) {
        if let Some(surviving) = self.surviving() {
            surviving.ended |= ended;
            surviving.seen = surviving.seen.max(position + u64::from(ended));
        }
    }

    /// First position that the application must not be shown: what is not committed, and what comes after a
    /// decision that it has yet to repeat.
    pub(super) fn horizon(&self) -> u64 {
        let horizon = self.application().and_then(|it| it.decisions.horizon());
        horizon.map_or(self.rcv.committed, |it| it.min(self.rcv.committed))
    }

    /// The value that was logged for the next decision; `Ready(None)` when it is to be decided here and
    /// given to [`Tcb::log_decision`].
    pub fn poll_logged_decision(&mut self, cx: &Context<'_>) -> Poll<Option<Bytes>> {
        let follows = self.follows();
        let Some(surviving) = self.surviving() else {
            return Poll::Ready(None);
        };
        if follows && surviving.decisions.is_empty() {
            // The other host decides; or this one, should it take over meanwhile.
            surviving.waiting.remember(cx);
            return Poll::Pending;
        }
        Poll::Ready(surviving.decisions.next_logged())
    }

    /// Logs what was decided. What is written from now on waits until it is committed.
    pub fn log_decision(&mut self, value: Bytes) {
        if !self.is_repeated() {
            return; // the output tells
        }
        let Some(surviving) = self.surviving() else {
            return;
        };
        surviving.decisions.decided();
        let seen = surviving.seen;
        if value.len() > MAX_DECISION_BYTES {
            return self.unprotect(Reason::TooLarge);
        }
        let number = self.note(Note::Decision(Logged { seen, value }));
        self.send_after_commit(number);
    }

    /// True while another host serves the client and decides, and the application only repeats it here.
    fn follows(&self) -> bool {
        self.is_dormant() && self.error.is_none()
    }

    /// Ready unless another host serves the client: then when this one does, or the connection is over here.
    pub fn poll_leads(&mut self, cx: &Context<'_>) -> Poll<()> {
        if self.follows()
            && let Some(surviving) = self.surviving()
        {
            surviving.waiting.remember(cx);
            return Poll::Pending;
        }
        Poll::Ready(())
    }

    /// Ready when the former owner decided something before the peer's next byte came: what a handler does
    /// that waits for either. Never on a connection that does not repeat.
    pub fn poll_decided(&mut self, cx: &Context<'_>) -> Poll<()> {
        let waits = self.readable_bytes() == 0 && !matches!(self.at_end(), Ok(true));
        let Some(surviving) = self.surviving() else {
            return Poll::Pending;
        };
        // All that its handler had been shown was shown here, and it did not wait for more.
        let horizon = surviving.decisions.horizon();
        if waits && horizon.is_some_and(|horizon| horizon <= surviving.seen) {
            return Poll::Ready(());
        }
        surviving.waiting.remember(cx);
        Poll::Pending
    }

    /// The application can continue from here with nothing but what comes from here on.
    pub fn quiescent(&mut self) {
        self.point(None);
    }

    /// The application can continue from here with `state`. On a mirrored connection the state is that
    /// after the next write, and is committed with it.
    pub fn checkpoint(&mut self, state: Bytes) {
        if state.len() > MAX_STATE_BYTES {
            return self.unprotect(Reason::TooLarge);
        }
        if !self.is_mirrored() {
            self.point(Some(state));
        } else if let Some(surviving) = self.surviving() {
            surviving.state = Some(state);
        }
    }

    fn point(&mut self, state: Option<Bytes>) {
        let (input, output) = (self.input_position(), self.write_position());
        if !self.is_repeated() {
            return; // it continues from its last write
        }
        let Some(surviving) = self.surviving() else {
            return;
        };
        surviving.base = output;
        let digest = *surviving.comparison.digest();
        debug_assert_eq!(digest.position, output);
        let point = Point {
            input,
            output,
            decisions: surviving.decisions.asked(),
            state,
            digest: Some(digest),
        };
        self.note_point(point);
    }

    /// True when the FIN was decided by the former owner and everything before it was written: what the
    /// application writes then is discarded.
    pub(super) fn discards_writes(&self) -> bool {
        self.snd.fin
            && self.error.is_none()
            && self.resumed.as_ref().is_some_and(|it| it.fin.is_some())
    }

    /// So much of `len` bytes about to be queued comes before the end that the former owner decided on.
    pub(super) fn before_decided_fin(&self, len: usize) -> usize {
        let fin = self.resumed.as_ref().and_then(|resumed| resumed.fin);
        fin.map_or(len, |fin| {
            len.min(fin.saturating_sub(self.write_position()) as usize)
        })
    }

    /// The former owner decided that our stream ends at a position: it does, once that is written.
    pub(super) fn reach_decided_fin(&mut self) {
        let fin = self.resumed.as_ref().and_then(|resumed| resumed.fin);
        if fin.is_some_and(|fin| self.write_position() >= fin) {
            let _ = self.shutdown_write();
        }
    }
}
