//! Frames in and out: who they are for, tags, offload facts, ARP and conflicts.

use outlive_driver::Medium;
use proptest::prelude::*;

use super::*;
use crate::checksum;
use crate::ip::Cast;
use crate::packet::{Checksum, PartialChecksum, RxChecksum, Segmentation, SegmentationKind};

#[test]
fn frames_go_up_by_how_they_were_addressed() {
    let table = [
        (OUR_MAC, Some(Cast::Unicast)),
        (MacAddr::BROADCAST, Some(Cast::Broadcast)),
        (MacAddr([1, 0, 0x5e, 0, 0, 1]), Some(Cast::Multicast)),
        (MacAddr([2, 0, 0, 0, 0, 9]), None),
    ];
    for (destination, expected) in table {
        let mut station = Station::new();
        let outcome = station.receive(
            NOW,
            [frame(from_peer(destination, wire::TYPE_IPV4), b"datagram")],
        );
        assert_eq!(outcome.packets.first().map(|packet| packet.cast), expected);
        assert!(
            outcome
                .packets
                .iter()
                .all(|packet| packet.data == b"datagram"[..])
        );
        assert_eq!(
            station.count(Counter::EthernetDropForeign),
            u64::from(expected.is_none())
        );
    }
}

#[test]
fn senders_that_are_no_stations_are_refused() {
    for source in [MacAddr::BROADCAST, MacAddr([1, 0, 0x5e, 0, 0, 1]), OUR_MAC] {
        let mut station = Station::new();
        let header = wire::Header {
            source,
            ..from_peer(OUR_MAC, wire::TYPE_IPV4)
        };
        assert!(
            station
                .receive(NOW, [frame(header, b"x")])
                .packets
                .is_empty()
        );
        assert_eq!(station.count(Counter::EthernetDropForeign), 1);
    }
}

#[test]
fn what_is_not_spoken_or_cut_short_is_counted() {
    let mut station = Station::new();
    let outcome = station.receive(
        NOW,
        [
            frame(from_peer(OUR_MAC, 0x88cc), b"LLDP"),
            frame(from_peer(OUR_MAC, 60), b"802.3"),
            RxFrame {
                data: Bytes::from_static(&[2; 13]),
                ..RxFrame::default()
            },
            frame(from_peer(OUR_MAC, wire::TYPE_ARP), b"too short"),
        ],
    );
    assert!(outcome.packets.is_empty() && outcome.replies.is_empty());
    assert_eq!(station.count(Counter::EthernetDropType), 2);
    assert_eq!(station.count(Counter::EthernetDropTruncated), 1);
    assert_eq!(station.count(Counter::ArpDropMalformed), 1);
    assert_eq!(station.count(Counter::EthernetRxFrames), 4);
}

#[test]
fn only_frames_of_our_vlan_are_taken_wherever_the_tag_is() {
    let table = [
        (None, None, None, true),
        (None, Some(5), None, false),
        (None, None, Some(5), false),
        (None, Some(3 << 13), None, true),
        (Some(5), None, None, false),
        (Some(5), Some(5), None, true),
        (Some(5), None, Some(7 << 13 | 5), true),
        (Some(5), Some(6), None, false),
        (Some(5), Some(0), Some(5), true),
        (Some(5), Some(5), Some(5), false),
    ];
    for (ours, beside, inside, taken) in table {
        let capabilities = Capabilities::plain_ethernet(OUR_MAC.0, 1500);
        let mut station = Station::with(&capabilities, |config| config.vlan = ours);
        let header = wire::Header {
            vlan_tci: inside,
            ..from_peer(OUR_MAC, wire::TYPE_IPV4)
        };
        let mut frame = frame(header, b"datagram");
        frame.vlan_tci = beside;
        let outcome = station.receive(NOW, [frame]);
        assert_eq!(
            outcome.packets.len(),
            usize::from(taken),
            "{ours:?} {beside:?} {inside:?}"
        );
        assert!(
            outcome
                .packets
                .iter()
                .all(|packet| packet.data == b"datagram"[..])
        );
        assert_eq!(station.count(Counter::EthernetDropVlan), u64::from(!taken));
    }
}

#[test]
fn our_vlan_is_on_all_that_leaves() {
    let capabilities = Capabilities::plain_ethernet(OUR_MAC.0, 1500);
    let mut station = Station::with(&capabilities, |config| config.vlan = Some(5));
    let frames = station.send(
        NOW,
        [packet(Ipv4Addr::BROADCAST, b"data"), packet(PEER, b"data")],
    );
    assert_eq!(frames.len(), 2, "data and a question");
    for frame in frames {
        assert_eq!(wire::parse(&frame.to_vec()).unwrap().vlan_tci, Some(5));
    }
}

#[test]
fn offload_facts_count_from_the_datagram_above_and_the_frame_below() {
    let mut station = Station::with(
        &Capabilities {
            tx_checksum: true,
            ..Capabilities::plain_ethernet(OUR_MAC.0, 1500)
        },
        |_| {},
    );
    let partial = |start| PartialChecksum { start, offset: 16 };
    let segmentation = |header_len| Segmentation {
        kind: SegmentationKind::Tcp4,
        size: 1448,
        header_len,
        ecn: false,
    };
    let mut up = frame(from_peer(OUR_MAC, wire::TYPE_IPV4), &[0; 60]);
    up.checksum = RxChecksum::Partial(partial(34));
    up.segmentation = Some(segmentation(66));
    let outcome = station.receive(NOW, [up]);
    assert_eq!(
        outcome.packets[0].checksum,
        RxChecksum::Partial(partial(20))
    );
    assert_eq!(outcome.packets[0].segmentation, Some(segmentation(52)));

    let mut down = packet(Ipv4Addr::BROADCAST, &[0; 60]);
    down.frame.checksum = Checksum::Partial(partial(20));
    down.frame.segmentation = Some(segmentation(52));
    let frames = station.send(NOW, [down]);
    assert_eq!(frames[0].checksum, Checksum::Partial(partial(34)));
    assert_eq!(frames[0].segmentation, Some(segmentation(66)));
}

#[test]
fn groups_and_broadcasts_need_no_neighbour() {
    let mut station = Station::new();
    let frames = station.send(
        NOW,
        [
            packet(Ipv4Addr::BROADCAST, b"all"),
            packet(Ipv4Addr::new(224, 0, 0, 251), b"some"),
        ],
    );
    let sent: Vec<_> = frames.iter().filter_map(as_data).collect();
    let group = MacAddr([1, 0, 0x5e, 0, 0, 251]);
    assert_eq!(
        sent,
        [
            (MacAddr::BROADCAST, b"all".to_vec()),
            (group, b"some".to_vec())
        ]
    );
    assert_eq!(station.count(Counter::EthernetTxFrames), 2);
    assert_eq!(station.count(Counter::EthernetTxBytes), 2 * 14 + 7);
}

#[test]
fn without_link_headers_everything_passes_through() {
    let capabilities = Capabilities {
        medium: Medium::Ip,
        mac: None,
        ..Capabilities::plain_ethernet([0; 6], 1500)
    };
    let mut station = Station::with(&capabilities, |config| {
        config.conflict.announcements = 2;
        config.conflict.probe = true;
    });
    assert_eq!(station.link.claim(OURS.into()), Some(Claim::Held));
    let up = RxFrame {
        data: Bytes::from_static(b"datagram"),
        checksum: RxChecksum::Verified,
        ..RxFrame::default()
    };
    let outcome = station.receive(NOW, [up]);
    assert_eq!(outcome.packets[0].data, b"datagram"[..]);
    assert_eq!(outcome.packets[0].checksum, RxChecksum::Verified);
    let frames = station.send(NOW, [packet(PEER, b"datagram")]);
    assert_eq!(frames[0].to_vec(), b"datagram");
    assert!(station.poll(NOW).is_empty());
    assert_eq!(station.writer.next_deadline(), None);
}

proptest! {
    #[test]
    fn checksums_left_to_us_are_completed(
        head in proptest::collection::vec(any::<u8>(), 20..60),
        payload in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..100), 0..4),
        start in 0..19_u16,
    ) {
        let mut station = Station::new();
        let mut packet = packet(Ipv4Addr::BROADCAST, b"");
        packet.frame.payload = payload.iter().cloned().map(Bytes::from).collect();
        packet.frame.head.prepend(head.len()).copy_from_slice(&head);
        packet.frame.checksum = Checksum::Partial(PartialChecksum { start, offset: 0 });
        let frames = station.send(NOW, [packet]);
        prop_assert_eq!(frames[0].checksum, Checksum::Complete);
        // By the definition: with the sum of the pseudo-header, which stood in the field, all is ones.
        let sent = &frames[0].to_vec()[14 + usize::from(start)..];
        let pseudo = u16::from_be_bytes([head[usize::from(start)], head[usize::from(start) + 1]]);
        prop_assert_eq!(checksum::combine(checksum::sum(sent), pseudo, false), 0xffff);
    }

    #[test]
    fn arbitrary_frames_never_panic(frames in proptest::collection::vec(
        (proptest::collection::vec(any::<u8>(), 0..80), any::<bool>(), proptest::option::of(any::<u16>())), 1..20,
    )) {
        let mut station = Station::new();
        let frames = frames.into_iter().map(|(mut bytes, arp, vlan_tci)| {
            if arp && bytes.len() >= 22 {
                bytes[..6].copy_from_slice(&[0xff; 6]);
                bytes[12..22].copy_from_slice(&[8, 6, 0, 1, 8, 0, 6, 4, 0, 1]);
            }
            RxFrame { data: bytes.into(), vlan_tci, ..RxFrame::default() }
        });
        station.receive(NOW, frames);
    }
}

/// One frame in 65,536 has a checksum of zero: TCP says so, UDP must not.
#[test]
fn a_checksum_of_zero_is_all_ones_only_in_udp() {
    for (offset, expected) in [(16, [0, 0]), (6, [0xff, 0xff])] {
        let mut station = Station::new();
        let mut packet = packet(Ipv4Addr::BROADCAST, &[0xff; 2]);
        packet.frame.head.prepend(20).fill(0);
        packet.frame.checksum = Checksum::Partial(PartialChecksum { start: 0, offset });
        let frames = station.send(NOW, [packet]);
        let at = 14 + usize::from(offset);
        assert_eq!(frames[0].to_vec()[at..at + 2], expected);
    }
}

#[test]
fn questions_about_us_are_answered_and_others_are_not() {
    let mut station = Station::new();
    let outcome = station.receive(NOW, [arp_request(PEER, PEER_MAC, OURS)]);
    let (answer, to) = as_arp(&outcome.replies[0]).unwrap();
    let expected = arp::Packet {
        operation: Operation::Reply,
        sender_mac: OUR_MAC,
        sender: OURS,
        target_mac: PEER_MAC,
        target: PEER,
    };
    assert_eq!((answer, to), (expected, PEER_MAC));
    let other = Ipv4Addr::new(10, 0, 0, 9);
    let quiet = [
        arp_request(PEER, PEER_MAC, other),
        arp_reply(PEER, PEER_MAC),
    ];
    assert!(station.receive(NOW, quiet).replies.is_empty());
    // Somebody asks whether the address is free (RFC 5227): it is not, and nothing is learned.
    let outcome = station.receive(NOW, [arp_request(Ipv4Addr::UNSPECIFIED, PEER_MAC, OURS)]);
    assert_eq!(outcome.replies.len(), 1);
    assert_eq!(station.link.neighbour(Ipv4Addr::UNSPECIFIED.into()), None);
}

#[test]
fn senders_that_no_host_can_be_are_refused() {
    let bogus = [
        arp_request(Ipv4Addr::BROADCAST, PEER_MAC, OURS),
        arp_request(Ipv4Addr::new(224, 0, 0, 1), PEER_MAC, OURS),
        arp_request(Ipv4Addr::LOCALHOST, PEER_MAC, OURS),
        arp_reply(Ipv4Addr::UNSPECIFIED, PEER_MAC),
    ];
    let mut station = Station::new();
    let outcome = station.receive(NOW, bogus);
    assert!(outcome.replies.is_empty());
    assert_eq!(station.count(Counter::ArpDropBogus), 4);
    let mut lying = arp_request(PEER, PEER_MAC, OURS).data.to_vec();
    lying[14 + 8..14 + 14].copy_from_slice(&[0xff; 6]);
    let outcome = station.receive(
        NOW,
        [RxFrame {
            data: lying.into(),
            ..RxFrame::default()
        }],
    );
    assert!(outcome.replies.is_empty());
    assert_eq!(station.count(Counter::ArpDropBogus), 5);
}

#[test]
fn all_our_addresses_are_announced_at_once() {
    let capabilities = Capabilities::plain_ethernet(OUR_MAC.0, 1500);
    let mut station = Station::with(&capabilities, |config| config.conflict.announcements = 2);
    assert_eq!(station.writer.next_deadline(), Some(NOW));
    let announced: Vec<_> = station.poll(NOW).iter().filter_map(as_arp).collect();
    let second = Ipv4Addr::new(192, 168, 7, 1);
    for ((packet, to), address) in announced.iter().zip([OURS, second]) {
        assert_eq!((packet.sender, packet.target), (address, address));
        assert_eq!(
            (packet.operation, *to),
            (Operation::Request, MacAddr::BROADCAST)
        );
    }
    assert_eq!(announced.len(), 2);
    assert_eq!(station.poll(NOW + Duration::from_secs(2)).len(), 2);
    assert_eq!(station.writer.next_deadline(), None);
    station.link.announce(NOW + Duration::from_secs(9));
    assert_eq!(station.poll(NOW + Duration::from_secs(9)).len(), 2);
}

#[test]
fn an_address_is_not_ours_while_probing_and_lost_if_somebody_answers() {
    let capabilities = Capabilities::plain_ethernet(OUR_MAC.0, 1500);
    let mut station = Station::with(&capabilities, |config| config.conflict.probe = true);
    assert_eq!(station.link.claim(OURS.into()), Some(Claim::Probing));
    assert!(
        station
            .receive(NOW, [arp_request(PEER, PEER_MAC, OURS)])
            .replies
            .is_empty()
    );
    let at = station.writer.next_deadline().unwrap();
    station.poll(at + Duration::from_secs(1));
    station.receive(at, [arp_reply(OURS, PEER_MAC)]);
    assert_eq!(station.link.claim(OURS.into()), Some(Claim::Lost));
    assert_eq!(station.count(Counter::ArpConflicts), 1);
    assert_eq!(station.link.claim(PEER.into()), None);
    while let Some(at) = station.writer.next_deadline() {
        for (packet, _) in station.poll(at).iter().filter_map(as_arp) {
            assert_ne!(packet.sender, OURS);
        }
    }
    let other = [192, 168, 7, 1].into();
    assert_eq!(station.link.claim(other), Some(Claim::Held));
    let claims = station.writer.take_claims();
    let changes = claims.iter().map(|(cidr, claim)| (cidr.address(), *claim));
    let expected = [(OURS.into(), Claim::Lost), (other, Claim::Held)];
    assert_eq!(changes.collect::<Vec<_>>(), expected);
}

#[test]
fn our_address_is_defended_and_the_rival_is_not_learned() {
    let mut station = Station::new();
    let rival = || [arp_request(OURS, PEER_MAC, PEER)];
    let outcome = station.receive(NOW, rival());
    let (packet, to) = as_arp(&outcome.replies[0]).unwrap();
    assert_eq!(
        (packet.sender, packet.target, to),
        (OURS, OURS, MacAddr::BROADCAST)
    );
    assert!(
        station.receive(NOW, rival()).replies.is_empty(),
        "not twice in ten seconds"
    );
    let later = NOW + Duration::from_secs(10);
    assert_eq!(station.receive(later, rival()).replies.len(), 1);
    assert_eq!(station.link.neighbour(OURS.into()), None);
}
