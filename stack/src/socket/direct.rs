//! The calls beneath the sockets, for faces that have rules of their own for descriptors, blocking and
//! closing, as the C-callable one has. Nothing here closes anything by being dropped.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::Context;

use super::WaitError;
use super::handle::on_tcb;
use crate::engine::Stack;
use crate::ip::TxDatagram;
use crate::tcp::{Connection, Error, ListenOptions, Listener, SocketOptions, Tcb, Tcp};
use crate::time::Instant;
use crate::udp;

/// A stack's TCP and UDP without sockets that close themselves.
#[derive(Clone, Debug)]
pub struct Direct {
    stack: Stack,
}

impl Direct {
    /// The calls of `stack`.
    #[must_use]
    pub const fn new(stack: Stack) -> Self {
        Self { stack }
    }

    /// The stack.
    #[must_use]
    pub const fn stack(&self) -> &Stack {
        &self.stack
    }

    /// What listeners and connections there are, and what holds for all of them.
    #[must_use]
    pub fn tcp(&self) -> &Tcp {
        &self.stack.core().tcp
    }

    /// Begins to open a connection ([`Tcp::connect`]); its SYN leaves.
    ///
    /// # Errors
    /// As [`Tcp::connect`].
    pub fn connect(
        &self,
        local: Option<SocketAddr>,
        remote: SocketAddr,
        options: SocketOptions,
    ) -> Result<Arc<Connection>, Error> {
        let connection = self.begin(local, remote, options)?;
        self.stack.runtime().output(&connection);
        Ok(connection)
    }

    /// As [`Direct::connect`], but the SYN does not leave before [`Tcb::release_syn`].
    ///
    /// # Errors
    /// As [`Tcp::connect`].
    pub fn connect_held(
        &self,
        local: Option<SocketAddr>,
        remote: SocketAddr,
        options: SocketOptions,
    ) -> Result<Arc<Connection>, Error> {
        let connection = self.begin(local, remote, options)?;
        connection.tcb.lock().hold_syn();
        Ok(connection)
    }

    fn begin(
        &self,
        local: Option<SocketAddr>,
        remote: SocketAddr,
        options: SocketOptions,
    ) -> Result<Arc<Connection>, Error> {
        let now = self.stack.now();
        self.tcp().connect(now, local, remote, options)
    }

    /// Accepts connections to `local` from now on.
    ///
    /// # Errors
    /// As [`Tcp::listen`].
    pub fn listen(
        &self,
        local: SocketAddr,
        options: ListenOptions,
    ) -> Result<Arc<Listener>, Error> {
        self.tcp().listen(local, options)
    }

    /// Accepts no more, and resets what nobody accepted.
    pub fn close_listener(&self, listener: &Arc<Listener>) {
        let orphans = self.tcp().close_listener(listener);
        self.stack.runtime().output_all(&orphans);
    }

    /// Acts on a connection; whoever waits for what changed is woken, and what is to be sent leaves.
    pub fn act<R>(
        &self,
        connection: &Arc<Connection>,
        act: impl FnOnce(&mut Tcb, Instant) -> R,
    ) -> R {
        let now = self.stack.now();
        on_tcb(&self.stack, connection, |tcb| act(tcb, now))
    }

    /// As [`Direct::act`], for what may have moved a timer.
    pub fn change<R>(
        &self,
        connection: &Arc<Connection>,
        act: impl FnOnce(&mut Tcb, Instant) -> R,
    ) -> R {
        let result = self.act(connection, act);
        self.stack.runtime().output(connection);
        result
    }

    /// A socket for datagrams ([`udp::Udp::bind`]).
    ///
    /// # Errors
    /// As [`udp::Udp::bind`].
    pub fn bind_datagrams(&self, local: SocketAddr) -> Result<Arc<udp::Socket>, udp::Error> {
        self.stack.core().udp.bind(local)
    }

    /// Sends a datagram that a socket built; false when there is no room for it now.
    #[must_use]
    pub fn send_datagram(&self, datagram: TxDatagram) -> bool {
        self.stack.runtime().send(datagram)
    }

    /// Calls `poll` until it returns true, again whenever the waker that it was given was woken. False
    /// when `deadline` came first.
    ///
    /// # Errors
    /// When the stack was stopped, or when waiting would never end (in virtual time).
    pub fn wait(
        &self,
        deadline: Option<Instant>,
        poll: &mut dyn FnMut(&mut Context<'_>) -> bool,
    ) -> io::Result<bool> {
        match self.stack.runtime().wait(None, true, deadline, poll) {
            Ok(()) => Ok(true),
            Err(WaitError::TimedOut) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}
