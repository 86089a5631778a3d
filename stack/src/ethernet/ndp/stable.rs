//! Interface identifiers that stay the same in one network and tell nothing in another (RFC 7217).

use std::net::Ipv6Addr;

use crate::keyed::Keyed;
use crate::wire::ethernet::MacAddr;

/// Identifiers that are spoken for (RFC 5453 §5): the routers' anycast address, those of Ethernet's own
/// block, and the anycast addresses of networks (RFC 2526).
const RESERVED: [std::ops::RangeInclusive<u64>; 3] = [
    0..=0,
    0x0200_5eff_fe00_0000..=0x0200_5eff_feff_ffff,
    0xfdff_ffff_ffff_ff80..=0xfdff_ffff_ffff_ffff,
];

/// The address of `station` in the network whose first 64 bits are those of `prefix`; another one for each
/// number of `attempts` that found it taken.
pub(super) fn address(
    secret: &Keyed,
    prefix: Ipv6Addr,
    station: MacAddr,
    attempts: u32,
) -> Ipv6Addr {
    let network = prefix.to_bits() >> 64;
    let identifiers =
        (0_u32..).map(|again| secret.hash((network as u64, station, attempts, again)));
    let mut free = identifiers.filter(|identifier| {
        let taken = |range: &std::ops::RangeInclusive<u64>| range.contains(identifier);
        !RESERVED.iter().any(taken)
    });
    let identifier = free.next().unwrap_or(1);
    Ipv6Addr::from_bits(network << 64 | u128::from(identifier))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_depends_on_all_that_it_is_made_of_and_on_nothing_else() {
        let make = |secret: u8, prefix: &str, station: u8, attempts| {
            let secret = Keyed::new([secret; 16]);
            let station = MacAddr([2, 0, 0, 0, 0, station]);
            address(&secret, prefix.parse().unwrap(), station, attempts)
        };
        let first = make(1, "2001:db8::", 1, 0);
        assert_eq!(make(1, "2001:db8::", 1, 0), first);
        assert_eq!(make(1, "2001:db8::ffff", 1, 0), first, "64 bits count");
        let others = [
            make(2, "2001:db8::", 1, 0),
            make(1, "2001:db8:1::", 1, 0),
            make(1, "2001:db8::", 2, 0),
            make(1, "2001:db8::", 1, 1),
        ];
        for other in others {
            assert_ne!(other.to_bits() as u64, first.to_bits() as u64);
        }
        assert_eq!(first.segments()[..4], [0x2001, 0xdb8, 0, 0]);
    }
}
