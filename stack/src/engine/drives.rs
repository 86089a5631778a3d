//! Which application's thread drives a queue, and whether the queue's own thread sleeps until it is handed back.
//!
//! The thread that stands behind says that it wants the queue back, *then* looks whether somebody still drives. A
//! driver leaves, *then* looks whether somebody wants the queue. With a fence between, at least one of them sees
//! the other, so that a queue is never without a leader (`tests/tests/model_wake_ups.rs`).

use super::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering, fence};

/// The drives of one queue.
#[derive(Debug)]
pub(crate) struct Drives {
    /// Times that an application's thread took over.
    begun: AtomicU64,
    /// Application threads that drive or are about to.
    drivers: AtomicUsize,
    /// The background thread sleeps until the driver hands the queue back.
    handback_wanted: AtomicBool,
}

impl Drives {
    pub(crate) fn new() -> Self {
        Self {
            begun: AtomicU64::new(0),
            drivers: AtomicUsize::new(0),
            handback_wanted: AtomicBool::new(false),
        }
    }

    /// The calling thread is about to drive, as soon as the queue is free.
    pub(crate) fn announce(&self) {
        self.drivers.fetch_add(1, Ordering::AcqRel);
    }

    /// The calling thread has the queue.
    pub(crate) fn begin(&self) {
        self.begun.fetch_add(1, Ordering::AcqRel);
    }

    /// Times that somebody had it.
    pub(crate) fn begun(&self) -> u64 {
        self.begun.load(Ordering::Acquire)
    }

    /// Somebody drives, or is about to.
    pub(crate) fn is_driven(&self) -> bool {
        self.drivers.load(Ordering::Acquire) > 0
    }

    /// The calling thread drives no longer; true when the background thread has to be told.
    pub(crate) fn end(&self) -> bool {
        self.drivers.fetch_sub(1, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        self.handback_wanted.load(Ordering::Relaxed)
    }

    /// The background thread wants to be told; true when somebody drives who will.
    pub(crate) fn want_handback(&self) -> bool {
        self.handback_wanted.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        self.drivers.load(Ordering::Relaxed) > 0
    }

    /// The background thread looks by itself again.
    pub(crate) fn need_no_handback(&self) {
        self.handback_wanted.store(false, Ordering::Relaxed);
    }
}
