//! IPv6 datagrams in: checks addresses and headers (RFC 8200), refuses impossible sources, puts fragments
//! together, and hands what is for us to the transport.

use std::net::Ipv6Addr;

use bytes::Bytes;

use super::fragments;
use super::headers::{End, Next, Refusal, walk};
use super::icmp::{self, Report};
use crate::counters::Counter;
use crate::ip::host::Tables;
use crate::ip::partial::Taken;
use crate::ip::reader::{IpReader, Outcome, admit};
use crate::ip::reassembly::Expired;
use crate::ip::{Datagram, Ip, RxPacket, TxDatagram};
use crate::packet::{RxChecksum, strip_checksum};
use crate::time::Instant;
use crate::wire::icmpv6::{CODE_FIELD, CODE_HEADER_CHAIN, CODE_REASSEMBLY, Message};
use crate::wire::ipv6::{self, HEADER_LEN, NEXT_ICMPV6, NEXT_NONE, PAYLOAD_LEN_OFFSET};
use crate::wire::ipv6_extension::{FRAGMENT_OFFSET_OFFSET, Fragment};

impl IpReader {
    pub(in crate::ip) fn version6(
        &mut self,
        now: Instant,
        tables: &Tables,
        mut packet: RxPacket,
        outcome: &mut Outcome,
    ) {
        let Ok(header) = ipv6::parse(&packet.data) else {
            return self.drop(Counter::IpDropMalformed, &packet);
        };
        let addresses = (header.source.into(), header.destination.into());
        let cast = match admit(tables, addresses, packet.cast) {
            Ok(cast) => cast,
            Err(counter) => return self.drop(counter, &packet),
        };
        packet
            .data
            .truncate(HEADER_LEN + usize::from(header.payload_len));
        packet.cast = cast;
        match walk(&packet.data, Next::first(&packet.data)) {
            Ok(End::Upper(next)) => self.deliver6(now, &header, next, packet, outcome),
            Ok(End::Fragment(fragment, next)) => {
                self.fragment(now, &header, &fragment, next.at, packet, outcome);
            }
            Err(refusal) => self.refuse(now, refusal, &packet, outcome),
        }
    }

    fn fragment(
        &mut self,
        now: Instant,
        header: &ipv6::Header,
        fragment: &Fragment,
        at: usize,
        mut packet: RxPacket,
        outcome: &mut Outcome,
    ) {
        if fragment.is_atomic() {
            // Nothing to wait for, and nothing that others with its name could spoil (RFC 6946 §4).
            let mut data = packet.data.to_vec();
            packet.data = match fragments::unwrap(&mut data, at) {
                Some(()) => data.into(),
                None => return self.drop(Counter::IpDropFragment, &packet),
            };
            return self.whole(now, packet, outcome);
        }
        let (key, arriving, most) =
            fragments::arriving(header, fragment, at, &packet.data, packet.cast);
        let trouble = if fragment.more && !arriving.payload.len().is_multiple_of(8) {
            Some((CODE_FIELD, PAYLOAD_LEN_OFFSET))
        } else if arriving.end() > most {
            Some((CODE_FIELD, at + FRAGMENT_OFFSET_OFFSET))
        } else if fragment.offset == 0 && !fragments::has_all_headers(&packet.data, fragment, at) {
            Some((CODE_HEADER_CHAIN, 0))
        } else {
            None
        };
        if let Some((code, pointer)) = trouble {
            let refusal = Refusal::Problem {
                counter: Counter::IpDropFragment,
                code,
                pointer,
                even_to_groups: false,
            };
            return self.refuse(now, refusal, &packet, outcome);
        }
        match self.reassembly.take(now, key, &arriving, most) {
            Taken::Held | Taken::Duplicate => {}
            Taken::Refused => self.drop(Counter::IpDropFragment, &packet),
            Taken::Whole(whole) => {
                self.ip.counters.count(Counter::IpReassembled);
                packet.cast = whole.cast;
                packet.data = match fragments::finish(whole) {
                    Some(data) => data,
                    None => return self.drop(Counter::IpDropFragment, &packet),
                };
                self.whole(now, packet, outcome);
            }
        }
    }

    /// A datagram whose fragment header is off; it has no second one.
    fn whole(&self, now: Instant, mut packet: RxPacket, outcome: &mut Outcome) {
        packet.checksum = RxChecksum::Unknown;
        packet.segmentation = None;
        let Ok(header) = ipv6::parse(&packet.data) else {
            return self.drop(Counter::IpDropMalformed, &packet);
        };
        match walk(&packet.data, Next::first(&packet.data)) {
            Ok(End::Upper(next)) => self.deliver6(now, &header, next, packet, outcome),
            Ok(End::Fragment(..)) => self.drop(Counter::IpDropFragment, &packet),
            Err(refusal) => self.refuse(now, refusal, &packet, outcome),
        }
    }

    fn refuse(&self, now: Instant, refusal: Refusal, packet: &RxPacket, outcome: &mut Outcome) {
        match refusal {
            Refusal::Truncated => self.drop(Counter::IpDropMalformed, packet),
            Refusal::Silent(counter) => self.drop(counter, packet),
            Refusal::Problem {
                counter,
                code,
                pointer,
                even_to_groups,
            } => {
                self.drop(counter, packet);
                let report = Report {
                    message: Message::ParameterProblem {
                        code,
                        pointer: pointer as u32,
                    },
                    even_to_groups,
                };
                let answer = icmp::report(&self.ip, now, &packet.data, packet.cast, report);
                outcome.replies.extend(answer);
            }
        }
    }

    /// Hands a whole datagram, of which nothing but headers and payload is left, to whom it is for.
    fn deliver6(
        &self,
        now: Instant,
        header: &ipv6::Header,
        next: Next,
        packet: RxPacket,
        outcome: &mut Outcome,
    ) {
        let checksum = strip_checksum(packet.checksum, next.at);
        let datagram = Datagram {
            source: header.source.into(),
            destination: header.destination.into(),
            protocol: next.kind,
            tos: header.traffic_class,
            ttl: header.hop_limit,
            cast: packet.cast,
            payload: packet.data.slice(next.at..),
            checksum_ok: checksum != RxChecksum::Unknown,
            segment_bytes: packet.segmentation.map(|segmentation| segmentation.size),
            original: packet.data,
        };
        match next.kind {
            NEXT_ICMPV6 => icmp::receive(&self.ip, now, &datagram, outcome),
            NEXT_NONE => self
                .ip
                .counters
                .drop_packet(Counter::IpDropProtocol, header),
            _ => self.deliver(now, datagram, outcome),
        }
    }
}

/// True for sources that no datagram from the wire can have: nobody, groups, ourselves over a link, and
/// IPv4 addresses in disguise, which would pass filters on those (RFC 4942 §2.2).
pub(in crate::ip) fn is_never_a_source(source: Ipv6Addr) -> bool {
    source.is_unspecified()
        || source.is_loopback()
        || source.is_multicast()
        || source.to_ipv4_mapped().is_some()
}

/// ICMPv6 Time Exceeded for a datagram that never became whole, if its first fragment came (RFC 8200 §4.5).
pub(in crate::ip) fn reassembly_expired(
    ip: &Ip,
    now: Instant,
    original: &Bytes,
    expired: &Expired,
) -> Option<TxDatagram> {
    let report = Report {
        message: Message::TimeExceeded {
            code: CODE_REASSEMBLY,
        },
        even_to_groups: false,
    };
    icmp::report(ip, now, original, expired.cast, report)
}
