//! What leaves a host, and by which way.

use super::*;
use crate::packet::{Checksum, PartialChecksum, Segmentation, SegmentationKind};

#[test]
fn the_header_says_what_the_transport_asked_for() {
    let mut host = Host::new(1500);
    let asked = TxDatagram {
        tos: 0xb8,
        ttl: 7,
        may_fragment: false,
        options: Some([148, 4, 0, 0].into()),
        ..datagram(PEER, b"payload")
    };
    let (packets, _) = host.send([asked]);
    let (header, payload) = decoded(&packets[0]);
    assert_eq!(payload, b"payload");
    assert_eq!(
        (header.source, header.destination),
        (OURS.octets(), PEER.octets())
    );
    assert_eq!(
        (header.dscp.value(), header.ecn.value(), header.time_to_live),
        (0x2e, 0, 7)
    );
    assert_eq!(
        (header.protocol.0, header.options.as_slice()),
        (UNKNOWN, &[148, 4, 0, 0][..])
    );
    assert!(header.dont_fragment && !header.more_fragments);
}

#[test]
fn a_device_may_cut_more_than_the_total_length_can_say() {
    let mut host = Host::new(1500);
    let mut large = datagram(PEER, &[7; 100_000]);
    host.send([large.clone()]);
    assert_eq!(host.count(Counter::IpDropTooBig), 1);
    large.frame.segmentation = Some(Segmentation {
        kind: SegmentationKind::Tcp4,
        size: 1448,
        header_len: 20,
        ecn: false,
    });
    let (packets, _) = host.send([large]);
    let bytes = packets[0].frame.to_vec();
    assert_eq!(bytes.len(), 20 + 100_000);
    assert_eq!(bytes[2..4], [0, 0]);
    assert_eq!(checksum::checksum(&bytes[..20]), 0);
}

#[test]
fn next_hops_follow_routes_and_broadcasts_share_one() {
    let mut host = Host::new(1500);
    let table = [
        (PEER, PEER),
        (STRANGER, GATEWAY),
        (Ipv4Addr::new(10, 0, 0, 255), Ipv4Addr::BROADCAST),
        (Ipv4Addr::BROADCAST, Ipv4Addr::BROADCAST),
        (Ipv4Addr::new(239, 1, 2, 3), Ipv4Addr::new(239, 1, 2, 3)),
    ];
    let (packets, loopback) = host.send(table.map(|(destination, _)| datagram(destination, b"x")));
    let hops: Vec<_> = packets.iter().map(|packet| packet.next_hop).collect();
    assert_eq!(hops, table.map(|(_, next_hop)| IpAddr::from(next_hop)));
    assert!(loopback.is_empty());
}

#[test]
fn without_a_route_there_is_a_count_and_an_error() {
    let mut host = Host::with(1500, OURS, |config| config.routes.clear());
    let (packets, _) = host.send([datagram(STRANGER, b"x")]);
    assert!(packets.is_empty());
    assert_eq!(host.count(Counter::IpDropNoRoute), 1);
    let destination = STRANGER.into();
    assert_eq!(
        host.ip.path(destination, None),
        Err(NoRoute { destination })
    );
    let v6: IpAddr = "2001:db8::1".parse().unwrap();
    assert_eq!(host.ip.path(v6, None), Err(NoRoute { destination: v6 }));
}

#[test]
fn what_is_for_ourselves_comes_back_verified() {
    let mut host = Host::new(1500);
    for (source, destination) in [
        (OURS, OURS),
        (Ipv4Addr::LOCALHOST, Ipv4Addr::new(127, 1, 2, 3)),
    ] {
        let to_self = TxDatagram {
            source: source.into(),
            protocol: ipv4::PROTOCOL_TCP,
            ..datagram(destination, &[7; 20_000])
        };
        let (packets, loopback) = host.send([to_self]);
        assert!(packets.is_empty());
        let outcome = host.receive(loopback);
        let segment = &outcome.tcp[0];
        assert_eq!(segment.payload, &[7; 20_000][..]);
        assert_eq!(
            (segment.source, segment.destination),
            (source.into(), destination.into())
        );
        assert!(segment.checksum_ok && segment.cast == Cast::Unicast);
    }
    let path = host.ip.path(OURS.into(), None).unwrap();
    assert_eq!((path.source, path.mtu), (OURS.into(), 65_535));
}

#[test]
fn sources_fit_the_way() {
    let host = Host::with(1500, OURS, |config| {
        config.addresses.push("192.168.7.1/24".parse().unwrap());
        config.addresses.push("192.168.7.2/24".parse().unwrap());
    });
    let source = |destination: [u8; 4]| host.ip.path(destination.into(), None).unwrap().source;
    assert_eq!(source([10, 0, 0, 9]), OURS);
    assert_eq!(source([192, 168, 7, 9]), IpAddr::from([192, 168, 7, 1]));
    assert_eq!(source([203, 0, 113, 9]), OURS, "the gateway's network");
    let asked = host
        .ip
        .path([10, 0, 0, 9].into(), Some([192, 168, 7, 2].into()));
    assert_eq!(asked.unwrap().source, IpAddr::from([192, 168, 7, 2]));
}

#[test]
fn segments_for_the_device_to_cut_are_not_too_large() {
    let mut host = Host::new(1500);
    let mut large = datagram(PEER, &[0; 30_000]);
    large.may_fragment = false;
    large.frame.head.prepend(20);
    large.frame.checksum = Checksum::Partial(PartialChecksum {
        start: 0,
        offset: 16,
    });
    large.frame.segmentation = Some(Segmentation {
        kind: SegmentationKind::Tcp4,
        size: 1460,
        header_len: 20,
        ecn: false,
    });
    let (packets, _) = host.send([large]);
    assert_eq!(packets.len(), 1);
    assert_eq!(packets[0].frame.segmentation.unwrap().header_len, 40);
    let shifted = PartialChecksum {
        start: 20,
        offset: 16,
    };
    assert_eq!(packets[0].frame.checksum, Checksum::Partial(shifted));
}

#[test]
fn devices_that_cut_segments_allow_large_ones() {
    let capabilities = Capabilities {
        tso4: true,
        max_segmented_bytes: 65_535,
        ..Capabilities::plain_ethernet([2, 0, 0, 0, 0, 1], 1500)
    };
    let config = Config {
        addresses: vec!["10.0.0.1/24".parse().unwrap()],
        ..Config::default()
    };
    let ip = Ip::new(config, &capabilities, Arc::default(), [0; 16]);
    let path = ip.path(PEER.into(), None).unwrap();
    assert_eq!((path.mtu, path.max_segmented_bytes), (1500, 65_535));
    ip.lower_mtu(NOW, PEER.into(), 1400);
    let path = ip.path(PEER.into(), None).unwrap();
    assert_eq!((path.mtu, path.max_segmented_bytes), (1400, 65_535));
}

#[test]
fn a_narrow_path_narrows_and_widens_again() {
    let mut host = Host::new(1500);
    assert_eq!(host.ip.lower_mtu(NOW, STRANGER.into(), 1400), 1400);
    assert_eq!(host.ip.lower_mtu(NOW, STRANGER.into(), 9000), 1400);
    let path = host.ip.path(STRANGER.into(), None).unwrap();
    assert_eq!((path.mtu, path.max_segmented_bytes), (1400, 1400));
    assert_eq!(host.ip.path(PEER.into(), None).unwrap().mtu, 1500);
    assert_eq!(
        host.reader.next_deadline(),
        Some(NOW + Duration::from_secs(600))
    );
    host.poll(NOW + Duration::from_secs(600));
    assert_eq!(host.ip.path(STRANGER.into(), None).unwrap().mtu, 1500);
    assert_eq!(host.reader.next_deadline(), None);
    assert_eq!(host.ip.report_black_hole(NOW, STRANGER.into(), 1500), 1280);
}

#[test]
fn df_is_kept_unless_the_path_is_narrower_than_we_believe() {
    let mut host = Host::new(1500);
    let whole = |len| TxDatagram {
        may_fragment: false,
        ..datagram(STRANGER, &vec![0; len])
    };
    host.ip.lower_mtu(NOW, STRANGER.into(), 1000);
    let (packets, _) = host.send([whole(1200), whole(1481)]);
    assert_eq!(packets.len(), 1, "what the link does not carry is dropped");
    assert!(
        decoded(&packets[0]).0.dont_fragment,
        "the router says what it carries"
    );
    assert_eq!(host.count(Counter::IpDropTooBig), 1);
    host.ip.lower_mtu(NOW, STRANGER.into(), 300);
    let (packets, _) = host.send([whole(500), whole(700)]);
    assert_eq!(packets.len(), 3);
    assert!(
        packets
            .iter()
            .all(|packet| !decoded(packet).0.dont_fragment)
    );
}

#[test]
fn a_dead_gateway_is_replaced_for_a_while() {
    let second = Ipv4Addr::new(10, 0, 0, 253);
    let mut host = Host::with(1500, OURS, |config| {
        config.routes.push(Route::default_via(second.into()));
    });
    let hop = |host: &mut Host| host.send([datagram(STRANGER, b"x")]).0[0].next_hop;
    assert_eq!(hop(&mut host), GATEWAY);
    host.ip.report_unreachable(NOW, PEER.into());
    assert_eq!(host.reader.next_deadline(), None, "not a gateway");
    host.ip.report_unreachable(NOW, GATEWAY.into());
    assert_eq!(hop(&mut host), second);
    let later = host.reader.next_deadline().unwrap();
    host.poll(later);
    assert_eq!(hop(&mut host), GATEWAY);
}
