//! How things leave a queue of the run-to-completion topology.
//!
//! **Sending combines.** Whoever has something to send appends it to the outbox and *tries* the writers'
//! lock. Who gets it runs the writers over what is in the outbox, and looks again after unlocking; who
//! does not get it leaves, because the holder will look. So nobody waits for a lock while another
//! transmits, nobody is woken in order to send, and frames of a connection are built and leave in one
//! critical section, in order.
//!
//! No work is lost: the look after unlocking takes the outbox's lock. Either it comes after the append
//! and sees the work, or before it, and then the appender's try comes after the unlocking and succeeds.
//!
//! **Who has no time leaves the rest to the leader**: with thousands of connections the outbox may never be empty, and a
//! thread that brings commits would send for ever and bring none. It leaves a notice and rings; the leader takes the
//! notice away *before* it looks into the outbox, and does not sleep while there is one (`tests/tests/model_wake_ups.rs`).

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Waker;

use super::clock;
use super::parker::Turn;
use super::queue::{LOOPBACK_LIMIT, Queue, WriterSide};
use super::stages::bound_loopback;
use crate::counters::Counter;
use crate::ip::TxDatagram;
use crate::tcp::Connection;
use crate::time::Instant;

/// Connections that get a turn in one run of the writers. Between two runs whoever leads looks for what has
/// arrived: a thousand windows sent in one go would take so long that the acknowledgements of the first
/// overflow the device's queue.
pub(crate) const CONNECTIONS_PER_RUN: usize = 16;

impl Queue {
    /// Has the writers look at `connection`.
    pub(crate) fn output(&self, connection: &Arc<Connection>) {
        if !connection.schedule() {
            return;
        }
        self.outbox.lock().push(Arc::clone(connection));
        self.kick_unless_in_turn();
    }

    /// Sends a datagram, if there is room.
    pub(crate) fn send(&self, datagram: TxDatagram) -> bool {
        if !self.outbox.lock().push_datagram(datagram) {
            return false;
        }
        self.kick_unless_in_turn();
        true
    }

    pub(crate) fn kick_unless_in_turn(&self) {
        if !Turn::is_of(self.address()) {
            self.kick();
        }
    }

    /// As [`Self::kick_unless_in_turn`], for a thread that others wait for: it sends a little, and who leads the rest.
    pub(crate) fn kick_briefly_unless_in_turn(&self) {
        if !Turn::is_of(self.address()) {
            self.kick_briefly();
        }
    }

    /// Runs the writers until nothing is left to send, unless somebody else does or the device is full.
    pub(crate) fn kick(&self) {
        while self.kick_once() {}
    }

    /// Runs the writers once; who leads does the rest.
    pub(crate) fn kick_briefly(&self) {
        if self.kick_once() {
            self.leave_to_leader();
        }
    }

    /// One run of the writers; true if there is more for them to do, which the caller must see to.
    pub(crate) fn kick_once(&self) -> bool {
        let Some(mut writer) = self.writer.try_lock() else {
            return false;
        };
        let blocked = self.write(&mut writer, clock::now());
        let wakers = std::mem::take(&mut writer.harvest.wakers);
        drop(writer);
        wakers.into_iter().for_each(Waker::wake);
        !blocked && !self.outbox.lock().is_empty()
    }

    /// Something is in the outbox that the caller does not stay for.
    fn leave_to_leader(&self) {
        self.left_over.give();
        self.ring_leader();
    }

    /// Runs the writers once over what is in the outbox, a few connections at most; true if the device is full.
    fn write(&self, writer: &mut WriterSide, now: Instant) -> bool {
        let mut blocked = !self.flush(writer);
        if !blocked || writer.egress.has_room() {
            let dropped = self
                .outbox
                .lock()
                .take(CONNECTIONS_PER_RUN, &mut writer.work);
            self.count_full(dropped);
        }
        if !writer.work.is_empty() {
            writer.stages.run(
                now,
                &mut writer.work,
                &mut writer.egress,
                &mut writer.loopback,
                &mut writer.harvest,
            );
            blocked = !self.flush(writer);
            // What has more to say.
            let dropped = self.outbox.lock().append(&mut writer.work);
            self.count_full(dropped);
        }
        if !writer.loopback.is_empty() {
            let mut loopback = self.loopback.lock();
            loopback.append(&mut writer.loopback);
            let dropped = bound_loopback(&mut loopback, LOOPBACK_LIMIT);
            self.count_full(dropped as usize);
            self.has_loopback.store(true, Ordering::Release);
        }
        let mut ring = self.has_loopback.load(Ordering::Relaxed);
        ring |= self.start_timers(&mut writer.harvest, |timers| {
            timers.set_neighbours(writer.stages.ethernet.next_deadline())
        });
        if blocked != self.blocked.swap(blocked, Ordering::AcqRel) {
            ring = true;
        }
        if ring {
            self.ring_leader();
        }
        blocked
    }

    pub(super) fn count_full(&self, dropped: usize) {
        if dropped > 0 {
            tracing::debug!(dropped, "no room");
            self.core
                .counters
                .add(Counter::EgressDropFull, dropped as u64);
        }
    }

    /// True when the device took everything.
    fn flush(&self, writer: &mut WriterSide) -> bool {
        // Not the time at which this turn began: the process may have been stopped since.
        match writer.egress.flush(clock::now(), &mut *writer.device) {
            Ok(done) => done,
            Err(error) => {
                self.fail(&error);
                writer.egress.frames.clear();
                true
            }
        }
    }

    /// Something is there to be sent, and the device has room, as far as is known.
    pub(crate) fn has_left_work(&self) -> bool {
        !self.blocked.load(Ordering::Relaxed) && !self.outbox.lock().is_empty()
    }

    /// True when the readers are past `turn`, and nothing is on its way from there to the device.
    pub(crate) fn is_past(&self, turn: u64) -> bool {
        let now = self.turns.load(Ordering::SeqCst);
        let flushed = self.is_flushed();
        flushed && (turn.is_multiple_of(2) || now != turn)
    }

    /// True when nothing waits to be sent.
    pub(crate) fn is_flushed(&self) -> bool {
        let flushed = {
            // Who holds this lock may put back what it has not come to.
            let writer = self.writer.lock();
            writer.egress.frames.is_empty() && self.outbox.lock().is_empty()
        };
        // Who came with something meanwhile found the lock taken, and left it.
        if self.has_left_work() {
            self.leave_to_leader();
        }
        flushed
    }
}
