//! The fixed IPv6 header (RFC 8200 §3). Extension headers are not understood yet.

use std::net::Ipv6Addr;

use zerocopy::network_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::Malformed;

/// Bytes of the fixed header.
pub const HEADER_LEN: usize = 40;

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
    let (raw, rest) = Raw::ref_from_prefix(data).map_err(|_| Malformed::Truncated)?;
    let word = raw.version_class_label.get();
    if word >> 28 != 6 {
        return Err(Malformed::Version);
    }
    let header = Header {
        traffic_class: (word >> 20) as u8,
        flow_label: word & 0x000f_ffff,
        payload_len: raw.payload_len.get(),
        next_header: raw.next_header,
        hop_limit: raw.hop_limit,
        source: raw.source.into(),
        destination: raw.destination.into(),
    };
    if usize::from(header.payload_len) > rest.len() {
        return Err(Malformed::Truncated);
    }
    Ok(header)
}
