//! Waking a thread that may be asleep in poll(2), at no cost while it is awake.
//!
//! The sleeper announces that it goes to sleep, *then* looks once more whether there is work, then
//! sleeps. The waker publishes its work, *then* looks whether the sleeper is asleep. Each side's store
//! comes before its load in the one order that sequentially consistent fences give, so at least one of
//! them sees the other: work is never left behind with its thread asleep.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};

use nix::sys::eventfd::{EfdFlags, EventFd};

const AWAKE: u32 = 0;
const ASLEEP: u32 = 1;
const WOKEN: u32 = 2;

/// The bell of one thread.
#[derive(Debug)]
pub(crate) struct Wake {
    state: AtomicU32,
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
            state: AtomicU32::new(AWAKE),
            bell: EventFd::from_flags(flags)?,
            sleeps: AtomicU64::new(0),
            rings: AtomicU64::new(0),
        })
    }

    /// Announces sleep. After this the caller must look for work once more, then either sleep until
    /// [`Wake::descriptor`] is readable or not, and call [`Wake::end_sleep`] in both cases.
    pub(crate) fn begin_sleep(&self) {
        self.state.store(ASLEEP, Ordering::Relaxed);
        fence(Ordering::SeqCst);
    }

    /// Awake again.
    pub(crate) fn end_sleep(&self) {
        if self.state.swap(AWAKE, Ordering::AcqRel) == WOKEN {
            // The bell may not have rung yet: then the next sleep is a short one, nothing worse.
            let _ = self.bell.read();
        }
    }

    /// Counts a sleep that really happened.
    pub(crate) fn count_sleep(&self) {
        self.sleeps.fetch_add(1, Ordering::Relaxed);
    }

    /// Makes the thread look for work, if it is asleep. Call after publishing the work.
    pub(crate) fn wake(&self) {
        fence(Ordering::SeqCst);
        if self.state.load(Ordering::Relaxed) == ASLEEP
            && self
                .state
                .compare_exchange(ASLEEP, WOKEN, Ordering::AcqRel, Ordering::Relaxed)
                .is_ok()
        {
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
