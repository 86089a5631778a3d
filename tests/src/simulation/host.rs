//! A host that runs our stack in a world, and the addresses of hosts.

use std::net::{Ipv4Addr, SocketAddr};

use outlive::engine::{Config, Stack};
use outlive::ip::{self, Cidr};
use outlive::socket::asynchronous::TcpListener;
use outlive_driver::Capabilities;

use super::node::OurNode;
use super::world::{HostId, World};

/// The address of host number `number`, in a network of 24 bits.
#[must_use]
pub const fn address(number: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 9, 0, number)
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
        config: Config,
    ) -> Self {
        let config = Config {
            ip: ip::Config {
                addresses: vec![
                    Cidr::new(address(number).into(), 24).expect("24 bits are possible"),
                ],
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
        SocketAddr::new(address(self.number).into(), port)
    }
}
