//! A connection as the rest of the stack holds it: its name, its [`Tcb`] behind a lock, and three things
//! that are about *who has to look at it* and not about TCP.

use std::fmt;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};

use parking_lot::Mutex;

use super::FourTuple;
use super::tcb::Tcb;
use crate::time::Instant;

const SCHEDULED: u8 = 1;
const HALF_OPEN: u8 = 2;
const TIME_WAIT: u8 = 4;
const EARLY: u8 = 8;

/// Entries of a connection in the timer wheel that still count: one per time scale (delayed ACK,
/// retransmission, keep-alive).
const TIMERS: usize = 3;
const NO_TIMER: u64 = u64::MAX;

/// One connection. Whoever changes the Tcb then has the writer look at it, if [`Connection::schedule`]
/// says so.
pub struct Connection {
    /// Its name.
    pub id: FourTuple,
    flags: AtomicU8,
    /// What its queues held when somebody last looked, in bytes.
    held: AtomicU32,
    /// Deadlines in nanoseconds, or [`NO_TIMER`].
    timers: [AtomicU64; TIMERS],
    /// Everything that TCP knows. Held only for a call; no other lock is taken and no waker called while
    /// it is held.
    pub tcb: Mutex<Tcb>,
}

impl Connection {
    pub(super) fn new(id: FourTuple, tcb: Tcb) -> Self {
        Self {
            id,
            flags: AtomicU8::new(0),
            held: AtomicU32::new(0),
            timers: [const { AtomicU64::new(NO_TIMER) }; TIMERS],
            tcb: Mutex::new(tcb),
        }
    }

    /// A connection that its listener counts among the half-open ones.
    pub(super) fn new_half_open(id: FourTuple, tcb: Tcb) -> Self {
        let connection = Self::new(id, tcb);
        connection.flags.store(HALF_OPEN, Ordering::Relaxed);
        connection
    }

    /// A connection that was accepted with the data of its SYN.
    pub(super) fn new_early(id: FourTuple, tcb: Tcb) -> Self {
        let connection = Self::new(id, tcb);
        connection.flags.store(EARLY, Ordering::Relaxed);
        connection
    }

    pub(super) fn is_early(&self) -> bool {
        self.flags.load(Ordering::Acquire) & EARLY != 0
    }

    /// True for the one caller that ends its time as a connection whose handshake is not over.
    pub(super) fn end_early(&self) -> bool {
        self.flags.fetch_and(!EARLY, Ordering::AcqRel) & EARLY != 0
    }

    /// True if the caller has to hand the connection to the writer; false if it waits there already.
    #[must_use]
    pub fn schedule(&self) -> bool {
        self.flags.fetch_or(SCHEDULED, Ordering::AcqRel) & SCHEDULED == 0
    }

    /// The writer begins with it: whatever happens from here on needs another look.
    pub(super) fn begin_turn(&self) {
        self.flags.fetch_and(!SCHEDULED, Ordering::AcqRel);
    }

    pub(super) fn is_half_open(&self) -> bool {
        self.flags.load(Ordering::Acquire) & HALF_OPEN != 0
    }

    /// True for the one caller that ends its time as a half-open connection.
    pub(super) fn end_half_open(&self) -> bool {
        self.flags.fetch_and(!HALF_OPEN, Ordering::AcqRel) & HALF_OPEN != 0
    }

    /// True for the one caller that counts it among those in TIME-WAIT.
    pub(super) fn begin_time_wait(&self) -> bool {
        self.flags.fetch_or(TIME_WAIT, Ordering::AcqRel) & TIME_WAIT == 0
    }

    /// Its queues hold `bytes`; what they held before.
    pub(super) fn swap_held(&self, bytes: usize) -> usize {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        self.held.swap(bytes, Ordering::Relaxed) as usize
    }

    /// Notes that somebody is going to look at the connection at `deadline`. False if somebody will do so
    /// by then already: no new entry in the timer wheel is needed.
    pub fn arm(&self, deadline: Instant) -> bool {
        if self.is_armed_by(deadline) {
            return false;
        }
        // Without a free place the second earliest entry is forgotten: of those that then fire in vain
        // it is the one soonest gone, so that entries cannot pile up.
        let free = self.timer(NO_TIMER).unwrap_or_else(|| {
            let mut order: [usize; TIMERS] = std::array::from_fn(|index| index);
            order.sort_by_key(|&index| self.timers[index].load(Ordering::Relaxed));
            order[1]
        });
        self.timers[free].store(deadline.as_nanos(), Ordering::Relaxed);
        true
    }

    /// True if an entry of the timer wheel fires at `deadline` or before.
    pub(super) fn is_armed_by(&self, deadline: Instant) -> bool {
        let deadline = deadline.as_nanos();
        self.timers
            .iter()
            .any(|timer| timer.load(Ordering::Relaxed) <= deadline)
    }

    /// The entry for `deadline` fired. False if it no longer counts.
    pub fn disarm(&self, deadline: Instant) -> bool {
        let found = self.timer(deadline.as_nanos());
        if let Some(index) = found {
            self.timers[index].store(NO_TIMER, Ordering::Relaxed);
        }
        found.is_some()
    }

    fn timer(&self, nanos: u64) -> Option<usize> {
        self.timers
            .iter()
            .position(|timer| timer.load(Ordering::Relaxed) == nanos)
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut output = f.debug_struct("Connection");
        output.field("id", &self.id);
        if let Some(tcb) = self.tcb.try_lock() {
            output.field("state", &tcb.state());
        }
        output.finish_non_exhaustive()
    }
}
