//! The fixed IPv6 header (RFC 8200 §3). Extension headers are in `ipv6_extension.rs`.

use std::net::Ipv6Addr;

use zerocopy::network_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::Malformed;

/// Bytes of the fixed header.
pub const HEADER_LEN: usize = 40;
/// Where the payload length stands in it.
pub const PAYLOAD_LEN_OFFSET: usize = 4;
/// Where the number of what comes next stands in it.
pub const NEXT_HEADER_OFFSET: usize = 6;
/// Bytes of payload at most; jumbograms (RFC 2675) are not spoken here.
pub const MAX_PAYLOAD_LEN: usize = 65_535;
/// Bytes that every link carries (RFC 8200 §5).
pub const MIN_MTU: usize = 1280;

/// Next header: hop-by-hop options.
pub const NEXT_HOP_BY_HOP: u8 = 0;
/// Next header: routing.
pub const NEXT_ROUTING: u8 = 43;
/// Next header: fragment.
pub const NEXT_FRAGMENT: u8 = 44;
/// Next header: ICMP for IPv6.
pub const NEXT_ICMPV6: u8 = 58;
/// Next header: nothing comes (RFC 8200 §4.7).
pub const NEXT_NONE: u8 = 59;
/// Next header: destination options.
pub const NEXT_DESTINATION: u8 = 60;

/// All nodes on the link (RFC 4291 §2.7.1).
pub const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
/// All routers on the link.
pub const ALL_ROUTERS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 2);

/// The group in which whoever may have `address` listens for questions about it (RFC 4291 §2.7.1).
#[must_use]
pub const fn solicited_node(address: Ipv6Addr) -> Ipv6Addr {
    let [.., high, low] = address.segments();
    Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00 | high & 0xff, low)
}

/// The fixed header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// DSCP and ECN.
    pub traffic_class: u8,
    /// 20 bits that are the same for all packets of a flow.
    pub flow_label: u32,
    /// Bytes behind this header.
    pub payload_len: u16,
    /// What comes next: a transport protocol or an extension header.
    pub next_header: u8,
    /// Hops left.
    pub hop_limit: u8,
    /// Who sent it.
    pub source: Ipv6Addr,
    /// Who is to have it.
    pub destination: Ipv6Addr,
}

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Raw {
    version_class_label: U32,
    payload_len: U16,
    next_header: u8,
    hop_limit: u8,
    source: [u8; 16],
    destination: [u8; 16],
}

impl Header {
    /// Writes the header to `out`.
    ///
    /// # Panics
    /// When `out` is not exactly [`HEADER_LEN`] long.
    pub fn emit(&self, out: &mut [u8]) {
        let word = 6 << 28 | u32::from(self.traffic_class) << 20 | self.flow_label & 0x000f_ffff;
        let raw = Raw {
            version_class_label: word.into(),
            payload_len: self.payload_len.into(),
            next_header: self.next_header,
            hop_limit: self.hop_limit,
            source: self.source.octets(),
            destination: self.destination.octets(),
        };
        out.copy_from_slice(raw.as_bytes());
    }
}

/// Reads the fixed header at the front of `data`.
///
/// # Errors
/// [`Malformed`] if truncated, of another version, or if the payload is not all there.
pub fn parse(data: &[u8]) -> Result<Header, Malformed> {
    let header = parse_quoted(data)?;
    if usize::from(header.payload_len) > data.len() - HEADER_LEN {
        return Err(Malformed::Truncated);
    }
    Ok(header)
}

/// The same for a datagram of which only the beginning is there, as ICMP errors quote it.
///
/// # Errors
/// As [`parse`], but only the header must be there whole.
pub fn parse_quoted(data: &[u8]) -> Result<Header, Malformed> {
    let (raw, _) = Raw::ref_from_prefix(data).map_err(|_| Malformed::Truncated)?;
    let word = raw.version_class_label.get();
    if word >> 28 != 6 {
        return Err(Malformed::Version);
    }
    Ok(Header {
        traffic_class: (word >> 20) as u8,
        flow_label: word & 0x000f_ffff,
        payload_len: raw.payload_len.get(),
        next_header: raw.next_header,
        hop_limit: raw.hop_limit,
        source: raw.source.into(),
        destination: raw.destination.into(),
    })
}
