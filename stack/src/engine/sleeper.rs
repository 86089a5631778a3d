//! Who has to be woken: the ordering behind a wake-up, and nothing else.
//!
//! The sleeper announces that it goes to sleep, *then* looks once more whether there is work, then
//! sleeps. The waker publishes its work, *then* looks whether the sleeper is asleep. Each side's store
//! comes before its load in the one order that sequentially consistent fences give, so at least one of
//! them sees the other: work is never left behind with its thread asleep. `tests/tests/model_wake_ups.rs`
//! tries every order of these accesses.

use super::atomic::{AtomicU32, Ordering, fence};

const AWAKE: u32 = 0;
const ASLEEP: u32 = 1;
const WOKEN: u32 = 2;

/// Whether one thread sleeps, or is about to.
#[derive(Debug)]
pub(crate) struct Sleeper {
    state: AtomicU32,
}

impl Sleeper {
    pub(crate) fn new() -> Self {
        Self {
            state: AtomicU32::new(AWAKE),
        }
    }

    /// Announces sleep. The thread looks for work after this, and does not sleep if there is some.
    pub(crate) fn begin(&self) {
        self.state.store(ASLEEP, Ordering::Relaxed);
        fence(Ordering::SeqCst);
    }

    /// Awake again. Who was to ring may not have rung yet.
    pub(crate) fn end(&self) {
        self.state.swap(AWAKE, Ordering::AcqRel);
    }

    /// True for the one who has to ring. Asked after publishing the work.
    pub(crate) fn must_be_woken(&self) -> bool {
        fence(Ordering::SeqCst);
        self.state.load(Ordering::Relaxed) == ASLEEP
            && self
                .state
                .compare_exchange(ASLEEP, WOKEN, Ordering::AcqRel, Ordering::Relaxed)
                .is_ok()
    }
}
