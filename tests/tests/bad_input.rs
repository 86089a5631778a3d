//! Bad input: random and mutated frames, truncated headers, impossible options, overlapping fragments,
//! floods, and a stranger who guesses. Always: no panic, nothing dropped without a counter, no growth
//! beyond stated limits, and the service still works afterwards.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use outlive::counters::Counter;
use outlive::engine::Config;
use outlive_driver::Random;
use outlive_tests::decode::{Decoded, decode};
use outlive_tests::frames::{ACK, FIN, RST, SYN, TcpFrame, arp, ipv4, mutated};
use outlive_tests::memory::{Counting, live_bytes};
use outlive_tests::simulation::host::{address, mac};
use outlive_tests::simulation::service::{PORT, SERVER, Service, assert_complete};

#[global_allocator]
static HEAP: Counting = Counting;

const MIB: isize = 1 << 20;
const STRANGER: u8 = 66;

/// A segment to the server's port from anywhere.
fn to_server(source: SocketAddrV4) -> TcpFrame {
    TcpFrame {
        macs: (mac(SERVER), mac(STRANGER)),
        source,
        destination: SocketAddrV4::new(address(SERVER), PORT),
        seq: 1000,
        ack: 0,
        flags: SYN,
        window: 1000,
        options: Vec::new(),
        data: Vec::new(),
    }
}

fn stranger(port: u16) -> SocketAddrV4 {
    SocketAddrV4::new(address(STRANGER), port)
}

/// Frames of a whole exchange: handshake with all options, data both ways, close.
fn recorded() -> Vec<Vec<u8>> {
    let mut net = Service::pair(&Config::default());
    net.world.record_frames();
    net.assert_works();
    net.world
        .recorded_frames()
        .iter()
        .map(|frame| frame.to_vec())
        .collect()
}

#[test]
fn random_frames_are_counted_and_forgotten() {
    let mut net = Service::pair(&Config::default());
    net.assert_works();
    let (mut random, before, heap) = (Random::from_seed(3), net.drops(), live_bytes());
    for round in 0..40_000u64 {
        let len = random.below(if round % 10 == 0 { 2000 } else { 80 }) as usize;
        let mut frame: Vec<u8> = (0..len).map(|_| random.next_u64() as u8).collect();
        // Half of them get past the link layer.
        if len >= 14 && round % 2 == 0 {
            frame[..6].copy_from_slice(&mac(SERVER));
            frame[12..14].copy_from_slice(if round % 4 == 0 { &[8, 0] } else { &[8, 6] });
        }
        net.inject(frame);
        if round % 64 == 0 {
            net.step(Duration::from_millis(1));
        }
    }
    net.step(Duration::from_secs(60));
    assert!(net.drops() - before >= 39_900, "{}", net.drops());
    assert!(
        live_bytes() - heap < MIB,
        "{} bytes more",
        live_bytes() - heap
    );
    net.assert_works();
}

#[test]
fn mutations_of_a_valid_exchange_do_no_harm() {
    let frames = recorded();
    let mut random = Random::from_seed(4);
    let mut net = Service::pair(&Config::default());
    for round in 0..60_000 {
        let original = &frames[random.below(frames.len() as u64) as usize];
        let frame = mutated(original, &mut random);
        let target = if random.chance(1, 2) {
            net.server.id
        } else {
            net.clients[0].id
        };
        net.world.inject(target, frame);
        if round % 16 == 0 {
            // The watcher cannot tell a mutant from the peer, so its view is no oracle here.
            net.world.watch(false);
            net.step(Duration::from_millis(2));
        }
    }
    net.step(Duration::from_secs(600));
    assert_eq!(net.server.stack.connections(), 0);
    net.assert_works();
}

#[test]
fn every_truncation_of_a_valid_frame_is_dropped_and_counted() {
    let mut net = Service::pair(&Config::default());
    let frames = recorded();
    for frame in frames.iter().take(12) {
        for len in 0..frame.len().min(120) {
            let (before, mut cut) = (net.drops(), frame[..len].to_vec());
            if len >= 6 {
                cut[..6].copy_from_slice(&mac(SERVER));
            }
            net.inject(cut);
            net.step(Duration::from_micros(10));
            let minimal = len + 14 >= frame.len();
            assert!(
                minimal || net.drops() == before + 1,
                "{len} bytes of {frame:02x?}"
            );
        }
    }
    net.assert_works();
}

#[test]
fn impossible_options_are_survived() {
    let mut net = Service::pair(&Config::default());
    let cases: [&[u8]; 14] = [
        &[2, 0, 5, 180],
        &[2, 1, 5, 180],
        &[2, 255, 5, 180],
        &[2, 4],
        &[2, 4, 0, 0],
        &[2, 4, 0, 1],
        &[3, 3, 255],
        &[3, 2],
        &[8, 10, 0, 0],
        &[8, 0, 0, 0],
        &[5, 3, 0],
        &[5, 10, 0, 0, 0, 9, 0, 0, 0, 1],
        &[255, 255, 255, 255],
        &[253, 40, 1, 1],
    ];
    for (index, options) in cases.iter().enumerate() {
        for flags in [SYN, ACK, SYN | ACK, RST, FIN | ACK] {
            let mut segment = to_server(stranger(4000 + index as u16));
            segment.flags = flags;
            segment.options = options.to_vec();
            net.inject(segment.build());
            net.step(Duration::from_millis(1));
        }
    }
    net.step(Duration::from_secs(300));
    net.assert_works();
}

#[test]
fn overlapping_and_endless_fragments_are_dropped_within_limits() {
    let mut net = Service::pair(&Config::default());
    net.assert_works();
    let heap = live_bytes();
    let macs = (mac(SERVER), mac(STRANGER));
    let fragment = |net: &mut Service, source: Ipv4Addr, id: u16, field: u16, len: usize| {
        net.inject(ipv4(
            macs,
            source,
            address(SERVER),
            17,
            (id, field),
            &vec![7; len],
        ));
    };
    const MORE: u16 = 0x2000;
    // Overlaps of every kind (RFC 5722 in spirit), one beyond 65,535 bytes, tiny ones.
    for id in 0..2000 {
        let source = Ipv4Addr::new(10, 9, 0, 100 + (id % 50) as u8);
        fragment(&mut net, source, id, MORE, 64);
        fragment(&mut net, source, id, MORE | 4, 64);
        fragment(&mut net, source, id, 2, 8);
        fragment(&mut net, source, id, MORE | 8190, 1400);
        net.step(Duration::from_micros(10));
    }
    // Fragments whose rest never comes.
    for id in 0..30_000u16 {
        let source = Ipv4Addr::new(10, 9, (id >> 8) as u8, id as u8);
        fragment(&mut net, source, id, MORE, 1400);
        net.step(Duration::from_micros(10));
    }
    let held = live_bytes() - heap;
    let limit = outlive::ip::Config::default().fragments.bytes as isize;
    assert!(
        held < limit + MIB,
        "{held} bytes held, the limit is {limit}"
    );
    assert!(net.count(Counter::IpDropFragment) >= 4000);
    net.step(Duration::from_secs(130));
    assert!(
        live_bytes() - heap < MIB,
        "{} bytes never given back",
        live_bytes() - heap
    );
    net.assert_works();
}

#[test]
fn a_syn_flood_stays_within_the_syn_queue() {
    let mut net = Service::pair(&Config::default());
    net.assert_works();
    let heap = live_bytes();
    let mut random = Random::from_seed(5);
    for round in 0..100_000u32 {
        let source = SocketAddrV4::new(
            Ipv4Addr::new(10, 9, 0, 3 + random.below(250) as u8),
            (1024 + random.below(60_000)) as u16,
        );
        net.inject(to_server(source).build());
        if round % 32 == 0 {
            net.step(Duration::from_micros(100));
        }
    }
    let held = live_bytes() - heap;
    let half_open = outlive::tcp::ListenOptions::default().max_half_open;
    assert!(
        net.server.stack.connections() <= half_open + 1,
        "{}",
        net.server.stack.connections()
    );
    assert!(
        held < 4096 * half_open as isize,
        "{held} bytes for {half_open} half-open connections"
    );
    let listed: Vec<_> = net.server.stack.counters().non_zero().collect();
    assert!(net.count(Counter::TcpCookiesSent) >= 90_000, "{listed:?}");
    // The half-open ones give up, and everybody is served again.
    net.step(Duration::from_secs(300));
    assert_eq!(net.server.stack.connections(), 0);
    assert!(
        live_bytes() - heap < MIB,
        "{} bytes never given back",
        live_bytes() - heap
    );
    net.assert_works();
}

#[test]
fn an_arp_flood_stays_within_the_neighbour_cache() {
    let mut net = Service::pair(&Config::default());
    net.assert_works();
    let heap = live_bytes();
    for round in 0..100_000u32 {
        let [_, b, c, d] = round.to_be_bytes();
        let sender = (
            [2, 99, 0, b, c, d],
            Ipv4Addr::new(10, 9, 0, (round % 250) as u8 + 3),
        );
        let wide = ([2, 98, 0, b, c, d], Ipv4Addr::new(10, 9, c, d));
        net.inject(arp(1, sender, ([0; 6], address(SERVER)), [255; 6]));
        net.inject(arp(1, wide, ([0; 6], address(SERVER)), [255; 6]));
        net.inject(arp(2, wide, (mac(SERVER), address(SERVER)), mac(SERVER)));
        if round % 32 == 0 {
            net.step(Duration::from_micros(100));
        }
    }
    assert!(
        live_bytes() - heap < 4 * MIB,
        "{} bytes more",
        live_bytes() - heap
    );
    net.step(Duration::from_secs(60));
    net.assert_works();
}

#[test]
fn a_segment_from_ourselves_to_ourselves_is_dropped() {
    let mut net = Service::pair(&Config::default());
    net.assert_works();
    let before = net.drops();
    let mut land = to_server(SocketAddrV4::new(address(SERVER), PORT));
    for _ in 0..100 {
        land.seq += 1;
        net.inject(land.build());
        net.step(Duration::from_millis(1));
    }
    net.step(Duration::from_secs(200));
    assert_eq!(
        (net.drops() - before, net.server.stack.connections()),
        (100, 0)
    );
    net.assert_works();
}

/// A stranger who knows addresses and ports, and whose guesses of the sequence number sometimes fall into
/// the window, but never on its left edge (RFC 5961).
#[test]
fn blind_injection_does_not_disturb_a_connection() {
    let mut net = Service::pair(&Config::default());
    net.world.record_frames();
    let records = net.begin(0, 4_000_000);
    net.step(Duration::from_millis(40));
    let client = net
        .world
        .recorded_frames()
        .iter()
        .find_map(|frame| syn_source(frame))
        .expect("a SYN");
    let mut random = Random::from_seed(6);
    let before = net.count(Counter::TcpChallengeAcks);
    net.world.watch(false);
    for round in 0..30_000u32 {
        let mut segment = to_server(client);
        segment.seq = if round % 2 == 0 {
            round.wrapping_mul(143_165) | 1
        } else {
            // Well inside the window, far from what is in flight.
            newest_ack(&net, client) + 20_000 + random.below(20_000) as u32
        };
        // What the ACK number of a blind guess is hardly ever: something that is outstanding.
        segment.ack = newest_ack(&net, client) ^ 0x4000_0000;
        segment.flags = [RST, RST | ACK, SYN, SYN | ACK, ACK, FIN | ACK][random.below(6) as usize];
        segment.data = vec![b'!'; random.below(3) as usize * 100];
        net.inject(segment.build());
        if round % 100 == 0 {
            net.step(Duration::from_micros(100));
        }
    }
    net.finish();
    assert_complete(&records, 4_000_000);
    let challenges = net.count(Counter::TcpChallengeAcks) - before;
    let listed: Vec<_> = net.server.stack.counters().non_zero().collect();
    assert!(challenges > 0, "{listed:?}");
    assert!(
        challenges < 2_000,
        "limited (RFC 5961 §7), and not {challenges}"
    );
}

/// The last ACK number that the server sent to the client.
fn newest_ack(net: &Service, client: SocketAddrV4) -> u32 {
    let frames = net.world.recorded_frames().iter().rev();
    let to_client = |frame: &bytes::Bytes| match decode(frame) {
        Ok(Decoded::Tcp(segment)) if segment.destination == client => segment.ack,
        _ => None,
    };
    frames
        .map(to_client)
        .find_map(|ack| ack)
        .expect("the server answered")
}

fn syn_source(frame: &[u8]) -> Option<SocketAddrV4> {
    match decode(frame) {
        Ok(Decoded::Tcp(segment)) if segment.syn && segment.ack.is_none() => Some(segment.source),
        _ => None,
    }
}
