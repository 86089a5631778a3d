//! A server: our stack with the service address and the service MAC, and (when there is one) the replica
//! beside it.

use std::net::{Ipv4Addr, SocketAddr};

use outlive::engine::{Config, Stack, Stepped};
use outlive::ip;
use outlive_driver::{Capabilities, Instant};

use super::machine::{Input, Machine, Output};
use crate::simulation::host::{address6, addresses, skip_duplicate_detection};

/// The service address.
pub const SERVICE: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 1);
const SERVICE_NUMBER: u8 = 1;
/// The service MAC.
pub const SERVICE_MAC: [u8; 6] = [2, 0, 0, 9, 0, 1];
/// Where the service listens.
pub const PORT: u16 = 80;

/// The service address and port, of either family.
#[must_use]
pub fn service(by_ipv6: bool) -> SocketAddr {
    let address = if by_ipv6 {
        address6(SERVICE_NUMBER).into()
    } else {
        SERVICE.into()
    };
    SocketAddr::new(address, PORT)
}

/// What a server's device can do.
#[must_use]
pub fn capabilities(mtu: usize, offloads: bool) -> Capabilities {
    Capabilities {
        tx_checksum: offloads,
        tso4: offloads,
        tso6: offloads,
        max_segmented_bytes: if offloads { 65_535 } else { mtu },
        ..Capabilities::plain_ethernet(SERVICE_MAC, mtu)
    }
}

/// `config` with the service addresses and a seed.
#[must_use]
pub fn configured(mut config: Config, seed: u64) -> Config {
    skip_duplicate_detection(&mut config);
    Config {
        ip: ip::Config {
            addresses: addresses(SERVICE_NUMBER),
            ..config.ip
        },
        seed: Some(seed),
        ..config
    }
}

/// A server without a replica.
pub struct Alone {
    stepped: Stepped,
    mtu: usize,
}

impl Alone {
    /// A server on a device with these capabilities.
    ///
    /// # Panics
    /// When the configuration is not accepted: a mistake in the test.
    #[must_use]
    pub fn new(capabilities: &Capabilities, config: Config, now: Instant) -> Self {
        Self {
            stepped: Stepped::new(capabilities, config, now).expect("a valid configuration"),
            mtu: capabilities.mtu,
        }
    }

    /// What its applications use.
    #[must_use]
    pub fn stack(&self) -> Stack {
        self.stepped.stack()
    }
}

impl Machine for Alone {
    fn mtu(&self) -> usize {
        self.mtu
    }

    fn strict(&self) -> bool {
        true
    }

    fn turn(&mut self, now: Instant, input: &mut Input, out: &mut Output) {
        input.arrivals.clear();
        if !input.frames.is_empty() {
            self.stepped.receive(now, &mut input.frames);
            input.frames.clear();
        }
        self.stepped.poll(now, &mut out.frames);
    }

    fn next_deadline(&mut self, _now: Instant) -> Option<Instant> {
        self.stepped.next_deadline()
    }
}
