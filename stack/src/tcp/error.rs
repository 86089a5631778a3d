//! What can go wrong with a TCP call or connection, and whose doing it is.

use std::io;

use thiserror::Error;

/// Why a call failed or a connection ended.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum Error {
    /// The peer answered our SYN with a RST.
    #[error("connection refused")]
    Refused,
    /// The peer reset the connection.
    #[error("connection reset by peer")]
    Reset,
    /// This side aborted the connection.
    #[error("connection aborted")]
    Aborted,
    /// The application was to continue what another host began, and its output was another.
    #[error("the output was not repeated")]
    Diverged,
    /// Another host has taken the connection over.
    #[error("taken over by another host")]
    TakenOver,
    /// The peer did not answer for too long (RFC 9293 §3.8.3, R2 or the user time-out).
    #[error("connection timed out")]
    TimedOut,
    /// The peer did not answer, and a router said that its host cannot be reached.
    #[error("host unreachable")]
    HostUnreachable,
    /// The peer did not answer, and a router said that its network cannot be reached.
    #[error("network unreachable")]
    NetworkUnreachable,
    /// There is no route to the destination.
    #[error("no route to host")]
    NoRoute,
    /// Writing after the write side was closed, by us or together with the connection.
    #[error("the write side is closed")]
    BrokenPipe,
    /// The connection is not established.
    #[error("not connected")]
    NotConnected,
    /// The local address is in use, or so is the same pair of addresses and ports.
    #[error("address in use")]
    AddressInUse,
    /// The local address is not one of this stack's.
    #[error("address not available")]
    AddressNotAvailable,
    /// Every ephemeral port to that destination is in use.
    #[error("no ephemeral port is free")]
    PortsExhausted,
    /// The destination is one that TCP never talks to (broadcast, multicast, unspecified, port 0).
    #[error("not an address that TCP can connect to")]
    InvalidAddress,
    /// The listener was closed.
    #[error("listener closed")]
    ListenerClosed,
}

impl From<Error> for io::Error {
    fn from(error: Error) -> Self {
        use io::ErrorKind as Kind;
        let kind = match error {
            Error::Refused => Kind::ConnectionRefused,
            Error::Reset => Kind::ConnectionReset,
            Error::Aborted | Error::Diverged | Error::ListenerClosed | Error::TakenOver => {
                Kind::ConnectionAborted
            }
            Error::TimedOut => Kind::TimedOut,
            Error::HostUnreachable => Kind::HostUnreachable,
            Error::NetworkUnreachable | Error::NoRoute => Kind::NetworkUnreachable,
            Error::BrokenPipe => Kind::BrokenPipe,
            Error::NotConnected => Kind::NotConnected,
            Error::AddressInUse => Kind::AddrInUse,
            Error::AddressNotAvailable | Error::PortsExhausted => Kind::AddrNotAvailable,
            Error::InvalidAddress => Kind::InvalidInput,
        };
        Self::new(kind, error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn callers_see_the_kinds_that_the_standard_library_uses() {
        let error = io::Error::from(Error::Refused);
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
        assert_eq!(error.to_string(), "connection refused");
    }
}
