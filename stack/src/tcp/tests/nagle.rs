//! When do small segments leave (Nagle, cork, silly windows, PSH)?

use std::time::Duration;

use super::pair::{CLIENT, Fate, Pair, SERVER, defaults, parameters, path};
use crate::tcp::{Flags, Parameters};

fn lengths(pair: &Pair) -> Vec<usize> {
    let sent = pair.sent_by(CLIENT);
    sent.iter()
        .map(super::pair::Sent::len)
        .filter(|&len| len > 0)
        .collect()
}

fn established(change: impl Fn(&mut crate::tcp::SocketOptions)) -> Pair {
    let chosen: Parameters = parameters(|_, options| change(options));
    Pair::established(chosen, defaults())
}

#[test]
fn a_second_small_segment_waits_for_the_first() {
    let mut pair = established(|_| {});
    for _ in 0..10 {
        pair.write(CLIENT, b"tiny");
        pair.transmit();
    }
    assert_eq!(lengths(&pair), [4]);
    pair.run_for(Duration::from_millis(25));
    assert_eq!(
        lengths(&pair),
        [4, 36],
        "the rest went together with the ACK"
    );
}

#[test]
fn without_delay_each_leaves_at_once() {
    let mut pair = established(|options| options.no_delay = true);
    for _ in 0..10 {
        pair.write(CLIENT, b"tiny");
        pair.transmit();
    }
    assert_eq!(lengths(&pair), [4; 10]);
}

#[test]
fn a_small_tail_behind_full_segments_leaves_with_them() {
    // Minshall: only a small segment in flight holds back another.
    let mut pair = established(|_| {});
    pair.write(CLIENT, &[0; 1448 * 2 + 100]);
    pair.transmit();
    assert_eq!(lengths(&pair), [1448, 1448, 100]);
    let flags: Vec<Flags> = pair
        .sent_by(CLIENT)
        .iter()
        .map(|s| s.segment.flags)
        .collect();
    assert_eq!(flags, [Flags::ACK, Flags::ACK, Flags::ACK.with(Flags::PSH)]);
    pair.write(CLIENT, &[0; 10]);
    pair.transmit();
    assert_eq!(lengths(&pair).len(), 3);
}

#[test]
fn fin_sends_the_rest_at_once() {
    let mut pair = established(|_| {});
    pair.write(CLIENT, b"tiny");
    pair.transmit();
    pair.write(CLIENT, b"more");
    pair.tcb(CLIENT).shutdown_write().unwrap();
    pair.transmit();
    let sent = pair.sent_by(CLIENT);
    assert_eq!(lengths(&pair), [4, 4]);
    assert!(sent[1].has(Flags::FIN), "with the data, not after it");
}

#[test]
fn a_cork_holds_partial_segments_until_it_is_pulled_or_for_a_while() {
    let mut pair = established(|_| {});
    pair.tcb(CLIENT).set_cork(true);
    pair.write(CLIENT, &[0; 1448 + 100]);
    pair.run_for(Duration::from_millis(100));
    assert_eq!(lengths(&pair), [1448]);
    pair.tcb(CLIENT).set_cork(false);
    pair.transmit();
    assert_eq!(lengths(&pair), [1448, 100]);

    pair.run_for(Duration::from_millis(100));
    pair.sent.clear();
    pair.tcb(CLIENT).set_cork(true);
    pair.write(CLIENT, b"forgotten");
    pair.run_for(Duration::from_millis(500));
    assert_eq!(lengths(&pair), [9], "held for an RTO at most");
}

#[test]
fn a_window_smaller_than_a_segment_is_not_filled_with_crumbs() {
    let server = parameters(|config, options| {
        config.window_scaling = false;
        options.receive_buffer_bytes = Some(10_000);
    });
    let mut pair = Pair::established(defaults(), server);
    pair.ends[SERVER].reads = false;
    pair.write(CLIENT, &[0; 40_000]);
    pair.run_for(Duration::from_millis(150));
    // 6 full segments fit 10,000 bytes; the 1312 left over are not worth one.
    assert_eq!(lengths(&pair), [1448; 6]);
    // But in the end they are used: nothing else is coming.
    pair.run_for(Duration::from_secs(2));
    assert_eq!(lengths(&pair)[6], 10_000 - 6 * 1448);
}

#[test]
fn a_tiny_window_is_still_used_by_halves() {
    let server = parameters(|_, options| options.receive_buffer_bytes = Some(2048));
    let mut pair = Pair::established(defaults(), server);
    pair.write(CLIENT, &[3; 20_000]);
    pair.run_for(Duration::from_secs(1));
    assert_eq!(pair.ends[SERVER].received, [3; 20_000]);
    assert!(lengths(&pair).iter().all(|&len| len <= 1024));
}

#[test]
fn no_segment_has_bytes_of_two_records() {
    let cutting = || {
        let mut parameters = defaults();
        parameters.path = path(1500, 65_535);
        parameters
    };
    for parameters in [defaults(), cutting()] {
        let mut pair = Pair::established(parameters, defaults());
        for _ in 0..3 {
            pair.write(CLIENT, &[1; 400]);
            pair.tcb(CLIENT).end_record();
        }
        pair.write(CLIENT, &[2; 2000]);
        pair.transmit();
        let sent = pair.sent_by(CLIENT);
        let first = sent[0].segment.seq;
        // Nagle's algorithm holds nothing back that something else follows; all but the last wait for nobody.
        for (at, record) in [0, 400, 800].into_iter().zip(&sent) {
            assert_eq!(record.segment.seq.wrapping_sub(first), at);
            assert_eq!(record.len(), 400);
            assert!(record.has(Flags::PSH));
        }
        assert!(sent[3].len() >= 1448);
        pair.run_for(Duration::from_millis(200));
        assert_eq!(pair.ends[SERVER].received.len(), 3200);
    }
}

#[test]
fn records_stay_apart_when_they_are_sent_again() {
    let mut pair = Pair::established(defaults(), defaults());
    pair.filter = Box::new(
        |sent| match sent.by == CLIENT && !sent.segment.retransmission {
            true => Fate::Drop,
            false => Fate::Deliver,
        },
    );
    for _ in 0..3 {
        pair.write(CLIENT, &[1; 400]);
        pair.tcb(CLIENT).end_record();
    }
    pair.write(CLIENT, &[2; 100]);
    pair.run_for(Duration::from_secs(5));
    assert_eq!(pair.ends[SERVER].received.len(), 1300);
    let again = pair.sent_by(CLIENT);
    let again = again.iter().filter(|sent| sent.segment.retransmission);
    assert!(again.clone().count() >= 3);
    assert!(again.clone().all(|sent| sent.len() <= 400));
}
