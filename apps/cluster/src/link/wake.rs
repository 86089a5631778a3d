//! Waking a thread that waits for sockets.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags};
use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::sys::time::TimeSpec;

/// A flag that a thread can wait for together with sockets.
pub(crate) struct Wake(EventFd);

impl Wake {
    pub(crate) fn new() -> io::Result<Self> {
        let flags = EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK;
        Ok(Self(EventFd::from_value_and_flags(0, flags)?))
    }

    /// Wakes the thread, now or when it waits next.
    pub(crate) fn wake(&self) {
        // The only error is that the flag is set 2^64 times already.
        let _ = self.0.write(1);
    }

    /// Takes the flag down.
    pub(crate) fn clear(&self) {
        // Fails if it was not up.
        let _ = self.0.read();
    }
}

impl AsFd for Wake {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Waits until one of `fds` is ready, for `timeout` at most. A signal ends the wait early.
pub(crate) fn wait(fds: &mut [PollFd<'_>], timeout: Option<Duration>) -> io::Result<()> {
    match nix::poll::ppoll(fds, timeout.map(TimeSpec::from_duration), None) {
        Ok(_) | Err(Errno::EINTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Whether something happened to what `fd` watches.
pub(crate) fn is_ready(fd: &PollFd<'_>) -> bool {
    fd.revents().is_some_and(|events| !events.is_empty())
}

/// Whether `fd` can be written to.
pub(crate) fn is_writable(fd: &PollFd<'_>) -> bool {
    fd.revents()
        .is_some_and(|events| events.contains(PollFlags::POLLOUT))
}
