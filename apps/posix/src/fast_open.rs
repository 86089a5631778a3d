//! `MSG_FASTOPEN` and `TCP_FASTOPEN_CONNECT`: data that goes along with the SYN (RFC 7413), with Linux's rules of who waits and what
//! is told.
//!
//! A call that may wait hands over everything that it has: what the SYN does not take leaves as soon as it is answered. One that may not
//! hands over what the SYN takes, and tells so. A `connect` that finds a cookie leaves the SYN to the first write.

use std::sync::Arc;

use outlive::tcp::{Connection, SocketOptions, Tcb};

use crate::address::{decode, family_of};
use crate::driver::Limit;
use crate::errno::{Errno, Result};
use crate::socket::{Inner, Phase, Socket};
use crate::sockets::Sockets;
use crate::transfer::Writing;

/// What a write that opens the connection found.
pub(crate) enum Opened {
    /// The connection stands: the rest may follow.
    Standing,
    /// Its SYN is on its way with a part, and nobody waits for the answer.
    Begun,
}

impl Inner {
    /// The SYN waits for the first write.
    pub(crate) fn holds_syn(&self) -> bool {
        self.connection()
            .is_some_and(|it| it.tcb.lock().holds_syn())
    }
}

impl Sockets {
    /// Begins the connection of `inner` with a SYN that is held, which asks for a cookie or has one.
    pub(crate) fn hold_connection(
        &self,
        inner: &mut Inner,
        remote: std::net::SocketAddr,
        mut options: SocketOptions,
    ) -> Result<Arc<Connection>> {
        let policy = (self.defaults)().fast_open;
        options.fast_open = true;
        options.fast_open_without_cookie =
            policy.client_without_cookie || inner.choices.fast_open_without_cookie;
        let connection = self.direct().connect_held(inner.local, remote, options);
        connection.map_err(Errno::from)
    }

    /// The first thing that a write does which says `MSG_FASTOPEN`, or which finds a SYN that is held.
    pub(crate) fn open_with(
        &self,
        socket: &Arc<Socket>,
        writing: &mut Writing<'_>,
        limit: Limit,
        name: &[u8],
    ) -> Result<Opened> {
        let unspecified = !name.is_empty() && family_of(name)? == libc::AF_UNSPEC;
        if !(self.defaults)().fast_open.client || unspecified {
            return Err(Errno(libc::EOPNOTSUPP));
        }
        let waits = limit != Limit::Now;
        let begun = self.at_once(|| self.begin_with(socket, writing, waits, name))?;
        let fresh = matches!(begun, Begun::Now(_));
        let (Begun::Now(connection) | Begun::Before(connection)) = begun;
        match self.await_connection(socket, &connection, limit) {
            Some(Ok(())) => Ok(Opened::Standing),
            Some(Err(error)) => Err(error),
            None if !fresh => Err(Errno(libc::EALREADY)),
            None if writing.taken() > 0 => Ok(Opened::Begun),
            None => Err(Errno(libc::EINPROGRESS)),
        }
    }

    /// Has the SYN leave with what it takes of the data, unless it has left before.
    fn begin_with(
        &self,
        socket: &Arc<Socket>,
        writing: &mut Writing<'_>,
        waits: bool,
        name: &[u8],
    ) -> Result<Begun> {
        let mut inner = socket.inner.lock();
        let connection = match &inner.phase {
            Phase::Listening(_) => return Err(Errno(libc::EISCONN)),
            Phase::Connected(_) if inner.connected => return Err(Errno(libc::EISCONN)),
            Phase::Connected(connection) if !inner.holds_syn() => {
                return Ok(Begun::Before(Arc::clone(connection)));
            }
            Phase::Connected(connection) => Arc::clone(connection),
            Phase::Fresh => {
                let remote = decode(name)?;
                let options = inner.connecting_options();
                let connection = self.hold_connection(&mut inner, remote, options)?;
                inner.begin(self.direct(), &connection);
                connection
            }
        };
        self.direct().change(&connection, |tcb: &mut Tcb, now| {
            writing.put_first(tcb, if waits { usize::MAX } else { tcb.syn_room() });
            tcb.release_syn(now);
        });
        Ok(Begun::Now(connection))
    }
}

/// Which call sent the SYN.
enum Begun {
    Now(Arc<Connection>),
    Before(Arc<Connection>),
}
