//! Addresses as people write them on a command line, with errors that say what to write instead.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use thiserror::Error;

/// An address and the length of its network's prefix: `10.0.0.2/24`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cidr {
    /// The host's address.
    pub address: IpAddr,
    /// Bits of the network's prefix.
    pub prefix_len: u8,
}

/// A 48-bit station address: `02:00:00:00:00:02`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mac(pub [u8; 6]);

/// Why an address was not understood.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum ParseError {
    /// No slash.
    #[error("the prefix length is missing: write for example {0}/24")]
    NoPrefix(String),
    /// Left of the slash is no address.
    #[error("\"{0}\" is not an IP address: write for example 10.0.0.2/24")]
    Address(String),
    /// Right of the slash is no prefix length.
    #[error("\"{0}\" is not a prefix length: write a number from 1 to {1}, for example /24")]
    Prefix(String, u8),
    /// The network itself, or its broadcast address.
    #[error("{0} is the {1} address of its network, not a host: choose another, for example {2}")]
    NotAHost(Cidr, &'static str, Cidr),
    /// An address that no host can have.
    #[error(
        "{0} cannot be a host's address: choose one of a private network, for example 10.0.0.2/24"
    )]
    Special(IpAddr),
    /// No station address.
    #[error(
        "\"{0}\" is not a MAC address: write six pairs of hexadecimal digits, for example 02:00:00:00:00:02"
    )]
    Mac(String),
    /// The group bit is set.
    #[error("{0} is a group address: the first pair must be even, for example 02:00:00:00:00:02")]
    GroupMac(Mac),
}

impl FromStr for Cidr {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let (address, prefix) = text
            .split_once('/')
            .ok_or_else(|| ParseError::NoPrefix(text.into()))?;
        let address: IpAddr = address
            .parse()
            .map_err(|_| ParseError::Address(address.into()))?;
        let longest = if address.is_ipv4() { 32 } else { 128 };
        let prefix_len = prefix
            .parse()
            .ok()
            .filter(|length| (1..=longest).contains(length))
            .ok_or_else(|| ParseError::Prefix(prefix.into(), longest))?;
        let cidr = Self {
            address,
            prefix_len,
        };
        cidr.check_host()?;
        Ok(cidr)
    }
}

impl Cidr {
    fn check_host(self) -> Result<(), ParseError> {
        if self.address.is_unspecified()
            || self.address.is_multicast()
            || self.address.is_loopback()
        {
            return Err(ParseError::Special(self.address));
        }
        if let Some(host_bits) = self.ipv4_host_bits() {
            let kind = match host_bits {
                0 => "network",
                bits if bits == self.ipv4_host_mask() => "broadcast",
                _ => return Ok(()),
            };
            let example = self.first_hosts().nth(1).unwrap_or(self);
            return Err(ParseError::NotAHost(self, kind, example));
        }
        Ok(())
    }

    fn ipv4_host_mask(self) -> u32 {
        u32::MAX
            .checked_shr(u32::from(self.prefix_len))
            .unwrap_or(0)
    }

    /// The host part where networks have a network and a broadcast address (RFC 3021: not in /31).
    fn ipv4_host_bits(self) -> Option<u32> {
        match self.address {
            IpAddr::V4(address) if self.prefix_len < 31 => {
                Some(address.to_bits() & self.ipv4_host_mask())
            }
            _ => None,
        }
    }

    /// The lowest few host addresses of the same network.
    fn first_hosts(self) -> impl Iterator<Item = Self> {
        let (lowest, last) = match self.address {
            IpAddr::V4(_) => (u32::from(self.prefix_len < 31), self.ipv4_host_mask()),
            // The lowest of all is the routers' anycast address (RFC 4291 §2.6.1), but on a link of two.
            IpAddr::V6(_) => (
                u32::from(self.prefix_len < 127),
                self.ipv6_host_mask().min(u32::MAX.into()) as u32,
            ),
        };
        (lowest..=last.min(lowest + 3)).map(move |host| {
            let address = match self.address {
                IpAddr::V4(v4) => {
                    let network = v4.to_bits() & !self.ipv4_host_mask();
                    IpAddr::V4((network | host).into())
                }
                IpAddr::V6(v6) => {
                    let network = v6.to_bits() & !self.ipv6_host_mask();
                    IpAddr::V6((network | u128::from(host)).into())
                }
            };
            Self { address, ..self }
        })
    }

    fn ipv6_host_mask(self) -> u128 {
        u128::MAX
            .checked_shr(u32::from(self.prefix_len))
            .unwrap_or(0)
    }

    /// Another host of the same network: what the other side of a link may be called.
    #[must_use]
    pub fn neighbour(self) -> Option<Self> {
        self.first_hosts().find(|host| host.address != self.address)
    }

    /// True if `address` lies in this network.
    #[must_use]
    pub fn contains(self, address: IpAddr) -> bool {
        match (self.address, address) {
            (IpAddr::V4(ours), IpAddr::V4(theirs)) => {
                (ours.to_bits() ^ theirs.to_bits()) & !self.ipv4_host_mask() == 0
            }
            (IpAddr::V6(ours), IpAddr::V6(theirs)) => {
                (ours.to_bits() ^ theirs.to_bits()) & !self.ipv6_host_mask() == 0
            }
            _ => false,
        }
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix_len)
    }
}

impl FromStr for Mac {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let malformed = || ParseError::Mac(text.into());
        let pairs: Vec<&str> = text.split([':', '-']).collect();
        let pairs: [&str; 6] = pairs.try_into().map_err(|_| malformed())?;
        let mut mac = [0; 6];
        for (byte, pair) in mac.iter_mut().zip(pairs) {
            if pair.len() != 2 || !pair.bytes().all(|digit| digit.is_ascii_hexdigit()) {
                return Err(malformed());
            }
            *byte = u8::from_str_radix(pair, 16).map_err(|_| malformed())?;
        }
        if mac[0] & 1 == 1 {
            return Err(ParseError::GroupMac(Self(mac)));
        }
        Ok(Self(mac))
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cidr(text: &str) -> Cidr {
        text.parse().expect("a CIDR")
    }

    fn refusal(text: &str) -> String {
        text.parse::<Cidr>().expect_err("no CIDR").to_string()
    }

    #[test]
    fn an_address_with_its_prefix_is_read_and_written_the_same() {
        for text in [
            "10.0.0.2/24",
            "192.168.7.9/31",
            "172.16.0.1/32",
            "fd00::2/64",
        ] {
            assert_eq!(cidr(text).to_string(), text);
        }
    }

    #[test]
    fn a_wrong_cidr_is_told_what_to_write() {
        assert!(refusal("10.0.0.2").contains("10.0.0.2/24"));
        assert!(refusal("10.0.0/24").contains("not an IP address"));
        assert!(refusal("10.0.0.2/33").contains("from 1 to 32"));
        assert!(refusal("10.0.0.2/0").contains("from 1 to 32"));
        assert!(refusal("10.0.0.2/").contains("not a prefix length"));
        assert!(refusal("10.0.0.0/24").contains("network address"));
        assert!(refusal("10.0.0.255/24").contains("broadcast address"));
        assert!(refusal("0.0.0.0/8").contains("cannot be a host"));
        assert!(refusal("224.0.0.1/24").contains("cannot be a host"));
    }

    #[test]
    fn the_neighbour_is_another_host_of_the_network() {
        assert_eq!(cidr("10.0.0.2/24").neighbour(), Some(cidr("10.0.0.1/24")));
        assert_eq!(cidr("10.0.0.1/24").neighbour(), Some(cidr("10.0.0.2/24")));
        assert_eq!(cidr("10.0.0.1/31").neighbour(), Some(cidr("10.0.0.0/31")));
        assert_eq!(cidr("10.0.0.1/32").neighbour(), None);
    }

    #[test]
    fn membership_follows_the_prefix() {
        let network = cidr("10.0.0.2/24");
        assert!(network.contains("10.0.0.255".parse().unwrap()));
        assert!(!network.contains("10.0.1.2".parse().unwrap()));
        assert!(!network.contains("::1".parse().unwrap()));
        assert!(cidr("fd00::2/64").contains("fd00::ffff".parse().unwrap()));
    }

    #[test]
    fn station_addresses() {
        assert_eq!(
            "02:00:5E:00:00:ff".parse(),
            Ok(Mac([2, 0, 0x5e, 0, 0, 0xff]))
        );
        assert!("02:00:00:00:00".parse::<Mac>().is_err());
        assert!("02:00:00:00:00:+1".parse::<Mac>().is_err());
        assert!(matches!(
            "01:00:5e:00:00:01".parse::<Mac>(),
            Err(ParseError::GroupMac(_))
        ));
    }
}
