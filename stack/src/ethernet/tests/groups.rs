//! Reports about groups as they are on the wire (RFC 3376 §4.2, RFC 3810 §5.2), and queries.

use std::net::Ipv6Addr;

use proptest::prelude::*;

use super::ndp::{LINK_LOCAL, after};
use super::*;
use crate::checksum;
use crate::wire::{igmp, ipv4, ipv6, mld};

const GROUP4: Ipv4Addr = Ipv4Addr::new(239, 1, 2, 3);
const GROUP6: Ipv6Addr = Ipv6Addr::new(0xff05, 0, 0, 0, 0, 0, 1, 7);
const ROUTER: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0xfe);

fn station() -> Station {
    let capabilities = Capabilities::plain_ethernet(OUR_MAC.0, 1500);
    let addresses = [
        "10.0.0.1/24".parse().unwrap(),
        "fe80::1/64".parse().unwrap(),
    ];
    let mut station = Station::with_addresses(&capabilities, &addresses, |config| {
        config.conflict.duplicate_detections = 0;
        config.tell_groups = true;
    });
    settle(&mut station, after(5000));
    station
}

/// All frames that leave by then.
fn settle(station: &mut Station, until: Instant) -> Vec<Vec<u8>> {
    let mut frames = Vec::new();
    while let Some(at) = station.writer.next_deadline().filter(|&at| at <= until) {
        frames.extend(station.poll(at).iter().map(TxFrame::to_vec));
    }
    frames
}

/// Destination and message of an IGMP datagram, checked by foreign eyes.
fn as_igmp(frame: &[u8]) -> (Ipv4Addr, Vec<u8>) {
    let (header, rest) = etherparse::Ipv4Header::from_slice(&frame[14..]).unwrap();
    assert_eq!(header.header_checksum, header.calc_header_checksum());
    assert_eq!(
        (header.time_to_live, header.protocol.0),
        (1, igmp::PROTOCOL)
    );
    assert_eq!(header.options.as_slice(), [148, 4, 0, 0], "Router Alert");
    assert_eq!(header.source, OURS.octets());
    assert_eq!(checksum::checksum(rest), 0);
    let destination = header.destination.into();
    assert_eq!(frame[..6], MacAddr::from_ipv4_group(destination).0);
    (destination, rest.to_vec())
}

/// The same of MLD.
fn as_mld(frame: &[u8]) -> (Ipv6Addr, Vec<u8>) {
    let (header, rest) = etherparse::Ipv6Header::from_slice(&frame[14..]).unwrap();
    assert_eq!((header.hop_limit, header.next_header.0), (1, 0));
    assert_eq!(header.source, LINK_LOCAL.octets());
    assert_eq!(rest[..8], [58, 0, 5, 2, 0, 0, 1, 0], "Router Alert");
    let foreign = etherparse::Icmpv6Slice::from_slice(&rest[8..]).unwrap();
    assert!(foreign.is_checksum_valid(header.source, header.destination));
    let destination = header.destination.into();
    assert_eq!(frame[..6], MacAddr::from_ipv6_group(destination).0);
    (destination, rest[8..].to_vec())
}

fn igmp_query(body: &[u8]) -> RxFrame {
    let mut body = body.to_vec();
    let sum = checksum::checksum(&body);
    body[2..4].copy_from_slice(&sum.to_be_bytes());
    let header = ipv4::Header {
        header_len: 20,
        tos: 0xc0,
        total_len: (20 + body.len()) as u16,
        identification: 0,
        dont_fragment: true,
        more_fragments: false,
        fragment_offset: 0,
        ttl: 1,
        protocol: igmp::PROTOCOL,
        checksum: 0,
        source: PEER,
        destination: Ipv4Addr::new(224, 0, 0, 1),
    };
    let mut bytes = vec![0; 20];
    header.emit(&[], &mut bytes);
    let sum = checksum::checksum(&bytes);
    bytes[10..12].copy_from_slice(&sum.to_be_bytes());
    bytes.extend(body);
    let group = MacAddr::from_ipv4_group(header.destination);
    frame(from_peer(group, wire::TYPE_IPV4), &bytes)
}

fn mld_query(source: Ipv6Addr, body: &[u8]) -> RxFrame {
    let mut body = body.to_vec();
    let to = ipv6::ALL_NODES;
    let pseudo = checksum::pseudo_header(source.into(), to.into(), 58, body.len());
    let sum = !checksum::combine(pseudo, checksum::sum(&body), false);
    body[2..4].copy_from_slice(&sum.to_be_bytes());
    let header = ipv6::Header {
        traffic_class: 0,
        flow_label: 0,
        payload_len: 8 + body.len() as u16,
        next_header: 0,
        hop_limit: 1,
        source,
        destination: to,
    };
    let mut bytes = vec![0; 40];
    header.emit(&mut bytes);
    bytes.extend([58, 0, 5, 2, 0, 0, 1, 0]);
    bytes.extend(body);
    frame(
        from_peer(MacAddr::from_ipv6_group(to), wire::TYPE_IPV6),
        &bytes,
    )
}

/// A general query of the newest version that leaves a second for the answer.
fn general6() -> Vec<u8> {
    let mut query = vec![mld::QUERY, 0, 0, 0, 3, 0xe8, 0, 0];
    query.resize(28, 0);
    query
}

#[test]
fn joining_and_leaving_is_told_in_both_families() {
    let mut station = station();
    station.link.join(after(6000), GROUP4.into());
    station.link.join(after(6000), GROUP6.into());
    let frames = settle(&mut station, after(8000));
    let [first4, first6, ..] = &frames[..] else {
        panic!("{frames:?}");
    };
    assert_eq!(frames.len(), 4, "each twice");
    let (to, report) = as_igmp(first4);
    assert_eq!(to, Ipv4Addr::new(224, 0, 0, 22));
    let record = [&[4, 0, 0, 0][..], &GROUP4.octets()].concat();
    assert_eq!(
        (report[0], &report[6..8], &report[8..]),
        (0x22, &[0, 1][..], &record[..])
    );
    let (to, report) = as_mld(first6);
    assert_eq!(to.to_string(), "ff02::16");
    let record = [&[4, 0, 0, 0][..], &GROUP6.octets()].concat();
    assert_eq!(
        (report[0], &report[6..8], &report[8..]),
        (143, &[0, 1][..], &record[..])
    );
    station.link.leave(after(9000), GROUP6.into());
    let frames = settle(&mut station, after(20_000));
    assert_eq!(frames.len(), 2);
    assert_eq!(as_mld(&frames[0]).1[8], 3, "no source is wanted any more");
}

#[test]
fn an_address_brings_the_group_in_which_it_is_asked_for() {
    let capabilities = Capabilities::plain_ethernet(OUR_MAC.0, 1500);
    let address = ["fe80::1/64".parse().unwrap()];
    let mut station = Station::with_addresses(&capabilities, &address, |config| {
        config.conflict.duplicate_detections = 0;
        config.tell_groups = true;
    });
    let frames = settle(&mut station, after(5000));
    assert_eq!(frames.len(), 2);
    let group = ipv6::solicited_node(LINK_LOCAL).octets();
    assert_eq!(as_mld(&frames[0]).1[12..], group);
}

#[test]
fn queries_are_answered_in_the_version_they_are_asked_in() {
    let mut station = station();
    station.link.join(after(6000), GROUP4.into());
    settle(&mut station, after(8000));
    let mut new = vec![igmp::QUERY, 10, 0, 0];
    new.resize(12, 0);
    let outcome = station.receive(
        after(9000),
        [igmp_query(&new), mld_query(ROUTER, &general6())],
    );
    assert!(outcome.packets.is_empty() && outcome.announcements_due);
    let frames = settle(&mut station, after(10_000));
    assert_eq!(frames.len(), 2);
    for frame in &frames {
        let report = if frame[12..14] == [8, 0] {
            as_igmp(frame).1
        } else {
            as_mld(frame).1
        };
        assert_eq!(report[8], 2, "all sources, as before");
    }
    let mut old4 = vec![igmp::QUERY, 10, 0, 0];
    old4.resize(8, 0);
    let mut old6 = general6();
    old6.truncate(24);
    station.receive(after(11_000), [igmp_query(&old4), mld_query(ROUTER, &old6)]);
    let frames = settle(&mut station, after(12_000));
    assert_eq!(frames.len(), 2);
    for frame in &frames {
        if frame[12..14] == [8, 0] {
            let (to, report) = as_igmp(frame);
            assert_eq!(
                (to, report[0], &report[4..]),
                (GROUP4, 0x16, &GROUP4.octets()[..])
            );
        } else {
            let (to, report) = as_mld(frame);
            assert_eq!((to, report[0]), (ipv6::solicited_node(LINK_LOCAL), 131));
        }
    }
}

#[test]
fn queries_that_are_damaged_or_come_from_afar_are_dropped() {
    let mut station = station();
    let mut damaged = mld_query(ROUTER, &general6()).data.to_vec();
    damaged[70] ^= 1;
    let mut routed = mld_query(ROUTER, &general6()).data.to_vec();
    routed[14 + 7] = 2;
    let received = |bytes: Vec<u8>| RxFrame {
        data: bytes.into(),
        ..RxFrame::default()
    };
    let afar = mld_query(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1), &general6());
    let mut short = igmp_query(&[igmp::QUERY, 10, 0, 0, 0, 0, 0, 0])
        .data
        .to_vec();
    short[14 + 21] ^= 1;
    let bad = [received(damaged), received(routed), afar, received(short)];
    station.receive(after(6000), bad);
    assert_eq!(station.count(Counter::GroupDropMalformed), 4);
    assert!(settle(&mut station, after(60_000)).is_empty());
}

#[test]
fn a_takeover_tells_the_switches_again() {
    let mut station = station();
    station
        .link
        .announce_repeatedly(after(6000), 0, Duration::from_secs(1));
    let frames = settle(&mut station, after(6000));
    let reports = frames
        .iter()
        .filter(|frame| frame[12..14] == [0x86, 0xdd] && frame[20] == 0);
    assert_eq!(reports.count(), 1);
}

proptest! {
    #[test]
    fn nearly_right_queries_never_panic(body in proptest::collection::vec(any::<u8>(), 4..60), code: u8) {
        let mut station = station();
        let igmp = [&[igmp::QUERY, code][..], &body].concat();
        let mld = [&[mld::QUERY, 0][..], &body].concat();
        station.receive(after(6000), [igmp_query(&igmp), mld_query(ROUTER, &mld)]);
        let Some(at) = station.writer.next_deadline() else { return Ok(()); };
        station.poll(at + Duration::from_secs(10_000_000));
    }
}
