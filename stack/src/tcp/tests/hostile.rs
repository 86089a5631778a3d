//! Does anything that a peer, or somebody who guesses its numbers, can send break a Tcb?
//!
//! The invariants are asserted after every event (`invariants.rs`).

use std::time::Duration;

use bytes::Bytes;
use proptest::prelude::*;

use super::pair::{CLIENT, Pair, SERVER, defaults, parameters};
use crate::ip::ErrorKind;
use crate::random::Random;
use crate::tcp::{Flags, Parameters, Segment, State, Tcb};

/// A number near one of those that matter to `tcb`, or anywhere.
fn near(random: &mut Random, marks: &[u32]) -> u32 {
    let mark = marks[random.below(marks.len() as u64) as usize];
    match random.below(10) {
        0 => random.next_u32(),
        1 => mark.wrapping_add(1 << 31),
        2..5 => mark
            .wrapping_add(random.below(4000) as u32)
            .wrapping_sub(2000),
        5..7 => mark.wrapping_add(random.below(3) as u32).wrapping_sub(1),
        _ => mark,
    }
}

fn segment(random: &mut Random, tcb: &Tcb) -> Segment {
    let theirs = [
        tcb.peer_wire(tcb.rcv.nxt),
        tcb.peer_wire(tcb.rcv.edge),
        tcb.peer_wire(tcb.rcv.acked),
        tcb.rcv.irs,
    ];
    let ours = [
        tcb.our_wire(tcb.snd.una),
        tcb.our_wire(tcb.snd.nxt),
        tcb.our_wire((tcb.snd.una + tcb.snd.nxt) / 2),
        tcb.snd.iss,
    ];
    let usual = [
        Flags::ACK,
        Flags::ACK,
        Flags::ACK.with(Flags::PSH),
        Flags::ACK.with(Flags::FIN),
        Flags::ACK.with(Flags::URG),
        Flags::SYN,
        Flags::SYN.with(Flags::ACK),
        Flags::RST,
        Flags(random.next_u32() as u8),
    ];
    let mut segment = Segment {
        seq: near(random, &theirs),
        ack: near(random, &ours),
        flags: usual[random.below(usual.len() as u64) as usize],
        window: [0, 1, 100, 5000, u16::MAX][random.below(5) as usize],
        urgent: random.next_u32() as u16,
        payload: Bytes::from(vec![
            7;
            [0, 0, 1, 500, 1448, 65_000][random.below(6) as usize]
        ]),
        segment_bytes: random.chance(1, 3).then(|| random.next_u32() as u16),
        ..Segment::default()
    };
    // Mostly not a RST, or every connection is soon over.
    if segment.flags.contains(Flags::RST) && random.chance(9, 10) {
        segment.flags = Flags::ACK;
    }
    if random.chance(9, 10) {
        let value = near(random, &[tcb.timestamps.recent]);
        segment.options.timestamps = Some((value, random.next_u32()));
    }
    for _ in 0..random.below(5) {
        let start = near(random, &ours);
        let end = near(random, &[start, ours[1]]);
        segment.options.sack.push((start, end));
    }
    if random.chance(1, 5) {
        segment.options.mss = Some(random.next_u32() as u16);
        segment.options.window_scale = Some(random.next_u32() as u8);
    }
    segment
}

/// One thing that may happen to a connection.
fn happen(random: &mut Random, pair: &mut Pair) {
    let now = pair.now;
    let gated = pair.always_consult;
    let tcb = pair.ends[SERVER].tcb.as_mut().expect("open");
    match random.below(30) {
        0..16 => {
            let segment = segment(random, tcb);
            tcb.on_segment(now, segment);
        }
        16 => drop(tcb.send(Bytes::from(vec![1; random.below(100_000) as usize]))),
        17 => drop(tcb.send_copy(&[2; 300])),
        18 => drop(tcb.send_urgent(b"urgent")),
        19..22 => drop(tcb.recv(&mut vec![0; random.below(70_000) as usize])),
        22 => pair.now += Duration::from_micros(random.below(3_000_000)),
        23 if random.chance(1, 8) => drop(tcb.shutdown_write()),
        24 if random.chance(1, 50) => tcb.close(now),
        25 if random.chance(1, 100) => tcb.abort(),
        26 => {
            let kind = ErrorKind::TooBig { mtu: 0 };
            let mtu = 68 + random.below(1500) as usize;
            let seq = tcb.our_wire(tcb.snd.una);
            tcb.on_icmp_error(now, kind, seq, &super::pair::path(mtu, mtu));
        }
        27 => tcb.set_cork(random.chance(1, 2)),
        28 => {
            if let Some(snapshot) = tcb.export() {
                let parameters = pair.ends[SERVER].parameters.clone();
                pair.ends[SERVER].tcb = Some(Tcb::from_snapshot(parameters, now, snapshot));
            }
        }
        _ => {
            if tcb.next_deadline().is_some_and(|due| due <= now) {
                tcb.on_timer(now);
            }
        }
    }
    if gated {
        pair.consult_all();
    }
    let now = pair.now;
    let tcb = pair.tcb(SERVER);
    let mut sent = 0;
    while tcb.poll_transmit(now).is_some() {
        sent += 1;
        assert!(sent < 10_000, "sends for ever");
    }
}

fn chosen(random: &mut Random) -> Parameters {
    let mut parameters = parameters(|config, options| {
        config.sack = random.chance(2, 3);
        config.timestamps = random.chance(2, 3);
        options.no_delay = random.chance(1, 2);
        options.receive_buffer_bytes = random.chance(1, 2).then_some(100_000);
    });
    parameters.gated = random.chance(1, 4);
    parameters
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn no_segment_breaks_it(seed: u64, passive: bool) {
        let mut random = Random::from_seed(seed);
        let server = chosen(&mut random);
        let limit = server.config.max_receive_buffer_bytes * 3;
        let mut pair = Pair::new(defaults(), server.clone());
        pair.always_consult = server.gated;
        if passive {
            pair.open();
            pair.run_for(Duration::from_millis(15));
        } else {
            let iss = pair.ends[SERVER].iss;
            pair.ends[SERVER].tcb = Some(Tcb::connect(server, pair.now, iss));
        }
        if passive && random.chance(3, 4) {
            pair.run_for(Duration::from_millis(50));
            prop_assert_eq!(pair.states()[SERVER], State::Established);
        }
        pair.ends[CLIENT].tcb = None;
        for _ in 0..400 {
            happen(&mut random, &mut pair);
            let tcb = pair.tcb(SERVER);
            let held = tcb.receive_queue.buffered() + tcb.receive_queue.out_of_order_bytes();
            prop_assert!(held < limit, "{}", held);
        }
    }
}
