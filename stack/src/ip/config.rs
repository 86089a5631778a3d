//! What a host's Internet layer is told at the start.

use std::net::IpAddr;
use std::time::Duration;

use super::{Cidr, Route, v6};
use crate::wire::ethernet::MacAddr;

/// Addresses, routes and limits.
#[derive(Clone, Debug)]
pub struct Config {
    /// Our addresses, each with its network; the first of a network is the source of what we originate
    /// there.
    pub addresses: Vec<Cidr>,
    /// Routes beyond the networks of our addresses. Of several default gateways the first that answers is used.
    pub routes: Vec<Route>,
    /// Hops that our datagrams may take unless a socket says otherwise (RFC 1700: 64).
    pub ttl: u8,
    /// Whether echo requests are answered.
    pub answer_echo: bool,
    /// Bounds of reassembly.
    pub fragments: FragmentLimits,
    /// How many ICMP errors we send.
    pub icmp: IcmpLimits,
    /// How path MTUs are believed and forgotten.
    pub path_mtu: PathMtuLimits,
    /// How long a gateway that does not answer is passed over if there is another.
    pub dead_gateway: Duration,
}

/// Bounds of reassembly.
#[derive(Clone, Debug)]
pub struct FragmentLimits {
    /// Bytes held for all incomplete datagrams, bookkeeping included.
    pub bytes: usize,
    /// Bytes held for the incomplete datagrams of one source.
    pub bytes_per_source: usize,
    /// Incomplete datagrams.
    pub datagrams: usize,
    /// Incomplete datagrams of one source.
    pub datagrams_per_source: usize,
    /// Fragments of one datagram.
    pub fragments_per_datagram: usize,
    /// How long an incomplete datagram is kept (RFC 1122 §3.3.2: 60 to 120 s).
    pub timeout: Duration,
}

/// How many ICMP errors we send (RFC 1812 §4.3.2.8): token buckets.
#[derive(Clone, Debug)]
pub struct IcmpLimits {
    /// Errors per second to everybody.
    pub per_second: u32,
    /// Errors at once to everybody.
    pub burst: u32,
    /// Errors per second to one peer (to all peers with the same keyed hash, in fact).
    pub per_second_per_peer: u32,
    /// Errors at once to one peer.
    pub burst_per_peer: u32,
}

/// How path MTUs are believed and forgotten (RFC 1191).
#[derive(Clone, Debug)]
pub struct PathMtuLimits {
    /// No report lowers a path below this many bytes: a forged one would make every segment tiny. Where
    /// the truth is lower still, datagrams are sent without DF.
    pub minimum_bytes: usize,
    /// After this a larger size is tried again (RFC 1191 §6.3: 10 minutes).
    pub expiry: Duration,
    /// Destinations remembered.
    pub entries: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            addresses: Vec::new(),
            routes: Vec::new(),
            ttl: 64,
            answer_echo: true,
            fragments: FragmentLimits::default(),
            icmp: IcmpLimits::default(),
            path_mtu: PathMtuLimits::default(),
            dead_gateway: Duration::from_secs(60),
        }
    }
}

impl Config {
    /// Every interface that speaks IPv6 has a link-local address (RFC 4291 §2.8): if there is an IPv6
    /// address (or there `may_come` some) but none of that kind, makes one from the station (RFC 4291 §2.5.1).
    pub(crate) fn add_link_local(&mut self, station: MacAddr, may_come: bool) {
        let link_local =
            |cidr: &Cidr| matches!(cidr.address(), IpAddr::V6(v6) if v6.is_unicast_link_local());
        let speaks = self.addresses.iter().any(|cidr| cidr.address().is_ipv6());
        if (speaks || may_come) && !self.addresses.iter().any(link_local) {
            let address = v6::link_local(station).into();
            self.addresses
                .push(Cidr::new(address, 64).expect("shorter than an address"));
        }
    }
}

impl Default for FragmentLimits {
    fn default() -> Self {
        Self {
            bytes: 4 << 20,
            bytes_per_source: 1 << 20,
            datagrams: 1024,
            datagrams_per_source: 256,
            // 65,515 bytes of payload in the 48-byte fragments of the smallest MTU.
            fragments_per_datagram: 1366,
            timeout: Duration::from_secs(60),
        }
    }
}

impl Default for IcmpLimits {
    fn default() -> Self {
        Self {
            per_second: 1000,
            burst: 100,
            per_second_per_peer: 10,
            burst_per_peer: 10,
        }
    }
}

impl Default for PathMtuLimits {
    fn default() -> Self {
        Self {
            minimum_bytes: 552,
            expiry: Duration::from_secs(600),
            entries: 4096,
        }
    }
}
