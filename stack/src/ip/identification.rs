//! The identification field. Datagrams that may be cut need one that does not repeat soon between the
//! same hosts; others need none (RFC 6864 §4). One counter for all would tell everybody how much we send
//! to others (RFC 7739), so counters are spread over keyed hashes of the address pair.

use std::net::IpAddr;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::keyed::Keyed;

const COUNTERS: usize = 1024;

#[derive(Debug)]
pub(super) struct Identification {
    keyed: Keyed,
    counters: Box<[AtomicU32]>,
}

impl Identification {
    pub(super) fn new(keyed: Keyed) -> Self {
        let counters = (0..COUNTERS as u64)
            .map(|index| AtomicU32::new(keyed.hash(index) as u32))
            .collect();
        Self { keyed, counters }
    }

    /// The next one for a datagram that may be cut; in IPv4 there is room for its lower half.
    pub(super) fn next(&self, source: IpAddr, destination: IpAddr, protocol: u8) -> u32 {
        let hash = self.keyed.hash((source, destination, protocol));
        self.counters[hash as usize % COUNTERS].fetch_add(1, Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn no_repetition_between_two_hosts_before_all_are_used() {
        let identification = Identification::new(Keyed::new([7; 16]));
        let (a, b) = (IpAddr::from([10, 0, 0, 1]), IpAddr::from([10, 0, 0, 2]));
        let seen: HashSet<u16> = (0..=u16::MAX)
            .map(|_| identification.next(a, b, 17) as u16)
            .collect();
        assert_eq!(seen.len(), 1 << 16);
    }
}
