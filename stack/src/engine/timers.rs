//! Who is to be looked at again, and when: connections and sleeping tasks on one wheel.
//!
//! A connection has at most one entry that counts: starting a later timer than the one already running
//! does nothing, because the connection tells its true deadline when it is looked at. So a connection
//! that restarts its retransmission timer with every segment costs one entry per time-out, not one per
//! segment.
//!
//! Entries name connections and do not hold them, not even weakly: a weak reference keeps the memory of a
//! connection that is gone until its timer would have fired, and under a SYN flood, or with keep-alive
//! timers of hours, that adds up.

use std::sync::Arc;
use std::task::Waker;

use super::timer_wheel::TimerWheel;
use crate::tcp::{Connection, FourTuple, Tcp};
use crate::time::Instant;

/// What a timer is for.
enum Timer {
    Connection(FourTuple),
    Task(Waker),
}

/// The timers of one queue.
pub(crate) struct Timers {
    tcp: Arc<Tcp>,
    wheel: TimerWheel<Timer>,
    due: Vec<(Instant, Timer)>,
    /// When the neighbour cache is to be looked at.
    neighbours: Instant,
    /// When reassembly is to be looked at.
    reassembly: Instant,
    /// The deadline that the queue's thread sleeps towards.
    sleeping_until: Instant,
}

/// What is due.
#[derive(Default)]
pub(crate) struct Due {
    /// Connections for the TCP writer.
    pub(crate) connections: Vec<Arc<Connection>>,
    /// Sleeping tasks.
    pub(crate) wakers: Vec<Waker>,
    /// The Ethernet writer is to be polled.
    pub(crate) neighbours: bool,
    /// The IP reader is to be polled.
    pub(crate) reassembly: bool,
}

impl Timers {
    pub(crate) fn new(now: Instant, tcp: Arc<Tcp>) -> Self {
        Self {
            tcp,
            wheel: TimerWheel::new(now),
            due: Vec::new(),
            neighbours: Instant::FAR_FUTURE,
            reassembly: Instant::FAR_FUTURE,
            sleeping_until: Instant::ZERO,
        }
    }

    /// Has `connection` looked at again at `deadline` or before. True when the queue's thread sleeps
    /// longer than that and must be woken.
    pub(crate) fn watch(&mut self, deadline: Instant, connection: &Arc<Connection>) -> bool {
        if !connection.arm(deadline) {
            return false;
        }
        self.insert(deadline, Timer::Connection(connection.id))
    }

    /// Wakes a task at `deadline`. The result is that of [`Timers::watch`].
    pub(crate) fn wake_at(&mut self, deadline: Instant, waker: Waker) -> bool {
        self.insert(deadline, Timer::Task(waker))
    }

    /// Sets when the neighbour cache is to be looked at. The result is that of [`Timers::watch`].
    pub(crate) fn set_neighbours(&mut self, deadline: Option<Instant>) -> bool {
        self.neighbours = deadline.unwrap_or(Instant::FAR_FUTURE);
        self.is_earlier(self.neighbours)
    }

    /// Sets when reassembly is to be looked at. The result is that of [`Timers::watch`].
    pub(crate) fn set_reassembly(&mut self, deadline: Option<Instant>) -> bool {
        self.reassembly = deadline.unwrap_or(Instant::FAR_FUTURE);
        self.is_earlier(self.reassembly)
    }

    fn insert(&mut self, deadline: Instant, timer: Timer) -> bool {
        self.wheel.insert(deadline, timer);
        self.is_earlier(deadline)
    }

    fn is_earlier(&mut self, deadline: Instant) -> bool {
        let earlier = deadline < self.sleeping_until;
        self.sleeping_until = self.sleeping_until.min(deadline);
        earlier
    }

    /// The next deadline; from now on whoever starts an earlier timer is told to wake the sleeper.
    pub(crate) fn begin_sleep(&mut self) -> Option<Instant> {
        let deadline = self.next_deadline();
        self.sleeping_until = deadline.unwrap_or(Instant::FAR_FUTURE);
        deadline
    }

    /// The next deadline.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        let stages = self.neighbours.min(self.reassembly);
        let wheel = self.wheel.next_deadline().unwrap_or(Instant::FAR_FUTURE);
        Some(wheel.min(stages)).filter(|&deadline| deadline < Instant::FAR_FUTURE)
    }

    /// Moves out what is due.
    pub(crate) fn expire(&mut self, now: Instant, due: &mut Due) {
        if self.neighbours <= now {
            self.neighbours = Instant::FAR_FUTURE;
            due.neighbours = true;
        }
        if self.reassembly <= now {
            self.reassembly = Instant::FAR_FUTURE;
            due.reassembly = true;
        }
        self.wheel.expire(now, &mut self.due);
        for (deadline, timer) in self.due.drain(..) {
            match timer {
                Timer::Connection(id) => {
                    // A later connection of the same name did not arm this entry, and says so.
                    if let Some(connection) = self.tcp.connection(&id)
                        && connection.disarm(deadline)
                        && connection.schedule()
                    {
                        due.connections.push(connection);
                    }
                }
                Timer::Task(waker) => due.wakers.push(waker),
            }
        }
    }
}
