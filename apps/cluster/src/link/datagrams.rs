//! Datagrams to and from all other hosts, on a socket for each path.

use std::collections::HashMap;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

use arc_swap::ArcSwapOption;
use bytes::Bytes;
use parking_lot::Mutex;
use socket2::{Domain, Protocol, Socket, Type};

use super::association::{Association, Reply};
use super::counters::{Counters, Event};
use super::datagram::Datagram;
use super::error_queue;
use super::refusal::Refusal;
use super::session::{MOST_DATAGRAM_BYTES, Sealer};
use crate::id::{HostId, PathId};
use crate::key::Key;
use outlive::random::Random;
use outlive::time::Instant;

/// Taken from one socket before the others have their turn.
const MOST_IN_A_TURN: usize = 64;
/// DSCP CS6 (RFC 4594 §3.2): heartbeats pass before everything else.
const TOS: u32 = 0xC0;

/// How to reach one host, by path.
struct Peer {
    host: HostId,
    addresses: Vec<SocketAddr>,
    sealer: Arc<ArcSwapOption<Sealer>>,
    association: Mutex<Association>,
}

/// What came out of a socket.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Arrival {
    /// A message.
    Message(HostId, PathId, Bytes),
    /// Nobody listens any more at that host.
    Unreachable(HostId),
}

/// Datagrams to and from all other hosts.
pub(crate) struct Datagrams {
    sockets: Vec<UdpSocket>,
    peers: Vec<Peer>,
    /// Indices of `peers`.
    by_address: HashMap<SocketAddr, usize>,
    counters: Arc<Counters>,
}

/// A socket for datagrams at `address`.
///
/// # Errors
/// When it is in use, or not an address of this host.
pub(crate) fn bind(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::DGRAM,
        Some(Protocol::UDP),
    )?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    // A marking is a wish; IPv6 has another call for it.
    let _ = socket.set_tos_v4(TOS);
    let socket = UdpSocket::from(socket);
    error_queue::enable(&socket)?;
    Ok(socket)
}

impl Datagrams {
    /// One socket per path; `peers` with their addresses in the order of the paths.
    pub(crate) fn new(
        key: &Key,
        me: HostId,
        sockets: Vec<UdpSocket>,
        peers: Vec<(HostId, Vec<SocketAddr>)>,
        counters: Arc<Counters>,
        random: &mut Random,
    ) -> Self {
        let mut by_address = HashMap::new();
        let peers = (0..).zip(peers).map(|(index, (host, addresses))| {
            by_address.extend(addresses.iter().map(|address| (*address, index)));
            let association = Association::new(key.clone(), me, host, random.fork());
            Peer {
                host,
                addresses,
                sealer: association.sealer(),
                association: Mutex::new(association),
            }
        });
        Self {
            peers: peers.collect(),
            sockets,
            by_address,
            counters,
        }
    }

    /// Sends a message to `to` on `path`, if there is a session. Any thread may; never waits.
    pub(crate) fn send(&self, to: HostId, path: PathId, message: &[u8]) {
        let sent = self
            .peers
            .iter()
            .find(|peer| peer.host == to)
            .and_then(|peer| {
                let sealed = peer.sealer.load().as_ref()?.seal(path, message)?;
                self.transmit(peer, path, &sealed).then_some(())
            });
        self.counters.count(match sent {
            Some(()) => Event::DatagramsSent,
            None => Event::DatagramsUnsent,
        });
    }

    /// Asks the kernel of `host` on every path whether somebody listens.
    pub(crate) fn probe(&self, host: HostId) {
        for path in 0..self.sockets.len() {
            self.send(host, path_id(path), &[]);
        }
    }

    fn transmit(&self, peer: &Peer, path: PathId, datagram: &[u8]) -> bool {
        let index = usize::from(path.0);
        let (Some(socket), Some(address)) = (self.sockets.get(index), peer.addresses.get(index))
        else {
            return false;
        };
        // An error may be an earlier datagram's, reported late; then this one was not sent.
        (0..2).any(|_| socket.send_to(datagram, address).is_ok())
    }

    /// What to wait for, by path.
    pub(crate) fn sockets(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.sockets.iter().map(AsFd::as_fd)
    }

    /// When [`Self::poll`] has something to do.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        let deadlines = self.peers.iter();
        deadlines
            .filter_map(|peer| peer.association.lock().next_deadline())
            .min()
    }

    /// Begins the handshakes that are due.
    pub(crate) fn poll(&self, now: Instant) {
        for peer in &self.peers {
            let reply = peer.association.lock().poll(now);
            if let Some(reply) = reply {
                self.reply(peer, PathId(0), &reply);
            }
        }
    }

    fn reply(&self, peer: &Peer, path: PathId, reply: &Reply) {
        match reply {
            Reply::Here(datagram) => {
                self.transmit(peer, path, datagram);
            }
            Reply::Everywhere(datagram) => {
                for path in 0..self.sockets.len() {
                    self.transmit(peer, path_id(path), datagram);
                }
            }
        }
    }

    /// Takes what has arrived on `path`, as much as is fair at a time.
    pub(crate) fn receive(
        &self,
        now: Instant,
        path: PathId,
        buffer: &mut [u8],
        arrivals: &mut Vec<Arrival>,
    ) {
        let Some(socket) = self.sockets.get(usize::from(path.0)) else {
            return;
        };
        for address in error_queue::drain(socket) {
            let peer = self
                .by_address
                .get(&address)
                .map(|index| &self.peers[*index]);
            let news = peer.filter(|peer| peer.association.lock().unreachable());
            arrivals.extend(news.map(|peer| Arrival::Unreachable(peer.host)));
        }
        for _ in 0..MOST_IN_A_TURN {
            match socket.recv_from(buffer) {
                Ok((length, from)) => {
                    arrivals.extend(self.take(now, path, from, &buffer[..length]));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                // An error of a datagram sent earlier; the queue of errors has it.
                Err(_) => {}
            }
        }
    }

    fn take(&self, now: Instant, path: PathId, from: SocketAddr, bytes: &[u8]) -> Option<Arrival> {
        let result = Datagram::parse(bytes).and_then(|datagram| {
            let peer = self.peers.iter().find(|peer| peer.host == datagram.from);
            let peer = peer.ok_or(Refusal::Host)?;
            let mut replies = Vec::new();
            let mut association = peer.association.lock();
            let had = association.has_session();
            let message = association.receive(now, path, datagram, &mut replies);
            if association.has_session() && !had {
                self.counters.count(Event::SessionsAgreed);
                tracing::debug!(peer = %peer.host, "session agreed");
            }
            drop(association);
            for reply in &replies {
                self.reply(peer, path, reply);
            }
            Ok(message?.map(|message| Arrival::Message(peer.host, path, message)))
        });
        match result {
            Ok(arrival) => {
                self.counters.count(Event::DatagramsReceived);
                arrival
            }
            Err(refusal) => {
                refusal.note(&self.counters, from, "datagram");
                None
            }
        }
    }
}

/// Room for the largest datagram.
pub(crate) fn buffer() -> Vec<u8> {
    vec![0; MOST_DATAGRAM_BYTES + 256]
}

fn path_id(index: usize) -> PathId {
    // `Links::start` allows a handful.
    PathId(u8::try_from(index).unwrap_or(u8::MAX))
}
