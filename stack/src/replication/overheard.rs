//! What clients sent while their server was dying, as far as the network brought it to the backup as well: where
//! it never learns the service station ([`crate::ethernet::Config::source`]), that is everything. Nothing of it is
//! lost then: it is taken in when this host takes over, as if it had just arrived.
//!
//! What arrived before the primary was heard last is its business, and is forgotten. Beyond the bounds the latest is
//! left out: a stream can go on only from its beginning.

use std::collections::{HashSet, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use crate::ip::RxPacket;
use crate::time::Instant;
use crate::wire::tcp::{self, Flags};
use crate::wire::{ipv4, ipv6};

/// What arrived so shortly before the primary was heard last may not have been dealt with.
const MARGIN: Duration = Duration::from_millis(20);
const MOST_PACKETS: usize = 1 << 16;
const MOST_BYTES: usize = 32 << 20;

/// Datagrams in the order in which they arrived.
#[derive(Debug, Default)]
pub(crate) struct Overheard {
    kept: VecDeque<(Instant, RxPacket)>,
    bytes: usize,
    /// When the primary was heard last.
    heard: Instant,
}

impl Overheard {
    /// The primary is alive.
    pub(crate) fn heard(&mut self, now: Instant) {
        self.heard = self.heard.max(now);
        self.forget();
    }

    /// Datagrams arrived; returns how many were left out.
    pub(crate) fn keep(&mut self, now: Instant, packets: Vec<RxPacket>) -> usize {
        let mut left_out = 0;
        for packet in packets {
            let len = packet.data.len();
            if self.kept.len() >= MOST_PACKETS || self.bytes + len > MOST_BYTES {
                left_out += 1;
                continue;
            }
            self.bytes += len;
            self.kept.push_back((now, packet));
        }
        left_out
    }

    /// Nobody else deals with these. A SYN after which its sender said more was answered by the former owner, and would
    /// only begin what that had begun.
    pub(crate) fn take(&mut self) -> Vec<RxPacket> {
        self.forget();
        self.bytes = 0;
        let mut went_on = HashSet::new();
        let mut packets: Vec<_> = self.kept.drain(..).map(|(_, packet)| packet).collect();
        packets.reverse();
        packets.retain(|packet| match segment(&packet.data) {
            Some((ends, flags)) if flags.contains(Flags::SYN) => !went_on.contains(&ends),
            Some((ends, _)) => {
                went_on.insert(ends);
                true
            }
            None => true,
        });
        packets.reverse();
        packets
    }

    /// Another host serves.
    pub(crate) fn clear(&mut self) {
        self.kept = VecDeque::new();
        self.bytes = 0;
    }

    fn forget(&mut self) {
        while let Some((at, packet)) = self.kept.front()
            && *at + MARGIN < self.heard
        {
            self.bytes -= packet.data.len();
            self.kept.pop_front();
        }
    }
}

/// The ends of a TCP segment, and its flags; none for anything else.
fn segment(datagram: &[u8]) -> Option<((SocketAddr, SocketAddr), Flags)> {
    let (source, destination, payload): (IpAddr, IpAddr, _) = match datagram.first()? >> 4 {
        4 => {
            let header = ipv4::parse(datagram).ok().filter(|it| it.protocol == 6)?;
            let payload = datagram.get(usize::from(header.header_len)..)?;
            (header.source.into(), header.destination.into(), payload)
        }
        _ => {
            let header = ipv6::parse(datagram)
                .ok()
                .filter(|it| it.next_header == 6)?;
            let payload = datagram.get(ipv6::HEADER_LEN..)?;
            (header.source.into(), header.destination.into(), payload)
        }
    };
    let header = tcp::parse(payload).ok()?;
    let ends = (
        SocketAddr::new(source, header.source_port),
        SocketAddr::new(destination, header.destination_port),
    );
    Some((ends, header.flags))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ip::Cast;
    use crate::packet::RxChecksum;

    fn packet(len: usize) -> RxPacket {
        RxPacket {
            data: vec![7; len].into(),
            cast: Cast::Unicast,
            checksum: RxChecksum::Unknown,
            segmentation: None,
        }
    }

    #[test]
    fn what_came_since_the_primary_was_heard_is_kept_and_no_more() {
        let at = |ms| Instant::ZERO + Duration::from_millis(ms);
        let mut overheard = Overheard::default();
        for ms in [10, 20, 30, 40, 50] {
            assert_eq!(overheard.keep(at(ms), vec![packet(ms as usize)]), 0);
        }
        overheard.heard(at(45));
        let lens: Vec<_> = overheard.take().iter().map(|it| it.data.len()).collect();
        assert_eq!(lens, [30, 40, 50]);
        assert!(overheard.take().is_empty());
        let large = (0..40).map(|_| packet(1 << 20)).collect();
        assert_eq!(overheard.keep(at(60), large), 8);
        assert_eq!(overheard.take().len(), 32);
    }
}
