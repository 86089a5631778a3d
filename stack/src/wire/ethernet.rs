//! Ethernet II headers (RFC 894) with at most one 802.1Q tag. 802.3 length fields are reported as the
//! type they look like, which nobody speaks.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

use zerocopy::network_endian::U16;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::Malformed;

/// Bytes of an untagged header.
pub const HEADER_LEN: usize = 14;
/// Bytes of an 802.1Q tag.
pub const TAG_LEN: usize = 4;
/// EtherType of IPv4.
pub const TYPE_IPV4: u16 = 0x0800;
/// EtherType of ARP.
pub const TYPE_ARP: u16 = 0x0806;
/// EtherType of IPv6.
pub const TYPE_IPV6: u16 = 0x86dd;
/// EtherType that announces an 802.1Q tag.
pub const TYPE_VLAN: u16 = 0x8100;

/// A station's address.
#[derive(
    Clone,
    Copy,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    FromBytes,
    IntoBytes,
    Immutable,
    KnownLayout,
    Unaligned,
)]
#[repr(C)]
pub struct MacAddr(pub [u8; 6]);

impl MacAddr {
    /// All stations.
    pub const BROADCAST: Self = Self([0xff; 6]);
    /// Not an address.
    pub const UNSPECIFIED: Self = Self([0; 6]);

    /// True for groups, of which the broadcast address is one.
    #[must_use]
    pub const fn is_group(self) -> bool {
        self.0[0] & 1 == 1
    }

    /// True for the broadcast address.
    #[must_use]
    pub fn is_broadcast(self) -> bool {
        self == Self::BROADCAST
    }

    /// True for an address that one station can have.
    #[must_use]
    pub fn is_station(self) -> bool {
        !self.is_group() && self != Self::UNSPECIFIED
    }

    /// The group of stations that listen to an IPv4 group (RFC 1112 §6.4).
    #[must_use]
    pub const fn from_ipv4_group(group: Ipv4Addr) -> Self {
        let [_, b, c, d] = group.octets();
        Self([0x01, 0x00, 0x5e, b & 0x7f, c, d])
    }

    /// The group of stations that listen to an IPv6 group (RFC 2464 §7).
    #[must_use]
    pub const fn from_ipv6_group(group: Ipv6Addr) -> Self {
        let octets = group.octets();
        Self([0x33, 0x33, octets[12], octets[13], octets[14], octets[15]])
    }
}

impl fmt::Display for MacAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl fmt::Debug for MacAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Raw {
    destination: MacAddr,
    source: MacAddr,
    ether_type: U16,
}

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct RawTag {
    tci: U16,
    ether_type: U16,
}

/// What stands in front of every frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Who is to take it.
    pub destination: MacAddr,
    /// Who sent it.
    pub source: MacAddr,
    /// Tag control information: priority, drop eligibility and VLAN number, if tagged.
    pub vlan_tci: Option<u16>,
    /// What the payload is, behind the tag if there is one.
    pub ether_type: u16,
}

impl Header {
    /// Bytes this header takes.
    #[must_use]
    pub const fn len(&self) -> usize {
        match self.vlan_tci {
            Some(_) => HEADER_LEN + TAG_LEN,
            None => HEADER_LEN,
        }
    }

    /// Never: for symmetry with [`Header::len`].
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        false
    }

    /// Writes the header to `out`.
    ///
    /// # Panics
    /// When `out` is not exactly [`Header::len`] long.
    pub fn emit(&self, out: &mut [u8]) {
        assert_eq!(out.len(), self.len());
        let (front, tag) = out.split_at_mut(HEADER_LEN);
        let outer = if self.vlan_tci.is_some() {
            TYPE_VLAN
        } else {
            self.ether_type
        };
        let raw = Raw {
            destination: self.destination,
            source: self.source,
            ether_type: outer.into(),
        };
        front.copy_from_slice(raw.as_bytes());
        if let Some(tci) = self.vlan_tci {
            let raw = RawTag {
                tci: tci.into(),
                ether_type: self.ether_type.into(),
            };
            tag.copy_from_slice(raw.as_bytes());
        }
    }
}

/// Reads the header at the front of `data`.
///
/// # Errors
/// [`Malformed::Truncated`].
pub fn parse(data: &[u8]) -> Result<Header, Malformed> {
    let (raw, rest) = Raw::ref_from_prefix(data).map_err(|_| Malformed::Truncated)?;
    let mut header = Header {
        destination: raw.destination,
        source: raw.source,
        vlan_tci: None,
        ether_type: raw.ether_type.get(),
    };
    if header.ether_type == TYPE_VLAN {
        let (tag, _) = RawTag::ref_from_prefix(rest).map_err(|_| Malformed::Truncated)?;
        header.vlan_tci = Some(tag.tci.get());
        header.ether_type = tag.ether_type.get();
    }
    Ok(header)
}
