//! Taking connections from hosts with lower numbers.

use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::Scope;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags};
use socket2::{Domain, Protocol, Socket, Type};

use super::channel::manner;
use super::counters::Counters;
use super::dial;
use super::greeting::{self, GreetingError};
use super::peer::PeerLink;
use super::refusal::Refusal;
use super::wake::{Wake, is_ready, wait};
use crate::id::HostId;
use crate::key::Key;

/// Handshakes at a time; each ends after a second.
const MOST_HANDSHAKES: usize = 16;
/// After a failure to accept: the usual reason is too many open files, and some will close.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Takes connections on every path.
pub(crate) struct Doorman {
    pub(crate) key: Key,
    pub(crate) me: HostId,
    /// The links that hosts with lower numbers connect for.
    pub(crate) peers: Vec<Arc<PeerLink>>,
    /// From where they may come.
    pub(crate) addresses: Vec<IpAddr>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) handshakes: AtomicUsize,
}

/// Listens on `address`.
///
/// # Errors
/// When it is in use, or not an address of this host.
pub(crate) fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    // A host that starts again must not wait for its old connections' TIME-WAIT.
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(16)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

impl Doorman {
    /// Accepts until woken.
    pub(crate) fn run<'scope>(
        &'scope self,
        scope: &'scope Scope<'scope, '_>,
        listeners: &[TcpListener],
        stop: &Wake,
    ) {
        loop {
            let mut fds: Vec<_> = listeners
                .iter()
                .map(|listener| PollFd::new(listener.as_fd(), PollFlags::POLLIN))
                .collect();
            fds.push(PollFd::new(stop.as_fd(), PollFlags::POLLIN));
            if wait(&mut fds, None).is_err() || fds.last().is_some_and(is_ready) {
                return;
            }
            for (listener, fd) in listeners.iter().zip(&fds) {
                if is_ready(fd) {
                    self.accept(scope, listener, stop);
                }
            }
        }
    }

    fn accept<'scope>(
        &'scope self,
        scope: &'scope Scope<'scope, '_>,
        listener: &TcpListener,
        stop: &Wake,
    ) {
        let (socket, from) = match listener.accept() {
            Ok(accepted) => accepted,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
            Err(error) => {
                tracing::warn!(%error, "cannot accept a link");
                // There is nothing to wait for but the end.
                let mut end = [PollFd::new(stop.as_fd(), PollFlags::POLLIN)];
                let _ = wait(&mut end, Some(ACCEPT_PAUSE));
                return;
            }
        };
        let stranger = !self.addresses.contains(&from.ip());
        if stranger || self.handshakes.load(Ordering::Relaxed) >= MOST_HANDSHAKES {
            Refusal::Connection.note(&self.counters, from, "connection");
            return;
        }
        self.handshakes.fetch_add(1, Ordering::Relaxed);
        scope.spawn(move || {
            self.greet(socket, from);
            self.handshakes.fetch_sub(1, Ordering::Relaxed);
        });
    }

    fn greet(&self, socket: TcpStream, from: SocketAddr) {
        let half = prepare(&socket)
            .map_err(GreetingError::from)
            .and_then(|()| {
                greeting::accept(socket, self.me, &self.key, |purpose| {
                    manner(purpose).record_bytes
                })
            });
        match half {
            Ok(half) => {
                let _ = dial::prepare(&half.socket, half.purpose);
                match self.peers.iter().find(|link| link.peer() == half.peer) {
                    Some(link) => link.offer(half),
                    None => Refusal::Host.note(&self.counters, from, "connection"),
                }
            }
            Err(GreetingError::Refused(refusal)) => {
                refusal.note(&self.counters, from, "connection");
            }
            Err(GreetingError::Io(error)) => tracing::debug!(%from, %error, "handshake broken off"),
        }
    }
}

/// A handshake may not wait for ever to write either.
fn prepare(socket: &TcpStream) -> io::Result<()> {
    socket.set_nonblocking(false)?;
    socket.set_nodelay(true)?;
    socket.set_write_timeout(Some(Duration::from_millis(500)))
}
