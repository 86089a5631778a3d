//! Who leads a queue: its own thread in the background, or an application's thread that has to wait.
//!
//! To wake a thread on another core costs 30 to 45 µs, more than everything else in a request. So a
//! thread that must wait, and is the only one, *drives*: it takes the reader side, receives and
//! processes frames itself until its own condition holds, and hands the queue back. Meanwhile the
//! background thread stands behind with a short timed sleep instead of sleeping on the device, so that
//! handing back costs no wake-up either, as long as the application comes back soon:
//!
//! - Standing behind, the background thread looks every millisecond whether somebody drove since it last
//!   looked. If nobody did, it leads again.
//! - When one drive lasts longer than that, the background thread says `handback_wanted` and sleeps for
//!   good; the driver that leaves starts a timer that wakes it a moment later. An idle process therefore
//!   sleeps with all its threads.
//! - When several threads wait, or the stack has tasks of its own, the background thread leads.

use std::os::fd::AsFd;
use std::sync::atomic::Ordering;
use std::task::Context;
use std::time::Duration;

use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{Expiration, TimerSetTimeFlags};
use parking_lot::MutexGuard;

use super::clock;
use super::parker::{Parker, Turn};
use super::poller::{self, Interest, Patience};
use super::queue::{Queue, ReaderSide};
use crate::socket::WaitError;
use crate::time::Instant;

/// How long the background thread stands behind.
const STAND_BEHIND: Duration = Duration::from_millis(1);

/// After two threads waited at once, none drives for this long.
const CROWDED: Duration = Duration::from_millis(10);

/// What the background thread remembers about drivers.
struct Behind {
    /// Drives seen at the last look.
    seen: Option<u64>,
}

impl Queue {
    /// The life of the queue's own thread.
    pub(crate) fn run_background(&self) {
        let mut behind = Behind {
            seen: Some(self.drives.begun()),
        };
        let mut patience = Patience::new(self.poll_for);
        while !self.stopping.load(Ordering::Acquire) {
            let undriven = !self.drives.is_driven() && behind.seen == Some(self.drives.begun());
            let lead = self.lead_now.swap(false, Ordering::AcqRel) || undriven;
            let reader = if lead { self.reader.try_lock() } else { None };
            let Some(mut reader) = reader else {
                if !self.run_tasks() {
                    self.stand_behind(&mut behind);
                }
                continue;
            };
            behind.seen = Some(self.drives.begun());
            let now = clock::now();
            let worked = self.turn(&mut reader, now, true);
            drop(reader);
            let slept = match worked {
                Ok(true) => {
                    patience.reset();
                    Ok(())
                }
                Ok(false) if patience.is_exhausted(now) => {
                    patience.reset();
                    let bell = &self.background;
                    self.sleep_as_leader(bell, None, || self.background_has_work())
                }
                other => other.map(|_| ()),
            };
            if let Err(error) = slept {
                self.fail(&error);
            }
        }
    }

    fn background_has_work(&self) -> bool {
        self.executor.has_work()
            || self.stopping.load(Ordering::Acquire)
            || self.lead_now.load(Ordering::Acquire)
    }

    /// Runs tasks while somebody else leads.
    fn run_tasks(&self) -> bool {
        let turn = Turn::begin(self.address());
        let ran = self.executor.run();
        drop(turn);
        if ran {
            self.kick();
        }
        ran
    }

    /// Sleeps while an application's thread drives or has just driven; wakes for tasks.
    fn stand_behind(&self, behind: &mut Behind) {
        let drives = Some(self.drives.begun());
        let same_drive = self.drives.is_driven() && behind.seen == drives;
        behind.seen = drives;
        let bell = &*self.background;
        bell.begin_sleep();
        let mut has_work = self.background_has_work();
        let now = clock::now();
        let mut deadline = Some(now + STAND_BEHIND);
        if same_drive {
            // Either the driver that leaves sees the wish, or this sees that it has left.
            has_work |= !self.drives.want_handback();
            deadline = None;
        }
        if !has_work {
            let interest = Interest {
                readable: Some(self.handback.as_fd()),
                writable: None,
            };
            // Fails only for lack of kernel memory: then this looks again at once.
            let _ = poller::wait(bell, interest, now, deadline);
        }
        if same_drive {
            self.drives.need_no_handback();
            // Stops it, so that it is not readable any more.
            let _ = self.handback.unset();
        }
        bell.end_sleep();
    }

    /// Waits on the calling thread until `poll` returns true. See [`crate::socket::Runtime::wait`].
    pub(crate) fn wait(
        &self,
        may_drive: bool,
        deadline: Option<Instant>,
        poll: &mut dyn FnMut(&mut Context<'_>) -> bool,
    ) -> Result<(), WaitError> {
        Parker::look_first(poll, |parker, poll| {
            if !may_drive {
                return self.parking.wait(parker, self.poll_for, deadline, poll);
            }
            let alone = self.waiters.fetch_add(1, Ordering::AcqRel) == 0;
            let result = if alone && self.executor.is_unused() && !self.is_crowded() {
                self.drive(parker, deadline, poll)
            } else {
                self.set_crowded();
                self.parking.wait(parker, self.poll_for, deadline, poll)
            };
            self.waiters.fetch_sub(1, Ordering::AcqRel);
            result
        })
    }

    fn is_crowded(&self) -> bool {
        let until = self.crowded_until.load(Ordering::Relaxed);
        until != 0 && clock::now().as_nanos() < until
    }

    fn set_crowded(&self) {
        let until = (clock::now() + CROWDED).as_nanos();
        self.crowded_until.store(until, Ordering::Relaxed);
    }

    /// Becomes leader as soon as the background thread's turn is over.
    fn drive(
        &self,
        parker: &Parker,
        deadline: Option<Instant>,
        poll: &mut dyn FnMut() -> bool,
    ) -> Result<(), WaitError> {
        self.drives.announce();
        // A turn is short, and the background thread starts none while there is a driver.
        let reader = self.reader.lock();
        self.drives.begin();
        parker.set_bell(Some(std::sync::Arc::clone(&self.driver)));
        let result = self.lead(reader, parker, deadline, poll);
        parker.set_bell(None);
        if self.has_left_work() {
            self.kick();
        }
        let handback_wanted = self.drives.end();
        if self.waiters.load(Ordering::Relaxed) > 1 {
            self.set_crowded();
            self.lead_now.store(true, Ordering::Release);
            self.background.wake();
        } else if handback_wanted {
            let soon = Expiration::OneShot(TimeSpec::from(STAND_BEHIND));
            if self.handback.set(soon, TimerSetTimeFlags::empty()).is_err() {
                self.background.wake();
            }
        }
        result
    }

    fn lead(
        &self,
        mut reader: MutexGuard<'_, ReaderSide>,
        parker: &Parker,
        deadline: Option<Instant>,
        poll: &mut dyn FnMut() -> bool,
    ) -> Result<(), WaitError> {
        let mut patience = Patience::new(self.poll_for);
        loop {
            if parker.is_notified() {
                parker.clear();
                if poll() {
                    return Ok(());
                }
            }
            if self.stopping.load(Ordering::Acquire) {
                return Err(WaitError::Stopped);
            }
            let now = clock::now();
            if deadline.is_some_and(|deadline| deadline <= now) {
                return Err(WaitError::TimedOut);
            }
            let slept = match self.turn(&mut reader, now, false) {
                Ok(true) => {
                    patience.reset();
                    Ok(())
                }
                Ok(false) if patience.is_exhausted(now) => {
                    patience.reset();
                    self.sleep_as_leader(&self.driver, deadline, || parker.is_notified())
                }
                other => other.map(|_| ()),
            };
            if let Err(error) = slept {
                self.fail(&error);
            }
        }
    }
}
