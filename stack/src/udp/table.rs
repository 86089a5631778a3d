//! Which socket gets a datagram. Several may share a port if their addresses differ; the most specific
//! wins: connected to the sender before bound to the address before bound to all addresses.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Weak};

use parking_lot::{Mutex, RwLock};
use smallvec::SmallVec;

use super::{Error, Socket};
use crate::counters::Counters;
use crate::ip::Ip;
use crate::random::Random;

/// Ports for sockets that do not ask for one (RFC 6335 §6).
const EPHEMERAL: std::ops::RangeInclusive<u16> = 49_152..=65_535;

/// Bounds of each socket.
#[derive(Clone, Debug)]
pub struct Config {
    /// Bytes that may wait in a socket, bookkeeping included.
    pub receive_bytes: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            receive_bytes: 1 << 20,
        }
    }
}

/// All UDP sockets of a host.
#[derive(Debug)]
pub struct Udp {
    pub(super) ip: Arc<Ip>,
    pub(super) counters: Arc<Counters>,
    pub(super) table: Arc<Table>,
    random: Mutex<Random>,
    config: Config,
}

/// Sockets by local port.
#[derive(Debug, Default)]
pub(super) struct Table {
    ports: RwLock<HashMap<u16, Port>>,
}

#[derive(Debug, Default)]
struct Port {
    sockets: SmallVec<[Bound; 1]>,
}

#[derive(Debug)]
struct Bound {
    address: IpAddr,
    socket: Weak<Socket>,
}

impl Table {
    /// Enters what `make` makes under `local`, unless that is taken.
    fn enter(
        &self,
        local: SocketAddr,
        make: impl FnOnce() -> Arc<Socket>,
    ) -> Result<Arc<Socket>, Error> {
        let mut ports = self.ports.write();
        let port = ports.entry(local.port()).or_default();
        if port.sockets.iter().any(|bound| bound.address == local.ip()) {
            return Err(Error::AddressInUse(local));
        }
        let socket = make();
        port.sockets.push(Bound {
            address: local.ip(),
            socket: Arc::downgrade(&socket),
        });
        Ok(socket)
    }

    pub(super) fn remove(&self, local: SocketAddr) {
        let mut ports = self.ports.write();
        if let Some(port) = ports.get_mut(&local.port()) {
            port.sockets.retain(|bound| bound.address != local.ip());
            if port.sockets.is_empty() {
                ports.remove(&local.port());
            }
        }
    }

    /// The socket for what `remote` sent to `local`.
    pub(super) fn find(&self, local: SocketAddr, remote: SocketAddr) -> Option<Arc<Socket>> {
        self.candidates(local)
            .into_iter()
            .filter_map(|(address, socket)| {
                let connected = match socket.peer() {
                    Some(peer) if peer == remote => true,
                    Some(_) => return None,
                    None => false,
                };
                let family = address.is_ipv4() == local.is_ipv4();
                let rank = (connected, !address.is_unspecified(), family);
                Some((rank, socket))
            })
            .max_by_key(|&(rank, _)| rank)
            .map(|(_, socket)| socket)
    }

    /// All sockets for what `remote` sent to the group or broadcast address `local`.
    pub(super) fn find_all(
        &self,
        local: SocketAddr,
        remote: SocketAddr,
    ) -> impl Iterator<Item = Arc<Socket>> {
        self.candidates(local)
            .into_iter()
            .map(|(_, socket)| socket)
            .filter(move |socket| socket.peer().is_none_or(|peer| peer == remote))
    }

    /// Sockets bound so that they take what comes to `local`. The lock is released before any of them is
    /// let go, since the last one to let a socket go takes it off this table.
    fn candidates(&self, local: SocketAddr) -> SmallVec<[(IpAddr, Arc<Socket>); 2]> {
        let ports = self.ports.read();
        let Some(port) = ports.get(&local.port()) else {
            return SmallVec::new();
        };
        port.sockets
            .iter()
            .filter(|bound| bound.takes(local.ip()))
            .filter_map(|bound| Some((bound.address, bound.socket.upgrade()?)))
            .collect()
    }
}

impl Bound {
    fn takes(&self, destination: IpAddr) -> bool {
        let family = self.address.is_ipv6() || destination.is_ipv4();
        // The unspecified IPv6 address stands for IPv4 too (RFC 3493 §3.7).
        self.address == destination || (self.address.is_unspecified() && family)
    }
}

impl Udp {
    /// No sockets yet.
    #[must_use]
    pub fn new(config: Config, ip: Arc<Ip>, counters: Arc<Counters>, random: Random) -> Self {
        Self {
            ip,
            counters,
            table: Arc::default(),
            random: Mutex::new(random),
            config,
        }
    }

    /// A socket at `local`: one of our addresses, a group or broadcast address, or the unspecified address
    /// for all of them; port 0 for a random one. The socket leaves the table when it is dropped.
    ///
    /// # Errors
    /// [`Error::AddressNotLocal`], [`Error::AddressInUse`] or [`Error::NoPort`].
    pub fn bind(&self, local: SocketAddr) -> Result<Arc<Socket>, Error> {
        let address = local.ip();
        let can_be_bound = address.is_unspecified()
            || address.is_multicast()
            || self.ip.may_be_bound(address)
            || self.ip.is_broadcast(address);
        if !can_be_bound {
            return Err(Error::AddressNotLocal(address));
        }
        if local.port() != 0 {
            return self.enter(local);
        }
        let (first, count) = (*EPHEMERAL.start(), EPHEMERAL.len() as u64);
        let start = self.random.lock().below(count);
        for step in 0..count {
            let port = first + ((start + step) % count) as u16;
            match self.enter(SocketAddr::new(address, port)) {
                Err(Error::AddressInUse(_)) => {}
                result => return result,
            }
        }
        Err(Error::NoPort)
    }

    /// A socket on a random port of all addresses, connected to `peer`.
    ///
    /// # Errors
    /// Those of [`Udp::bind`] and [`Socket::connect`].
    pub fn connect(&self, peer: SocketAddr) -> Result<Arc<Socket>, Error> {
        let any: IpAddr = match peer {
            SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            SocketAddr::V6(_) => std::net::Ipv6Addr::UNSPECIFIED.into(),
        };
        let socket = self.bind(SocketAddr::new(any, 0))?;
        socket.connect(peer)?;
        Ok(socket)
    }

    fn enter(&self, local: SocketAddr) -> Result<Arc<Socket>, Error> {
        self.table.enter(local, || {
            Arc::new(Socket::new(
                local,
                Arc::clone(&self.ip),
                Arc::clone(&self.table),
                self.config.receive_bytes,
            ))
        })
    }
}
