//! What a host takes and what it refuses (RFC 8200 §4).

use proptest::prelude::*;

use super::*;
use crate::packet::{PartialChecksum, RxChecksum};
use crate::wire::ipv6::{
    NEXT_DESTINATION, NEXT_FRAGMENT, NEXT_HOP_BY_HOP, NEXT_NONE, NEXT_ROUTING,
};

const TCP: u8 = ipv4::PROTOCOL_TCP;
const UDP: u8 = ipv4::PROTOCOL_UDP;

#[test]
fn a_datagram_reaches_its_transport_without_headers_and_padding() {
    let mut host = host(1500);
    let mut head = header(PEER, OURS, TCP);
    (head.traffic_class, head.hop_limit) = (0xb9, 3);
    let mut padded = bytes(head, b"segment");
    padded.extend([0; 9]);
    let outcome = host.receive([
        received(padded),
        packet(header(STRANGER, OURS, UDP), b"data"),
    ]);
    let segment = &outcome.tcp[0];
    assert_eq!(segment.payload, &b"segment"[..]);
    assert_eq!(segment.original.len(), 47);
    assert_eq!(
        (segment.source, segment.destination),
        (PEER.into(), OURS.into())
    );
    assert_eq!(
        (segment.tos, segment.ttl, segment.cast),
        (0xb9, 3, Cast::Unicast)
    );
    assert!(!segment.checksum_ok);
    assert_eq!(outcome.udp[0].payload, &b"data"[..]);
    assert!(outcome.replies.is_empty());
}

#[test]
fn harmless_extension_headers_are_stepped_over() {
    let mut host = host(1500);
    let chain = [
        // Router alert, padding.
        extension(NEXT_DESTINATION, &[5, 2, 0, 0, 1, 0]),
        // An unknown option that may be skipped, and a route that is at its end.
        extension(NEXT_ROUTING, &[0x1e, 4, 1, 2, 3, 4]),
        extension(NEXT_DESTINATION, &[0, 0, 1, 2, 3, 4]),
        extension(UDP, &[1, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
        b"data".to_vec(),
    ]
    .concat();
    let mut packet = packet(header(PEER, OURS, NEXT_HOP_BY_HOP), &chain);
    packet.checksum = RxChecksum::Partial(PartialChecksum {
        start: 40 + 40,
        offset: 6,
    });
    let outcome = host.receive([packet]);
    assert_eq!(outcome.udp[0].payload, &b"data"[..]);
    assert!(
        outcome.udp[0].checksum_ok,
        "offsets count from the transport"
    );
    assert!(outcome.replies.is_empty());
}

/// What the host says to this chain of headers, sent to `destination`: type, code, pointer.
fn answer(destination: Ipv6Addr, first: u8, chain: &[u8]) -> (Option<(u8, u8, u32)>, u64) {
    let mut host = host(1500);
    let sent = bytes(header(PEER, destination, first), chain);
    let outcome = host.receive([received(sent.clone())]);
    assert!(outcome.tcp.is_empty() && outcome.udp.is_empty());
    let dropped = host.count(Counter::IpDropExtension) + host.count(Counter::IpDropSourceRoute);
    let (packets, _) = host.send(outcome.replies);
    let answer = packets.first().map(|packet| {
        let (_, message) = decoded(packet);
        let pointer = u32::from_be_bytes(message[4..8].try_into().unwrap());
        assert_eq!(message[8..], sent, "the datagram is quoted");
        (message[0], message[1], pointer)
    });
    (answer, dropped)
}

#[test]
fn unknown_options_are_dealt_with_as_they_ask() {
    let group = ipv6::ALL_NODES;
    let with = |kind: u8| extension(UDP, &[1, 0, kind, 2, 0, 0]);
    let table = [
        (OURS, 0x40, None),
        (OURS, 0x80, Some((4, 2, 44))),
        (OURS, 0xc0, Some((4, 2, 44))),
        (group, 0x40, None),
        (group, 0x80, Some((4, 2, 44))),
        (group, 0xc0, None),
    ];
    for (destination, kind, expected) in table {
        for first in [NEXT_HOP_BY_HOP, NEXT_DESTINATION] {
            let got = answer(destination, first, &with(kind));
            assert_eq!(got, (expected, 1), "{destination} {kind:#x}");
        }
    }
}

#[test]
fn source_routes_are_refused() {
    let route = extension(UDP, &[0, 1, 0, 0, 0, 0]);
    assert_eq!(answer(OURS, NEXT_ROUTING, &route), (Some((4, 0, 42)), 1));
    let segment_routing = extension(UDP, &[4, 1, 0, 0, 0, 0]);
    assert_eq!(
        answer(OURS, NEXT_ROUTING, &segment_routing),
        (Some((4, 0, 42)), 1)
    );
}

#[test]
fn hop_by_hop_options_come_first_or_not_at_all() {
    let chain = [extension(NEXT_HOP_BY_HOP, &[0; 6]), extension(UDP, &[0; 6])];
    let got = answer(OURS, NEXT_DESTINATION, &chain.concat());
    assert_eq!(got, (Some((4, 1, 40)), 1));
}

#[test]
fn headers_and_options_are_bounded() {
    let headers = |count: usize| {
        let mut chain: Vec<u8> = (1..count)
            .flat_map(|_| extension(NEXT_DESTINATION, &[0; 6]))
            .collect();
        chain.extend(extension(UDP, &[0; 6]));
        chain.extend(b"data");
        packet(header(PEER, OURS, NEXT_DESTINATION), &chain)
    };
    let options = |count: usize| {
        let mut content = [0x1e, 0].repeat(count);
        content.resize(6 + 32 * 2, 0);
        let chain = [extension(UDP, &content), b"data".to_vec()].concat();
        packet(header(PEER, OURS, NEXT_DESTINATION), &chain)
    };
    let mut host = host(1500);
    let outcome = host.receive([headers(8), options(16)]);
    assert_eq!(outcome.udp.len(), 2);
    let outcome = host.receive([headers(9), options(17)]);
    assert!(outcome.udp.is_empty() && outcome.replies.is_empty());
    assert_eq!(host.count(Counter::IpDropExtension), 2);
}

#[test]
fn a_chain_longer_than_its_datagram_is_malformed() {
    let mut host = host(1500);
    let outcome = host.receive([
        packet(header(PEER, OURS, NEXT_DESTINATION), &[UDP]),
        packet(
            header(PEER, OURS, NEXT_DESTINATION),
            &[UDP, 1, 0, 0, 0, 0, 0, 0],
        ),
        packet(header(PEER, OURS, NEXT_ROUTING), &[UDP, 0]),
        packet(header(PEER, OURS, NEXT_FRAGMENT), &[UDP, 0, 0, 0]),
    ]);
    assert!(outcome.udp.is_empty() && outcome.replies.is_empty());
    assert_eq!(host.count(Counter::IpDropMalformed), 4);
}

#[test]
fn nothing_behind_the_headers_is_no_error() {
    let mut host = host(1500);
    let outcome = host.receive([packet(header(PEER, OURS, NEXT_NONE), b"ignored")]);
    assert!(outcome.replies.is_empty());
    assert_eq!(host.count(Counter::IpDropProtocol), 1);
}

#[test]
fn sources_that_no_datagram_can_have_are_refused() {
    for source in ["::", "::1", "ff02::1", "::ffff:10.0.0.2", "fd00::1"] {
        let mut host = host(1500);
        let outcome = host.receive([packet(header(source.parse().unwrap(), OURS, UDP), b"x")]);
        assert!(outcome.udp.is_empty(), "{source}");
        assert_eq!(host.count(Counter::IpDropSource), 1, "{source}");
    }
}

#[test]
fn only_what_is_for_this_host_is_taken() {
    let mut host = host(1500);
    host.ip.join("ff05::7".parse().unwrap());
    let table = [
        ("fd00::1", Cast::Unicast, Some(Cast::Unicast)),
        ("fe80::1", Cast::Unicast, Some(Cast::Unicast)),
        ("fd00::3", Cast::Unicast, None),
        ("::1", Cast::Unicast, None),
        ("ff02::1", Cast::Multicast, Some(Cast::Multicast)),
        ("ff02::1:ff00:1", Cast::Multicast, Some(Cast::Multicast)),
        ("ff02::1:ff00:2", Cast::Multicast, None),
        ("ff05::7", Cast::Multicast, Some(Cast::Multicast)),
        ("ff05::8", Cast::Multicast, None),
        ("fd00::1", Cast::Multicast, None),
    ];
    for (destination, link, expected) in table {
        let packet = RxPacket {
            cast: link,
            ..packet(header(PEER, destination.parse().unwrap(), UDP), b"data")
        };
        let outcome = host.receive([packet]);
        let cast = outcome.udp.first().map(|datagram| datagram.cast);
        assert_eq!(cast, expected, "{destination} {link:?}");
    }
}

proptest! {
    #[test]
    fn arbitrary_chains_never_panic(
        first in prop_oneof![Just(0_u8), Just(43), Just(44), Just(60), Just(58), any::<u8>()],
        mut payload in proptest::collection::vec(any::<u8>(), 0..300),
        kinds in proptest::collection::vec((any::<prop::sample::Index>(), prop_oneof![Just(0_u8), Just(43), Just(44), Just(60), Just(58)]), 0..8),
        cut: prop::sample::Index,
    ) {
        for (at, kind) in kinds {
            if !payload.is_empty() {
                let at = at.index(payload.len());
                payload[at] = kind;
            }
        }
        let mut host = host(1500);
        let whole = bytes(header(PEER, OURS, first), &payload);
        let short = whole[..cut.index(whole.len())].to_vec();
        let outcome = host.receive([received(whole), received(short)]);
        host.send(outcome.replies);
        let late = host.poll(NOW + Duration::from_secs(100));
        host.send(late.replies);
    }
}
