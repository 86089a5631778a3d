//! What a host takes and what it refuses (RFC 1122 §3.2.1, §3.3.6).

use proptest::prelude::*;

use super::*;
use crate::packet::{PartialChecksum, RxChecksum, Segmentation, SegmentationKind};

#[test]
fn a_datagram_reaches_its_transport_without_header_and_padding() {
    let mut host = Host::new(1500);
    let mut tcp = header(PEER, OURS, ipv4::PROTOCOL_TCP);
    tcp.tos = 0x2e << 2 | 1;
    tcp.ttl = 3;
    let mut padded = bytes_with_options(tcp, &[], b"segment");
    padded.extend([0; 19]);
    let udp = bytes_with_options(
        header(STRANGER, OURS, ipv4::PROTOCOL_UDP),
        &[1, 1, 1, 0],
        b"data",
    );
    let outcome = host.receive([received(padded), received(udp)]);

    let segment = &outcome.tcp[0];
    assert_eq!(segment.payload, &b"segment"[..]);
    assert_eq!(segment.original.len(), 27);
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
fn what_the_carrier_knows_about_checksums_and_merging_is_passed_on() {
    let mut host = Host::new(1500);
    let bytes = bytes_with_options(header(PEER, OURS, ipv4::PROTOCOL_TCP), &[], &[0; 100]);
    let with = |checksum| RxPacket {
        checksum,
        ..received(bytes.clone())
    };
    let partial = |start| RxChecksum::Partial(PartialChecksum { start, offset: 16 });
    let mut merged = with(RxChecksum::Verified);
    merged.segmentation = Some(Segmentation {
        kind: SegmentationKind::Tcp4,
        size: 40,
        header_len: 40,
        ecn: false,
    });
    let outcome = host.receive([
        with(RxChecksum::Unknown),
        with(RxChecksum::Verified),
        with(partial(20)),
        with(partial(19)),
        merged,
    ]);
    let known: Vec<_> = outcome
        .tcp
        .iter()
        .map(|segment| segment.checksum_ok)
        .collect();
    assert_eq!(known, [false, true, true, false, true]);
    assert_eq!(outcome.tcp[3].segment_bytes, None);
    assert_eq!(outcome.tcp[4].segment_bytes, Some(40));
}

#[test]
fn sources_that_no_datagram_can_have_are_refused() {
    let sources = [
        "0.0.0.0",
        "0.1.2.3",
        "127.0.0.1",
        "224.0.0.1",
        "255.255.255.255",
        "10.0.0.255", // our network's broadcast address
        "10.0.0.1",   // ourselves: a land attack
    ];
    for source in sources {
        for protocol in [ipv4::PROTOCOL_ICMP, ipv4::PROTOCOL_TCP, UNKNOWN] {
            let mut host = Host::new(1500);
            let source = source.parse().unwrap();
            let outcome = host.receive([packet(
                header(source, OURS, protocol),
                &[8, 0, 0xf7, 0xff, 0, 0, 0, 0],
            )]);
            assert_eq!(host.count(Counter::IpDropSource), 1, "{source}");
            assert!(outcome.tcp.is_empty() && outcome.replies.is_empty());
        }
    }
}

#[test]
fn only_what_is_for_this_host_is_taken() {
    let mut host = Host::new(1500);
    host.ip.join(IpAddr::from([239, 1, 2, 3]));
    let table = [
        ("10.0.0.1", Cast::Unicast, Some(Cast::Unicast)),
        ("10.0.0.3", Cast::Unicast, None),
        ("127.0.0.1", Cast::Unicast, None),
        ("10.0.0.255", Cast::Broadcast, Some(Cast::Broadcast)),
        ("10.0.0.255", Cast::Unicast, Some(Cast::Broadcast)),
        ("255.255.255.255", Cast::Broadcast, Some(Cast::Broadcast)),
        ("224.0.0.1", Cast::Multicast, Some(Cast::Multicast)),
        ("239.1.2.3", Cast::Multicast, Some(Cast::Multicast)),
        ("239.1.2.4", Cast::Multicast, None),
        // To one host by IP but to all by link: RFC 1122 §3.3.6.
        ("10.0.0.1", Cast::Broadcast, None),
        ("10.0.0.1", Cast::Multicast, None),
    ];
    for (destination, link, expected) in table {
        let to = destination.parse().unwrap();
        let packet = RxPacket {
            cast: link,
            ..packet(header(PEER, to, ipv4::PROTOCOL_UDP), b"data")
        };
        let before = host.count(Counter::IpDropForeign);
        let outcome = host.receive([packet]);
        assert_eq!(
            outcome.udp.first().map(|datagram| datagram.cast),
            expected,
            "{destination} {link:?}"
        );
        let dropped = host.count(Counter::IpDropForeign) - before;
        assert_eq!(dropped, u64::from(expected.is_none()));
    }
    host.ip.leave(IpAddr::from([239, 1, 2, 3]));
    let to = Ipv4Addr::new(239, 1, 2, 3);
    let outcome = host.receive([packet(header(PEER, to, ipv4::PROTOCOL_UDP), b"data")]);
    assert!(outcome.udp.is_empty());
}

#[test]
fn damage_is_dropped_and_counted() {
    let mut host = Host::new(1500);
    let good = bytes_with_options(header(PEER, OURS, ipv4::PROTOCOL_UDP), &[], b"data");
    for at in 0..20 {
        for bit in 0..8 {
            let mut bad = good.clone();
            bad[at] ^= 1 << bit;
            let outcome = host.receive([received(bad)]);
            assert!(outcome.udp.is_empty() && outcome.tcp.is_empty() && outcome.replies.is_empty());
        }
    }
    let counted = [Counter::IpDropChecksum, Counter::IpDropMalformed];
    assert_eq!(
        counted
            .map(|counter| host.count(counter))
            .iter()
            .sum::<u64>(),
        160
    );
    host.receive([received(good[..23].to_vec())]);
    assert_eq!(
        counted
            .map(|counter| host.count(counter))
            .iter()
            .sum::<u64>(),
        161
    );
}

#[test]
fn source_routes_are_not_honoured() {
    let mut host = Host::new(1500);
    let route = [131, 7, 4, 10, 0, 0, 9, 0];
    let bytes = bytes_with_options(header(PEER, OURS, ipv4::PROTOCOL_UDP), &route, b"data");
    assert!(host.receive([received(bytes)]).udp.is_empty());
    assert_eq!(host.count(Counter::IpDropSourceRoute), 1);
}

#[test]
fn an_added_address_is_ours_until_it_is_removed() {
    let mut host = Host::new(1500);
    let service = Ipv4Addr::new(192, 0, 2, 7);
    let arrives = |host: &mut Host| {
        let outcome = host.receive([packet(header(PEER, service, ipv4::PROTOCOL_UDP), b"x")]);
        outcome.udp.len() == 1
    };
    assert!(!arrives(&mut host));
    assert!(host.ip.add_address("192.0.2.7/32".parse().unwrap()));
    assert!(!host.ip.add_address("192.0.2.7/32".parse().unwrap()));
    assert!(arrives(&mut host));
    assert!(host.ip.remove_address(service.into()));
    assert!(!host.ip.remove_address(service.into()));
    assert!(!arrives(&mut host));
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(packets in proptest::collection::vec(
        proptest::collection::vec(any::<u8>(), 0..200), 1..20,
    )) {
        let mut host = Host::new(1500);
        host.receive(packets.into_iter().map(received));
        host.poll(NOW + Duration::from_secs(100));
    }

    #[test]
    fn nearly_right_datagrams_never_panic(
        fields: (u8, u16, bool, bool, u16, u8),
        protocol in prop_oneof![Just(1_u8), Just(6), Just(17), any::<u8>()],
        options in proptest::collection::vec(any::<u8>(), 0..=40),
        payload in proptest::collection::vec(any::<u8>(), 0..200),
        to_us in any::<bool>(),
    ) {
        let (tos, identification, dont_fragment, more_fragments, offset, ttl) = fields;
        let mut host = Host::new(1500);
        let header = ipv4::Header {
            tos, identification, dont_fragment, more_fragments, ttl,
            fragment_offset: offset & 0xfff8,
            ..header(PEER, if to_us { OURS } else { Ipv4Addr::BROADCAST }, protocol)
        };
        let bytes = bytes_with_options(header, &options, &payload);
        let outcome = host.receive([received(bytes)]);
        host.send(outcome.replies);
        let late = host.poll(NOW + Duration::from_secs(100));
        host.send(late.replies);
    }
}
