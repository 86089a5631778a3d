//! What names a connection: both addresses and both ports.

use std::hash::{Hash, Hasher};
use std::net::{IpAddr, SocketAddr};

/// The name of a connection, from this host's point of view.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FourTuple {
    /// Our address.
    pub local: IpAddr,
    /// The peer's address.
    pub remote: IpAddr,
    /// Our port.
    pub local_port: u16,
    /// The peer's port.
    pub remote_port: u16,
}

impl FourTuple {
    /// From two socket addresses.
    #[must_use]
    pub const fn new(local: SocketAddr, remote: SocketAddr) -> Self {
        Self {
            local: local.ip(),
            remote: remote.ip(),
            local_port: local.port(),
            remote_port: remote.port(),
        }
    }

    /// Our end.
    #[must_use]
    pub const fn local_addr(&self) -> SocketAddr {
        SocketAddr::new(self.local, self.local_port)
    }

    /// The peer's end.
    #[must_use]
    pub const fn remote_addr(&self) -> SocketAddr {
        SocketAddr::new(self.remote, self.remote_port)
    }

    /// The addresses and ports in a fixed layout, to be hashed with a key: the same on every host and in
    /// every version, since a backup has to compute the same numbers.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; 36] {
        let mut bytes = [0; 36];
        bytes[..16].copy_from_slice(&mapped(self.local));
        bytes[16..32].copy_from_slice(&mapped(self.remote));
        bytes[32..34].copy_from_slice(&self.local_port.to_be_bytes());
        bytes[34..].copy_from_slice(&self.remote_port.to_be_bytes());
        bytes
    }
}

/// Feeds few words, since every segment is looked up by this hash.
impl Hash for FourTuple {
    fn hash<H: Hasher>(&self, state: &mut H) {
        if let (IpAddr::V4(local), IpAddr::V4(remote)) = (self.local, self.remote) {
            state.write_u64(u64::from(local.to_bits()) << 32 | u64::from(remote.to_bits()));
            state.write_u32(u32::from(self.local_port) << 16 | u32::from(self.remote_port));
        } else {
            state.write(&self.to_bytes());
        }
    }
}

/// IPv4 as IPv4-mapped IPv6 (RFC 4291 §2.5.5.2).
const fn mapped(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
        IpAddr::V6(v6) => v6.octets(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_counts() {
        let [a, b]: [SocketAddr; 2] = ["10.0.0.1:80", "10.0.0.2:81"].map(|s| s.parse().unwrap());
        let (there, back) = (FourTuple::new(a, b), FourTuple::new(b, a));
        assert_ne!(there.to_bytes(), back.to_bytes());
        assert_eq!((there.local_addr(), there.remote_addr()), (a, b));
    }
}
