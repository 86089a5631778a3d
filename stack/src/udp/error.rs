//! What can go wrong with a socket.

use std::net::{IpAddr, SocketAddr};

use crate::ip::{ErrorKind, NoRoute};

/// Why a call on a UDP socket failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Another socket is bound there.
    #[error("{0} is in use")]
    AddressInUse(SocketAddr),
    /// Not one of our addresses, nor a group.
    #[error("{0} is not an address of this host")]
    AddressNotLocal(IpAddr),
    /// All ephemeral ports are taken.
    #[error("no free port")]
    NoPort,
    /// No peer was given, neither now nor by `connect`.
    #[error("not connected")]
    NotConnected,
    /// No way leads there.
    #[error(transparent)]
    NoRoute(#[from] NoRoute),
    /// Another address family than the socket's, or port 0.
    #[error("{0} is no destination for this socket")]
    BadDestination(SocketAddr),
    /// Broadcasts have to be allowed first.
    #[error("{0} is a broadcast address; broadcasts are not allowed on this socket")]
    BroadcastNotAllowed(IpAddr),
    /// More than a datagram carries.
    #[error("{len} bytes are more than the {max} that fit a datagram")]
    TooLarge {
        /// What was given.
        len: usize,
        /// What fits.
        max: usize,
    },
    /// Somebody on the way said so about an earlier datagram.
    #[error("{destination} cannot be reached: {kind:?}")]
    Icmp {
        /// What was said.
        kind: ErrorKind,
        /// Where the datagram went.
        destination: SocketAddr,
    },
    /// The socket was closed.
    #[error("the socket is closed")]
    Closed,
}
