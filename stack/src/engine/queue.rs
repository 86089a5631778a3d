//! One queue of the device in the run-to-completion topology: what is in it, and what whoever leads it does: receive,
//! run what came up through the stages, look at timers, sleep. How things leave: see [`super::sending`].

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use nix::sys::timerfd::TimerFd;
use outlive_driver::{Receive, Transmit};
use parking_lot::Mutex;

use super::clock;
use super::drives::Drives;
use super::egress::Egress;
use super::executor::Executor;
use super::notice::Notice;
use super::parker::{Parking, Turn};
use super::poller::{self, Interest};
use super::stages::{Core, Readers, Writers, bound_loopback};
use super::timers::{Due, Timers};
use super::wake::Wake;
use super::work::{Harvest, Outbox, Work};
use crate::ip::RxPacket;
use crate::packet::RxFrame;
use crate::time::Instant;

/// Packets to this host itself that may wait for its readers.
pub(super) const LOOPBACK_LIMIT: usize = 4096;

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
    pub(crate) outbox: Mutex<Outbox>,
    /// Somebody who had no time to send all of the outbox left it to who leads.
    pub(crate) left_over: Notice,
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

    /// The device is gone, or this code is wrong: nothing more will come or go.
    pub(crate) fn fail(&self, error: &io::Error) {
        if !self.stopping.swap(true, Ordering::AcqRel) {
            tracing::error!(%error, "a queue is out of order");
        }
        self.end_waits();
    }

    /// Puts timers on the wheel; true when the leader sleeps too long for one of them.
    pub(super) fn start_timers(
        &self,
        harvest: &mut Harvest,
        stage: impl FnOnce(&mut Timers) -> bool,
    ) -> bool {
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
        // Taken away before the outbox is looked at: what is left there later is told of anew.
        let told = self.left_over.is_given();
        if told {
            self.left_over.take();
        }
        if worked || told || self.has_left_work() {
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
        // Looked at and not taken away: an application's thread may have begun to lead meanwhile, and sleep as well.
        let must_look = has_work()
            || self.has_loopback.load(Ordering::Acquire)
            || self.left_over.is_given()
            || self.stopping.load(Ordering::Acquire)
            || self.blocked.load(Ordering::Acquire) != blocked;
        let result = if must_look {
            Ok(())
        } else {
            poller::wait(bell, interest, now, deadline)
        };
        bell.end_sleep();
        if blocked {
            self.kick_briefly();
        }
        result
    }
}
