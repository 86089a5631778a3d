//! What the Internet layer of one host knows: addresses, groups, routes, path MTUs and limits, shared by
//! reader, writer and transports.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use arc_swap::ArcSwap;
use outlive_driver::Capabilities;
use parking_lot::Mutex;

use super::icmp_limit::IcmpLimiter;
use super::identification::Identification;
use super::path_mtu::{Cache, Known};
use super::route::{Route, Routes};
use super::v6::source::{Candidate, select};
use super::{Cidr, Config, Datagram, ErrorKind, Path, TxDatagram, icmp, v6};
use crate::counters::Counters;
use crate::keyed::Keyed;
use crate::time::Instant;
use crate::wire::{ipv4, ipv6};

/// There is no way to that destination, or no address of ours to come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no route to {destination}")]
pub struct NoRoute {
    /// Where to.
    pub destination: IpAddr,
}

/// What IPv6 routers say (RFC 4861 §6.3.4), all of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Learned {
    /// Networks on the link, and default gateways.
    pub routes: Vec<Route>,
    /// Addresses that are not to be used for anything new.
    pub deprecated: Vec<IpAddr>,
    /// Largest IPv6 datagram on the link, if they say.
    pub mtu: Option<usize>,
}

/// The Internet layer of one host on one interface.
#[derive(Debug)]
pub struct Ip {
    pub(super) config: Config,
    pub(super) counters: Arc<Counters>,
    pub(super) identification: Identification,
    pub(super) keyed: Keyed,
    /// Names flows in a way that tells nothing of them.
    pub(super) flow_labels: Keyed,
    /// Largest datagram on the link.
    link_mtu: usize,
    max_segmented4: usize,
    max_segmented6: usize,
    /// Largest IPv6 datagram on the link as routers say.
    learned_mtu6: AtomicUsize,
    /// What changes rarely and is read for every packet.
    tables: ArcSwap<Tables>,
    changing: Mutex<()>,
    path_mtu: Mutex<Cache>,
    /// Spares the writer the lock of a cache that is almost always empty.
    path_mtu_known: AtomicBool,
    icmp_limiter: Mutex<IcmpLimiter>,
}

/// Addresses and routes at one time.
#[derive(Clone, Debug)]
pub(super) struct Tables {
    addresses: Vec<Cidr>,
    /// Those that are not yet known to be free: sockets may be bound to them, no more.
    tentative: Vec<Cidr>,
    /// Those of them that are not to be used for anything new (RFC 4862 §5.5.4).
    deprecated: Vec<IpAddr>,
    groups: Vec<IpAddr>,
    /// Beside those of the configuration: from IPv6 routers, and with a lease.
    learned_routes: Vec<Route>,
    leased_routes: Vec<Route>,
    routes: Routes,
}

/// What a destination address is to this host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// One of our addresses.
    Local,
    /// 127/8, `::1`.
    Loopback,
    /// All hosts of the link or of one of our networks.
    Broadcast,
    /// A group that we are in, or not.
    Group { joined: bool },
    /// Somebody else.
    Elsewhere,
}

impl Tables {
    /// Makes the routes anew, after addresses or routes have changed.
    fn find_ways(&mut self, configured: &[Route]) {
        let routes = [configured, &self.learned_routes, &self.leased_routes].concat();
        self.routes = Routes::new(&self.addresses, &routes);
    }

    pub(super) fn place(&self, address: IpAddr) -> Place {
        if self.is_local(address) {
            Place::Local
        } else if address.is_loopback() {
            Place::Loopback
        } else if address.is_multicast() {
            let joined = self.groups.contains(&address) || self.is_solicited_node(address);
            Place::Group { joined }
        } else if self.is_broadcast(address) {
            Place::Broadcast
        } else {
            Place::Elsewhere
        }
    }

    fn is_local(&self, address: IpAddr) -> bool {
        self.addresses.iter().any(|cidr| cidr.address() == address)
    }

    /// True for the groups in which one of our addresses is asked for.
    fn is_solicited_node(&self, group: IpAddr) -> bool {
        let IpAddr::V6(group) = group else {
            return false;
        };
        self.addresses.iter().any(|cidr| match cidr.address() {
            IpAddr::V6(ours) => ipv6::solicited_node(ours) == group,
            IpAddr::V4(_) => false,
        })
    }

    fn is_broadcast(&self, address: IpAddr) -> bool {
        let IpAddr::V4(address) = address else {
            return false;
        };
        address.is_broadcast()
            || self
                .addresses
                .iter()
                .any(|cidr| cidr.broadcast() == Some(address))
    }

    /// True for sources that no datagram from the wire can have: groups, broadcasts, 127/8, 0/8
    /// (RFC 1122 §3.2.1.3), and our own addresses (a land attack, or a second host with our address).
    pub(super) fn is_bad_source(&self, source: IpAddr) -> bool {
        let never = match source {
            IpAddr::V4(source) => {
                source.octets()[0] == 0 || source.is_loopback() || source.is_multicast()
            }
            IpAddr::V6(source) => v6::is_never_a_source(source),
        };
        never || self.is_broadcast(source) || self.is_local(source)
    }

    /// The neighbour that takes a datagram, or none.
    pub(super) fn next_hop(&self, destination: IpAddr) -> Option<IpAddr> {
        match self.place(destination) {
            // One address for all broadcasts, so that the link layer need not know our networks.
            Place::Broadcast => Some(Ipv4Addr::BROADCAST.into()),
            Place::Group { .. } => Some(destination),
            _ => self.routes.next_hop(destination),
        }
    }

    /// Our address towards `destination`: in IPv4 the first of the network of `next_hop`, else the first;
    /// in IPv6 by RFC 6724.
    fn source_for(&self, destination: IpAddr, next_hop: IpAddr) -> Option<IpAddr> {
        if let IpAddr::V6(destination) = destination {
            return select(destination, self.candidates()).map(IpAddr::V6);
        }
        let same_family = |cidr: &&Cidr| cidr.address().is_ipv4();
        self.addresses
            .iter()
            .find(|cidr| cidr.contains(next_hop))
            .or_else(|| self.addresses.iter().find(same_family))
            .map(Cidr::address)
    }

    fn candidates(&self) -> impl Iterator<Item = Candidate> {
        self.addresses.iter().filter_map(|cidr| {
            let IpAddr::V6(address) = cidr.address() else {
                return None;
            };
            Some(Candidate {
                address,
                prefix_len: cidr.prefix_len(),
                deprecated: self.deprecated.contains(&cidr.address()),
            })
        })
    }
}

impl Ip {
    /// A host with `config` on a device with `capabilities`. `secret` keys what peers must not guess.
    #[must_use]
    pub fn new(
        config: Config,
        capabilities: &Capabilities,
        counters: Arc<Counters>,
        secret: [u8; 16],
    ) -> Self {
        let keyed = Keyed::new(secret);
        let link_mtu = capabilities.mtu.clamp(ipv4::MIN_MTU, ipv4::MAX_LEN);
        let segmented = |able: bool, most: usize| match able {
            true => capabilities.max_segmented_bytes.min(most).max(link_mtu),
            false => link_mtu,
        };
        let tables = Tables {
            routes: Routes::new(&config.addresses, &config.routes),
            addresses: config.addresses.clone(),
            tentative: Vec::new(),
            learned_routes: Vec::new(),
            leased_routes: Vec::new(),
            deprecated: Vec::new(),
            // All hosts are in these groups, always (RFC 1112 §4, RFC 4291 §2.8).
            groups: vec![IpAddr::from([224, 0, 0, 1]), ipv6::ALL_NODES.into()],
        };
        Self {
            link_mtu,
            max_segmented4: segmented(capabilities.tso4, usize::MAX),
            max_segmented6: segmented(capabilities.tso6, ipv4::MAX_LEN),
            learned_mtu6: AtomicUsize::new(usize::MAX),
            tables: ArcSwap::from_pointee(tables),
            changing: Mutex::new(()),
            path_mtu: Mutex::new(Cache::new(config.path_mtu.clone(), keyed.derive(1))),
            path_mtu_known: AtomicBool::new(false),
            icmp_limiter: Mutex::new(IcmpLimiter::new(config.icmp.clone(), keyed.derive(2))),
            identification: Identification::new(keyed.derive(3)),
            flow_labels: keyed.derive(5),
            keyed,
            counters,
            config,
        }
    }

    /// Addresses and routes as they are now, for a batch.
    pub(super) fn tables(&self) -> arc_swap::Guard<Arc<Tables>> {
        self.tables.load()
    }

    fn change<T>(&self, change: impl FnOnce(&mut Tables) -> T) -> T {
        let _one_at_a_time = self.changing.lock();
        let mut tables = Tables::clone(&self.tables.load());
        let result = change(&mut tables);
        self.tables.store(Arc::new(tables));
        result
    }

    /// The way to `destination`, coming from `source` if given.
    ///
    /// # Errors
    /// [`NoRoute`] if no route leads there or none of our addresses is of that family.
    pub fn path(&self, destination: IpAddr, source: Option<IpAddr>) -> Result<Path, NoRoute> {
        let no_route = NoRoute { destination };
        let tables = self.tables.load();
        if matches!(tables.place(destination), Place::Local | Place::Loopback) {
            return Ok(Path {
                source: source.unwrap_or(destination),
                mtu: ipv4::MAX_LEN,
                link_mtu: ipv4::MAX_LEN,
                max_segmented_bytes: ipv4::MAX_LEN,
            });
        }
        let next_hop = tables.next_hop(destination).ok_or(no_route)?;
        let source = source.or_else(|| tables.source_for(destination, next_hop));
        // Who has no address yet asks all for one as 0.0.0.0, and may say nothing else (RFC 1122 §3.2.1.3).
        let nobody = || {
            (destination == IpAddr::V4(Ipv4Addr::BROADCAST)).then_some(Ipv4Addr::UNSPECIFIED.into())
        };
        let source = source.or_else(nobody).ok_or(no_route)?;
        let max_segmented_bytes = match destination {
            IpAddr::V4(_) => self.max_segmented4,
            IpAddr::V6(_) => self.max_segmented6,
        };
        let mtu = self.mtu(destination);
        // What routers cut passes whatever its size.
        let known = self.known_mtu(destination);
        let cut = known.is_some_and(|known| known.let_routers_cut);
        Ok(Path {
            source,
            mtu,
            link_mtu: if cut {
                mtu
            } else {
                self.mtu_on_link(destination)
            },
            max_segmented_bytes: if max_segmented_bytes > self.link_mtu {
                max_segmented_bytes
            } else {
                mtu
            },
        })
    }

    /// Hops that our datagrams may take unless a socket says otherwise.
    #[must_use]
    pub const fn default_ttl(&self) -> u8 {
        self.config.ttl
    }

    /// True for our addresses and for 127/8.
    #[must_use]
    pub fn is_local(&self, address: IpAddr) -> bool {
        address.is_loopback() || self.tables.load().is_local(address)
    }

    /// True for 255.255.255.255 and the broadcast addresses of our networks.
    #[must_use]
    pub fn is_broadcast(&self, address: IpAddr) -> bool {
        self.tables.load().is_broadcast(address)
    }

    /// Our addresses.
    #[must_use]
    pub fn addresses(&self) -> Vec<Cidr> {
        self.tables.load().addresses.clone()
    }

    /// Takes datagrams to `group` from now on; [`crate::ethernet::Link::join`] tells routers.
    pub fn join(&self, group: IpAddr) {
        self.change(|tables| {
            if group.is_multicast() && !tables.groups.contains(&group) {
                tables.groups.push(group);
            }
        });
    }

    /// Takes datagrams to `group` no longer.
    pub fn leave(&self, group: IpAddr) {
        self.change(|tables| tables.groups.retain(|&joined| joined != group));
    }

    /// Adds one of our addresses; true if it is new.
    pub fn add_address(&self, address: Cidr) -> bool {
        self.change(|tables| {
            let new = !tables.is_local(address.address());
            tables
                .tentative
                .retain(|cidr| cidr.address() != address.address());
            if new {
                tables.addresses.push(address);
                tables.find_ways(&self.config.routes);
            }
            new
        })
    }

    /// Gives an address up; true if it was ours.
    pub fn remove_address(&self, address: IpAddr) -> bool {
        self.change(|tables| {
            let before = tables.addresses.len();
            tables.addresses.retain(|cidr| cidr.address() != address);
            tables.tentative.retain(|cidr| cidr.address() != address);
            tables.find_ways(&self.config.routes);
            tables.addresses.len() < before
        })
    }

    /// Routes and MTU as IPv6 routers say, instead of what they said before.
    pub fn learn(&self, learned: Learned) {
        let mtu = learned.mtu.unwrap_or(usize::MAX).max(ipv6::MIN_MTU);
        self.learned_mtu6.store(mtu, Ordering::Relaxed);
        self.change(|tables| {
            tables.learned_routes = learned.routes;
            tables.deprecated = learned.deprecated;
            tables.find_ways(&self.config.routes);
        });
    }

    /// Routes that came with a lease, instead of those that came before.
    pub(crate) fn lease_routes(&self, routes: Vec<Route>) {
        self.change(|tables| {
            tables.leased_routes = routes;
            tables.find_ways(&self.config.routes);
        });
    }

    /// Does not use one of our addresses before [`Ip::add_address`] says that it is known to be free.
    pub(crate) fn withhold_address(&self, address: IpAddr) {
        self.change(|tables| {
            let ours = |cidr: &mut Cidr| cidr.address() == address;
            let withheld: Vec<_> = tables.addresses.extract_if(.., ours).collect();
            tables.tentative.extend(withheld);
            tables.find_ways(&self.config.routes);
        });
    }

    /// True for addresses that are ours, or will be if nobody else has them.
    #[must_use]
    pub fn may_be_bound(&self, address: IpAddr) -> bool {
        let tables = self.tables.load();
        let tentative = |cidr: &Cidr| cidr.address() == address;
        self.is_local(address) || tables.tentative.iter().any(tentative)
    }

    /// `next_hop` does not answer: if it is a gateway and there is another, that one is used for a while
    /// (RFC 1122 §3.3.1.4).
    pub fn report_unreachable(&self, now: Instant, next_hop: IpAddr) {
        if self.tables.load().routes.has_gateway(next_hop) {
            let until = now + self.config.dead_gateway;
            self.change(|tables| tables.routes.mark_dead(next_hop, until));
        }
    }

    /// What the path MTU cache knows, if anything.
    pub(super) fn known_mtu(&self, destination: IpAddr) -> Option<Known> {
        if !self.path_mtu_known.load(Ordering::Relaxed) {
            return None;
        }
        self.path_mtu.lock().get(destination)
    }

    /// Largest datagram to `destination` that may leave at all, in bytes.
    fn mtu_on_link(&self, destination: IpAddr) -> usize {
        match destination {
            IpAddr::V4(_) => self.link_mtu,
            IpAddr::V6(_) => self.link_mtu.min(self.learned_mtu6.load(Ordering::Relaxed)),
        }
    }

    /// Largest datagram to `destination` in bytes, as far as it is known.
    #[must_use]
    pub fn mtu(&self, destination: IpAddr) -> usize {
        let on_link = self.mtu_on_link(destination);
        let known = self.known_mtu(destination);
        known.map_or(on_link, |known| known.mtu.min(on_link))
    }

    /// Largest datagram on the link.
    #[must_use]
    pub const fn link_mtu(&self) -> usize {
        self.link_mtu
    }

    /// A router said that the path to `destination` carries `mtu` bytes at most, about a datagram that
    /// the caller did send. Returns what is believed now: never more than before, never less than the
    /// configured minimum.
    pub fn lower_mtu(&self, now: Instant, destination: IpAddr, mtu: usize) -> usize {
        let present = self.mtu(destination);
        let mut cache = self.path_mtu.lock();
        let believed = cache.lower(now, destination, mtu, present);
        self.path_mtu_known
            .store(!cache.is_empty(), Ordering::Relaxed);
        believed
    }

    /// A datagram of `mtu` bytes arrived at `destination` (RFC 4821): the path is at least as wide.
    pub fn raise_mtu(&self, now: Instant, destination: IpAddr, mtu: usize) {
        let on_link = self.mtu_on_link(destination);
        let mut cache = self.path_mtu.lock();
        cache.raise(now, destination, mtu, on_link);
        self.path_mtu_known
            .store(!cache.is_empty(), Ordering::Relaxed);
    }

    /// Datagrams of `mtu` bytes to `destination` vanish without a word while small ones pass. Returns the size to
    /// try next.
    pub fn report_black_hole(&self, now: Instant, destination: IpAddr, mtu: usize) -> usize {
        let present = self.mtu(destination).min(mtu);
        let mut cache = self.path_mtu.lock();
        let believed = cache.black_hole(now, destination, present);
        self.path_mtu_known
            .store(!cache.is_empty(), Ordering::Relaxed);
        believed
    }

    /// The ICMP error to send about `datagram`, if one may be sent (RFC 1122 §3.2.2, RFC 4443 §2.4) and the
    /// rate limit allows it.
    #[must_use]
    pub fn error_for(
        &self,
        now: Instant,
        datagram: &Datagram,
        kind: ErrorKind,
    ) -> Option<TxDatagram> {
        match datagram.source {
            IpAddr::V4(_) => icmp::error_for(self, now, datagram, kind),
            IpAddr::V6(_) => v6::icmp::error_for(self, now, datagram, kind),
        }
    }

    /// True if the rate limit lets one more ICMP error go to `peer`.
    pub(super) fn allow_icmp(&self, now: Instant, peer: IpAddr) -> bool {
        self.icmp_limiter.lock().allow(now, peer)
    }

    /// Forgets old path MTUs, and gives dead gateways another chance.
    pub(super) fn poll(&self, now: Instant) {
        if self.path_mtu_known.load(Ordering::Relaxed) {
            let mut cache = self.path_mtu.lock();
            cache.expire(now);
            self.path_mtu_known
                .store(!cache.is_empty(), Ordering::Relaxed);
        }
        let revival = self.tables.load().routes.next_revival();
        if revival.is_some_and(|at| at <= now) {
            self.change(|tables| tables.routes.revive(now));
        }
    }

    /// When [`Ip::poll`] has something to do.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        let path_mtu = if self.path_mtu_known.load(Ordering::Relaxed) {
            self.path_mtu.lock().next_deadline()
        } else {
            None
        };
        let revival = self.tables.load().routes.next_revival();
        path_mtu.into_iter().chain(revival).min()
    }
}
