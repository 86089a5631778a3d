//! Asynchronous TCP listeners.

use std::future::poll_fn;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::task::{Context, Poll};

use super::TcpStream;
use crate::engine::Stack;
use crate::replication::Survival;
use crate::socket::options::try_each;
use crate::socket::tcp_listener::Listening;
use crate::tcp::ListenOptions;

/// A listener for TCP connections. Clones share it; it is closed when the last is dropped.
#[derive(Clone, Debug)]
pub struct TcpListener {
    listening: Arc<Listening>,
}

impl TcpListener {
    pub(in crate::socket) const fn new(listening: Arc<Listening>) -> Self {
        Self { listening }
    }

    /// Listens on the first of `addresses` that can be had. Port 0 chooses one.
    ///
    /// # Errors
    /// The address is in use or not ours.
    pub fn bind(stack: &Stack, addresses: impl ToSocketAddrs) -> io::Result<Self> {
        try_each(addresses, |address| {
            Ok(Self::new(Listening::bind(stack, address, None)?))
        })
    }

    /// Listens with a backlog and socket options of its own.
    ///
    /// # Errors
    /// As [`TcpListener::bind`].
    pub fn bind_with(
        stack: &Stack,
        address: SocketAddr,
        options: ListenOptions,
    ) -> io::Result<Self> {
        Ok(Self::new(Listening::bind(stack, address, Some(options))?))
    }

    /// As [`TcpListener::bind`], for connections that outlive this host as `survival` says, where the stack
    /// has another host to rely on.
    ///
    /// # Errors
    /// As [`TcpListener::bind`].
    pub fn bind_surviving(
        stack: &Stack,
        address: SocketAddr,
        survival: Survival,
    ) -> io::Result<Self> {
        let options = ListenOptions {
            survival,
            ..Listening::default_options(stack)
        };
        Self::bind_with(stack, address, options)
    }

    /// The next connection.
    ///
    /// # Errors
    /// When the stack was shut down.
    pub async fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        poll_fn(|cx| self.poll_accept(cx)).await
    }

    /// As [`TcpListener::accept`].
    ///
    /// # Errors
    /// As [`TcpListener::accept`].
    pub fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<(TcpStream, SocketAddr)>> {
        self.listening.poll_accept(cx).map_ok(|handle| {
            let peer = handle.connection.id.remote_addr();
            (TcpStream::new(handle), peer)
        })
    }

    /// Where it listens.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.listening.listener.local_addr()
    }
}
