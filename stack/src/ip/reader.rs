//! Datagrams in: checks the header (RFC 1122 §3.2.1), refuses impossible sources, puts fragments
//! together, and hands what is for us to the transport. What is particular to IPv6 is in `v6/`.

use std::net::IpAddr;
use std::sync::Arc;

use super::host::{Place, Tables};
use super::options::{Verdict, check};
use super::partial::Taken;
use super::reassembly::{Expired, Reassembly};
use super::{Cast, Datagram, Echo, ErrorKind, IcmpError, Ip, RxPacket, TxDatagram};
use super::{fragments4, icmp, v6};
use crate::checksum;
use crate::counters::Counter;
use crate::packet::{RxChecksum, strip_checksum};
use crate::time::Instant;
use crate::wire::{ipv4, ipv6};

/// What came in, by what is to be done with it.
#[derive(Debug, Default)]
pub struct Outcome {
    /// For TCP.
    pub tcp: Vec<Datagram>,
    /// For UDP.
    pub udp: Vec<Datagram>,
    /// About datagrams of ours; each transport takes those of its protocol.
    pub errors: Vec<IcmpError>,
    /// For the IP writer: echo replies and ICMP errors.
    pub replies: Vec<TxDatagram>,
    /// Answers to our echo requests in this batch; cleared by the next.
    pub echoes: Vec<Echo>,
}

/// The stage that takes datagrams from the link.
#[derive(Debug)]
pub struct IpReader {
    pub(super) ip: Arc<Ip>,
    pub(super) reassembly: Reassembly,
}

impl IpReader {
    /// A reader of its own for each queue.
    #[must_use]
    pub fn new(ip: Arc<Ip>) -> Self {
        let reassembly = Reassembly::new(ip.config.fragments.clone(), ip.keyed.derive(4));
        Self { ip, reassembly }
    }

    /// Takes all of `packets` and appends to `outcome`.
    pub fn process(&mut self, now: Instant, packets: &mut Vec<RxPacket>, outcome: &mut Outcome) {
        outcome.echoes.clear();
        self.ip
            .counters
            .add(Counter::IpRxDatagrams, packets.len() as u64);
        let ip = Arc::clone(&self.ip);
        let tables = ip.tables();
        for packet in packets.drain(..) {
            match packet.data.first().map(|first| first >> 4) {
                Some(4) => self.version4(now, &tables, packet, outcome),
                Some(6) => self.version6(now, &tables, packet, outcome),
                _ => self.drop(Counter::IpDropMalformed, &packet),
            }
        }
    }

    /// Gives up what waited too long.
    pub fn poll(&mut self, now: Instant, outcome: &mut Outcome) {
        self.ip.poll(now);
        let ip = &self.ip;
        self.reassembly.expire(now, |expired| {
            ip.counters.count(Counter::IpReassemblyTimeouts);
            outcome.replies.extend(time_exceeded(ip, now, expired));
        });
    }

    /// When [`IpReader::poll`] has something to do.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Instant> {
        let reassembly = self.reassembly.next_deadline();
        reassembly.into_iter().chain(self.ip.next_deadline()).min()
    }

    pub(super) fn drop(&self, counter: Counter, packet: &RxPacket) {
        self.ip.counters.drop_packet(counter, &Brief(packet));
    }

    fn version4(
        &mut self,
        now: Instant,
        tables: &Tables,
        mut packet: RxPacket,
        outcome: &mut Outcome,
    ) {
        let Ok(header) = ipv4::parse(&packet.data) else {
            return self.drop(Counter::IpDropMalformed, &packet);
        };
        let header_len = usize::from(header.header_len);
        if checksum::checksum(&packet.data[..header_len]) != 0 {
            return self.drop(Counter::IpDropChecksum, &packet);
        }
        let addresses = (header.source.into(), header.destination.into());
        let cast = match admit(tables, addresses, packet.cast) {
            Ok(cast) => cast,
            Err(counter) => return self.drop(counter, &packet),
        };
        match check(&packet.data[ipv4::HEADER_LEN..header_len]) {
            Verdict::Fine => {}
            Verdict::SourceRoute => return self.drop(Counter::IpDropSourceRoute, &packet),
            Verdict::Malformed => return self.drop(Counter::IpDropMalformed, &packet),
        }
        packet.data.truncate(header.total_len.into());
        packet.cast = cast;
        if !header.is_fragment() {
            return self.deliver4(now, &header, packet, outcome);
        }
        let (key, arriving, most) = fragments4::arriving(&header, &packet.data, cast);
        match self.reassembly.take(now, key, &arriving, most) {
            Taken::Held | Taken::Duplicate => {}
            Taken::Refused => self.drop(Counter::IpDropFragment, &packet),
            Taken::Whole(whole) => {
                self.ip.counters.count(Counter::IpReassembled);
                let cast = whole.cast;
                let Some((header, data)) = fragments4::finish(whole) else {
                    return self.drop(Counter::IpDropFragment, &packet);
                };
                let packet = RxPacket {
                    data,
                    cast,
                    checksum: RxChecksum::Unknown,
                    segmentation: None,
                };
                self.deliver4(now, &header, packet, outcome);
            }
        }
    }

    /// Hands a whole datagram, of which nothing but header and payload is left, to whom it is for.
    fn deliver4(
        &self,
        now: Instant,
        header: &ipv4::Header,
        packet: RxPacket,
        outcome: &mut Outcome,
    ) {
        let header_len = usize::from(header.header_len);
        let checksum = strip_checksum(packet.checksum, header_len);
        let datagram = Datagram {
            source: header.source.into(),
            destination: header.destination.into(),
            protocol: header.protocol,
            tos: header.tos,
            ttl: header.ttl,
            cast: packet.cast,
            payload: packet.data.slice(header_len..),
            checksum_ok: checksum != RxChecksum::Unknown,
            segment_bytes: packet.segmentation.map(|segmentation| segmentation.size),
            original: packet.data,
        };
        if header.protocol == ipv4::PROTOCOL_ICMP {
            let options = datagram.original.slice(ipv4::HEADER_LEN..header_len);
            return icmp::receive(&self.ip, now, &datagram, &options, outcome);
        }
        self.deliver(now, datagram, outcome);
    }

    /// Hands a datagram to the transport, which is the same for both versions.
    pub(super) fn deliver(&self, now: Instant, datagram: Datagram, outcome: &mut Outcome) {
        match datagram.protocol {
            ipv4::PROTOCOL_TCP => outcome.tcp.push(datagram),
            ipv4::PROTOCOL_UDP => outcome.udp.push(datagram),
            protocol => {
                let counters = &self.ip.counters;
                counters.drop_packet(Counter::IpDropProtocol, &(datagram.source, protocol));
                let kind = ErrorKind::ProtocolUnreachable;
                outcome
                    .replies
                    .extend(self.ip.error_for(now, &datagram, kind));
            }
        }
    }
}

/// Whether a datagram with these addresses may come in, and to how many it was addressed.
pub(super) fn admit(
    tables: &Tables,
    (source, destination): (IpAddr, IpAddr),
    link: Cast,
) -> Result<Cast, Counter> {
    let place = tables.place(destination);
    if link == Cast::Loopback {
        return match place {
            Place::Local | Place::Loopback => Ok(Cast::Unicast),
            _ => Err(Counter::IpDropForeign),
        };
    }
    if tables.is_bad_source(source) {
        return Err(Counter::IpDropSource);
    }
    match place {
        // To all on the link, but to one by IP: not to be believed (RFC 1122 §3.3.6).
        Place::Local if link != Cast::Unicast => Err(Counter::IpDropForeign),
        Place::Local => Ok(Cast::Unicast),
        Place::Broadcast => Ok(Cast::Broadcast),
        Place::Group { joined: true } => Ok(Cast::Multicast),
        Place::Group { joined: false } | Place::Loopback | Place::Elsewhere => {
            Err(Counter::IpDropForeign)
        }
    }
}

/// ICMP Time Exceeded for a datagram that never became whole, if its first fragment came (RFC 792).
fn time_exceeded(ip: &Ip, now: Instant, mut expired: Expired) -> Option<TxDatagram> {
    let original = expired.first.take()?;
    if ipv6::parse_quoted(&original).is_ok() {
        return v6::reassembly_expired(ip, now, &original, &expired);
    }
    let header = ipv4::parse_quoted(&original).ok()?;
    let datagram = Datagram {
        source: IpAddr::V4(header.source),
        destination: IpAddr::V4(header.destination),
        protocol: header.protocol,
        tos: header.tos,
        ttl: header.ttl,
        cast: expired.cast,
        payload: original.slice(usize::from(header.header_len)..),
        checksum_ok: false,
        segment_bytes: None,
        original,
    };
    ip.error_for(now, &datagram, ErrorKind::TimeExceeded)
}

/// A packet as logs show it: its size and its addresses.
struct Brief<'a>(&'a RxPacket);

impl std::fmt::Debug for Brief<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let RxPacket { data, cast, .. } = self.0;
        write!(f, "{} bytes, {cast:?}", data.len())?;
        if let Ok(header) = ipv4::parse_quoted(data) {
            write!(f, ", {} to {}", header.source, header.destination)?;
        } else if let Ok(header) = ipv6::parse_quoted(data) {
            write!(f, ", {} to {}", header.source, header.destination)?;
        }
        Ok(())
    }
}
