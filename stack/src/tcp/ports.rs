//! Ephemeral ports (RFC 6056 §3.3.4, double hash): for one destination they are tried one after the
//! other from a secret place on, so that a port is not used again soon and nobody off the path can guess
//! the next one.

use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::keyed::Keyed;

const COUNTERS: usize = 256;

/// Hands out ports of a range.
#[derive(Debug)]
pub(super) struct Ports {
    range: RangeInclusive<u16>,
    keyed: Keyed,
    /// How far the destinations that share a counter have come.
    counters: Vec<AtomicU32>,
}

impl Ports {
    pub(crate) fn new(range: RangeInclusive<u16>, keyed: Keyed) -> Self {
        Self {
            range,
            keyed,
            counters: (0..COUNTERS).map(|_| AtomicU32::new(0)).collect(),
        }
    }

    /// A port for a connection from `local` to `remote` that `is_free` agrees to; none if it agrees to
    /// no port of the range.
    pub(super) fn choose(
        &self,
        local: IpAddr,
        remote: SocketAddr,
        mut is_free: impl FnMut(u16) -> bool,
    ) -> Option<u16> {
        let first = *self.range.start();
        let count = u32::try_from(self.range.len()).ok().filter(|&n| n > 0)?;
        let flow = (local, remote.ip(), remote.port());
        let offset = self.keyed.hash((0_u8, flow)) as u32 % count;
        let counter = &self.counters[self.keyed.hash((1_u8, flow)) as usize % COUNTERS];
        for _ in 0..count {
            let step = counter.fetch_add(1, Ordering::Relaxed) % count;
            let port = first + ((offset + step) % count) as u16;
            if is_free(port) {
                return Some(port);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ports() -> Ports {
        Ports::new(100..=109, Keyed::new([3; 16]))
    }

    const LOCAL: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    fn remote(port: u16) -> SocketAddr {
        SocketAddr::new(LOCAL, port)
    }

    #[test]
    fn every_port_has_its_turn_before_one_comes_again() {
        let ports = ports();
        let mut chosen: Vec<u16> = (0..10)
            .map(|_| ports.choose(LOCAL, remote(80), |_| true).unwrap())
            .collect();
        chosen.sort_unstable();
        assert_eq!(chosen, (100..=109).collect::<Vec<_>>());
    }

    #[test]
    fn the_one_free_port_is_found_and_none_when_there_is_none() {
        let ports = ports();
        assert_eq!(
            ports.choose(LOCAL, remote(80), |port| port == 104),
            Some(104)
        );
        assert_eq!(ports.choose(LOCAL, remote(80), |_| false), None);
        let empty = Ports::new(RangeInclusive::new(9, 8), Keyed::new([3; 16]));
        assert_eq!(empty.choose(LOCAL, remote(80), |_| true), None);
    }

    #[test]
    fn destinations_begin_at_different_places() {
        let ports = Ports::new(32_768..=60_999, Keyed::new([3; 16]));
        let first = |port| ports.choose(LOCAL, remote(port), |_| true).unwrap();
        assert!(first(80).abs_diff(first(443)) > 1);
    }
}
