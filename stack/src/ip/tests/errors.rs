//! ICMP in both directions (RFC 792, RFC 1122 §3.2.2).

use super::*;
use crate::wire::icmpv4::{self, Message};

fn icmp(message: Message, data: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0; icmpv4::HEADER_LEN];
    message.emit(&mut bytes);
    bytes.extend_from_slice(data);
    let checksum = checksum::checksum(&bytes);
    bytes[icmpv4::CHECKSUM_OFFSET..][..2].copy_from_slice(&checksum.to_be_bytes());
    bytes
}

const REQUEST: Message = Message::EchoRequest {
    identifier: 7,
    sequence: 9,
};

/// The only reply, as it leaves, checked by foreign eyes.
fn reply(host: &mut Host, outcome: Outcome) -> (etherparse::Ipv4Header, Message, Vec<u8>) {
    assert_eq!(outcome.replies.len(), 1);
    let (packets, _) = host.send(outcome.replies);
    let (header, payload) = decoded(&packets[0]);
    assert_eq!(checksum::checksum(&payload), 0);
    assert_eq!(header.protocol.0, ipv4::PROTOCOL_ICMP);
    let message = icmpv4::parse(&payload).unwrap();
    (header, message, payload[icmpv4::HEADER_LEN..].to_vec())
}

#[test]
fn an_echo_returns_data_service_and_route() {
    let mut host = Host::new(1500);
    let mut request = header(PEER, OURS, ipv4::PROTOCOL_ICMP);
    request.tos = 0x20;
    let route = [7, 11, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let bytes = bytes_with_options(request, &route, &icmp(REQUEST, b"odd data!"));
    let outcome = host.receive([received(bytes)]);
    let (header, message, data) = reply(&mut host, outcome);
    let expected = Message::EchoReply {
        identifier: 7,
        sequence: 9,
    };
    assert_eq!((message, &data[..]), (expected, &b"odd data!"[..]));
    assert_eq!(
        (header.source, header.destination),
        (OURS.octets(), PEER.octets())
    );
    assert_eq!(header.dscp.value(), 8);
    assert_eq!(header.options[..8], [7, 11, 8, 10, 0, 0, 1, 0]);
}

#[test]
fn an_echo_larger_than_the_link_is_answered_in_fragments() {
    let mut host = Host::new(576);
    let outcome = host.receive([packet(
        header(PEER, OURS, ipv4::PROTOCOL_ICMP),
        &icmp(REQUEST, &[1; 2000]),
    )]);
    let (packets, _) = host.send(outcome.replies);
    assert_eq!(packets.len(), 4);
}

#[test]
fn echoes_to_many_or_unwanted_stay_unanswered() {
    let mut host = Host::new(1500);
    let request = icmp(REQUEST, b"data");
    for to in [
        Ipv4Addr::BROADCAST,
        Ipv4Addr::new(10, 0, 0, 255),
        Ipv4Addr::new(224, 0, 0, 1),
    ] {
        let outcome = host.receive([packet(header(PEER, to, ipv4::PROTOCOL_ICMP), &request)]);
        assert!(outcome.replies.is_empty(), "{to}");
    }
    let mut host = Host::with(1500, OURS, |config| config.answer_echo = false);
    let outcome = host.receive([packet(header(PEER, OURS, ipv4::PROTOCOL_ICMP), &request)]);
    assert!(outcome.replies.is_empty());
    assert_eq!(host.count(Counter::IcmpDropIgnored), 1);
}

#[test]
fn we_can_ask_for_echoes_too() {
    let mut host = Host::new(1500);
    let mut peer = Host::with(1500, PEER, |_| {});
    let request = echo_request(
        &host.ip,
        OURS.into(),
        PEER.into(),
        (1, 2),
        Bytes::from_static(b"hello"),
    );
    let (packets, _) = host.send([request]);
    let outcome = peer.receive(packets.iter().map(|packet| received(packet.frame.to_vec())));
    let answers = outcome.replies.into_iter().map(|reply| TxDatagram {
        source: PEER.into(),
        ..reply
    });
    let (packets, _) = peer.send(answers);
    let outcome = host.receive(packets.iter().map(|packet| received(packet.frame.to_vec())));
    let expected = Echo {
        source: PEER.into(),
        identifier: 1,
        sequence: 2,
        data: Bytes::from_static(b"hello"),
    };
    assert_eq!(outcome.echoes, [expected]);
}

#[test]
fn damaged_messages_are_dropped() {
    let mut host = Host::new(1500);
    let mut bytes = icmp(REQUEST, b"data");
    bytes[9] ^= 1;
    let outcome = host.receive([
        packet(header(PEER, OURS, ipv4::PROTOCOL_ICMP), &bytes),
        packet(header(PEER, OURS, ipv4::PROTOCOL_ICMP), &[8, 0, 0xf7, 0xff]),
    ]);
    assert!(outcome.replies.is_empty());
    assert_eq!(host.count(Counter::IcmpDropMalformed), 2);
}

#[test]
fn an_unknown_protocol_is_reported_with_a_quote() {
    let mut host = Host::new(1500);
    let bytes = bytes_with_options(header(PEER, OURS, UNKNOWN), &[], &[5; 1000]);
    let outcome = host.receive([received(bytes.clone())]);
    let (header, message, quote) = reply(&mut host, outcome);
    assert_eq!(message, Message::Unreachable { code: 2, mtu: 0 });
    assert_eq!(quote, bytes[..quote.len()]);
    assert_eq!(header.total_len, 576, "as much as every host takes");
    assert_eq!(host.count(Counter::IpDropProtocol), 1);
}

#[test]
fn what_must_not_be_answered_is_not() {
    let host = Host::new(1500);
    let original = Bytes::from(bytes_with_options(
        header(PEER, OURS, UNKNOWN),
        &[],
        &[0; 8],
    ));
    let plain = Datagram {
        source: PEER.into(),
        destination: OURS.into(),
        protocol: UNKNOWN,
        tos: 0,
        ttl: 64,
        cast: Cast::Unicast,
        payload: original.slice(20..),
        checksum_ok: false,
        segment_bytes: None,
        original,
    };
    let answered = |datagram: &Datagram| {
        host.ip
            .error_for(NOW, datagram, ErrorKind::PortUnreachable)
            .is_some()
    };
    assert!(answered(&plain));
    for cast in [Cast::Broadcast, Cast::Multicast] {
        assert!(!answered(&Datagram {
            cast,
            ..plain.clone()
        }));
    }
    for source in ["0.0.0.0", "224.0.0.5", "255.255.255.255", "2001:db8::1"] {
        let source = source.parse().unwrap();
        assert!(!answered(&Datagram {
            source,
            ..plain.clone()
        }));
    }
    let about_icmp = |kind: u8| Datagram {
        protocol: ipv4::PROTOCOL_ICMP,
        payload: Bytes::from(vec![kind, 0, 0, 0, 0, 0, 0, 0]),
        ..plain.clone()
    };
    for error in [3, 4, 5, 11, 12, 99] {
        assert!(!answered(&about_icmp(error)), "type {error}");
    }
    assert!(answered(&about_icmp(8)));
}

#[test]
fn errors_are_limited_and_the_limit_is_counted() {
    let mut host = Host::new(1500);
    let flood = (0..10_000).map(|_| packet(header(PEER, OURS, UNKNOWN), &[0; 8]));
    let outcome = host.receive(flood);
    assert_eq!(outcome.replies.len(), 10);
    assert_eq!(host.count(Counter::IcmpLimited), 9_990);
}

/// A message about `quoted`, from a router.
fn report(host: &mut Host, message: Message, quoted: &[u8]) -> Outcome {
    let router = Ipv4Addr::new(192, 0, 2, 1);
    host.receive([packet(
        header(router, OURS, ipv4::PROTOCOL_ICMP),
        &icmp(message, quoted),
    )])
}

fn sent(len: usize) -> Vec<u8> {
    bytes_with_options(
        header(OURS, STRANGER, ipv4::PROTOCOL_TCP),
        &[],
        &vec![3; len],
    )
}

#[test]
fn errors_about_our_datagrams_reach_the_transport() {
    let mut host = Host::new(1500);
    let table = [
        (
            Message::Unreachable { code: 1, mtu: 0 },
            ErrorKind::Unreachable { code: 1 },
        ),
        (
            Message::Unreachable { code: 2, mtu: 0 },
            ErrorKind::ProtocolUnreachable,
        ),
        (
            Message::Unreachable { code: 3, mtu: 0 },
            ErrorKind::PortUnreachable,
        ),
        (
            Message::Unreachable { code: 4, mtu: 1400 },
            ErrorKind::TooBig { mtu: 1400 },
        ),
        (
            Message::Unreachable { code: 4, mtu: 0 },
            ErrorKind::TooBig { mtu: 1006 },
        ),
        (Message::TimeExceeded { code: 0 }, ErrorKind::TimeExceeded),
        (
            Message::ParameterProblem {
                code: 0,
                pointer: 20,
            },
            ErrorKind::ParameterProblem,
        ),
    ];
    for (message, kind) in table {
        let outcome = report(&mut host, message, &sent(1400));
        let error = &outcome.errors[0];
        assert_eq!(error.kind, kind);
        assert_eq!(error.reporter, IpAddr::from([192, 0, 2, 1]));
        assert_eq!(
            (error.source, error.destination),
            (OURS.into(), STRANGER.into())
        );
        assert_eq!((error.protocol, &error.quoted[..8]), (6, &[3; 8][..]));
        assert!(outcome.replies.is_empty());
    }
    assert_eq!(
        host.ip.mtu(STRANGER.into()),
        1500,
        "the transport decides whom to believe"
    );
}

#[test]
fn the_least_quote_is_enough_and_less_is_not() {
    let mut host = Host::new(1500);
    let unreachable = Message::Unreachable { code: 3, mtu: 0 };
    assert_eq!(
        report(&mut host, unreachable, &sent(100)[..28])
            .errors
            .len(),
        1
    );
    assert!(
        report(&mut host, unreachable, &sent(100)[..27])
            .errors
            .is_empty()
    );
    assert!(report(&mut host, unreachable, &[]).errors.is_empty());
}

#[test]
fn errors_about_others_are_ignored() {
    let mut host = Host::new(1500);
    let unreachable = Message::Unreachable { code: 3, mtu: 0 };
    let others = [
        header(PEER, STRANGER, 17),
        header(OURS, Ipv4Addr::BROADCAST, 17),
        header(OURS, Ipv4Addr::new(224, 0, 0, 9), 17),
        ipv4::Header {
            fragment_offset: 8,
            ..header(OURS, STRANGER, 17)
        },
    ];
    for other in others {
        let quoted = bytes_with_options(other, &[], &[0; 16]);
        assert!(report(&mut host, unreachable, &quoted).errors.is_empty());
    }
    for ignored in [
        Message::SourceQuench,
        Message::Redirect {
            code: 1,
            gateway: PEER,
        },
    ] {
        assert!(report(&mut host, ignored, &sent(100)).errors.is_empty());
    }
    assert_eq!(host.count(Counter::IcmpDropIgnored), 6);
}
