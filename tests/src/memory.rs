//! Counts the heap in use, for tests that hold a stack to its stated limits.
//!
//! A test binary installs it: `#[global_allocator] static HEAP: Counting = Counting;`. The count is one per
//! thread, so tests beside each other do not disturb it; what a thread measures it has to free itself.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

thread_local! {
    static LIVE_BYTES: Cell<isize> = const { Cell::new(0) };
}

fn count(bytes: isize) {
    // Gone while the thread ends: nobody asks any more.
    let _ = LIVE_BYTES.try_with(|live| live.set(live.get() + bytes));
}

/// The system's allocator, with a count of live bytes.
pub struct Counting;

// SAFETY: every call is handed on unchanged to the system's allocator, which upholds the contract; the
// counter beside it touches no memory that is managed here.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        // SAFETY: the caller's promises about `layout` are what `System` asks for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        count(-(layout.size() as isize));
        // SAFETY: `block` came from `System.alloc` with this `layout`, as the caller promises.
        unsafe { System.dealloc(block, layout) }
    }
}

/// Heap bytes that this thread has allocated and not freed; 0 for ever where [`Counting`] is not installed.
#[must_use]
pub fn live_bytes() -> isize {
    LIVE_BYTES.with(Cell::get)
}
