//! Whole stacks, joined in memory: in virtual time and with threads, in every topology.

mod sending;
mod sockets;
mod stepped;
mod threaded;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use outlive_driver::Capabilities;

use super::{Config, Topology};

/// Host `n` of the test network.
pub(super) fn address(n: u8) -> IpAddr {
    Ipv4Addr::new(10, 7, 0, n).into()
}

pub(super) fn at(n: u8, port: u16) -> SocketAddr {
    SocketAddr::new(address(n), port)
}

pub(super) fn config(n: u8, topology: Topology) -> Config {
    let mut config = Config {
        topology,
        seed: Some(u64::from(n)),
        ..Config::default()
    };
    let cidr = format!("{}/24", address(n));
    config.ip.addresses = vec![cidr.parse().unwrap()];
    config.tcp.time_wait = Duration::from_millis(50);
    config
}

/// Ethernet in memory; with offloads, segments of 64 KiB cross it in one piece.
pub(super) fn capabilities(n: u8, offloads: bool) -> Capabilities {
    let mut capabilities = Capabilities::plain_ethernet([2, 0, 0, 0, 0, n], 1500);
    if offloads {
        capabilities.tx_checksum = true;
        capabilities.tso4 = true;
        capabilities.max_segmented_bytes = 65_535;
    }
    capabilities
}

/// The same pseudo-random bytes on both sides of a transfer.
pub(super) fn pattern(seed: u64, length: usize) -> Vec<u8> {
    let mut random = crate::random::Random::from_seed(seed);
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        bytes.extend_from_slice(&random.next_u64().to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}
