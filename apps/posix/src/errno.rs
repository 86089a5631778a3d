//! Errors as numbers: what `errno` is set to.

use std::fmt;

use outlive::tcp::Error;

/// A value of `errno`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Errno(pub i32);

/// What a call gives.
pub type Result<T> = std::result::Result<T, Errno>;

impl From<Error> for Errno {
    /// As Linux names it to the caller of a socket.
    fn from(error: Error) -> Self {
        Self(match error {
            Error::Refused => libc::ECONNREFUSED,
            Error::Reset => libc::ECONNRESET,
            Error::Aborted | Error::Diverged | Error::TakenOver => libc::ECONNABORTED,
            Error::TimedOut => libc::ETIMEDOUT,
            Error::HostUnreachable => libc::EHOSTUNREACH,
            Error::NetworkUnreachable | Error::NoRoute => libc::ENETUNREACH,
            Error::BrokenPipe => libc::EPIPE,
            Error::NotConnected => libc::ENOTCONN,
            Error::AddressInUse => libc::EADDRINUSE,
            Error::AddressNotAvailable | Error::PortsExhausted => libc::EADDRNOTAVAIL,
            Error::InvalidAddress | Error::ListenerClosed => libc::EINVAL,
        })
    }
}

impl fmt::Debug for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", std::io::Error::from_raw_os_error(self.0))
    }
}
