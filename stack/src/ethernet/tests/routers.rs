//! What routers say, and the addresses that are made from it (RFC 4861 §6.3, RFC 4862 §5.5, RFC 7217).

use std::net::Ipv6Addr;

use super::ndp::{LINK_LOCAL, Said, after, from, heard, said};
use super::*;
use crate::ip::{Cidr, Learned, Route};
use crate::wire::ipv6::{ALL_NODES, ALL_ROUTERS};
use crate::wire::ndp::{Message, Options, Prefix, Router};

const ROUTER: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0xfe);

/// A station with a link-local address that listens to routers.
fn station(detections: u32) -> Station {
    let capabilities = Capabilities::plain_ethernet(OUR_MAC.0, 1500);
    let address = Cidr::new(LINK_LOCAL.into(), 64).unwrap();
    let mut station = Station::with_addresses(&capabilities, &[address], |config| {
        config.conflict.duplicate_detections = detections;
        config.autoconfigure = true;
        config.stable_secret = Some([7; 16]);
    });
    // The link-local address is ours before anything else begins.
    station.poll(after(2000));
    station.poll(after(3000));
    station.writer.take_claims();
    station.link.neighbours.lock().take_unreachable();
    station
}

fn prefix(valid_s: u32, preferred_s: u32) -> Prefix {
    Prefix {
        prefix: "2001:db8:7::".parse().unwrap(),
        len: 64,
        on_link: true,
        autonomous: true,
        valid_s,
        preferred_s,
    }
}

fn advertised(lifetime_s: u16, prefixes: &[Prefix], mtu: Option<u32>) -> RxFrame {
    let router = Router {
        lifetime_s,
        ..Router::default()
    };
    let options = Options {
        mtu,
        prefixes: prefixes.iter().copied().collect(),
        ..from(PEER_MAC)
    };
    let message = Message::RouterAdvertisement(router);
    heard(PEER_MAC, (ROUTER, ALL_NODES), message, &options)
}

/// Lets all that is due by `until` happen; addresses won and lost.
fn settle(station: &mut Station, until: Instant) -> Vec<(IpAddr, Claim)> {
    while let Some(at) = station.writer.next_deadline().filter(|&at| at <= until) {
        station.poll(at.max(after(3000)));
    }
    let claims = station.writer.take_claims().into_iter();
    claims
        .map(|(cidr, claim)| (cidr.address(), claim))
        .collect()
}

fn in_network(address: IpAddr) -> bool {
    let network: Cidr = "2001:db8:7::/64".parse().unwrap();
    network.contains(address)
}

#[test]
fn routers_are_asked_three_times_if_none_speaks() {
    let capabilities = Capabilities::plain_ethernet(OUR_MAC.0, 1500);
    let address = Cidr::new(LINK_LOCAL.into(), 64).unwrap();
    let mut station = Station::with_addresses(&capabilities, &[address], |config| {
        config.conflict.duplicate_detections = 0;
        config.autoconfigure = true;
    });
    let mut asked = Vec::new();
    while let Some(at) = station.writer.next_deadline() {
        let all = said(&station.poll(at)).into_iter();
        asked.extend(all.map(|said| (at, said)));
    }
    let expected = Said {
        source: LINK_LOCAL,
        destination: ALL_ROUTERS,
        station: MacAddr([0x33, 0x33, 0, 0, 0, 2]),
        message: Message::RouterSolicitation,
        options: from(OUR_MAC),
    };
    assert_eq!(asked.len(), 3);
    assert!(asked.iter().all(|(_, said)| *said == expected));
    assert!(asked[0].0.since(NOW) <= Duration::from_secs(1));
    assert_eq!(asked[2].0.since(asked[0].0), Duration::from_secs(8));
}

#[test]
fn a_router_gives_ways_and_an_address_that_is_asked_for_first() {
    let mut station = station(1);
    let now = after(4000);
    let outcome = station.receive(
        now,
        [advertised(1800, &[prefix(86_400, 14_400)], Some(1400))],
    );
    assert!(outcome.announcements_due, "somebody has to look");
    let won = settle(&mut station, after(8000));
    let [(address, Claim::Held)] = won[..] else {
        panic!("{won:?}");
    };
    assert!(in_network(address));
    let network = Route {
        destination: "2001:db8:7::/64".parse().unwrap(),
        gateway: None,
        metric: 0,
    };
    let expected = Learned {
        routes: vec![network, Route::default_via(ROUTER.into())],
        deprecated: Vec::new(),
        mtu: Some(1400),
    };
    assert_eq!(station.writer.take_learned(), Some(expected));
    assert_eq!(station.writer.take_learned(), None, "once");
    assert_eq!(station.link.neighbour(ROUTER.into()), Some(PEER_MAC));
    // The same again makes no second address, and the same secret the same address.
    station.receive(now, [advertised(1800, &[prefix(86_400, 14_400)], None)]);
    assert!(settle(&mut station, after(12_000)).is_empty());
    let mut again = self::station(0);
    again.receive(now, [advertised(1800, &[prefix(86_400, 14_400)], None)]);
    assert_eq!(settle(&mut again, after(8000)), [(address, Claim::Held)]);
}

#[test]
fn lifetimes_end() {
    let mut station = station(0);
    let now = after(4000);
    station.receive(now, [advertised(100, &[prefix(300, 200)], None)]);
    let won = settle(&mut station, now);
    let address = won[0].0;
    let mut learned = |seconds: u64| {
        let lost = settle(&mut station, now + Duration::from_secs(seconds));
        let learned = station.writer.take_learned();
        (lost, learned.map(|it| (it.routes.len(), it.deprecated)))
    };
    assert_eq!(learned(99), (vec![], Some((2, vec![]))));
    assert_eq!(learned(100), (vec![], Some((1, vec![]))), "no gateway");
    assert_eq!(learned(200), (vec![], Some((1, vec![address]))));
    let gone = (vec![(address, Claim::Lost)], Some((0, vec![])));
    assert_eq!(learned(300), gone);
    assert_eq!(learned(100_000), (vec![], None));
    assert_eq!(station.link.claim(address), None);
}

#[test]
fn a_router_that_leaves_is_no_gateway() {
    let mut station = station(0);
    station.receive(after(4000), [advertised(1800, &[], None)]);
    assert_eq!(station.writer.take_learned().unwrap().routes.len(), 1);
    station.receive(after(5000), [advertised(0, &[], None)]);
    assert!(station.writer.take_learned().unwrap().routes.is_empty());
}

/// RFC 4862 §5.5.3 (e).
#[test]
fn nobody_shortens_the_life_of_an_address_below_two_hours() {
    let mut station = station(0);
    let now = after(4000);
    station.receive(now, [advertised(1800, &[prefix(86_400, 86_400)], None)]);
    let address = settle(&mut station, now)[0].0;
    station.receive(now, [advertised(1800, &[prefix(1, 0)], None)]);
    let hours = |hours: u64| now + Duration::from_secs(3600 * hours);
    assert_eq!(station.writer.take_learned().unwrap().deprecated, [address]);
    assert!(settle(&mut station, hours(2) - Duration::from_secs(1)).is_empty());
    station.receive(hours(1), [advertised(1800, &[prefix(60, 60)], None)]);
    assert!(settle(&mut station, hours(2) - Duration::from_secs(1)).is_empty());
    let lost = settle(&mut station, hours(2));
    assert_eq!(lost, [(address, Claim::Lost)]);
}

#[test]
fn another_address_is_made_when_one_is_taken() {
    let mut station = station(1);
    station.receive(
        after(4000),
        [advertised(1800, &[prefix(86_400, 86_400)], None)],
    );
    let mut tried = Vec::new();
    while let Some(at) = station
        .writer
        .next_deadline()
        .filter(|&at| at < after(30_000))
    {
        for said in said(&station.poll(at.max(after(4000)))) {
            let Message::NeighbourSolicitation { target } = said.message else {
                continue;
            };
            tried.push(target);
            let taken = Message::NeighbourAdvertisement {
                target,
                router: false,
                solicited: false,
                overrides: true,
            };
            let way = (target, ALL_NODES);
            station.receive(at, [heard(PEER_MAC, way, taken, &Options::default())]);
        }
    }
    assert_eq!(tried.len(), 4, "and three retries (IDGEN_RETRIES)");
    tried.sort_unstable();
    tried.dedup();
    assert_eq!(tried.len(), 4);
    assert!(tried.iter().all(|&address| in_network(address.into())));
    assert!(
        settle(&mut station, after(60_000))
            .iter()
            .all(|(_, claim)| *claim == Claim::Lost)
    );
}

#[test]
fn prefixes_that_give_no_address_give_none() {
    let base = prefix(86_400, 86_400);
    let useless = [
        Prefix {
            autonomous: false,
            ..base
        },
        Prefix { len: 56, ..base },
        Prefix {
            valid_s: 0,
            preferred_s: 0,
            ..base
        },
        Prefix {
            valid_s: 10,
            preferred_s: 20,
            ..base
        },
        Prefix {
            prefix: LINK_LOCAL,
            ..base
        },
    ];
    for prefix in useless {
        let mut station = station(0);
        station.receive(after(4000), [advertised(1800, &[prefix], None)]);
        assert!(settle(&mut station, after(8000)).is_empty(), "{prefix:?}");
    }
}

#[test]
fn a_flood_of_routers_and_networks_is_bounded() {
    let mut station = station(0);
    for n in 0..1000_u16 {
        let network = Prefix {
            prefix: Ipv6Addr::new(0x2001, 0xdb8, n, 0, 0, 0, 0, 0),
            ..prefix(86_400, 86_400)
        };
        let router = Router {
            lifetime_s: 1800,
            ..Router::default()
        };
        let options = Options {
            prefixes: [network].into_iter().collect(),
            ..from(PEER_MAC)
        };
        let source = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 1, n);
        let message = Message::RouterAdvertisement(router);
        station.receive(
            after(4000),
            [heard(PEER_MAC, (source, ALL_NODES), message, &options)],
        );
    }
    assert_eq!(station.writer.take_learned().unwrap().routes.len(), 8 + 16);
    assert_eq!(settle(&mut station, after(4000)).len(), 8);
}
