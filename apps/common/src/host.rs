//! What this host's own kernel already uses, so that a new interface takes nothing away from it.

use std::net::IpAddr;

use anyhow::Context;
use nix::ifaddrs::getifaddrs;

use crate::parse::Cidr;

/// An address of this host's kernel, and the interface that has it.
struct Taken {
    interface: String,
    cidr: Cidr,
}

fn addresses() -> anyhow::Result<Vec<Taken>> {
    let all = getifaddrs().context("cannot list the addresses of this host")?;
    let taken = all.filter_map(|entry| {
        let address = entry.address?.as_sockaddr_in()?.ip();
        let mask = entry.netmask?.as_sockaddr_in()?.ip();
        let prefix_len = mask.to_bits().leading_ones() as u8;
        Some(Taken {
            interface: entry.interface_name,
            cidr: Cidr {
                address: address.into(),
                prefix_len,
            },
        })
    });
    Ok(taken.collect())
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
    let taken = addresses()?;
    if taken.iter().any(|taken| taken.interface == interface) {
        return Ok(None);
    }
    let overlaps = |taken: &&Taken| {
        taken.cidr.contains(address.address) || address.contains(taken.cidr.address)
    };
    if let Some(other) = taken.iter().find(overlaps) {
        anyhow::bail!(
            "the network of {address} is in use on {} ({}); choose another with --address, for example --address 10.99.0.2/24",
            other.interface,
            other.cidr
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
    }
}
