//! The link layer: Ethernet II frames, 802.1Q tags, and neighbours (RFC 894 and RFC 2464; ARP: RFC 826,
//! RFC 5227; neighbour discovery: RFC 4861, RFC 4862), and groups (IGMP: RFC 3376; MLD: RFC 3810).
//!
//! [`Link`] is what the stages [`EthernetReader`] and [`EthernetWriter`] share. On a medium without link
//! headers (TUN) both pass everything through.

mod arp;
mod complete;
mod config;
mod conflict;
mod groups;
mod link;
mod ndp;
mod neighbours;
mod rate;
mod reader;
#[cfg(test)]
mod tests;
mod writer;

use std::net::IpAddr;

pub use complete::complete_checksum;
pub use config::{Config, ConflictTimes, Defence, NeighbourLimits};
pub use conflict::Claim;
pub use link::Link;
pub use reader::{EthernetReader, Outcome};
pub use writer::EthernetWriter;

use crate::packet::TxFrame;

/// A datagram with its IP header on, and the neighbour it goes to.
#[derive(Clone, Debug)]
pub struct TxPacket {
    /// The packet from the IP header on.
    pub frame: TxFrame,
    /// The neighbour on the link: the destination or a gateway. 255.255.255.255 stands for all of them,
    /// whatever broadcast address the datagram has; group addresses map to group frames.
    pub next_hop: IpAddr,
}
