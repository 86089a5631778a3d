//! The topology without threads, for virtual time: the caller hands in the time, frames and calls, takes
//! frames out, and asks for the next deadline. Simulation, pcap replay and conformance tools use it.
//!
//! A blocking call steps the world through a hook ([`Stepped::on_wait`]) until what it waits for is
//! there; tasks run in [`Stepped::poll`].

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Waker};

use outlive_driver::{Capabilities, Transmit};
use parking_lot::Mutex;

use super::build::{Parts, StartError, build};
use super::config::Config;
use super::egress::Egress;
use super::executor::Executor;
use super::parker::{Parker, Turn};
use super::stack::Stack;
use super::stages::{Readers, Writers, bound_loopback};
use super::timers::{Due, Timers};
use super::work::{Harvest, Work};
use crate::counters::{Counter, Counters};
use crate::ip::{RxPacket, TxDatagram};
use crate::packet::{RxFrame, TxFrame};
use crate::socket::{Runtime, WaitError};
use crate::tcp::{Connection, FourTuple};
use crate::time::Instant;

/// Rounds of tasks and writers in one [`Stepped::poll`]; two tasks that feed each other for ever go on in
/// the next.
const ROUNDS: usize = 10_000;
/// Packets to this host itself that may wait.
const LOOPBACK_LIMIT: usize = 4096;

/// What steps the world; false when nothing more can happen.
type Hook = Box<dyn FnMut() -> bool + Send>;

/// A stack that only moves when it is told to.
pub struct Stepped {
    world: Arc<World>,
    stack: Stack,
}

struct World {
    stages: Mutex<Stages>,
    outbox: Mutex<Work>,
    timers: Mutex<Timers>,
    executor: Executor,
    counters: Arc<Counters>,
    now_nanos: AtomicU64,
    hook: Mutex<Option<Hook>>,
}

struct Stages {
    readers: Readers,
    writers: Writers,
    egress: Egress,
    loopback: Vec<RxPacket>,
    work: Work,
    harvest: Harvest,
    due: Due,
}

/// Collects what leaves.
struct Collect<'a>(&'a mut VecDeque<TxFrame>);

impl Transmit for Collect<'_> {
    fn transmit(&mut self, batch: &mut VecDeque<TxFrame>) -> io::Result<()> {
        self.0.append(batch);
        Ok(())
    }
}

impl Stepped {
    /// A stack on a device with these capabilities, at time `now`.
    ///
    /// # Errors
    /// When the configuration makes no sense.
    pub fn new(
        capabilities: &Capabilities,
        config: Config,
        now: Instant,
    ) -> Result<Self, StartError> {
        let parts = build(capabilities, 1, &config, now)?;
        let Parts { core, queues } = parts;
        let Some((readers, writers)) = queues.into_iter().next() else {
            return Err(StartError::NoQueue);
        };
        let counters = Arc::clone(&core.counters);
        let egress = Egress::new(config.permit, Arc::clone(&counters), config.egress_frames);
        let mut timers = Timers::new(now, Arc::clone(&core.tcp));
        timers.set_neighbours(writers.ethernet.next_deadline());
        let world = Arc::new(World {
            stages: Mutex::new(Stages {
                readers,
                writers,
                egress,
                loopback: Vec::new(),
                work: Work::default(),
                harvest: Harvest::default(),
                due: Due::default(),
            }),
            outbox: Mutex::default(),
            timers: Mutex::new(timers),
            executor: Executor::new(Arc::new(|| ())),
            counters,
            now_nanos: AtomicU64::new(now.as_nanos()),
            hook: Mutex::new(None),
        });
        let stack = Stack::new(core, world.clone());
        Ok(Self { world, stack })
    }

    /// What blocking calls use to let the world move on: `step` is called once per look, and returns
    /// false when nothing more can happen.
    pub fn on_wait(&self, step: impl FnMut() -> bool + Send + 'static) {
        *self.world.hook.lock() = Some(Box::new(step));
    }

    /// The handle that sockets need.
    #[must_use]
    pub fn stack(&self) -> Stack {
        self.stack.clone()
    }

    /// Runs frames up the stages. Answers leave with the next [`Stepped::poll`].
    pub fn receive(&self, now: Instant, frames: &mut Vec<RxFrame>) {
        self.world.receive(now, frames);
    }

    /// Does what is due at `now`, runs tasks, and moves out what is to be sent.
    pub fn poll(&self, now: Instant, out: &mut VecDeque<TxFrame>) {
        self.world.poll(now, out);
    }

    /// When [`Stepped::poll`] is to be called next, if nothing happens before; the present if there is
    /// work left.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Instant> {
        let world = &self.world;
        let busy = !world.outbox.lock().is_empty()
            || world.executor.has_work()
            || !world.stages.lock().loopback.is_empty();
        if busy {
            return Some(world.now());
        }
        world.timers.lock().next_deadline()
    }
}

impl World {
    fn advance(&self, now: Instant) {
        self.now_nanos.fetch_max(now.as_nanos(), Ordering::Relaxed);
    }

    fn receive(&self, now: Instant, frames: &mut Vec<RxFrame>) {
        self.advance(now);
        let mut wakers = {
            let stages = &mut *self.stages.lock();
            stages
                .readers
                .run(now, frames, &mut stages.loopback, &mut stages.harvest);
            self.settle(stages)
        };
        wakers.drain(..).for_each(Waker::wake);
    }

    /// Passes on what stages left; returns who is to be woken once no lock is held.
    fn settle(&self, stages: &mut Stages) -> Vec<Waker> {
        let dropped = self.outbox.lock().append(&mut stages.harvest.work);
        self.count_full(dropped);
        let mut timers = self.timers.lock();
        for (deadline, connection) in stages.harvest.timers.drain(..) {
            timers.watch(deadline, &connection);
        }
        timers.set_reassembly(stages.readers.next_deadline());
        timers.set_neighbours(stages.writers.ethernet.next_deadline());
        std::mem::take(&mut stages.harvest.wakers)
    }

    fn count_full(&self, dropped: usize) {
        if dropped > 0 {
            self.counters.add(Counter::EgressDropFull, dropped as u64);
        }
    }

    fn poll(&self, now: Instant, out: &mut VecDeque<TxFrame>) {
        self.advance(now);
        for _ in 0..ROUNDS {
            let (mut wakers, wrote) = self.round(now, out);
            wakers.drain(..).for_each(Waker::wake);
            let turn = Turn::begin(std::ptr::from_ref(self).addr());
            let ran = self.executor.run();
            drop(turn);
            if !wrote && !ran && self.outbox.lock().is_empty() {
                return;
            }
        }
    }

    /// Timers, loopback and the writers, once; whom to wake, and whether there was anything to do.
    fn round(&self, now: Instant, out: &mut VecDeque<TxFrame>) -> (Vec<Waker>, bool) {
        let stages = &mut *self.stages.lock();
        self.timers.lock().expire(now, &mut stages.due);
        let (due, harvest) = (&mut stages.due, &mut stages.harvest);
        harvest.work.connections.append(&mut due.connections);
        harvest.wakers.append(&mut due.wakers);
        harvest.work.neighbours_due |= std::mem::take(&mut due.neighbours);
        if std::mem::take(&mut due.reassembly) {
            stages.readers.poll(now, harvest);
        }
        if !stages.loopback.is_empty() {
            stages
                .readers
                .run(now, &mut Vec::new(), &mut stages.loopback, harvest);
        }
        stages.work.append(&mut harvest.work);
        let dropped = stages.work.append(&mut self.outbox.lock());
        self.count_full(dropped);
        let mut wrote = false;
        while !stages.work.is_empty() {
            wrote = true;
            stages.writers.run(
                now,
                &mut stages.work,
                &mut stages.egress,
                &mut stages.loopback,
                harvest,
            );
            self.count_full(bound_loopback(&mut stages.loopback, LOOPBACK_LIMIT) as usize);
            // Collecting cannot fail.
            let _ = stages.egress.flush(now, &mut Collect(out));
        }
        wrote |= !stages.loopback.is_empty();
        (self.settle(stages), wrote)
    }
}

impl Runtime for World {
    fn now(&self) -> Instant {
        Instant::from_nanos(self.now_nanos.load(Ordering::Relaxed))
    }

    fn output(&self, connection: &Arc<Connection>) {
        if connection.schedule() {
            self.outbox.lock().connections.push(Arc::clone(connection));
        }
    }

    fn send(&self, datagram: TxDatagram) -> bool {
        let mut outbox = self.outbox.lock();
        let room = !outbox.is_full();
        if room {
            outbox.datagrams.push(datagram);
        }
        room
    }

    fn wait(
        &self,
        _flow: Option<&FourTuple>,
        _may_drive: bool,
        deadline: Option<Instant>,
        poll: &mut dyn FnMut(&mut Context<'_>) -> bool,
    ) -> Result<(), WaitError> {
        let parker = Parker::current();
        let waker = parker.waker();
        if let Some(deadline) = deadline {
            // So that the world knows that there is something to come.
            self.wake_at(deadline, Waker::noop().clone());
        }
        loop {
            parker.clear();
            if poll(&mut Context::from_waker(&waker)) {
                return Ok(());
            }
            if deadline.is_some_and(|deadline| deadline <= self.now()) {
                return Err(WaitError::TimedOut);
            }
            // Locked while another wait steps the world from inside a step: that can never end.
            let mut hook = self.hook.try_lock().ok_or(WaitError::Deadlock)?;
            let step = hook.as_mut().ok_or(WaitError::Deadlock)?;
            if Turn::is_any() || (!step() && !parker.is_notified()) {
                return Err(WaitError::Deadlock);
            }
        }
    }

    fn executor(&self, _flow: Option<&FourTuple>) -> &Executor {
        &self.executor
    }

    fn wake_at(&self, deadline: Instant, waker: Waker) {
        self.timers.lock().wake_at(deadline, waker);
    }

    fn inject(&self, mut packets: Vec<RxPacket>) {
        let stages = &mut *self.stages.lock();
        stages.loopback.append(&mut packets);
        self.count_full(bound_loopback(&mut stages.loopback, LOOPBACK_LIMIT) as usize);
    }

    fn look_at_neighbours(&self) {
        self.outbox.lock().neighbours_due = true;
    }

    fn is_flushed(&self) -> bool {
        self.outbox.lock().is_empty()
    }

    fn stop(&self) {
        self.executor.clear();
    }

    fn sleeps_and_rings(&self) -> (u64, u64) {
        (0, 0)
    }
}
