//! Asynchronous UDP sockets.

use std::future::poll_fn;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::engine::Stack;
use crate::socket::options::try_each;
use crate::socket::udp_socket::Bound;

/// How long a send waits before it looks again whether there is room.
const ROOM_LOOK: Duration = Duration::from_micros(200);

/// A UDP socket. Clones share it.
#[derive(Clone, Debug)]
pub struct UdpSocket {
    bound: Arc<Bound>,
}

impl UdpSocket {
    pub(in crate::socket) const fn new(bound: Arc<Bound>) -> Self {
        Self { bound }
    }

    /// Binds to the first of `addresses` that can be had. Port 0 chooses one.
    ///
    /// # Errors
    /// The address is in use or not ours.
    pub fn bind(stack: &Stack, addresses: impl ToSocketAddrs) -> io::Result<Self> {
        try_each(addresses, |address| {
            Ok(Self::new(Bound::bind(stack, address)?))
        })
    }

    /// Sends a datagram to `to`.
    ///
    /// # Errors
    /// No route, too large, or what an ICMP error said about an earlier one.
    pub async fn send_to(&self, payload: &[u8], to: SocketAddr) -> io::Result<usize> {
        self.send_bytes(Bytes::copy_from_slice(payload), Some(to))
            .await
    }

    /// Sends a datagram without a copy, to `to` or to the peer that the socket is connected to.
    ///
    /// # Errors
    /// As [`UdpSocket::send_to`].
    pub async fn send_bytes(&self, payload: Bytes, to: Option<SocketAddr>) -> io::Result<usize> {
        loop {
            match self.bound.send(payload.clone(), to) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.bound.stack.sleep(ROOM_LOOK).await;
                }
                result => return result,
            }
        }
    }

    /// The next datagram; what does not fit into `into` is lost.
    ///
    /// # Errors
    /// What an ICMP error said.
    pub async fn recv_from(&self, into: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        let (payload, from) = self.recv_bytes().await?;
        let taken = payload.len().min(into.len());
        into[..taken].copy_from_slice(&payload[..taken]);
        Ok((taken, from))
    }

    /// The next datagram as it lies in memory.
    ///
    /// # Errors
    /// As [`UdpSocket::recv_from`].
    pub async fn recv_bytes(&self) -> io::Result<(Bytes, SocketAddr)> {
        poll_fn(|cx| self.bound.poll_recv_from(cx)).await
    }

    /// From now on only `peer` is heard and written to.
    ///
    /// # Errors
    /// No route to it.
    pub fn connect(&self, peer: SocketAddr) -> io::Result<()> {
        self.bound.socket.connect(peer).map_err(io::Error::from)
    }

    /// Whether datagrams may go to broadcast addresses; at first not.
    pub fn set_broadcast(&self, allow: bool) {
        self.bound.socket.set_broadcast(allow);
    }

    /// Where it is bound.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.bound.socket.local_addr()
    }
}
