//! Counts the heap in use, for tests that hold a stack to its stated limits.
//!
//! A test binary installs it: `#[global_allocator] static HEAP: Counting = Counting;`. The figure is of the
//! whole process, so such a test has to be alone in what it measures ([`measured`] serialises).

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicIsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

static LIVE_BYTES: AtomicIsize = AtomicIsize::new(0);
static ALONE: Mutex<()> = Mutex::new(());

/// The system's allocator, with a count of live bytes.
pub struct Counting;

// SAFETY: every call is handed on unchanged to the system's allocator, which upholds the contract; the
// counter beside it touches no memory that is managed here.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        LIVE_BYTES.fetch_add(layout.size() as isize, Ordering::Relaxed);
        // SAFETY: the caller's promises about `layout` are what `System` asks for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        LIVE_BYTES.fetch_sub(layout.size() as isize, Ordering::Relaxed);
        // SAFETY: `block` came from `System.alloc` with this `layout`, as the caller promises.
        unsafe { System.dealloc(block, layout) }
    }
}

/// Heap bytes in use by the process; 0 for ever where [`Counting`] is not installed.
#[must_use]
pub fn live_bytes() -> isize {
    LIVE_BYTES.load(Ordering::Relaxed)
}

/// Keeps other measuring tests of the same process out for as long as it is held.
pub fn measured() -> MutexGuard<'static, ()> {
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}
