//! Sleeping in poll(2) until a descriptor is ready, the bell rings or the next timer is due; and the
//! decision how long to look for work before that.
//!
//! Waking a thread that sleeps on another core costs 30 to 45 µs, one that polls 0.2 µs. So a thread
//! that ran out of work polls for a short while first. An idle thread sleeps without a time-out.

use std::io;
use std::os::fd::BorrowedFd;
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags};
use nix::sys::time::TimeSpec;
use smallvec::SmallVec;

use crate::time::Instant;

use super::wake::Wake;

/// Longest single sleep; nothing depends on it, it only keeps the time-out representable.
const LONGEST_SLEEP: Duration = Duration::from_secs(3600);

/// A device that is full and cannot tell when it no longer is gets asked again after this.
pub(crate) const FULL_RETRY: Duration = Duration::from_micros(500);

/// Decides between looking again and sleeping.
#[derive(Debug)]
pub(crate) struct Patience {
    poll_for: Duration,
    idle_since: Option<Instant>,
}

impl Patience {
    pub(crate) const fn new(poll_for: Duration) -> Self {
        Self {
            poll_for,
            idle_since: None,
        }
    }

    /// There was work.
    pub(crate) const fn reset(&mut self) {
        self.idle_since = None;
    }

    /// There was no work; true when it is time to sleep.
    pub(crate) fn is_exhausted(&mut self, now: Instant) -> bool {
        let since = *self.idle_since.get_or_insert(now);
        now.since(since) >= self.poll_for
    }
}

/// What to wait for beside the bell and the time.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Interest<'a> {
    /// Frames may be there to receive.
    pub(crate) readable: Option<BorrowedFd<'a>>,
    /// The device accepts frames again.
    pub(crate) writable: Option<BorrowedFd<'a>>,
}

/// Sleeps until something of `interest` is ready, `wake` rings, or `deadline`. Call between
/// [`Wake::begin_sleep`] and [`Wake::end_sleep`], after a last look for work.
///
/// # Errors
/// When poll(2) fails for another reason than a signal.
pub(crate) fn wait(
    wake: &Wake,
    interest: Interest<'_>,
    now: Instant,
    deadline: Option<Instant>,
) -> io::Result<()> {
    wake.count_sleep();
    let mut descriptors: SmallVec<[PollFd<'_>; 3]> = SmallVec::new();
    descriptors.push(PollFd::new(wake.descriptor(), PollFlags::POLLIN));
    if let Some(descriptor) = interest.readable {
        descriptors.push(PollFd::new(descriptor, PollFlags::POLLIN));
    }
    if let Some(descriptor) = interest.writable {
        descriptors.push(PollFd::new(descriptor, PollFlags::POLLOUT));
    }
    let timeout = deadline.map(|deadline| TimeSpec::from(deadline.since(now).min(LONGEST_SLEEP)));
    match nix::poll::ppoll(&mut descriptors, timeout, None) {
        Ok(_) => {
            if descriptors[0].any() == Some(true) {
                wake.silence();
            }
            Ok(())
        }
        Err(Errno::EINTR | Errno::EAGAIN) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;
    use crate::engine::clock;

    fn sleep(wake: &Wake, deadline: Option<Instant>, has_work: impl FnOnce() -> bool) {
        wake.begin_sleep();
        if !has_work() {
            wait(wake, Interest::default(), clock::now(), deadline).unwrap();
        }
        wake.end_sleep();
    }

    #[test]
    fn a_ring_ends_a_sleep_without_a_time_out() {
        let wake = Arc::new(Wake::new().unwrap());
        let ringer = Arc::clone(&wake);
        let work = Arc::new(AtomicU64::new(0));
        let published = Arc::clone(&work);
        let thread = std::thread::spawn(move || {
            while ringer.sleeps() == 0 {
                std::thread::yield_now();
            }
            published.store(1, Ordering::Relaxed);
            ringer.wake();
        });
        while work.load(Ordering::Relaxed) == 0 {
            sleep(&wake, None, || work.load(Ordering::Relaxed) != 0);
        }
        thread.join().unwrap();
    }

    #[test]
    fn nobody_rings_for_a_thread_that_is_awake() {
        let wake = Wake::new().unwrap();
        wake.wake();
        assert_eq!(wake.rings(), 0);
        wake.begin_sleep();
        wake.wake();
        wake.wake();
        assert_eq!(wake.rings(), 1, "one ring is enough");
    }

    #[test]
    fn a_deadline_ends_the_sleep() {
        let wake = Wake::new().unwrap();
        let start = clock::now();
        let deadline = start + Duration::from_millis(2);
        while clock::now() < deadline {
            sleep(&wake, Some(deadline), || false);
        }
        assert!(wake.sleeps() >= 1);
    }

    /// A hundred thousand items handed over one at a time, each of which must be seen by a consumer that
    /// goes to sleep without a time-out whenever it finds none: one lost wake-up hangs the test.
    #[test]
    fn no_wake_up_is_lost() {
        const ITEMS: u64 = 100_000;
        let wake = Arc::new(Wake::new().unwrap());
        let work = Arc::new(AtomicU64::new(0));
        let done = Arc::new(AtomicU64::new(0));
        let producer = {
            let (wake, work, done) = (Arc::clone(&wake), Arc::clone(&work), Arc::clone(&done));
            std::thread::spawn(move || {
                for item in 1..=ITEMS {
                    work.store(item, Ordering::Relaxed);
                    wake.wake();
                    if item % 8 == 0 {
                        while done.load(Ordering::Acquire) < item {
                            std::thread::yield_now();
                        }
                    }
                }
            })
        };
        let mut seen = 0;
        while seen < ITEMS {
            let now = work.load(Ordering::Relaxed);
            if now > seen {
                seen = now;
                done.store(seen, Ordering::Release);
                continue;
            }
            sleep(&wake, None, || work.load(Ordering::Relaxed) > seen);
        }
        producer.join().unwrap();
    }
}
