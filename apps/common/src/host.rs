//! What this host's own kernel already uses, so that a new interface takes nothing away from it.

use std::net::IpAddr;

use anyhow::Context;
use nix::ifaddrs::getifaddrs;
use nix::sys::socket::SockaddrStorage;

use crate::parse::Cidr;

/// An address of this host's kernel, and the interface that has it.
struct Taken {
    interface: String,
    cidr: Cidr,
}

fn addresses() -> anyhow::Result<Vec<Taken>> {
    let all = getifaddrs().context("cannot list the addresses of this host")?;
    let taken = all.filter_map(|entry| {
        let (address, mask) = (ip_of(&entry.address?)?, ip_of(&entry.netmask?)?);
        let prefix_len = match mask {
            IpAddr::V4(mask) => mask.to_bits().leading_ones(),
            IpAddr::V6(mask) => mask.to_bits().leading_ones(),
        };
        Some(Taken {
            interface: entry.interface_name,
            cidr: Cidr {
                address,
                prefix_len: prefix_len as u8,
            },
        })
    });
    Ok(taken.collect())
}

fn ip_of(address: &SockaddrStorage) -> Option<IpAddr> {
    let v4 = address.as_sockaddr_in().map(|it| IpAddr::V4(it.ip()));
    v4.or_else(|| address.as_sockaddr_in6().map(|it| IpAddr::V6(it.ip())))
}

/// Every interface has a link-local address; it says nothing about who uses which network.
fn is_link_local(address: IpAddr) -> bool {
    matches!(address, IpAddr::V6(address) if address.is_unicast_link_local())
}

/// # Errors
/// When this host's kernel has `address` itself.
pub(crate) fn check_not_ours(address: IpAddr) -> anyhow::Result<()> {
    match addresses()?
        .iter()
        .find(|taken| taken.cidr.address == address)
    {
        None => Ok(()),
        Some(taken) => anyhow::bail!(
            "address {address} is in use by this host itself, on {}; choose another with --address",
            taken.interface
        ),
    }
}

/// The address to give to the kernel's side of `interface`: none if it has one already.
///
/// # Errors
/// When the network of `address` is in use on another interface: the kernel would send what belongs
/// there to the new one.
pub(crate) fn default_address(interface: &str, address: Cidr) -> anyhow::Result<Option<Cidr>> {
    let mut taken = addresses()?;
    taken.retain(|taken| {
        let other = taken.cidr.address;
        other.is_ipv4() == address.address.is_ipv4() && !is_link_local(other)
    });
    if taken.iter().any(|taken| taken.interface == interface) {
        return Ok(None);
    }
    let overlaps = |taken: &&Taken| {
        taken.cidr.contains(address.address) || address.contains(taken.cidr.address)
    };
    if let Some(other) = taken.iter().find(overlaps) {
        anyhow::bail!(
            "the network of {address} is in use on {} ({}); choose another with --address, for example --address {}",
            other.interface,
            other.cidr,
            if address.address.is_ipv4() {
                "10.99.0.2/24"
            } else {
                "fd99::2/64"
            }
        );
    }
    Ok(address.neighbour())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loopback_address_is_this_hosts_own() {
        // Every namespace has it once its loopback interface is up; elsewhere there is nothing to check.
        if addresses()
            .expect("a list")
            .iter()
            .any(|taken| taken.interface == "lo")
        {
            let refusal = check_not_ours(IpAddr::from([127, 0, 0, 1]))
                .expect_err("in use")
                .to_string();
            assert!(
                refusal.contains("in use") && refusal.contains("lo"),
                "{refusal}"
            );
            let network = Cidr {
                address: IpAddr::from([127, 0, 0, 2]),
                prefix_len: 8,
            };
            assert!(default_address("tap9", network).is_err());
            assert_eq!(
                default_address("lo", network).expect("has one already"),
                None
            );
        }
    }

    #[test]
    fn the_other_side_of_a_free_network_becomes_the_kernels() {
        let free = Cidr {
            address: IpAddr::from([198, 18, 200, 2]),
            prefix_len: 24,
        };
        let host = default_address("tap9", free)
            .expect("free")
            .expect("an address");
        assert_eq!(host.address, IpAddr::from([198, 18, 200, 1]));
        let free: Cidr = "fdc0:ffee::1/64".parse().expect("an address");
        let host = default_address("tap9", free).expect("free");
        assert_eq!(host, "fdc0:ffee::2/64".parse().ok());
    }
}
