//! Waking a thread that may be asleep in poll(2), at no cost while it is awake. Why no wake-up is lost: see `sleeper`.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicU64, Ordering};

use nix::sys::eventfd::{EfdFlags, EventFd};

use super::sleeper::Sleeper;

/// The bell of one thread.
#[derive(Debug)]
pub(crate) struct Wake {
    sleeper: Sleeper,
    bell: EventFd,
    /// How often the thread went to sleep in poll(2), for whatever reason it came back.
    sleeps: AtomicU64,
    /// How often somebody had to ring.
    rings: AtomicU64,
}

impl Wake {
    /// # Errors
    /// When the process has no descriptor left.
    pub(crate) fn new() -> io::Result<Self> {
        let flags = EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC;
        Ok(Self {
            sleeper: Sleeper::new(),
            bell: EventFd::from_flags(flags)?,
            sleeps: AtomicU64::new(0),
            rings: AtomicU64::new(0),
        })
    }

    /// Announces sleep. After this the caller must look for work once more, then either sleep until
    /// [`Wake::descriptor`] is readable or not, and call [`Wake::end_sleep`] in both cases.
    pub(crate) fn begin_sleep(&self) {
        self.sleeper.begin();
    }

    /// Awake again.
    pub(crate) fn end_sleep(&self) {
        self.sleeper.end();
    }

    /// The bell was heard. Not called for a thread that was rung for and found work by itself: its bell may ring only
    /// later, and the next sleep, a short one, hears it.
    pub(crate) fn silence(&self) {
        // Fails when it does not ring, which is what is wanted.
        let _ = self.bell.read();
    }

    /// Counts a sleep that really happened.
    pub(crate) fn count_sleep(&self) {
        self.sleeps.fetch_add(1, Ordering::Relaxed);
    }

    /// Makes the thread look for work, if it is asleep. Call after publishing the work.
    pub(crate) fn wake(&self) {
        if self.sleeper.must_be_woken() {
            self.rings.fetch_add(1, Ordering::Relaxed);
            // Fails only when the counter is at its limit, and then the bell rings anyway.
            let _ = self.bell.write(1);
        }
    }

    /// Readable when somebody rang.
    pub(crate) fn descriptor(&self) -> BorrowedFd<'_> {
        self.bell.as_fd()
    }

    pub(crate) fn sleeps(&self) -> u64 {
        self.sleeps.load(Ordering::Relaxed)
    }

    pub(crate) fn rings(&self) -> u64 {
        self.rings.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::clock;
    use super::super::poller::{self, Interest};
    use super::*;

    fn sleep(wake: &Wake, length: Duration) -> Duration {
        let start = clock::now();
        wake.begin_sleep();
        poller::wait(wake, Interest::default(), start, Some(start + length)).unwrap();
        wake.end_sleep();
        clock::now().since(start)
    }

    /// Who rings may be held up between deciding to and ringing, until the sleeper is awake by itself. Otherwise the
    /// thread could not sleep any more until somebody rings again.
    #[test]
    fn a_ring_that_comes_late_is_heard_once() {
        let (wake, length) = (Wake::new().unwrap(), Duration::from_millis(5));
        wake.begin_sleep();
        assert!(wake.sleeper.must_be_woken());
        wake.end_sleep();
        wake.bell.write(1).unwrap();
        let _ = sleep(&wake, length);
        assert!(sleep(&wake, length) >= length);
    }
}
