//! When does the congestion window grow, and when does it shrink without loss (RFC 5681, RFC 7661, RFC 2861)?

use std::time::Duration;

use super::pair::{CLIENT, Pair, defaults, parameters};

const SEGMENT: usize = 1448;

fn window(pair: &mut Pair) -> usize {
    pair.tcb(CLIENT).info().cwnd / SEGMENT
}

/// The window after `segments` were written and acknowledged.
fn after_writing(pair: &mut Pair, segments: usize) -> usize {
    pair.write(CLIENT, &vec![1; segments * SEGMENT]);
    pair.run_for(Duration::from_millis(100));
    window(pair)
}

#[test]
fn the_first_window_is_of_ten_segments() {
    let mut pair = Pair::established(defaults(), defaults());
    pair.write(CLIENT, &[1; 40 * SEGMENT]);
    pair.transmit();
    assert_eq!(pair.sent_by(CLIENT).len(), 10);
}

#[test]
fn in_slow_start_more_than_half_of_it_has_to_be_used() {
    for (segments, grows) in [(4, false), (5, false), (6, true), (9, true), (10, true)] {
        let mut pair = Pair::established(defaults(), defaults());
        let after = after_writing(&mut pair, segments);
        assert_eq!(after > 10, grows, "{segments} sent, {after}");
        assert!(after <= 10 + segments);
    }
}

#[test]
fn in_congestion_avoidance_all_of_it_has_to_be_used() {
    let mut pair = Pair::established(defaults(), defaults());
    let mut count = 0;
    pair.filter = Box::new(move |sent| {
        count += usize::from(sent.len() > 0);
        if count == 3 && sent.len() > 0 {
            super::pair::Fate::Drop
        } else {
            super::pair::Fate::Deliver
        }
    });
    let before = after_writing(&mut pair, 20);
    let ssthresh = pair.tcb(CLIENT).info().ssthresh / SEGMENT;
    assert!(before >= ssthresh, "no slow start any more");
    // Many small flights, each two thirds of the window.
    for _ in 0..30 {
        after_writing(&mut pair, before * 2 / 3);
    }
    assert_eq!(window(&mut pair), before);
}

#[test]
fn idleness_costs_half_of_it_per_time_out_unless_told_otherwise() {
    for shrinks in [true, false] {
        let change = |config: &mut crate::tcp::Config| config.slow_start_after_idle = shrinks;
        let sender = parameters(|config, _| change(config));
        let mut pair = Pair::established(sender, defaults());
        while window(&mut pair) < 80 {
            after_writing(&mut pair, 100);
        }
        let before = window(&mut pair);
        // Between one RTO of 220 ms and two.
        pair.run_for(Duration::from_millis(250));
        pair.write(CLIENT, &[1; SEGMENT]);
        pair.transmit();
        let after = window(&mut pair);
        assert_eq!(after, if shrinks { before / 2 } else { before });
    }
}
