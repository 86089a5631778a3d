//! The impairments of `impairment.rs` in real time, between two devices, on a thread of its own: a bad
//! link for unmodified kernels and stacks, where the kernel has no netem.
//!
//! Frames are cut and completed before they enter a link, as a real wire carries them. The thread sleeps
//! in `ppoll` until a frame comes or is due, with the kernel's timer slack (50 µs) turned off.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;
use nix::sys::eventfd::{EfdFlags, EventFd};
use parking_lot::Mutex;

use crate::device::{Interface, Medium, Receive, Transmit};
use crate::frame::{RxFrame, TxFrame};
use crate::impairment::{Impairment, Link, LinkTotals};
use crate::random::Random;
use crate::segment::cut_received;
use crate::time::Instant;

/// Frames taken from a device before the others have their turn.
const TURN: usize = 64;

/// Frames that wait for a device that is full; beyond, they are dropped as by a full ring.
const WAITING: usize = 4096;

/// What became of the frames so far, one direction each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RelayTotals {
    /// From the first device to the second.
    pub to_b: LinkTotals,
    /// From the second device to the first.
    pub to_a: LinkTotals,
    /// Frames that were due, and a device that stayed full dropped.
    pub refused: u64,
}

/// Starts relays.
pub struct Relay;

/// A running relay. Dropping it stops it.
pub struct RelayHandle {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<io::Result<()>>>,
}

struct Shared {
    /// Readable when the thread has to look at `orders`.
    event: EventFd,
    orders: Mutex<Orders>,
    totals: Mutex<RelayTotals>,
}

#[derive(Default)]
struct Orders {
    stop: bool,
    /// New settings, to the second device and to the first.
    set: Option<[Impairment; 2]>,
}

impl Relay {
    /// Relays frames between `a` and `b` until the handle is stopped or dropped, or a device is gone.
    /// Links that have the same `seed` and see the same frames treat them the same.
    ///
    /// # Errors
    /// When the devices are of different media, or the system has no thread or descriptor left.
    pub fn start(
        a: Interface,
        b: Interface,
        to_b: Impairment,
        to_a: Impairment,
        seed: u64,
    ) -> io::Result<RelayHandle> {
        let medium = a.capabilities.medium;
        if medium != b.capabilities.medium {
            let text = format!(
                "{} and {} do not carry the same kind of frames",
                a.name, b.name
            );
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        let shared = Arc::new(Shared {
            event: EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?,
            orders: Mutex::default(),
            totals: Mutex::default(),
        });
        let (a_name, b_name) = (a.name.clone(), b.name.clone());
        let ((a_in, a_out), (b_in, b_out)) = (halves(a)?, halves(b)?);
        let mut random = Random::from_seed(seed);
        let mut lane =
            |from, to, impairment| Lane::new(from, to, impairment, medium, random.next_u64());
        let lanes = [lane(a_in, b_out, to_b), lane(b_in, a_out, to_a)];
        let worker = Worker {
            shared: Arc::clone(&shared),
            lanes,
            clock: Clock::start(),
        };
        #[expect(
            clippy::disallowed_methods,
            reason = "a relay works in real time beside its caller"
        )]
        let thread = std::thread::Builder::new()
            .name("relay".into())
            .spawn(move || {
                let result = worker.run();
                if let Err(error) = &result {
                    tracing::warn!(%error, a = a_name, b = b_name, "the relay ends");
                }
                result
            })?;
        Ok(RelayHandle {
            shared,
            thread: Some(thread),
        })
    }
}

impl RelayHandle {
    /// Changes both links; frames in flight stay as they are.
    pub fn set(&self, to_b: Impairment, to_a: Impairment) {
        self.shared.orders.lock().set = Some([to_b, to_a]);
        self.wake();
    }

    /// What became of the frames so far.
    #[must_use]
    pub fn totals(&self) -> RelayTotals {
        *self.shared.totals.lock()
    }

    /// Whether it still relays: not if a device is gone.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.thread
            .as_ref()
            .is_some_and(|thread| !thread.is_finished())
    }

    /// Ends the relay; frames in flight are lost.
    ///
    /// # Errors
    /// What had ended it before, if something had.
    pub fn stop(mut self) -> io::Result<RelayTotals> {
        self.join()?;
        Ok(self.totals())
    }

    fn join(&mut self) -> io::Result<()> {
        let Some(thread) = self.thread.take() else {
            return Ok(());
        };
        self.shared.orders.lock().stop = true;
        self.wake();
        thread
            .join()
            .unwrap_or_else(|_| Err(io::Error::other("the relay's thread panicked")))
    }

    fn wake(&self) {
        // Fails only when it is readable already, 2^64 times over.
        let _ = self.shared.event.write(1);
    }
}

impl Drop for RelayHandle {
    fn drop(&mut self) {
        if let Err(error) = self.join() {
            tracing::debug!(%error, "the relay had ended");
        }
    }
}

type Receivers = Vec<Box<dyn Receive>>;

/// All receiving halves, and one that transmits: so frames keep their order.
fn halves(interface: Interface) -> io::Result<(Receivers, Box<dyn Transmit>)> {
    let mut queues = interface.queues.into_iter();
    let first = queues
        .next()
        .ok_or_else(|| io::Error::other("a device without queues"))?;
    let mut receivers = vec![first.receive];
    receivers.extend(queues.map(|queue| queue.receive));
    Ok((receivers, first.transmit))
}

/// One direction.
struct Lane {
    from: Receivers,
    to: Box<dyn Transmit>,
    link: Link,
    medium: Medium,
    waiting: VecDeque<TxFrame>,
    refused: u64,
    received: Vec<RxFrame>,
    wire: Vec<Bytes>,
}

impl Lane {
    fn new(
        from: Receivers,
        to: Box<dyn Transmit>,
        impairment: Impairment,
        medium: Medium,
        seed: u64,
    ) -> Self {
        Self {
            from,
            to,
            link: Link::new(impairment, medium, seed),
            medium,
            waiting: VecDeque::new(),
            refused: 0,
            received: Vec::new(),
            wire: Vec::new(),
        }
    }

    /// Moves what is there; true if that was anything.
    fn turn(&mut self, clock: &Clock) -> io::Result<bool> {
        for from in &mut self.from {
            from.receive(&mut self.received, TURN)?;
        }
        let now = clock.now();
        let any = !self.received.is_empty();
        for frame in self.received.drain(..) {
            cut_received(&frame, self.medium, &mut self.wire);
            for wire_frame in self.wire.drain(..) {
                self.link.offer(now, wire_frame);
            }
        }
        self.link.poll(now, &mut self.wire);
        let due = self.wire.len();
        for frame in self.wire.drain(..) {
            if self.waiting.len() < WAITING {
                self.waiting.push_back(TxFrame::whole(frame));
            } else {
                self.refused += 1;
            }
        }
        if !self.waiting.is_empty() {
            self.to.transmit(&mut self.waiting)?;
        }
        Ok(any || due > 0)
    }
}

struct Worker {
    shared: Arc<Shared>,
    lanes: [Lane; 2],
    clock: Clock,
}

impl Worker {
    fn run(mut self) -> io::Result<()> {
        // SAFETY: takes its argument by value and concerns this thread only. If it fails, timers are late
        // by 50 µs, as usual.
        unsafe { libc::prctl(libc::PR_SET_TIMERSLACK, 1 as libc::c_ulong) };
        loop {
            let [to_b, to_a] = &mut self.lanes;
            let busy = to_b.turn(&self.clock)? | to_a.turn(&self.clock)?;
            *self.shared.totals.lock() = RelayTotals {
                to_b: to_b.link.totals(),
                to_a: to_a.link.totals(),
                refused: to_b.refused + to_a.refused,
            };
            if !self.take_orders() {
                return Ok(());
            }
            if !busy {
                self.wait()?;
            }
        }
    }

    /// False if it is to stop.
    fn take_orders(&mut self) -> bool {
        // Not readable is no error: there are no orders then.
        if self.shared.event.read().is_err() {
            return true;
        }
        let orders = std::mem::take(&mut *self.shared.orders.lock());
        if let Some(impairments) = orders.set {
            for (lane, impairment) in self.lanes.iter_mut().zip(impairments) {
                lane.link.set(impairment);
            }
        }
        !orders.stop
    }

    fn wait(&self) -> io::Result<()> {
        let mut fds = vec![poll_fd(self.shared.event.as_fd(), libc::POLLIN)];
        for lane in &self.lanes {
            let readable = lane.from.iter().filter_map(|from| from.wait_fd());
            fds.extend(readable.map(|fd| poll_fd(fd, libc::POLLIN)));
            let writable = lane.to.wait_fd().filter(|_| !lane.waiting.is_empty());
            fds.extend(writable.map(|fd| poll_fd(fd, libc::POLLOUT)));
        }
        let deadline = self
            .lanes
            .iter()
            .filter_map(|lane| lane.link.next_deadline())
            .min();
        let left = deadline.map(|deadline| deadline.since(self.clock.now()));
        let timeout = left.map(|left| libc::timespec {
            tv_sec: left.as_secs() as libc::time_t,
            tv_nsec: left.subsec_nanos().into(),
        });
        let timeout = timeout
            .as_ref()
            .map_or(std::ptr::null(), std::ptr::from_ref);
        // SAFETY: the descriptors and the time-out outlive the call; no signal mask is passed.
        let n = unsafe { libc::ppoll(fds.as_mut_ptr(), fds.len() as _, timeout, std::ptr::null()) };
        match io::Error::last_os_error() {
            error if n < 0 && error.kind() != io::ErrorKind::Interrupted => Err(error),
            _ => Ok(()),
        }
    }
}

fn poll_fd(fd: BorrowedFd<'_>, events: libc::c_short) -> libc::pollfd {
    libc::pollfd {
        fd: fd.as_raw_fd(),
        events,
        revents: 0,
    }
}

/// Real time as the links count it.
struct Clock {
    epoch: std::time::Instant,
}

#[expect(clippy::disallowed_methods, reason = "a relay works in real time")]
impl Clock {
    fn start() -> Self {
        Self {
            epoch: std::time::Instant::now(),
        }
    }

    fn now(&self) -> Instant {
        let elapsed: Duration = self.epoch.elapsed();
        Instant::ZERO + elapsed
    }
}

#[cfg(test)]
#[path = "relay_tests.rs"]
mod tests;
