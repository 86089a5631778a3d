//! The neighbour cache: questions, patience, bounds (RFC 1122 §2.3.2).

use proptest::prelude::*;

use super::*;

fn after(millis: u64) -> Instant {
    NOW + Duration::from_millis(millis)
}

fn questions(frames: &[TxFrame]) -> Vec<(Ipv4Addr, MacAddr)> {
    let all = frames.iter().filter_map(as_arp);
    all.map(|(packet, to)| {
        assert_eq!(packet.operation, Operation::Request);
        (packet.target, to)
    })
    .collect()
}

#[test]
fn the_first_packet_asks_waits_and_leaves_with_the_answer() {
    let mut station = Station::new();
    let frames = station.send(NOW, [packet(PEER, b"one"), packet(PEER, b"two")]);
    assert_eq!(questions(&frames), [(PEER, MacAddr::BROADCAST)]);
    let (question, _) = as_arp(&frames[0]).unwrap();
    assert_eq!((question.sender, question.sender_mac), (OURS, OUR_MAC));
    let outcome = station.receive(NOW, [arp_reply(PEER, PEER_MAC)]);
    let frames = station.send(NOW, outcome.released);
    let sent: Vec<_> = frames.iter().filter_map(as_data).collect();
    assert_eq!(
        sent,
        [(PEER_MAC, b"one".to_vec()), (PEER_MAC, b"two".to_vec())]
    );
    let frames = station.send(NOW, [packet(PEER, b"three")]);
    assert_eq!(as_data(&frames[0]), Some((PEER_MAC, b"three".to_vec())));
    assert!(
        station.poll(after(60_000)).is_empty(),
        "nothing is due any more"
    );
}

#[test]
fn the_question_comes_from_the_address_of_that_network() {
    let mut station = Station::new();
    let frames = station.send(
        NOW,
        [
            packet([192, 168, 7, 9], b"x"),
            packet([172, 16, 0, 1], b"x"),
        ],
    );
    let senders: Vec<_> = frames
        .iter()
        .filter_map(as_arp)
        .map(|(packet, _)| packet.sender)
        .collect();
    assert_eq!(senders, [Ipv4Addr::new(192, 168, 7, 1), OURS]);
}

#[test]
fn the_latest_packets_are_kept() {
    let mut station = Station::new();
    station.send(NOW, (0..100_u8).map(|n| packet(PEER, &[n])));
    assert_eq!(station.count(Counter::NeighbourDropUnresolved), 68);
    let outcome = station.receive(NOW, [arp_reply(PEER, PEER_MAC)]);
    let kept: Vec<_> = outcome
        .released
        .iter()
        .map(|packet| packet.frame.to_vec()[0])
        .collect();
    assert_eq!(kept, (68..100).collect::<Vec<_>>());
}

#[test]
fn what_waits_can_be_dropped_and_later_packets_leave() {
    let mut station = Station::new();
    station.send(NOW, [packet(PEER, b"old"), packet(PEER, b"older")]);
    station.link.drop_waiting();
    assert_eq!(station.count(Counter::NeighbourDropUnresolved), 2);
    station.send(NOW, [packet(PEER, b"new")]);
    let outcome = station.receive(NOW, [arp_reply(PEER, PEER_MAC)]);
    let released = outcome.released.iter();
    let released: Vec<_> = released.map(|packet| packet.frame.to_vec()).collect();
    assert_eq!(released, [b"new"]);
}

#[test]
fn a_silent_neighbour_is_asked_once_a_second_and_given_up() {
    let mut station = Station::new();
    station.send(NOW, [packet(PEER, b"one")]);
    for second in 1..=2_u64 {
        assert_eq!(station.writer.next_deadline(), Some(after(second * 1000)));
        assert!(station.poll(after(second * 1000 - 1)).is_empty());
        let frames = station.poll(after(second * 1000));
        assert_eq!(questions(&frames), [(PEER, MacAddr::BROADCAST)]);
        let frames = station.send(after(second * 1000), [packet(PEER, b"more")]);
        assert!(frames.is_empty(), "packets make no further questions");
    }
    assert!(station.poll(after(3000)).is_empty());
    assert_eq!(station.count(Counter::NeighbourDropUnresolved), 3);
    assert_eq!(station.writer.take_unreachable(), [IpAddr::from(PEER)]);
    assert!(station.writer.take_unreachable().is_empty());
    assert!(station.send(after(3999), [packet(PEER, b"x")]).is_empty());
    assert_eq!(station.count(Counter::NeighbourDropUnresolved), 4);
    let frames = station.send(after(4000), [packet(PEER, b"x")]);
    assert_eq!(questions(&frames), [(PEER, MacAddr::BROADCAST)]);
}

#[test]
fn an_old_answer_is_checked_while_traffic_goes_on() {
    let mut station = Station::new();
    station.meet_peer();
    let old = after(60_000);
    let frames = station.send(old, [packet(PEER, b"a"), packet(PEER, b"b")]);
    assert_eq!(frames.iter().filter_map(as_data).count(), 2);
    assert_eq!(questions(&frames), [(PEER, PEER_MAC)], "by unicast, once");
    station.receive(old, [arp_reply(PEER, PEER_MAC)]);
    assert!(station.poll(old + Duration::from_secs(10)).is_empty());
    assert_eq!(
        station
            .send(old + Duration::from_secs(59), [packet(PEER, b"c")])
            .len(),
        1
    );
}

#[test]
fn a_neighbour_that_is_gone_is_looked_for_again() {
    let mut station = Station::new();
    station.meet_peer();
    station.send(after(60_000), [packet(PEER, b"a")]);
    for second in 1..=2 {
        let frames = station.poll(after(60_000 + second * 1000));
        assert_eq!(questions(&frames), [(PEER, PEER_MAC)]);
    }
    station.poll(after(63_000));
    let frames = station.send(after(63_000), [packet(PEER, b"b")]);
    assert_eq!(questions(&frames), [(PEER, MacAddr::BROADCAST)]);
}

#[test]
fn unused_neighbours_cause_no_traffic() {
    let mut station = Station::new();
    station.meet_peer();
    station.receive(
        NOW,
        [arp_request(Ipv4Addr::new(10, 0, 0, 7), PEER_MAC, OURS)],
    );
    assert!(station.poll(after(3_600_000)).is_empty());
    assert_eq!(station.writer.next_deadline(), None);
}

#[test]
fn strangers_are_learned_only_when_they_ask_for_us() {
    let mut station = Station::new();
    let other = Ipv4Addr::new(10, 0, 0, 9);
    station.receive(
        NOW,
        [
            arp_request(PEER, PEER_MAC, other),
            arp_request(PEER, PEER_MAC, PEER),
        ],
    );
    assert_eq!(station.link.neighbour(PEER.into()), None);
    station.receive(NOW, [arp_request(PEER, PEER_MAC, OURS)]);
    assert_eq!(station.link.neighbour(PEER.into()), Some(PEER_MAC));
}

#[test]
fn a_known_neighbour_that_announces_a_new_station_is_believed() {
    let mut station = Station::new();
    station.meet_peer();
    let moved = MacAddr([2, 0, 0, 0, 0, 3]);
    station.receive(NOW, [arp_request(PEER, moved, PEER)]);
    let frames = station.send(NOW, [packet(PEER, b"x")]);
    assert_eq!(as_data(&frames[0]).unwrap().0, moved);
}

#[test]
fn a_flood_of_questions_does_not_push_out_a_neighbour_in_use() {
    let mut station = Station::new();
    station.meet_peer();
    for n in 0..100_000_u32 {
        let stranger = Ipv4Addr::from(0x0b00_0000 + n);
        station.receive(
            NOW,
            [arp_request(stranger, MacAddr([2, 1, 0, 0, 0, 1]), OURS)],
        );
    }
    let frames = station.send(NOW, [packet(PEER, b"x")]);
    assert_eq!(as_data(&frames[0]).unwrap().0, PEER_MAC);
    assert_eq!(station.count(Counter::NeighbourEvicted), 100_000 - 256);
}

#[test]
fn a_flood_of_destinations_is_bounded_in_memory_and_questions() {
    let mut station = Station::new();
    let mut asked = 0;
    for n in 0..20_000_u32 {
        let destination = Ipv4Addr::from(0x0b00_0000 + n);
        asked += station.send(NOW, [packet(destination, &[0; 100])]).len();
    }
    assert_eq!(asked, 500, "questions in one second");
    assert_eq!(station.count(Counter::NeighbourEvicted), 20_000 - 1024);
    let (entries, timers, waiting) = station.link.neighbours.lock().sizes();
    assert_eq!((entries, waiting), (1024, 1024));
    assert!(timers <= 2 * 1024 + 1);
}

proptest! {
    #[test]
    fn no_traffic_exceeds_the_bounds(
        steps in proptest::collection::vec((0..5_u8, 0..40_u32, 0..1500_u64), 1..400),
    ) {
        let capabilities = Capabilities::plain_ethernet(OUR_MAC.0, 1500);
        let mut station = Station::with(&capabilities, |config| {
            let limits = &mut config.neighbours;
            limits.entries = 16;
            limits.acquaintances = 4;
            limits.packets = 20;
            limits.packets_per_neighbour = 6;
        });
        let mut now = NOW;
        let (mut sent, mut left) = (0_u64, 0_u64);
        for (step, host, gap) in steps {
            let address = Ipv4Addr::from(0x0a00_0010 + host);
            let mac = MacAddr([2, 0, 0, 0, 1, host as u8]);
            let frames = match step {
                0 | 1 => {
                    sent += 1;
                    station.send(now, [packet(address, b"data")])
                }
                2 => {
                    let outcome = station.receive(now, [arp_reply(address, mac)]);
                    station.send(now, outcome.released)
                }
                3 => {
                    let outcome = station.receive(now, [arp_request(address, mac, OURS)]);
                    station.send(now, outcome.released)
                }
                _ => {
                    now += Duration::from_millis(gap);
                    station.poll(now)
                }
            };
            for (to, _) in frames.iter().filter_map(as_data) {
                left += 1;
                prop_assert_eq!(&to.0[..5], &[2, 0, 0, 0, 1]);
            }
            let (entries, timers, waiting) = station.link.neighbours.lock().sizes();
            prop_assert!(entries <= 16 && waiting <= 20 && timers <= 2 * 16 + 1);
            // Every packet left, waits, or was counted.
            let dropped = station.count(Counter::NeighbourDropUnresolved);
            prop_assert_eq!(sent, left + dropped + waiting as u64);
        }
    }
}
