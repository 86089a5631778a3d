//! What is the window that we offer, and does its right edge ever move left?

use std::time::Duration;

use bytes::Bytes;
use proptest::prelude::*;

use super::pair::{CLIENT, Fate, Pair, SERVER, defaults, parameters, path, pattern, rough};
use crate::tcp::{Flags, Parameters, State};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]
    #[test]
    fn the_right_edge_never_moves_left(
        seed: u64, loss in 0u64..10, len in 1usize..400_000, piece in 1usize..5000,
        every_us in 1u64..5000,
        buffer in prop_oneof![Just(None), (2048usize..300_000).prop_map(Some)],
    ) {
        let server = parameters(|_, options| options.receive_buffer_bytes = buffer);
        let mut pair = Pair::established(defaults(), server);
        pair.filter = rough(seed, loss, 2, 5);
        pair.ends[SERVER].reads = false;
        let data = pattern(len);
        let (mut written, mut read) = (0, Vec::new());
        let mut into = vec![0; piece];
        let end = pair.now + Duration::from_secs(3600);
        while read.len() < len && pair.now < end {
            written += pair.write(CLIENT, &data[written..]);
            let tick = pair.now + Duration::from_micros(every_us);
            pair.run_until(tick, |_| false);
            pair.now = tick;
            while let Ok(Some(taken)) = pair.tcb(SERVER).recv(&mut into) {
                read.extend_from_slice(&into[..taken]);
                if pair.now.as_nanos().is_multiple_of(3) {
                    break;
                }
            }
        }
        prop_assert!(read == data);
        let scale = pair.tcb(SERVER).info().window_scales.0;
        let irs = pair.ends[CLIENT].iss;
        let edges = pair.sent_by(SERVER).into_iter().map(|sent| {
            u64::from(sent.segment.ack.wrapping_sub(irs)) + (u64::from(sent.segment.window) << scale)
        });
        prop_assert!(edges.is_sorted());
    }

    #[test]
    fn crumbs_into_a_full_queue_do_not_grow_it_without_bound(size in 1usize..100) {
        // Each segment is smaller than the unit of the scaled window.
        let server = parameters(|_, options| options.receive_buffer_bytes = Some(1 << 20));
        let mut pair = Pair::established(defaults(), server);
        pair.ends[SERVER].reads = false;
        let bytes = Bytes::from(vec![1; size]);
        for _ in 0..(3 << 20) / size {
            let mut crumb = pair.forged(SERVER);
            crumb.payload = bytes.clone();
            pair.deliver(SERVER, crumb);
            pair.transmit();
            pair.sent.clear();
        }
        let held = pair.tcb(SERVER).info().receive_queue_bytes;
        prop_assert!((1 << 20..(1 << 20) * 5 / 4).contains(&held), "{}", held);
    }
}

#[test]
fn the_queue_grows_while_the_application_keeps_up_and_not_otherwise() {
    let large = Parameters {
        path: path(1500, 65_535),
        ..defaults()
    };
    let mut pair = Pair::established(large.clone(), large.clone());
    let limit = |pair: &mut Pair| pair.tcb(SERVER).rcv.limit;
    assert_eq!(limit(&mut pair), 64 << 10);
    let data = vec![9; 30_000_000];
    let mut written = 0;
    pair.run_to(|pair| {
        written += pair.write(CLIENT, &data[written..]);
        pair.ends[SERVER].received.len() == data.len()
    });
    let grown = limit(&mut pair);
    assert!(grown > 1 << 20, "{grown}");

    let mut pair = Pair::established(large.clone(), large);
    pair.ends[SERVER].reads = false;
    pair.write(CLIENT, &data);
    pair.run_for(Duration::from_secs(10));
    assert_eq!(limit(&mut pair), 64 << 10);
}

#[test]
fn a_window_that_shrank_holds_back_new_data_and_nothing_breaks() {
    let mut pair = Pair::established(defaults(), defaults());
    pair.write(CLIENT, &[1; 14_480]);
    pair.transmit();
    let shrunk = |pair: &mut Pair, window| {
        let mut segment = pair.forged(CLIENT);
        segment.flags = Flags::ACK;
        segment.window = window;
        pair.deliver(CLIENT, segment);
    };
    // Less than what is in flight (MUST-34, SHLD-15).
    shrunk(&mut pair, 10);
    pair.write(CLIENT, &[2; 10_000]);
    pair.sent.clear();
    pair.transmit();
    assert!(pair.sent_by(CLIENT).is_empty());
    pair.run_for(Duration::from_secs(5));
    assert_eq!(pair.ends[SERVER].received.len(), 24_480);
}

#[test]
fn data_beyond_the_edge_is_cut_off() {
    let server = parameters(|_, options| options.receive_buffer_bytes = Some(4096));
    let mut pair = Pair::established(defaults(), server);
    pair.ends[SERVER].reads = false;
    let mut large = pair.forged(SERVER);
    large.payload = Bytes::from(vec![1; 60_000]);
    pair.deliver(SERVER, large);
    assert_eq!(pair.tcb(SERVER).readable_bytes(), 4096);
}

#[test]
fn the_window_is_unsigned() {
    // MUST-1: as a signed number 65,535 would be nothing.
    let client = parameters(|config, _| {
        config.window_scaling = false;
        config.initial_window_segments = 100;
    });
    let mut pair = Pair::established(client, defaults());
    let mut opens = pair.forged(CLIENT);
    opens.window = u16::MAX;
    pair.deliver(CLIENT, opens);
    pair.write(CLIENT, &[1; 100_000]);
    pair.transmit();
    let in_flight: usize = pair
        .sent_by(CLIENT)
        .iter()
        .map(super::pair::Sent::len)
        .sum();
    assert!((60_000..=65_535).contains(&in_flight), "{in_flight}");
}

#[test]
fn a_scaled_window_is_used_beyond_16_bits() {
    let server = parameters(|_, options| options.receive_buffer_bytes = Some(1 << 20));
    let client = parameters(|config, options| {
        config.initial_window_segments = 1000;
        options.send_buffer_bytes = Some(1 << 20);
    });
    let mut pair = Pair::established(client, server);
    pair.ends[SERVER].reads = false;
    pair.write(CLIENT, &[1; 500_000]);
    pair.run_for(Duration::from_millis(500));
    assert_eq!(pair.tcb(SERVER).readable_bytes(), 500_000);
}

#[test]
fn a_window_that_shrank_does_not_end_the_connection() {
    // MUST-35, SHLD-17: what was in flight lies beyond the edge now, and the peer goes on to say so.
    let mut pair = Pair::established(defaults(), defaults());
    pair.write(CLIENT, &[1; 14_480]);
    pair.transmit();
    pair.ends[SERVER].forget();
    pair.filter = Box::new(|_| Fate::Drop);
    let start = pair.now;
    while pair.now.since(start) < Duration::from_secs(3600) {
        let sent = pair.sent.len();
        pair.run_for(Duration::from_secs(1));
        if pair.sent.len() > sent {
            let mut closed = pair.forged(CLIENT);
            closed.window = 0;
            pair.deliver(CLIENT, closed);
        }
        assert_eq!(pair.states()[CLIENT], State::Established, "{:?}", pair.now);
    }
    assert!(pair.sent.len() > 30, "it is probed");
}

#[test]
fn no_window_is_offered_beyond_the_clamp() {
    let clamped = parameters(|_, options| options.window_clamp_bytes = Some(10_000));
    let mut pair = Pair::established(defaults(), clamped);
    pair.write(CLIENT, &[1; 200_000]);
    pair.run_for(Duration::from_secs(2));
    assert_eq!(pair.ends[SERVER].received.len(), 200_000);
    let scale = pair.tcb(SERVER).rcv.scale;
    let sent = pair.sent_by(SERVER);
    assert!(!sent.is_empty());
    for sent in sent {
        assert!(u32::from(sent.segment.window) << scale <= 10_000, "{sent}");
    }
    // Chosen later, it bounds what is offered from then on.
    let mut pair = Pair::established(defaults(), defaults());
    pair.tcb(SERVER).set_window_clamp(Some(20_480));
    pair.write(CLIENT, &[1; 200_000]);
    pair.run_for(Duration::from_secs(5));
    assert_eq!(pair.ends[SERVER].received.len(), 200_000);
    let last = pair.sent_by(SERVER).pop().unwrap();
    let scale = pair.tcb(SERVER).rcv.scale;
    assert!(u32::from(last.segment.window) << scale <= 20_480);
}
