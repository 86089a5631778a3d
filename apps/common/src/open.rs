//! From options to a running stack.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use anyhow::Context;
use outlive::engine::{self, Stack};
use outlive::wire::ipv6;
use outlive::{ip, tcp};
use outlive_driver::{Interface, OpenError, packet_socket, pcap, tuntap};

use crate::conflict;
use crate::host;
use crate::lease;
use crate::options::{Congestion, Device, NetworkOptions, Topology};
use crate::parse::Cidr;

/// A stack that can be reached.
#[derive(Debug)]
pub struct Network {
    /// The stack.
    pub stack: Stack,
    /// Where it can be reached.
    pub address: IpAddr,
    /// Where servers listen: there, or wherever a later lease moves it.
    pub listen: IpAddr,
}

/// Opens the device and starts a stack on it, ready for sockets.
///
/// # Errors
/// One line that says what to do: the device cannot be opened, the address is in use, or nobody gives one.
pub fn open(options: &NetworkOptions) -> anyhow::Result<Network> {
    if options.dhcp {
        return open_leased(options);
    }
    let (mut interface, config) = prepare(options)?;
    let address = options.address().address;
    conflict::check(&mut interface, address)?;
    Ok(Network {
        stack: start(options, interface, config)?,
        address,
        listen: address,
    })
}

/// The same with an address that a DHCP server gives.
fn open_leased(options: &NetworkOptions) -> anyhow::Result<Network> {
    let name = options.interface_name()?;
    if options.device == Device::Tun {
        anyhow::bail!(
            "--dhcp needs stations, which TUN has none of; choose --device tap or --device packet"
        );
    }
    let mut interface = open_device(options, name, options.host_address).map_err(advise)?;
    if let Some(mtu) = options.mtu {
        lower_mtu(&mut interface, usize::from(mtu))?;
    }
    let stack = start(options, interface, choices(options))?;
    Ok(Network {
        address: lease::wait(&stack, name)?,
        stack,
        listen: Ipv4Addr::UNSPECIFIED.into(),
    })
}

/// The same for an address that several hosts share: nobody is asked whether it is in use, and `configure` says who
/// may send.
///
/// # Errors
/// One line that says what to do: the device cannot be opened.
pub fn open_shared(
    options: &NetworkOptions,
    configure: impl FnOnce(&mut engine::Config),
) -> anyhow::Result<Stack> {
    let (interface, mut config) = prepare(options)?;
    configure(&mut config);
    start(options, interface, config)
}

fn prepare(options: &NetworkOptions) -> anyhow::Result<(Interface, engine::Config)> {
    let address = options.address();
    let name = options.interface_name()?;
    if let Some(mtu) = options.mtu.filter(|_| address.address.is_ipv6())
        && usize::from(mtu) < ipv6::MIN_MTU
    {
        let least = ipv6::MIN_MTU;
        anyhow::bail!("--mtu {mtu} is too small for IPv6; choose at least --mtu {least}");
    }
    host::check_not_ours(address.address)?;
    let host_address = match options.device {
        Device::Packet => None,
        Device::Tap | Device::Tun => match options.host_address {
            Some(given) if given.address == address.address => anyhow::bail!(
                "{given} cannot be both our address and the kernel's; choose another --host-address"
            ),
            Some(given) => Some(given),
            None => host::default_address(name, address)?,
        },
    };
    let mut interface = open_device(options, name, host_address).map_err(advise)?;
    if let Some(mtu) = options.mtu {
        lower_mtu(&mut interface, usize::from(mtu))?;
    }
    let gateway = options.gateway.or(host_address.map(|host| host.address));
    Ok((interface, configuration(options, address, gateway)?))
}

fn start(
    options: &NetworkOptions,
    mut interface: Interface,
    config: engine::Config,
) -> anyhow::Result<Stack> {
    if let Some(path) = &options.capture {
        let what = || format!("cannot record to {}", path.display());
        interface = pcap::record::record(interface, &pcap::record::Options::new(path))
            .with_context(what)?;
    }
    Ok(Stack::start(interface, config)?)
}

fn open_device(
    options: &NetworkOptions,
    name: &str,
    host_address: Option<Cidr>,
) -> Result<Interface, OpenError> {
    let offload = !options.no_offload;
    let queues = usize::from(options.queues);
    let mac = options.mac.map(|mac| mac.0);
    let mtu = options.mtu.map(usize::from);
    let host_address = host_address.map(|host| (host.address, host.prefix_len));
    let tuntap = |new: fn(String) -> tuntap::Options| {
        tuntap::Options {
            mtu,
            offload,
            queues,
            mac,
            host_address,
            ..new(name.into())
        }
        .open()
    };
    match options.device {
        Device::Tap => tuntap(tuntap::Options::tap),
        Device::Tun => tuntap(tuntap::Options::tun),
        Device::Packet => packet_socket::Options {
            offload,
            queues,
            mac,
            ..packet_socket::Options::new(name)
        }
        .open(),
    }
}

/// Errors of the driver say what to do; where to look is added.
fn advise(error: OpenError) -> anyhow::Error {
    match error {
        OpenError::NoSuchInterface { .. } => anyhow::anyhow!("{error} (`ip link` shows them)"),
        error => error.into(),
    }
}

/// Others on an existing interface keep its MTU; this stack may use less of it.
fn lower_mtu(interface: &mut Interface, mtu: usize) -> anyhow::Result<()> {
    let capabilities = &mut interface.capabilities;
    if mtu > capabilities.mtu {
        anyhow::bail!(
            "--mtu {mtu} is more than interface {} carries ({}); choose less, or: ip link set {} mtu {mtu}",
            interface.name,
            capabilities.mtu,
            interface.name
        );
    }
    if capabilities.max_segmented_bytes == capabilities.mtu {
        capabilities.max_segmented_bytes = mtu;
    }
    capabilities.mtu = mtu;
    Ok(())
}

fn configuration(
    options: &NetworkOptions,
    address: Cidr,
    gateway: Option<IpAddr>,
) -> anyhow::Result<engine::Config> {
    if let Some(gateway) = gateway
        && !address.contains(gateway)
        && !matches!(gateway, IpAddr::V6(gateway) if gateway.is_unicast_link_local())
    {
        anyhow::bail!(
            "gateway {gateway} is not in the network of {address}; give one that is with --gateway"
        );
    }
    let mut config = choices(options);
    config.ip.addresses = vec![ip::Cidr::new(address.address, address.prefix_len)?];
    config.ip.routes = gateway.map(ip::Route::default_via).into_iter().collect();
    // The link was asked before the stack started, while a person still reads the answer.
    config.ethernet.conflict.duplicate_detections = 0;
    Ok(config)
}

/// What does not depend on the address.
fn choices(options: &NetworkOptions) -> engine::Config {
    let mut config = engine::Config::default();
    config.tcp.socket.algorithm = match options.congestion {
        Congestion::Cubic => tcp::Algorithm::Cubic,
        Congestion::NewReno => tcp::Algorithm::NewReno,
        Congestion::Bbr => tcp::Algorithm::Bbr,
    };
    config.tcp.socket.pacing = options.pacing;
    if let Some(topology) = options.topology {
        config.topology = match topology {
            Topology::RunToCompletion => engine::Topology::RunToCompletion,
            Topology::Pipeline => engine::Topology::Pipeline,
        };
    }
    if let Some(poll_us) = options.poll_us {
        config.poll_for = Duration::from_micros(poll_us.into());
    }
    config
}
