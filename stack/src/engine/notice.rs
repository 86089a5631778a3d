//! A notice left for a thread that waits: there at most once, and never overlooked.
//!
//! Who gives one publishes what it is about before that. Who waits takes it away *before* looking at what it is
//! about: a notice that comes later is a new one. Taking is a read as well as a write, so that it sees all that
//! was published before a notice that it takes away (`tests/tests/model_wake_ups.rs`).

use super::atomic::{AtomicBool, Ordering};

/// A notice for one thread.
#[derive(Debug)]
pub(crate) struct Notice {
    given: AtomicBool,
}

impl Notice {
    pub(crate) fn new() -> Self {
        Self {
            given: AtomicBool::new(false),
        }
    }

    /// Gives notice; true if there was none, and the thread may have to be woken.
    pub(crate) fn give(&self) -> bool {
        !self.given.swap(true, Ordering::AcqRel)
    }

    pub(crate) fn is_given(&self) -> bool {
        self.given.load(Ordering::Acquire)
    }

    /// Takes it away. Look at what it is about after this, not before.
    pub(crate) fn take(&self) {
        self.given.swap(false, Ordering::AcqRel);
    }
}
