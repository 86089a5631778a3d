//! How an application's thread waits: a [`Waker`] that unparks it, and a brief look before it parks.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Wake as WakeTask, Waker};
use std::thread::{self, Thread};
use std::time::Duration;

use parking_lot::Mutex;
use slab::Slab;

use super::clock;
use super::notice::Notice;
use super::poller::Patience;
use super::wake::Wake;
use crate::socket::WaitError;
use crate::time::Instant;

/// One thread that may wait.
#[derive(Debug)]
pub(crate) struct Parker {
    thread: Thread,
    notice: Notice,
    /// The bell to ring while the thread, instead of parking, drives a queue and may sleep in poll(2).
    bell: Mutex<Option<Arc<Wake>>>,
}

thread_local! {
    static PARKER: Arc<Parker> = Arc::new(Parker {
        thread: thread::current(),
        notice: Notice::new(),
        bell: Mutex::new(None),
    });
}

impl Parker {
    /// That of the calling thread.
    pub(crate) fn current() -> Arc<Self> {
        PARKER.with(Arc::clone)
    }

    /// A waker that ends this thread's wait.
    pub(crate) fn waker(self: &Arc<Self>) -> Waker {
        Waker::from(Arc::clone(self))
    }

    /// True when somebody woke this thread since [`Parker::clear`].
    pub(crate) fn is_notified(&self) -> bool {
        self.notice.is_given()
    }

    /// Forgets notifications. Look at the condition after this, not before.
    pub(crate) fn clear(&self) {
        self.notice.take();
    }

    /// The head of every wait: looks once with this thread's waker. If that is not enough, `wait` goes on
    /// with the same look, unless the thread runs a turn of a queue, which must not wait.
    pub(crate) fn look_first(
        poll: &mut dyn FnMut(&mut Context<'_>) -> bool,
        wait: impl FnOnce(&Arc<Self>, &mut dyn FnMut() -> bool) -> Result<(), WaitError>,
    ) -> Result<(), WaitError> {
        let parker = Self::current();
        parker.clear();
        let waker = parker.waker();
        let mut poll = || poll(&mut Context::from_waker(&waker));
        if poll() {
            return Ok(());
        }
        if Turn::is_any() {
            return Err(WaitError::Deadlock);
        }
        wait(&parker, &mut poll)
    }

    /// From now on (or no longer) ring `bell` too.
    pub(crate) fn set_bell(&self, bell: Option<Arc<Wake>>) {
        *self.bell.lock() = bell;
    }

    /// Waits for a notification, `poll_for` by looking and then asleep; false when `deadline` came first.
    pub(crate) fn park(&self, poll_for: Duration, deadline: Option<Instant>) -> bool {
        let mut patience = Patience::new(poll_for);
        loop {
            if self.is_notified() {
                return true;
            }
            let now = clock::now();
            if deadline.is_some_and(|deadline| deadline <= now) {
                return false;
            }
            if !patience.is_exhausted(now) {
                std::hint::spin_loop();
                continue;
            }
            match deadline {
                Some(deadline) => thread::park_timeout(deadline.since(now)),
                None => thread::park(),
            }
        }
    }

    pub(crate) fn notify(&self) {
        if !self.notice.give() {
            return;
        }
        if let Some(bell) = &*self.bell.lock() {
            bell.wake();
        }
        self.thread.unpark();
    }
}

impl WakeTask for Parker {
    fn wake(self: Arc<Self>) {
        self.notify();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.notify();
    }
}

/// The threads that are parked, so that a stack that stops can send them away.
#[derive(Debug, Default)]
pub(crate) struct Parking {
    parked: Mutex<Slab<Arc<Parker>>>,
    stopped: AtomicBool,
}

impl Parking {
    /// Parks the calling thread until somebody else has made `poll` true.
    pub(crate) fn wait(
        &self,
        parker: &Arc<Parker>,
        poll_for: Duration,
        deadline: Option<Instant>,
        poll: &mut dyn FnMut() -> bool,
    ) -> Result<(), WaitError> {
        let key = self.parked.lock().insert(Arc::clone(parker));
        let result = loop {
            if self.stopped.load(Ordering::Acquire) {
                break Err(WaitError::Stopped);
            }
            if !parker.park(poll_for, deadline) {
                break Err(WaitError::TimedOut);
            }
            parker.clear();
            if poll() {
                break Ok(());
            }
        };
        self.parked.lock().remove(key);
        result
    }

    /// Ends all waits, now and later.
    pub(crate) fn stop(&self) {
        self.stopped.store(true, Ordering::Release);
        for (_, parker) in &*self.parked.lock() {
            parker.notify();
        }
    }
}

thread_local! {
    static TURN_OF: Cell<usize> = const { Cell::new(0) };
}

/// Marks the calling thread as running a turn of the queue at `address` until dropped.
pub(crate) struct Turn {
    before: usize,
}

impl Turn {
    pub(crate) fn begin(address: usize) -> Self {
        Self {
            before: TURN_OF.replace(address),
        }
    }

    /// True while the calling thread runs a turn of the queue at `address`.
    pub(crate) fn is_of(address: usize) -> bool {
        TURN_OF.get() == address
    }

    /// True while the calling thread runs a turn of any queue, and so must not wait for one.
    pub(crate) fn is_any() -> bool {
        TURN_OF.get() != 0
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        TURN_OF.set(self.before);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_notification_before_the_wait_is_not_lost() {
        let parker = Parker::current();
        parker.clear();
        parker.waker().wake();
        assert!(parker.park(Duration::ZERO, None));
        parker.clear();
        let soon = clock::now() + Duration::from_millis(1);
        assert!(!parker.park(Duration::ZERO, Some(soon)));
    }

    #[test]
    fn a_thread_is_woken_from_its_sleep() {
        let parker = Parker::current();
        for _ in 0..100 {
            parker.clear();
            let waker = parker.waker();
            let other = thread::spawn(move || waker.wake());
            assert!(parker.park(Duration::ZERO, None));
            other.join().unwrap();
        }
    }
}
