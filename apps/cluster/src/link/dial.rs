//! Connecting to a host with a higher number, and how the sockets of channels are set up.

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};

use super::channel::manner;
use super::greeting::{self, Half};
use super::noise::{Parties, Purpose};
use super::peer::{Dial, Made};
use crate::id::HostId;
use crate::key::Key;

/// For a SYN and its answer.
const CONNECT_PATIENCE: Duration = Duration::from_millis(500);
/// A connection whose peer acknowledges nothing for so long is broken.
const SILENCE: Duration = Duration::from_secs(2);
/// What the kernel may hold of a bulk channel: more would only stand in the way of commits on the same wire.
const BULK_SEND_BUFFER_BYTES: usize = 256 << 10;
/// DSCP CS6 (RFC 4594 §3.2) for what others wait for, CS1 (lower effort) for what can wait.
const COMMIT_TOS: u32 = 0xC0;
const BULK_TOS: u32 = 0x20;

/// Connects to one host, over one path after the other.
pub(crate) struct Dialler {
    pub(crate) key: Key,
    pub(crate) me: HostId,
    pub(crate) peer: HostId,
    /// From where to where; the first that works is used.
    pub(crate) routes: Vec<(SocketAddr, SocketAddr)>,
}

impl Dial for Dialler {
    fn dial(&self) -> Option<Made> {
        self.routes.iter().find_map(|(from, to)| {
            let made = self.dial_route(*from, *to);
            made.inspect_err(
                |error| tracing::debug!(peer = %self.peer, %to, %error, "cannot connect"),
            )
            .ok()
        })
    }
}

impl Dialler {
    fn dial_route(
        &self,
        from: SocketAddr,
        to: SocketAddr,
    ) -> Result<Made, greeting::GreetingError> {
        let generation = getrandom::u64().map_err(io::Error::from)?;
        let half = |purpose| self.half(from, to, purpose, generation);
        let commit = half(Purpose::Commit)?;
        Ok(Made::new(commit, half(Purpose::Bulk)?)?)
    }

    fn half(
        &self,
        from: SocketAddr,
        to: SocketAddr,
        purpose: Purpose,
        generation: u64,
    ) -> Result<Half, greeting::GreetingError> {
        let socket = Socket::new(Domain::for_address(to), Type::STREAM, Some(Protocol::TCP))?;
        socket.bind(&SocketAddr::new(from.ip(), 0).into())?;
        socket.connect_timeout(&to.into(), CONNECT_PATIENCE)?;
        let socket = TcpStream::from(socket);
        prepare(&socket, purpose)?;
        let parties = Parties {
            initiator: self.me,
            responder: self.peer,
            purpose,
        };
        greeting::connect(
            socket,
            parties,
            &self.key,
            generation,
            manner(purpose).record_bytes,
        )
    }
}

/// Sets a connected socket up for its purpose.
///
/// # Errors
/// When it is gone already.
pub(crate) fn prepare(socket: &TcpStream, purpose: Purpose) -> io::Result<()> {
    socket.set_nodelay(true)?;
    socket.set_write_timeout(Some(CONNECT_PATIENCE))?;
    let socket = SockRef::from(socket);
    socket.set_tcp_user_timeout(Some(SILENCE))?;
    let keepalive = TcpKeepalive::new()
        .with_time(Duration::from_secs(1))
        .with_interval(Duration::from_secs(1))
        .with_retries(2);
    socket.set_tcp_keepalive(&keepalive)?;
    let tos = match purpose {
        Purpose::Bulk => {
            socket.set_send_buffer_size(BULK_SEND_BUFFER_BYTES)?;
            BULK_TOS
        }
        Purpose::Commit | Purpose::Datagrams => COMMIT_TOS,
    };
    // A marking is a wish; IPv6 has another call for it.
    let _ = socket.set_tos_v4(tos);
    Ok(())
}
