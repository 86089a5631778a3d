//! One queue of the device in the run-to-completion topology: what its thread, and the threads of
//! applications that write or wait, do to it.
//!
//! **Sending combines.** Whoever has something to send appends it to the outbox and *tries* the writers'
//! lock. Who gets it runs the writers over everything in the outbox, and looks again after unlocking; who
//! does not get it leaves, because the holder will look. So nobody waits for a lock while another
//! transmits, nobody is woken in order to send, and frames of a connection are built and leave in one
//! critical section, in order.
//!
//! No work is lost: the look after unlocking takes the outbox's lock. Either it comes after the append
//! and sees the work, or before it, and then the appender's try comes after the unlocking and succeeds.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::task::Waker;

use nix::sys::timerfd::TimerFd;
use outlive_driver::{Receive, Transmit};
use parking_lot::{Mutex, MutexGuard};

use super::clock;
use super::drives::Drives;
use super::egress::Egress;
use super::executor::Executor;
use super::parker::{Parking, Turn};
use super::poller::{self, Interest};
use super::stages::{Core, Readers, Writers, bound_loopback};
use super::timers::{Due, Timers};
use super::wake::Wake;
use super::work::{Harvest, Work};
use crate::counters::Counter;
use crate::ip::{RxPacket, TxDatagram};
use crate::packet::RxFrame;
use crate::tcp::Connection;
use crate::time::Instant;

/// Connections that get a turn in one run of the writers. Between two runs whoever leads looks for what has
/// arrived: a thousand windows sent in one go would take so long that the acknowledgements of the first
/// overflow the device's queue.
const CONNECTIONS_PER_RUN: usize = 16;

/// Packets to this host itself that may wait for its readers.
const LOOPBACK_LIMIT: usize = 4096;

/// The receiving half with all stages on the way up.
pub(crate) struct ReaderSide {
    pub(crate) device: Box<dyn Receive>,
    pub(crate) stages: Readers,
    pub(crate) frames: Vec<RxFrame>,
    pub(crate) loopback: Vec<RxPacket>,
    pub(crate) harvest: Harvest,
    pub(crate) due: Due,
}

/// The transmitting half with all stages on the way down.
pub(crate) struct WriterSide {
    pub(crate) device: Box<dyn Transmit>,
    pub(crate) stages: Writers,
    pub(crate) egress: Egress,
    pub(crate) work: Work,
    pub(crate) loopback: Vec<RxPacket>,
    pub(crate) harvest: Harvest,
}

/// One queue. Locks are taken in the order reader, writer, then one of the others at a time.
pub(crate) struct Queue {
    pub(crate) core: Arc<Core>,
    pub(crate) poll_for: std::time::Duration,
    pub(crate) batch_frames: usize,
    pub(crate) reader: Mutex<ReaderSide>,
    pub(crate) writer: Mutex<WriterSide>,
    pub(crate) outbox: Mutex<Work>,
    pub(crate) timers: Mutex<Timers>,
    pub(crate) loopback: Mutex<Vec<RxPacket>>,
    pub(crate) has_loopback: AtomicBool,
    pub(crate) executor: Executor,
    /// The bell of the queue's own thread.
    pub(crate) background: Arc<Wake>,
    /// The bell of an application's thread that drives the queue.
    pub(crate) driver: Arc<Wake>,
    /// Copies of the device's descriptors, to wait for without holding a lock.
    pub(crate) readable: Option<OwnedFd>,
    pub(crate) writable: Option<OwnedFd>,
    /// Turns of the readers that began or ended: odd while one is on.
    pub(crate) turns: AtomicU64,
    /// The device took no more frames.
    pub(crate) blocked: AtomicBool,
    pub(crate) stopping: AtomicBool,
    /// Who drives, and whether the background thread waits for that to end.
    pub(crate) drives: Drives,
    /// Started by a driver that leaves, it gets the background thread to look a moment later: that costs
    /// a fraction of a wake-up, which would delay the request that the driver was waiting for.
    pub(crate) handback: TimerFd,
    /// The background thread is to lead at once.
    pub(crate) lead_now: AtomicBool,
    /// Until when (in nanoseconds) no application's thread drives, because several wait.
    pub(crate) crowded_until: AtomicU64,
    /// Application threads that wait and might drive.
    pub(crate) waiters: AtomicUsize,
    pub(crate) parking: Parking,
}

impl Queue {
    /// What [`Turn`] knows this queue by.
    pub(crate) fn address(&self) -> usize {
        std::ptr::from_ref(self).addr()
    }

    /// Has the writers look at `connection`.
    pub(crate) fn output(&self, connection: &Arc<Connection>) {
        if !connection.schedule() {
            return;
        }
        self.outbox.lock().connections.push(Arc::clone(connection));
        self.kick_unless_in_turn();
    }

    /// Sends a datagram, if there is room.
    pub(crate) fn send(&self, datagram: TxDatagram) -> bool {
        {
            let mut outbox = self.outbox.lock();
            if outbox.is_full() {
                return false;
            }
            outbox.datagrams.push(datagram);
        }
        self.kick_unless_in_turn();
        true
    }

    pub(crate) fn kick_unless_in_turn(&self) {
        if !Turn::is_of(self.address()) {
            self.kick();
        }
    }

    /// Runs the writers until nothing is left to send, unless somebody else does or the device is full.
    pub(crate) fn kick(&self) {
        while self.kick_once() {}
    }

    /// One run of the writers; true if there is more for them to do.
    fn kick_once(&self) -> bool {
        let Some(mut writer) = self.writer.try_lock() else {
            return false;
        };
        let blocked = self.write(&mut writer, clock::now());
        let wakers = std::mem::take(&mut writer.harvest.wakers);
        drop(writer);
        wakers.into_iter().for_each(Waker::wake);
        !blocked && !self.outbox.lock().is_empty()
    }

    /// Runs the writers once over what is in the outbox, a few connections at most, and puts back what has
    /// more to say; true if the device is full.
    fn write(&self, writer: &mut MutexGuard<'_, WriterSide>, now: Instant) -> bool {
        let writer = &mut **writer;
        let mut blocked = !self.flush(writer);
        if !blocked || writer.egress.has_room() {
            let dropped = writer.work.append(&mut self.outbox.lock());
            self.count_full(dropped);
        }
        if !writer.work.is_empty() {
            let waiting = writer.work.split_off(CONNECTIONS_PER_RUN);
            writer.stages.run(
                now,
                &mut writer.work,
                &mut writer.egress,
                &mut writer.loopback,
                &mut writer.harvest,
            );
            blocked = !self.flush(writer);
            let mut outbox = self.outbox.lock();
            outbox.connections.extend(waiting);
            outbox.append(&mut writer.work);
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

    /// Takes datagrams that did not come through the device.
    pub(crate) fn inject(&self, mut packets: Vec<RxPacket>) {
        let dropped = {
            let mut loopback = self.loopback.lock();
            loopback.append(&mut packets);
            bound_loopback(&mut loopback, LOOPBACK_LIMIT)
        };
        self.count_full(dropped as usize);
        self.has_loopback.store(true, Ordering::Release);
        self.ring_leader();
    }

    fn count_full(&self, dropped: usize) {
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

    /// The device is gone, or this code is wrong: nothing more will come or go.
    pub(crate) fn fail(&self, error: &io::Error) {
        if !self.stopping.swap(true, Ordering::AcqRel) {
            tracing::error!(%error, "a queue is out of order");
        }
        self.end_waits();
    }

    /// Puts timers on the wheel; true when the leader sleeps too long for one of them.
    fn start_timers(&self, harvest: &mut Harvest, stage: impl FnOnce(&mut Timers) -> bool) -> bool {
        let mut timers = self.timers.lock();
        let mut earlier = stage(&mut timers);
        for (deadline, connection) in harvest.timers.drain(..) {
            earlier |= timers.watch(deadline, &connection);
        }
        earlier
    }

    /// Gets whoever leads, if asleep, to look at timers, loopback and the device again.
    pub(crate) fn ring_leader(&self) {
        self.driver.wake();
        self.background.wake();
    }

    /// Ends all sleeps and waits for good.
    pub(crate) fn end_waits(&self) {
        self.ring_leader();
        self.parking.stop();
    }

    /// One turn of whoever holds the reader side: receive, run what came up through the stages, look at
    /// timers, run tasks if this is the queue's own thread, write. True if there was anything to do.
    ///
    /// # Errors
    /// When the device is gone.
    pub(crate) fn turn(
        &self,
        reader: &mut ReaderSide,
        now: Instant,
        run_tasks: bool,
    ) -> io::Result<bool> {
        // Before the permission to receive is asked for: whoever takes it away sees this turn, or this turn sees that.
        self.turns.fetch_add(1, Ordering::SeqCst);
        let worked = self.read(reader, now, run_tasks);
        self.turns.fetch_add(1, Ordering::SeqCst);
        let mut worked = worked?;
        if worked || self.has_left_work() {
            worked |= self.kick_once();
        }
        Ok(worked)
    }

    /// The part of a turn that comes before writing.
    fn read(&self, reader: &mut ReaderSide, now: Instant, run_tasks: bool) -> io::Result<bool> {
        let _turn = Turn::begin(self.address());
        let received = reader
            .device
            .receive(&mut reader.frames, self.batch_frames)?;
        if self.has_loopback.load(Ordering::Relaxed) {
            let mut loopback = self.loopback.lock();
            reader.loopback.append(&mut loopback);
            self.has_loopback.store(false, Ordering::Release);
        }
        let mut worked = received > 0 || !reader.loopback.is_empty();
        let harvest = &mut reader.harvest;
        if worked {
            reader
                .stages
                .run(now, &mut reader.frames, &mut reader.loopback, harvest);
        }
        worked |= self.look_at_timers(now, &mut reader.due, &mut reader.stages, harvest);
        if worked {
            let deadline = reader.stages.next_deadline();
            self.start_timers(harvest, |timers| timers.set_reassembly(deadline));
            let dropped = self.outbox.lock().append(&mut harvest.work);
            self.count_full(dropped);
            harvest.wake();
        }
        if run_tasks {
            worked |= self.executor.run();
        }
        Ok(worked)
    }

    /// True when the readers are past `turn`, and nothing is on its way from there to the device.
    pub(crate) fn is_past(&self, turn: u64) -> bool {
        let now = self.turns.load(Ordering::SeqCst);
        // Who holds this lock may put back what it has not come to.
        let writer = self.writer.lock();
        (turn.is_multiple_of(2) || now != turn)
            && writer.egress.frames.is_empty()
            && self.outbox.lock().is_empty()
    }

    /// Something is there to be sent, and the device has room, as far as is known.
    pub(crate) fn has_left_work(&self) -> bool {
        !self.blocked.load(Ordering::Relaxed) && !self.outbox.lock().is_empty()
    }

    fn look_at_timers(
        &self,
        now: Instant,
        due: &mut Due,
        stages: &mut Readers,
        harvest: &mut Harvest,
    ) -> bool {
        {
            let mut timers = self.timers.lock();
            if timers.next_deadline().is_none_or(|next| next > now) {
                return false;
            }
            timers.expire(now, due);
        }
        harvest.work.connections.append(&mut due.connections);
        harvest.wakers.append(&mut due.wakers);
        harvest.work.neighbours_due |= std::mem::take(&mut due.neighbours);
        if std::mem::take(&mut due.reassembly) {
            stages.poll(now, harvest);
        }
        true
    }

    /// Sleeps as leader, with `bell`: until there are frames, room in the device if it was full, a timer
    /// or `deadline`, or `has_work`.
    ///
    /// # Errors
    /// When poll(2) fails.
    pub(crate) fn sleep_as_leader(
        &self,
        bell: &Wake,
        deadline: Option<Instant>,
        has_work: impl FnOnce() -> bool,
    ) -> io::Result<()> {
        let now = clock::now();
        let blocked = self.blocked.load(Ordering::Acquire);
        bell.begin_sleep();
        let mut deadline = match (self.timers.lock().begin_sleep(), deadline) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
        let mut interest = Interest {
            readable: self.readable.as_ref().map(std::os::fd::AsFd::as_fd),
            writable: None,
        };
        if blocked {
            interest.writable = self.writable.as_ref().map(std::os::fd::AsFd::as_fd);
            if interest.writable.is_none() {
                let retry = now + poller::FULL_RETRY;
                deadline = Some(deadline.map_or(retry, |deadline| deadline.min(retry)));
            }
        }
        let must_look = has_work()
            || self.has_loopback.load(Ordering::Acquire)
            || self.stopping.load(Ordering::Acquire)
            || self.blocked.load(Ordering::Acquire) != blocked;
        let result = if must_look {
            Ok(())
        } else {
            poller::wait(bell, interest, now, deadline)
        };
        bell.end_sleep();
        if blocked {
            self.kick();
        }
        result
    }
}
