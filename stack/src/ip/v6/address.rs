//! Addresses that a host makes for itself (RFC 4291 §2.5).

use std::net::Ipv6Addr;

use crate::wire::ethernet::MacAddr;

/// The link-local address of a station (RFC 4291 §2.5.6, RFC 2464 §5).
pub(in crate::ip) const fn link_local(station: MacAddr) -> Ipv6Addr {
    let MacAddr([a, b, c, d, e, f]) = station;
    Ipv6Addr::new(
        0xfe80,
        0,
        0,
        0,
        u16::from_be_bytes([a ^ 2, b]),
        u16::from_be_bytes([c, 0xff]),
        u16::from_be_bytes([0xfe, d]),
        u16::from_be_bytes([e, f]),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 2464 §4 has this very example.
    #[test]
    fn a_station_has_its_link_local_address() {
        let station = MacAddr([0x34, 0x56, 0x78, 0x9a, 0xbc, 0xde]);
        assert_eq!(link_local(station).to_string(), "fe80::3656:78ff:fe9a:bcde");
    }
}
