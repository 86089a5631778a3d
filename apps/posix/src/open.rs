//! How a connection begins: `bind`, `listen`, `accept4`, `connect`, and the names of both ends.

use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll};

use outlive::tcp::{Connection, ListenOptions, State};

use crate::address::{Name, decode, family_of};
use crate::descriptor::{Descriptor, Object};
use crate::driver::Limit;
use crate::errno::{Errno, Result};
use crate::socket::{Inner, Phase, Socket};
use crate::sockets::Sockets;

/// Ports for sockets that are bound to none in particular.
const EPHEMERAL: std::ops::RangeInclusive<u16> = 32_768..=60_999;

impl Sockets {
    /// `bind(2)`.
    ///
    /// # Errors
    /// `EBADF`, `ENOTSOCK`, `EINVAL`, `EAFNOSUPPORT`, `EADDRINUSE`.
    pub fn bind(&self, descriptor: Descriptor, name: &[u8]) -> Result<()> {
        if let Object::Datagrams(socket) = self.object(descriptor)? {
            return self.bind_datagrams(&socket, name);
        }
        let socket = self.find(descriptor)?;
        let mut address = decode(name)?;
        if socket.inner.lock().local.is_some() {
            return Err(Errno(libc::EINVAL));
        }
        if address.port() == 0 {
            let free = EPHEMERAL
                .map(|port| SocketAddr::new(address.ip(), port))
                .find(|&candidate| !self.is_bound(candidate, &socket));
            address = free.ok_or(Errno(libc::EADDRINUSE))?;
        } else if self.is_bound(address, &socket) {
            return Err(Errno(libc::EADDRINUSE));
        }
        socket.inner.lock().local = Some(address);
        Ok(())
    }

    /// `listen(2)`.
    ///
    /// # Errors
    /// `EBADF`, `ENOTSOCK`, `EINVAL`, `EADDRINUSE`, `EADDRNOTAVAIL`.
    pub fn listen(&self, descriptor: Descriptor, backlog: i32) -> Result<()> {
        let socket = self.find(descriptor)?;
        self.at_once(|| {
            let mut inner = socket.inner.lock();
            match inner.phase {
                Phase::Fresh => {}
                Phase::Listening(_) => return Ok(()),
                Phase::Connected(_) => return Err(Errno(libc::EINVAL)),
            }
            let any = SocketAddr::new(inner.family.any(), 0);
            let backlog = usize::try_from(backlog).unwrap_or(4096).min(4096);
            let choices = &mut inner.choices;
            // What may have changed since the socket was made.
            choices.fast_open = (self.defaults)().fast_open;
            if choices.fast_open.unasked && choices.fast_open_queue == 0 {
                choices.fast_open_queue = backlog as u32;
            }
            let options = ListenOptions {
                backlog,
                fast_open: choices.opens_fast(),
                fast_open_to_all: choices.opens_fast_to_all(),
                fast_open_secret: choices.fast_open_secret,
                socket: inner.choices.tcp.clone(),
                only_v6: inner.choices.only_v6,
                defer_accept_retries: inner.choices.defer_accept_retries,
                ..ListenOptions::default()
            };
            let listener = self.direct().listen(inner.local.unwrap_or(any), options)?;
            inner.local = Some(listener.local_addr());
            inner.phase = Phase::Listening(listener);
            Ok(())
        })
    }

    /// `accept4(2)`: the new descriptor and the peer's name.
    ///
    /// # Errors
    /// `EBADF`, `ENOTSOCK`, `EINVAL`, `EAGAIN`, `EMFILE`.
    pub fn accept4(&self, descriptor: Descriptor, flags: i32) -> Result<(Descriptor, Name)> {
        if flags & !(libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC) != 0 {
            return Err(Errno(libc::EINVAL));
        }
        let socket = self.find(descriptor)?;
        let (nonblocking, timeout) = {
            let inner = socket.inner.lock();
            (inner.nonblocking, inner.choices.receive_timeout)
        };
        let limit = self.limit(nonblocking, timeout);
        let accepted = self
            .until(limit, |cx| self.try_accept(&socket, flags, cx))
            .ok_or(Errno(libc::EAGAIN))??;
        let name = accepted.1;
        Ok((self.insert(Object::Socket(accepted.0))?, name))
    }

    fn try_accept(
        &self,
        socket: &Socket,
        flags: i32,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(Arc<Socket>, Name)>> {
        let inner = socket.inner.lock();
        let Phase::Listening(listener) = &inner.phase else {
            return Poll::Ready(Err(Errno(libc::EINVAL)));
        };
        let accepted = std::task::ready!(listener.poll_accept(cx)).map_err(Errno::from);
        Poll::Ready(accepted.map(|connection| {
            let name = inner.family.encode(connection.id.remote_addr());
            let nonblocking = flags & libc::SOCK_NONBLOCK != 0;
            let accepted = Socket::accepted(&inner, connection, nonblocking);
            accepted.inner.lock().apply(self.direct());
            (accepted, name)
        }))
    }

    /// `connect(2)`.
    ///
    /// # Errors
    /// `EBADF`, `ENOTSOCK`, `EINVAL`, `EAFNOSUPPORT`, `EINPROGRESS`, `EALREADY`, `EISCONN`, and why the
    /// connection was not made.
    pub fn connect(&self, descriptor: Descriptor, name: &[u8]) -> Result<()> {
        if let Object::Datagrams(socket) = self.object(descriptor)? {
            return self.connect_datagrams(&socket, name);
        }
        let socket = self.find(descriptor)?;
        if family_of(name)? == libc::AF_UNSPEC {
            return self.disconnect(&socket);
        }
        let remote = decode(name)?;
        let (connection, fresh) = self.at_once(|| self.begin_connect(&socket, remote))?;
        let (nonblocking, timeout, held) = {
            let inner = socket.inner.lock();
            let timeout = inner.choices.send_timeout;
            (inner.nonblocking, timeout, inner.holds_syn())
        };
        if held {
            // The first write opens it.
            return Ok(());
        }
        let limit = self.limit(nonblocking, timeout);
        match self.await_connection(&socket, &connection, limit) {
            Some(ended) => ended,
            None if fresh => Err(Errno(libc::EINPROGRESS)),
            None => Err(Errno(libc::EALREADY)),
        }
    }

    /// Waits for the end of the handshake; none if the limit came first.
    pub(crate) fn await_connection(
        &self,
        socket: &Socket,
        connection: &Arc<Connection>,
        limit: Limit,
    ) -> Option<Result<()>> {
        let ended = self.until(limit, |cx| {
            self.direct()
                .act(connection, |tcb, _| tcb.poll_established(cx))
        })?;
        let mut inner = socket.inner.lock();
        Some(match ended {
            Ok(()) => {
                inner.connected = true;
                Ok(())
            }
            Err(error) => {
                let error = inner.take_error().unwrap_or(match error {
                    outlive::tcp::Error::NotConnected => Errno(libc::ECONNABORTED),
                    error => Errno::from(error),
                });
                // It may be tried again.
                inner.phase = Phase::Fresh;
                inner.told = false;
                Err(error)
            }
        })
    }

    /// The connection to wait for, and whether it was begun by this call.
    fn begin_connect(
        &self,
        socket: &Arc<Socket>,
        remote: SocketAddr,
    ) -> Result<(Arc<Connection>, bool)> {
        let mut inner = socket.inner.lock();
        match &inner.phase {
            Phase::Fresh => {}
            Phase::Listening(_) => return Err(Errno(libc::EISCONN)),
            Phase::Connected(_) if inner.connected || inner.holds_syn() => {
                return Err(Errno(libc::EISCONN));
            }
            Phase::Connected(connection) => return Ok((Arc::clone(connection), false)),
        }
        let options = inner.connecting_options();
        let fast = inner.choices.fast_open_connect;
        let connection = if fast {
            self.hold_connection(&mut inner, remote, options)?
        } else {
            let connection = self.direct().connect(inner.local, remote, options);
            connection.map_err(Errno::from)?
        };
        inner.begin(self.direct(), &connection);
        if fast && connection.tcb.lock().syn_room() == 0 {
            // There is no cookie yet to wait for data with.
            self.direct()
                .change(&connection, outlive::tcp::Tcb::release_syn);
        }
        Ok((connection, true))
    }

    /// `connect` to no address: the connection ends with a RST, and the socket is as new.
    fn disconnect(&self, socket: &Socket) -> Result<()> {
        self.at_once(|| {
            let mut inner = socket.inner.lock();
            let phase = std::mem::replace(&mut inner.phase, Phase::Fresh);
            self.drop_phase(phase, Inner::is_quiet_to_drop(&inner));
            inner.told = false;
            inner.connected = false;
            Ok(())
        })
    }

    /// `getsockname(2)`.
    ///
    /// # Errors
    /// `EBADF`, `ENOTSOCK`.
    pub fn getsockname(&self, descriptor: Descriptor) -> Result<Name> {
        if let Object::Datagrams(socket) = self.object(descriptor)? {
            return Ok(Self::name_of_datagrams(&socket));
        }
        let socket = self.find(descriptor)?;
        let inner = socket.inner.lock();
        let any = SocketAddr::new(inner.family.any(), 0);
        Ok(inner.family.encode(inner.local.unwrap_or(any)))
    }

    /// `getpeername(2)`.
    ///
    /// # Errors
    /// `EBADF`, `ENOTSOCK`, `ENOTCONN`.
    pub fn getpeername(&self, descriptor: Descriptor) -> Result<Name> {
        if let Object::Datagrams(socket) = self.object(descriptor)? {
            return Self::peer_of_datagrams(&socket);
        }
        let socket = self.find(descriptor)?;
        let inner = socket.inner.lock();
        match inner.connection() {
            Some(connection) if !matches!(inner.state(), State::Closed | State::SynSent) => {
                Ok(inner.family.encode(connection.id.remote_addr()))
            }
            _ => Err(Errno(libc::ENOTCONN)),
        }
    }
}
