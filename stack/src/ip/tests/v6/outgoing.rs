//! What leaves a host, and by which way.

use super::*;
use crate::packet::{Checksum, PartialChecksum, Segmentation, SegmentationKind};

#[test]
fn the_header_says_what_the_transport_asked_for() {
    let mut host = host(1500);
    let asked = TxDatagram {
        tos: 0xb9,
        ttl: 7,
        ..datagram(PEER, b"payload")
    };
    let (packets, _) = host.send([asked]);
    let (header, payload) = decoded(&packets[0]);
    assert_eq!(payload, b"payload");
    assert_eq!(
        (header.source, header.destination),
        (OURS.octets(), PEER.octets())
    );
    assert_eq!((header.traffic_class, header.hop_limit), (0xb9, 7));
    assert_eq!(header.next_header.0, UNKNOWN);
}

#[test]
fn every_flow_has_a_label_of_its_own() {
    let mut host = host(1500);
    let mut label = |ports: [u8; 4]| {
        let mut flow = datagram(PEER, b"data");
        flow.frame.head.prepend(4).copy_from_slice(&ports);
        let (packets, _) = host.send([flow]);
        decoded(&packets[0]).0.flow_label.value()
    };
    let (a, b) = ([0, 80, 1, 1], [0, 80, 1, 2]);
    assert_eq!(label(a), label(a));
    assert_ne!(label(a), label(b));
}

#[test]
fn next_hops_follow_routes_and_groups_need_none() {
    let mut host = host(1500);
    let group = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0xfb);
    let link_local = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 2);
    let table = [
        (PEER, PEER),
        (STRANGER, GATEWAY),
        (link_local, link_local),
        (group, group),
    ];
    let (packets, _) = host.send(table.map(|(destination, _)| datagram(destination, b"x")));
    let hops: Vec<_> = packets.iter().map(|packet| packet.next_hop).collect();
    assert_eq!(hops, table.map(|(_, next_hop)| IpAddr::from(next_hop)));
}

#[test]
fn sources_fit_the_way() {
    let host = host(1500);
    let source = |to: &str| host.ip.path(to.parse().unwrap(), None).unwrap().source;
    let link_local = IpAddr::from(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1));
    assert_eq!(source("fd00::9"), OURS);
    assert_eq!(source("2001:db8::9"), OURS);
    assert_eq!(source("fe80::9"), link_local);
    assert_eq!(source("ff02::fb"), link_local);
    assert_eq!(source("ff0e::fb"), OURS);
}

#[test]
fn what_is_for_ourselves_comes_back_verified() {
    let mut host = host(1500);
    for (source, destination) in [(OURS, OURS), (Ipv6Addr::LOCALHOST, Ipv6Addr::LOCALHOST)] {
        let to_self = TxDatagram {
            source: source.into(),
            protocol: ipv4::PROTOCOL_TCP,
            ..datagram(destination, &[7; 20_000])
        };
        let (packets, loopback) = host.send([to_self]);
        assert!(packets.is_empty());
        let outcome = host.receive(loopback);
        assert_eq!(outcome.tcp[0].payload, &[7; 20_000][..]);
        assert!(outcome.tcp[0].checksum_ok);
    }
}

#[test]
fn segments_for_the_device_to_cut_are_not_too_large_but_bounded() {
    let mut host = host(1500);
    let segment = |len: usize| {
        let mut large = datagram(PEER, &vec![0; len]);
        large.may_fragment = false;
        large.frame.checksum = Checksum::Partial(PartialChecksum {
            start: 0,
            offset: 16,
        });
        large.frame.segmentation = Some(Segmentation {
            kind: SegmentationKind::Tcp6,
            size: 1440,
            header_len: 20,
            ecn: false,
        });
        large
    };
    let (packets, _) = host.send([segment(65_535), segment(65_536)]);
    assert_eq!(packets.len(), 1, "no header can describe the second");
    assert_eq!(host.count(Counter::IpDropTooBig), 1);
    assert_eq!(packets[0].frame.segmentation.unwrap().header_len, 60);
    let shifted = PartialChecksum {
        start: 40,
        offset: 16,
    };
    assert_eq!(packets[0].frame.checksum, Checksum::Partial(shifted));
}

#[test]
fn what_may_not_be_cut_is_left_to_routers_or_dropped() {
    let mut host = host(1500);
    let whole = |len| TxDatagram {
        may_fragment: false,
        ..datagram(STRANGER, &vec![0; len])
    };
    host.ip.lower_mtu(NOW, STRANGER.into(), 1280);
    let (packets, _) = host.send([whole(1400), whole(1461)]);
    assert_eq!(packets.len(), 1);
    assert_eq!(host.count(Counter::IpDropTooBig), 1);
    let (packets, _) = host.send([datagram(STRANGER, &[0; 1400])]);
    assert_eq!(packets.len(), 2, "what may be cut is");
}
