//! A capture of one TCP connection, seen from the end where it was taken.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use super::capture::load;
use crate::decode::{Decoded, Segment, decode};

/// What one frame of an exchange is.
#[derive(Clone, Debug)]
pub enum Kind {
    /// A TCP segment.
    Tcp(Segment),
    /// An ICMP error about a segment of the local end with this sequence number.
    Icmp(u32),
}

/// One frame of an exchange.
#[derive(Clone, Debug)]
pub struct Event {
    /// Since the begin of the capture.
    pub at: Duration,
    /// True when the local end sent it.
    pub local: bool,
    /// As captured.
    pub frame: Vec<u8>,
    /// What it is.
    pub kind: Kind,
}

impl Event {
    /// The TCP segment, if it is one.
    #[must_use]
    pub const fn segment(&self) -> Option<&Segment> {
        match &self.kind {
            Kind::Tcp(segment) => Some(segment),
            Kind::Icmp(_) => None,
        }
    }

    /// The data of a TCP segment.
    #[must_use]
    pub fn data(&self) -> &[u8] {
        self.segment()
            .map_or(&[], |segment| &self.frame[segment.payload.clone()])
    }
}

/// A recorded connection.
#[derive(Clone, Debug)]
pub struct Exchange {
    /// The end where it was captured: the one that our stack replaces.
    pub local: SocketAddrV4,
    /// The other end.
    pub peer: SocketAddrV4,
    /// Ethernet addresses of both.
    pub macs: ([u8; 6], [u8; 6]),
    /// First sequence numbers of both, as far as they sent a SYN.
    pub iss: (Option<u32>, Option<u32>),
    /// True when the local end opened the connection.
    pub active: bool,
    /// All frames in order.
    pub events: Vec<Event>,
}

/// The position of a sequence number behind the SYN's.
#[must_use]
pub const fn offset(seq: u32, iss: u32) -> i64 {
    seq.wrapping_sub(iss) as i32 as i64
}

impl Exchange {
    /// Reads a fixture whose name ends in `.client` or `.server`.
    ///
    /// # Panics
    /// When the fixture is not a TCP exchange: a mistake in the test.
    #[must_use]
    pub fn load(name: &str) -> Self {
        let is_local = |address: Ipv4Addr| local_address(name, address);
        let mut events = Vec::new();
        let mut ends = None;
        let mut iss = (None, None);
        for captured in load(name) {
            let (local, kind) = match decode(&captured.data).expect("an intact frame") {
                Decoded::Tcp(segment) => {
                    let local = is_local(*segment.source.ip());
                    let (source, destination) = (segment.source, segment.destination);
                    let macs = (mac(&captured.data[6..12]), mac(&captured.data[..6]));
                    ends.get_or_insert(if local {
                        (source, destination, macs)
                    } else {
                        (destination, source, (macs.1, macs.0))
                    });
                    let known = if local { &mut iss.0 } else { &mut iss.1 };
                    if segment.syn {
                        known.get_or_insert(segment.seq);
                    }
                    (local, Kind::Tcp(segment))
                }
                Decoded::Icmp(_, to, 3, _, rest) => (!is_local(to), Kind::Icmp(quoted_seq(&rest))),
                other => panic!("{name}: unexpected {other:?}"),
            };
            events.push(Event {
                at: captured.at,
                local,
                frame: captured.data,
                kind,
            });
        }
        let (local, peer, macs) = ends.expect("a TCP segment");
        Self {
            local,
            peer,
            macs,
            iss,
            active: events[0].local,
            events,
        }
    }

    /// All data that one end sent, in order and once.
    #[must_use]
    pub fn stream(&self, local: bool) -> Vec<u8> {
        let mut stream = Vec::new();
        let Some(iss) = (if local { self.iss.0 } else { self.iss.1 }) else {
            return stream;
        };
        // Out of order at a receiver behind a lossy link: go over it until nothing more fits.
        loop {
            let before = stream.len();
            for event in self.events.iter().filter(|event| event.local == local) {
                let Some(segment) = event.segment().filter(|segment| !segment.rst) else {
                    continue;
                };
                let start = offset(segment.seq, iss) - i64::from(!segment.syn);
                let Ok(start) = usize::try_from(start) else {
                    continue;
                };
                if start <= stream.len() && start + event.data().len() > stream.len() {
                    stream.extend_from_slice(&event.data()[stream.len() - start..]);
                }
            }
            if stream.len() == before {
                return stream;
            }
        }
    }

    /// True when some segment of that end satisfies the condition.
    #[must_use]
    pub fn any(&self, local: bool, condition: impl Fn(&Segment) -> bool) -> bool {
        self.events
            .iter()
            .any(|event| event.local == local && event.segment().is_some_and(&condition))
    }
}

fn local_address(name: &str, address: Ipv4Addr) -> bool {
    let [_, _, network, host] = address.octets();
    let client = (network, host) == (0, 1) || (network, host) == (1, 1);
    client == name.ends_with(".client")
}

fn mac(bytes: &[u8]) -> [u8; 6] {
    bytes.try_into().expect("six bytes")
}

/// The sequence number in the segment that an ICMP error quotes; `rest` begins after the checksum.
fn quoted_seq(rest: &[u8]) -> u32 {
    let header = usize::from(rest[4] & 0x0F) * 4;
    u32::from_be_bytes(
        rest[4 + header + 4..4 + header + 8]
            .try_into()
            .expect("four bytes"),
    )
}
