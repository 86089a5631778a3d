//! The Internet layer: datagrams between hosts (RFC 791, RFC 1122 §3; RFC 8200).
//!
//! Nothing above depends on the address family: addresses are [`IpAddr`], and most of what is here serves
//! both. What is particular to IPv6 is in `v6/`. Source routes are refused in either (RFC 7126 §4.3,
//! RFC 5095).
//!
//! [`Ip`] is what reader, writer and transports share; [`IpReader`] and [`IpWriter`] are the stages.

mod address;
mod config;
mod fragment;
mod fragments4;
mod host;
mod icmp;
mod icmp_limit;
mod identification;
mod options;
mod outgoing4;
mod partial;
mod path_mtu;
mod reader;
mod reassembly;
mod route;
#[cfg(test)]
mod tests;
mod v6;
mod writer;

pub use address::{BadCidr, Cidr};
pub use config::{Config, FragmentLimits, IcmpLimits, PathMtuLimits};
pub use host::{Ip, Learned, NoRoute};
pub use icmp::{Echo, echo_request};
pub use reader::{IpReader, Outcome};
pub use route::Route;
pub use writer::IpWriter;

use std::net::IpAddr;

use bytes::Bytes;

use crate::packet::{RxChecksum, Segmentation, TxFrame};

/// How a frame was addressed on the link, which decides what may be answered (RFC 1122 §3.2.2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Cast {
    /// To this station alone.
    #[default]
    Unicast,
    /// To a group.
    Multicast,
    /// To all.
    Broadcast,
    /// By this host to itself, without a link; a [`Datagram`] is [`Cast::Unicast`] then.
    Loopback,
}

/// An IP datagram as the link layer hands it up. Offsets of the offload facts count from the IP header.
#[derive(Clone, Debug, Default)]
pub struct RxPacket {
    /// From the IP header on; link padding not yet removed.
    pub data: Bytes,
    /// How it was addressed on the link.
    pub cast: Cast,
    /// What is known about the transport checksum.
    pub checksum: RxChecksum,
    /// Set when several segments were merged.
    pub segmentation: Option<Segmentation>,
}

/// A whole datagram for one of our addresses, header checked and off.
#[derive(Clone, Debug)]
pub struct Datagram {
    /// Who sent it.
    pub source: IpAddr,
    /// Which of our addresses (or groups) it came to.
    pub destination: IpAddr,
    /// The transport protocol's number.
    pub protocol: u8,
    /// DSCP and ECN as received: the TOS byte or traffic class.
    pub tos: u8,
    /// Hops left.
    pub ttl: u8,
    /// How it was addressed, by link or by IP.
    pub cast: Cast,
    /// The transport header and what follows, no padding.
    pub payload: Bytes,
    /// True when the transport checksum need not be summed in software.
    pub checksum_ok: bool,
    /// Bytes per segment if several were merged.
    pub segment_bytes: Option<u16>,
    /// IP header and payload as received, to quote in ICMP errors.
    pub original: Bytes,
}

/// What an ICMP error says (RFC 792; RFC 1122 §3.2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// Destination unreachable for now: net, host, source route failed (codes 0, 1, 5 and like).
    Unreachable {
        /// The code of ICMP for IPv4; those of ICMPv6 are translated.
        code: u8,
    },
    /// Nobody speaks that protocol there (code 2).
    ProtocolUnreachable,
    /// Nobody listens on that port there (code 3).
    PortUnreachable,
    /// Too large to be forwarded (code 4). A transport that recognises the quoted datagram as its own
    /// calls [`Ip::lower_mtu`]; one that does not leaves the path alone (RFC 5927 §7).
    TooBig {
        /// Bytes of the largest datagram that the next hop takes; where it was not told, a guess below
        /// the size of the quoted datagram (RFC 1191 §5).
        mtu: u32,
    },
    /// TTL ran out, or reassembly did not finish.
    TimeExceeded,
    /// Something in the header was not understood.
    ParameterProblem,
    /// RFC 6633: to be ignored.
    SourceQuench,
}

/// An ICMP error about a datagram that we sent.
#[derive(Clone, Debug)]
pub struct IcmpError {
    /// What went wrong.
    pub kind: ErrorKind,
    /// Who says so.
    pub reporter: IpAddr,
    /// Our address in the quoted datagram.
    pub source: IpAddr,
    /// Where the quoted datagram went.
    pub destination: IpAddr,
    /// Transport protocol of the quoted datagram.
    pub protocol: u8,
    /// First bytes of its transport header; at least 8.
    pub quoted: Bytes,
}

/// A datagram on its way down: transport header and payload are in `frame`, whose transport checksum is
/// always left as [`crate::packet::Checksum::Partial`] (or complete); the last stage before the device
/// fills it in where the device cannot.
#[derive(Clone, Debug)]
pub struct TxDatagram {
    /// The packet so far.
    pub frame: TxFrame,
    /// One of our addresses.
    pub source: IpAddr,
    /// Where to.
    pub destination: IpAddr,
    /// The transport protocol's number.
    pub protocol: u8,
    /// DSCP and ECN.
    pub tos: u8,
    /// Hops it may take.
    pub ttl: u8,
    /// False sets DF: a router or this host must not cut it. In IPv6 routers never do.
    pub may_fragment: bool,
    /// IPv4 options to carry; almost always none.
    pub options: Option<Box<[u8]>>,
}

/// What the transport needs to know about the way to a destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Path {
    /// Our address to use.
    pub source: IpAddr,
    /// Largest datagram to that destination in bytes, as far as it is known.
    pub mtu: usize,
    /// Largest that may turn out to pass, in bytes: what the link carries, or `mtu` where that is not to be found out.
    pub link_mtu: usize,
    /// Largest TCP datagram that the device cuts by itself, in bytes; equal to `mtu` where it cannot.
    pub max_segmented_bytes: usize,
}
