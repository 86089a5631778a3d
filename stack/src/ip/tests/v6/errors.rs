//! ICMPv6 in both directions (RFC 4443).

use super::*;
use crate::wire::icmpv6::Message;
use crate::wire::ipv6::NEXT_ICMPV6;

fn icmp(source: Ipv6Addr, destination: Ipv6Addr, message: Message, data: &[u8]) -> RxPacket {
    let mut bytes = vec![0; icmpv6::HEADER_LEN];
    message.emit(&mut bytes);
    bytes.extend_from_slice(data);
    let sum = etherparse::Icmpv6Slice::from_slice(&bytes).map(|slice| {
        let kind = slice.icmp_type();
        kind.calc_checksum(source.octets(), destination.octets(), &bytes[8..])
    });
    bytes[2..4].copy_from_slice(&sum.unwrap().unwrap().to_be_bytes());
    packet(header(source, destination, NEXT_ICMPV6), &bytes)
}

const REQUEST: Message = Message::EchoRequest {
    identifier: 7,
    sequence: 9,
};

/// The only reply, as it leaves, checked by foreign eyes.
fn reply(host: &mut Host, outcome: Outcome) -> (etherparse::Ipv6Header, Message, Vec<u8>) {
    assert_eq!(outcome.replies.len(), 1);
    let (packets, _) = host.send(outcome.replies);
    let (header, payload) = decoded(&packets[0]);
    assert_eq!(header.next_header.0, NEXT_ICMPV6);
    let foreign = etherparse::Icmpv6Slice::from_slice(&payload).unwrap();
    assert!(foreign.is_checksum_valid(header.source, header.destination));
    let message = icmpv6::parse(&payload).unwrap();
    (header, message, payload[icmpv6::HEADER_LEN..].to_vec())
}

#[test]
fn an_echo_returns_data_and_service() {
    let mut host = host(1500);
    let mut request = icmp(PEER, OURS, REQUEST, b"odd data!").data.to_vec();
    request[1] = 0x20;
    let outcome = host.receive([received(request)]);
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
    assert_eq!(header.traffic_class, 2);
}

#[test]
fn an_echo_to_a_group_is_answered_by_one_of_us_and_not_too_often() {
    let mut host = host(1500);
    let outcome = host.receive([icmp(PEER, ipv6::ALL_NODES, REQUEST, b"who?")]);
    let (header, ..) = reply(&mut host, outcome);
    assert_eq!(header.source, OURS.octets());
    let flood = (0..1000).map(|_| icmp(PEER, ipv6::ALL_NODES, REQUEST, b"who?"));
    assert_eq!(host.receive(flood).replies.len(), 9);
}

#[test]
fn damaged_and_unwanted_messages_are_dropped() {
    let mut host = host(1500);
    let mut damaged = icmp(PEER, OURS, REQUEST, b"data").data.to_vec();
    damaged[50] ^= 1;
    let short = packet(header(PEER, OURS, NEXT_ICMPV6), &[128, 0, 0]);
    let outcome = host.receive([received(damaged), short]);
    assert!(outcome.replies.is_empty());
    assert_eq!(host.count(Counter::IcmpDropMalformed), 2);
    let unknown = Message::Other {
        kind: 200,
        code: 0,
        rest: [0; 4],
    };
    assert!(
        host.receive([icmp(PEER, OURS, unknown, b"")])
            .replies
            .is_empty()
    );
    assert_eq!(host.count(Counter::IcmpDropIgnored), 1);
}

#[test]
fn an_unknown_protocol_is_reported_with_a_quote() {
    let mut host = host(1500);
    let chain = [extension(UNKNOWN, &[0; 6]), vec![5; 2000]].concat();
    let sent = bytes(header(PEER, OURS, ipv6::NEXT_DESTINATION), &chain);
    let outcome = host.receive([received(sent.clone())]);
    let (header, message, quote) = reply(&mut host, outcome);
    let expected = Message::ParameterProblem {
        code: 1,
        pointer: 40,
    };
    assert_eq!(message, expected);
    assert_eq!(quote, sent[..quote.len()]);
    assert_eq!(header.payload_length, 1240, "as much as every link carries");
}

#[test]
fn what_must_not_be_answered_is_not() {
    let mut host = host(1500);
    let about = |kind| {
        let other = Message::Other {
            kind,
            code: 0,
            rest: [0; 4],
        };
        let inner = icmp(PEER, OURS, other, b"").data;
        // Behind a header that cannot be stepped over.
        let refused = [
            extension(NEXT_ICMPV6, &[0x80, 4, 0, 0, 0, 0]),
            inner[40..].to_vec(),
        ];
        packet(
            header(PEER, OURS, ipv6::NEXT_DESTINATION),
            &refused.concat(),
        )
    };
    for error in [1, 2, 3, 4, 100, 127, 137] {
        assert!(
            host.receive([about(error)]).replies.is_empty(),
            "type {error}"
        );
    }
    assert_eq!(host.receive([about(128)]).replies.len(), 1);
    let unknown = packet(header(PEER, ipv6::ALL_NODES, UNKNOWN), b"x");
    assert!(host.receive([unknown]).replies.is_empty(), "to a group");
}

#[test]
fn errors_are_limited_by_network_and_the_limit_is_counted() {
    let mut host = host(1500);
    let flood = (0..1000_u16).map(|n| {
        let source = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, n, 1);
        packet(header(source, OURS, UNKNOWN), &[0; 8])
    });
    assert_eq!(host.receive(flood).replies.len(), 10);
    assert_eq!(host.count(Counter::IcmpLimited), 990);
}

#[test]
fn errors_about_our_datagrams_reach_the_transport() {
    let mut host = host(1500);
    let unreachable = |code| Message::Unreachable { code };
    let problem = |code, pointer| Message::ParameterProblem { code, pointer };
    let table = [
        (unreachable(0), ErrorKind::Unreachable { code: 0 }),
        (unreachable(1), ErrorKind::Unreachable { code: 13 }),
        (unreachable(3), ErrorKind::Unreachable { code: 1 }),
        (unreachable(4), ErrorKind::PortUnreachable),
        (
            Message::PacketTooBig { mtu: 1400 },
            ErrorKind::TooBig { mtu: 1400 },
        ),
        (Message::TimeExceeded { code: 0 }, ErrorKind::TimeExceeded),
        (problem(1, 6), ErrorKind::ProtocolUnreachable),
        (problem(1, 40), ErrorKind::ParameterProblem),
        (problem(0, 4), ErrorKind::ParameterProblem),
    ];
    let quoted = bytes(header(OURS, STRANGER, ipv4::PROTOCOL_TCP), &[3; 100]);
    for (message, kind) in table {
        let outcome = host.receive([icmp(GATEWAY, OURS, message, &quoted)]);
        let error = &outcome.errors[0];
        assert_eq!(error.kind, kind);
        assert_eq!(error.reporter, IpAddr::from(GATEWAY));
        assert_eq!(
            (error.source, error.destination),
            (OURS.into(), STRANGER.into())
        );
        assert_eq!((error.protocol, &error.quoted[..8]), (6, &[3; 8][..]));
    }
}

#[test]
fn errors_about_others_are_ignored() {
    let mut host = host(1500);
    let others = [
        header(PEER, STRANGER, 17),
        header(OURS, ipv6::ALL_NODES, 17),
    ];
    for other in others {
        let quoted = bytes(other, &[0; 16]);
        let error = icmp(GATEWAY, OURS, Message::Unreachable { code: 4 }, &quoted);
        assert!(host.receive([error]).errors.is_empty());
    }
    assert_eq!(host.count(Counter::IcmpDropIgnored), 2);
}

#[test]
fn we_can_ask_for_echoes_too() {
    let mut host = host(1500);
    let data = Bytes::from_static(b"hello");
    let (a, b) = (OURS.into(), PEER.into());
    let request = echo_request(&host.ip, a, b, (1, 2), data.clone());
    let (packets, _) = host.send([request]);
    let mut peer = host_at(1500, PEER);
    let outcome = peer.receive(packets.iter().map(|packet| received(packet.frame.to_vec())));
    let (packets, _) = peer.send(outcome.replies);
    let outcome = host.receive(packets.iter().map(|packet| received(packet.frame.to_vec())));
    let expected = Echo {
        source: b,
        identifier: 1,
        sequence: 2,
        data,
    };
    assert_eq!(outcome.echoes, [expected]);
}
