//! `sockaddr`, in the caller's memory and ours.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

use crate::errno::{Errno, Result};

/// Family of a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    V4,
    V6,
}

impl Family {
    pub(crate) fn from_domain(domain: i32) -> Result<Self> {
        match domain {
            libc::AF_INET => Ok(Self::V4),
            libc::AF_INET6 => Ok(Self::V6),
            _ => Err(Errno(libc::EAFNOSUPPORT)),
        }
    }

    /// The address that stands for all of ours.
    pub(crate) const fn any(self) -> IpAddr {
        match self {
            Self::V4 => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            Self::V6 => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        }
    }

    /// `address` as a socket of this family names it: IPv4 on an IPv6 socket is mapped (RFC 4291 §2.5.5.2).
    fn show(self, address: SocketAddr) -> SocketAddr {
        match (self, address) {
            (Self::V6, SocketAddr::V4(v4)) => {
                SocketAddrV6::new(v4.ip().to_ipv6_mapped(), v4.port(), 0, 0).into()
            }
            _ => address,
        }
    }

    /// The bytes of the `sockaddr` that names `address`.
    pub(crate) fn encode(self, address: SocketAddr) -> Name {
        let mut name = Name::default();
        match self.show(address) {
            SocketAddr::V4(v4) => {
                name.put(&(libc::AF_INET as u16).to_ne_bytes());
                name.put(&v4.port().to_be_bytes());
                name.put(&v4.ip().octets());
                name.put(&[0; 8]);
            }
            SocketAddr::V6(v6) => {
                name.put(&(libc::AF_INET6 as u16).to_ne_bytes());
                name.put(&v6.port().to_be_bytes());
                name.put(&v6.flowinfo().to_be_bytes());
                name.put(&v6.ip().octets());
                name.put(&v6.scope_id().to_ne_bytes());
            }
        }
        name
    }
}

/// A `sockaddr` of either family, as bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Name {
    bytes: [u8; 28],
    len: usize,
}

impl Name {
    fn put(&mut self, bytes: &[u8]) {
        self.bytes[self.len..self.len + bytes.len()].copy_from_slice(bytes);
        self.len += bytes.len();
    }

    /// The bytes.
    #[must_use]
    pub fn as_slice(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

/// The family that a `sockaddr` says that it is of.
pub(crate) fn family_of(bytes: &[u8]) -> Result<i32> {
    let field = bytes.first_chunk().ok_or(Errno(libc::EINVAL))?;
    Ok(i32::from(u16::from_ne_bytes(*field)))
}

/// Reads a `sockaddr`. Mapped IPv4 addresses become IPv4.
pub(crate) fn decode(bytes: &[u8]) -> Result<SocketAddr> {
    let invalid = Errno(libc::EINVAL);
    let port = |bytes: &[u8]| u16::from_be_bytes([bytes[2], bytes[3]]);
    match family_of(bytes)? {
        libc::AF_INET => {
            let octets: [u8; 4] = *bytes
                .get(4..16)
                .and_then(<[u8]>::first_chunk)
                .ok_or(invalid)?;
            Ok(SocketAddrV4::new(octets.into(), port(bytes)).into())
        }
        libc::AF_INET6 => {
            let octets: [u8; 16] = *bytes
                .get(8..24)
                .and_then(<[u8]>::first_chunk)
                .ok_or(invalid)?;
            let scope = bytes.get(24..28).and_then(<[u8]>::first_chunk).copied();
            let ip = Ipv6Addr::from(octets);
            let scope = u32::from_ne_bytes(scope.unwrap_or_default());
            Ok(match ip.to_ipv4_mapped() {
                Some(v4) => SocketAddrV4::new(v4, port(bytes)).into(),
                None => SocketAddrV6::new(ip, port(bytes), 0, scope).into(),
            })
        }
        _ => Err(Errno(libc::EAFNOSUPPORT)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        for text in ["192.0.2.1:80", "[2001:db8::1]:443"] {
            let address: SocketAddr = text.parse().unwrap();
            let family = if address.is_ipv4() {
                Family::V4
            } else {
                Family::V6
            };
            assert_eq!(decode(family.encode(address).as_slice()), Ok(address));
        }
    }

    #[test]
    fn ipv4_on_an_ipv6_socket_is_mapped_both_ways() {
        let address: SocketAddr = "192.0.2.1:80".parse().unwrap();
        let name = Family::V6.encode(address);
        assert_eq!(name.as_slice().len(), 28);
        assert_eq!(family_of(name.as_slice()), Ok(libc::AF_INET6));
        assert_eq!(decode(name.as_slice()), Ok(address));
    }

    #[test]
    fn short_and_foreign_addresses_are_refused() {
        let name = Family::V4.encode("192.0.2.1:80".parse().unwrap());
        assert_eq!(decode(&name.as_slice()[..7]), Err(Errno(libc::EINVAL)));
        assert_eq!(decode(&[1, 0, 0, 0]), Err(Errno(libc::EAFNOSUPPORT)));
        assert_eq!(decode(&[]), Err(Errno(libc::EINVAL)));
    }
}
