//! A host that runs our stack in a world, and the addresses of hosts.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use outlive::engine::{Config, Stack};
use outlive::ip::{self, Cidr};
use outlive::socket::asynchronous::TcpListener;
use outlive_driver::{Capabilities, Random};

use super::node::OurNode;
use super::world::{HostId, World};

/// The address of host number `number`, in a network of 24 bits.
#[must_use]
pub const fn address(number: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 9, 0, number)
}

/// Its IPv6 address, in a network of 64 bits, which ends with the other one
/// ([`name`](crate::decode::name)).
#[must_use]
pub const fn address6(number: u8) -> Ipv6Addr {
    let network = Ipv6Addr::new(0xfd09, 0, 0, 0, 0, 0, 0, 0).to_bits();
    Ipv6Addr::from_bits(network | address(number).to_bits() as u128)
}

/// Which family the hosts of a seed speak: IPv6 every third time. Nothing else that the seed stands for
/// depends on it.
#[must_use]
pub fn speaks_ipv6(seed: u64) -> bool {
    Random::from_seed(seed ^ 0x6666_6666_6666_6666).chance(1, 3)
}

/// Both addresses of a host, each with its network.
///
/// # Panics
/// Never: the networks are possible.
#[must_use]
pub fn addresses(number: u8) -> Vec<Cidr> {
    let v4 = Cidr::new(address(number).into(), 24).expect("24 bits are possible");
    let v6 = Cidr::new(address6(number).into(), 64).expect("64 bits are possible");
    vec![v4, v6]
}

/// Uses IPv6 addresses at once: nothing in these worlds has them twice.
pub const fn skip_duplicate_detection(config: &mut Config) {
    config.ethernet.conflict.duplicate_detections = 0;
    config.ethernet.tell_groups = false;
}

/// Its Ethernet address.
#[must_use]
pub const fn mac(number: u8) -> [u8; 6] {
    [2, 0, 0, 9, 0, number]
}

/// A host with our stack.
#[derive(Clone)]
pub struct Host {
    /// Its number in the world.
    pub id: HostId,
    /// What its applications use.
    pub stack: Stack,
    /// Its number in its address.
    pub number: u8,
    /// It is reached by IPv6.
    pub by_ipv6: bool,
}

impl Host {
    /// Adds a host without offloads and with the default configuration.
    pub fn add(world: &mut World, number: u8, mtu: usize, seed: u64) -> Self {
        Self::add_with(
            world,
            number,
            &Capabilities::plain_ethernet(mac(number), mtu),
            seed,
            Config::default(),
        )
    }

    /// Adds a host; addresses and seed of `config` are set here.
    pub fn add_with(
        world: &mut World,
        number: u8,
        capabilities: &Capabilities,
        seed: u64,
        mut config: Config,
    ) -> Self {
        skip_duplicate_detection(&mut config);
        let config = Config {
            ip: ip::Config {
                addresses: addresses(number),
                ..config.ip
            },
            seed: Some(seed ^ u64::from(number) << 56),
            ..config
        };
        let node = OurNode::new(capabilities, config);
        let stack = node.stack();
        Self {
            id: world.add(node),
            stack,
            number,
            by_ipv6: false,
        }
    }

    /// A listener on all addresses.
    ///
    /// # Panics
    /// When the port is in use: a mistake in the test.
    #[must_use]
    pub fn listen(&self, port: u16) -> TcpListener {
        TcpListener::bind(&self.stack, self.at(port)).expect("the port is free")
    }

    /// This host's address with a port.
    #[must_use]
    pub fn at(&self, port: u16) -> SocketAddr {
        let address: IpAddr = if self.by_ipv6 {
            address6(self.number).into()
        } else {
            address(self.number).into()
        };
        SocketAddr::new(address, port)
    }
}
