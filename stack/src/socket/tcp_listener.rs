//! Blocking TCP listeners, shaped like `std::net::TcpListener`.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::task::{Context, Poll};

use super::TcpStream;
use super::handle::{self, Handle};
use super::options::{CallOptions, Direction, try_each};
use crate::engine::Stack;
use crate::replication::Survival;
use crate::tcp::{ListenOptions, Listener};

/// What both faces of a listener share; the last one closes it.
pub(super) struct Listening {
    pub(super) stack: Stack,
    pub(super) listener: Arc<Listener>,
    pub(super) calls: CallOptions,
}

impl Listening {
    pub(super) fn bind(
        stack: &Stack,
        address: SocketAddr,
        options: Option<ListenOptions>,
    ) -> io::Result<Arc<Self>> {
        let options = options.unwrap_or_else(|| Self::default_options(stack));
        let listener = stack.core().tcp.listen(address, options)?;
        Ok(Arc::new(Self {
            stack: stack.clone(),
            listener,
            calls: CallOptions::default(),
        }))
    }

    /// What listeners of `stack` have unless told otherwise.
    pub(super) fn default_options(stack: &Stack) -> ListenOptions {
        ListenOptions {
            socket: stack.core().tcp.config().socket.clone(),
            ..ListenOptions::default()
        }
    }

    pub(super) fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<Arc<Handle>>> {
        self.listener
            .poll_accept(cx)
            .map_ok(|connection| Handle::new(self.stack.clone(), connection))
            .map_err(io::Error::from)
    }
}

impl std::fmt::Debug for Listening {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TcpListener")
            .field("addr", &self.listener.local_addr())
            .finish()
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        for connection in self.stack.core().tcp.close_listener(&self.listener) {
            self.stack.runtime().output(&connection);
        }
    }
}

/// A listener for TCP connections. Clones made by [`TcpListener::try_clone`] share it; it is closed when
/// the last is dropped.
#[derive(Debug)]
pub struct TcpListener {
    listening: Arc<Listening>,
}

impl TcpListener {
    /// Listens on the first of `addresses` that can be had. Port 0 chooses one.
    ///
    /// # Errors
    /// The address is in use or not ours.
    pub fn bind(stack: &Stack, addresses: impl ToSocketAddrs) -> io::Result<Self> {
        try_each(addresses, |address| {
            Ok(Self {
                listening: Listening::bind(stack, address, None)?,
            })
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
        Ok(Self {
            listening: Listening::bind(stack, address, Some(options))?,
        })
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

    /// Waits for the next connection.
    ///
    /// # Errors
    /// When the stack was shut down.
    pub fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        let listening = &*self.listening;
        let handle = handle::block(
            &listening.stack,
            None,
            false,
            &listening.calls,
            Direction::Read,
            |cx| listening.poll_accept(cx),
        )?;
        let peer = handle.connection.id.remote_addr();
        Ok((TcpStream::new(handle), peer))
    }

    /// Accepts for ever.
    #[must_use]
    pub const fn incoming(&self) -> Incoming<'_> {
        Incoming { listener: self }
    }

    /// Where it listens.
    ///
    /// # Errors
    /// Never; the shape is that of `std::net`.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.listening.listener.local_addr())
    }

    /// Another handle of the same listener.
    ///
    /// # Errors
    /// Never; the shape is that of `std::net`.
    pub fn try_clone(&self) -> io::Result<Self> {
        Ok(Self {
            listening: Arc::clone(&self.listening),
        })
    }

    /// [`TcpListener::accept`] fails with `WouldBlock` instead of waiting.
    ///
    /// # Errors
    /// Never; the shape is that of `std::net`.
    pub fn set_nonblocking(&self, on: bool) -> io::Result<()> {
        self.listening.calls.set_nonblocking(on);
        Ok(())
    }

    /// The asynchronous face of the same listener.
    #[must_use]
    pub fn into_asynchronous(self) -> super::asynchronous::TcpListener {
        super::asynchronous::TcpListener::new(self.listening)
    }
}

/// See [`TcpListener::incoming`].
#[derive(Debug)]
pub struct Incoming<'a> {
    listener: &'a TcpListener,
}

impl Iterator for Incoming<'_> {
    type Item = io::Result<TcpStream>;

    fn next(&mut self) -> Option<Self::Item> {
        Some(self.listener.accept().map(|(stream, _)| stream))
    }
}
