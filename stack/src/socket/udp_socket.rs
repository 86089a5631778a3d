//! Blocking UDP sockets, shaped like `std::net::UdpSocket`.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;

use super::handle;
use super::options::{CallOptions, Direction, try_each};
use crate::engine::Stack;
use crate::ip::ErrorKind;
use crate::udp;

/// How long a blocking send waits before it looks again whether there is room: there is no waker for
/// that, since a full egress empties at the speed of the device.
const ROOM_LOOK: Duration = Duration::from_micros(200);

impl From<udp::Error> for io::Error {
    fn from(error: udp::Error) -> Self {
        use udp::Error;
        let kind = match &error {
            Error::AddressInUse(_) => io::ErrorKind::AddrInUse,
            Error::AddressNotLocal(_) | Error::NoPort => io::ErrorKind::AddrNotAvailable,
            Error::NotConnected | Error::Closed => io::ErrorKind::NotConnected,
            Error::NoRoute(_) => io::ErrorKind::NetworkUnreachable,
            Error::BadDestination(_) | Error::TooLarge { .. } => io::ErrorKind::InvalidInput,
            Error::BroadcastNotAllowed(_) => io::ErrorKind::PermissionDenied,
            Error::Icmp {
                kind: ErrorKind::PortUnreachable | ErrorKind::ProtocolUnreachable,
                ..
            } => io::ErrorKind::ConnectionRefused,
            Error::Icmp { .. } => io::ErrorKind::HostUnreachable,
        };
        Self::new(kind, error)
    }
}

/// What both faces of a socket share; the last one closes it.
pub(super) struct Bound {
    pub(super) stack: Stack,
    pub(super) socket: Arc<udp::Socket>,
    pub(super) calls: CallOptions,
}

impl std::fmt::Debug for Bound {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("UdpSocket")
            .field("addr", &self.socket.local_addr())
            .finish()
    }
}

impl Bound {
    pub(super) fn bind(stack: &Stack, address: SocketAddr) -> io::Result<Arc<Self>> {
        Ok(Arc::new(Self {
            stack: stack.clone(),
            socket: stack.core().udp.bind(address)?,
            calls: CallOptions::default(),
        }))
    }

    /// Sends one datagram; `WouldBlock` if there is no room for it now.
    pub(super) fn send(&self, payload: Bytes, to: Option<SocketAddr>) -> io::Result<usize> {
        let length = payload.len();
        let datagram = match to {
            Some(to) => self.socket.send_to(payload, to)?,
            None => self.socket.send(payload)?,
        };
        if self.stack.runtime().send(datagram) {
            Ok(length)
        } else {
            Err(io::ErrorKind::WouldBlock.into())
        }
    }

    pub(super) fn poll_recv_from(
        &self,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<(Bytes, SocketAddr)>> {
        self.socket
            .poll_recv_from(cx)
            .map_ok(|received| (received.data, received.from))
            .map_err(io::Error::from)
    }
}

impl Drop for Bound {
    fn drop(&mut self) {
        self.socket.close();
    }
}

/// A UDP socket. Clones made by [`UdpSocket::try_clone`] share it.
#[derive(Debug)]
pub struct UdpSocket {
    bound: Arc<Bound>,
}

impl UdpSocket {
    /// Binds to the first of `addresses` that can be had. Port 0 chooses one.
    ///
    /// # Errors
    /// The address is in use or not ours.
    pub fn bind(stack: &Stack, addresses: impl ToSocketAddrs) -> io::Result<Self> {
        try_each(addresses, |address| {
            Ok(Self {
                bound: Bound::bind(stack, address)?,
            })
        })
    }

    /// Sends a datagram to `to`.
    ///
    /// # Errors
    /// No route, too large, or what an ICMP error said about an earlier one.
    pub fn send_to(&self, payload: &[u8], to: SocketAddr) -> io::Result<usize> {
        self.send_bytes(Bytes::copy_from_slice(payload), Some(to))
    }

    /// Sends a datagram to the peer that the socket is connected to.
    ///
    /// # Errors
    /// As [`UdpSocket::send_to`], or the socket is not connected.
    pub fn send(&self, payload: &[u8]) -> io::Result<usize> {
        self.send_bytes(Bytes::copy_from_slice(payload), None)
    }

    /// Sends a datagram without a copy, to `to` or to the peer that the socket is connected to.
    ///
    /// # Errors
    /// As [`UdpSocket::send_to`].
    #[expect(
        clippy::needless_pass_by_value,
        reason = "a datagram is given away, as everywhere"
    )]
    pub fn send_bytes(&self, payload: Bytes, to: Option<SocketAddr>) -> io::Result<usize> {
        let bound = &*self.bound;
        let stack = &bound.stack;
        let deadline = bound
            .calls
            .timeout(Direction::Write)
            .map(|timeout| stack.now() + timeout);
        loop {
            match bound.send(payload.clone(), to) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    let late = deadline.is_some_and(|deadline| stack.now() >= deadline);
                    if late || bound.calls.is_nonblocking() {
                        return Err(error);
                    }
                    stack.wait_until(stack.now() + ROOM_LOOK, || false);
                }
                result => return result,
            }
        }
    }

    /// Waits for a datagram; what does not fit into `into` is lost.
    ///
    /// # Errors
    /// What an ICMP error said, or the time-out.
    pub fn recv_from(&self, into: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        let (payload, from) = self.recv_bytes()?;
        let taken = payload.len().min(into.len());
        into[..taken].copy_from_slice(&payload[..taken]);
        Ok((taken, from))
    }

    /// As [`UdpSocket::recv_from`], from the connected peer.
    ///
    /// # Errors
    /// As [`UdpSocket::recv_from`].
    pub fn recv(&self, into: &mut [u8]) -> io::Result<usize> {
        self.recv_from(into).map(|(taken, _)| taken)
    }

    /// Waits for a datagram and gives it as it lies in memory.
    ///
    /// # Errors
    /// As [`UdpSocket::recv_from`].
    pub fn recv_bytes(&self) -> io::Result<(Bytes, SocketAddr)> {
        let bound = &*self.bound;
        handle::block(
            &bound.stack,
            None,
            true,
            &bound.calls,
            Direction::Read,
            |cx| bound.poll_recv_from(cx),
        )
    }

    /// From now on only `peer` is heard and written to.
    ///
    /// # Errors
    /// No route to it.
    pub fn connect(&self, peer: SocketAddr) -> io::Result<()> {
        self.bound.socket.connect(peer).map_err(io::Error::from)
    }

    /// Where it is bound.
    ///
    /// # Errors
    /// Never; the shape is that of `std::net`.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.bound.socket.local_addr())
    }

    /// The peer that it is connected to.
    ///
    /// # Errors
    /// When there is none.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.bound
            .socket
            .peer()
            .ok_or_else(|| io::ErrorKind::NotConnected.into())
    }

    /// How long a receive waits.
    ///
    /// # Errors
    /// For a time of zero.
    pub fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.bound.calls.set_timeout(Direction::Read, timeout)
    }

    /// How long a send waits for room.
    ///
    /// # Errors
    /// For a time of zero.
    pub fn set_write_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.bound.calls.set_timeout(Direction::Write, timeout)
    }

    /// Calls that would wait fail with `WouldBlock` instead.
    ///
    /// # Errors
    /// Never; the shape is that of `std::net`.
    pub fn set_nonblocking(&self, on: bool) -> io::Result<()> {
        self.bound.calls.set_nonblocking(on);
        Ok(())
    }

    /// Another handle of the same socket.
    ///
    /// # Errors
    /// Never; the shape is that of `std::net`.
    pub fn try_clone(&self) -> io::Result<Self> {
        Ok(Self {
            bound: Arc::clone(&self.bound),
        })
    }

    /// The asynchronous face of the same socket.
    #[must_use]
    pub fn into_asynchronous(self) -> super::asynchronous::UdpSocket {
        super::asynchronous::UdpSocket::new(self.bound)
    }
}
