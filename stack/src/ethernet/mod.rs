//! The link layer: Ethernet II frames, 802.1Q tags, and neighbours (RFC 894, RFC 826, RFC 5227).

mod complete;

use std::net::IpAddr;

pub use complete::complete_checksum;

use crate::packet::TxFrame;

/// A datagram with its IP header on, and the neighbour it goes to.
#[derive(Clone, Debug)]
pub struct TxPacket {
    /// The packet from the IP header on.
    pub frame: TxFrame,
    /// The neighbour on the link: the destination or a gateway; group and broadcast addresses map to
    /// group and broadcast frames.
    pub next_hop: IpAddr,
}
