//! The handle of a running stack.

use std::future::Future;
use std::net::IpAddr;
use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize};
use std::sync::{Arc, Weak};
use std::task::Poll;
use std::time::Duration;

use nix::sys::timerfd::{ClockId, TimerFd, TimerFlags};
use outlive_driver::Interface;
use parking_lot::Mutex;

use super::build::{Parts, StartError, build};
use super::clock;
use super::config::{Config, Topology};
use super::drives::Drives;
use super::egress::Egress;
use super::executor::{Executor, Task};
use super::notice::Notice;
use super::parker::Parking;
use super::pipeline::Pipeline;
use super::queue::{Queue, ReaderSide, WriterSide};
use super::run_to_completion::RunToCompletion;
use super::stages::{Core, Readers, Writers};
use super::timers::{Due, Timers};
use super::wake::Wake;
use super::work::{Harvest, Work};
use crate::counters::Counters;
use crate::ip::Cidr;
use crate::socket::Runtime;
use crate::time::Instant;

/// How often a shutdown looks whether all connections have ended.
const SHUTDOWN_LOOK: Duration = Duration::from_millis(2);

/// A running stack. Clones are handles of the same one; it stops when the last is dropped, and sockets
/// hold one each.
#[derive(Clone)]
pub struct Stack {
    inner: Arc<Inner>,
}

struct Inner {
    core: Arc<Core>,
    runtime: Arc<dyn Runtime>,
}

/// A handle that does not keep its stack running.
#[derive(Clone)]
pub(crate) struct WeakStack(Weak<Inner>);

impl WeakStack {
    /// The stack, while it runs.
    pub(crate) fn upgrade(&self) -> Option<Stack> {
        self.0.upgrade().map(|inner| Stack { inner })
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.runtime.stop();
    }
}

impl std::fmt::Debug for Stack {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stack").finish_non_exhaustive()
    }
}

impl Stack {
    /// Starts a stack with threads on `interface`.
    ///
    /// # Errors
    /// When the device cannot be waited for, or the system lacks threads, descriptors or randomness.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "what is read of it must not be used again by another stack"
    )]
    pub fn start(interface: Interface, config: Config) -> Result<Self, StartError> {
        let now = clock::now();
        let Parts { core, queues } = build(
            &interface.capabilities,
            interface.queues.len(),
            &config,
            now,
        )?;
        if queues.is_empty() {
            return Err(StartError::NoQueue);
        }
        let stages = queues.into_iter().zip(interface.queues);
        let runtime: Arc<dyn Runtime> = match config.topology {
            Topology::RunToCompletion => {
                let queues = stages
                    .map(|(stages, device)| queue(&core, stages, device, &config, now))
                    .collect::<Result<_, _>>()?;
                Arc::new(RunToCompletion::start(queues)?)
            }
            Topology::Pipeline => Arc::new(Pipeline::start(&core, stages.collect(), &config, now)?),
        };
        Ok(Self::new(core, runtime))
    }

    pub(crate) fn new(core: Arc<Core>, runtime: Arc<dyn Runtime>) -> Self {
        Self {
            inner: Arc::new(Inner { core, runtime }),
        }
    }

    pub(crate) fn downgrade(&self) -> WeakStack {
        WeakStack(Arc::downgrade(&self.inner))
    }

    /// Announces all addresses at once, and `times` more.
    pub fn announce(&self, times: u32, every: Duration) {
        let link = &self.core().link;
        link.announce_repeatedly(self.now(), times, every);
        self.runtime().look_at_neighbours();
    }

    /// Takes datagrams to `group` from now on, and tells routers and switches so.
    pub fn join(&self, group: IpAddr) {
        let core = self.core();
        core.ip.join(group);
        core.link.join(self.now(), group);
        self.runtime().look_at_neighbours();
    }

    /// Takes datagrams to `group` no longer.
    pub fn leave(&self, group: IpAddr) {
        let core = self.core();
        core.ip.leave(group);
        core.link.leave(self.now(), group);
        self.runtime().look_at_neighbours();
    }

    /// The addresses that it answers to, each with the length of its network: those that it was given, and those that it
    /// has made for itself ([`crate::ethernet::Config::autoconfigure`]).
    #[must_use]
    pub fn addresses(&self) -> Vec<Cidr> {
        self.core().ip.addresses()
    }

    pub(crate) fn core(&self) -> &Core {
        &self.inner.core
    }

    pub(crate) fn runtime(&self) -> &dyn Runtime {
        &*self.inner.runtime
    }

    /// What happened so far.
    #[must_use]
    pub fn counters(&self) -> &Arc<Counters> {
        &self.inner.core.counters
    }

    /// Connections in any state, half-open and TIME-WAIT among them.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.core().tcp.len()
    }

    /// The stack's time: real under threads, the caller's in virtual time.
    #[must_use]
    pub fn now(&self) -> Instant {
        self.runtime().now()
    }

    /// Runs `future` on a thread of the stack, where frames are processed too: so a request crosses no
    /// thread. It must not block.
    pub fn spawn<F>(&self, future: F) -> Task<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        self.runtime().executor(None).spawn(future)
    }

    pub(crate) fn executor_for(&self, flow: &crate::tcp::FourTuple) -> &Executor {
        self.runtime().executor(Some(flow))
    }

    /// Waits in a task.
    pub async fn sleep(&self, duration: Duration) {
        let deadline = self.now() + duration;
        let mut started = false;
        std::future::poll_fn(|context| {
            if self.now() >= deadline {
                return Poll::Ready(());
            }
            if !std::mem::replace(&mut started, true) {
                self.runtime().wake_at(deadline, context.waker().clone());
            }
            Poll::Pending
        })
        .await;
    }

    /// Times that threads of the stack went to sleep, and times that another thread had to wake one: what
    /// an idle stack does not do.
    #[must_use]
    pub fn sleeps_and_rings(&self) -> (u64, u64) {
        self.runtime().sleeps_and_rings()
    }

    /// Closes all listeners, then all connections (FIN after what is still to be sent), waits `within`
    /// for them to end, resets those that have not, and stops all threads. True when all ended properly.
    /// Whoever waits for this stack afterwards gets an error.
    pub fn shutdown(&self, within: Duration) -> bool {
        let tcp = &self.core().tcp;
        for connection in tcp.close_listeners() {
            self.runtime().output(&connection);
        }
        let now = self.now();
        let mut wakers = Vec::new();
        for connection in tcp.connections() {
            {
                let mut tcb = connection.tcb.lock();
                // Whoever reads or writes is told; closing alone would forget them.
                tcb.shutdown_read();
                let _ = tcb.shutdown_write();
                tcb.take_wakers(&mut wakers);
                tcb.close(now);
            }
            self.runtime().output(&connection);
        }
        wakers.drain(..).for_each(std::task::Waker::wake);
        let proper = self.wait_until(now + within, || tcp.is_quiet());
        for connection in tcp.connections() {
            {
                let mut tcb = connection.tcb.lock();
                tcb.abort();
                tcb.take_wakers(&mut wakers);
            }
            self.runtime().output(&connection);
        }
        wakers.drain(..).for_each(std::task::Waker::wake);
        self.wait_until(self.now() + SHUTDOWN_LOOK * 10, || {
            self.runtime().is_flushed()
        });
        self.runtime().stop();
        proper
    }

    /// Looks again and again until `condition` holds or `deadline`; true if it held.
    pub(crate) fn wait_until(&self, deadline: Instant, condition: impl Fn() -> bool) -> bool {
        loop {
            if condition() {
                return true;
            }
            let now = self.now();
            if now >= deadline {
                return false;
            }
            let look = deadline.min(now + SHUTDOWN_LOOK);
            let mut poll = |_: &mut std::task::Context<'_>| condition();
            match self.runtime().wait(None, false, Some(look), &mut poll) {
                Ok(()) => return true,
                Err(crate::socket::WaitError::TimedOut) => {}
                Err(_) => return false,
            }
        }
    }
}

fn handback_timer() -> std::io::Result<TimerFd> {
    let flags = TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC;
    Ok(TimerFd::new(ClockId::CLOCK_MONOTONIC, flags)?)
}

fn queue(
    core: &Arc<Core>,
    (readers, writers): (Readers, Writers),
    device: outlive_driver::Queue,
    config: &Config,
    now: Instant,
) -> Result<Arc<Queue>, StartError> {
    let copy = |descriptor: Option<BorrowedFd<'_>>| {
        descriptor
            .map(|descriptor| descriptor.try_clone_to_owned())
            .transpose()
    };
    let readable = copy(device.receive.wait_fd())?;
    let writable = copy(device.transmit.wait_fd())?;
    if readable.is_none() {
        return Err(StartError::NotWaitable);
    }
    let background = Arc::new(Wake::new()?);
    let bell = Arc::clone(&background);
    let counters = Arc::clone(&core.counters);
    let egress = Egress::new(Arc::clone(&config.permit), counters, config.egress_frames);
    let mut timers = Timers::new(now, Arc::clone(&core.tcp));
    timers.set_neighbours(writers.ethernet.next_deadline());
    Ok(Arc::new(Queue {
        core: Arc::clone(core),
        poll_for: config.poll_for,
        batch_frames: config.batch_frames,
        reader: Mutex::new(ReaderSide {
            device: device.receive,
            stages: readers,
            frames: Vec::new(),
            loopback: Vec::new(),
            harvest: Harvest::default(),
            due: Due::default(),
        }),
        writer: Mutex::new(WriterSide {
            device: device.transmit,
            stages: writers,
            egress,
            work: Work::default(),
            loopback: Vec::new(),
            harvest: Harvest::default(),
        }),
        outbox: Mutex::default(),
        left_over: Notice::new(),
        timers: Mutex::new(timers),
        loopback: Mutex::default(),
        has_loopback: AtomicBool::new(false),
        executor: Executor::new(Arc::new(move || bell.wake())),
        background,
        driver: Arc::new(Wake::new()?),
        readable,
        writable,
        turns: AtomicU64::new(0),
        blocked: AtomicBool::new(false),
        stopping: AtomicBool::new(false),
        drives: Drives::new(),
        handback: handback_timer()?,
        lead_now: AtomicBool::new(false),
        crowded_until: AtomicU64::new(0),
        waiters: AtomicUsize::new(0),
        parking: Parking::default(),
    }))
}
