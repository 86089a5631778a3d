//! What happens when a mapped file shrinks: the kernel sends SIGBUS to whoever touches a page that is
//! no longer there, and SIGBUS ends the process.
//!
//! The handler here knows the mapped ranges. A fault inside one puts a page of zeros where the file's
//! page was and flags the range; whoever sends from it looks at the flag before the response can count
//! as complete. A fault anywhere else gets the disposition that was there before.
//!
//! A handler may use neither locks nor the allocator, so the ranges stand in a fixed table of atomics.

use std::ffi::c_void;
use std::io;
use std::mem::MaybeUninit;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// Most files that can be mapped at once; further ones are refused.
pub const MOST_RANGES: usize = 4096;

struct Slot {
    taken: AtomicBool,
    start: AtomicUsize,
    end: AtomicUsize,
    faulted: AtomicBool,
}

static SLOTS: [Slot; MOST_RANGES] = [const {
    Slot {
        taken: AtomicBool::new(false),
        start: AtomicUsize::new(0),
        end: AtomicUsize::new(0),
        faulted: AtomicBool::new(false),
    }
}; MOST_RANGES];

static PAGE_BYTES: AtomicUsize = AtomicUsize::new(4096);
static PREVIOUS: OnceLock<libc::sigaction> = OnceLock::new();

/// A range of addresses in which a fault is survived, until it is dropped.
#[derive(Debug)]
pub struct Guarded {
    slot: &'static Slot,
}

impl std::fmt::Debug for Slot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Slot")
            .field("faulted", &self.faulted)
            .finish_non_exhaustive()
    }
}

impl Guarded {
    /// Guards a mapped range. It must be dropped before the range is unmapped.
    ///
    /// # Errors
    /// When [`MOST_RANGES`] are guarded already, or the handler cannot be installed.
    pub fn new(range: &[u8]) -> io::Result<Self> {
        install()?;
        let claim = |slot: &&Slot| !slot.taken.swap(true, Ordering::Acquire);
        let slot = SLOTS
            .iter()
            .find(claim)
            .ok_or(io::Error::from_raw_os_error(libc::ENFILE))?;
        let start = range.as_ptr().addr();
        slot.faulted.store(false, Ordering::Relaxed);
        slot.start.store(start, Ordering::Relaxed);
        slot.end.store(
            start + range.len().next_multiple_of(page_bytes()),
            Ordering::Release,
        );
        Ok(Self { slot })
    }

    /// True once a page of the range was missing and replaced by zeros.
    #[must_use]
    pub fn has_faulted(&self) -> bool {
        self.slot.faulted.load(Ordering::Acquire)
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        self.slot.end.store(0, Ordering::Relaxed);
        self.slot.start.store(0, Ordering::Relaxed);
        self.slot.taken.store(false, Ordering::Release);
    }
}

/// Bytes of a page.
#[must_use]
pub fn page_bytes() -> usize {
    PAGE_BYTES.load(Ordering::Relaxed)
}

fn install() -> io::Result<()> {
    static INSTALLED: OnceLock<Result<(), i32>> = OnceLock::new();
    let installed = INSTALLED.get_or_init(|| {
        // SAFETY: sysconf reads a constant of the system.
        if let Ok(bytes) = usize::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }) {
            PAGE_BYTES.store(bytes, Ordering::Relaxed);
        }
        // SAFETY: all-zero is a valid sigaction; `on_fault` has the signature that SA_SIGINFO asks for
        // and does only what a signal handler may.
        unsafe {
            let mut action: libc::sigaction = MaybeUninit::zeroed().assume_init();
            action.sa_sigaction = on_fault as *const () as usize;
            action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
            let mut previous: libc::sigaction = MaybeUninit::zeroed().assume_init();
            if libc::sigaction(libc::SIGBUS, &action, &mut previous) != 0 {
                return Err(io::Error::last_os_error()
                    .raw_os_error()
                    .unwrap_or(libc::EINVAL));
            }
            let _ = PREVIOUS.set(previous);
        }
        Ok(())
    });
    installed.map_err(io::Error::from_raw_os_error)
}

extern "C" fn on_fault(_signal: libc::c_int, info: *mut libc::siginfo_t, _context: *mut c_void) {
    // SAFETY: with SA_SIGINFO the kernel passes a valid siginfo_t, and for SIGBUS its address is set.
    let address = unsafe { (*info).si_addr() }.addr();
    let page = address & !(page_bytes() - 1);
    let holds = |slot: &&Slot| {
        let end = slot.end.load(Ordering::Acquire);
        (slot.start.load(Ordering::Relaxed)..end).contains(&address)
    };
    if let Some(slot) = SLOTS.iter().find(holds) {
        slot.faulted.store(true, Ordering::Release);
        // SAFETY: the page lies within a live private mapping of ours that is only read; mmap is a bare
        // system call. errno is put back, as the interrupted code may be about to look at it.
        unsafe {
            let errno = libc::__errno_location();
            let saved = *errno;
            let flags = libc::MAP_FIXED | libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
            let at = std::ptr::with_exposed_provenance_mut(page);
            let mapped = libc::mmap(at, page_bytes(), libc::PROT_READ, flags, -1, 0);
            *errno = saved;
            if mapped != libc::MAP_FAILED {
                return;
            }
        }
    }
    // Not ours: the touch is repeated under the old disposition, which by default ends the process.
    // SAFETY: puts back a disposition that the kernel gave us; sigaction may be used in a handler.
    unsafe {
        match PREVIOUS.get() {
            Some(previous) => libc::sigaction(libc::SIGBUS, previous, std::ptr::null_mut()),
            None => libc::abort(),
        };
    }
}
