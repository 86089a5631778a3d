//! Addresses with the size of their network (RFC 4632).

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::str::FromStr;

/// An address and how many of its leading bits name the network.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Cidr {
    address: IpAddr,
    prefix_len: u8,
}

/// Why something is not a [`Cidr`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadCidr {
    /// Not of the form address/bits.
    #[error("\"{0}\": expected an address with a prefix length, such as 10.0.0.1/24")]
    Form(String),
    /// More bits than the address has.
    #[error("prefix length {prefix_len} is too long for {address}")]
    TooLong {
        /// The address.
        address: IpAddr,
        /// What was asked for.
        prefix_len: u8,
    },
}

const fn bits_of(address: IpAddr) -> u128 {
    match address {
        // Aligned with the front, so that one prefix test serves both families.
        IpAddr::V4(v4) => (v4.to_bits() as u128) << 96,
        IpAddr::V6(v6) => v6.to_bits(),
    }
}

const fn width(address: IpAddr) -> u8 {
    match address {
        IpAddr::V4(_) => 32,
        IpAddr::V6(_) => 128,
    }
}

impl Cidr {
    /// `address` in a network of `prefix_len` leading bits.
    ///
    /// # Errors
    /// [`BadCidr::TooLong`].
    pub const fn new(address: IpAddr, prefix_len: u8) -> Result<Self, BadCidr> {
        if prefix_len > width(address) {
            return Err(BadCidr::TooLong {
                address,
                prefix_len,
            });
        }
        Ok(Self {
            address,
            prefix_len,
        })
    }

    /// The address alone, or the network if its host bits are zero.
    #[must_use]
    pub const fn address(&self) -> IpAddr {
        self.address
    }

    /// How many leading bits name the network.
    #[must_use]
    pub const fn prefix_len(&self) -> u8 {
        self.prefix_len
    }

    /// True for addresses of the same network.
    #[must_use]
    pub const fn contains(&self, other: IpAddr) -> bool {
        if width(self.address) != width(other) {
            return false;
        }
        let differ = bits_of(self.address) ^ bits_of(other);
        differ.leading_zeros() >= self.prefix_len as u32
    }

    /// The address to which all hosts of the network listen (RFC 1122 §3.2.1.3 (e)); none in networks of
    /// one or two addresses (RFC 3021) and in IPv6.
    #[must_use]
    pub const fn broadcast(&self) -> Option<Ipv4Addr> {
        match self.address {
            IpAddr::V4(v4) if self.prefix_len < 31 => Some(Ipv4Addr::from_bits(
                v4.to_bits() | u32::MAX >> self.prefix_len,
            )),
            _ => None,
        }
    }
}

impl FromStr for Cidr {
    type Err = BadCidr;

    fn from_str(text: &str) -> Result<Self, BadCidr> {
        let bad = || BadCidr::Form(text.to_owned());
        let (address, prefix_len) = text.split_once('/').ok_or_else(bad)?;
        Self::new(
            address.parse().map_err(|_| bad())?,
            prefix_len.parse().map_err(|_| bad())?,
        )
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix_len)
    }
}

impl fmt::Debug for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cidr(text: &str) -> Cidr {
        text.parse().unwrap()
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_network_contains_its_addresses_only() {
        assert!(cidr("10.1.2.3/24").contains(ip("10.1.2.200")));
        assert!(!cidr("10.1.2.3/24").contains(ip("10.1.3.3")));
        assert!(cidr("0.0.0.0/0").contains(ip("203.0.113.9")));
        assert!(!cidr("0.0.0.0/0").contains(ip("2001:db8::1")));
        assert!(cidr("10.0.0.1/32").contains(ip("10.0.0.1")));
        assert!(!cidr("10.0.0.1/32").contains(ip("10.0.0.0")));
        assert!(cidr("2001:db8::1/64").contains(ip("2001:db8::ffff")));
        assert!(!cidr("2001:db8::1/64").contains(ip("2001:db8:0:1::1")));
    }

    #[test]
    fn broadcast_is_all_ones_unless_the_network_is_a_link_of_two() {
        assert_eq!(
            cidr("10.1.2.3/24").broadcast(),
            Some([10, 1, 2, 255].into())
        );
        assert_eq!(cidr("10.1.2.3/30").broadcast(), Some([10, 1, 2, 3].into()));
        assert_eq!(cidr("10.1.2.3/31").broadcast(), None);
        assert_eq!(cidr("10.1.2.3/32").broadcast(), None);
        assert_eq!(cidr("1.2.3.4/0").broadcast(), Some(Ipv4Addr::BROADCAST));
    }

    #[test]
    fn mistakes_are_told() {
        for text in ["", "10.0.0.1", "10.0.0/8", "10.0.0.1/x", "10.0.0.1/-1"] {
            assert_eq!(text.parse::<Cidr>(), Err(BadCidr::Form(text.to_owned())));
        }
        let too_long = BadCidr::TooLong {
            address: ip("10.0.0.1"),
            prefix_len: 33,
        };
        assert_eq!("10.0.0.1/33".parse::<Cidr>(), Err(too_long));
        assert_eq!(cidr("10.0.0.1/24").to_string(), "10.0.0.1/24");
    }
}
