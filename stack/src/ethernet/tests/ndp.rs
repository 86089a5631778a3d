//! Neighbour discovery: questions, answers, states of neighbours, claims of our own addresses (RFC 4861,
//! RFC 4862 §5.4).

use std::net::Ipv6Addr;

use proptest::prelude::*;

use super::*;
use crate::checksum;
use crate::wire::ipv6::{self, ALL_NODES, NEXT_ICMPV6, solicited_node};
use crate::wire::ndp::{self, Message, Options, Router};

const OURS: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 1);
const PEER: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 2);
pub(super) const LINK_LOCAL: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);
const OTHER_MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 3]);

/// A station that has its addresses and is silent unless asked.
fn station() -> Station {
    station_with(|_| {})
}

fn station_with(change: impl FnOnce(&mut Config)) -> Station {
    let capabilities = Capabilities::plain_ethernet(OUR_MAC.0, 1500);
    let cidr = |address: Ipv6Addr| crate::ip::Cidr::new(address.into(), 64).unwrap();
    Station::with_addresses(&capabilities, &[cidr(OURS), cidr(LINK_LOCAL)], |config| {
        config.conflict.duplicate_detections = 0;
        change(config);
    })
}

pub(super) fn from(mac: MacAddr) -> Options {
    Options {
        source: Some(mac),
        ..Options::default()
    }
}

fn at(mac: MacAddr) -> Options {
    Options {
        target: Some(mac),
        ..Options::default()
    }
}

/// A message as the wire carries it, from `mac`.
pub(super) fn heard(
    mac: MacAddr,
    way: (Ipv6Addr, Ipv6Addr),
    message: Message,
    options: &Options,
) -> RxFrame {
    let (source, destination) = way;
    let len = message.emitted_len(options);
    let mut body = vec![0; len];
    message.emit(options, &mut body);
    let pseudo = checksum::pseudo_header(source.into(), destination.into(), NEXT_ICMPV6, len);
    let sum = !checksum::combine(pseudo, checksum::sum(&body), false);
    body[ndp::CHECKSUM_OFFSET..][..2].copy_from_slice(&sum.to_be_bytes());
    let mut bytes = vec![0; ipv6::HEADER_LEN];
    let header = ipv6::Header {
        traffic_class: 0,
        flow_label: 0,
        payload_len: len as u16,
        next_header: NEXT_ICMPV6,
        hop_limit: 255,
        source,
        destination,
    };
    header.emit(&mut bytes);
    bytes.extend(body);
    let to = if destination.is_multicast() {
        MacAddr::from_ipv6_group(destination)
    } else {
        OUR_MAC
    };
    let header = wire::Header {
        source: mac,
        ..from_peer(to, wire::TYPE_IPV6)
    };
    frame(header, &bytes)
}

fn solicitation(source: Ipv6Addr, target: Ipv6Addr, options: &Options) -> RxFrame {
    let message = Message::NeighbourSolicitation { target };
    heard(PEER_MAC, (source, solicited_node(target)), message, options)
}

/// `PEER` says that it is at `mac`.
fn advertisement(mac: MacAddr, solicited: bool, overrides: bool) -> RxFrame {
    let message = Message::NeighbourAdvertisement {
        target: PEER,
        router: false,
        solicited,
        overrides,
    };
    let to = if solicited { OURS } else { ALL_NODES };
    heard(mac, (PEER, to), message, &at(mac))
}

/// A message of ours: where it goes, by IP and by link, and what it says; checked by foreign eyes.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Said {
    pub(super) source: Ipv6Addr,
    pub(super) destination: Ipv6Addr,
    pub(super) station: MacAddr,
    pub(super) message: Message,
    pub(super) options: Options,
}

fn as_ndp(frame: &TxFrame) -> Option<Said> {
    let bytes = frame.to_vec();
    let ethernet = wire::parse(&bytes).unwrap();
    let header = ipv6::parse(&bytes[14..]).ok()?;
    let body = &bytes[54..];
    if header.next_header != NEXT_ICMPV6 {
        return None;
    }
    assert_eq!((header.hop_limit, ethernet.source), (255, OUR_MAC));
    let foreign = etherparse::Icmpv6Slice::from_slice(body).unwrap();
    assert!(foreign.is_checksum_valid(header.source.octets(), header.destination.octets()));
    let (message, options) = ndp::parse(body).unwrap();
    Some(Said {
        source: header.source,
        destination: header.destination,
        station: ethernet.destination,
        message,
        options,
    })
}

pub(super) fn said<'a>(frames: impl IntoIterator<Item = &'a TxFrame>) -> Vec<Said> {
    frames.into_iter().filter_map(as_ndp).collect()
}

/// What is asked, and of which station.
fn questions(frames: &[TxFrame]) -> Vec<(Ipv6Addr, MacAddr)> {
    let all = said(frames).into_iter();
    all.map(|said| match said.message {
        Message::NeighbourSolicitation { target } => (target, said.station),
        other => panic!("{other:?}"),
    })
    .collect()
}

fn data_to(frames: &[TxFrame]) -> Vec<MacAddr> {
    let data = frames.iter().filter(|frame| as_ndp(frame).is_none());
    data.map(|frame| wire::parse(&frame.to_vec()).unwrap().destination)
        .collect()
}

pub(super) fn after(millis: u64) -> Instant {
    NOW + Duration::from_millis(millis)
}

fn group_of(address: Ipv6Addr) -> MacAddr {
    MacAddr::from_ipv6_group(solicited_node(address))
}

/// Makes the peer's station known.
fn meet_peer(station: &mut Station) {
    station.send(NOW, [packet(PEER, b"hello")]);
    station.receive(NOW, [advertisement(PEER_MAC, true, true)]);
}

#[test]
fn the_first_packet_asks_waits_and_leaves_with_the_answer() {
    let mut station = station();
    let frames = station.send(NOW, [packet(PEER, b"one"), packet(PEER, b"two")]);
    let expected = Said {
        source: OURS,
        destination: solicited_node(PEER),
        station: group_of(PEER),
        message: Message::NeighbourSolicitation { target: PEER },
        options: from(OUR_MAC),
    };
    assert_eq!(said(&frames), [expected]);
    let outcome = station.receive(NOW, [advertisement(PEER_MAC, true, true)]);
    let frames = station.send(NOW, outcome.released);
    assert_eq!(data_to(&frames), [PEER_MAC; 2]);
    assert!(station.poll(after(29_000)).is_empty(), "nothing is due");
}

#[test]
fn the_question_comes_from_the_address_of_that_network() {
    let mut station = station();
    let neighbour = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 9);
    let frames = station.send(NOW, [packet(neighbour, b"x")]);
    assert_eq!(said(&frames)[0].source, LINK_LOCAL);
}

#[test]
fn a_silent_neighbour_is_asked_three_times_and_given_up() {
    let mut station = station();
    station.send(NOW, [packet(PEER, b"one")]);
    for second in 1..=2_u64 {
        assert_eq!(station.writer.next_deadline(), Some(after(second * 1000)));
        let frames = station.poll(after(second * 1000));
        assert_eq!(questions(&frames), [(PEER, group_of(PEER))]);
    }
    assert!(station.poll(after(3000)).is_empty());
    assert_eq!(station.count(Counter::NeighbourDropUnresolved), 1);
    assert_eq!(station.writer.take_unreachable(), [IpAddr::from(PEER)]);
}

/// REACHABLE, STALE, DELAY, PROBE, and REACHABLE again.
#[test]
fn a_stale_neighbour_is_used_and_checked_after_a_while() {
    let mut station = station();
    meet_peer(&mut station);
    station.poll(after(1000));
    let frames = station.send(after(29_999), [packet(PEER, b"a")]);
    assert_eq!((data_to(&frames), said(&frames).len()), (vec![PEER_MAC], 0));
    assert_eq!(station.writer.next_deadline(), None, "believed");
    let frames = station.send(after(30_000), [packet(PEER, b"a"), packet(PEER, b"b")]);
    assert_eq!((data_to(&frames).len(), said(&frames).len()), (2, 0));
    assert_eq!(station.writer.next_deadline(), Some(after(35_000)));
    let frames = station.poll(after(35_000));
    assert_eq!(questions(&frames), [(PEER, PEER_MAC)], "by unicast");
    station.receive(after(35_001), [advertisement(PEER_MAC, true, false)]);
    assert!(station.poll(after(40_000)).is_empty());
    let frames = station.send(after(65_000), [packet(PEER, b"c")]);
    assert_eq!((data_to(&frames).len(), said(&frames).len()), (1, 0));
}

#[test]
fn a_neighbour_that_is_gone_is_looked_for_again() {
    let mut station = station();
    meet_peer(&mut station);
    station.send(after(30_000), [packet(PEER, b"a")]);
    for second in 35..38 {
        let frames = station.poll(after(second * 1000));
        assert_eq!(questions(&frames), [(PEER, PEER_MAC)]);
    }
    assert!(station.poll(after(38_000)).is_empty());
    let frames = station.send(after(38_000), [packet(PEER, b"b")]);
    assert_eq!(questions(&frames), [(PEER, group_of(PEER))]);
}

#[test]
fn whoever_asks_for_us_is_answered_and_known_but_not_confirmed() {
    let mut station = station();
    let outcome = station.receive(NOW, [solicitation(PEER, OURS, &from(PEER_MAC))]);
    let expected = Said {
        source: OURS,
        destination: PEER,
        station: PEER_MAC,
        message: Message::NeighbourAdvertisement {
            target: OURS,
            router: false,
            solicited: true,
            overrides: true,
        },
        options: at(OUR_MAC),
    };
    assert_eq!(said(&outcome.replies), [expected]);
    let frames = station.send(NOW, [packet(PEER, b"x")]);
    assert_eq!(data_to(&frames), [PEER_MAC]);
    assert_eq!(station.writer.next_deadline(), Some(after(5000)), "stale");
}

#[test]
fn questions_about_others_are_not_our_business() {
    let mut station = station();
    let other = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 9);
    let outcome = station.receive(NOW, [solicitation(PEER, other, &from(PEER_MAC))]);
    assert!(outcome.replies.is_empty() && outcome.packets.is_empty());
    assert_eq!(station.link.neighbour(PEER.into()), None);
    station.receive(NOW, [advertisement(PEER_MAC, false, true)]);
    assert_eq!(station.link.neighbour(PEER.into()), None);
}

/// RFC 4861 §7.2.5, row by row.
#[test]
fn advertisements_of_another_station_count_if_they_override() {
    let known = |solicited, overrides| {
        let mut station = station();
        meet_peer(&mut station);
        station.receive(NOW, [advertisement(OTHER_MAC, solicited, overrides)]);
        let frames = station.send(NOW, [packet(PEER, b"x")]);
        let asked = questions(&station.poll(after(5000)));
        (data_to(&frames)[0], !asked.is_empty())
    };
    assert_eq!(known(false, true), (OTHER_MAC, true));
    assert_eq!(known(true, true), (OTHER_MAC, false));
    assert_eq!(known(false, false), (PEER_MAC, true), "doubt, no more");
    assert_eq!(known(true, false), (PEER_MAC, true));
}

#[test]
fn an_advertisement_without_a_station_confirms_the_one_that_is_known() {
    let mut station = station();
    meet_peer(&mut station);
    station.send(after(30_000), [packet(PEER, b"x")]);
    let message = Message::NeighbourAdvertisement {
        target: PEER,
        router: false,
        solicited: true,
        overrides: false,
    };
    let nameless = heard(PEER_MAC, (PEER, OURS), message, &Options::default());
    station.receive(after(31_000), [nameless]);
    assert!(station.poll(after(40_000)).is_empty());
    assert_eq!(station.link.neighbour(PEER.into()), Some(PEER_MAC));
}

#[test]
fn what_does_not_come_from_a_neighbour_or_makes_no_sense_is_refused() {
    let target = OURS;
    let question = Message::NeighbourSolicitation { target };
    let router = Message::RouterAdvertisement(Router::default());
    let mut afar = solicitation(PEER, OURS, &from(PEER_MAC)).data.to_vec();
    afar[14 + 7] = 254;
    let mut damaged = solicitation(PEER, OURS, &from(PEER_MAC)).data.to_vec();
    damaged[14 + 50] ^= 1;
    let mut endless = solicitation(PEER, OURS, &from(PEER_MAC)).data.to_vec();
    endless[14 + 40 + 25] = 0;
    let received = |bytes: Vec<u8>| RxFrame {
        data: bytes.into(),
        checksum: crate::packet::RxChecksum::Verified,
        ..RxFrame::default()
    };
    let nobody = Ipv6Addr::UNSPECIFIED;
    let all = ALL_NODES;
    let bogus = [
        received(afar),
        solicitation(nobody, OURS, &from(PEER_MAC)),
        heard(PEER_MAC, (nobody, OURS), question, &Options::default()),
        heard(PEER_MAC, (all, OURS), question, &Options::default()),
        heard(PEER_MAC, (PEER, ALL_NODES), router, &Options::default()),
    ];
    let mut station = station();
    let count = bogus.len() as u64;
    let outcome = station.receive(NOW, bogus);
    assert!(outcome.replies.is_empty() && outcome.packets.is_empty());
    assert_eq!(station.count(Counter::NdpDropBogus), count);
    let damaged = RxFrame {
        data: damaged.into(),
        ..RxFrame::default()
    };
    let outcome = station.receive(NOW, [damaged, received(endless)]);
    assert!(outcome.replies.is_empty());
    assert_eq!(station.count(Counter::NdpDropMalformed), 2);
}

#[test]
fn an_address_is_used_when_nobody_has_answered() {
    let mut station = station_with(|config| config.conflict.duplicate_detections = 1);
    assert_eq!(station.link.claim(OURS.into()), Some(Claim::Probing));
    let outcome = station.receive(NOW, [solicitation(PEER, OURS, &from(PEER_MAC))]);
    assert!(outcome.replies.is_empty(), "not ours yet");
    let mut probes = Vec::new();
    while let Some(at) = station.writer.next_deadline() {
        probes.extend(said(&station.poll(at)));
    }
    let probe = |address| Said {
        source: Ipv6Addr::UNSPECIFIED,
        destination: solicited_node(address),
        station: group_of(address),
        message: Message::NeighbourSolicitation { target: address },
        options: Options::default(),
    };
    assert_eq!(probes.len(), 2);
    assert!(probes.contains(&probe(OURS)) && probes.contains(&probe(LINK_LOCAL)));
    assert_eq!(station.link.claim(OURS.into()), Some(Claim::Held));
    let won = station.writer.take_claims();
    assert!(won.iter().all(|(_, claim)| *claim == Claim::Held));
    assert_eq!(won.len(), 2);
}

#[test]
fn an_address_that_another_has_or_wants_is_lost() {
    let answer = Message::NeighbourAdvertisement {
        target: OURS,
        router: false,
        solicited: false,
        overrides: true,
    };
    let rivals = [
        heard(PEER_MAC, (OURS, ALL_NODES), answer, &at(PEER_MAC)),
        solicitation(Ipv6Addr::UNSPECIFIED, OURS, &Options::default()),
    ];
    for rival in rivals {
        let mut station = station_with(|config| config.conflict.duplicate_detections = 1);
        station.receive(NOW, [rival]);
        assert_eq!(station.link.claim(OURS.into()), Some(Claim::Lost));
        assert_eq!(station.count(Counter::NdpConflicts), 1);
        while let Some(at) = station.writer.next_deadline() {
            for said in said(&station.poll(at)) {
                assert_ne!(said.source, OURS);
            }
        }
    }
}

#[test]
fn an_address_in_use_is_defended_against_those_who_want_or_claim_it() {
    let mut station = station();
    let wanted = solicitation(Ipv6Addr::UNSPECIFIED, OURS, &Options::default());
    let outcome = station.receive(NOW, [wanted]);
    let said_so = &said(&outcome.replies)[0];
    assert_eq!(
        (said_so.source, said_so.destination),
        (OURS, ALL_NODES),
        "all are told, for whoever asks has no address"
    );
    let claim = Message::NeighbourAdvertisement {
        target: OURS,
        router: false,
        solicited: false,
        overrides: true,
    };
    let rival = || [heard(PEER_MAC, (OURS, ALL_NODES), claim, &at(PEER_MAC))];
    assert_eq!(said(&station.receive(NOW, rival()).replies).len(), 1);
    assert!(
        station.receive(NOW, rival()).replies.is_empty(),
        "not twice"
    );
    assert_eq!(station.link.claim(OURS.into()), Some(Claim::Held));
    assert_eq!(station.link.neighbour(OURS.into()), None);
}

/// What a takeover does: everybody is told, again and again.
#[test]
fn announcements_override_what_others_know_and_are_repeated() {
    let mut station = station_with(|config| config.shared = true);
    station
        .link
        .announce_repeatedly(NOW, 2, Duration::from_secs(1));
    for second in 0..=2 {
        let announced = said(&station.poll(after(second * 1000)));
        let expected = |address| Said {
            source: address,
            destination: ALL_NODES,
            station: MacAddr([0x33, 0x33, 0, 0, 0, 1]),
            message: Message::NeighbourAdvertisement {
                target: address,
                router: false,
                solicited: false,
                overrides: true,
            },
            options: at(OUR_MAC),
        };
        assert_eq!(announced, [expected(OURS), expected(LINK_LOCAL)]);
    }
    assert_eq!(station.writer.next_deadline(), None);
}

#[test]
fn a_backup_learns_and_says_nothing() {
    let mut station = station_with(|config| config.shared = true);
    let mut outcome = Outcome::default();
    let mut frames = vec![solicitation(PEER, OURS, &from(PEER_MAC))];
    let diverted = station
        .reader
        .overhear(NOW, &mut frames, true, &mut outcome);
    assert!(diverted.is_empty() && outcome.replies.is_empty());
    assert_eq!(station.link.neighbour(PEER.into()), Some(PEER_MAC));
    let frames = station.send(NOW, [packet(PEER, b"x")]);
    assert_eq!(data_to(&frames), [PEER_MAC], "no question after a takeover");
}

#[test]
fn without_link_headers_there_is_nothing_to_discover() {
    let capabilities = Capabilities {
        medium: outlive_driver::Medium::Ip,
        mac: None,
        ..Capabilities::plain_ethernet([0; 6], 1500)
    };
    let address = crate::ip::Cidr::new(OURS.into(), 64).unwrap();
    let mut station = Station::with_addresses(&capabilities, &[address], |_| {});
    assert_eq!(station.link.claim(OURS.into()), Some(Claim::Held));
    assert_eq!(station.writer.next_deadline(), None);
    let frames = station.send(NOW, [packet(PEER, b"datagram")]);
    assert_eq!(frames[0].to_vec(), b"datagram");
}

proptest! {
    #[test]
    fn nearly_right_messages_never_panic(
        kind in 133..138_u8,
        body in proptest::collection::vec(any::<u8>(), 0..120),
        source: u128,
        to_us: bool,
    ) {
        let message = [&[kind, 0, 0, 0][..], &body].concat();
        let mut bytes = vec![0; ipv6::HEADER_LEN];
        let header = ipv6::Header {
            traffic_class: 0,
            flow_label: 0,
            payload_len: message.len() as u16,
            next_header: NEXT_ICMPV6,
            hop_limit: 255,
            source: source.into(),
            destination: if to_us { OURS } else { ALL_NODES },
        };
        header.emit(&mut bytes);
        bytes.extend(message);
        let mut frame = frame(from_peer(OUR_MAC, wire::TYPE_IPV6), &bytes);
        frame.checksum = crate::packet::RxChecksum::Verified;
        let mut station = station();
        let outcome = station.receive(NOW, [frame.clone()]);
        prop_assert!(outcome.packets.is_empty());
        station.reader.overhear(NOW, &mut vec![frame], true, &mut Outcome::default());
    }
}
