//! The network options that every server takes.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;

use clap::{Args, ValueEnum};

use crate::parse::{Cidr, Mac};

/// What carries the frames.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Device {
    /// A TAP interface: Ethernet between this stack and the kernel; created if it does not exist.
    #[default]
    Tap,
    /// A TUN interface: bare IP between this stack and the kernel; created if it does not exist.
    Tun,
    /// An existing interface (veth, eth0, a bridge) through AF_PACKET, under a MAC address of our own.
    Packet,
}

/// Whose TCP serves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum StackKind {
    /// The stack of this project, in this process.
    #[default]
    Outlive,
    /// The kernel's sockets: the same server, to compare. Device options are ignored.
    Kernel,
}

/// How the stages of the stack are laid over threads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Topology {
    /// All stages of a queue on one thread, one thread per queue.
    RunToCompletion,
    /// A thread per stage, joined by channels.
    Pipeline,
}

/// How the congestion window grows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Congestion {
    /// RFC 9438.
    #[default]
    Cubic,
    /// RFC 5681 and RFC 6582.
    NewReno,
    /// Version 3 of draft-ietf-ccwg-bbr, paced.
    Bbr,
}

/// How to reach the network. Flatten it into a command with `#[command(flatten)]`.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Network")]
pub struct NetworkOptions {
    /// What carries the frames
    #[arg(long, value_enum, default_value_t, value_name = "KIND")]
    pub device: Device,

    /// Name of the interface [default: tap0 or tun0, by device; required for packet]
    #[arg(long, short, value_name = "NAME")]
    pub interface: Option<String>,

    /// Address of this stack, with its network's prefix length [default: 10.0.0.2/24; every address of
    /// the host with --stack kernel]
    #[arg(long, short, value_name = "ADDRESS/PREFIX")]
    pub address: Option<Cidr>,

    /// Ask the network's DHCP server for the address and the routes, and keep them renewed
    #[arg(long, conflicts_with_all = ["address", "gateway"])]
    pub dhcp: bool,

    /// Address to give to the kernel's side of a TAP or TUN interface, so that it can be reached at once
    /// [default: the first other host of the network, if the interface has no address yet]
    #[arg(long, value_name = "ADDRESS/PREFIX")]
    pub host_address: Option<Cidr>,

    /// Router for everything outside our network [default: the kernel's side of a TAP or TUN interface]
    #[arg(long, value_name = "ADDRESS")]
    pub gateway: Option<IpAddr>,

    /// Our station address; never the kernel's [default: made up from the interface's, locally administered]
    #[arg(long, value_name = "MAC")]
    pub mac: Option<Mac>,

    /// Largest IP datagram on the link, in bytes [default: the interface's]
    #[arg(long, value_name = "BYTES", value_parser = clap::value_parser!(u16).range(68..))]
    pub mtu: Option<u16>,

    /// Do without checksum and segmentation offloads: every frame as on a real wire
    #[arg(long)]
    pub no_offload: bool,

    /// Queues of the device, each with a thread of its own
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=16))]
    pub queues: u8,

    /// Whose TCP serves: ours, or the kernel's to compare
    #[arg(long, value_enum, default_value_t, value_name = "STACK")]
    pub stack: StackKind,

    /// How the stages of the stack are laid over threads [default: what measures better here]
    #[arg(long, value_enum, value_name = "TOPOLOGY")]
    pub topology: Option<Topology>,

    /// Microseconds that a thread polls before it sleeps: latency against idle processor time
    #[arg(long, value_name = "MICROSECONDS")]
    pub poll_us: Option<u32>,

    /// How the congestion window grows
    #[arg(long, value_enum, default_value_t, value_name = "ALGORITHM")]
    pub congestion: Congestion,

    /// Spread segments over the round trip instead of sending bursts (BBR always does)
    #[arg(long)]
    pub pacing: bool,

    /// Record every frame in both directions to this file, for Wireshark
    #[arg(long, value_name = "FILE.pcapng")]
    pub capture: Option<PathBuf>,
}

impl NetworkOptions {
    /// The stack's address: given, or the customary one.
    #[must_use]
    pub fn address(&self) -> Cidr {
        self.address.unwrap_or(Cidr {
            address: IpAddr::V4(Ipv4Addr::new(10, 0, 0, 2)),
            prefix_len: 24,
        })
    }

    /// The interface's name: given, or the customary one of the device.
    ///
    /// # Errors
    /// For AF_PACKET, where the interface must exist and so must be named.
    pub fn interface_name(&self) -> anyhow::Result<&str> {
        match (&self.interface, self.device) {
            (Some(name), _) => Ok(name),
            (None, Device::Tap) => Ok("tap0"),
            (None, Device::Tun) => Ok("tun0"),
            (None, Device::Packet) => {
                anyhow::bail!(
                    "--device packet needs --interface NAME, for example --interface veth0; `ip link` lists them"
                )
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        network: NetworkOptions,
    }

    fn parse(arguments: &[&str]) -> Result<NetworkOptions, clap::Error> {
        Command::try_parse_from([&["outlive"], arguments].concat()).map(|command| command.network)
    }

    #[test]
    fn without_options_a_tap_with_everything_on() {
        let options = parse(&[]).expect("defaults");
        assert_eq!(options.interface_name().unwrap(), "tap0");
        assert_eq!(options.address().to_string(), "10.0.0.2/24");
        assert_eq!(
            (options.device, options.stack),
            (Device::Tap, StackKind::Outlive)
        );
        assert!(!options.no_offload);
    }

    #[test]
    fn a_packet_socket_needs_a_name() {
        let options = parse(&["--device", "packet"]).expect("parsed");
        assert!(
            options
                .interface_name()
                .unwrap_err()
                .to_string()
                .contains("--interface")
        );
    }

    #[test]
    fn a_wrong_cidr_is_refused_with_advice() {
        let refusal = parse(&["--address", "10.0.0.2"]).unwrap_err().to_string();
        assert!(refusal.contains("prefix length is missing"), "{refusal}");
        assert!(parse(&["--mtu", "60"]).is_err());
        assert!(parse(&["--queues", "0"]).is_err());
    }
}
